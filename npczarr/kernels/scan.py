"""One scan, image and mask together, as a resampling asks for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.kernels.masks import as_mask, bounding_box
from npczarr.kernels.resample import resample, resample_labels
from npczarr.kernels.unknown import known_values
from npczarr.model.geometry import Floats, Grid
from npczarr.model.resampling import Normalization, Resampling

_STEPS = 65532  # between the largest and the least number of int16 but for the padding, with one to spare at each end


@dataclass(frozen=True, slots=True)
class Intensities:
    """How the numbers of an image become those of the resampled one, and how real values come back.

    Parameters
    ----------
    per_slice
        Slope and intercept differ between slices, which cannot be interpolated: they are applied first.
    offset, scale
        New number = (old number - offset) / scale; scale is negative where real values fall as the old numbers rise.
    slope, intercept
        Real value = slope * new number + intercept.
    """

    per_slice: bool
    offset: float
    scale: float
    slope: float
    intercept: float


def target_grid(request: Resampling, own: Grid, reference: Grid | None, tumor: NDArray[Any] | None) -> Grid:
    """Return the grid that a scan takes.

    Parameters
    ----------
    own, reference
        Grid of the scan, and of the sequence on whose grid it is laid.
    tumor
        (z, y, x) mask on the reference, or on the scan's own grid, which tells where a window lies; None where no
        window is asked for.
    """
    middle = None
    if tumor is not None and request.needs_tumor:
        box = bounding_box(as_mask(tumor))
        if box[0].stop:
            middle = (reference or own).crop(box).center_mm()
    return request.grid(own, reference, middle)


def intensities(request: Resampling, image: NDArray[Any], slope: Floats, intercept: Floats) -> Intensities:
    """Decide on the numbers of a resampled image.

    Parameters
    ----------
    image
        (z, y, x) stored values, before resampling: mean, standard deviation and percentiles are of all its voxels that
        are known. Where none is, the numbers stay as they are.
    slope, intercept
        (z,) per slice.
    """
    per_slice = bool(np.ptp(slope) or np.ptp(intercept))
    a, b = (1.0, 0.0) if per_slice else (float(slope[0]), float(intercept[0]))
    offset, scale = 0.0, 1.0
    if request.normalize is not None:
        values = known_values(real_values(image, slope, intercept) if per_slice else image)
        offset, scale = _normalization(request.normalize, values, falling=a < 0)
    return Intensities(per_slice, offset, scale, a * scale, a * offset + b)


def _normalization(normalize: Normalization, values: NDArray[Any], *, falling: bool) -> tuple[float, float]:
    """Return offset and scale from the known values (n,); falling: real values fall as these rise."""
    if not values.size:
        return 0.0, 1.0
    if normalize == "zscore":
        offset, scale = float(np.mean(values, dtype=np.float64)), float(np.std(values, dtype=np.float64))
        scale = -scale if falling else scale
    else:
        # float64: NumPy finds the rank of a percentile in the type of the values, and float32 cannot count them
        low, high = np.percentile(values.astype(np.float64), (99, 1) if falling else (1, 99))
        offset, scale = float(low), float(high - low)
    return offset, scale or 1.0  # an image of one value


def real_values(image: NDArray[Any], slope: Floats, intercept: Floats) -> NDArray[np.float32]:
    """Apply slope and intercept (z,) slice by slice to an image (z, y, x); NaN stays. The result is a copy."""
    if (slope == 1).all() and (intercept == 0).all():
        return image.astype(np.float32)
    values: NDArray[np.float32] = (image * slope[:, None, None] + intercept[:, None, None]).astype(np.float32)
    return values


def resample_image(
    request: Resampling, image: NDArray[Any], slope: Floats, intercept: Floats, own: Grid, target: Grid
) -> tuple[NDArray[np.float32], Intensities]:
    """Resample an image (z, y, x) to the target, its intensities as asked; float32, NaN outside the scan."""
    numbers = intensities(request, image, slope, intercept)
    values = resample(
        real_values(image, slope, intercept) if numbers.per_slice else image, own, target, method=request.method
    )
    if request.normalize is not None:
        if np.may_share_memory(values, image):  # on a grid that stays the same nothing was copied
            values = values.copy()
        values -= np.float32(numbers.offset)
        values /= np.float32(numbers.scale)
    return values, numbers


def as_integers(values: NDArray[np.float32], numbers: Intensities) -> tuple[NDArray[np.int16], Intensities]:
    """Round an image to steps of which int16 holds all; NaN becomes its least number.

    A step is a power of two, at most a 32766th of the range, so whole numbers up to that range stay what they are.

    Returns
    -------
    tuple
        The image, and how real values come back.
    """
    finite = np.isfinite(values)
    low, high = (float(values[finite].min()), float(values[finite].max())) if finite.any() else (0.0, 0.0)
    exponent = math.ceil(math.log2((high - low) / _STEPS)) if high > low else 0
    step = 2.0 ** max(exponent, np.finfo(np.float32).minexp)  # below, a float32 would be 0
    middle = round((low + high) / 2 / step) * step if high > low else low
    result = np.full(values.shape, np.iinfo(np.int16).min, np.int16)
    np.rint((values - np.float32(middle)) / np.float32(step), out=values)
    np.copyto(result, values, where=finite, casting="unsafe")
    slope, intercept = numbers.slope * step, numbers.slope * middle + numbers.intercept
    return result, replace(numbers, slope=slope, intercept=intercept)


def resample_outline(request: Resampling, mask: NDArray[Any], own: Grid, target: Grid) -> NDArray[np.uint8]:
    """Resample a mask of labels (z, y, x) to the target."""
    return resample_labels(mask, own, target, method=request.mask_method)
