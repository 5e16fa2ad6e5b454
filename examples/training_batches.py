"""Batches of aligned T1, T2 and CE-T1 patches with tumour masks, for training, straight from the store.

Usage: python training_batches.py [STORE]; without a store, a small synthetic one is made. With PyTorch, wrap
`Patches` in `torch.utils.data.DataLoader(Patches(store), batch_size=None)`: any object that can be iterated will do.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import numpy as np

import npczarr as npc


class Patches:
    """Iterates once over the patients in random order; iterate again for the next epoch.

    Each batch is a pair of NumPy arrays: images (patient, sequence, z, y, x) float32, mean 0 and standard deviation 1
    over each scan, and masks (patient, z, y, x) uint8, that of CE-T1WI. Sequences lie on one grid, a box around the
    tumour; where a scan ends before the box does, the image is 0.
    """

    def __init__(self, store: str, batch: int = 4, spacing=(5, 1, 1), box_mm=(80, 96, 96), seed: int = 0) -> None:
        cohort = npc.open(store)
        whole = (cohort.mask_status == "ok").all("sequence") & (cohort.status == "ok").all("sequence")
        aligned = npc.resample(cohort, like="CE-T1WI", spacing=spacing, window=box_mm, normalize="zscore")
        self.patches = aligned.isel(patient=np.flatnonzero(whole))
        self.batch = batch
        self.random = np.random.default_rng(seed)

    def __len__(self) -> int:
        return -(-self.patches.sizes["patient"] // self.batch)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = self.random.permutation(self.patches.sizes["patient"])
        for start in range(0, len(order), self.batch):
            chosen = self.patches.isel(patient=order[start : start + self.batch])
            image, mask = dask.compute(chosen.image.data, chosen.mask.sel(sequence="CE-T1WI").data)
            yield np.nan_to_num(image), mask


def main(store: str | Path) -> None:
    patches = Patches(str(store))
    next(iter(patches))  # the kernels are compiled now
    start, scans = time.perf_counter(), 0
    for image, mask in patches:
        scans += image.shape[0] * image.shape[1]
        print(f"images {image.shape} {image.dtype}, masks {mask.shape}, {mask.sum()} voxels of tumour")
    print(f"{scans / (time.perf_counter() - start):.0f} scans/s")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            npc.make_cohort(Path(folder) / "cohort", patients=8, workers=0, reliability=False)
            npc.convert(Path(folder) / "cohort/primary_data", Path(folder) / "npc.zarr", workers=0)
            main(Path(folder) / "npc.zarr")
