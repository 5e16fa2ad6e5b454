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
    kinds: dict[tuple[str, ...], list[list[str]]] = {}
    for line in lines:
        kinds.setdefault(tuple(_NUMBER.split(line)), []).append(_NUMBER.findall(line))
    return [(len(numbers), _filled(words, numbers)) for words, numbers in kinds.items()]


def _filled(words: tuple[str, ...], numbers: list[list[str]]) -> str:
    ranges = [(min(values, key=float), max(values, key=float)) for values in zip(*numbers, strict=True)]
    told = [low if float(low) == float(high) else f"{low} to {high}" for low, high in ranges]
    return "".join(word + number for word, number in zip(words, [*told, ""], strict=True))
