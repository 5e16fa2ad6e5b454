"""Lesions of two masks, one by one: which are found, which are missed, and how well each found one agrees.

A lesion is a 26-connected piece. Lesions are matched one to one, the pair of largest intersection over union first,
down to a threshold (Kirillov et al., Panoptic Segmentation, CVPR 2019; Kofler et al., panoptica, arXiv 2312.02608).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from npczarr.errors import ParameterError
from npczarr.kernels.masks import as_pair, bounding_box
from npczarr.kernels.runs import find_pieces, shared_voxels

MATCH_IOU = 0.5  # intersection over union from which two lesions are the same one


@dataclass(frozen=True, slots=True, eq=False)
class Lesions:
    """The lesions of two masks, matched.

    Attributes
    ----------
    voxels_a, voxels_b
        (n,) voxels of each lesion of a, and of b, in the order in which their first voxels are stored.
    first_a_zyx, first_b_zyx
        (n, 3) the first voxel of each, in the masks.
    match_a, match_b
        (n,) matched lesions, as places in ``voxels_a`` and in ``voxels_b``, in the order of a.
    voxels_both
        (n,) voxels that the lesions of each match share.
    """

    voxels_a: NDArray[np.int64]
    voxels_b: NDArray[np.int64]
    first_a_zyx: NDArray[np.int64]
    first_b_zyx: NDArray[np.int64]
    match_a: NDArray[np.int64]
    match_b: NDArray[np.int64]
    voxels_both: NDArray[np.int64]

    @property
    def true_positives(self) -> int:
        """Lesions of a that b has too."""
        return len(self.match_a)

    @property
    def false_positives(self) -> int:
        """Lesions of b that a has not."""
        return len(self.voxels_b) - len(self.match_b)

    @property
    def false_negatives(self) -> int:
        """Lesions of a that b has not."""
        return len(self.voxels_a) - len(self.match_a)

    @property
    def f1(self) -> float:
        """F1 of detection: 2 TP / (2 TP + FP + FN); NaN where neither mask has a lesion."""
        total = len(self.voxels_a) + len(self.voxels_b)
        return 2 * self.true_positives / total if total else math.nan

    @property
    def dice_of_matches(self) -> NDArray[np.float64]:
        """(n,) Dice of each match."""
        return 2 * self.voxels_both / (self.voxels_a[self.match_a] + self.voxels_b[self.match_b])

    @property
    def dice(self) -> float:
        """Mean Dice of the matches; 0 where there are lesions but no match, NaN where neither mask has a lesion."""
        if len(self.match_a):
            return float(self.dice_of_matches.mean())
        return 0.0 if len(self.voxels_a) + len(self.voxels_b) else math.nan


def match_lesions(
    a: ArrayLike, b: ArrayLike, *, iou: float = MATCH_IOU, window: Sequence[slice] | None = None
) -> Lesions:
    """Match the lesions of two masks.

    Parameters
    ----------
    a, b
        (z, y, x) of one shape, booleans or integers; above 0 is tumor. a is the reference.
    iou
        Intersection over union from which two lesions are the same one; above 0 and up to 1.
    window
        Three slices known to hold the tumor of both; voxels outside are not read.

    Raises
    ------
    ParameterError
        If an argument is not as described, or the shapes differ.
    """
    if isinstance(iou, bool) or not isinstance(iou, int | float) or not 0 < iou <= 1:
        raise ParameterError(f"iou: expected a number above 0 and up to 1, got {iou!r}")
    a, b = as_pair(a, b)
    box = bounding_box(a, b, window=window)
    pieces_a, pieces_b = find_pieces(a, box), find_pieces(b, box)
    of_a, of_b, shared = shared_voxels(pieces_a, pieces_b)
    ratio = shared / (pieces_a.voxels[of_a] + pieces_b.voxels[of_b] - shared)
    chosen = _one_to_one(of_a, of_b, ratio, iou)
    return Lesions(
        pieces_a.voxels,
        pieces_b.voxels,
        pieces_a.first_zyx,
        pieces_b.first_zyx,
        of_a[chosen],
        of_b[chosen],
        shared[chosen],
    )


def _one_to_one(
    of_a: NDArray[np.int64], of_b: NDArray[np.int64], ratio: NDArray[np.float64], iou: float
) -> NDArray[np.intp]:
    """Choose pairs, the best first, so that no lesion is in two; in the order of a."""
    taken_a: set[int] = set()
    taken_b: set[int] = set()
    chosen = []
    for i in np.lexsort((of_a, of_b, -ratio)):
        if ratio[i] < iou:
            break
        if of_a[i] not in taken_a and of_b[i] not in taken_b:
            taken_a.add(int(of_a[i]))
            taken_b.add(int(of_b[i]))
            chosen.append(i)
    kept = np.array(chosen, dtype=np.intp)
    return kept[np.argsort(of_a[kept])]
