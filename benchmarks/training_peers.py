"""Loaders of nnU-Net, MONAI and TorchIO over the patients of a store, each as its own documentation sets it up.

``write`` makes what they read; ``LOADERS`` holds functions that return an endless iterator of batches of two.
nnU-Net reads its blosc2 files (chunks and blocks by its own rule; normalized before), by two of its worker processes.
MONAI and TorchIO read the NIfTI files of ``npczarr export --format nnunet`` and normalize by themselves, before what
they keep; two workers. All cut patches of three sequences and one mask, a third of them about foreground.
"""

import itertools

import nibabel
import numpy as np

import npczarr as npc

BATCH, WORKERS, SEQUENCE = 2, 2, "CE-T1WI"


def write(store, folder, sizes):
    """Write NIfTI files, and blosc2 files for each size of patch."""
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

    npc.export_scans(store, folder / "nifti", format="nnunet", workers=0)
    ds, facts = npc.open(store), npc.open(store, group="training").load()
    for patient in ds.patient.values:
        images = []
        for sequence in ds.sequence.values:
            scan, of = ds.npc.scan(patient, sequence), facts.sel(patient=patient, sequence=sequence)
            stored = scan.image.values
            normal = (stored - float(of["mean"])) / float(of["standard_deviation"])
            images.append(np.where(stored == np.iinfo(np.int16).min, 0, normal).astype(np.float32))
        data, seg = np.stack(images), ds.npc.scan(patient, SEQUENCE).mask.values[None].astype(np.int8)
        points = np.argwhere(seg > 0)
        for size in sizes:
            into = folder / f"blosc2 {size}"
            into.mkdir(exist_ok=True)
            blocks, chunks = comp_blosc2_params(data.shape, size, 4)
            blocks_seg, chunks_seg = comp_blosc2_params(seg.shape, size, 1)
            nnUNetDatasetBlosc2.save_case(
                data, seg, {"class_locations": {1: points}}, str(into / patient), chunks=chunks, blocks=blocks,
                chunks_seg=chunks_seg, blocks_seg=blocks_seg,
            )  # fmt: skip


def check(store, folder, size, count=2):
    """Compare patches of npczarr with the same boxes of the files of the others."""
    from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    cases = nnUNetDatasetBlosc2(str(folder / f"blosc2 {size}"))
    normal = npc.patches(store, size=size, steps=count)
    real = npc.patches(store, size=size, steps=count, normalize=None)
    which = list(npc.open(store).sequence.values).index(SEQUENCE)
    for one, other in zip(normal, real, strict=True):
        for i, patient in enumerate(one.patients):
            box = [[int(a), int(a) + n] for a, n in zip(one.starts_zyx[i], size, strict=True)]
            data, seg, *_ = cases.load_case(patient)
            np.testing.assert_allclose(one.images[i], crop_and_pad_nd(data, box, 0), atol=1e-4)
            np.testing.assert_array_equal(one.masks[i, which], crop_and_pad_nd(seg, box, 0)[0])
            for channel, image in enumerate(other.images[i]):
                file = nibabel.load(folder / f"nifti/imagesTr/{patient}_{channel:04d}.nii.gz").get_fdata().T[None]
                inside = image != 0
                np.testing.assert_allclose(
                    image[inside], crop_and_pad_nd(file, box, 0)[0][inside], rtol=1e-4, atol=0.01
                )


def nnunet(folder, size, patients):
    from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    class Labels:
        all_labels = [1]  # noqa: RUF012 - nnU-Net adds it to a list
        has_ignore_label = False

    loader = nnUNetDataLoader(
        nnUNetDatasetBlosc2(str(folder / f"blosc2 {size}")), BATCH, size, size, Labels(), 0.33,
        probabilistic_oversampling=True,
    )  # fmt: skip
    for batch in NonDetMultiThreadedAugmenter(loader, None, WORKERS, num_cached=2 * WORKERS):
        yield batch["data"], batch["target"]


def _files(folder, patients):
    nifti = folder / "nifti"
    return [
        ([str(nifti / f"imagesTr/{p}_{c:04d}.nii.gz") for c in range(3)], str(nifti / f"labelsTr/{p}.nii.gz"))
        for p in patients
    ]


def _monai(folder, size, patients, kind):
    import monai
    from monai import transforms as mt

    monai.utils.set_determinism(0)
    both, xyz = ["image", "label"], size[::-1]
    steps = [
        mt.LoadImaged(both), mt.EnsureChannelFirstd(both), mt.NormalizeIntensityd("image", channel_wise=True),
        mt.SpatialPadd(both, xyz), mt.FgBgToIndicesd("label"), mt.EnsureTyped(both),
        mt.RandCropByPosNegLabeld(both, "label", xyz, pos=1, neg=2, num_samples=1, fg_indices_key="label_fg_indices",
                                  bg_indices_key="label_bg_indices"),
        mt.SelectItemsd(both),
    ]  # fmt: skip
    data = [{"image": image, "label": label} for image, label in _files(folder, patients)]
    if kind == "cache":
        dataset = monai.data.CacheDataset(data, steps, num_workers=WORKERS, copy_cache=False, progress=False)
    else:
        dataset = monai.data.PersistentDataset(data, steps, cache_dir=folder / f"monai {size}")
    loader = monai.data.DataLoader(
        dataset, batch_size=BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True
    )  # fmt: skip
    for _ in itertools.count():
        for batch in loader:
            yield batch["image"], batch["label"]


def monai_cache(folder, size, patients):
    return _monai(folder, size, patients, "cache")


def monai_persistent(folder, size, patients):
    return _monai(folder, size, patients, "persistent")


def torchio(folder, size, patients):
    import torchio as tio

    subjects = [
        tio.Subject(image=tio.ScalarImage(image), label=tio.LabelMap(label))
        for image, label in _files(folder, patients)
    ]
    xyz = size[::-1]

    def pad(subject):
        missing = [max(0, n - s) for n, s in zip(xyz, subject.spatial_shape, strict=True)]
        return tio.Pad([m for n in missing for m in (n // 2, n - n // 2)])(subject)

    dataset = tio.SubjectsDataset(subjects, tio.Compose([tio.ZNormalization(), pad]))
    sampler = tio.LabelSampler(xyz, "label", {0: 2, 1: 1})
    for _ in itertools.count():
        queue = tio.Queue(dataset, 12, 4, sampler, num_workers=WORKERS)
        for batch in tio.SubjectsLoader(queue, batch_size=BATCH, num_workers=0):
            yield batch["image"][tio.DATA], batch["label"][tio.DATA]


LOADERS = {
    "nnU-Net, its blosc2 loader": nnunet,
    "MONAI CacheDataset": monai_cache,
    "MONAI PersistentDataset": monai_persistent,
    "TorchIO Queue": torchio,
}
