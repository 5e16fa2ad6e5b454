"""Polygons on a pixel grid, in whole numbers: filled by the even-odd rule, and searched for crossings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from npczarr.model.geometry import Floats

Points = NDArray[np.int64]

#: Steps to a voxel. Files round coordinates to 0.001 or 0.01 mm: a point meant to be at a voxel center must be there.
UNITS = 1024
_AT_ONCE = 2**20  # crossings or pairs in memory
_MOST_PAIRS = 2**26  # of edges that are compared


def snap(index_xy: Floats) -> Points:
    """Round (n, 2) voxel coordinates to 1/1024 voxel, in whole units, and drop points that repeat the one before.

    A last point that repeats the first is dropped too: a polygon is closed without it.
    """
    points: Points = np.rint(index_xy * UNITS).astype(np.int64)
    kept: Points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    return kept


def doubled_area(points: Points) -> float:
    """Twice the area that a polygon encloses, in squared units; parts that run the other way count against it."""
    x, y = (points - points[0]).T.astype(np.float64) if len(points) else np.zeros((2, 0))
    return abs(float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)))


def canonical(points: Points) -> bytes:
    """Key that polygons share if they are the same, wherever they begin and whichever way they run."""
    keys = []
    for ordered in (points, points[::-1]):
        start = int(np.lexsort(ordered.T)[0])
        keys.append(np.roll(ordered, -start, axis=0).tobytes())
    return min(keys)


def fill(points: Points, shape_yx: tuple[int, int]) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """Find the voxels whose centers are inside a polygon, by the even-odd rule.

    A center exactly on an edge belongs to the area on that side of the edge where x is larger, or, along a row, where y
    is larger. So two polygons that share an edge share no voxel, and an edge that runs there and back encloses none.

    Returns
    -------
    window, inside
        Two slices of the (y, x) grid, and the (rows, columns) voxels in them; everything else is outside.
    """
    rows, columns = shape_yx
    low, high = points.min(axis=0), points.max(axis=0)
    first_x, first_y = (max(0, -(-int(v) // UNITS)) for v in low)
    last_x, last_y = (min(n - 1, int(v) // UNITS) for v, n in zip(high, (columns, rows), strict=True))
    height, width = max(0, last_y - first_y + 1), max(0, last_x - first_x + 1)
    window = (slice(first_y, first_y + height), slice(first_x, first_x + width))
    if not height or not width:
        return window, np.zeros((height, width), dtype=bool)
    # one more column for edges right of the window; uint8 may wrap, as only the last bit counts
    turns = np.zeros((height, width + 1), dtype=np.uint8)
    for row, column in _edge_crossings(points, first_y, last_y):
        np.add.at(turns, (row - first_y, np.clip(column - first_x, 0, width)), 1)
    inside = np.bitwise_and(np.cumsum(turns[:, :width], axis=1, dtype=np.uint8), 1)
    return window, inside.astype(bool)


def _edge_crossings(points: Points, first_y: int, last_y: int) -> Iterator[tuple[Points, Points]]:
    """Yield the rows that edges cross, and for each the first column whose center is on the edge or right of it."""
    start, end = points, np.roll(points, -1, axis=0)
    down = start[:, 1] > end[:, 1]
    a, b = np.where(down[:, None], end, start), np.where(down[:, None], start, end)
    # rows with a.y <= y < b.y: a vertex between two edges counts once
    from_row = np.maximum(-(-a[:, 1] // UNITS), first_y)
    counts = np.maximum(np.minimum(-(-b[:, 1] // UNITS), last_y + 1) - from_row, 0)
    used = np.flatnonzero(counts)
    groups = np.cumsum(counts[used]) // _AT_ONCE
    for group in np.unique(groups):
        edges = np.repeat(used[groups == group], counts[used[groups == group]])
        ends = np.cumsum(counts[used[groups == group]])
        within = np.arange(len(edges)) - np.repeat(ends - counts[used[groups == group]], counts[used[groups == group]])
        row = from_row[edges] + within
        ax, ay = a[edges].T
        dx, dy = (b[edges] - a[edges]).T
        yield row, -(-(ax * dy + (row * UNITS - ay) * dx) // (dy * UNITS))


def count_crossings(points: Points) -> int | None:
    """Count the pairs of edges of a polygon that cross in a point inside both; None if there are too many to look at.

    Edges that touch or run along each other, as where a hole is joined to the outside, do not cross.
    """
    start, end = points, np.roll(points, -1, axis=0)
    low, high = np.minimum(start, end), np.maximum(start, end)
    ordered = [_overlapping(low[:, axis], high[:, axis]) for axis in (0, 1)]
    order, reach = min(ordered, key=lambda found: int(found[1].sum()))
    if reach.sum() > _MOST_PAIRS:
        return None
    start, end, low, high = (array[order] for array in (start, end, low, high))
    total = 0
    groups = np.cumsum(reach) // _AT_ONCE
    for group in np.unique(groups):
        edges = np.flatnonzero((groups == group) & (reach > 0))
        first = np.repeat(edges, reach[edges])
        ends = np.cumsum(reach[edges])
        second = first + 1 + np.arange(len(first)) - np.repeat(ends - reach[edges], reach[edges])
        near = ((low[first] <= high[second]) & (low[second] <= high[first])).all(axis=1)
        first, second = first[near], second[near]
        apart = _side(start[first], end[first], start[second]) * _side(start[first], end[first], end[second])
        across = _side(start[second], end[second], start[first]) * _side(start[second], end[second], end[first])
        total += int(((apart < 0) & (across < 0)).sum())
    return total


def _overlapping(low: Points, high: Points) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Order of spans by their lower end, and how many of the next ones each overlaps."""
    order = np.argsort(low, kind="stable")
    reach = np.searchsorted(low[order], high[order], side="right") - np.arange(len(low)) - 1
    return order, np.maximum(reach, 0)


def _side(start: Points, end: Points, point: Points) -> Points:
    """Sign of the side of a line on which a point is; 0 on it."""
    ax, ay = (end - start).T
    bx, by = (point - start).T
    side: Points = np.sign(ax * by - ay * bx)
    return side
