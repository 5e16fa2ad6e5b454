"""Warnings about the slices of a scan from their header fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from npczarr.errors import SourceError
from npczarr.model.messages import first_of
from npczarr.sources.fields import field_values, raw_text, raw_value
from npczarr.sources.frames import Frame
from npczarr.sources.image_types import describe_types

#: Fields of numbers by which acquisitions differ, and how far slices of one may be apart, as a part of the value.
_OF_ACQUISITIONS = ("EchoTime", "RepetitionTime", "InversionTime", "FlipAngle")
_ALIKE = 0.1
_MOST_VALUES = 3


def describe_slices(frames: Sequence[Frame]) -> list[str]:
    """List warnings from the headers of a scan's slices.

    Raises
    ------
    SourceError
        If some slices are bright where others are dark.
    """
    return [
        *_polarity(frames),
        *_signs(frames),
        *_losses(frames),
        *_scales(frames),
        *_frames_of_reference(frames),
        *_patients(frames),
        *_acquisitions(frames),
        *describe_types(_types(frames)),
    ]


def _polarity(frames: Sequence[Frame]) -> list[str]:
    inverted = _count(frames, "PhotometricInterpretation", "MONOCHROME1")
    if 0 < inverted < len(frames):
        raise SourceError(
            f"MONOCHROME1 in {inverted} of {len(frames)} slices: low values are bright there and dark in the others; "
            "export the series again with one PhotometricInterpretation"
        )
    return ["MONOCHROME1: low values are bright; stored values are kept as they are"] if inverted else []


def _signs(frames: Sequence[Frame]) -> list[str]:
    signed = sum(1 for frame in frames if frame.dataset.get("PixelRepresentation"))
    if signed in (0, len(frames)):
        return []
    return [f"{signed} of {len(frames)} slices hold signed values and the others unsigned: each was read as it says"]


def _losses(frames: Sequence[Frame]) -> list[str]:
    lossy = _count(frames, "LossyImageCompression", "01")
    share = "" if lossy == len(frames) else f" in {lossy} of {len(frames)} slices"
    return [f"the source says its pixels were compressed with loss{share}"] if lossy else []


def _scales(frames: Sequence[Frame]) -> list[str]:
    slopes, intercepts = ([f.slope for f in frames], [f.intercept for f in frames])
    remarks = []
    for name, found in (("RescaleSlope", slopes), ("RescaleIntercept", intercepts)):
        if min(found) != max(found):
            remarks.append(
                f"{name} differs between slices ({min(found):.6g} to {max(found):.6g}): stored values of different "
                "slices cannot be compared, only slope * value + intercept"
            )
    if zeros := slopes.count(0.0):
        remarks.append(
            f"RescaleSlope is 0 in {zeros} of {len(frames)} slices, which would make all values one; stored values are "
            "kept as they are"
        )
    return remarks


def _frames_of_reference(frames: Sequence[Frame]) -> list[str]:
    found = {raw_value(frame.dataset, "FrameOfReferenceUID") for frame in frames}
    return [f"its slices are in {len(found)} frames of reference: they may not fit together"] if len(found) > 1 else []


def _patients(frames: Sequence[Frame]) -> list[str]:
    found = {raw_text(frame.dataset, "PatientID") for frame in frames} - {""}
    said = f"its slices carry {len(found)} PatientIDs: they may be of {len(found)} patients; check where they come from"
    return [said] if len(found) > 1 else []


def _acquisitions(frames: Sequence[Frame]) -> list[str]:
    """Say that slices were not acquired alike, as where two series were given one SeriesInstanceUID."""
    found = []
    for keyword in _OF_ACQUISITIONS:
        counts = _count_values(frames, keyword)
        least, most = min(counts, default=0.0), max(counts, default=0.0)
        if most - least > _ALIKE * max(abs(least), abs(most)):
            shown = first_of([f"{value:g} in {counts[value]} slices" for value in sorted(counts)], _MOST_VALUES)
            found.append(f"{keyword} ({shown})")
    said = f"slices may be of several acquisitions, as they differ in {' and '.join(found)}; the first is described"
    return [said] if found else []


def _count_values(frames: Sequence[Frame], keyword: str) -> Counter[float]:
    """Count the first values of a field of numbers; none where all slices have one entry, which is quickly seen."""
    entries = {raw_value(frame.dataset, keyword) for frame in frames}
    in_groups = None in entries and any("PerFrameFunctionalGroupsSequence" in frame.dataset for frame in frames)
    if len(entries) == 1 and not in_groups:
        return Counter()
    found = (field_values(frame.dataset, frame.index, keyword)[:1] for frame in frames)
    return Counter(value for values in found for value in values if isinstance(value, float))


def _types(frames: Sequence[Frame]) -> list[tuple[tuple[object, ...], int]]:
    counts: dict[object, int] = {}
    examples: dict[object, Frame] = {}
    for frame in frames:
        enhanced = "PerFrameFunctionalGroupsSequence" in frame.dataset
        key = (
            field_values(frame.dataset, frame.index, "ImageType") if enhanced else raw_value(frame.dataset, "ImageType")
        )
        counts[key] = counts.get(key, 0) + 1
        examples.setdefault(key, frame)
    return [(field_values(examples[key].dataset, examples[key].index, "ImageType"), n) for key, n in counts.items()]


def _count(frames: Sequence[Frame], keyword: str, value: str) -> int:
    """Count the frames whose object has this text in a field."""
    return sum(1 for frame in frames if raw_text(frame.dataset, keyword) == value)
