"""One scan as every export starts from it: voxels, mask, grid, and the scale of its values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.kernels.resample import resample, resample_mask
from npczarr.model.geometry import Floats, Grid
from npczarr.store.arrays import ShardedVoxels


@dataclass(frozen=True, slots=True, eq=False)
class ExportTask:
    """One scan to export: where its voxels are, without any open file, and where they go.

    Parameters
    ----------
    patient, sequence, rater
        Labels; the rater is empty unless the store holds several raters' masks.
    place
        Index of patient and sequence, and of the rater where there is one.
    shape_zyx, affine, slope, intercept
        As the store has them; slope and intercept (z,).
    z_spacing_known
        False for a single slice: its affine then takes 1 mm.
    image, mask
        The voxels; None where there are none.
    remark
        What is to be said of the scan whatever happens, such as why it has no mask.
    digest
        Of everything that the files depend on.
    out, format, size, bits
        Folder and form of the files.
    """

    patient: str
    sequence: str
    rater: str
    place: tuple[int, ...]
    shape_zyx: tuple[int, int, int]
    affine: Floats
    slope: Floats
    intercept: Floats
    z_spacing_known: bool
    image: ShardedVoxels | None
    mask: ShardedVoxels | None
    remark: str
    digest: str
    out: str
    format: str
    size: int | None
    bits: int

    @property
    def key(self) -> str:
        """Name of the scan in the manifest, and of its folder without the sequence."""
        return "/".join(part for part in (self.rater, self.patient, self.sequence) if part)


@dataclass(frozen=True, slots=True, eq=False)
class ScanVoxels:
    """A scan in memory.

    Parameters
    ----------
    patient, sequence
        Labels.
    image
        (z, y, x) stored values, in the store's type, or float32 once resampled; None where there are only masks.
    mask
        (z, y, x) uint8, or None.
    grid
        Where both lie.
    slope, intercept
        (z,): real value = slope * stored value + intercept.
    z_spacing_known
        False where 1 mm stands for a distance between slices that nobody knows.
    """

    patient: str
    sequence: str
    image: NDArray[Any] | None
    mask: NDArray[np.uint8] | None
    grid: Grid
    slope: Floats
    intercept: Floats
    z_spacing_known: bool

    @property
    def one_scale(self) -> bool:
        """Whether all slices have the same slope and intercept."""
        return bool(np.ptp(self.slope) == 0 and np.ptp(self.intercept) == 0)

    def real_values(self) -> NDArray[np.float64]:
        """(z, y, x) image in real values."""
        assert self.image is not None
        values: NDArray[np.float64] = self.image * self.slope[:, None, None] + self.intercept[:, None, None]
        return values


def read(task: ExportTask) -> ScanVoxels:
    """Read a scan from its shards, and lay it on another matrix where one is asked for.

    Raises
    ------
    StoreError
        If a shard is damaged.
    """
    z, y, x = (slice(0, n) for n in task.shape_zyx)
    image = None if task.image is None else task.image.read(task.place[:2], (z, y, x))
    mask = None if task.mask is None else task.mask.read(task.place, (z, y, x))
    scan = ScanVoxels(
        task.patient,
        task.sequence,
        image,
        mask,
        Grid(task.shape_zyx, task.affine),
        task.slope,
        task.intercept,
        task.z_spacing_known,
    )
    return scan if task.size is None else resized(scan, task.size)


def resized(scan: ScanVoxels, size: int) -> ScanVoxels:
    """Resample in-plane to ``size`` x ``size`` voxels over the same field of view; slices stay where they are.

    Images by linear interpolation, masks by linear interpolation and 0.5, as :func:`npczarr.resample` does.
    """
    target = scan.grid.regrid(shape=(None, size, size))
    return replace(
        scan,
        image=None if scan.image is None else resample(scan.image, scan.grid, target),
        mask=None if scan.mask is None else resample_mask(scan.mask, scan.grid, target),
        grid=target,
    )
