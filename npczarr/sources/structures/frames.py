"""Frames that are slices of an image, copied to it voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import GeometryError
from npczarr.model.geometry import AXES, Grid
from npczarr.model.records import Mask, Value
from npczarr.sources.nifti import ALIGNED_VOXELS, INSIDE_FRACTION
from npczarr.sources.structures.records import Segment, SegmentationObject


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """How frames are slices of a grid.

    Parameters
    ----------
    along
        Grid axes x (0) or y (1) along the rows and along the columns of a frame.
    signs
        -1 where they run against the grid.
    origins
        (frames, 3) index (x, y, z) of the first voxel of each frame.
    error_voxels, error_mm
        Largest distance of a voxel from its place on the grid.
    """

    along: tuple[int, int]
    signs: tuple[int, int]
    origins: NDArray[np.int64]
    error_voxels: float
    error_mm: float


def find_fit(segmentation: SegmentationObject, frames: NDArray[np.intp], grid: Grid) -> Fit | None:
    """Find how frames are slices of a grid, or parts of slices; None where they are not."""
    planes, (_, rows, columns) = segmentation.planes, segmentation.pixels.shape
    inverse = np.linalg.inv(grid.affine[:3, :3])
    steps = inverse @ np.stack(planes.steps_mm, axis=1)  # columns: along a row, along a column
    origins = (planes.positions_mm[frames] - grid.affine[:3, 3]) @ inverse.T
    along = np.abs(steps).argmax(axis=0)
    if sorted(along) != [0, 1] or np.abs(origins).max(initial=0) > 1e6:
        return None
    signs = np.sign(steps[along, [0, 1]]).astype(int)
    exact = np.zeros((3, 2))
    exact[along, [0, 1]] = signs
    drift = (steps - exact) * [columns - 1, rows - 1]
    off = np.rint(origins) - origins
    corners = [off, *(off - step for step in (drift[:, 0], drift[:, 1], drift.sum(axis=1)))]
    error = max(float(np.abs(corner).max(initial=0)) for corner in corners)
    if error > ALIGNED_VOXELS:
        return None
    error_mm = max(float(np.linalg.norm(c @ grid.affine[:3, :3].T, axis=1).max(initial=0)) for c in corners)
    x, y = (int(axis) for axis in along)
    return Fit((x, y), (int(signs[0]), int(signs[1])), np.rint(origins).astype(np.int64), error, error_mm)


def copy_frames(
    segmentation: SegmentationObject,
    segment: Segment,
    frames: NDArray[np.intp],
    fit: Fit,
    grid: Grid,
    threshold: float,
) -> Mask:
    """Copy the frames of a segment to their slices.

    Raises
    ------
    GeometryError
        If two frames are on one slice, or over 1 % of the segment is outside the image.
    """
    mask = np.zeros(grid.shape_zyx, dtype=np.uint8)
    slices = fit.origins[:, 2]
    if len(np.unique(slices)) < len(slices):
        raise GeometryError(
            f"{len(slices)} frames on {len(np.unique(slices))} slices, expected one each; several time points may "
            "share the object: split it"
        )
    total = 0
    for i, origin in zip(frames, fit.origins, strict=True):
        frame = segmentation.frame_mask(int(i), segment.number, threshold)
        total += int(np.count_nonzero(frame))
        _paste(frame, origin, fit, mask)
    kept = int(np.count_nonzero(mask))
    inside = kept / total if total else float("nan")
    if inside < INSIDE_FRACTION:
        raise GeometryError(
            f"{inside:.1%} of it is inside the image of shape {grid.shape_zyx}, expected {INSIDE_FRACTION:.0%} or "
            "more; choose the series that it was drawn on"
        )
    swapped = fit.along == (1, 0)
    by_axis = {fit.along[0]: fit.signs[0], fit.along[1]: fit.signs[1]}
    evidence: dict[str, Value] = {
        "mask_affine_source": "frames",
        "mask_affine_error": fit.error_mm,
        "mask_axes_flipped": " ".join(name for name, axis in zip(AXES[1:], (1, 0), strict=True) if by_axis[axis] < 0),
        "mask_inside_fraction": inside,
        "mask_voxels": kept,
        "mask_touches_end_slice": int(mask[0].any() or mask[-1].any()),
    }
    noted = ["rows and columns of its frames are swapped against the image"] if swapped else []
    if not total:
        noted.append("no voxel; the mask is empty")
    elif kept < total:
        noted.append(f"{total - kept} of its {total} voxels are outside the image")
    return Mask(mask, evidence, tuple(noted))


def _paste(frame: NDArray[np.bool_], origin: NDArray[np.int64], fit: Fit, mask: NDArray[np.uint8]) -> None:
    """Copy one frame to its slice; what is outside the image is left out."""
    z = int(origin[2])
    if not 0 <= z < len(mask):
        return
    turned = frame[:: fit.signs[1], :: fit.signs[0]]
    if fit.along == (1, 0):
        turned = turned.T
    sign = dict(zip(fit.along, fit.signs, strict=True))
    target, source = [], []
    for axis, length, count in ((1, mask.shape[1], turned.shape[0]), (0, mask.shape[2], turned.shape[1])):
        first = int(origin[axis]) - (count - 1 if sign[axis] < 0 else 0)
        start, stop = max(first, 0), min(first + count, length)
        if stop <= start:
            return
        target.append(slice(start, stop))
        source.append(slice(start - first, stop - first))
    mask[z][tuple(target)] = turned[tuple(source)]
