"""From the positions and orientations of single slices to one regular grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import GeometryError
from npczarr.model.geometry import Floats, Grid

SPACING_TOLERANCE = 0.01  # of the spacing: beyond it a slice is missing or misplaced
SHEAR_TOLERANCE = 1e-3  # between the slice normal and the line of the positions
ROUNDING_TOLERANCE = 1e-2  # between direction cosines of one series: more is another orientation


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Slices in anatomical order.

    Parameters
    ----------
    order
        (n,) which of the given slices is at z = 0, 1, …; z grows along the normal of the image plane.
    grid
        The regular grid they make.
    warnings
        What is not as it should be, though the data can be used.
    z_spacing_known
        False for a single slice whose header says nothing of its thickness; its grid then takes 1 mm.
    """

    order: NDArray[np.intp]
    grid: Grid
    warnings: tuple[str, ...]
    z_spacing_known: bool = True


def stack_slices(
    positions_mm: Floats,
    orientations: Floats,
    *,
    rows: int,
    columns: int,
    pixel_spacings_mm: Floats,
    header_spacing_mm: float | None = None,
    header_thickness_mm: float | None = None,
) -> Stack:
    """Order slices by position and build their grid.

    Parameters
    ----------
    positions_mm
        (n, 3) ImagePositionPatient: LPS mm of the centre of the first voxel of each slice.
    orientations
        (n, 6) ImageOrientationPatient: direction cosines along a row, then along a column.
    rows, columns
        Matrix of each slice.
    pixel_spacings_mm
        (n, 2) PixelSpacing: distance between rows, then between columns.
    header_spacing_mm, header_thickness_mm
        SpacingBetweenSlices and SliceThickness; believed only where the positions do not decide.

    Raises
    ------
    GeometryError
        If slices have several orientations or pixel spacings, share a position, are missing or irregularly spaced
        (over 1 %), or do not stack along their normal (shear over 1e-3 is a warning up to 1 % and refused beyond).

    Notes
    -----
    DICOM PS3.3 C.7.6.2.1.1 (Image Plane module) defines position, orientation and their order.
    """
    row, column = _common_orientation(orientations)
    row_spacing_mm, column_spacing_mm = _common_pixel_spacing(pixel_spacings_mm)
    normal = np.cross(row, column)
    heights = positions_mm @ normal
    order = np.argsort(heights, kind="stable")
    heights, ordered = heights[order], positions_mm[order]
    warnings: list[str] = []
    z_spacing_known = True

    if len(order) == 1:
        spacing_mm, warning = _single_slice_spacing(header_spacing_mm, header_thickness_mm)
        warnings.append(warning)
        z_spacing_known = spacing_mm is not None
        step = normal * (spacing_mm or 1.0)
    else:
        _check_regular(heights, header_spacing_mm, header_thickness_mm)
        step = (ordered[-1] - ordered[0]) / (len(order) - 1)
        warnings += _shear(step, normal, ordered, min(row_spacing_mm, column_spacing_mm))
    spread = np.abs(orientations - orientations[0]).max()
    if spread > SHEAR_TOLERANCE:
        warnings.append(f"direction cosines vary by {spread:.1e} between slices; their mean is used")

    affine = np.eye(4)
    affine[:3, 0] = row * column_spacing_mm
    affine[:3, 1] = column * row_spacing_mm
    affine[:3, 2] = step
    affine[:3, 3] = ordered[0]
    return Stack(order, Grid((len(order), rows, columns), affine), tuple(warnings), z_spacing_known)


def _common_orientation(orientations: Floats) -> tuple[Floats, Floats]:
    """Return the unit row and column vectors that all slices share up to rounding."""
    if not np.isfinite(orientations).all():
        raise GeometryError("a direction cosine of ImageOrientationPatient is not a finite number")
    groups = np.unique(np.round(orientations / ROUNDING_TOLERANCE), axis=0)
    if np.abs(orientations - orientations[0]).max() > ROUNDING_TOLERANCE:
        raise GeometryError(
            f"slices of {max(2, len(groups))} orientations in one series, expected one; split the series by orientation"
        )
    mean = orientations.mean(axis=0)
    row, column = mean[:3], mean[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if abs(np.array(lengths) - 1).max() > ROUNDING_TOLERANCE or abs(row @ column) > ROUNDING_TOLERANCE:
        raise GeometryError(
            f"ImageOrientationPatient {mean.round(4).tolist()} is not two perpendicular unit vectors; check the headers"
        )
    return row / lengths[0], column / lengths[1]


def _common_pixel_spacing(pixel_spacings_mm: Floats) -> tuple[float, float]:
    first: Floats = pixel_spacings_mm[0]
    if np.abs(pixel_spacings_mm - first).max() > 1e-3 * first.min():
        found = np.unique(pixel_spacings_mm.round(4), axis=0).tolist()
        raise GeometryError(
            f"slices of several pixel spacings in one series, {found} mm, expected one; split the series"
        )
    return float(first[0]), float(first[1])


def _check_regular(heights_mm: Floats, header_spacing_mm: float | None, header_thickness_mm: float | None) -> None:
    gaps = np.diff(heights_mm)
    spacing = float(np.median(gaps))
    same = gaps <= max(1e-4, SPACING_TOLERANCE * spacing)
    if same.any():
        where = heights_mm[int(np.argmax(same))]
        raise GeometryError(
            f"{int(same.sum()) + 1} or more slices at one position (first at {where:.2f} mm along the normal), "
            "expected one each; several time points, echoes or copies may share the folder: keep one of them"
        )
    multiples = gaps / gaps.min()
    if np.abs(multiples - multiples.round()).max() < 0.05:
        # slices may be missing, and the median of all gaps be a hole itself
        spacing = float(np.median(gaps[multiples.round() == 1]))
    off = np.abs(gaps - spacing) > SPACING_TOLERANCE * spacing
    if off.any():
        i = int(np.argmax(off))
        missing = int(np.round(gaps / spacing).sum() - len(gaps))
        what = f"{missing} slice(s) missing" if missing else "slices irregularly spaced"
        raise GeometryError(
            f"{what}: gap of {gaps[i]:.3f} mm after the slice at {heights_mm[i]:.2f} mm along the normal, expected "
            f"{spacing:.3f} mm; check the series for a missing file"
        )
    confirmed = any(
        header and abs(header - spacing) <= SPACING_TOLERANCE * spacing
        for header in (header_spacing_mm, header_thickness_mm)
    )
    thin = header_thickness_mm is not None and spacing < 2 * header_thickness_mm
    if len(gaps) == 1 and not (confirmed or thin):
        raise GeometryError(
            f"2 slices {spacing:.3f} mm apart, and neither SpacingBetweenSlices nor SliceThickness in the header to "
            "confirm it: too few slices to see whether one is missing; check the series for missing files"
        )


def _single_slice_spacing(
    header_spacing_mm: float | None, header_thickness_mm: float | None
) -> tuple[float | None, str]:
    for name, value in (("SliceThickness", header_thickness_mm), ("SpacingBetweenSlices", header_spacing_mm)):
        if value is not None and value > 0:
            return value, f"single slice: its z spacing {value:g} mm is the header's {name}, not measured"
    return None, "single slice with neither SliceThickness nor SpacingBetweenSlices: its z spacing is not known (NaN)"


def _shear(step_mm: Floats, normal: Floats, ordered_mm: Floats, pixel_mm: float) -> list[str]:
    spacing = float(np.linalg.norm(step_mm))
    shear = float(np.linalg.norm(step_mm - normal * (step_mm @ normal))) / spacing
    if shear > ROUNDING_TOLERANCE:
        raise GeometryError(
            f"slices do not stack along their normal: shear {shear:.4f}, expected under {ROUNDING_TOLERANCE} "
            "(a tilted gantry, or positions of another series); resample the series first"
        )
    found = [f"slices stack {shear:.1e} off their normal (shear)"] if shear > SHEAR_TOLERANCE else []
    line = ordered_mm[0] + np.arange(len(ordered_mm))[:, None] * step_mm
    off_mm = float(np.linalg.norm(ordered_mm - line, axis=1).max())
    if off_mm > 0.5 * pixel_mm:
        raise GeometryError(
            f"slice positions lie up to {off_mm:.2f} mm off a straight line, more than half a pixel ({pixel_mm:g} mm): "
            "the slices are not one volume; check whether the patient table moved or series are mixed"
        )
    if off_mm > SPACING_TOLERANCE * spacing:
        found.append(f"slice positions lie up to {off_mm:.2f} mm off a straight line")
    return found
