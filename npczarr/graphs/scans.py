"""One scan from source to store: what a worker does, and what it reports."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray

from npczarr.errors import SourceError
from npczarr.model.cohort import File, ScanFiles
from npczarr.model.geometry import Grid, Shape
from npczarr.model.layout import Layout
from npczarr.model.records import PADDING, Mask, Row, Scan
from npczarr.sources.dicom import peek, read_scan
from npczarr.sources.files import Source
from npczarr.sources.nifti import read_mask
from npczarr.sources.raters import read_raters
from npczarr.store.access import Location
from npczarr.store.shards import digest, put_shards


class PlacedTask(Protocol):
    """What tells where a scan's voxels go: see :class:`ScanTask`."""

    @property
    def target(self) -> Location:
        """The store."""

    @property
    def place(self) -> tuple[int, int]:
        """Index of patient and sequence."""

    @property
    def layout(self) -> Layout:
        """Chunk layout."""

    @property
    def clear(self) -> bool:
        """Whether an earlier version may be there."""


@dataclass(frozen=True, slots=True)
class ScanTask:
    """One scan to write.

    Parameters
    ----------
    source, files
        Where it comes from.
    target, place, layout
        Where it goes: store, index of patient and sequence, chunk layout.
    clear
        Whether an earlier version may be there.
    raters
        Labels of the store's raters, where it holds their masks.
    """

    source: Source = field(repr=False)
    files: ScanFiles
    target: Location
    place: tuple[int, int]
    layout: Layout
    clear: bool
    raters: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Patient and sequence."""
        return self.files.patient, self.files.sequence


@dataclass(frozen=True, slots=True)
class PeekTask:
    """Scans whose first header is to be read."""

    source: Source = field(repr=False)
    scans: tuple[ScanFiles, ...]


def peek_scans(task: PeekTask) -> list[tuple[Shape, str] | str]:
    """Return upper bounds of the scans' shapes with the types they need, or why one cannot be told."""
    found: list[tuple[Shape, str] | str] = []
    for scan in task.scans:
        try:
            if scan.raters:
                masks, *_ = read_raters(task.source, scan, tuple(dict.fromkeys(scan.raters)))
                found.append((masks.shape[1:], "int16"))
            else:
                peeked = peek(task.source, scan.images, where=scan.where)
                found.append((peeked.shape_zyx, peeked.dtype))
        except Exception as error:  # whatever is wrong is told again, at length, when the scan is read
            found.append(f"{scan.patient}/{scan.sequence}: {_reason(error)}")
    return found


def write_scan(task: ScanTask) -> Row:
    """Read a scan with its mask and write their shards whole; safe to run twice.

    Raises
    ------
    StoreError
        If the store cannot be written. What is wrong with the scan itself is no error, it is in the row.
    """
    started = time.perf_counter()
    if task.raters:
        return _write_rated(task, started)
    try:
        scan = read_scan(task.source, task.files.images, masks=task.files.masks, where=task.files.where)
        image = _as_stored(scan.image, task.layout.dtype)
    except Exception as error:
        return _refused(task, error, started)
    if not task.layout.fits(scan.grid.shape_zyx):
        return _outgrown(task, scan.grid.shape_zyx)
    mask, mask_status, mask_message = _read_mask(task, scan)
    put_voxels(task, "image", image, PADDING[task.layout.dtype])
    put_voxels(task, "mask", None if mask is None else mask.mask, 0)

    warnings = [*scan.warnings, *mask_message]
    values: dict[str, Any] = {
        "status": "warning" if warnings else "ok",
        "message": "; ".join([*warnings, *scan.notes]),
        "mask_status": mask_status,
        "image_digest": digest(image),
        **geometry_of(scan.grid, scan.z_spacing_known),
        "rescale_slope": scan.rescale_slope,
        "rescale_intercept": scan.rescale_intercept,
        **scan.acquisition,
    }
    if mask is not None:
        values |= {"mask_digest": digest(mask.mask), **mask.evidence}
    return _row(task, values, started)


def _write_rated(task: ScanTask, started: float) -> Row:
    """Write the masks of every rater; there is no image, and the grid is the first rater's."""
    try:
        masks, grid, spacing_known, mask = read_raters(task.source, task.files, task.raters)
    except Exception as error:
        return _refused(task, error, started)
    if not task.layout.fits(grid.shape_zyx):
        return _outgrown(task, grid.shape_zyx)
    for rater, one in enumerate(masks):
        put_voxels(task, "mask", one, 0, (rater,))
    status = "warning" if mask.warnings else "ok"
    geometry = geometry_of(grid, spacing_known)
    if not spacing_known:
        geometry["spacing"][:] = np.nan
    values = {"status": status, "mask_status": status, "message": "; ".join(mask.warnings)}
    return _row(task, {**values, "mask_digest": digest(masks), **geometry, **mask.evidence}, started)


def _refused(task: ScanTask, error: Exception, started: float) -> Row:
    """Leave no voxels of an earlier version, and say why there are none."""
    put_voxels(task, "image", None, 0)
    for rater in range(len(task.raters)):
        put_voxels(task, "mask", None, 0, (rater,))
    if not task.raters:
        put_voxels(task, "mask", None, 0)
    return _row(task, {"status": "refused", "mask_status": "refused", "message": _reason(error)}, started)


def _outgrown(task: ScanTask, shape_zyx: Shape) -> Row:
    return Row(task.files.patient, task.files.sequence, {}, outgrown=shape_zyx)


def missing_row(files: ScanFiles) -> Row:
    """Return the row of a scan that the source does not have."""
    message = "a mask but no images" if files.masks else "no files"
    values = {"status": "missing", "mask_status": "missing", "message": message, "source_digest": source_digest(files)}
    return Row(files.patient, files.sequence, values)


def source_digest(scan: ScanFiles) -> str:
    """XXH3-128 of the names, sizes and stamps of a scan's files."""
    text = "\n".join(f"{f.path}\t{f.size}\t{f.stamp}" for f in (*scan.images, *scan.masks))
    return xxhash.xxh3_128_hexdigest(text.encode())


def _read_mask(task: ScanTask, scan: Scan) -> tuple[Mask | None, str, Sequence[str]]:
    """Return the mask, its status, and what is to be said of it."""
    if not task.files.masks:
        return None, "missing", ("no mask",)
    try:
        mask = read_mask(task.source, task.files.masks, scan.grid)
    except Exception as error:
        return None, "refused", (f"mask refused: {_reason(error)}",)
    return mask, "warning" if mask.warnings else "ok", mask.warnings


def _as_stored(image: NDArray[Any], dtype: str) -> NDArray[Any]:
    if image.dtype.name == dtype or dtype == "int32":
        return image.astype(dtype, copy=False)
    raise SourceError(
        f"values from {image.min()} to {image.max()} do not fit the store's int16 (from -32767 to 32767, -32768 marks "
        "padding); convert into a new store with --dtype int32"
    )


def put_voxels(
    task: PlacedTask, name: str, array: NDArray[Any] | None, fill: float, rater: tuple[int, ...] = ()
) -> None:
    """Write the shards of one variable, and delete what else an earlier version left."""
    prefix = "/".join(str(part) for part in (name, "c", *task.place, *rater))
    put_shards(task.target.open(), prefix, array, task.layout, fill, clear=task.clear)


def geometry_of(grid: Grid, z_spacing_known: bool = True) -> dict[str, Any]:
    """Entries of the catalogue that say where a scan's voxels lie."""
    z_mm, y_mm, x_mm = grid.axis_positions_mm()
    spacing = grid.spacing_zyx_mm.copy()
    if not z_spacing_known:
        spacing[0] = np.nan
    return {
        "shape": np.array(grid.shape_zyx),
        "spacing": spacing,
        "affine": grid.affine,
        "z_mm": z_mm,
        "y_mm": y_mm,
        "x_mm": x_mm,
    }


def _row(task: ScanTask, values: dict[str, Any], started: float) -> Row:
    files: tuple[File, ...] = (*task.files.images, *task.files.masks)
    values["source_digest"] = source_digest(task.files)
    return Row(
        task.files.patient,
        task.files.sequence,
        values,
        seconds=time.perf_counter() - started,
        source_bytes=sum(file.size for file in files),
    )


def _reason(error: Exception) -> str:
    if isinstance(error, SourceError):
        return str(error)
    # the text of such an error is not stored: nobody can say that it holds nothing of the patient
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno} (not foreseen; please report it)"
    )
