"""What every kernel does first: check a mask and a spacing, and cut the tumor out of its volume.

A mask is a (z, y, x) array; tumor is where it is above zero. Finding the bounding box reads every voxel once, which is
half of the time that a whole measurement takes, so it is done eight voxels at a time and can be skipped with a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from npczarr.errors import ParameterError
from npczarr.model.label_set import check_mask_type

Mask = NDArray[np.uint8]
Window = tuple[slice, slice, slice]
Triple = tuple[float, float, float]


def as_mask(mask: ArrayLike, name: str = "mask") -> Mask:
    """Return a (z, y, x) mask as uint8 in which tumor is any value but 0; bool and uint8 arrays are not copied.

    Raises
    ------
    ParameterError
        If the mask is not three-dimensional, or holds anything but booleans or integers.
    """
    array = np.asarray(mask)
    if array.ndim != 3:
        raise ParameterError(
            f"{name}: expected a (z, y, x) array, found shape {array.shape}; give one slice as mask[np.newaxis]"
        )
    check_mask_type(array.dtype, name)
    if array.dtype != np.uint8:
        array = (array if array.dtype == bool else array > 0).view(np.uint8)
    return array


def as_pair(a: ArrayLike, b: ArrayLike) -> tuple[Mask, Mask]:
    """Return two masks of one shape, each as `as_mask` gives it.

    Raises
    ------
    ParameterError
        If either is not a mask, or their shapes differ.
    """
    a, b = as_mask(a, "a"), as_mask(b, "b")
    if a.shape != b.shape:
        raise ParameterError(
            f"a and b: expected one shape, found {a.shape} and {b.shape}; resample one onto the grid of the other"
        )
    return a, b


def as_spacing(spacing_zyx_mm: Sequence[float]) -> Triple:
    """Return a voxel size as three floats.

    Raises
    ------
    ParameterError
        If it is not three finite numbers above zero.
    """
    spacing = np.asarray(spacing_zyx_mm)
    if spacing.shape != (3,) or spacing.dtype.kind not in "uif" or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise ParameterError(
            f"spacing_zyx_mm: expected three finite numbers above 0, found {spacing_zyx_mm!r}; "
            f"give the voxel size in mm in the order z, y, x"
        )
    z, y, x = spacing.tolist()
    return float(z), float(y), float(x)


def bounding_box(*masks: Mask, window: Sequence[slice] | None = None) -> Window:
    """Return the smallest window that holds the tumor of every mask; three ``slice(0, 0)`` where there is none.

    Parameters
    ----------
    masks
        One or more masks of one shape, (z, y, x) uint8.
    window
        Three slices of step 1 known to hold all the tumor; what lies outside them is not read.

    Raises
    ------
    ParameterError
        If the window is not three slices of step 1.
    """
    window = (slice(None),) * 3 if window is None else tuple(window)
    if len(window) != 3 or any(s.step not in (None, 1) for s in window):
        raise ParameterError(f"window: expected three slices of step 1 for z, y and x, found {window}")
    lanes = [_lanes(mask[window]) for mask in masks]
    rows = _rows_with_any(lanes[0])
    for more in lanes[1:]:
        rows |= _rows_with_any(more)
    z, y = (_extent(np.logical_or.reduce(rows, axis=axis)) for axis in (1, 0))
    columns = np.zeros(lanes[0].shape[2] * lanes[0].itemsize, np.uint8)
    for each in lanes:
        columns |= np.bitwise_or.reduce(each[z, y], axis=(0, 1)).view(np.uint8)
    offsets = [s.indices(n)[0] for s, n in zip(window, masks[0].shape, strict=True)]
    inside = (z, y, _extent(columns))
    box = [slice(s.start + o, s.stop + o) if s.stop else s for s, o in zip(inside, offsets, strict=True)]
    return box[0], box[1], box[2]


def crop_padded(mask: Mask, window: Window) -> Mask:
    """Return the window as 0 and 1 with one voxel of background all around: a tumor at the border gets closed."""
    inner = mask[window]
    padded = np.zeros([n + 2 for n in inner.shape], np.uint8)
    np.not_equal(inner, 0, out=padded[1:-1, 1:-1, 1:-1].view(bool))
    return padded


def rows_with_any(mask: Mask) -> NDArray[np.bool_]:
    """Return the (z, y) rows of a mask (z, y, x) in which there is tumor."""
    return _rows_with_any(_lanes(mask))


def _lanes(mask: Mask) -> NDArray[Any]:
    """Return the mask with eight voxels to a number where rows allow it: four times as fast to look through."""
    if mask.strides[2] != 1 or min(mask.strides) < 0:
        mask = np.ascontiguousarray(mask)
    whole = all(n % 8 == 0 for n in (mask.shape[2], *mask.strides[:2]))
    return mask.view(np.uint64) if whole else mask


def _extent(flags: NDArray[Any]) -> slice:
    """Return the slice from the first flag set to the last; ``slice(0, 0)`` if none is."""
    hits = np.flatnonzero(flags)
    return slice(int(hits[0]), int(hits[-1]) + 1) if hits.size else slice(0, 0)


def _rows_with_any(lanes: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the (z, y) rows that are not all zero."""
    if lanes.size == 0:
        return np.zeros(lanes.shape[:2], bool)
    n_z, n_y, n_x = lanes.shape
    step_z, step_y = lanes.strides[0] // lanes.itemsize, lanes.strides[1] // lanes.itemsize
    # one flat run of memory tells the compiler that a row is contiguous, even in a view of a larger block
    length = (n_z - 1) * step_z + (n_y - 1) * step_y + n_x
    flat = np.lib.stride_tricks.as_strided(lanes, (length,), (lanes.itemsize,), writeable=False)
    return np.asarray(_any_per_row(flat, n_z, n_y, n_x, step_z, step_y))


@numba.njit(nogil=True, cache=True)
def _any_per_row(flat: NDArray[Any], n_z: int, n_y: int, n_x: int, step_z: int, step_y: int) -> NDArray[np.bool_]:
    rows = np.zeros((n_z, n_y), np.bool_)
    for z in range(n_z):
        for y in range(n_y):
            start = z * step_z + y * step_y
            row = flat[start : start + n_x]
            seen = np.uint64(0)
            for x in range(n_x):
                seen |= row[x]
            rows[z, y] = seen != 0
    return rows
