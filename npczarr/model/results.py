"""The registry of results: what is measured on masks, with units and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from npczarr.model.schema import SCAN, Variable

VERSION = 5  # of the definitions below: a stored result of another version is computed again
_PER_AXIS = (*SCAN, "axis")
#: Of surface Dice, in mm.
TOLERANCE_MM = 2.0


class Table(Protocol):
    """Numbers with names for their dimensions: a variable of xarray, or as much of one as it takes to print them."""

    @property
    def dims(self) -> tuple[Any, ...]: ...  # noqa: D102
    @property
    def values(self) -> Any: ...  # noqa: ANN401, D102
    @property
    def attrs(self) -> Mapping[Any, Any]: ...  # noqa: D102


#: A result by the names of what was measured; an ``xarray.Dataset`` is one.
Numbers = Mapping[Any, Table]


@dataclass(frozen=True, slots=True)
class Failure:
    """A scan that could not be measured, or a prediction that is of no scan, and why."""

    patient: str
    sequence: str
    problem: str


MORPHOLOGY: tuple[Variable, ...] = (
    Variable("volume", SCAN, "float64", "volume inside the marching cubes surface at 0.5", "mm3"),
    Variable("surface_area", SCAN, "float64", "area of the marching cubes surface", "mm2"),
    Variable("max_diameter", SCAN, "float64", "largest distance between two vertices of the surface", "mm"),
    Variable("surface_regularity", SCAN, "float64", "V / (4/3 pi R3), R = sqrt(S / 4 pi); 1 for a sphere", "1"),
    Variable("sphericity", SCAN, "float64", "(36 pi V2)^(1/3) / S; 1 for a sphere", "1"),
    Variable("voxel_volume", SCAN, "float64", "number of voxels times their volume", "mm3"),
    Variable("voxel_count", SCAN, "float64", "voxels of tumor; NaN where there is no mask", "1"),
    Variable("components", SCAN, "float64", "26-connected pieces", "1"),
    Variable("box_start", _PER_AXIS, "float64", "first voxel of the bounding box", "1"),
    Variable("box_stop", _PER_AXIS, "float64", "voxel after the last of the bounding box", "1"),
    Variable("touches_start", _PER_AXIS, "float64", "1 where tumor lies in the first plane along the axis", "1"),
    Variable("touches_stop", _PER_AXIS, "float64", "1 where tumor lies in the last plane along the axis", "1"),
)

AGREEMENT: tuple[Variable, ...] = (
    Variable("dice", SCAN, "float64", "2 |A and B| / (|A| + |B|)", "1"),
    Variable("jaccard", SCAN, "float64", "|A and B| / |A or B|", "1"),
    Variable("precision", SCAN, "float64", "|A and B| / |B|", "1"),
    Variable("sensitivity", SCAN, "float64", "|A and B| / |A|", "1"),
    Variable("volume_similarity", SCAN, "float64", "1 - ||A| - |B|| / (|A| + |B|)", "1"),
    Variable("hd", SCAN, "float64", "Hausdorff distance of the surfaces", "mm"),
    Variable("hd95", SCAN, "float64", "Hausdorff distance at 95 % of the surface area", "mm"),
    Variable("assd", SCAN, "float64", "average symmetric surface distance, weighted by area", "mm"),
    Variable("average_a_to_b", SCAN, "float64", "average distance from the surface of A to that of B", "mm"),
    Variable("average_b_to_a", SCAN, "float64", "average distance from the surface of B to that of A", "mm"),
    Variable("surface_dice", SCAN, "float64", "fraction of both surfaces within 1.000001 tolerances of the other", "1"),
    Variable("voxels_a", SCAN, "float64", "voxels of A: the reference, or the first rater", "1"),
    Variable("voxels_b", SCAN, "float64", "voxels of B: the prediction, or the second rater", "1"),
    Variable("lesions_a", SCAN, "float64", "26-connected pieces of A", "1"),
    Variable("lesions_b", SCAN, "float64", "26-connected pieces of B", "1"),
    Variable("lesion_tp", SCAN, "float64", "lesions of A and B matched one to one, from |and| / |or| of 0.5", "1"),
    Variable("lesion_fp", SCAN, "float64", "lesions of B without a match", "1"),
    Variable("lesion_fn", SCAN, "float64", "lesions of A without a match", "1"),
    Variable("lesion_f1", SCAN, "float64", "2 TP / (2 TP + FP + FN): detection of lesions", "1"),
    Variable("lesion_dice", SCAN, "float64", "mean Dice of the matched lesions; 0 where none is matched", "1"),
)

#: Of a score, beside what is in AGREEMENT.
MESSAGE = Variable("message", SCAN, "string", "what must be known of the prediction before its numbers are trusted")

#: What the paper's Table 2 shows, and what is printed of an agreement.
TABLE_2 = ("volume", "surface_area", "max_diameter", "surface_regularity")
AGREEMENT_TABLE = ("dice", "jaccard", "hd", "hd95", "assd", "surface_dice")
LESION_TABLE = ("lesion_f1", "lesion_dice")
#: Numbers without a unit that a wrong spacing makes wrong all the same.
LENGTH_RATIOS = ("surface_regularity", "sphericity", "surface_dice")
