"""One scan from a store to its resampled copy: what a worker does, and what it reports."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import NpczarrError, UnreachableError
from npczarr.graphs.convert_scan import clear_scan, geometry_of
from npczarr.graphs.resample_blocks import outside_remark, unknown_remark
from npczarr.graphs.resample_plan import ScanPlan
from npczarr.kernels.scan import as_integers, resample_image, resample_outline, target_grid
from npczarr.model.geometry import Grid
from npczarr.model.records import PADDING, Row
from npczarr.model.resampling import Resampling
from npczarr.model.schema import STORED
from npczarr.store.chunks import ScanPlace, digest
from npczarr.store.rows import Key
from npczarr.store.scans import StoredScan


@dataclass(frozen=True, slots=True, eq=False)
class ResampleTask:
    """One scan to resample.

    Parameters
    ----------
    scan, tumor
        Where it comes from, and the scan around whose tumor a window is placed.
    plan, request
        What is to be done.
    carried
        Entries of its row that stay as they are.
    source_digest
        Digest of what it is made from.
    target
        Where it goes.
    """

    scan: StoredScan
    tumor: StoredScan
    plan: ScanPlan
    request: Resampling
    carried: Mapping[str, Any] = field(repr=False)
    source_digest: str
    target: ScanPlace

    @property
    def key(self) -> Key:
        """Patient and sequence."""
        return self.scan.patient, self.scan.sequence


def write_resampled(task: ResampleTask) -> Row:
    """Resample one scan and write its chunks whole; safe to run twice.

    Raises
    ------
    UnreachableError
        If the server of the source is away.
    StoreError
        If the store cannot be written. What is wrong with the scan itself is no error, it is in the row.
    """
    started = time.perf_counter()
    plan, own, scan, layout = task.plan, task.plan.own, task.scan, task.target.layout
    assert own is not None
    try:
        image = scan.known_image() if plan.has_image else None
        mask = scan.mask() if plan.has_mask else None
        tumor = task.tumor.mask() if task.request.needs_tumor and task.tumor.has_mask else None
    except UnreachableError:  # not a fault of the scan: what was made of it before stays
        raise
    except NpczarrError as error:
        return _refused(task, str(error), started)
    target = target_grid(task.request, own, plan.reference, tumor)
    if not layout.fits(target.shape_zyx):
        return Row(*task.key, {}, outgrown=target.shape_zyx)
    values: dict[str, Any] = {**task.carried, **geometry_of(target), "source_digest": task.source_digest}
    values["spacing"] = np.where(plan.known_zyx, values["spacing"], np.nan)
    depth = target.shape_zyx[0]
    new: NDArray[Any] | None = None
    unknown = ""
    try:
        if image is not None:
            new, numbers = resample_image(task.request, image, scan.slope, scan.intercept, own, target)
            unknown = unknown_remark(new, task.carried["message"])
            if layout.dtype == "int16":
                new, numbers = as_integers(new, numbers)
            values |= {"image_digest": digest(new), "rescale_slope": np.full(depth, numbers.slope)}
            values |= {"rescale_intercept": np.full(depth, numbers.intercept)}
        raters = [] if mask is None else list(mask.reshape(-1, *own.shape_zyx))
        outlines = [resample_outline(task.request, one, own, target) for one in raters]
    except NpczarrError as error:
        return _refused(task, str(error), started)
    task.target.write("image", new, PADDING[layout.dtype])
    outside = _write_masks(task, mask, outlines, target, values)
    warnings = [part for part in (plan.remark, outside, unknown) if part]
    values["message"] = "; ".join(part for part in (*warnings, task.carried["message"]) if part)
    values["status"] = "warning" if warnings else task.carried["status"]
    size = sum(array.nbytes for array in (image, mask) if array is not None)
    return Row(*task.key, values, seconds=time.perf_counter() - started, source_bytes=size)


def _write_masks(
    task: ResampleTask,
    mask: NDArray[Any] | None,
    outlines: list[NDArray[np.uint8]],
    target: Grid,
    values: dict[str, Any],
) -> str:
    """Write the masks, complete the row, and return what must be known of them."""
    rated = bool(task.scan.raters)
    for i, rater in enumerate([(i,) for i in range(len(task.scan.raters))] if rated else [()]):
        task.target.write("mask", outlines[i] if outlines else None, 0, rater)
    if mask is None:
        return ""
    joined = np.stack(outlines) if rated else outlines[0]
    values["mask_digest"] = digest(joined)
    values["mask_voxels"] = int(np.count_nonzero(joined))
    values["mask_touches_end_slice"] = int(any(bool(one[0].any() or one[-1].any()) for one in outlines))
    return outside_remark(mask, task.plan, target) if task.request.may_cut else ""


def _refused(task: ResampleTask, reason: str, started: float) -> Row:
    clear_scan(task.target, len(task.scan.raters))
    return refusal(task.key, task.carried, reason, task.source_digest, time.perf_counter() - started)


def refusal(key: Key, carried: Mapping[str, Any], reason: str, source_digest: str, seconds: float = 0.0) -> Row:
    """Return the row of a scan that cannot be resampled; what was not in the source's store keeps its reason."""
    values: dict[str, Any] = {**carried, "source_digest": source_digest}
    if values["status"] in STORED:
        values |= {"status": "refused", "message": reason}
    if values["mask_status"] in STORED:
        values["mask_status"] = "refused"
    return Row(*key, values, seconds=seconds)
