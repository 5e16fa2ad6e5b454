"""One RTSTRUCT file in, its structures out."""

from __future__ import annotations

from collections import Counter

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from npczarr.errors import SourceError
from npczarr.model.geometry import Floats
from npczarr.model.limits import Limits
from npczarr.sources.structures.names import clean_label
from npczarr.sources.structures.reading import FARTHEST_MM, damage, items, parse, text, whole
from npczarr.sources.structures.records import Contour, Roi, StructureSet

_WHAT = "the RT structure set"


def read_rtstruct(content: bytes, *, limits: Limits | None = None) -> StructureSet:
    """Read the structures of an RTSTRUCT file.

    A structure whose contours are damaged is returned with its faults, so that the others stay usable.

    Parameters
    ----------
    content
        The file.
    limits
        Most memory that it may take.

    Raises
    ------
    SourceError
        If the file is not an RT structure set, is damaged or too large, or has no structures.

    Notes
    -----
    DICOM PS3.3 C.8.8.5 (Structure Set module) and C.8.8.6 (ROI Contour module).
    """
    with damage(_WHAT):
        return _structures(parse(content, [RTStructureSetStorage], "an RT structure set", limits or Limits()))


def _structures(dataset: Dataset) -> StructureSet:
    described = items(dataset, "StructureSetROISequence")
    if not described:
        raise SourceError(f"{_WHAT} has no structures (StructureSetROISequence is absent or empty); export it again")
    if "ROIContourSequence" not in dataset:
        raise SourceError(f"{_WHAT} has no contours (ROIContourSequence is absent); export it again")
    series = _series_by_frame(dataset)
    types = {
        whole(item, "ReferencedROINumber", "an observation", default=-1): text(item, "RTROIInterpretedType")
        for item in items(dataset, "RTROIObservationsSequence")
    }
    drawn: dict[int, list[Dataset]] = {}
    for item in items(dataset, "ROIContourSequence"):
        number = whole(item, "ReferencedROINumber", "an item of ROIContourSequence")
        drawn.setdefault(number, []).append(item)

    rois = []
    for item in described:
        number = whole(item, "ROINumber", "a structure")
        frame = text(item, "ReferencedFrameOfReferenceUID")
        contours, faults = _contours([c for group in drawn.pop(number, []) for c in items(group, "ContourSequence")])
        every = tuple(dict.fromkeys(uid for uids in series.values() for uid in uids))
        rois.append(
            Roi(
                number,
                clean_label(text(item, "ROIName")),
                contours,
                frame,
                tuple(series[frame]) if frame in series else every,
                clean_label(types.get(number, "")),
                faults,
            )
        )
    repeated = [number for number, count in Counter(roi.number for roi in rois).items() if count > 1]
    if repeated:
        raise SourceError(f"{_WHAT} gives {len(repeated)} ROI number(s) to several structures, first {repeated[0]}")
    warnings = [f"contours of {len(drawn)} structure(s) that the file does not name were passed over"] if drawn else []
    frames = dict.fromkeys(uid for uid in (*series, *(roi.frame_of_reference_uid for roi in rois)) if uid)
    return StructureSet(tuple(rois), every, tuple(frames), tuple(warnings))


def _series_by_frame(dataset: Dataset) -> dict[str, list[str]]:
    """SeriesInstanceUIDs that the structure set names, by frame of reference."""
    found: dict[str, list[str]] = {}
    for frame in items(dataset, "ReferencedFrameOfReferenceSequence"):
        series = found.setdefault(text(frame, "FrameOfReferenceUID"), [])
        for study in items(frame, "RTReferencedStudySequence"):
            named = (text(item, "SeriesInstanceUID") for item in items(study, "RTReferencedSeriesSequence"))
            series += [uid for uid in named if uid]
    return found


def _contours(described: list[Dataset]) -> tuple[tuple[Contour, ...], tuple[str, ...]]:
    """Contours of one structure, and what is wrong with them by kind, counted."""
    contours: list[Contour] = []
    faults: Counter[str] = Counter()
    for item in described:
        kind = text(item, "ContourGeometricType").upper()
        points, fault = _points(item)
        if fault:
            faults[fault] += 1
            continue
        image = next(iter(items(item, "ContourImageSequence")), Dataset())
        frame = text(image, "ReferencedFrameNumber")
        contours.append(
            Contour(points, kind, text(image, "ReferencedSOPInstanceUID"), int(frame) if frame.isdecimal() else 0)
        )
    return tuple(contours), tuple(f"{count} of {len(described)} contours {what}" for what, count in faults.items())


def _points(item: Dataset) -> tuple[Floats, str]:
    """(n, 3) points of a contour, and the reason why they cannot be used, or an empty string.

    The text of the field is parsed at once: pydicom makes an object of every number, fifty times slower.
    """
    none = np.empty((0, 3))
    element = item.get_item("ContourData") if "ContourData" in item else None
    raw = getattr(element, "value", None)
    if not raw:
        return none, ""
    if isinstance(raw, bytes):
        # NumPy skips an empty value between two separators, so the separators are counted
        expected = raw.count(b"\\") + 1
        try:
            values = np.fromstring(raw.replace(b"\\", b" ").rstrip(b"\0"), dtype=np.float64, sep=" ")
        except ValueError:
            return none, "hold text that is no number"
    else:
        values = np.array([float(value) for value in np.atleast_1d(raw)])
        expected = len(values)
    if len(values) != expected:
        return none, "hold text that is no number"
    if len(values) % 3:
        return none, "have a count of coordinates that is not a multiple of 3"
    if not np.isfinite(values).all() or np.abs(values).max() > FARTHEST_MM:
        return none, f"hold coordinates that are not finite or beyond {FARTHEST_MM / 1e6:g} km"
    points = values.reshape(-1, 3)
    stated = whole(item, "NumberOfContourPoints", "a contour", default=len(points))
    if stated != len(points):
        return none, "hold another number of points than they say"
    points.setflags(write=False)
    return points, ""
