"""What the tasks of a lazy resampling do: blocks of scans in, blocks of scans out; NumPy only, tested without Dask."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.graphs.regrid import ScanPlan
from npczarr.kernels.scan import intensities, resample_image, resample_outline, target_grid
from npczarr.model.geometry import Floats, Grid, Shape
from npczarr.model.resampling import Resampling

#: Variables that a resampling makes anew, in the order of a line of :func:`table_of`.
SPATIAL = ("shape", "spacing", "affine", "z_mm", "y_mm", "x_mm", "rescale_slope", "rescale_intercept")


def image_block(
    plans: Any,  # noqa: ANN401 - an array of ScanPlan, or one
    image: NDArray[Any],
    slope: Floats,
    intercept: Floats,
    tumour: NDArray[Any] | None = None,
    *,
    request: Resampling,
    extent: Shape,
) -> NDArray[np.float32]:
    """Resample the images of a block of scans; the tumours' masks tell where windows lie, if any."""
    lead = image.shape[:-3]
    result = np.full((*lead, *extent), np.nan, np.float32)
    for at in np.ndindex(*lead):
        plan: ScanPlan = plans[at] if lead else plans
        if plan.own is None or not plan.has_image:
            continue
        own = _window(plan.own)
        target = _target(request, plan, None if tumour is None else tumour[at])
        depth = own[0]
        values, _ = resample_image(request, image[at][own], slope[at][depth], intercept[at][depth], plan.own, target)
        result[at][_window(target)] = values
    return result


def mask_block(
    plans: Any,  # noqa: ANN401 - an array of ScanPlan, or one
    mask: NDArray[Any],
    slope: Floats,
    intercept: Floats,
    tumour: NDArray[Any] | None = None,
    *,
    request: Resampling,
    extent: Shape,
) -> NDArray[np.uint8]:
    """Resample the masks of a block of scans; one block of inputs serves all, so rescaling is passed over."""
    lead = mask.shape[:-3]
    result = np.zeros((*lead, *extent), np.uint8)
    for at in np.ndindex(*lead):
        plan: ScanPlan = plans[at[: np.ndim(plans)]] if np.ndim(plans) else plans
        if plan.own is None or not plan.has_mask:
            continue
        voxels = mask[at][_window(plan.own)]
        target = _target(request, plan, None if tumour is None else tumour[at])
        result[at][_window(target)] = resample_outline(request, voxels, plan.own, target)
    return result


def table_block(
    plans: Any,  # noqa: ANN401 - an array of ScanPlan, or one
    voxels: NDArray[Any],
    slope: Floats,
    intercept: Floats,
    tumour: NDArray[Any] | None = None,
    *,
    request: Resampling,
    extent: Shape,
) -> Floats:
    """Make the line of each scan; the voxels are its image where it is normalised."""
    lead = slope.shape[:-1]
    result = np.full((*lead, width_of(extent)), np.nan)
    for at in np.ndindex(*lead):
        image = voxels[at] if request.normalise else None
        plan = plans[at] if lead else plans
        outline = None if tumour is None else tumour[at]
        result[at] = table_of(plan, image, outline, slope[at], intercept[at], request, extent)
    return result


def table_of(
    plan: ScanPlan,
    image: NDArray[Any] | None,
    tumour: NDArray[Any] | None,
    slope: Floats,
    intercept: Floats,
    request: Resampling,
    extent: Shape,
) -> Floats:
    """Lay out where a resampled scan lies, and its rescaling, in the order of `SPATIAL`."""
    if plan.own is None:
        return np.concatenate([np.zeros(3), np.full(width_of(extent) - 3, np.nan)])
    own = _window(plan.own)
    target = _target(request, plan, tumour)
    depth = own[0]
    first = image[own] if image is not None and plan.has_image else np.zeros((1, 1, 1))
    plain = request if image is not None and plan.has_image else Resampling()
    numbers = intensities(plain, first, slope[depth], intercept[depth])
    spacing = np.where(plan.known_zyx, target.spacing_zyx_mm, np.nan)
    parts = [np.array(target.shape_zyx), spacing, target.affine.ravel()]
    parts += [_padded(p, n) for p, n in zip(target.axis_positions_mm(), extent, strict=True)]
    parts += [_padded(np.full(target.shape_zyx[0], v), extent[0]) for v in (numbers.slope, numbers.intercept)]
    return np.concatenate(parts)


def _target(request: Resampling, plan: ScanPlan, tumour: NDArray[Any] | None) -> Grid:
    """Return the grid a scan takes, given the mask on its base grid with padding around."""
    base = plan.reference or plan.own
    assert plan.own is not None
    assert base is not None
    return target_grid(request, plan.own, plan.reference, None if tumour is None else tumour[_window(base)])


def width_of(extent: Shape) -> int:
    """Return the length of a line of :func:`table_of`."""
    return 22 + sum(extent) + 2 * extent[0]


def _padded(values: Floats, length: int) -> Floats:
    return np.pad(values, (0, length - len(values)), constant_values=np.nan)


def _window(grid: Grid) -> tuple[slice, slice, slice]:
    z, y, x = grid.shape_zyx
    return slice(z), slice(y), slice(x)
