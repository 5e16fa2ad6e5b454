"""The exact Euclidean distance from every cell of one surface to the nearest cell of another.

A surface cell is one whose corner pattern is neither 0 (background) nor 255 (tumor). Distances along x come first, for
every row; then the cells of a row that ask search the rows about theirs together, outwards until none can be nearer.
For two outlines of one tumor that takes a few steps. Where it takes many, as for tumors far apart, a plane in which
many rows were searched gets its full distance transform, so the work stays near that of transforming every plane once.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from npczarr.kernels.masks import Mask

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
#: A row is searched at several cells to an instruction, its share of a transform at one.
_ROWS_WORTH_A_TRANSFORM = 16


@numba.njit(nogil=True, cache=True)
def surface_to_surface(
    cells: Mask, others: Mask, area: Floats, z_mm: float, y_mm: float, x_mm: float
) -> tuple[Floats, Floats]:
    """Return the distance in mm from each surface cell to the nearest one of the others, and its area.

    Parameters
    ----------
    cells, others
        (z, y, x) corner patterns of one shape.
    area
        (256,) area of each pattern.
    z_mm, y_mm, x_mm
        Distance between neighboring cells.

    Returns
    -------
    distance, area
        (n,) each, for the n surface cells of ``cells`` in C order; infinite where the others have no surface.
    """
    n_z, n_y, n_x = cells.shape
    squared, has_surface = _row_distances(others, x_mm)
    searched = np.zeros(n_z, np.int64)
    distance, areas = np.empty(cells.size), np.empty(cells.size)
    asking, best = np.empty(n_x, np.int64), np.empty(n_x)
    n = 0
    for z in range(n_z):
        for y in range(n_y):
            row = cells[z, y]
            of_row = asking[: _surface_of(row, asking)]
            best[:] = np.inf
            worst = np.inf
            for step in range(n_z if len(of_row) else 0):
                away = (step * z_mm) ** 2
                if away >= worst:
                    break
                for plane in range(z - step, z + step + 1, max(1, 2 * step)):
                    if 0 <= plane < n_z:
                        worst = _search_plane(squared, has_surface, searched, plane, y, y_mm, away, best, of_row, worst)
            for x in of_row:
                distance[n], areas[n] = np.sqrt(best[x]), area[row[x]]
                n += 1
    return distance[:n], areas[:n]


@numba.njit(nogil=True, cache=True)
def _surface_of(row: Mask, places: Ints) -> int:
    """Write down where a row has surface cells; return how many."""
    count = 0
    for x in range(row.size):
        if 0 < row[x] < 255:
            places[count] = x
            count += 1
    return count


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
def _search_plane(
    squared: Floats,
    has_surface: Flags,
    searched: Ints,
    z: int,
    y: int,
    y_mm: float,
    away_z: float,
    best: Floats,
    asking: Ints,
    worst: float,
) -> float:
    """Lower the squared distances of a row's cells to those of plane z; return the largest of the cells that ask.

    ``searched[z]`` counts the rows looked at in that plane; -1 says that it now holds distances within the plane.
    """
    first, last = asking[0], asking[-1] + 1
    if searched[z] < 0:
        _lower(best[first:last], squared[z, y, first:last], away_z)
        return _largest(best, asking)
    n_y = has_surface.shape[1]
    step = 0
    while step < n_y:
        away = away_z + (step * y_mm) ** 2
        if away >= worst:
            break
        before, after = y - step, y + step
        found = False
        if before >= 0 and has_surface[z, before]:
            _lower(best[first:last], squared[z, before, first:last], away)
            found = True
        if step and after < n_y and has_surface[z, after]:
            _lower(best[first:last], squared[z, after, first:last], away)
            found = True
        if found:
            worst = _largest(best, asking)
        step += 1
    searched[z] += step
    if searched[z] > _ROWS_WORTH_A_TRANSFORM * n_y:
        _transform(squared[z], np.flatnonzero(has_surface[z]), y_mm)
        searched[z] = -1
    return worst


@numba.njit(nogil=True, cache=True)
def _lower(best: Floats, row: Floats, away: float) -> None:
    for x in range(best.size):
        there = away + row[x]
        best[x] = there if there < best[x] else best[x]


@numba.njit(nogil=True, cache=True)
def _largest(best: Floats, asking: Ints) -> float:
    largest = 0.0
    for x in asking:
        largest = max(largest, best[x])
    return largest


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
