"""Augment batches of ``npc.patches`` by the transforms of MONAI and TorchIO, image and masks alike.

Usage: python augment.py [--store STORE]

Without a store, a synthetic cohort is made. Both libraries are given each patch with its own affine: TorchIO turns and
scales in millimeters by it, MONAI in voxels, so its rotation here stays within slices, whose voxels are square. Needs
PyTorch, MONAI and TorchIO (``pip install torch monai torchio``); without them, the script says so and ends.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import npczarr as npc

try:
    import monai.data
    import monai.utils
    import torch
    import torchio
    from monai import transforms
except ImportError as error:
    print(f"examples/augment.py needs {error.name}, which is not installed: pip install torch monai torchio")
    raise SystemExit(0) from None

SIZE = (8, 48, 48)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # both libraries take affines to RAS, as NIfTI has them


def for_monai(batch: npc.Batch) -> list[dict[str, torch.Tensor]]:
    """Give each patch of a batch as MONAI takes it: tensors (sequence, z, y, x) that share the batch's memory."""
    found = []
    for i, affine in enumerate(LPS_TO_RAS @ batch.affines):
        zyx = torch.from_numpy(affine[:, [2, 1, 0, 3]])  # the first axis of a tensor is z
        found.append(
            {
                "image": monai.data.MetaTensor(torch.from_dlpack(batch.images)[i], affine=zyx),
                "mask": monai.data.MetaTensor(torch.from_dlpack(batch.masks)[i], affine=zyx),
            }
        )
    return found


def for_torchio(batch: npc.Batch) -> list[torchio.Subject]:
    """Give each patch of a batch as TorchIO takes it: tensors (sequence, x, y, z)."""
    images, masks = (torch.from_dlpack(one).permute(0, 1, 4, 3, 2) for one in (batch.images, batch.masks))
    return [
        torchio.Subject(
            image=torchio.ScalarImage(tensor=images[i], affine=affine),
            mask=torchio.LabelMap(tensor=masks[i], affine=affine),
            patient=batch.patients[i],
        )
        for i, affine in enumerate(LPS_TO_RAS @ batch.affines)
    ]


MONAI = transforms.Compose(
    [
        transforms.RandFlipd(("image", "mask"), prob=1, spatial_axis=2),
        transforms.RandAffined(
            ("image", "mask"), prob=1, rotate_range=(0.3, 0, 0), mode=("bilinear", "nearest"), padding_mode="zeros"
        ),
        transforms.RandGaussianNoised("image", prob=0.5, std=0.1),
    ]
)
TORCHIO = torchio.Compose(
    [
        torchio.RandomFlip(axes=("LR",), flip_probability=1),
        torchio.RandomAffine(scales=0.1, degrees=(0, 0, 0, 0, -15, 15)),
        torchio.RandomNoise(std=(0, 0.1)),
    ]
)


class Augmented(torch.utils.data.Dataset):
    """The batches of ``npc.patches``, each augmented in the worker that decoded it."""

    def __init__(self, patches: npc.Patches) -> None:
        self.patches = patches

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images (batch, sequence, z, y, x) and masks of one shape."""
        found = [MONAI(one) for one in for_monai(self.patches[index])]
        return tuple(torch.stack([one[name].as_tensor() for one in found]) for name in ("image", "mask"))


def middle(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Middle of a mask (z, y, x) in mm, by an affine of voxel indices (x, y, z)."""
    zyx = np.argwhere(mask > 0).mean(axis=0)
    return affine[:3, :3] @ zyx[::-1] + affine[:3, 3]


def main(store: Path) -> None:
    monai.utils.set_determinism(0)
    patches = npc.patches(store, size=SIZE, batch_size=2, foreground=1, seed=1)
    batch = patches[0]
    for i, (one, subject) in enumerate(zip(for_monai(batch), for_torchio(batch), strict=True)):
        before = middle(batch.masks[i, 0], LPS_TO_RAS @ batch.affines[i])
        there = middle(subject.mask.data[0].numpy().transpose(2, 1, 0), subject.mask.affine)
        turned, flipped = MONAI(one), TORCHIO(subject)
        print(f"{batch.patients[i]}: the tumor's middle at {before.round(1)} mm, as TorchIO sees it {there.round(1)}")
        print(f"  MONAI:   {tuple(turned['image'].shape)}, {int((turned['mask'][0] > 0).sum())} voxels of tumor")
        print(f"  TorchIO: {tuple(flipped.image.shape)}, {int((flipped.mask.data[0] > 0).sum())} voxels of tumor")
    for workers in (0, 2):
        loader = torch.utils.data.DataLoader(Augmented(patches), batch_size=None, num_workers=workers)
        shapes = [tuple(images.shape) for images, _ in loader]
        print(f"{workers} workers: {len(shapes)} augmented batches of {shapes[0]}")


def synthetic(folder: Path) -> Path:
    npc.make_cohort(folder / "cohort", patients=4, workers=0, reliability=False)
    npc.convert(folder / "cohort/primary_data", folder / "npc.zarr", workers=0)
    npc.resample_store(folder / "npc.zarr", folder / "train.zarr", like="CE-T1WI", purpose="training", workers=0)
    return folder / "train.zarr"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, help="made by npczarr resample --for training")
    options = parser.parse_args()
    if options.store:
        main(options.store)
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(synthetic(Path(folder)))
