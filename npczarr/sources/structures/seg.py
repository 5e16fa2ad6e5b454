"""One DICOM SEG file in, its segments and frames out."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian, SegmentationStorage

from npczarr.errors import GeometryError, SourceError
from npczarr.model.geometry import Floats
from npczarr.model.limits import Limits
from npczarr.sources.acquisition import number
from npczarr.sources.pixels import decode
from npczarr.sources.structures.names import clean_label
from npczarr.sources.structures.reading import FARTHEST_MM, damage, items, numbers, parse, text, whole
from npczarr.sources.structures.records import Code, Pixels, Planes, Segment, SegmentationObject

LABEL_MAP_STORAGE = UID("1.2.840.10008.5.1.4.1.1.66.7")  # Label Map Segmentation Storage, newer than pydicom 3.0
KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")
_WHAT = "the segmentation object"
_BACKGROUND = ("DCM", "125040")  # type code of what is no structure: label maps describe it beside the segments
_SAME_DIRECTION = 1e-3  # between direction cosines of two frames: more is another orientation


def read_segmentation(content: bytes, *, limits: Limits | None = None) -> SegmentationObject:
    """Read a DICOM segmentation object: binary, fractional or label map.

    Frames may come in any order, and planes without a segment may have none. A segment that describes the background of
    a label map, by the padding value or by its type code, is left out.

    Parameters
    ----------
    content
        The file.
    limits
        Most memory that it may take; the header is checked against it before anything is decoded.

    Raises
    ------
    SourceError
        If the file is not a segmentation object, is damaged or too large, or does not say where its frames are.
    GeometryError
        If its frames have several orientations or pixel spacings.

    Notes
    -----
    DICOM PS3.3 C.8.20 (Segmentation).
    """
    classes = [SegmentationStorage, LABEL_MAP_STORAGE]
    with damage(_WHAT):
        return _segmentation(
            parse(content, classes, "a DICOM segmentation object", limits or Limits()), limits or Limits()
        )


def _segmentation(dataset: Dataset, limits: Limits) -> SegmentationObject:
    kind = text(dataset, "SegmentationType").upper()
    if kind not in KINDS:
        raise SourceError(f"{_WHAT} is of no type that is read, expected one of {', '.join(KINDS)}; export it again")
    segments = tuple(_segment(item) for item in items(dataset, "SegmentSequence"))
    if kind == "LABELMAP":
        padding = whole(dataset, "PixelPaddingValue", _WHAT, default=0)
        segments = tuple(s for s in segments if s.number != padding and (s.type.scheme, s.type.value) != _BACKGROUND)
    repeated = [number for number, count in Counter(segment.number for segment in segments).items() if count > 1]
    if not segments or repeated:
        found = f"number {repeated[0]} twice" if repeated else "no segment"
        raise SourceError(f"{_WHAT} describes {found}, expected segments of different numbers; export it again")
    frames = _frames(dataset)
    pixels = _pixels(dataset, len(frames), limits)
    frame_segments = _frame_segments(dataset, frames, kind)
    fraction = kind == "FRACTIONAL"
    maximum = whole(dataset, "MaximumFractionalValue", _WHAT) if fraction else 1
    if not 1 <= maximum <= 255:
        raise SourceError(f"{_WHAT} has a MaximumFractionalValue of {maximum}, expected 1 to 255; export it again")
    fractional_type = text(dataset, "SegmentationFractionalType").upper()
    return SegmentationObject(
        kind,
        segments,
        frame_segments,
        _planes(dataset, frames),
        pixels,
        maximum,
        fractional_type if fraction and fractional_type in ("PROBABILITY", "OCCUPANCY") else "",
        _series(dataset),
        text(dataset, "FrameOfReferenceUID"),
        _undescribed(dataset, segments, frame_segments, pixels, kind),
    )


def _undescribed(
    dataset: Dataset, segments: tuple[Segment, ...], frame_segments: NDArray[np.int64], pixels: Pixels, kind: str
) -> tuple[str, ...]:
    """Say what the frames show that no segment describes; 0 and the padding value of a label map are background."""
    described = [segment.number for segment in segments]
    if kind != "LABELMAP":
        stray = int(np.count_nonzero(~np.isin(frame_segments, described)))
        total = len(frame_segments)
        return (f"{stray} of {total} frames show segments that the file does not describe",) if stray else ()
    known = [0, whole(dataset, "PixelPaddingValue", _WHAT, default=0), *described]
    counts: Counter[int] = Counter()
    for i in range(pixels.shape[0]):
        values, voxels = np.unique(pixels.frame(i), return_counts=True)
        counts.update(dict(zip(values.tolist(), voxels.tolist(), strict=True)))
    found = {value: voxels for value, voxels in sorted(counts.items()) if value not in known}
    listed = ", ".join(str(value) for value in list(found)[:10])
    what = f"{sum(found.values())} voxels of {len(found)} values that no segment describes, first {listed}"
    return (f"{what}; they belong to none",) if found else ()


def _segment(item: Dataset) -> Segment:
    algorithm = text(item, "SegmentAlgorithmType").upper()
    return Segment(
        whole(item, "SegmentNumber", "a segment"),
        clean_label(text(item, "SegmentLabel")),
        _code(item, "SegmentedPropertyCategoryCodeSequence"),
        _code(item, "SegmentedPropertyTypeCodeSequence"),
        algorithm if algorithm in ("MANUAL", "SEMIAUTOMATIC", "AUTOMATIC") else "",
    )


def _code(item: Dataset, keyword: str) -> Code:
    code = next(iter(items(item, keyword)), Dataset())
    value = text(code, "CodeValue") or text(code, "LongCodeValue") or text(code, "URNCodeValue")
    return Code(*(clean_label(v) for v in (value, text(code, "CodingSchemeDesignator"), text(code, "CodeMeaning"))))


def _series(dataset: Dataset) -> tuple[str, ...]:
    """SeriesInstanceUIDs that the object names, in its own study or another."""
    studies = [dataset, *items(dataset, "StudiesContainingOtherReferencedInstancesSequence")]
    found = (text(item, "SeriesInstanceUID") for study in studies for item in items(study, "ReferencedSeriesSequence"))
    return tuple(dict.fromkeys(uid for uid in found if uid))


def _frames(dataset: Dataset) -> list[Dataset]:
    """Functional groups of every frame."""
    frames, stated = items(dataset, "PerFrameFunctionalGroupsSequence"), whole(dataset, "NumberOfFrames", _WHAT)
    if not frames or len(frames) != stated:
        raise SourceError(f"{stated} frames but functional groups for {len(frames)}; export {_WHAT} again")
    return frames


def _group(dataset: Dataset, frame: Dataset, keyword: str) -> Dataset:
    """Functional group of a frame, or the one that all frames share; empty where there is neither."""
    for place in (frame, *items(dataset, "SharedFunctionalGroupsSequence")[:1]):
        if found := items(place, keyword):
            return found[0]
    return Dataset()


def _frame_segments(dataset: Dataset, frames: list[Dataset], kind: str) -> NDArray[np.int64]:
    if kind == "LABELMAP":
        return np.zeros(len(frames), dtype=np.int64)
    groups = (_group(dataset, frame, "SegmentIdentificationSequence") for frame in frames)
    return np.array([whole(group, "ReferencedSegmentNumber", "a frame") for group in groups], dtype=np.int64)


def _planes(dataset: Dataset, frames: list[Dataset]) -> Planes:
    positions = _of_frames(dataset, frames, "PlanePositionSequence", "ImagePositionPatient", 3)
    directions = _of_frames(dataset, frames, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacings = _of_frames(dataset, frames, "PixelMeasuresSequence", "PixelSpacing", 2)
    if np.abs(directions - directions[0]).max() > _SAME_DIRECTION:
        raise GeometryError(f"frames of several orientations in {_WHAT}, expected one; split it by orientation")
    row, column = directions[0, :3], directions[0, 3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if np.abs(np.array(lengths) - 1).max() > 1e-2 or abs(float(row @ column)) > 1e-2:
        raise GeometryError(
            f"ImageOrientationPatient {directions[0].round(4).tolist()} is not two perpendicular unit vectors; check "
            "the headers"
        )
    if spacings.min() < 1e-6 or np.abs(spacings - spacings[0]).max() > 1e-3 * spacings.min():
        raise GeometryError(
            f"pixel spacings from {spacings.min(axis=0).tolist()} to {spacings.max(axis=0).tolist()} mm in {_WHAT}, "
            "expected one above 0; check the headers"
        )
    measures = _group(dataset, frames[0], "PixelMeasuresSequence")
    pixel = (float(spacings[0, 0]), float(spacings[0, 1]))
    across = (_length(measures, keyword) for keyword in ("SpacingBetweenSlices", "SliceThickness"))
    return Planes(positions, row / lengths[0], column / lengths[1], pixel, *across)


def _length(measures: Dataset, keyword: str) -> float | None:
    value = number(measures, keyword)
    return value if 1e-6 <= value <= FARTHEST_MM else None


def _of_frames(dataset: Dataset, frames: list[Dataset], sequence: str, keyword: str, count: int) -> Floats:
    """(frames, count) values of a functional group."""
    shared = _group(dataset, Dataset(), sequence)
    common = numbers(shared, keyword, count)
    found = []
    for i, frame in enumerate(frames):
        values = numbers(items(frame, sequence)[0], keyword, count) if sequence in frame else common
        if values is None:
            raise SourceError(
                f"frame {i + 1} of {len(frames)} has no usable {keyword}, so its place is not known; export {_WHAT} "
                "again"
            )
        found.append(values)
    return np.array(found, dtype=np.float64)


def _pixels(dataset: Dataset, frames: int, limits: Limits) -> Pixels:
    rows, columns = (whole(dataset, keyword, _WHAT) for keyword in ("Rows", "Columns"))
    bits = whole(dataset, "BitsAllocated", _WHAT)
    if min(rows, columns) < 1 or bits not in (1, 8, 16) or whole(dataset, "SamplesPerPixel", _WHAT, default=1) != 1:
        raise SourceError(
            f"{rows} x {columns} pixels of {bits} bits in {_WHAT}, expected one sample of 1, 8 or 16 bits; export "
            "it again"
        )
    limits.check_axes((1, rows, columns))
    shape = (frames, rows, columns)
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)))
    if bits > 1 or syntax.is_encapsulated:
        limits.check_voxels(frames * rows * columns * max(1, bits // 8))
        if whole(dataset, "PixelRepresentation", _WHAT, default=0):
            raise SourceError(f"{_WHAT} holds signed values, expected PixelRepresentation 0; export it again")
        return Pixels(shape, decode(dataset).reshape(shape))
    if syntax == ExplicitVRBigEndian:
        raise SourceError(f"{_WHAT} packs single bits in big-endian words; export it in another transfer syntax")
    packed = dataset.get_item("PixelData").value if "PixelData" in dataset else b""
    expected = (frames * rows * columns + 7) // 8
    found = len(packed or b"")
    if found < expected:
        raise SourceError(f"the file ends after {found} of {expected} bytes of pixels; copy it again")
    if found - expected >= max(2, columns // 8):  # a row or more
        raise SourceError(
            f"{found} bytes of pixels in {_WHAT}, and its header describes {expected}; one of them is damaged, so "
            "export it again"
        )
    return Pixels(shape, np.frombuffer(packed, dtype=np.uint8))
