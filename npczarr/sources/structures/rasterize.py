"""Contours of one structure in, its voxels on the grid of an image out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import GeometryError, SourceError
from npczarr.model.geometry import Grid
from npczarr.model.limits import Clock, Limits
from npczarr.sources.structures.contours import Outline, closed_contours, place_contours
from npczarr.sources.structures.polygons import canonical, count_crossings, doubled_area, fill
from npczarr.sources.structures.records import ImageUids, Roi
from npczarr.sources.structures.references import check_references


def rasterize(
    roi: Roi, grid: Grid, *, image: ImageUids | None = None, limits: Limits | None = None
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Find the voxels of a structure.

    A voxel belongs to the structure if its center is inside an odd number of the contours of its slice: a contour
    within another one is a hole. A center exactly on an edge belongs to the side of larger x, or along a row of larger
    y (voxel indices); coordinates are rounded to 1/1024 voxel first. A contour belongs to the slice in whose plane it
    is. Slices between contours stay empty: nothing is interpolated. A contour that repeats another one exactly counts
    once.

    Parameters
    ----------
    roi
        The structure; contours of the types ``CLOSED_PLANAR`` and ``CLOSEDPLANAR_XOR`` are used.
    grid
        Grid of the image.
    image
        Identifiers of the image, to check the references of the structure.
    limits
        Most memory and time to take.

    Returns
    -------
    mask
        (z, y, x) uint8, 1 in the structure.
    warnings
        What a user must know before trusting the mask.

    Raises
    ------
    SourceError
        If the contours are damaged, or take too long.
    GeometryError
        If the structure is of another frame of reference, has no closed contours but others, has contours across or
        between slices or at two heights of one slice, or is outside the image.

    Notes
    -----
    DICOM PS3.3 C.8.8.6 (ROI Contour module). The standard writes holes of ``CLOSED_PLANAR`` contours as one contour
    with a channel; the even-odd rule reads these too, and agrees with ``CLOSEDPLANAR_XOR``.
    """
    limits = limits or Limits()
    title = f"structure '{roi.name}'"
    if roi.faults:
        raise SourceError(f"{title}: {'; '.join(roi.faults)}; export the structure set again")
    limits.check_voxels(int(np.prod(grid.shape_zyx)))
    noted = check_references(
        title,
        image,
        series_uids=roi.series_uids,
        frame_of_reference_uid=roi.frame_of_reference_uid,
        instance_uids={contour.image_uid for contour in roi.contours if contour.image_uid},
    )
    mask = np.zeros(grid.shape_zyx, dtype=np.uint8)
    try:
        closed = closed_contours(roi, noted)
        outlines = place_contours(closed, grid, image, noted) if closed else []
        if outlines:
            _draw(outlines, mask, noted, limits.clock())
            _describe_slices(outlines, noted)
    except (GeometryError, SourceError) as error:
        raise type(error)(f"{title}: {error}") from error
    if not mask.any():
        noted.append("no voxel; the mask is empty")
    return mask, tuple(f"{title}: {warning}" for warning in noted)


@dataclass(slots=True)
class _Tally:
    """What was met while the slices were drawn."""

    nested: int = 0
    overlapping: int = 0
    repeated: int = 0
    without_voxel: int = 0
    crossings: list[int | None] = field(default_factory=list)
    left_out: int = 0


def _draw(outlines: list[Outline], mask: NDArray[np.uint8], noted: list[str], clock: Clock) -> None:
    tally = _Tally()
    by_slice: dict[int, list[Outline]] = {}
    for outline in outlines:
        by_slice.setdefault(outline.z, []).append(outline)
    for z, drawn in clock.over(by_slice.items()):
        _draw_slice(drawn, mask[z], tally, clock)
    total = len(outlines)
    if tally.repeated:
        noted.append(f"{tally.repeated} of {total} contours repeat another one exactly and were counted once")
    if crossing := [n for n in tally.crossings if n]:
        noted.append(
            f"{len(crossing)} of {total} contours cross themselves, at {sum(crossing)} points; parts that they enclose "
            "twice are left out"
        )
    if unchecked := tally.crossings.count(None):
        noted.append(f"{unchecked} of {total} contours have too many points to see whether they cross themselves")
    if tally.overlapping:
        noted.append(f"{tally.overlapping} of {total} contours overlap another one of their slice")
    if tally.nested:
        noted.append(f"{tally.nested} of {total} contours are within another one and were taken as its holes")
    if tally.left_out and (tally.overlapping or tally.nested):
        noted.append(f"{tally.left_out} voxels that an even number of contours encloses are left out")
    if tally.without_voxel:
        noted.append(f"{tally.without_voxel} of {total} contours enclose no voxel center")


def _draw_slice(outlines: list[Outline], mask: NDArray[np.uint8], tally: _Tally, clock: Clock) -> None:
    """Draw the contours of one slice, larger ones first, so that what is within another one comes after it."""
    rows, columns = mask.shape
    innermost = np.zeros(mask.shape, dtype=np.int32)  # the last contour that encloses a voxel; 0 where none does
    sizes = [0]
    seen: set[bytes] = set()
    for outline in clock.over(sorted(outlines, key=lambda outline: -doubled_area(outline.points))):
        if len(outline.points) < 3:
            tally.without_voxel += 1
            continue
        key = canonical(outline.points)
        if key in seen:
            tally.repeated += 1
            continue
        seen.add(key)
        tally.crossings.append(count_crossings(outline.points))
        window, inside = fill(outline.points, (rows, columns))
        owners = innermost[window][inside]
        if not len(owners):
            tally.without_voxel += 1
            continue
        first = int(owners[0])
        # one that takes all of another repeats it, nearly
        if (owners != first).any() or (first and sizes[first] == len(owners)):
            tally.overlapping += 1
        elif first and mask[window][inside][0] and not outline.xor:
            tally.nested += 1
        mask[window] ^= inside.astype(np.uint8)
        sizes.append(len(owners))
        innermost[window][inside] = len(sizes) - 1
    tally.left_out += int(np.count_nonzero(innermost)) - int(np.count_nonzero(mask))


def _describe_slices(outlines: list[Outline], noted: list[str]) -> None:
    drawn = {outline.z for outline in outlines}
    between = max(drawn) - min(drawn) + 1
    if len(drawn) < between:
        noted.append(
            f"{between - len(drawn)} of {between} slices from its first to its last contour have none and stay empty; "
            "nothing is interpolated"
        )
