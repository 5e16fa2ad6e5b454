"""One scan to export: voxels, mask, grid, and the scale of its values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from npczarr.export.names import check_name
from npczarr.export.origin import Origin, OriginFiles, read_origin
from npczarr.kernels.resample import resample, resample_labels
from npczarr.model.geometry import Floats, Grid
from npczarr.model.label_set import TUMOR
from npczarr.store.scans import StoredScan


@dataclass(frozen=True, slots=True, eq=False)
class ExportTask:
    """One scan to export.

    Parameters
    ----------
    scan
        Where it comes from.
    rater
        Place of the rater whose mask it is, in a store of several; else None.
    out, format, size, bits
        Folder and form of the files.
    origin
        The series that it was made from, where its files are to refer to it.
    """

    scan: StoredScan
    rater: int | None
    out: str
    format: str
    size: int | None
    bits: int
    origin: OriginFiles | None = None

    @property
    def rater_label(self) -> str:
        """Label of the rater; "" unless the store holds several raters' masks."""
        return "" if self.rater is None else self.scan.raters[self.rater]

    @property
    def remark(self) -> str:
        """Remark on the scan in any case: why it has no mask."""
        if self.scan.has_mask:
            return ""
        message = self.scan.message
        return message if message.startswith("no mask") else f"no mask ({self.scan.mask_status}: {message})"

    @property
    def digest(self) -> str:
        """Digest of the parts of the scan that its files depend on."""
        scan = self.scan
        affine = None if scan.grid is None else scan.grid.affine.tolist()
        facts = [scan.image_digest, scan.mask_digest, scan.shape_zyx, affine, scan.known_zyx]
        facts += [scan.slope.tolist(), scan.intercept.tolist(), scan.has_mask]
        facts.append(scan.image_array.padding)
        return str(xxhash.xxh3_128_hexdigest(repr(facts).encode()))

    @property
    def folder(self) -> str:
        """Name of the folder of its files, below `out`.

        Raises
        ------
        ParameterError
            If a label cannot name a folder.
        """
        return "/".join(check_name(part) for part in (self.rater_label, self.scan.patient) if part)

    @property
    def key(self) -> str:
        """Name of the scan in the manifest, and of its folder without the sequence."""
        return "/".join(part for part in (self.rater_label, self.scan.patient, self.scan.sequence) if part)


@dataclass(frozen=True, slots=True, eq=False)
class ScanVoxels:
    """A scan in memory.

    Parameters
    ----------
    patient, sequence
        Labels.
    image
        (z, y, x) stored values, in the store's type, or float32 once resampled; NaN, and then floats, where there is
        padding, which is outside the field of view. None where there are only masks.
    mask
        (z, y, x) uint8, numbers of labels; or None.
    grid
        Where both lie.
    slope, intercept
        (z,): real value = slope * stored value + intercept.
    z_spacing_known
        False where 1 mm stands for a distance between slices that nobody knows.
    labels
        Names of the labels, from number 1.
    image_digest, mask_digest, frame_digest
        Digests of the voxels and of the frame of reference in the store; "" where there is none.
    origin
        The series that it was made from; None where the files are to stand alone.
    """

    patient: str
    sequence: str
    image: NDArray[Any] | None
    mask: NDArray[np.uint8] | None
    grid: Grid
    slope: Floats
    intercept: Floats
    z_spacing_known: bool
    labels: tuple[str, ...] = (TUMOR,)
    image_digest: str = ""
    mask_digest: str = ""
    frame_digest: str = ""
    origin: Origin | None = None

    @property
    def one_scale(self) -> bool:
        """Whether all slices have the same slope and intercept."""
        return bool(np.ptp(self.slope) == 0 and np.ptp(self.intercept) == 0)

    def real_values(self) -> NDArray[np.float64]:
        """(z, y, x) image in real values, NaN outside the field of view."""
        assert self.image is not None
        values: NDArray[np.float64] = self.image * self.slope[:, None, None] + self.intercept[:, None, None]
        return values


def read(task: ExportTask) -> ScanVoxels:
    """Read a scan, and resample it to another matrix where `size` is given.

    Raises
    ------
    StoreError
        If an object is absent or damaged.
    """
    stored = task.scan
    assert stored.grid is not None
    mask = stored.mask() if stored.has_mask else None
    scan = ScanVoxels(
        stored.patient,
        stored.sequence,
        stored.known_image() if stored.has_image else None,
        mask if mask is None or task.rater is None else mask[task.rater],
        stored.grid,
        stored.slope,
        stored.intercept,
        stored.known_zyx[0],
        stored.labels,
        stored.image_digest,
        stored.mask_digest,
        stored.frame_digest,
        None if task.origin is None else read_origin(stored, task.origin),
    )
    return scan if task.size is None else resized(scan, task.size)


def outside_remarks(image: NDArray[Any] | None, sequence: str, written: str) -> list[str]:
    """Say how much of an image lies outside its field of view, and what is written there; empty where nothing does."""
    if image is None or image.dtype.kind != "f" or np.isfinite(image).all():
        return []
    share = float(np.mean(~np.isfinite(image)))
    return [f"{share:.1%} of {sequence} lies outside its field of view, {written} there"]


def resized(scan: ScanVoxels, size: int) -> ScanVoxels:
    """Resample in-plane to ``size`` x ``size`` voxels over the same field of view; slices stay where they are.

    Images by linear interpolation, masks by linear interpolation and 0.5, as :func:`npczarr.resample` does.
    """
    target = scan.grid.regrid(shape=(None, size, size))
    return replace(
        scan,
        image=None if scan.image is None else resample(scan.image, scan.grid, target),
        mask=None if scan.mask is None else resample_labels(scan.mask, scan.grid, target),
        grid=target,
    )
