"""Frames of a segment as one volume on a grid of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import GeometryError
from npczarr.model.geometry import Floats, Grid
from npczarr.model.limits import Limits
from npczarr.sources.structures.records import Planes, Segment, SegmentationObject

SAME_PLANE_MM = 1e-2  # between positions of two frames: less is rounding
_OFF_STEP = 0.05  # of the slice spacing: gaps between frames are whole multiples of it up to this
_OFF_LINE = 0.1  # of the slice spacing: from a frame to its place on a regular grid


def as_volume(
    segmentation: SegmentationObject, segment: Segment, frames: NDArray[np.intp], threshold: float, limits: Limits
) -> tuple[NDArray[np.uint8], Grid]:
    """Make one volume of the frames of a segment; slices without a frame are empty.

    Returns
    -------
    voxels
        (z, y, x) uint8, 1 in the segment; z along the normal of the frames, y and x along columns and rows.
    grid
        Where they are.

    Raises
    ------
    GeometryError
        If the frames are not slices of one regular volume.
    SourceError
        If it would be too large.
    """
    planes, (_, rows, columns) = segmentation.planes, segmentation.pixels.shape
    slices, step_mm = _stack(planes, frames)
    shape = (int(slices.max()) + 1, rows, columns)
    limits.check_axes(shape)
    limits.check_voxels(shape[0] * rows * columns)
    voxels = np.zeros(shape, dtype=np.uint8)
    for i, z in zip(frames, slices, strict=True):
        voxels[z] = segmentation.frame_mask(int(i), segment.number, threshold)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = planes.steps_mm
    affine[:3, 2] = planes.normal * step_mm
    affine[:3, 3] = planes.positions_mm[frames[int(slices.argmin())]]
    return voxels, Grid(shape, affine)


def grid_of(segmentations: Sequence[SegmentationObject], limits: Limits) -> Grid:
    """Find the grid on which all frames of several objects are slices, with one slice more at either end.

    Raises
    ------
    GeometryError
        If they have not the same rows, columns, orientation and frame of reference, or make no regular volume.
    """
    first = segmentations[0]
    for other in segmentations[1:]:
        same = first.pixels.shape[1:] == other.pixels.shape[1:] and np.allclose(
            np.stack(first.planes.steps_mm), np.stack(other.planes.steps_mm), atol=1e-4
        )
        if not same or first.frame_of_reference_uid != other.frame_of_reference_uid:
            raise GeometryError(
                "segmentations of several sizes, orientations or frames of reference, expected those of one image; "
                "export them again on the grid of their image"
            )
    positions = np.concatenate([one.planes.positions_mm for one in segmentations])
    _, chosen = np.unique(np.rint(positions / SAME_PLANE_MM), axis=0, return_index=True)
    planes = replace(first.planes, positions_mm=positions[chosen])
    slices, step_mm = _stack(planes, np.arange(len(chosen)))
    shape = (int(slices.max()) + 3, *first.pixels.shape[1:])
    limits.check_axes(shape)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = planes.steps_mm
    affine[:3, 2] = planes.normal * step_mm
    affine[:3, 3] = planes.positions_mm[int(slices.argmin())] - affine[:3, 2]
    return Grid((shape[0], shape[1], shape[2]), affine)


def _stack(planes: Planes, frames: NDArray[np.intp]) -> tuple[NDArray[np.int64], float]:
    """Find the slice of each frame along the normal, and the distance between slices in mm."""
    positions = planes.positions_mm[frames]
    heights = (positions - positions[0]) @ planes.normal
    aside = float(np.linalg.norm(positions - positions[0] - heights[:, None] * planes.normal, axis=1).max())
    if aside > 0.5 * min(planes.pixel_spacing_mm):
        raise GeometryError(
            f"frames are up to {aside:.2f} mm aside from each other, over half a pixel of "
            f"{min(planes.pixel_spacing_mm):g} mm: they are not one volume; split the object"
        )
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order])
    if (same := gaps < SAME_PLANE_MM).any():
        raise GeometryError(
            f"{int(same.sum()) + 1} or more frames at one position, expected one each; several time points may share "
            "the object: split it"
        )
    if not len(gaps):
        step = planes.slice_spacing_mm or planes.slice_thickness_mm
        if step is None:
            raise GeometryError("one frame, and no slice thickness in the header to lay it on another grid")
        return np.zeros(1, dtype=np.int64), step
    steps, step = _regular(gaps, planes)
    slices = np.zeros(len(frames), dtype=np.int64)
    slices[order[1:]] = np.cumsum(steps)
    return slices, step


def _regular(gaps_mm: Floats, planes: Planes) -> tuple[NDArray[np.int64], float]:
    """Divide the gaps between frames by the slice spacing: SpacingBetweenSlices, else the smallest gap.

    Raises
    ------
    GeometryError
        If they are no whole multiples of it, or SliceThickness says that every other slice or more may be missing.
    """
    smallest = float(gaps_mm.min())
    for spacing in (planes.slice_spacing_mm, smallest):
        steps = None if spacing is None else multiples(gaps_mm, spacing)
        if steps is not None:
            break
    else:
        raise GeometryError(
            f"gaps between frames from {smallest:.3f} to {float(gaps_mm.max()):.3f} mm are no whole multiples of one "
            "slice spacing; export it again on the grid of its image"
        )
    thickness = planes.slice_thickness_mm
    apart = thickness is not None and spacing == smallest > 1.5 * thickness
    if apart and thickness and multiples(gaps_mm, thickness) is not None:
        raise GeometryError(
            f"frames are {smallest:.3g} mm or more apart and {thickness:.3g} mm thick, and no SpacingBetweenSlices "
            "says whether frames without a segment were left out; export it again on the grid of its image"
        )
    return steps, float(gaps_mm.sum() / steps.sum())


def multiples(gaps_mm: Floats, spacing_mm: float) -> NDArray[np.int64] | None:
    """Divide gaps between frames by a spacing in mm; None if they are no whole multiples of it."""
    ratios = gaps_mm / spacing_mm
    if ratios.max() > 1e6:
        return None
    steps = np.rint(ratios).astype(np.int64)
    # the rounding of a header's spacing adds up over a wide gap
    allowed = np.minimum(_OFF_STEP * np.sqrt(steps), 0.3)
    if (steps < 1).any() or (np.abs(ratios - steps) > allowed).any():
        return None
    fitted = gaps_mm.sum() / steps.sum()
    off = np.abs(np.cumsum(gaps_mm) - fitted * np.cumsum(steps)).max()
    return steps if off <= _OFF_LINE * fitted else None
