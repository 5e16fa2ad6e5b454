"""Which mark of a scan counts, if the store and the CSV file have one each; and versions, to tell two marks apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import xxhash

from npczarr.errors import StoreError
from npczarr.model.review import Key, Mark
from npczarr.store.review_stored import names


def latest_marks(
    stored: Mapping[Key, Mark], filed: Mapping[Key, Mark], file: Path
) -> tuple[dict[Key, Mark], tuple[str, ...]]:
    """Join the marks of a store and of a file: of two marks of one scan the later counts, also if it takes one back.

    Parameters
    ----------
    stored, filed
        The marks of each.
    file
        The file, for messages.

    Returns
    -------
    tuple of (dict, tuple of str)
        The marks, and in words of which scans two marks differ and neither is known to be later: neither counts.
    """
    marks, unclear = {**stored, **filed}, []
    for key in sorted(stored.keys() & filed.keys()):
        ours = _is_later(stored[key], filed[key])
        if ours is None and _says(stored[key]) != _says(filed[key]):
            del marks[key]
            unclear.append(key)
        elif ours:
            marks[key] = stored[key]
    if not unclear:
        return marks, ()
    return marks, (
        f"{file}: the marks of {names(unclear)} in this file are others than those in the store, and their times do "
        "not say which is later, so neither counts; take these lines out of the file, or correct their times",
    )


def check_counting(new: Sequence[Mark], others: Mapping[Key, Mark], where: str) -> None:
    """Refuse marks that would count for nothing, because what is kept elsewhere is not known to be earlier.

    Raises
    ------
    StoreError
        If there are some: a clock is wrong, or a time was edited.
    """
    beaten = [mark.key for mark in new if mark.key in others and not _counts_before(mark, others[mark.key])]
    if beaten:
        raise StoreError(
            f"{names(beaten)}: {where} has another mark, whose time is not earlier than now or cannot be read, so this "
            "one would not count; correct the clock or that time, or take that mark out"
        )


def version_of(mark: Mark) -> str:
    """Digest of all that a mark says; two marks of one scan that differ in anything have two versions."""
    return str(xxhash.xxh3_128_hexdigest(json.dumps(asdict(mark), sort_keys=True).encode()))


def _moment(mark: Mark) -> datetime | None:
    """Read the time of a mark; None if it cannot be read, as after an edit by hand."""
    try:
        found = datetime.fromisoformat(mark.time)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _is_later(mark: Mark, other: Mark) -> bool | None:
    """Whether a mark is later than another; None if their times do not say."""
    moment, than = _moment(mark), _moment(other)
    return None if moment is None or than is None or moment == than else moment > than


def _counts_before(mark: Mark, other: Mark) -> bool:
    return _is_later(mark, other) is True or (_is_later(mark, other) is None and _says(mark) == _says(other))


def _says(mark: Mark) -> tuple[str, str, str]:
    return mark.decision, mark.reason, mark.note
