"""Header fields of one frame; enhanced objects keep them in functional groups, some under another name."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from npczarr.sources.scanned_header import tag_object

Field = float | str
#: Keyword in enhanced objects by keyword in classic ones; the meaning is the same.
ENHANCED_NAMES = {
    "EchoTime": "EffectiveEchoTime",
    "EchoTrainLength": "RFEchoTrainLength",
    "ImageType": "FrameType",
    "InversionTime": "InversionTimes",
    "TemporalPositionIdentifier": "TemporalPositionIndex",
    "TriggerTime": "NominalCardiacTriggerDelayTime",
}
#: In the keywords of sequences that describe other objects than the frame, such as ReferencedImageSequence.
_OF_OTHERS = re.compile("Code|Contributing|Derivation|Original|Referenced|Source")
_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")


def places_of(dataset: Dataset, index: int) -> list[Dataset]:
    """Return every part of a header that describes one frame, the most specific first."""
    places = []
    for name in _GROUPS:
        groups = dataset.get(name) or []
        group = groups[index if name == _GROUPS[0] else 0 :][:1]
        elements = (g[tag] for g in group for tag in sorted(g.keys()) if _describes_frame(tag))
        places += [element.value[0] for element in elements if element.VR == "SQ" and len(element.value)]
    return [*places, dataset]


@lru_cache(maxsize=4096)
def _describes_frame(tag: BaseTag) -> bool:
    """Whether a functional group is of the frame itself: private ones may mean anything, others describe its origin."""
    return not tag.is_private and not _OF_OTHERS.search(keyword_for_tag(tag))


def field_values(dataset: Dataset, index: int, keyword: str) -> tuple[Field, ...]:
    """Return the values of a field of one frame: numbers as floats, all else as stripped text; empty if absent."""
    names = [name for name in (ENHANCED_NAMES.get(keyword), keyword) if name]
    places = places_of(dataset, index)
    for place in places:
        for name in names:
            if name in place:
                return _plain(place, name)
    return ()


def raw_value(dataset: Dataset, keyword: str | int) -> bytes | str | None:
    """Return a field as its file holds it; None if it is absent. Nothing is converted, which is slow."""
    tag = _tag(keyword)
    if tag not in dataset.keys():  # noqa: SIM118 - `in dataset` looks the tag up again
        return None
    item = dataset.get_item(tag)
    if isinstance(item, RawDataElement):
        return item.value
    return "" if item.value is None else str(item.value)


def raw_text(dataset: Dataset, keyword: str) -> str:
    """Return a text field without its padding, unconverted; empty if it is absent."""
    value = raw_value(dataset, keyword)
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return text.strip(" \0")


def text_values(dataset: Dataset, keyword: str) -> list[str]:
    """Values of a text field of a header, in upper case."""
    value = dataset.get(keyword, "")
    return [str(part).strip().upper() for part in ([value] if isinstance(value, str) else value or [])]


@cache
def _tag(keyword: str | int) -> BaseTag:
    return tag_object(int(Tag(keyword)))


def _plain(place: Dataset, name: str) -> tuple[Field, ...]:
    try:
        value: Any = place[name].value
        values = [value] if isinstance(value, str | int | float) or not hasattr(value, "__iter__") else list(value)
        return tuple(
            float(part) if isinstance(part, int | float) else str(part).strip() for part in values if part is not None
        )
    except Exception:  # damaged: a field that cannot be read counts as absent
        return ()
