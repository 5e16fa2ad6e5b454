"""Everything that is said about how well two masks agree, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from npczarr.kernels.lesions import match_lesions
from npczarr.kernels.masks import as_pair, bounding_box
from npczarr.kernels.overlap import overlap
from npczarr.kernels.surface import (
    assd,
    average_distances,
    hausdorff,
    surface_dice,
    surface_distances,
    surface_overlaps,
)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well mask b (a prediction, or the second rater) agrees with mask a (the reference, or the first).

    Both masks empty: every metric is NaN. One empty: overlaps are 0, distances infinite.

    Attributes
    ----------
    voxels_a, voxels_b
        Voxels of tumor.
    dice, jaccard, precision, sensitivity, volume_similarity
        Overlap of the voxels, see `npczarr.kernels.overlap.Overlap`.
    hd_mm, hd95_mm
        Hausdorff distance between the surfaces, and at 95 % of their area.
    assd_mm
        Average symmetric surface distance.
    average_a_to_b_mm, average_b_to_a_mm
        Average distance from each surface to the other.
    surface_dice, surface_overlap_a, surface_overlap_b
        Fraction within the tolerance of the other surface, or a millionth of it more: of both surfaces together, of
        a's, of b's.
    lesions_a, lesions_b
        26-connected pieces.
    lesion_tp, lesion_fp, lesion_fn, lesion_f1
        Lesions of a that b has too, of b that a has not, of a that b has not; and F1 of detection. They are matched one
        to one from an intersection over union of 0.5, see `npczarr.kernels.lesions`.
    lesion_dice
        Mean Dice of the matched lesions; 0 where there are lesions but no match.
    """

    voxels_a: int
    voxels_b: int
    dice: float
    jaccard: float
    precision: float
    sensitivity: float
    volume_similarity: float
    hd_mm: float
    hd95_mm: float
    assd_mm: float
    average_a_to_b_mm: float
    average_b_to_a_mm: float
    surface_dice: float
    surface_overlap_a: float
    surface_overlap_b: float
    lesions_a: int
    lesions_b: int
    lesion_tp: int
    lesion_fp: int
    lesion_fn: int
    lesion_f1: float
    lesion_dice: float


def compare(
    a: ArrayLike,
    b: ArrayLike,
    spacing_zyx_mm: Sequence[float],
    *,
    tolerance_mm: float,
    window: Sequence[slice] | None = None,
) -> Agreement:
    """Compare two masks by their voxels and their surfaces.

    Parameters
    ----------
    a, b
        (z, y, x) of one shape, booleans or integers; above 0 is tumor. a is the reference for precision and
        sensitivity; swapping the two swaps those, and the metrics with a direction.
    spacing_zyx_mm
        Voxel size.
    tolerance_mm
        How far apart two surfaces may lie and still count as the same, for the surface overlaps; a millionth of it more
        counts too.
    window
        Three slices known to hold the tumor of both; voxels outside are not read.

    Raises
    ------
    ParameterError
        If an argument is not as described, or the shapes differ.
    """
    a, b = as_pair(a, b)
    box = bounding_box(a, b, window=window)
    voxels = overlap(a, b, window=box)
    surfaces = surface_distances(a, b, spacing_zyx_mm, window=box)
    lesions = match_lesions(a, b, window=box)
    average_a_to_b_mm, average_b_to_a_mm = average_distances(surfaces)
    surface_overlap_a, surface_overlap_b = surface_overlaps(surfaces, tolerance_mm)
    return Agreement(
        voxels_a=voxels.both + voxels.only_a,
        voxels_b=voxels.both + voxels.only_b,
        dice=voxels.dice,
        jaccard=voxels.jaccard,
        precision=voxels.precision,
        sensitivity=voxels.sensitivity,
        volume_similarity=voxels.volume_similarity,
        hd_mm=hausdorff(surfaces),
        hd95_mm=hausdorff(surfaces, 95),
        assd_mm=assd(surfaces),
        average_a_to_b_mm=average_a_to_b_mm,
        average_b_to_a_mm=average_b_to_a_mm,
        surface_dice=surface_dice(surfaces, tolerance_mm),
        surface_overlap_a=surface_overlap_a,
        surface_overlap_b=surface_overlap_b,
        lesions_a=len(lesions.voxels_a),
        lesions_b=len(lesions.voxels_b),
        lesion_tp=lesions.true_positives,
        lesion_fp=lesions.false_positives,
        lesion_fn=lesions.false_negatives,
        lesion_f1=lesions.f1,
        lesion_dice=lesions.dice,
    )
