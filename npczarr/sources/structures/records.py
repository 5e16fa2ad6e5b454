"""What the readers of structures return."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.model.geometry import Floats

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")  # the geometric types that enclose an area


@dataclass(frozen=True, slots=True)
class ImageUids:
    """What a structure is held against: identifiers of an image, none of which is ever stored, and its SliceThickness.

    Parameters
    ----------
    series
        SeriesInstanceUID, or an empty string if it is not known.
    frame_of_reference
        FrameOfReferenceUID, or an empty string if it is not known.
    instances
        SOPInstanceUID of each slice, in the order of z; empty if they are not known.
    frame_numbers
        Number of each slice among the frames of its object, from 1; empty if they are not known.
    slice_thickness_mm
        SliceThickness of the header; NaN if it is not known.
    """

    series: str = field(default="", repr=False)
    frame_of_reference: str = field(default="", repr=False)
    instances: tuple[str, ...] = field(default=(), repr=False)
    frame_numbers: tuple[int, ...] = ()
    slice_thickness_mm: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """One contour of a structure.

    Parameters
    ----------
    points_mm
        (n, 3) LPS mm.
    kind
        ContourGeometricType, such as ``CLOSED_PLANAR``.
    image_uid
        SOPInstanceUID of the slice that it refers to, or an empty string.
    frame_number
        Number of the slice among the frames of that object, from 1; 0 if it does not say.
    """

    points_mm: Floats
    kind: str
    image_uid: str = field(default="", repr=False)
    frame_number: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Roi:
    """One structure of an RT structure set.

    Parameters
    ----------
    number
        ROI number, unique in the structure set.
    name
        ROI name without control characters, at most 64 characters.
    contours
        Its contours, in the order of the file.
    frame_of_reference_uid
        Frame of reference of the points, or an empty string.
    series_uids
        SeriesInstanceUID of the series that the structure set names in this frame of reference.
    interpreted_type
        RT ROI interpreted type, such as ``GTV`` or ``ORGAN``, or an empty string.
    faults
        Reasons why the contours cannot be used; a structure with faults is refused when it is rasterized.
    """

    number: int
    name: str
    contours: tuple[Contour, ...] = ()
    frame_of_reference_uid: str = field(default="", repr=False)
    series_uids: tuple[str, ...] = field(default=(), repr=False)
    interpreted_type: str = ""
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class StructureSet:
    """The structures of one RTSTRUCT file.

    Parameters
    ----------
    rois
        Structures, in the order of the file.
    series_uids, frame_of_reference_uids
        Every series and every frame of reference that the file names.
    warnings
        What a user must know before trusting the file.
    """

    rois: tuple[Roi, ...]
    series_uids: tuple[str, ...] = field(default=(), repr=False)
    frame_of_reference_uids: tuple[str, ...] = field(default=(), repr=False)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Code:
    """A coded term: value, coding scheme and meaning, such as ``("85756007", "SCT", "Tissue")``."""

    value: str = ""
    scheme: str = ""
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a segmentation object.

    Parameters
    ----------
    number
        Segment number, unique in the object.
    label
        Segment label without control characters, at most 64 characters.
    category, type
        Coded property category and property type.
    algorithm_type
        ``MANUAL``, ``SEMIAUTOMATIC``, ``AUTOMATIC``, or an empty string.
    """

    number: int
    label: str
    category: Code = Code()
    type: Code = Code()
    algorithm_type: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Where the frames of a segmentation object are.

    Parameters
    ----------
    positions_mm
        (frames, 3) LPS mm of the center of the first voxel of each frame.
    row, column
        (3,) unit vectors along a row and along a column, shared by all frames.
    pixel_spacing_mm
        Distance between rows, then between columns.
    slice_spacing_mm, slice_thickness_mm
        SpacingBetweenSlices and SliceThickness of the header; None where it does not give them.
    """

    positions_mm: Floats
    row: Floats
    column: Floats
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float | None = None
    slice_thickness_mm: float | None = None

    @property
    def normal(self) -> Floats:
        """(3,) unit vector across the frames."""
        return np.asarray(np.cross(self.row, self.column), dtype=np.float64)

    @property
    def steps_mm(self) -> tuple[Floats, Floats]:
        """(3,) mm from one voxel to the next along a row, and (3,) along a column."""
        between_rows, between_columns = self.pixel_spacing_mm
        return self.row * between_columns, self.column * between_rows


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Stored values of the frames, unpacked one frame at a time.

    Parameters
    ----------
    shape
        Frames, rows and columns.
    values
        (frames, rows, columns) values; or, of one bit each, (bytes,) uint8 with the first voxel in the lowest bit.
    """

    shape: tuple[int, int, int]
    values: NDArray[Any]

    def frame(self, index: int) -> NDArray[Any]:
        """(rows, columns) stored values of one frame."""
        if self.values.ndim == 3:
            found: NDArray[Any] = self.values[index]
            return found
        rows, columns = self.shape[1:]
        first, count = index * rows * columns, rows * columns
        # frames follow each other without padding: one may begin inside a byte (PS3.5 section 8.1.1)
        start, skip = divmod(first, 8)
        bits = np.unpackbits(self.values[start : (first + count + 7) // 8], bitorder="little")
        return bits[skip : skip + count].reshape(rows, columns)


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationObject:
    """One DICOM SEG file: segments, and the frames that hold their voxels.

    Parameters
    ----------
    kind
        ``BINARY``, ``FRACTIONAL`` or ``LABELMAP``.
    segments
        Segments, in the order of the file.
    frame_segments
        (frames,) number of the segment that each frame shows; 0 in a label map, whose frames show all.
    planes, pixels
        Where the frames are, and their values.
    maximum
        Stored value that stands for 1 in a fractional object; 1 in the others.
    fractional_type
        ``PROBABILITY`` or ``OCCUPANCY``, or an empty string.
    series_uids, frame_of_reference_uid
        Series that the object names, and the frame of reference of its positions.
    warnings
        What a user must know before trusting the file.
    """

    kind: str
    segments: tuple[Segment, ...]
    frame_segments: NDArray[np.int64]
    planes: Planes
    pixels: Pixels
    maximum: int = 1
    fractional_type: str = ""
    series_uids: tuple[str, ...] = field(default=(), repr=False)
    frame_of_reference_uid: str = field(default="", repr=False)
    warnings: tuple[str, ...] = ()

    def frames_of(self, number: int) -> NDArray[np.intp]:
        """List the indices of the frames that may show a segment, in the order of the file."""
        if self.kind == "LABELMAP":
            return np.arange(len(self.frame_segments))
        return np.flatnonzero(self.frame_segments == number)

    def frame_mask(self, index: int, number: int, threshold: float) -> NDArray[np.bool_]:
        """(rows, columns) voxels of a segment in one frame; a fraction counts from ``threshold`` of the maximum up."""
        values = self.pixels.frame(index)
        if self.kind == "LABELMAP":
            return np.asarray(values == number)
        if self.kind == "FRACTIONAL":
            return np.asarray((values >= threshold * self.maximum) & (values > 0))
        return np.asarray(values != 0)
