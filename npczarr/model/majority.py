"""A mask on the grid of its image where neither grid is the other's: each voxel goes to what fills most of it."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from npczarr.model.geometry import Floats, Grid, Shape, index_map

_TIE = 1e-3  # of a voxel's volume: NIfTI affines are float32, and a tie must not depend on their rounding
_PARALLEL_VOXELS = 0.05  # axes that part by less over the whole mask run along one another
_MOST_SAMPLES = 9  # along one axis of a voxel


def resample_majority(mask: NDArray[np.uint8], source: Grid, target: Grid) -> NDArray[np.uint8]:
    """Mark each voxel of ``target`` of whose volume at least half is tumor; a tie is tumor.

    Where the axes of the grids run along one another, in any order and direction, the volume is exact, whatever the
    sizes of the voxels. Else it is sampled at points that lie at most a quarter of a voxel of ``source`` apart, nine
    along an axis at most. What lies outside ``source`` is background.

    Parameters
    ----------
    mask
        0 and 1 on ``source``, (z, y, x).

    Returns
    -------
    numpy.ndarray
        0 and 1 on ``target``, (z, y, x).
    """
    result = np.zeros(target.shape_zyx, dtype=np.uint8)
    box = _bounding_box(mask)
    if box is None:
        return result
    mask, source = mask[box], source.crop(box)
    window = _reach(source, target)
    if window is None:
        return result
    part = target.crop(window)
    order = _matched_axes(source, part)
    result[window] = _sampled(mask, source, part) if order is None else _exact(mask, source, part, order)
    return result


def resample_labels(mask: NDArray[np.uint8], source: Grid, target: Grid) -> NDArray[np.uint8]:
    """Give each voxel of ``target`` the label that at least half of its volume is; of two, the lower number.

    Parameters
    ----------
    mask
        Numbers of labels on ``source``, (z, y, x).

    Returns
    -------
    numpy.ndarray
        Numbers of labels on ``target``, (z, y, x).
    """
    if mask.max(initial=0) <= 1:
        return resample_majority(mask, source, target)
    result = np.zeros(target.shape_zyx, dtype=np.uint8)
    for number in np.unique(mask[mask > 0])[::-1]:
        found = resample_majority((mask == number).view(np.uint8), source, target)
        result[found.view(np.bool_)] = number
    return result


def _bounding_box(mask: NDArray[np.uint8]) -> tuple[slice, slice, slice] | None:
    spans = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(mask.any(axis=others))
        if not len(found):
            return None
        spans.append(slice(int(found[0]), int(found[-1]) + 1))
    return spans[0], spans[1], spans[2]


def _reach(source: Grid, target: Grid) -> tuple[slice, slice, slice] | None:
    """Find the voxels of ``target`` that a grid meets, faces and all; None if there are none."""
    matrix = index_map(source, target)
    faces = np.array(list(product(*[(-0.5, n - 0.5) for n in source.shape_zyx[::-1]])))
    index_xyz = faces @ matrix[:3, :3].T + matrix[:3, 3]
    # clipped before they become whole numbers, which are bounded
    limit = np.array(target.shape_zyx[::-1])
    first = np.clip(np.floor(index_xyz.min(axis=0) + 0.5), 0, limit).astype(int)
    last = np.clip(np.ceil(index_xyz.max(axis=0) + 0.5), 0, limit).astype(int)
    if (first >= last).any():
        return None
    x, y, z = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    return z, y, x


def _matched_axes(source: Grid, target: Grid) -> list[int] | None:
    """Axis x, y or z of ``source``, as 0, 1 or 2, along x, y and z of ``target``; None where they do not run along."""
    order = [int(i) for i in np.abs(target.directions.T @ source.directions).argmax(axis=1)]
    if sorted(order) != [0, 1, 2]:
        return None
    across = np.abs(index_map(source, target)[:3, :3])
    across[range(3), order] = 0
    drift = (across @ np.array(source.shape_zyx[::-1])).max()
    return order if drift < _PARALLEL_VOXELS else None


def _exact(mask: NDArray[np.uint8], source: Grid, target: Grid, order: list[int]) -> NDArray[np.bool_]:
    """Volumes are products of lengths along the three axes, so each axis is summed on its own."""
    matrix = index_map(source, target)
    middle = (np.array(source.shape_zyx[::-1]) - 1) / 2
    there = matrix[:3, :3] @ middle + matrix[:3, 3]
    lengths = []
    for axis, along in enumerate(order):
        step = matrix[axis, along]
        centers = there[axis] + step * (np.arange(source.shape_zyx[2 - along]) - middle[along])
        lengths.append(_overlaps(centers, abs(step), target.shape_zyx[2 - axis]))
    x, y, z = lengths
    ordered = mask.transpose([2 - along for along in order[::-1]])
    result = np.zeros(target.shape_zyx, dtype=np.bool_)
    for k, weights in enumerate(z):
        plane = np.zeros(ordered.shape[1:], dtype=np.float32)
        for met in np.flatnonzero(weights):
            plane += weights[met] * ordered[met]
        result[k] = y @ plane @ x.T >= 0.5 - _TIE
    return result


def _overlaps(centers: Floats, width: float, count: int) -> NDArray[np.float32]:
    """(count, n) length that each of ``count`` unit voxels has in common with each of n voxels of a width."""
    unit = np.arange(count)[:, None]
    low = np.maximum(unit - 0.5, centers - width / 2)
    high = np.minimum(unit + 0.5, centers + width / 2)
    lengths: NDArray[np.float32] = np.maximum(high - low, 0).astype(np.float32)
    return lengths


def _sampled(mask: NDArray[np.uint8], source: Grid, target: Grid) -> NDArray[np.bool_]:
    """Count points: placed evenly about the center of a voxel, so that a plane beside the center never gets a half."""
    matrix = index_map(target, source)
    steps = np.linalg.norm(matrix[:3, :3], axis=0)  # of x, y, z of the target, in voxels of the source
    axes = [_points(n) for n in np.clip(np.ceil(4 * steps).astype(int) | 1, 3, _MOST_SAMPLES)]
    shifts = np.array(list(product(*[places for places, _ in axes]))) @ matrix[:3, :3].T
    weights = [float(np.prod(one)) for one in product(*[weights for _, weights in axes])]
    half = sum(weights) / 2
    z, y, x = (np.arange(n) for n in target.shape_zyx)
    result = np.zeros(target.shape_zyx, dtype=np.bool_)
    for k in z:  # slice by slice, so that the index arrays stay small
        base = [row[0] * x[None, :] + row[1] * y[:, None] + row[2] * k + row[3] for row in matrix[:3]]
        hits = np.zeros(target.shape_zyx[1:], dtype=np.float32)
        for shift, weight in zip(shifts, weights, strict=True):
            at = [one + move for one, move in zip(base, shift, strict=True)]
            hits += np.float32(weight) * _values_at(mask, source.shape_zyx, at)
        result[k] = hits >= half
    return result


def _points(count: int) -> tuple[Floats, Floats]:
    """Places of an odd number of points along an axis of a voxel, and their weights.

    The middle one is two, of half the weight, on either side of the center: where faces of both grids meet there, one
    is inside and the other is not, and the tie does not hang on rounding.
    """
    places = (np.arange(count) + 0.5) / count - 0.5
    middle = count // 2
    weights = np.insert(np.ones(count), middle, 0.5)
    weights[middle + 1] = 0.5
    places = np.insert(places, middle, -_TIE)
    places[middle + 1] = _TIE
    return places, weights


def _values_at(mask: NDArray[np.uint8], shape_zyx: Shape, index_xyz: list[Floats]) -> NDArray[np.uint8]:
    """Values of the voxels in which points lie, 0 outside."""
    whole = [np.floor(i + 0.5).astype(np.intp) for i in index_xyz]
    inside = np.logical_and.reduce([(i >= 0) & (i < n) for i, n in zip(whole, shape_zyx[::-1], strict=True)])
    found = np.zeros(inside.shape, dtype=np.uint8)
    at_x, at_y, at_z = (i[inside] for i in whole)
    found[inside] = mask[at_z, at_y, at_x]
    return found
