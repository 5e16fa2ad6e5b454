"""A header whose fields are looked up and converted quickly: the slices of a series say the same in most of them.

pydicom makes a tag of every name that it is asked for, compares tags in Python, and converts a field in every slice.
Here tags are the same objects everywhere, and what was converted once is known by its bytes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import BaseTag

#: Types whose values do not depend on the character set of the dataset.
_PLAIN = frozenset(("CS", "DA", "DS", "FD", "FL", "IS", "SL", "SS", "TM", "UI", "UL", "US"))
_LONGEST = 64  # bytes
_MOST = 4096
_CONVERTED: dict[tuple[Any, ...], Any] = {}
_NEW = object()


@lru_cache(maxsize=4096)
def tag_object(tag: int) -> BaseTag:
    """Return the one object of a tag: of the same object a dictionary asks for no comparison."""
    return BaseTag(tag)


@lru_cache(maxsize=4096)
def _tag_of(keyword: str) -> BaseTag | None:
    tag = tag_for_keyword(keyword)
    return None if tag is None else tag_object(tag)


@lru_cache(maxsize=4096)
def _is_plain(tag: BaseTag, vr: str | None) -> bool:
    """Whether a value of this type is the same in every dataset; where no type is written the dictionary knows it."""
    return (vr or (dictionary_VR(tag) if dictionary_has_tag(tag) else "")) in _PLAIN


class _Quick(Dataset):
    """A dataset to be read and not changed: values are shared with other datasets."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the field holds
        tag = _tag_of(name)
        raw = None if tag is None else self._dict.get(tag)
        if not isinstance(raw, RawDataElement) or raw.length > _LONGEST or not _is_plain(raw.tag, raw.VR):
            return super().__getattr__(name)
        key = (raw.tag, raw.VR, raw.value)
        value = _CONVERTED.get(key, _NEW)
        if value is _NEW:
            if len(_CONVERTED) >= _MOST:
                _CONVERTED.clear()
            value = _CONVERTED[key] = super().__getattr__(name)
            self._dict[raw.tag] = raw  # slices are compared by what their files hold, converted or not
        return value

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401 - as pydicom has it
        if _tag_of(name) is None:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def get(self, key: Any, default: Any = None) -> Any:  # noqa: ANN401 - as pydicom has it
        """Return the value of a field by its keyword, or the element of a tag."""
        tag = _tag_of(key) if isinstance(key, str) else None
        return default if tag is not None and tag not in self._dict else super().get(key, default)

    def get_item(self, key: Any, *, keep_deferred: bool = False) -> Any:  # noqa: ANN401 - as pydicom has it
        """Return the element of a keyword or tag, not converted if it was not yet."""
        tag = _tag_of(key) if isinstance(key, str) else key
        raw = self._dict.get(tag) if isinstance(tag, BaseTag) else None
        if isinstance(raw, RawDataElement) and raw.value is not None:
            return raw
        return super().get_item(key, keep_deferred=keep_deferred)

    def __contains__(self, name: Any) -> bool:  # noqa: ANN401 - as pydicom has it
        tag = _tag_of(name) if isinstance(name, str) else None
        return tag in self._dict if tag is not None else super().__contains__(name)


class ScannedHeader(_Quick, FileDataset):
    """The header of a file."""


class ScannedMeta(_Quick, FileMetaDataset):
    """Its file meta information."""
