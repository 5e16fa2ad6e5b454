"""How series, or frames at one position, differ, in words that identify no patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset

from npczarr.sources.fields import field_values
from npczarr.sources.frames import Frame
from npczarr.sources.image_types import known_words

Images = Sequence[tuple[Dataset, Sequence[int]]]

#: Fields whose values may appear in messages, then those of which only the name may.
_NUMBERS = (
    "EchoTime", "RepetitionTime", "InversionTime", "FlipAngle", "DiffusionBValue", "TemporalPositionIdentifier",
    "TriggerTime",
)  # fmt: skip
_COMPARED = _NUMBERS[:5]
#: Fields of text, which may name a person: only that they differ may be said.
_TEXTS = ("SeriesDescription", "ProtocolName")
_TIMES = ("AcquisitionTime", "FrameAcquisitionDateTime", "AcquisitionNumber")
#: Fields that are parsed to tell frames apart.
TELLING = (*_NUMBERS, *_TIMES)
_FEW = 3
_MOST_SERIES = 6
_LONGEST_FAULT = 100


def describe_series(series: Sequence[Images]) -> list[str]:
    """Describe each of several series by its size and by the fields in which they differ."""
    features = [_features(images) for images in series]
    names = [n for n in (*_COMPARED, "ImageType", "orientation") if len({f.get(n) for f in features}) > 1]
    described = []
    for feature in features:
        differing = [f"{name} {feature[name]}" if feature[name] else f"no {name}" for name in names]
        described.append(", ".join([f"{feature['slices']} slices of {feature['matrix']}", *differing]))
    return described


def unshown_differences(series: Sequence[Images]) -> list[str]:
    """Name the fields of text in which series differ."""
    return [name for name in _TEXTS if len({field_values(images[0][0], 0, name) for images in series}) > 1]


def list_series(series: Sequence[Images], faults: Sequence[str]) -> str:
    """List series for an error message: how they differ, and why some cannot be used."""
    entries = [
        f"({i}) {words}{f', unusable: {shorten(fault)}' if fault else ''}"
        for i, (words, fault) in enumerate(zip(describe_series(series), faults, strict=True), 1)
    ]
    more = len(entries) - _MOST_SERIES
    return "; ".join([*entries[:_MOST_SERIES], *([f"and {more} more"] if more > 0 else [])])


def shorten(fault: str) -> str:
    """Cut the reason why a series cannot be used to what fits into a list."""
    return fault if len(fault) <= _LONGEST_FAULT else f"{fault[:_LONGEST_FAULT]}…"


def advise_series(series: Sequence[Images]) -> str:
    """Say how to choose one of several series, by a field in which they differ."""
    for name in (*_NUMBERS[:3], "ImageType"):
        values = [_values_of(images, name) for images in series]
        if len(set(values)) == len(values) and all(values):
            return _example(name, values[0].split(", ")[0])
    orientations = [_orientation(*images[0]) for images in series]
    by_orientation = len(set(orientations)) > 1 and all(orientations)
    return _example("SeriesDescription", "*tra*" if by_orientation else "*t1*")


def describe_frames(shared: Sequence[Sequence[int]], frames: Sequence[Frame]) -> str:
    """Say how the frames at one position differ, and how to choose one.

    Parameters
    ----------
    shared
        Indices of the frames at each position that several share.
    frames
        Every frame.
    """
    together = [frames[i] for i in shared[0]]
    differing, example = [], ""
    for name in ("EchoTime", "ImageType", *_NUMBERS[1:], *_TIMES):
        values = [_one(frame, name) for frame in together]
        if len(set(values)) == 1:
            continue
        if name in _TIMES:
            differing.append(name)
            example = example or _example(name, "<…")
            continue
        there = [value for value in dict.fromkeys(values) if value]
        differing.append(f"{name} ({', '.join(there[:_FEW])}{', …' if len(there) > _FEW else ''})")
        example = example or _example(name, _component(there))
    if not differing:
        return f"nothing in their headers tells them apart ({', '.join(('ImageType', *_NUMBERS))}): keep one of them"
    return f"they differ in {', '.join(differing)}; {example}"


def _features(images: Images) -> dict[str, str]:
    first = images[0][0]
    features = {name: _values_of(images, name) for name in (*_COMPARED, "ImageType")}
    return features | {
        "slices": str(sum(len(indices) for _, indices in images)),
        "matrix": f"{first.get('Rows')} x {first.get('Columns')}",
        "orientation": _orientation(*images[0]),
    }


def _values_of(images: Images, name: str) -> str:
    """Return the values of a field in a series, the first few of them."""
    # the first and last frame of an object will do: a thousand frames are not looked at one by one
    ends = [(dataset, index) for dataset, indices in images for index in {indices[0], indices[-1]}]
    values = sorted({_text(name, field_values(dataset, index, name)) for dataset, index in ends} - {""})
    return ", ".join([*values[:_FEW], *(["…"] if len(values) > _FEW else [])])


def _one(frame: Frame, name: str) -> str:
    values = field_values(frame.dataset, frame.index, name)
    return str(values) if name in _TIMES else _text(name, values)


def _text(name: str, values: Sequence[float | str]) -> str:
    if name == "ImageType":
        return known_words(values)
    return " ".join(f"{value:g}" for value in values if isinstance(value, float))


def _orientation(dataset: Dataset, indices: Sequence[int]) -> str:
    values = field_values(dataset, indices[0], "ImageOrientationPatient")
    cosines = [value for value in values if isinstance(value, float) and np.isfinite(value)]
    if len(cosines) != 6:
        return ""
    normal = np.abs(np.cross(cosines[:3], cosines[3:]))
    return ("sagittal", "coronal", "axial")[int(normal.argmax())] if normal.max() > 0.9 else "oblique"


def _component(types: Sequence[str]) -> str:
    """Find a word of the first value that no other value has."""
    others = {word for value in types[1:] for word in value.split("\\")}
    return next((word for word in types[0].split("\\") if word and word not in others), types[0])


def _example(name: str, value: str) -> str:
    quoted = value.replace("\\", "\\\\")
    return f'choose in the configuration, for example where = {{ {name} = "{quoted}" }} for this sequence'
