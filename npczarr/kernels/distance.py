"""The exact Euclidean distance from every cell of one surface to the nearest cell of another.

A surface cell is one whose corner pattern is neither 0 (background) nor 255 (tumor). Distances along x come first, for
every row; then each cell that asks searches the rows about it outwards until none can be nearer. For two outlines of
one tumor that takes a few steps. Where it takes many, as for tumors far apart, a plane that has been searched as
often as it has cells gets its full distance transform, so the work stays near that of transforming every plane once.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from npczarr.kernels.masks import Mask

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


@numba.njit(nogil=True, cache=True)
def surface_to_surface(cells: Mask, others: Mask, z_mm: float, y_mm: float, x_mm: float) -> tuple[Floats, Mask]:
    """Return the distance in mm from each surface cell to the nearest one of the others, and its pattern.

    Parameters
    ----------
    cells, others
        (z, y, x) corner patterns of one shape.
    z_mm, y_mm, x_mm
        Distance between neighboring cells.

    Returns
    -------
    distance, pattern
        (n,) each, for the n surface cells of ``cells`` in C order; infinite where the others have no surface.
    """
    n_z, n_y, n_x = cells.shape
    squared, has_surface = _row_distances(others, x_mm)
    searched = np.zeros(n_z, np.int64)
    distance, pattern = np.empty(cells.size), np.empty(cells.size, np.uint8)
    n = 0
    for z in range(n_z):
        for y in range(n_y):
            for x in range(n_x):
                if not 0 < cells[z, y, x] < 255:
                    continue
                best = np.inf
                for step in range(n_z):
                    away = (step * z_mm) ** 2
                    if away >= best:
                        break
                    if z >= step:
                        best = _nearer(squared, has_surface, searched, z - step, y, x, y_mm, away, best)
                    if step and z + step < n_z:
                        best = _nearer(squared, has_surface, searched, z + step, y, x, y_mm, away, best)
                distance[n], pattern[n] = np.sqrt(best), cells[z, y, x]
                n += 1
    return distance[:n], pattern[:n]


@numba.njit(nogil=True, cache=True)
def _row_distances(cells: Mask, x_mm: float) -> tuple[Floats, Flags]:
    """Return each cell's squared distance in mm² to the nearest surface cell of its row, and the rows that have one."""
    n_z, n_y, n_x = cells.shape
    squared, has_surface = np.empty(cells.shape), np.zeros((n_z, n_y), np.bool_)
    for z in range(n_z):
        for y in range(n_y):
            row, out = cells[z, y], squared[z, y]
            last = -1
            for x in range(n_x):
                if 0 < row[x] < 255:
                    last = x
                out[x] = ((x - last) * x_mm) ** 2 if last >= 0 else np.inf
            has_surface[z, y] = last >= 0
            for x in range(last, -1, -1):
                if 0 < row[x] < 255:
                    last = x
                out[x] = min(out[x], ((last - x) * x_mm) ** 2)
    return squared, has_surface


@numba.njit(nogil=True, cache=True)
def _nearer(
    squared: Floats,
    has_surface: Flags,
    searched: Ints,
    z: int,
    y: int,
    x: int,
    y_mm: float,
    away_z: float,
    best: float,
) -> float:
    """Return the smaller of best and the squared distance to the nearest surface cell of plane z.

    ``searched[z]`` counts the rows looked at in that plane; -1 says that it now holds distances within the plane.
    """
    if searched[z] < 0:
        return min(best, float(away_z + squared[z, y, x]))
    n_y = has_surface.shape[1]
    step = 0
    while step < n_y:
        away = away_z + (step * y_mm) ** 2
        if away >= best:
            break
        if y >= step and has_surface[z, y - step]:
            best = min(best, away + squared[z, y - step, x])
        if y + step < n_y and has_surface[z, y + step]:
            best = min(best, away + squared[z, y + step, x])
        step += 1
    searched[z] += step
    if searched[z] > squared[z].size:
        _transform(squared[z], np.flatnonzero(has_surface[z]), y_mm)
        searched[z] = -1
    return best


@numba.njit(nogil=True, cache=True)
def _transform(plane: Floats, rows: Ints, y_mm: float) -> None:
    """Turn squared distances along x into squared distances within the plane, in place.

    For each x, the lower envelope of the parabolas that stand on the rows with surface (Felzenszwalb and Huttenlocher
    2012, doi 10.4086/toc.2012.v008a019).
    """
    n_y, n_x = plane.shape
    lowest, start = np.empty(len(rows), np.int64), np.empty(len(rows))
    for x in range(n_x if len(rows) else 0):
        height = plane[:, x].copy()
        n = 0
        for row in rows:
            cut = -np.inf
            while n > 0:
                # from here on the parabola of this row lies below the last one's
                last = lowest[n - 1]
                cut = ((height[row] - height[last]) / (y_mm * y_mm * (row - last)) + row + last) / 2
                if cut > start[n - 1]:
                    break
                n -= 1
            lowest[n], start[n] = row, cut if n else -np.inf
            n += 1
        k = 0
        for y in range(n_y):
            while k + 1 < n and start[k + 1] < y:
                k += 1
            plane[y, x] = height[lowest[k]] + ((y - lowest[k]) * y_mm) ** 2
