"""From the positions and orientations of single slices to one regular grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import GeometryError
from npczarr.model.geometry import Floats, Grid

REGULAR_MM, REGULAR = 0.1, 0.01  # of the spacing: this close to the fitted line positions are regular
BEARABLE = 0.1  # of the spacing: beyond it slices are irregular, and no line stands for them
HOLE = 0.1  # of the spacing: a gap this close to a whole multiple of it is a hole
WHOLE_MULTIPLE = 0.03  # of the header's spacing: this close to a multiple of it, slices may be missing
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
    advice: str = "",
) -> Stack:
    """Order slices by position and build their grid.

    Parameters
    ----------
    positions_mm
        (n, 3) ImagePositionPatient: LPS mm of the center of the first voxel of each slice.
    orientations
        (n, 6) ImageOrientationPatient: direction cosines along a row, then along a column.
    rows, columns
        Matrix of each slice.
    pixel_spacings_mm
        (n, 2) PixelSpacing: distance between rows, then between columns.
    header_spacing_mm, header_thickness_mm
        SpacingBetweenSlices and SliceThickness; believed only where the positions do not decide. Positions that lie a
        multiple of the former apart are a warning.
    advice
        What tells slices at one position apart, for the message.

    Raises
    ------
    GeometryError
        If slices have several orientations or pixel spacings, share a position, are missing or irregularly spaced (a
        position over 10 % of the spacing off the line fitted to all; over 0.1 mm and 1 % is a warning), or do not stack
        along their normal (shear over 1e-3 is a warning up to 1 % and refused beyond).

    Notes
    -----
    DICOM PS3.3 C.7.6.2.1.1 (Image Plane module) defines position, orientation and their order. The spacing is the slope
    of the line fitted to the positions by least squares, and the grid follows that line.
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
        step, origin = normal * (spacing_mm or 1.0), ordered[0]
    else:
        _check_distinct(heights, advice)
        _check_gaps(heights, header_spacing_mm, header_thickness_mm)
        step, origin = _fitted_line(ordered)
        warnings += _irregularity(heights)
        warnings += _thinned(float(np.linalg.norm(step)), header_spacing_mm, header_thickness_mm)
        warnings += _shear(step, origin, normal, ordered, min(row_spacing_mm, column_spacing_mm))
    spread = np.abs(orientations - orientations[0]).max()
    if spread > SHEAR_TOLERANCE:
        warnings.append(f"direction cosines vary by {spread:.1e} between slices; their mean is used")

    affine = np.eye(4)
    affine[:3, 0] = row * column_spacing_mm
    affine[:3, 1] = column * row_spacing_mm
    affine[:3, 2] = step
    affine[:3, 3] = origin
    return Stack(order, Grid((len(order), rows, columns), affine), tuple(warnings), z_spacing_known)


def shared_positions(positions_mm: Floats, orientations: Floats) -> list[list[int]]:
    """List the slices at each position that several share, lowest first; empty if every slice has its own.

    Slices of several orientations share none.
    """
    if len(positions_mm) < 2 or not np.abs(orientations - orientations[0]).max() <= ROUNDING_TOLERANCE:
        return []
    heights = positions_mm @ np.cross(orientations[0, :3], orientations[0, 3:])
    order = np.argsort(heights, kind="stable")
    starts = np.flatnonzero(~_same_place(heights[order])) + 1
    groups = np.split(order, starts)
    return [group.tolist() for group in groups if len(group) > 1]


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


def _same_place(heights_mm: Floats) -> NDArray[np.bool_]:
    """(n - 1,) whether a slice lies where the one before it does, for sorted heights."""
    gaps = np.diff(heights_mm)
    apart = gaps[gaps > 0.01]  # mm; several slices at each position make most gaps nothing
    typical = float(np.median(apart)) if len(apart) else 0.0
    same: NDArray[np.bool_] = gaps <= max(1e-4, 0.01 * typical)
    return same


def _check_distinct(heights_mm: Floats, advice: str) -> None:
    same = _same_place(heights_mm)
    if not same.any():
        return
    sizes = [len(group) for group in np.split(heights_mm, np.flatnonzero(~same) + 1)]
    shared = [size for size in sizes if size > 1]
    where = heights_mm[int(np.argmax(same))]
    number = f"{shared[0]}" if len(set(shared)) == 1 else f"{min(shared)} to {max(shared)}"
    more = f", and so at {len(shared)} of {len(sizes)} positions" if len(shared) > 1 else ""
    raise GeometryError(
        f"{number} slices at one position ({where:.2f} mm along the normal{more}), expected one each; several time "
        f"points, echoes or copies may share the folder: {advice or 'keep one of them'}"
    )


def _check_gaps(heights_mm: Floats, header_spacing_mm: float | None, header_thickness_mm: float | None) -> None:
    """Refuse a hole, a gap that is too small, and two slices whose distance nothing confirms."""
    gaps = np.diff(heights_mm)
    spacing = _usual_gap(gaps)
    multiples = gaps / spacing
    holes = (multiples.round() >= 2) & (np.abs(multiples - multiples.round()) <= HOLE)
    if holes.any():
        i = int(np.argmax(holes))
        raise GeometryError(
            f"{int((multiples.round() - 1)[holes].sum())} slice(s) missing: gap of {gaps[i]:.3f} mm after the slice at "
            f"{heights_mm[i]:.2f} mm along the normal, expected {spacing:.3f} mm; check the series for a missing file"
        )
    small = int(np.argmin(gaps))
    if len(gaps) > 1 and gaps[small] < spacing - max(2 * REGULAR_MM, 2 * BEARABLE * spacing):
        raise GeometryError(
            f"a gap of {gaps[small]:.3f} mm after the slice at {heights_mm[small]:.2f} mm along the normal is smaller "
            f"than the usual {spacing:.3f} mm: a slice between the others, from another series or in a wrong place; "
            "check the series for a file too many"
        )
    confirmed = any(
        header and abs(header - spacing) <= REGULAR * spacing for header in (header_spacing_mm, header_thickness_mm)
    )
    thin = header_thickness_mm is not None and spacing < 2 * header_thickness_mm
    if len(gaps) == 1 and not (confirmed or thin):
        raise GeometryError(
            f"2 slices {spacing:.3f} mm apart, and neither SpacingBetweenSlices nor SliceThickness in the header to "
            "confirm it: too few slices to see whether one is missing; check the series for missing files"
        )


def _usual_gap(gaps_mm: Floats) -> float:
    """Mean of the gaps that are most often met, up to rounding; of several equally often, the smallest."""
    near = np.abs(gaps_mm[:, None] - gaps_mm) <= np.maximum(0.05 * gaps_mm, np.minimum(REGULAR_MM, 0.25 * gaps_mm))
    counts = near.sum(axis=0)
    often = np.flatnonzero(counts == counts.max())
    return float(gaps_mm[near[:, often[np.argmin(gaps_mm[often])]]].mean())


def _fitted_line(ordered_mm: Floats) -> tuple[Floats, Floats]:
    """Step between slices and place of the first, by least squares."""
    places = np.arange(len(ordered_mm)) - (len(ordered_mm) - 1) / 2
    middle = ordered_mm.mean(axis=0)
    step: Floats = places @ (ordered_mm - middle) / (places @ places)
    origin: Floats = middle + places[0] * step
    return step, origin


def _irregularity(heights_mm: Floats) -> list[str]:
    """Say how far slices lie off even steps; refuse what no line stands for."""
    step, first = (float(value[0]) for value in _fitted_line(heights_mm[:, None]))
    off_mm = np.abs(heights_mm - first - step * np.arange(len(heights_mm)))
    worst, share = float(off_mm.max()), float(off_mm.max()) / step
    if worst <= max(REGULAR_MM, REGULAR * step):
        return []
    gaps = np.diff(heights_mm)
    i = int(np.argmax(np.abs(gaps - step)))
    found = f"slices lie up to {worst:.3f} mm ({share:.1%} of the spacing) off even steps of {step:.3f} mm"
    if share > BEARABLE:
        raise GeometryError(
            f"slices irregularly spaced: {found}, expected {BEARABLE:.0%} or less; the gap after the slice at "
            f"{heights_mm[i]:.2f} mm along the normal is {gaps[i]:.3f} mm; check whether series are mixed"
        )
    return [f"{found}; the even steps are stored"]


def _thinned(spacing_mm: float, header_spacing_mm: float | None, header_thickness_mm: float | None) -> list[str]:
    """Warn where slices lie a whole multiple of SpacingBetweenSlices apart, as if others of the series were missing.

    Some scanners write the gap between slices there: less than SliceThickness, with which it is the spacing.
    """
    if not header_spacing_mm or header_spacing_mm <= 0:
        return []
    multiple = round(spacing_mm / header_spacing_mm)
    if multiple < 2 or abs(spacing_mm / header_spacing_mm - multiple) > WHOLE_MULTIPLE:
        return []
    is_gap = header_spacing_mm < (header_thickness_mm or 0)
    if is_gap and abs(spacing_mm - header_spacing_mm - (header_thickness_mm or 0)) <= REGULAR_MM:
        return []
    missing = "every second slice" if multiple == 2 else f"{multiple - 1} of every {multiple} slices"
    return [
        f"positions are {spacing_mm:.3f} mm apart and the header says {header_spacing_mm:.3f} mm between slices: "
        f"{missing} may be missing"
    ]


def _single_slice_spacing(
    header_spacing_mm: float | None, header_thickness_mm: float | None
) -> tuple[float | None, str]:
    for name, value in (("SliceThickness", header_thickness_mm), ("SpacingBetweenSlices", header_spacing_mm)):
        if value is not None and value > 0:
            return value, f"single slice: its z spacing {value:g} mm is the header's {name}, not measured"
    return None, "single slice with neither SliceThickness nor SpacingBetweenSlices: its z spacing is not known (NaN)"


def _shear(step_mm: Floats, origin_mm: Floats, normal: Floats, ordered_mm: Floats, pixel_mm: float) -> list[str]:
    spacing = float(np.linalg.norm(step_mm))
    shear = float(np.linalg.norm(step_mm - normal * (step_mm @ normal))) / spacing
    drift_mm = shear * spacing * (len(ordered_mm) - 1)
    if drift_mm <= REGULAR_MM:
        shear = 0.0  # what rounded positions make of a short stack
    if shear > ROUNDING_TOLERANCE:
        raise GeometryError(
            f"slices do not stack along their normal: shear {shear:.4f}, expected under {ROUNDING_TOLERANCE} "
            "(a tilted gantry, or positions of another series); resample the series first"
        )
    found = [f"slices stack {shear:.1e} off their normal (shear)"] if shear > SHEAR_TOLERANCE else []
    off = ordered_mm - origin_mm - np.arange(len(ordered_mm))[:, None] * step_mm
    off -= (off @ normal)[:, None] * normal  # along the normal they are looked at already
    off_mm = float(np.linalg.norm(off, axis=1).max())
    if off_mm > max(REGULAR_MM, 0.5 * pixel_mm):
        raise GeometryError(
            f"slice positions lie up to {off_mm:.2f} mm off a straight line, more than half a pixel ({pixel_mm:g} mm): "
            "the slices are not one volume; check whether the patient table moved or series are mixed"
        )
    if off_mm > max(REGULAR_MM, REGULAR * spacing):
        found.append(f"slice positions lie up to {off_mm:.2f} mm off a straight line")
    return found
