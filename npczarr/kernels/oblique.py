"""Interpolation between grids whose axes differ: rotated, sheared or swapped.

A voxel of the target is interpolated where the volume reaches, which is half a voxel beyond its outer centers; there
the nearest voxels inside stand in for those outside (ITK's rule). Elsewhere it is NaN.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from npczarr.kernels.separable import prefilter
from npczarr.kernels.weights import SLACK

Block = NDArray[Any]
Real = np.floating[Any]
_THREADS = 4
_EDGE = 0.5 + SLACK  # voxels that the volume reaches beyond its outer centers


def interpolate(
    volume: NDArray[Any], matrix: NDArray[np.float64], shape_zyx: tuple[int, int, int], method: str
) -> NDArray[np.float32]:
    """Interpolate a (z, y, x) volume at the voxels of another grid.

    Parameters
    ----------
    matrix
        (4, 4) voxel index (x, y, z, 1) of the target to voxel index of the volume.
    shape_zyx
        Shape of the target.
    method
        ``"nearest"``, ``"linear"`` or ``"cubic"``.
    """
    source = prefilter(volume) if method == "cubic" else np.ascontiguousarray(volume)
    target = np.empty(shape_zyx, np.float32)
    kernel = {"nearest": _nearest, "linear": _linear, "cubic": _cubic}[method]

    def part(slices: NDArray[Any]) -> None:
        first = int(slices[0])
        moved = matrix @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, first], [0, 0, 0, 1.0]])
        kernel(source, moved, target[first : first + len(slices)])

    # threads of its own: unlike averages along an axis, this is work for the processor and not for the memory
    parts = np.array_split(np.arange(shape_zyx[0]), min(os.cpu_count() or 1, _THREADS, shape_zyx[0]))
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(part, parts))
    return target


@numba.njit(nogil=True, cache=True)
def _span(
    matrix: Block, y: int, z: int, shape: tuple[int, ...], n: int, before: float, after: float
) -> tuple[int, int]:
    """Return the run of x, within 0 to n, from `before` ahead of the volume's first centers to `after` the last."""
    low, high = 0.0, n - 1.0
    for axis in range(3):
        start = matrix[axis, 1] * y + matrix[axis, 2] * z + matrix[axis, 3]
        step = matrix[axis, 0]
        first, last = -before - start, shape[2 - axis] - 1 + after - start
        if abs(step) < 1e-12:
            if first > 0 or last < 0:
                return 0, 0
        elif step > 0:
            low, high = max(low, first / step), min(high, last / step)
        else:
            low, high = max(low, last / step), min(high, first / step)
    begin, end = math.ceil(low), math.floor(high) + 1
    return (begin, end) if begin < end else (0, 0)


@numba.njit(nogil=True, cache=True)
def _nearest(source: Block, matrix: Block, target: Block) -> None:
    n_z, n_y, n_x = source.shape
    for z in range(target.shape[0]):
        for y in range(target.shape[1]):
            line = target[z, y]
            line[:] = np.nan
            begin, end = _span(matrix, y, z, source.shape, len(line), _EDGE, _EDGE)
            start = matrix[:3, 1] * y + matrix[:3, 2] * z + matrix[:3, 3] + 0.5 + SLACK
            for i in range(begin, end):
                p = min(max(math.floor(start[2] + matrix[2, 0] * i), 0), n_z - 1)
                q = min(max(math.floor(start[1] + matrix[1, 0] * i), 0), n_y - 1)
                r = min(max(math.floor(start[0] + matrix[0, 0] * i), 0), n_x - 1)
                line[i] = source[p, q, r]


@numba.njit(nogil=True, cache=True)
def _linear(source: Block, matrix: Block, target: Block) -> None:
    _, n_y, n_x = source.shape
    flat = source.ravel()
    start, step = np.empty(3), matrix[:3, 0].copy()
    n = target.shape[2]
    first_neighbor = np.empty(n, np.int64)
    shares, neighbors = np.empty((3, n), np.float32), np.empty((8, n), np.float32)
    for z in range(target.shape[0]):
        for y in range(target.shape[1]):
            line = target[z, y]
            start[:] = matrix[:3, 1] * y + matrix[:3, 2] * z + matrix[:3, 3]
            begin, end = _span(matrix, y, z, source.shape, n, _EDGE, _EDGE)
            line[:begin] = np.nan
            line[end:] = np.nan
            # where all eight neighbors exist, which is nearly everywhere, nothing needs to be tested
            first, last = _span(matrix, y, z, source.shape, n, -SLACK, -SLACK)
            if first == last:
                first = last = end
            for i in range(begin, first):
                line[i] = _clipped(flat, source.shape, start, step, i)
            # step by step: where to read, reading, mixing; in one loop the processor does each for one voxel at a time
            _place(start, step, first, last, n_y, n_x, first_neighbor, shares)
            _gather(flat, first_neighbor, last - first, n_x, n_y * n_x, neighbors)
            _mix_all(neighbors, shares, line[first:last])
            for i in range(last, end):
                line[i] = _clipped(flat, source.shape, start, step, i)


@numba.njit(nogil=True, cache=True, inline="always")
def _place(
    start: Block, step: Block, first: int, last: int, n_y: int, n_x: int, first_neighbor: Block, shares: Block
) -> None:
    """Find the first of the eight neighbors of each voxel of a line, and how far the voxel is from it along x, y, z."""
    along_x, along_y, along_z = shares[0], shares[1], shares[2]
    for k in range(last - first):
        i = first + k
        at_x, at_y, at_z = start[0] + step[0] * i, start[1] + step[1] * i, start[2] + step[2] * i
        p, q, r = int(at_z), int(at_y), int(at_x)
        first_neighbor[k] = (p * n_y + q) * n_x + r
        along_x[k], along_y[k], along_z[k] = at_x - r, at_y - q, at_z - p


@numba.njit(nogil=True, cache=True, inline="always")
def _gather(flat: Block, first_neighbor: Block, n: int, below: int, behind: int, neighbors: Block) -> None:
    """Read the eight neighbors of each voxel of a line."""
    a, b, c, d = neighbors[0], neighbors[1], neighbors[2], neighbors[3]
    e, f, g, h = neighbors[4], neighbors[5], neighbors[6], neighbors[7]
    one, y, z = np.uint64(1), np.uint64(below), np.uint64(behind)
    for k in range(n):
        o = np.uint64(first_neighbor[k])  # unsigned: an index that may be negative is tested each time
        a[k], b[k], c[k], d[k] = flat[o], flat[o + one], flat[o + y], flat[o + y + one]
        o += z
        e[k], f[k], g[k], h[k] = flat[o], flat[o + one], flat[o + y], flat[o + y + one]


@numba.njit(nogil=True, cache=True, inline="always")
def _mix_all(neighbors: Block, shares: Block, line: Block) -> None:
    """Mix the eight neighbors of each voxel of a line."""
    a, b, c, d = neighbors[0], neighbors[1], neighbors[2], neighbors[3]
    e, f, g, h = neighbors[4], neighbors[5], neighbors[6], neighbors[7]
    u, v, w = shares[0], shares[1], shares[2]
    for k in range(len(line)):
        near = _between(_between(a[k], b[k], u[k]), _between(c[k], d[k], u[k]), v[k])
        far = _between(_between(e[k], f[k], u[k]), _between(g[k], h[k], u[k]), v[k])
        line[k] = _between(near, far, w[k])


@numba.njit(nogil=True, cache=True)
def _clipped(flat: Block, shape: tuple[int, ...], start: Block, step: Block, i: int) -> Real:
    """Interpolate at a position beyond the outer centers: clipped to them, the outer voxels are repeated."""
    n_z, n_y, n_x = shape
    at_x = min(max(start[0] + step[0] * i, 0.0), n_x - 1.0)
    at_y = min(max(start[1] + step[1] * i, 0.0), n_y - 1.0)
    at_z = min(max(start[2] + step[2] * i, 0.0), n_z - 1.0)
    p, q, r = int(at_z), int(at_y), int(at_x)
    right, below = 1 if r + 1 < n_x else 0, n_x if q + 1 < n_y else 0
    behind = n_y * n_x if p + 1 < n_z else 0
    here = (p * n_y + q) * n_x + r
    return _mix(flat, here, right, below, behind, at_x - r, at_y - q, at_z - p)


@numba.njit(nogil=True, cache=True, inline="always")
def _mix(flat: Block, here: int, right: int, below: int, behind: int, u: float, v: float, w: float) -> Real:
    """Mix eight voxels, given the first of them and the steps to its neighbors."""
    # unsigned: an index that may be negative is tested each time; float32: a third faster
    o, x, y, z = np.uint64(here), np.uint64(right), np.uint64(below), np.uint64(behind)
    f, g, h = np.float32(u), np.float32(v), np.float32(w)
    a = _between(np.float32(flat[o]), np.float32(flat[o + x]), f)
    b = _between(np.float32(flat[o + y]), np.float32(flat[o + y + x]), f)
    c = _between(np.float32(flat[o + z]), np.float32(flat[o + z + x]), f)
    d = _between(np.float32(flat[o + z + y]), np.float32(flat[o + z + y + x]), f)
    return _between(_between(a, b, g), _between(c, d, g), h)


@numba.njit(nogil=True, cache=True, inline="always")
def _between(left: Real, right: Real, share: Real) -> Real:
    return left + (right - left) * share


@numba.njit(nogil=True, cache=True)
def _cubic(source: Block, matrix: Block, target: Block) -> None:
    index, weight = np.empty((3, 4), np.int64), np.empty((3, 4), np.float32)
    for z in range(target.shape[0]):
        for y in range(target.shape[1]):
            line = target[z, y]
            line[:] = np.nan
            begin, end = _span(matrix, y, z, source.shape, len(line), _EDGE, _EDGE)
            for i in range(begin, end):
                for axis in range(3):
                    at = matrix[axis, 0] * i + matrix[axis, 1] * y + matrix[axis, 2] * z + matrix[axis, 3]
                    _spline(at, source.shape[2 - axis], index[axis], weight[axis])
                total = np.float32(0)
                for k in range(4):
                    for j in range(4):
                        row, w = source[index[2, k], index[1, j]], weight[2, k] * weight[1, j]
                        part = np.float32(0)
                        for m in range(4):
                            part += weight[0, m] * row[index[0, m]]
                        total += w * part
                line[i] = total


@numba.njit(nogil=True, cache=True, inline="always")
def _spline(at: float, n: int, index: Block, weight: Block) -> None:
    """Find the four coefficients around a position, mirrored at the outer centers, and their weights."""
    low = math.floor(at)
    t = at - low
    weight[0], weight[3] = (1 - t) ** 3 / 6, t**3 / 6
    weight[1], weight[2] = (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6
    for k in range(4):
        i = low - 1 + k
        if n == 1:
            i = 0
        elif i < 0 or i >= n:
            period = 2 * (n - 1)
            i = abs(i) % period
            i = min(i, period - i)
        index[k] = i
