"""Much said in few words: the first of many, and messages of many scans that differ only in their numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_NUMBER = re.compile(r"\d+(\.\d+)?")
_PLURAL = re.compile(r"\bvoxels\b")


def first_of(words: Sequence[str], most: int = 6) -> str:
    """Join words by commas, and leave out those beyond the first.

    >>> first_of(["a", "b", "c"]), first_of(["a", "b", "c"], 2)
    ('a, b, c', 'a, b, …')
    """
    return ", ".join(words[:most]) + (", …" if len(words) > most else "")


def group_messages(messages: Mapping[tuple[str, str], str], what: str, *, most: int) -> list[str]:
    """Write a line for each kind of message, the most frequent first, with the message of the first scan.

    Parameters
    ----------
    messages
        By patient and sequence.
    what
        What each message is of, such as ``"prediction"``.
    most
        Lines to write at most; what is left is counted in one more.

    >>> group_messages({("1", "T1"): "3 voxels below 0", ("2", "T1"): "1 voxel below 0"}, "mask", most=5)
    ['2 masks, the first 1/T1: 3 voxels below 0']
    """
    alike: dict[str, list[tuple[str, str]]] = {}
    for key, text in messages.items():
        alike.setdefault(_PLURAL.sub("voxel", _NUMBER.sub("#", text)), []).append(key)
    kinds = sorted(alike.values(), key=len, reverse=True)
    lines = [_line(keys, messages[keys[0]], what) for keys in kinds[:most]]
    left = sum(map(len, kinds[most:]))
    return [*lines, f"{left} more {what}{'s' * (left > 1)} with other messages"] if left else lines


def _line(keys: list[tuple[str, str]], text: str, what: str) -> str:
    first = "/".join(keys[0])
    return f"{what} {first}: {text}" if len(keys) == 1 else f"{len(keys)} {what}s, the first {first}: {text}"
