"""Interpolation along one axis as a table: which source voxels make a target voxel, and with what weights.

Voxel centers have integer indices, a volume reaches half a voxel beyond its outer centers (ITK's rule), and a target
voxel whose center lies outside has NaN weights, so that its value becomes NaN without a test for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.model.resampling import Method

Floats = NDArray[np.float64]

#: Voxels by which a position may miss: affines come from decimal numbers, and a face or a tie must not depend on them.
SLACK = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class AxisWeights:
    """How one axis is interpolated.

    Parameters
    ----------
    index
        (k, m) voxels of the source for each of m voxels of the target. One of no weight is one of those that count
        anyway: what is not known there must not reach the target.
    weight
        (k, m) float32; NaN where the target voxel lies outside the source.
    prefilter
        Whether the weights are of the coefficients of a cubic B-spline instead of the values.
    """

    index: NDArray[np.int64]
    weight: NDArray[np.float32]
    prefilter: bool = False

    def keeps(self, length: int) -> bool:
        """Whether the axis is left as it is."""
        same = self.index.shape == (1, length) and bool((self.index == np.arange(length)).all())
        return same and bool((self.weight == 1).all())


def axis_weights(position: Floats, length: int, method: Method) -> AxisWeights:
    """Make the table of one axis.

    Parameters
    ----------
    position
        (m,) index on the source, not rounded, of each voxel center of the target; evenly spaced.
    length
        Voxels of the source along the axis.
    method
        ``"nearest"`` (half-way goes up), ``"linear"``, ``"cubic"`` (interpolating B-spline, mirrored at the border:
        Unser 1999) or ``"area"`` (average over the target voxel's width where it is wider than the source's, else
        linear).
    """
    step = abs(float(position[1] - position[0])) if len(position) > 1 else 1.0
    outside = (position < -0.5 - SLACK) | (position > length - 0.5 + SLACK)
    prefilter = False
    if method == "area" and step > 1:
        index, weight = _area(position, length, step)
    elif method == "nearest" or _on_voxels(position):
        index, weight = np.floor(position + 0.5 + SLACK)[None], np.ones((1, len(position)))
    elif method == "cubic" and length > 1:
        index, weight = _cubic(position)
        prefilter = True
    else:
        low = np.floor(position)
        index, weight = np.stack([low, low + 1]), np.stack([1 - (position - low), position - low])
    weight[:, outside] = np.nan
    whole = index.astype(np.int64)
    whole = _mirrored(whole, length) if prefilter else whole.clip(0, length - 1)
    if not prefilter:
        heaviest = np.take_along_axis(whole, weight.argmax(axis=0)[None], axis=0)
        whole = np.where(weight < SLACK, heaviest, whole)
    return AxisWeights(np.ascontiguousarray(whole), np.ascontiguousarray(weight, dtype=np.float32), prefilter)


def _on_voxels(position: Floats) -> bool:
    """Whether every position is a voxel center: all methods then give its value, and exactly."""
    return bool((np.abs(position - np.rint(position)) < SLACK).all())


def _cubic(position: Floats) -> tuple[Floats, Floats]:
    low = np.floor(position)
    t = position - low
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    return low + np.arange(-1.0, 3.0)[:, None], np.stack(weights) / 6


def _area(position: Floats, length: int, step: float) -> tuple[Floats, Floats]:
    """Weigh each source voxel by how much of it lies in the target voxel; what is beyond the volume does not count."""
    first = np.floor(position - step / 2 + 0.5)
    index: Floats = first + np.arange(np.ceil(step) + 1)[:, None]
    low = np.maximum(index - 0.5, np.maximum(position - step / 2, -0.5))
    high = np.minimum(index + 0.5, np.minimum(position + step / 2, length - 0.5))
    overlap = np.maximum(high - low, 0)
    total = overlap.sum(axis=0)
    return index, np.divide(overlap, total, out=np.zeros_like(overlap), where=total > 0)


def _mirrored(index: NDArray[Any], length: int) -> NDArray[np.int64]:
    """Fold indices beyond the ends back, about the outer voxel centers."""
    period = 2 * (length - 1)
    folded = np.abs(index) % period
    return np.asarray(np.minimum(folded, period - folded), dtype=np.int64)
