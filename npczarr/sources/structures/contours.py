"""Contours checked, and assigned to the slices of an image."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import GeometryError
from npczarr.model.geometry import Floats, Grid
from npczarr.sources.structures.polygons import Points, snap
from npczarr.sources.structures.records import CLOSED, Contour, ImageUids, Roi

FLAT_MM = 0.1  # off a slice: coordinates are rounded
FLAT_FRACTION = 0.01  # of the slice spacing: the same for thick slices
NEAREST_FRACTION = 0.25  # of the slice spacing: farther off, a contour is between slices
_FACE = 0.5  # voxels from the center of an outermost voxel to the face of the image
_ROUNDING = 0.01  # voxels beyond a face that are rounding
_FARTHEST = 10**5  # voxels: products of two coordinates must fit 64 bits


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """One contour on its slice: points in units of the (x, y) grid."""

    z: int
    points: Points
    xor: bool


def closed_contours(roi: Roi, noted: list[str]) -> list[Contour]:
    """Keep the contours that enclose an area, and say in ``noted`` how many do not.

    Raises
    ------
    GeometryError
        If there are contours, but none of a closed type.
    """
    closed = [contour for contour in roi.contours if contour.kind in CLOSED]
    # a type that the standard does not know is text of the file
    known = ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")
    others = Counter(c.kind if c.kind in known else "unknown" for c in roi.contours if c.kind not in CLOSED)
    listed = ", ".join(f"{count} {kind}" for kind, count in others.items())
    if others and not closed:
        raise GeometryError(f"no closed contour, only {listed}: it encloses no area; expected CLOSED_PLANAR")
    if others:
        noted.append(f"{listed} of {len(roi.contours)} contours enclose no area and were passed over")
    if not roi.contours:
        noted.append("the structure set names it but holds no contour of it")
    short = sum(len(contour.points_mm) < 3 for contour in closed)
    if short:
        noted.append(f"{short} of {len(closed)} contours have fewer than 3 points and were passed over")
    return [contour for contour in closed if len(contour.points_mm) >= 3]


def place_contours(contours: list[Contour], grid: Grid, image: ImageUids | None, noted: list[str]) -> list[Outline]:
    """Find the slice of every contour; drop those outside the image, and say so in ``noted``.

    Raises
    ------
    GeometryError
        If contours reach across slices, are between slices or at several heights of one, or all are outside the image.
    """
    counts = np.array([len(contour.points_mm) for contour in contours])
    starts = np.cumsum(counts) - counts
    offsets = np.concatenate([contour.points_mm for contour in contours]) - grid.affine[:3, 3]
    index = np.asarray(np.linalg.solve(grid.affine[:3, :3], offsets.T), dtype=np.float64)
    if np.abs(index).max() > _FARTHEST:
        raise GeometryError(f"contour points over {_FARTHEST} voxels from the image; drawn on another series?")
    low, high = (function.reduceat(index, starts, axis=1) for function in (np.minimum, np.maximum))
    mean_z = np.add.reduceat(index[2], starts) / counts
    shape_xyz = np.array(grid.shape_zyx[::-1])[:, None]
    # voxels beyond the faces of the image along x, y and z: of the farthest point, and of the nearest
    low_face, high_face = -_FACE, shape_xyz - 1 + _FACE
    reach = np.maximum(low_face - low, high - high_face)
    gap = np.maximum(low_face - high, low - high_face)
    apart = np.max(gap, axis=0) > _ROUNDING
    voxel_mm = grid.spacing_zyx_mm[::-1, None]
    beyond = np.max(reach, axis=0) > _ROUNDING
    _describe_outside((reach * voxel_mm).max(axis=0), (gap * voxel_mm).max(axis=0), beyond, apart, noted)
    inside = np.flatnonzero(~apart)
    spacing_mm = float(abs(np.linalg.det(grid.affine[:3, :3]) / np.linalg.norm(np.cross(*grid.affine[:3, :2].T))))
    slices = np.clip(np.rint(mean_z), 0, grid.shape_zyx[0] - 1).astype(int)
    _check_heights(mean_z[inside], (high - low)[2, inside], slices[inside], spacing_mm, noted)
    outlines = []
    for i in inside:
        points = index[:2, starts[i] : starts[i] + counts[i]].T
        outlines.append(Outline(int(slices[i]), snap(points), contours[i].kind == "CLOSEDPLANAR_XOR"))
    if image is not None:
        _check_instances([(int(slices[i]), contours[i]) for i in inside], image, noted)
    return outlines


def _describe_outside(
    reach_mm: Floats, gap_mm: Floats, beyond: NDArray[np.bool_], apart: NDArray[np.bool_], noted: list[str]
) -> None:
    """Say how many contours are outside the image or reach beyond it; refuse those that all are outside."""
    total = len(apart)
    if apart.all():
        raise GeometryError(
            f"all {total} contours are outside the image, {float(gap_mm.min()):.1f} mm or more; choose the series that "
            "it was drawn on"
        )
    partly = int((beyond & ~apart).sum())
    if apart.any() or partly:
        noted.append(
            f"{int(apart.sum())} of {total} contours are outside the image and {partly} reach beyond it, by up to "
            f"{float(reach_mm.max()):.1f} mm; what is outside is lost"
        )


def _check_heights(
    mean_z: Floats, span_z: Floats, slices: NDArray[np.intp], spacing_mm: float, noted: list[str]
) -> None:
    """Check that contours are flat and in the plane of a slice."""
    flat_mm = max(FLAT_MM, FLAT_FRACTION * spacing_mm)
    span_mm = span_z * spacing_mm
    if (across := span_mm > 2 * flat_mm).any():
        raise GeometryError(
            f"{int(across.sum())} of {len(span_mm)} contours reach across slices, by up to {span_mm.max():.2f} mm "
            f"(slices {spacing_mm:.3g} mm apart), expected contours in the plane of a slice; choose the series that it "
            "was drawn on"
        )
    off_mm = np.abs(mean_z - slices) * spacing_mm
    if (between := off_mm > max(flat_mm, NEAREST_FRACTION * spacing_mm)).any():
        raise GeometryError(
            f"{int(between.sum())} of {len(off_mm)} contours are between slices, up to {float(off_mm.max()):.2f} mm "
            f"off the nearest (slices {spacing_mm:.3g} mm apart); choose the series that it was drawn on"
        )
    for z in np.unique(slices):
        heights = mean_z[slices == z] * spacing_mm
        if np.ptp(heights) > 2 * flat_mm:
            raise GeometryError(
                f"contours at several heights, {float(np.ptp(heights)):.2f} mm apart, all nearest to slice {z}; choose "
                "the series that it was drawn on"
            )
    if (off := off_mm > flat_mm).any():
        noted.append(
            f"{int(off.sum())} of {len(off_mm)} contours are off their slice, by up to {float(off_mm.max()):.2f} mm "
            f"(slices {spacing_mm:.3g} mm apart); the nearest slice was taken"
        )


def _check_instances(placed: list[tuple[int, Contour]], image: ImageUids, noted: list[str]) -> None:
    """Compare the slice that each contour names with the one in whose plane it is.

    The slices of an object of many frames have one UID: there the number of the frame tells them apart.
    """
    slices = Counter(image.instances)
    numbers = image.frame_numbers or (0,) * len(image.instances)
    place = {
        (uid, number if slices[uid] > 1 else 0): z
        for z, (uid, number) in enumerate(zip(image.instances, numbers, strict=True))
    }
    unknown = elsewhere = 0
    for z, contour in placed:
        uid, number = contour.image_uid, contour.frame_number
        several = slices[uid] > 1
        unknown += bool(uid and slices and uid not in slices)
        if number or not several:
            elsewhere += place.get((uid, number if several else 0), z) != z
    if unknown:
        noted.append(f"{unknown} of {len(placed)} contours name an image that is no slice of this series")
    if elsewhere:
        noted.append(f"{elsewhere} of {len(placed)} contours name another slice than the one in whose plane they are")
