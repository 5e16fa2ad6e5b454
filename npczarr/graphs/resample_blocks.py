"""The tasks of a lazy resampling: blocks of scans in, blocks of scans out; NumPy only, tested without Dask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr import freed_memory
from npczarr.graphs.resample_plan import ScanPlan
from npczarr.kernels.scan import intensities, resample_image, resample_outline, target_grid
from npczarr.model.geometry import Floats, Grid, Shape, covered_fraction
from npczarr.model.records import PADDING
from npczarr.model.resampling import Resampling
from npczarr.model.schema import STORED
from npczarr.store.chunks import digest, without_padding

#: Variables that a resampling makes anew and that may depend on voxels, in the order of a line of :func:`table_of`.
PLACED = ("affine", "z_mm", "rescale_slope", "rescale_intercept")
#: Variables that a resampling makes anew.
SPATIAL = ("shape", "spacing", *PLACED)

#: Variables that are known only of a scan that was resampled, in the order of a line of :func:`facts_block`.
FACTS = ("image_digest", "mask_digest", "mask_voxels", "mask_touches_end_slice", "status", "message")


@dataclass(frozen=True, slots=True, eq=False)
class ScanInputs:
    """What is known of a block of scans without their voxels.

    Parameters
    ----------
    plans
        (…) plan of each scan.
    slope, intercept
        (…, z): real value = slope * stored value + intercept.
    status, message
        (…) what the source says of each scan.
    """

    plans: Any  # an array of ScanPlan, which NumPy's types cannot say
    slope: Floats
    intercept: Floats
    status: NDArray[Any]
    message: NDArray[Any]


def image_block(
    inputs: ScanInputs,
    image: NDArray[Any],
    tumor: NDArray[Any] | None = None,
    *,
    request: Resampling,
    extent: Shape,
) -> NDArray[np.float32]:
    """Resample the images of a block of scans; the tumors' masks tell where windows lie, if any."""
    freed_memory.keep()
    lead = image.shape[:-3]
    result = np.full((*lead, *extent), np.nan, np.float32)
    for at in np.ndindex(*lead):
        plan: ScanPlan = inputs.plans[at]
        if plan.own is None or not plan.has_image:
            continue
        own = _window(plan.own)
        target = _target(request, plan, None if tumor is None else tumor[at])
        depth = own[0]
        numbers = inputs.slope[at][depth], inputs.intercept[at][depth]
        values, _ = resample_image(request, _known(image[at][own]), *numbers, plan.own, target)
        result[at][_window(target)] = values
    return result


def mask_block(
    inputs: ScanInputs,
    mask: NDArray[Any],
    tumor: NDArray[Any] | None = None,
    *,
    request: Resampling,
    extent: Shape,
) -> NDArray[np.uint8]:
    """Resample the masks of a block of scans, of one rater or of several."""
    lead = mask.shape[:-3]
    result = np.zeros((*lead, *extent), np.uint8)
    for at in np.ndindex(*lead):
        plan: ScanPlan = inputs.plans[at[: inputs.plans.ndim]]
        if plan.own is None or not plan.has_mask:
            continue
        voxels = mask[at][_window(plan.own)]
        target = _target(request, plan, None if tumor is None else tumor[at])
        result[at][_window(target)] = resample_outline(request, voxels, plan.own, target)
    return result


def table_block(
    inputs: ScanInputs,
    voxels: NDArray[Any],
    tumor: NDArray[Any] | None = None,
    *,
    request: Resampling,
    extent: Shape,
) -> Floats:
    """Make the line of each scan; the voxels are its image where it is normalized."""
    plans = inputs.plans
    result = np.full((*plans.shape, width_of(extent)), np.nan)
    for at in np.ndindex(*plans.shape):
        image = voxels[at] if request.normalize else None
        outline = None if tumor is None else tumor[at]
        result[at] = table_of(plans[at], image, outline, inputs.slope[at], inputs.intercept[at], request, extent)
    return result


def table_of(
    plan: ScanPlan,
    image: NDArray[Any] | None,
    tumor: NDArray[Any] | None,
    slope: Floats,
    intercept: Floats,
    request: Resampling,
    extent: Shape,
) -> Floats:
    """Lay out where a resampled scan lies, and its rescaling, in the order of `PLACED`."""
    if plan.own is None:
        return np.full(width_of(extent), np.nan)
    own = _window(plan.own)
    target = _target(request, plan, tumor)
    depth = own[0]
    first = _known(image[own]) if image is not None and plan.has_image else np.zeros((1, 1, 1))
    plain = request if image is not None and plan.has_image else Resampling()
    numbers = intensities(plain, first, slope[depth], intercept[depth])
    parts = [target.affine.ravel(), _padded(target.axis_positions_mm()[0], extent[0])]
    parts += [_padded(np.full(target.shape_zyx[0], v), extent[0]) for v in (numbers.slope, numbers.intercept)]
    return np.concatenate(parts)


def facts_block(
    inputs: ScanInputs,
    *voxels: NDArray[Any],
    request: Resampling,
    names: tuple[str, ...],
) -> NDArray[Any]:
    """Lay out what is known of each scan once it is resampled, in the order of `FACTS`.

    Parameters
    ----------
    voxels
        Those that were resampled, by `names`; then, where a grid may cut the tumor, the masks that they come from, and
        the masks by which windows are placed.
    """
    new = dict(zip(names, voxels, strict=False))
    old = voxels[len(names) :]
    plans = inputs.plans
    result = np.empty((*plans.shape, len(FACTS)), dtype=object)
    for at in np.ndindex(*plans.shape):
        plan: ScanPlan = plans[at]
        texts = [str(values[at]) for values in (inputs.status, inputs.message)]
        image = new["image"][at] if "image" in new and plan.has_image else None
        mask = new["mask"][at] if "mask" in new and plan.has_mask else None
        outside = ""
        if plan.own is not None and mask is not None and old:
            tumor = old[1][at] if len(old) > 1 else None
            outside = outside_remark(old[0][at], plan, _target(request, plan, tumor))
        result[at] = _facts(plan, image, mask, outside, texts)
    return result


def _facts(
    plan: ScanPlan,
    image: NDArray[Any] | None,
    mask: NDArray[Any] | None,
    outside: str,
    texts: list[str],
) -> list[Any]:
    status, message = texts
    if plan.problem or plan.own is None:
        refused = status in STORED
        return ["", "", 0, 0, "refused" if refused else status, plan.problem if refused else message]
    box = tuple(slice(n) for n in plan.shape_zyx)
    unknown = "" if image is None else unknown_remark(image, message)
    remarks = [part for part in (plan.remark, outside, unknown) if part]
    status = "warning" if remarks else status
    message = "; ".join(part for part in (*remarks, message) if part)
    of_image = "" if image is None else digest(image[box])
    if mask is None:
        return [of_image, "", 0, 0, status, message]
    whole: tuple[Any, ...] = (..., *box)
    outline = mask[whole]
    ends = bool(outline[..., 0, :, :].any() or outline[..., -1, :, :].any())
    return [of_image, digest(outline), int(np.count_nonzero(outline)), int(ends), status, message]


def _known(values: NDArray[Any]) -> NDArray[Any]:
    """Return a scan's values with NaN for padding, which a Dataset holds that was opened with mask_and_scale=False."""
    return without_padding(values, PADDING.get(values.dtype.name, np.nan))


def outside_remark(mask: NDArray[Any], plan: ScanPlan, target: Grid) -> str:
    """Say how much of a tumor a new grid leaves out; "" where it holds all of it.

    Parameters
    ----------
    mask
        (z, y, x) or (rater, z, y, x), with padding around.
    """
    assert plan.own is not None
    box: tuple[Any, ...] = (..., *_window(plan.own))
    own = mask[box]
    inside = [covered_fraction(np.argwhere(one), plan.own, target) for one in own.reshape(-1, *plan.own.shape_zyx)]
    cut = [fraction for fraction in inside if fraction < 1]
    return f"{1 - min(cut):.1%} of the tumor is outside the new grid" if cut else ""


def unknown_remark(image: NDArray[Any], message: str) -> str:
    """Say that a resampled image has no known value at all; "" where it has any, or where the message says so."""
    remark = "no voxel of the image has a known value on the new grid"
    return "" if remark in message or np.isfinite(image).any() else remark


def _target(request: Resampling, plan: ScanPlan, tumor: NDArray[Any] | None) -> Grid:
    """Return the grid a scan takes, given the mask on its base grid with padding around."""
    base = plan.reference or plan.own
    assert plan.own is not None
    assert plan.target is not None
    assert base is not None
    if not request.needs_tumor:
        return plan.target
    return target_grid(request, plan.own, plan.reference, None if tumor is None else tumor[_window(base)])


def width_of(extent: Shape) -> int:
    """Return the length of a line of :func:`table_of`."""
    return 16 + 3 * extent[0]


def _padded(values: Floats, length: int) -> Floats:
    return np.pad(values, (0, length - len(values)), constant_values=np.nan)


def _window(grid: Grid) -> tuple[slice, slice, slice]:
    z, y, x = grid.shape_zyx
    return slice(z), slice(y), slice(x)
