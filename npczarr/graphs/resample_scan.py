"""One scan from a store to its resampled copy: what a worker does, and what it reports."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import NpczarrError
from npczarr.graphs.regrid import ScanPlan
from npczarr.graphs.scans import geometry_of, put_voxels
from npczarr.kernels.scan import resample_image, resample_outline, target_grid
from npczarr.model.geometry import Grid, covered_fraction
from npczarr.model.layout import Layout
from npczarr.model.records import PADDING, Row
from npczarr.model.resampling import Resampling
from npczarr.model.schema import STORED
from npczarr.store.access import Location
from npczarr.store.arrays import ShardedVoxels
from npczarr.store.shards import digest

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class ResampleTask:
    """One scan to resample.

    Parameters
    ----------
    key, origin
        Its labels, and its place in the store it comes from.
    tumour
        Place of the scan whose tumour a window lies around.
    plan, request
        What is to be done.
    image, mask
        The voxels of the store it comes from.
    slope, intercept
        (z,) rescaling of the scan.
    carried
        Entries of the catalogue that stay as they are.
    source_digest
        Of what it is made from.
    target, place, layout, clear
        Where it goes.
    """

    key: Key
    origin: tuple[int, int]
    tumour: tuple[int, int]
    plan: ScanPlan
    request: Resampling
    image: ShardedVoxels
    mask: ShardedVoxels
    slope: NDArray[np.float64]
    intercept: NDArray[np.float64]
    carried: Mapping[str, Any]
    source_digest: str
    target: Location
    place: tuple[int, int]
    layout: Layout
    clear: bool


def write_resampled(task: ResampleTask) -> Row:
    """Resample one scan and write its shards whole; safe to run twice.

    Raises
    ------
    StoreError
        If the store cannot be written. What is wrong with the scan itself is no error, it is in the row.
    """
    started = time.perf_counter()
    plan, own = task.plan, task.plan.own
    assert own is not None
    window = tuple(slice(0, n) for n in own.shape_zyx)
    try:
        image = _read(task.image, task.origin, window) if plan.has_image else None
        masks = _read_masks(task, window)
        tumour = _read_tumour(task)
    except NpczarrError as error:
        return _refused(task, str(error), started)
    target = target_grid(task.request, own, plan.reference, tumour)
    if not task.layout.fits(target.shape_zyx):
        return Row(*task.key, {}, outgrown=target.shape_zyx)
    values: dict[str, Any] = {**task.carried, **geometry_of(target), "source_digest": task.source_digest}
    values["spacing"] = np.where(plan.known_zyx, values["spacing"], np.nan)
    depth = target.shape_zyx[0]
    try:
        if image is not None:
            new, numbers = resample_image(task.request, image, task.slope, task.intercept, own, target)
            values |= {"image_digest": digest(new), "rescale_slope": np.full(depth, numbers.slope)}
            values |= {"rescale_intercept": np.full(depth, numbers.intercept)}
        outlines = [resample_outline(task.request, mask, own, target) for mask in masks]
    except NpczarrError as error:
        return _refused(task, str(error), started)
    put_voxels(task, "image", new if image is not None else None, PADDING[task.layout.dtype])
    warnings = _put_masks(task, masks, outlines, target, values)
    warnings = [part for part in (plan.remark, *warnings, task.carried["message"]) if part]
    values["message"] = "; ".join(warnings)
    values["status"] = "warning" if len(warnings) > bool(task.carried["message"]) else task.carried["status"]
    read = own.shape_zyx[0] * own.shape_zyx[1] * own.shape_zyx[2]
    size = read * (np.dtype(task.image.dtype).itemsize * (image is not None) + len(masks))
    return Row(*task.key, values, seconds=time.perf_counter() - started, source_bytes=size)


def _read(voxels: ShardedVoxels, place: tuple[int, ...], window: Any) -> NDArray[Any]:  # noqa: ANN401 - three slices
    return voxels.read(place, window)


def _read_masks(task: ResampleTask, window: Any) -> list[NDArray[Any]]:  # noqa: ANN401 - three slices
    if not task.plan.has_mask:
        return []
    raters = task.mask.shape[2:-3]
    return [_read(task.mask, (*task.origin, *rater), window) for rater in np.ndindex(*raters)]


def _read_tumour(task: ResampleTask) -> NDArray[Any] | None:
    """Read the mask by which the window is placed: the scan's, or that of the sequence it is laid on."""
    base = task.plan.reference or task.plan.own
    if base is None or not task.request.needs_tumour:
        return None
    window = tuple(slice(0, n) for n in base.shape_zyx)
    return _read(task.mask, task.tumour, window)


def _put_masks(
    task: ResampleTask,
    masks: list[NDArray[Any]],
    outlines: list[NDArray[np.uint8]],
    target: Grid,
    values: dict[str, Any],
) -> list[str]:
    """Write the masks, complete the row, and return what must be known of them."""
    rated = task.mask.shape[2:-3]
    for i, rater in enumerate(np.ndindex(*rated)):
        put_voxels(task, "mask", outlines[i] if outlines else None, 0, rater)
    if not outlines:
        return []
    joined = np.stack(outlines) if rated else outlines[0]
    values["mask_digest"] = digest(joined)
    values["mask_voxels"] = int(np.count_nonzero(joined))
    values["mask_touches_end_slice"] = int(any(bool(o[0].any() or o[-1].any()) for o in outlines))
    request = task.request
    if task.plan.own is None or (request.like is None and request.window is None and request.bounds is None):
        return []
    inside = [covered_fraction(np.argwhere(mask), task.plan.own, target) for mask in masks]
    cut = [fraction for fraction in inside if fraction < 1]
    return [f"{1 - min(cut):.1%} of the tumour lies outside the new grid"] if cut else []


def _refused(task: ResampleTask, reason: str, started: float) -> Row:
    put_voxels(task, "image", None, 0)
    for rater in np.ndindex(*task.mask.shape[2:-3]):
        put_voxels(task, "mask", None, 0, rater)
    return refusal(task.key, task.carried, reason, task.source_digest, time.perf_counter() - started)


def refusal(key: Key, carried: Mapping[str, Any], reason: str, source_digest: str, seconds: float = 0.0) -> Row:
    """Return the row of a scan that cannot be resampled; what was not in the source's store keeps its reason."""
    values: dict[str, Any] = {**carried, "source_digest": source_digest}
    if values["status"] in STORED:
        values |= {"status": "refused", "message": reason}
    if values["mask_status"] in STORED:
        values["mask_status"] = "refused"
    return Row(*key, values, seconds=seconds)
