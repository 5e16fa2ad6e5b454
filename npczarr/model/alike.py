"""Lines that differ in their numbers alone, told as one."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?!\w|\.\d)")


def told_as_one(lines: Iterable[str]) -> list[tuple[int, str]]:
    """Count lines that are alike but for numbers, and say each kind once with the range of every number.

    Returns
    -------
    list
        (count, line) of each kind, in the order in which they first came: ``(2, "TE 11 to 12.5 ms")``.
    """
    kinds: dict[str, list[list[str]]] = {}
    for line in lines:
        kinds.setdefault(_NUMBER.sub("\0", line), []).append(_NUMBER.findall(line))
    return [(len(numbers), _filled(kind, numbers)) for kind, numbers in kinds.items()]


def _filled(kind: str, numbers: list[list[str]]) -> str:
    words = kind.split("\0")
    for i, values in enumerate(zip(*numbers, strict=True)):
        low, high = min(values, key=float), max(values, key=float)
        words[i] += low if float(low) == float(high) else f"{low} to {high}"
    return "".join(words)
