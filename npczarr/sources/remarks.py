"""Warnings about the slices of a scan from their header fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pydicom.dataset import Dataset

from npczarr.errors import SourceError
from npczarr.model.messages import first_of
from npczarr.sources.acquisition import number
from npczarr.sources.fields import field_values, raw_text, raw_value
from npczarr.sources.frames import Frame
from npczarr.sources.image_types import describe_types
from npczarr.sources.pixels import is_lossy

#: Fields of numbers by which acquisitions differ, and how far slices of one may be apart, as a part of the value.
_OF_ACQUISITIONS = ("EchoTime", "RepetitionTime", "InversionTime", "FlipAngle")
_ALIKE = 0.1
_MOST_VALUES = 3
_MOST_PARTS = 2**16  # of a concatenation: more cannot be written


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
        *_tables(frames),
        *_frames_of_reference(frames),
        *_patients(frames),
        *_acquisitions(frames),
        *describe_types(_types(frames)),
    ]


def missing_parts(datasets: Sequence[Dataset]) -> list[str]:
    """Say which parts of concatenations are missing among the objects of a series (PS3.3 section C.7.6.16.2.2.4)."""
    concatenations: dict[str, list[Dataset]] = {}
    for dataset in datasets:
        if "InConcatenationNumber" in dataset:
            concatenations.setdefault(raw_text(dataset, "ConcatenationUID"), []).append(dataset)
    said = []
    for parts in concatenations.values():
        there = _part_numbers(parts, "InConcatenationNumber")
        total = max(there | _part_numbers(parts, "InConcatenationTotalNumber"), default=0)
        if missing := sorted(set(range(1, total + 1)) - there):
            said.append(
                f"{len(missing)} of {total} parts of the image (a concatenation) are missing with their slices: "
                f"{first_of(list(map(str, missing)), _MOST_VALUES)}; copy the missing files"
            )
    return said


def _part_numbers(parts: Sequence[Dataset], keyword: str) -> set[int]:
    return {int(found) for part in parts if 1 <= (found := number(part, keyword)) < _MOST_PARTS}


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
    objects = {id(frame.dataset): frame.dataset for frame in frames}
    found = {
        key: raw_text(dataset, "LossyImageCompression") == "01" or is_lossy(dataset) for key, dataset in objects.items()
    }
    lossy = sum(found[id(frame.dataset)] for frame in frames)
    share = "" if lossy == len(frames) else f" in {lossy} of {len(frames)} slices"
    return [f"the source says its pixels were compressed with loss{share}"] if lossy else []


def _scales(frames: Sequence[Frame]) -> list[str]:
    slopes, intercepts = ([f.slope for f in frames], [f.intercept for f in frames])
    scales = {"RescaleSlope": slopes, "RescaleIntercept": intercepts}
    remarks = _differing(scales) or _differing(_real_world_scales(frames))
    if zeros := slopes.count(0.0):
        remarks.append(
            f"RescaleSlope is 0 in {zeros} of {len(frames)} slices, which would make all values one; stored values are "
            "kept as they are"
        )
    return remarks


def _differing(scales: Mapping[str, Sequence[float]]) -> list[str]:
    return [
        f"{name} differs between slices ({min(found):.6g} to {max(found):.6g}): stored values of different slices "
        "cannot be compared, only slope * value + intercept"
        for name, found in scales.items()
        if found and min(found) != max(found)
    ]


def _real_world_scales(frames: Sequence[Frame]) -> dict[str, list[float]]:
    """Slopes and intercepts of the first RealWorldValueMappingSequence of each frame of enhanced objects."""
    enhanced = [frame for frame in frames if "PerFrameFunctionalGroupsSequence" in frame.dataset]
    return {
        keyword: [value for frame in enhanced for value in _numbers(frame, keyword)[:1]]
        for keyword in ("RealWorldValueSlope", "RealWorldValueIntercept")
    }


def _tables(frames: Sequence[Frame]) -> list[str]:
    mapped = sum("ModalityLUTSequence" in frame.dataset for frame in frames)
    share = "" if mapped == len(frames) else f" in {mapped} of {len(frames)} slices"
    said = f"a table says what values mean{share} (ModalityLUTSequence): it is not applied, stored values are kept"
    return [said] if mapped else []


def _numbers(frame: Frame, keyword: str) -> list[float]:
    values = field_values(frame.dataset, frame.index, keyword)
    return [value for value in values if isinstance(value, float)]


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
    return Counter(value for frame in frames for value in _numbers(frame, keyword)[:1])


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
