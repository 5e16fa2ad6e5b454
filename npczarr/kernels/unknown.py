"""Values in place of unknown voxels, so that a spline can be laid through the known ones.

The filter that makes spline coefficients runs along whole lines, and one NaN would reach all of them. So what is
unknown is mirrored from the known voxels about the nearest of them, as the outer voxels of a volume are: a volume with
unknown voxels around it then has the spline that it has without them.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int32]
_HORIZON = 12  # voxels: the influence of a value on a cubic spline falls to a quarter with each, so to 1e-7
_REFLECTIONS = 12  # between the two sides of a region of two voxels, up to the horizon


def has_unknown(volume: NDArray[Any]) -> bool:
    """Whether a volume holds voxels that are not finite numbers."""
    return volume.dtype.kind == "f" and not bool(np.isfinite(volume).all())


def known_values(volume: NDArray[Any]) -> NDArray[Any]:
    """(n,) values of the known voxels, in the order of the volume."""
    values: NDArray[Any] = volume[np.isfinite(volume)] if has_unknown(volume) else volume.reshape(-1)
    return values


def extended(volume: NDArray[Any]) -> Values:
    """Fill unknown voxels so that a spline through all voxels is the one through the known.

    Parameters
    ----------
    volume
        (z, y, x); unknown is what is not a finite number.

    Returns
    -------
    numpy.ndarray
        (z, y, x) float32. An unknown voxel has the value of its mirror image about the nearest known voxel, counted in
        voxels; where that is unknown too it is mirrored again, and in the end takes the value of the nearest one.
        Voxels further than 12 from any known one have the mean of the known; 0 where nothing is known.
    """
    known = np.isfinite(volume)
    values = np.where(known, volume, 0).astype(np.float32)
    if not known.all():
        mean = values.mean(dtype=np.float64, where=known) if known.any() else 0.0
        _fill(values, known, _nearest_in_planes(known, _nearest_in_rows(known)), np.float32(mean))
    return values


@numba.njit(nogil=True, cache=True)
def _nearest_in_rows(known: Flags) -> Ints:
    """Return (z, y, x) the index x of the nearest known voxel of the row; -1 where none is within the horizon."""
    nearest = np.full(known.shape, -1, np.int32)
    for z in range(known.shape[0]):
        for y in range(known.shape[1]):
            row, found = known[z, y], nearest[z, y]
            last = -1
            for x in range(len(row)):
                last = x if row[x] else last
                if last >= 0 and x - last <= _HORIZON:
                    found[x] = last
            last = -1
            for x in range(len(row) - 1, -1, -1):
                last = x if row[x] else last
                if last >= 0 and last - x <= _HORIZON and (found[x] < 0 or last - x < x - found[x]):
                    found[x] = last
    return nearest


@numba.njit(nogil=True, cache=True)
def _nearest_in_planes(known: Flags, in_row: Ints) -> Ints:
    """Return (z, y, x) the index y * width + x of the nearest known voxel of the plane, or -1; outwards row by row."""
    n_z, n_y, n_x = known.shape
    nearest = np.full(known.shape, -1, np.int32)
    for z in range(n_z):
        for y in range(n_y):
            for x in range(n_x):
                best = _HORIZON * _HORIZON + 1
                for step in range(_HORIZON + 1):
                    if step * step >= best:
                        break
                    for row in range(y - step, y + step + 1, max(1, 2 * step)):
                        if 0 <= row < n_y and in_row[z, row, x] >= 0:
                            away = step * step + (in_row[z, row, x] - x) ** 2
                            if away < best:
                                best = away
                                nearest[z, y, x] = row * n_x + in_row[z, row, x]
    return nearest


@numba.njit(nogil=True, cache=True)
def _nearest(in_plane: Ints, z: int, y: int, x: int) -> tuple[int, int, int]:
    """Return the nearest known voxel; its z is -1 where none is within the horizon."""
    n_z, _, n_x = in_plane.shape
    best = _HORIZON * _HORIZON + 1
    found = -1, 0, 0
    for step in range(_HORIZON + 1):
        if step * step >= best:
            break
        for plane in range(z - step, z + step + 1, max(1, 2 * step)):
            if 0 <= plane < n_z and in_plane[plane, y, x] >= 0:
                row, column = divmod(in_plane[plane, y, x], n_x)
                away = step * step + (row - y) ** 2 + (column - x) ** 2
                if away < best:
                    best = away
                    found = plane, row, column
    return found


@numba.njit(nogil=True, cache=True)
def _mirrored(at: int, about: int, n: int) -> int:
    """Mirror an index about another, and at the ends of an axis of n voxels where it falls beyond them."""
    index = abs(2 * about - at)
    return max(0, 2 * (n - 1) - index) if index >= n else index


@numba.njit(nogil=True, cache=True)
def _fill(values: Values, known: Flags, in_plane: Ints, far: Any) -> None:  # noqa: ANN401 - float32
    """Write the values of unknown voxels; `far` is that of those beyond the horizon."""
    n_z, n_y, n_x = known.shape
    for z in range(n_z):
        for y in range(n_y):
            for x in range(n_x):
                if known[z, y, x]:
                    continue
                value = far
                a, b, c = z, y, x
                for _ in range(_REFLECTIONS):
                    p, q, r = _nearest(in_plane, a, b, c)
                    if p < 0:
                        break
                    value = values[p, q, r]
                    a, b, c = _mirrored(a, p, n_z), _mirrored(b, q, n_y), _mirrored(c, r, n_x)
                    if known[a, b, c]:
                        value = values[a, b, c]
                        break
                values[z, y, x] = value
