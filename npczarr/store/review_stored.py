"""Marks of a review as the store holds them, and in words which of them cannot be read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import zarr

from npczarr.errors import StoreError
from npczarr.model.review import Key, Mark
from npczarr.store.hierarchy import array, labels
from npczarr.store.location import exists
from npczarr.store.storage_errors import first_line

GROUP = "review"
FIRST_MARKS = f"{GROUP}/mark/c/0/0"  # the first object of marks
_NAMED = 10  # scans in a message
_TO_DO = "If the storage is well, restore the folder review from a copy of the store; or delete it, and review anew."


@dataclass(frozen=True, slots=True)
class StoredMarks:
    """What the table of marks holds; `damaged` are the scans whose mark is there and cannot be read."""

    marks: dict[Key, Mark] = field(default_factory=dict)
    damaged: tuple[Key, ...] = ()


def readable_marks(root: zarr.Group, shown: str) -> tuple[dict[Key, Mark], tuple[str, ...]]:
    """Return the marks of a store that can be read, and in words which cannot."""
    try:
        stored = stored_marks(root, shown)
    except StoreError as error:
        return {}, (str(error),)
    return stored.marks, (damage(stored.damaged, shown),) if stored.damaged else ()


def stored_marks(root: zarr.Group, shown: str) -> StoredMarks:
    """Read the table of marks.

    Raises
    ------
    StoreError
        If it is there, or was, and cannot be read.
    """
    try:
        group: Any = root.get(GROUP)
        if group is None or "mark" not in group:
            if exists(root.store, FIRST_MARKS):
                raise FileNotFoundError("metadata are absent")
            return StoredMarks()
        texts = array(group, "mark")[...]
    except Exception as error:  # damaged metadata and chunks give all kinds
        raise StoreError(
            f"{shown}: the review's marks cannot be read ({type(error).__name__}: {first_line(error)}); none of them "
            f"counts, and nothing is written over them. {_TO_DO}"
        ) from error
    found, damaged = {}, []
    for p, patient in enumerate(labels(root, "patient")[: texts.shape[0]]):
        for s, sequence in enumerate(labels(root, "sequence")[: texts.shape[1]]):
            if not texts[p, s]:
                continue
            mark = _parsed(str(texts[p, s]), (patient, sequence))
            if mark is None:
                damaged.append((patient, sequence))
            else:
                found[mark.key] = mark
    return StoredMarks(found, tuple(damaged))


def _parsed(text: str, key: Key) -> Mark | None:
    """Read a mark as it was stored; None for what is none."""
    try:
        found = json.loads(text)
        return Mark(**{**found, "patient": key[0], "sequence": key[1]})
    except (ValueError, TypeError):
        return None


def damage(scans: Sequence[Key], shown: str) -> str:
    """Say which marks are damaged, and what to do."""
    return (
        f"{shown}: the review's marks of {names(scans)} are damaged; they count for nothing, and nothing is written "
        f"over them. What was decided may still be read in the arrays decision, reason and note of the group. {_TO_DO}"
    )


def names(scans: Sequence[Key]) -> str:
    """Join patient and sequence of scans, as many as a message holds."""
    first = ", ".join("/".join(key) for key in scans[:_NAMED])
    return f"{first} and {len(scans) - _NAMED} more" if len(scans) > _NAMED else first
