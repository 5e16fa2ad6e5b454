"""Whether frames cover more than one slice of an image, by what their header says of spacing and thickness."""

from __future__ import annotations

import numpy as np

from npczarr.model.geometry import Floats, Grid
from npczarr.sources.structures.records import ImageUids, Planes
from npczarr.sources.structures.volume import multiples

_THICKER = 1.5  # slices of the image: less than that is the gap or the overlap of its own slices
_A_GAP = 0.75  # of the image's spacing: a SpacingBetweenSlices below is the gap between slices, as some scanners write
_ABUT = (0.8, 1.25)  # of SliceThickness: frames at such a distance are next to each other
_SAME = 0.02  # between two thicknesses: less is rounding


def spacing_of_thick_frames(planes: Planes, grid: Grid, image: ImageUids | None) -> tuple[float | None, list[str]]:
    """Find the spacing of frames that are slices of another image, with thicker slices.

    Such frames may begin on slices of this image all the same. SpacingBetweenSlices counts before SliceThickness, which
    is larger than the spacing where slices overlap. Frames on neighboring slices are slices of the image, whatever the
    header says; without such neighbors, frames of which only some are there may be either.

    Parameters
    ----------
    planes
        Frames along the slices of the grid, all of the object.
    grid
        Grid of the image.
    image
        What is known of the image; its SliceThickness decides where that of the frames is all there is.

    Returns
    -------
    spacing_mm
        Distance of one frame to the next; None if each frame is one slice of the image.
    warnings
        What cannot be told for sure.
    """
    slice_mm = float(grid.spacing_zyx_mm[0])
    gaps_mm = _gaps_mm(planes, slice_mm)
    between, thickness = planes.slice_spacing_mm, planes.slice_thickness_mm
    if between is not None and between < _A_GAP * slice_mm:
        between = None
    largest = between or thickness
    neighbors = gaps_mm.min(initial=np.inf) < _THICKER * slice_mm
    if largest is None or largest < _THICKER * slice_mm or neighbors or grid.shape_zyx[0] == 1:
        return None, []
    if between is None and _is_own(largest, image) and not _abut(largest, gaps_mm):
        return None, []  # slices of the image, which overlap
    if between is None:
        spacing = _spacing_by_thickness(largest, gaps_mm, image)
    else:
        thin = thickness is not None and thickness < _THICKER * slice_mm and not _is_of_another(thickness, image)
        spacing = None if thin else between
    if spacing is not None and (not len(gaps_mm) or multiples(gaps_mm, spacing) is not None):
        return spacing, []
    return None, [_doubt(planes, slice_mm)]


def _gaps_mm(planes: Planes, slice_mm: float) -> Floats:
    """Distances between frames along their normal; frames on one slice, as of two segments, count once."""
    gaps: Floats = np.diff(np.sort(planes.positions_mm @ planes.normal))
    return gaps[gaps > 0.1 * slice_mm]


def _spacing_by_thickness(thickness_mm: float, gaps_mm: Floats, image: ImageUids | None) -> float | None:
    """Find the spacing of frames whose header gives a thickness alone; None where it does not tell."""
    if _is_own(thickness_mm, image):
        return None
    if _abut(thickness_mm, gaps_mm):
        return float(gaps_mm.min())
    return thickness_mm if _is_of_another(thickness_mm, image) else None


def _abut(thickness_mm: float, gaps_mm: Floats) -> bool:
    return len(gaps_mm) > 0 and _ABUT[0] <= gaps_mm.min() / thickness_mm <= _ABUT[1]


def _is_own(thickness_mm: float, image: ImageUids | None) -> bool:
    """Whether the slices of the image are as thick: overlapping slices, whose SEG repeats what they say."""
    return image is not None and abs(image.slice_thickness_mm - thickness_mm) <= _SAME * thickness_mm


def _is_of_another(thickness_mm: float, image: ImageUids | None) -> bool:
    """Whether the slices of the image are known to be of another thickness."""
    return image is not None and bool(np.isfinite(image.slice_thickness_mm)) and not _is_own(thickness_mm, image)


def _doubt(planes: Planes, slice_mm: float) -> str:
    fields = (("SpacingBetweenSlices", planes.slice_spacing_mm), ("SliceThickness", planes.slice_thickness_mm))
    said = " and ".join(f"{name} {value:g} mm" for name, value in fields if value is not None)
    return (
        f"the header of its frames says {said}, and slices of the image are {slice_mm:.3g} mm apart: whether a frame "
        "covers several of them is not known; each was copied to one slice, and slices between stay empty"
    )
