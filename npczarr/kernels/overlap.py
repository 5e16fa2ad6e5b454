"""How many voxels two masks share, and the ratios made of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from npczarr.kernels.masks import Mask, as_pair, bounding_box


@dataclass(frozen=True, slots=True)
class Overlap:
    """Voxels by what mask a (the reference, or the first rater) and mask b (the prediction, or the second) say.

    Every ratio is NaN where both masks are empty, and 0 where one is.

    Attributes
    ----------
    both, only_a, only_b, neither
        Voxel counts: true positives, false negatives, false positives, true negatives.
    """

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def dice(self) -> float:
        """2 |a ∩ b| / (|a| + |b|)."""
        return self._ratio(2 * self.both, 2 * self.both + self.only_a + self.only_b)

    @property
    def jaccard(self) -> float:
        """|a ∩ b| / |a ∪ b|."""
        return self._ratio(self.both, self.both + self.only_a + self.only_b)

    @property
    def precision(self) -> float:
        """|a ∩ b| / |b|."""
        return self._ratio(self.both, self.both + self.only_b)

    @property
    def sensitivity(self) -> float:
        """|a ∩ b| / |a|."""
        return self._ratio(self.both, self.both + self.only_a)

    @property
    def volume_similarity(self) -> float:
        """1 - ||a| - |b|| / (|a| + |b|) (Taha and Hanbury 2015, doi 10.1186/s12880-015-0068-x)."""
        total = 2 * self.both + self.only_a + self.only_b
        return self._ratio(total - abs(self.only_a - self.only_b), total)

    def _ratio(self, part: int, whole: int) -> float:
        if not (self.both or self.only_a or self.only_b):
            return math.nan
        return part / whole if whole else 0.0


def overlap(a: ArrayLike, b: ArrayLike, *, window: Sequence[slice] | None = None) -> Overlap:
    """Count the voxels that two masks share.

    Parameters
    ----------
    a, b
        (z, y, x) of one shape, booleans or integers; above 0 is tumor.
    window
        Three slices known to hold the tumor of both; voxels outside are not read.

    Raises
    ------
    ParameterError
        If an argument is not as described, or the shapes differ.
    """
    a, b = as_pair(a, b)
    box = bounding_box(a, b, window=window)
    both, in_a, in_b = (int(n) for n in _count(a[box], b[box]))
    return Overlap(both, in_a - both, in_b - both, a.size - in_a - in_b + both)


@numba.njit(nogil=True, cache=True)
def _count(a: Mask, b: Mask) -> NDArray[np.int64]:
    """Return how many voxels are tumor in both, in a, and in b."""
    both = in_a = in_b = 0
    n_z, n_y, n_x = a.shape
    for z in range(n_z):
        for y in range(n_y):
            for x in range(n_x):
                tumor_a, tumor_b = a[z, y, x] != 0, b[z, y, x] != 0
                both += tumor_a & tumor_b
                in_a += tumor_a
                in_b += tumor_b
    return np.array([both, in_a, in_b])
