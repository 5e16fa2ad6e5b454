"""The largest distance between two vertices of the marching cubes mesh of a mask, without the mesh.

The vertices lie half-way along the voxel edges that join tumor to background, so all of them lie on whole and half
layers along z. The farthest pair lies on the convex hulls of those layers: a few hundred points of a hundred thousand.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from npczarr.kernels.masks import Mask, Triple

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def max_diameter(padded: Mask, spacing_zyx_mm: Triple) -> float:
    """Return the largest distance in mm between two mesh vertices.

    Parameters
    ----------
    padded
        (z, y, x), 0 and 1, with tumor in it and one voxel of background all around.
    spacing_zyx_mm
        Voxel size.

    Notes
    -----
    Exact for both case tables: the vertices that Lewiner's table adds in the middle of a cell lie between others.
    """
    points = layer_hulls(padded) * (np.array(spacing_zyx_mm) / 2)
    radius = np.sqrt(((points - (points.min(axis=0) + points.max(axis=0)) / 2) ** 2).sum(axis=1))
    order = np.argsort(-radius)
    return float(_farthest(points[order], radius[order]))


@numba.njit(nogil=True, cache=True)
def layer_hulls(padded: Mask) -> Ints:
    """Return the (n, 3) hull points of every layer of vertices, as (z, y, x) indices times two."""
    n_z, n_y, _ = padded.shape
    points = np.empty((2 * n_z * 4 * n_y, 3), np.int64)
    left, right = np.empty((2 * n_y, 2), np.int64), np.empty((2 * n_y, 2), np.int64)
    n = 0
    for z2 in range(2 * n_z - 1):
        n_left = n_right = 0
        z = z2 // 2
        for y2 in range(2 * n_y - 1):
            y = y2 // 2
            if z2 % 2 and y2 % 2:
                continue  # the middle of a face, where no edge passes
            if z2 % 2:
                first, last = _changes(padded[z, y], padded[z + 1, y])
            elif y2 % 2:
                first, last = _changes(padded[z, y], padded[z, y + 1])
            else:
                first, last = _changes(padded[z, y, :-1], padded[z, y, 1:])
            if first > last:
                continue
            along_x = 0 if z2 % 2 or y2 % 2 else 1
            n_left = _extend(left, n_left, y2, 2 * first + along_x, 1)
            n_right = _extend(right, n_right, y2, 2 * last + along_x, -1)
        for chain, length in ((left, n_left), (right, n_right)):
            for i in range(length):
                points[n] = z2, chain[i, 0], chain[i, 1]
                n += 1
    return points[:n]


@numba.njit(nogil=True, cache=True)
def _changes(row: Mask, other: Mask) -> tuple[int, int]:
    """Return the first and last x at which two rows differ; first > last if they do not."""
    first, last = 0, len(row) - 1
    while first <= last and row[first] == other[first]:
        first += 1
    while last > first and row[last] == other[last]:
        last -= 1
    return first, last


@numba.njit(nogil=True, cache=True)
def _extend(chain: Ints, n: int, y: int, x: int, side: int) -> int:
    """Add a point to one side of a hull, rows in rising order; return the new length (Andrew's monotone chain)."""
    while n > 1:
        (y0, x0), (y1, x1) = chain[n - 2], chain[n - 1]
        if side * ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) < 0:
            break
        n -= 1
    chain[n] = y, x
    return n + 1


@numba.njit(nogil=True, cache=True)
def _farthest(points: Floats, radius: Floats) -> float:
    """Return the largest distance between two of the points, which come sorted by falling radius about some center."""
    best = 0.0
    for i in range(len(points)):
        for j in range(i + 1, len(points)):
            # two points are no farther apart than their radii together; the margin covers rounding
            if (radius[i] + radius[j]) * (1 + 1e-12) < best:
                break
            z, y, x = points[i] - points[j]
            best = max(best, np.sqrt(z * z + y * y + x * x))
    return best
