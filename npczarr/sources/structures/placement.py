"""Segments laid on the grid of an image, and counted where they overlap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import ParameterError, SourceError
from npczarr.model.geometry import RAS_TO_LPS, Grid
from npczarr.model.limits import Limits
from npczarr.model.records import Mask, Value
from npczarr.sources.nifti import place
from npczarr.sources.nifti_file import NiftiMask
from npczarr.sources.structures.frame_spacing import spacing_of_thick_frames
from npczarr.sources.structures.frames import copy_frames, find_fit
from npczarr.sources.structures.records import ImageUids, Segment, SegmentationObject
from npczarr.sources.structures.references import check_references
from npczarr.sources.structures.volume import SAME_PLANE_MM, as_volume


def on_grid(
    segmentation: SegmentationObject,
    segment: Segment,
    grid: Grid,
    *,
    threshold: float = 0.5,
    image: ImageUids | None = None,
    limits: Limits | None = None,
) -> Mask:
    """Lay one segment on the grid of an image.

    Where its frames are slices of the image, or parts of slices, up to a flip or a swap of rows and columns, the voxels
    are copied as they are; slices without a frame stay empty. Other frames, and those that cover several slices of the
    image by their own spacing or thickness, are made one volume of their own and placed by position as any other mask,
    with a warning.

    Parameters
    ----------
    segmentation, segment
        The object, and one of its segments.
    grid
        Grid of the image.
    threshold
        Part of the maximum from which a voxel of a fractional object counts.
    image
        Identifiers of the image, to check the references of the object, and its SliceThickness.
    limits
        Most memory to take.

    Raises
    ------
    ParameterError
        If the threshold is not above 0 and up to 1.
    SourceError
        If a fractional value is over its maximum, or a volume of the frames would take too much memory.
    GeometryError
        If the object is of another frame of reference, two frames of the segment are on one slice, the frames make no
        regular volume, or over 1 % of the segment is outside the image.
    """
    _check_threshold(threshold)
    limits = limits or Limits()
    title = f"segment {segment.number} '{segment.label}'"
    frame, series = segmentation.frame_of_reference_uid, segmentation.series_uids
    noted = check_references(title, image, series_uids=series, frame_of_reference_uid=frame)
    frames = segmentation.frames_of(segment.number)
    limits.check_voxels(int(np.prod(grid.shape_zyx)))
    fit = find_fit(segmentation, frames, grid) if len(frames) else None
    spacing_mm = None
    if fit is not None:
        spacing_mm, doubts = spacing_of_thick_frames(segmentation.planes, grid, image)
        noted += doubts
    try:
        noted += _describe_fractions(segmentation, frames, threshold)
        if not len(frames):
            empty: dict[str, Value] = {"mask_affine_source": "frames", "mask_voxels": 0, "mask_touches_end_slice": 0}
            found = Mask(np.zeros(grid.shape_zyx, dtype=np.uint8), empty, ("the file holds no frame of it",))
        elif fit is not None and spacing_mm is None:
            found = copy_frames(segmentation, segment, frames, fit, grid, threshold)
        else:
            found = place(_volume(segmentation, segment, frames, threshold, limits, spacing_mm), grid)
    except SourceError as error:
        raise type(error)(f"{title}: {error}") from error
    warnings = tuple(f"{title}: {warning}" for warning in (*noted, *found.warnings))
    return Mask(found.mask, found.evidence, (*segmentation.warnings, *warnings))


def overlaps(segmentation: SegmentationObject, *, threshold: float = 0.5) -> dict[tuple[int, int], int]:
    """Count the voxels that two segments share, on the frames of the object.

    Returns
    -------
    dict
        Voxels by the two segment numbers, the smaller first; pairs that share none are left out.
    """
    _check_threshold(threshold)
    shared: dict[tuple[int, int], int] = {}
    if segmentation.kind == "LABELMAP":
        return shared
    keys = np.rint(segmentation.planes.positions_mm / SAME_PLANE_MM).astype(np.int64)
    planes = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
    for plane in range(int(planes.max()) + 1):
        here = np.flatnonzero(planes == plane)
        numbers = segmentation.frame_segments[here]
        masks = [segmentation.frame_mask(int(i), int(n), threshold) for i, n in zip(here, numbers, strict=True)]
        several = np.sum(masks, axis=0, dtype=np.uint16) > 1
        if not several.any():
            continue
        flat = np.array([mask[several] for mask in masks], dtype=np.int64)
        together = flat @ flat.T
        for a, b in zip(*np.nonzero(np.triu(together, 1)), strict=True):
            one, other = sorted((int(numbers[a]), int(numbers[b])))
            if one != other:
                shared[one, other] = shared.get((one, other), 0) + int(together[a, b])
    return shared


def _volume(
    segmentation: SegmentationObject,
    segment: Segment,
    frames: NDArray[np.intp],
    threshold: float,
    limits: Limits,
    spacing_mm: float | None,
) -> NiftiMask:
    """Make one volume of frames, with a spacing of its own where theirs is known to be another than the image's."""
    if spacing_mm is not None:
        segmentation = replace(segmentation, planes=replace(segmentation.planes, slice_spacing_mm=spacing_mm))
    voxels, own = as_volume(segmentation, segment, frames, threshold, limits)
    if spacing_mm is not None and len(voxels) == 1:
        voxels = np.pad(voxels, ((0, 1), (0, 0), (0, 0)))  # one slice alone would fit any spacing
    return NiftiMask(voxels, {"frames": RAS_TO_LPS @ own.affine})


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold <= 1:
        raise ParameterError(f"threshold: expected a fraction above 0 and up to 1, got {threshold!r}")


def _describe_fractions(segmentation: SegmentationObject, frames: NDArray[np.intp], threshold: float) -> list[str]:
    """Say how many voxels the threshold decided; none where a fractional object holds 0 and its maximum only."""
    if segmentation.kind != "FRACTIONAL":
        return []
    partial = total = 0
    for i in frames:
        values = segmentation.pixels.frame(int(i))
        if int(values.max(initial=0)) > segmentation.maximum:
            raise SourceError(
                f"value {int(values.max())} in frame {int(i) + 1}, over the MaximumFractionalValue "
                f"{segmentation.maximum}; export it again"
            )
        total += int(np.count_nonzero(values))
        partial += int(np.count_nonzero((values > 0) & (values < segmentation.maximum)))
    if not partial:
        return []
    of = f" ({segmentation.fractional_type})" if segmentation.fractional_type else ""
    return [f"fractional{of}, cut at {threshold:g}: {partial} of {total} voxels above 0 are below 1"]
