"""Interpolation of a volume one axis at a time: target and source grid have the same axes.

What shrinks goes first, so that the rest has less to do. Where the method needs spline coefficients they are made axis
by axis too, a tile at a time that stays in the cache: coefficients along one axis commute with the weights of another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from npczarr.kernels.weights import AxisWeights

Block = NDArray[Any]
_POLE = math.sqrt(3) - 2  # of the cubic B-spline
_HORIZON = 18  # |pole|**18 < 1e-10: further away nothing counts
_TILE = 64


def interpolate(volume: NDArray[Any], axes: Sequence[AxisWeights]) -> NDArray[np.float32]:
    """Interpolate a (z, y, x) volume with a table for each of z, y, x; float32, NaN outside."""
    shrinks = axes[0].index.shape[1] < volume.shape[0]
    if shrinks:
        volume = _along(volume, 0, axes[0])
    if axes[1].prefilter or axes[2].prefilter:
        volume = _along(_along(volume, 1, axes[1]), 2, axes[2])
    elif not (axes[1].keeps(volume.shape[1]) and axes[2].keeps(volume.shape[2])):
        planes = np.empty((volume.shape[0], axes[1].index.shape[1], axes[2].index.shape[1]), np.float32)
        _planes(np.ascontiguousarray(volume), axes[1].index, axes[1].weight, axes[2].index, axes[2].weight, planes)
        volume = planes
    if not shrinks:
        volume = _along(volume, 0, axes[0])
    return np.ascontiguousarray(volume, dtype=np.float32)


def prefilter(volume: NDArray[Any]) -> NDArray[np.float32]:
    """Return the coefficients (z, y, x) of the cubic B-spline through the values of a volume.

    References
    ----------
    Unser, Splines: a perfect fit for signal and image processing, IEEE Signal Processing Magazine 1999.
    """
    for axis, length in enumerate(volume.shape):
        if length > 1:
            every = AxisWeights(np.arange(length)[None], np.ones((1, length), np.float32), prefilter=True)
            volume = _along(volume, axis, every)
    return np.ascontiguousarray(volume, dtype=np.float32)


def _along(volume: NDArray[Any], axis: int, table: AxisWeights) -> NDArray[Any]:
    if table.keeps(volume.shape[axis]) and not table.prefilter:
        return volume
    volume = np.ascontiguousarray(volume)
    target = [*volume.shape]
    target[axis] = table.index.shape[1]
    result = np.empty(target, np.float32)
    before, after = math.prod(volume.shape[:axis]), math.prod(volume.shape[axis + 1 :])
    blocks = volume.reshape(before, volume.shape[axis], after)
    into = result.reshape(before, table.index.shape[1], after)
    if not table.prefilter:
        _outer(blocks, table.index, table.weight, into)
    elif axis == 2:
        _inner_spline(blocks[..., 0], table.index, table.weight, into[..., 0])
    else:
        _outer_spline(blocks, table.index, table.weight, into)
    return result


@numba.njit(nogil=True, cache=True)
def _planes(source: Block, index_y: Block, weight_y: Block, index_x: Block, weight_x: Block, target: Block) -> None:
    """Interpolate along y, then x, a line at a time: what lies between the two never leaves the cache."""
    line = np.empty(source.shape[2], np.float32)
    for z in range(source.shape[0]):
        for y in range(index_y.shape[1]):
            _weigh(source[z], index_y, weight_y, y, line)
            _gather(line, index_x, weight_x, target[z, y])


@numba.njit(nogil=True, cache=True)
def _outer(source: Block, index: Block, weight: Block, target: Block) -> None:
    """Interpolate along the middle axis of (a, n, b)."""
    for a in range(source.shape[0]):
        for i in range(index.shape[1]):
            _weigh(source[a], index, weight, i, target[a, i])


@numba.njit(nogil=True, cache=True)
def _weigh(rows: Block, index: Block, weight: Block, i: int, target: Block) -> None:
    """Sum the rows (n, b) that make row i; one row to a loop, which the compiler turns to vectors."""
    row, w = rows[index[0, i]], weight[0, i]
    for b in range(len(target)):
        target[b] = w * row[b]
    for k in range(1, len(index)):
        row, w = rows[index[k, i]], weight[k, i]
        for b in range(len(target)):
            target[b] += w * row[b]


@numba.njit(nogil=True, cache=True)
def _gather(line: Block, index: Block, weight: Block, target: Block) -> None:
    """Interpolate a line (n,)."""
    if len(index) == 2:
        p, q, v, w = index[0], index[1], weight[0], weight[1]
        for i in range(len(target)):
            target[i] = v[i] * line[p[i]] + w[i] * line[q[i]]
        return
    for i in range(len(target)):
        total = np.float32(0)
        for k in range(len(index)):
            total += weight[k, i] * line[index[k, i]]
        target[i] = total


@numba.njit(nogil=True, cache=True)
def _outer_spline(source: Block, index: Block, weight: Block, target: Block) -> None:
    """As `_outer`, of the spline's coefficients, `_TILE` of b at a time."""
    n_a, n, n_b = source.shape
    tile = np.zeros((n, _TILE), np.float32)
    for a in range(n_a):
        for start in range(0, n_b, _TILE):
            stop = min(start + _TILE, n_b)
            for i in range(n):
                tile[i, : stop - start] = source[a, i, start:stop]
            _to_coefficients(tile)
            for i in range(index.shape[1]):
                _weigh(tile, index, weight, i, target[a, i, start:stop])


@numba.njit(nogil=True, cache=True)
def _inner_spline(source: Block, index: Block, weight: Block, target: Block) -> None:
    """Interpolate the spline along the last axis of (a, n), `_TILE` rows at a time, turned to lie side by side."""
    n_a, n = source.shape
    tile = np.zeros((n, _TILE), np.float32)
    line = np.empty(_TILE, np.float32)
    for start in range(0, n_a, _TILE):
        width = min(_TILE, n_a - start)
        for a in range(width):
            for i in range(n):
                tile[i, a] = source[start + a, i]
        _to_coefficients(tile)
        for i in range(index.shape[1]):
            _weigh(tile, index, weight, i, line)
            target[start : start + width, i] = line[:width]


@numba.njit(nogil=True, cache=True)
def _to_coefficients(tile: Block) -> None:  # noqa: C901 - the recursion of the filter, there and back
    """Turn values (n, lines) into cubic B-spline coefficients along the first axis, mirrored at both ends."""
    n, lines = tile.shape
    pole = np.float32(_POLE)
    first = np.zeros(lines, np.float32)
    period = 2 * (n - 1)
    for k in range(_HORIZON):
        i = k % period
        i = min(i, period - i)
        power = np.float32(_POLE**k)
        for b in range(lines):
            first[b] += power * tile[i, b]
    for b in range(lines):
        tile[0, b] = first[b]
    for i in range(1, n):
        for b in range(lines):
            tile[i, b] += pole * tile[i - 1, b]
    end = np.float32(_POLE / (_POLE * _POLE - 1))
    for b in range(lines):
        tile[n - 1, b] = end * (pole * tile[n - 2, b] + tile[n - 1, b])
    for i in range(n - 2, -1, -1):
        for b in range(lines):
            tile[i, b] = pole * (tile[i + 1, b] - tile[i, b])
    gain = np.float32((1 - _POLE) * (1 - 1 / _POLE))
    for i in range(n):
        for b in range(lines):
            tile[i, b] *= gain
