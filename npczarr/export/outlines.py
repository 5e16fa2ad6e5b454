"""Closed outlines of a mask, slice by slice, from which the even-odd rule gives back the same voxels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

Points = NDArray[np.float64]
_MARGIN = 1e-6


def outlines(inside: NDArray[np.bool_]) -> list[Points]:
    """Outline the voxels of one slice.

    The outline runs half-way between the centers of voxels inside and outside, so every center is on its side of it by
    a third of a voxel or more. A hole is joined to the outline around it by a channel of no width, as DICOM asks of
    closed planar contours: one line along the borders of voxels, walked there and back.

    Parameters
    ----------
    inside
        (y, x).

    Returns
    -------
    list of numpy.ndarray
        (n, 2) each, x and y in voxels; the last point is not the first.
    """
    if not inside.any():
        return []
    # padded by one, for outlines that reach the border; "low": voxels that touch at a corner are apart
    lines = find_contours(np.pad(inside, 1).astype(float), 0.5, fully_connected="low")
    rings = [_corners(line[:-1, ::-1] - 1) for line in lines]
    areas = [_area(ring) for ring in rings]
    sign = np.sign(areas[int(np.argmax(np.abs(areas)))])  # the largest is around something, not a hole
    outer = [ring for ring, area in zip(rings, areas, strict=True) if np.sign(area) == sign]
    for hole in (ring for ring, area in zip(rings, areas, strict=True) if np.sign(area) != sign):
        at, joint = _nearest(outer, hole)
        outer[at] = _joined(outer[at], hole, *joint)
    return outer


def _corners(ring: Points) -> Points:
    """Leave out points on a straight line between their neighbors."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > _MARGIN
    return np.asarray(ring[turns])


def _area(ring: Points) -> float:
    x, y = ring.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _nearest(rings: list[Points], hole: Points) -> tuple[int, tuple[int, int]]:
    """Find the ring whose corner is nearest to a corner of a hole, and both corners.

    By the even-odd rule a channel changes nothing, whichever outline it leads to.
    """
    best = (np.inf, 0, (0, 0))
    for n, ring in enumerate(rings):
        apart = ((ring[:, None] - hole[None]) ** 2).sum(axis=-1)
        i, j = np.unravel_index(int(apart.argmin()), apart.shape)
        best = min(best, (float(apart[i, j]), n, (int(i), int(j))))
    return best[1], best[2]


def _joined(ring: Points, hole: Points, i: int, j: int) -> Points:
    """Walk a ring to a corner, the channel, around the hole, and back."""
    around = np.concatenate([hole[j:], hole[: j + 1]])
    channel = _between_voxels(ring[i], hole[j])
    return np.concatenate([ring[: i + 1], channel, around, channel[::-1], ring[i:]])


def _between_voxels(first: Points, last: Points) -> Points:
    """Lead from one point of an outline to another along the borders of voxels, half a voxel from every center.

    A straight line would run through centers, which some programs then take for outside. Points of an outline lie in
    the middle of a border.
    """
    ahead = np.where(last >= first, 0.5, -0.5)
    start = np.where(first % 1 == 0, first + ahead, first)  # a corner of a voxel
    end = np.where(last % 1 == 0, last - ahead, last)
    steps = np.array([start, (end[0], start[1]), end])
    return np.asarray(steps[np.append(True, np.any(np.diff(steps, axis=0) != 0, axis=1))])
