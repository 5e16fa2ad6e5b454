"""One scan from source to store: what a worker does, and what it reports."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from npczarr.errors import SourceError
from npczarr.graphs.held_scan import HeldScan
from npczarr.graphs.imported_mask import ImportedMask
from npczarr.model.cohort import File, ScanFiles
from npczarr.model.geometry import Grid
from npczarr.model.records import PADDING, Mask, Row, Scan
from npczarr.sources.files import Source
from npczarr.sources.images import read_image
from npczarr.sources.masks import read_scan_mask
from npczarr.sources.raters import read_raters
from npczarr.store.chunks import ScanPlace, digest
from npczarr.store.describe import uid_digest


@dataclass(frozen=True, slots=True)
class ScanTask:
    """One scan to write.

    Parameters
    ----------
    source, files
        Where it comes from.
    target
        Where it goes.
    raters
        Labels of the store's raters, where it holds their masks.
    salt
        Secret of the store, for the digests of UIDs.
    held_series
        Digest of the series that the store holds of this scan, "" if it holds none.
    replace
        Whether a scan of another series may take its place.
    imported
        Mask that was imported into the store, and stays if the source is as it was then; None where there is none, or
        the source's is asked for.
    held
        What the store holds of the scan, and keeps where the source has got worse; None where that is nothing, or the
        source's is asked for.
    """

    source: Source = field(repr=False)
    files: ScanFiles
    target: ScanPlace
    raters: tuple[str, ...] = ()
    salt: str = field(default="", repr=False)
    held_series: str = ""
    replace: bool = False
    imported: ImportedMask | None = field(default=None, repr=False)
    held: HeldScan | None = field(default=None, repr=False)

    @property
    def key(self) -> tuple[str, str]:
        """Patient and sequence."""
        return self.files.patient, self.files.sequence


def write_scan(task: ScanTask) -> Row:
    """Read a scan with its mask and write their chunks whole; safe to run twice.

    Raises
    ------
    StoreError
        If the store cannot be written. What is wrong with the scan itself is no error, it is in the row.
    """
    started = time.perf_counter()
    row = _write_masks_of_raters(task) if task.raters else _write_image_and_mask(task)
    files: tuple[File, ...] = (*task.files.images, *task.files.masks, *task.files.structures)
    return replace(row, seconds=time.perf_counter() - started, source_bytes=sum(file.size for file in files))


def _write_image_and_mask(task: ScanTask) -> Row:
    layout = task.target.layout
    try:
        scan = _read_scan(task)
        image = _as_stored(scan.image, layout.dtype)
    except Exception as error:
        return _refused(task, error)
    series = uid_digest(scan.series_uid, task.salt)
    if task.held_series and series != task.held_series and not task.replace:
        return Row(*task.key, {}, declined=_OTHER_SERIES)
    if not layout.fits(scan.grid.shape_zyx):
        return Row(*task.key, {}, outgrown=scan.grid.shape_zyx)
    mask, mask_status, mask_message = _read_mask(task, scan)
    mask_digest = "" if mask is None else digest(mask.mask)
    imported = task.imported
    if imported is not None and not imported.is_of(scan, image, mask_digest):
        imported = None  # what the source has now takes its place
    held = _kept(task, image, None if imported is not None or mask is not None else mask_message)
    if held is not None:
        return held
    task.target.write("image", image, PADDING[layout.dtype])
    values = _values(task, scan, image, mask_message, () if mask is None else mask.notes)
    values |= {"mask_status": mask_status, "series_digest": series}
    if imported is not None:
        values = imported.entered(values)
    else:
        task.target.write("mask", None if mask is None else mask.mask, 0)
        if mask is not None:
            values |= {"mask_digest": mask_digest, **mask.evidence}
    return replace(_row(task, values), named=scan.named, person=uid_digest(scan.person, task.salt))


def _values(
    task: ScanTask, scan: Scan, image: NDArray[Any], of_mask: Sequence[str], notes: Sequence[str]
) -> dict[str, Any]:
    """Return the entries of an image, with what is to be said of it and of its mask."""
    warnings = [*_fewer_slices(task, image), *scan.warnings, *of_mask]
    return {
        "status": "warning" if warnings else "ok",
        "message": "; ".join([*warnings, *scan.notes, *notes]),
        "image_digest": digest(image),
        "study_digest": uid_digest(scan.study_uid, task.salt),
        "frame_digest": uid_digest(scan.frame_of_reference_uid, task.salt),
        **geometry_of(scan.grid, scan.z_spacing_known),
        "rescale_slope": scan.rescale_slope,
        "rescale_intercept": scan.rescale_intercept,
        **scan.acquisition,
    }


_OTHER_SERIES = (
    "the source has another series than the one that the store holds under this name, and the store keeps its own; "
    "check the folder, or take the new one with --replace (replace=True). A NIfTI image that was edited needs that: "
    "without a SeriesInstanceUID in its JSON sidecar it is known by its voxels"
)


def _read_scan(task: ScanTask) -> Scan:
    files = task.files
    held = None
    if task.held_series and not task.replace:

        def held(uid: str) -> bool:
            return uid_digest(uid, task.salt) == task.held_series

    return read_image(task.source, files, held=held)


def _write_masks_of_raters(task: ScanTask) -> Row:
    """Write the masks of every rater; there is no image, and the grid is the first rater's."""
    try:
        masks, grid, spacing_known, mask = read_raters(task.source, task.files, task.raters)
    except Exception as error:
        return _refused(task, error)
    if not task.target.layout.fits(grid.shape_zyx):
        return Row(*task.key, {}, outgrown=grid.shape_zyx)
    for rater, one in enumerate(masks):
        task.target.write("mask", one, 0, (rater,))
    status = "warning" if mask.warnings else "ok"
    geometry = geometry_of(grid, spacing_known)
    if not spacing_known:
        geometry["spacing"][:] = np.nan
    values = {"status": status, "mask_status": status, "message": "; ".join(mask.warnings)}
    return _row(task, {**values, "mask_digest": digest(masks), **geometry, **mask.evidence})


def _kept(task: ScanTask, image: NDArray[Any], without_mask: Sequence[str] | None) -> Row | None:
    """Return the row that keeps what the store holds where the source has lost the mask or slices; else None.

    Parameters
    ----------
    task
        The scan.
    image
        (z, y, x) image of the source, in the type of the store.
    without_mask
        Why there is no mask; None where there is one.
    """
    held = task.held
    if held is None:
        return None
    if without_mask is not None and held.has_mask():
        loss = f"the source has no mask that can be used now ({'; '.join(without_mask)})"
    elif lost := held.slices_lost(image):
        depth = image.shape[0]
        loss = f"the source had {depth + lost} slices and has {depth} now, which are as they were"
    else:
        return None
    if not held.sure and digest(image) == held.scan.image_digest:  # what was left in part is whole again
        task.target.write("image", image, PADDING[task.target.layout.dtype])
    return held.keep(loss)


def _fewer_slices(task: ScanTask, image: NDArray[Any]) -> list[str]:
    """Say that a scan whose voxels changed has fewer slices than the one that the store held."""
    before = 0 if task.held is None or not task.held.scan.image_digest else task.held.scan.shape_zyx[0]
    return [f"had {before} slices, now {len(image)}: check the series for missing files"] if before > len(image) else []


def _refused(task: ScanTask, error: Exception) -> Row:
    """Say why there is nothing to write; what the store holds of the scan is not touched."""
    return _row(task, {"status": "refused", "mask_status": "refused", "message": failure_reason(error)})


def clear_scan(target: ScanPlace, raters: int) -> None:
    """Delete the voxels of a scan."""
    target.write("image", None, 0)
    places: list[tuple[int, ...]] = [(i,) for i in range(raters)] or [()]
    for rater in places:
        target.write("mask", None, 0, rater)


def missing_row(files: ScanFiles) -> Row:
    """Return the row of a scan that the source does not have."""
    message = "a mask but no images" if files.masks else "no files"
    values = {"status": "missing", "mask_status": "missing", "message": message, "source_digest": source_digest(files)}
    return Row(files.patient, files.sequence, values)


def source_digest(scan: ScanFiles) -> str:
    """XXH3-128 of the names, sizes and stamps of a scan's files, and of the rules that choose among them."""
    text = "\n".join(f"{f.path}\t{f.size}\t{f.stamp}" for f in (*scan.images, *scan.masks, *scan.structures))
    text += repr(scan.where) if scan.where else ""
    text += repr(scan.labels) if scan.labels else ""
    return xxhash.xxh3_128_hexdigest(text.encode())


def _read_mask(task: ScanTask, scan: Scan) -> tuple[Mask | None, str, Sequence[str]]:
    """Return the mask, its status, and what is to be said of it."""
    try:
        mask = read_scan_mask(task.source, task.files, scan)
    except Exception as error:
        return None, "refused", (f"mask refused: {failure_reason(error)}",)
    if isinstance(mask, str):
        return None, "missing", (mask,)
    return mask, "warning" if mask.warnings else "ok", mask.warnings


def _as_stored(image: NDArray[Any], dtype: str) -> NDArray[Any]:
    if image.dtype.name == dtype or (dtype == "int32" and image.dtype.name == "int16"):
        return image.astype(dtype, copy=False)
    if dtype == "float32":
        if np.array_equal(image.astype(dtype), image):
            return image.astype(dtype)
        raise SourceError(
            f"whole numbers from {image.min()} to {image.max()}, which the store's float32 cannot hold without loss; "
            "convert this sequence into a store of its own"
        )
    if image.dtype.kind == "f":
        raise SourceError(
            f"the voxels are floating-point numbers that are not whole, and the store holds {dtype}; convert into a "
            "new store with --dtype float32"
        )
    raise SourceError(
        f"values from {image.min()} to {image.max()} do not fit the store's int16 (from -32767 to 32767, -32768 marks "
        "padding); convert into a new store with --dtype int32"
    )


def geometry_of(grid: Grid, z_spacing_known: bool = True) -> dict[str, Any]:
    """Entries of the tables that say where a scan's voxels are."""
    spacing = grid.spacing_zyx_mm.copy()
    if not z_spacing_known:
        spacing[0] = np.nan
    return {
        "shape": np.array(grid.shape_zyx),
        "spacing": spacing,
        "affine": grid.affine,
        "z_mm": grid.axis_positions_mm()[0],
    }


def _row(task: ScanTask, values: dict[str, Any]) -> Row:
    return Row(*task.key, {**values, "source_digest": source_digest(task.files)})


def failure_reason(error: Exception) -> str:
    """Return the message of an error of ours; of any other its class and line, which hold nothing of the patient."""
    if isinstance(error, SourceError):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno} (not foreseen; please report it)"
    )
