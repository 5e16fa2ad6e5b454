"""Distances between the surfaces of two masks, as DeepMind's surface-distance package defines them.

A surface is the set of 2x2x2 cells that hold both tumor and background. Each counts with the area of marching cubes
surface in it, and lies as far from the other surface as its middle lies from the nearest of the other's middles.
One costly step, `surface_distances`, gives every cell's area and distance; the metrics below it are cheap sums.

References
----------
Nikolov et al., Clinically applicable segmentation of head and neck anatomy for radiotherapy, J Med Internet Res 2021,
doi 10.2196/26151; https://github.com/google-deepmind/surface-distance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from npczarr.errors import ParameterError
from npczarr.kernels.distance import surface_to_surface
from npczarr.kernels.masks import Mask, Triple, as_pair, as_spacing, bounding_box, crop_padded
from npczarr.kernels.ordering import by_distance
from npczarr.kernels.patterns import cell_patterns, pieces

Floats = NDArray[np.float64]
#: A distance above the tolerance by no more than this part of it counts as within. Voxel sizes and tolerances are round
#: numbers, so that many a distance equals the tolerance; spacings of float32 affines are exact to a ten-millionth.
TIE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceDistances:
    """Every surface element of a and of b: its distance to the other surface in mm, rising, and its area in mm².

    With each comes the area of all elements up to it. Where one mask is empty, it has no elements and the other's
    distances are infinite.
    """

    a_to_b_mm: Floats
    a_area_mm2: Floats
    a_within_mm2: Floats
    b_to_a_mm: Floats
    b_area_mm2: Floats
    b_within_mm2: Floats

    @property
    def total_areas_mm2(self) -> tuple[float, float]:
        """Area of each surface, a's then b's."""
        sides = (self.a_within_mm2, self.b_within_mm2)
        area_a, area_b = (_area_within(within, within.size) for within in sides)
        return area_a, area_b

    @property
    def both_empty(self) -> bool:
        """Whether neither mask holds tumor: then every metric is NaN."""
        return self.a_to_b_mm.size == 0 and self.b_to_a_mm.size == 0

    @property
    def one_empty(self) -> bool:
        """Whether just one mask holds tumor: then distances are infinite and overlaps 0."""
        return (self.a_to_b_mm.size == 0) != (self.b_to_a_mm.size == 0)


def surface_distances(
    a: ArrayLike, b: ArrayLike, spacing_zyx_mm: Sequence[float], *, window: Sequence[slice] | None = None
) -> SurfaceDistances:
    """Measure how far every surface element of each mask lies from the other's surface.

    Parameters
    ----------
    a, b
        (z, y, x) of one shape, booleans or integers; above 0 is tumor.
    spacing_zyx_mm
        Voxel size.
    window
        Three slices known to hold the tumor of both; voxels outside are not read.

    Raises
    ------
    ParameterError
        If an argument is not as described, or the shapes differ.
    """
    spacing = as_spacing(spacing_zyx_mm)
    a, b = as_pair(a, b)
    box = bounding_box(a, b, window=window)
    cells_a, cells_b = (cell_patterns(crop_padded(mask, box)) for mask in (a, b))
    area = _element_area(spacing)
    return SurfaceDistances(*_directed(cells_a, cells_b, area, spacing), *_directed(cells_b, cells_a, area, spacing))


def hausdorff(distances: SurfaceDistances, percent: float = 100.0) -> float:
    """Return the Hausdorff distance in mm, or its robust form at a percentile of the surface area, such as 95.

    Each direction gives the smallest distance within which ``percent`` of its area lies; the larger of the two counts.
    Where that percentage falls exactly on the step between two distances, rounding decides which one it is.

    Raises
    ------
    ParameterError
        If percent is not within 0 to 100.
    """
    if not 0 <= percent <= 100:
        raise ParameterError(f"percent: expected 0 to 100, found {percent!r}; 95 gives the usual robust distance")
    if distances.both_empty:
        return math.nan
    if distances.one_empty:
        return math.inf
    sides = ((distances.a_to_b_mm, distances.a_within_mm2), (distances.b_to_a_mm, distances.b_within_mm2))
    if percent == 100:
        return max(float(distance[-1]) for distance, _ in sides)
    return max(_percentile(distance, within, percent / 100) for distance, within in sides)


def average_distances(distances: SurfaceDistances) -> tuple[float, float]:
    """Return the area-weighted average distance in mm from a to b and from b to a.

    Where one mask is empty both are infinite; the surface-distance package gives NaN for the empty side.
    """
    if distances.both_empty:
        return math.nan, math.nan
    if distances.one_empty:
        return math.inf, math.inf
    area_a, area_b = distances.total_areas_mm2
    return (
        float(distances.a_to_b_mm @ distances.a_area_mm2) / area_a,
        float(distances.b_to_a_mm @ distances.b_area_mm2) / area_b,
    )


def assd(distances: SurfaceDistances) -> float:
    """Return the average symmetric surface distance in mm: all elements of both surfaces, weighted by their areas.

    That is the two directed averages, weighted by the two surface areas.
    """
    to_b, to_a = average_distances(distances)
    area_a, area_b = distances.total_areas_mm2
    return float((to_b * area_a + to_a * area_b) / (area_a + area_b)) if math.isfinite(to_b) else to_b


def surface_overlaps(distances: SurfaceDistances, tolerance_mm: float) -> tuple[float, float]:
    """Return the fraction of each surface, a's then b's, that lies within the tolerance of the other.

    A distance above the tolerance by no more than a millionth of it counts as within: spacings are no more exact. Where
    one mask is empty both are 0; the surface-distance package gives NaN for the empty side.

    Raises
    ------
    ParameterError
        If the tolerance is not a finite number of 0 mm or more.
    """
    near_a, near_b = _near_areas(distances, tolerance_mm)
    if distances.both_empty:
        return math.nan, math.nan
    if distances.one_empty:
        return 0.0, 0.0
    area_a, area_b = distances.total_areas_mm2
    return near_a / area_a, near_b / area_b


def surface_dice(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Return the fraction of both surfaces together that lies within the tolerance of the other one.

    A distance above the tolerance by no more than a millionth of it counts as within: spacings are no more exact.

    Raises
    ------
    ParameterError
        If the tolerance is not a finite number of 0 mm or more.
    """
    near = sum(_near_areas(distances, tolerance_mm))
    total = sum(distances.total_areas_mm2)
    return near / total if total else math.nan


def _near_areas(distances: SurfaceDistances, tolerance_mm: float) -> tuple[float, float]:
    if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise ParameterError(f"tolerance_mm: expected a finite distance of 0 mm or more, found {tolerance_mm!r}")
    sides = ((distances.a_to_b_mm, distances.a_within_mm2), (distances.b_to_a_mm, distances.b_within_mm2))
    furthest_mm = tolerance_mm * (1 + TIE)
    near_a, near_b = (_area_within(within, int(np.searchsorted(d, furthest_mm, "right"))) for d, within in sides)
    return near_a, near_b


def _area_within(within: Floats, elements: int) -> float:
    """Return the area of the first elements."""
    return float(within[elements - 1]) if elements else 0.0


def _percentile(distance: Floats, within: Floats, fraction: float) -> float:
    return float(distance[min(int(np.searchsorted(within / within[-1], fraction)), len(distance) - 1)])


@lru_cache(maxsize=64)
def _element_area(spacing: Triple) -> Floats:
    """Return DeepMind's (256,) area of the surface elements: Lorensen's, made to be the same for the inverse mask.

    A pattern with more than four corners of tumor has the area of its complement.
    """
    area = pieces("lorensen").area(spacing)
    return np.where(np.bitwise_count(np.arange(256)) > 4, area[::-1], area)


def _directed(cells: Mask, others: Mask, area: Floats, spacing: Triple) -> tuple[Floats, Floats, Floats]:
    """Return the distances from one surface to the other, rising, the areas in that order, and their running sum."""
    return by_distance(*surface_to_surface(cells, others, area, *spacing))
