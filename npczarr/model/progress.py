"""How far a verb is, and how that is told while it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a verb is; given to ``on_progress`` once the total is known, and after each item.

    Parameters
    ----------
    done, total
        Items finished, and items that this run has to do; None where the total is not known. What an earlier run left
        is in neither: it is counted as ``kept``.
    unit
        What the items are: ``"scans"``, ``"patients"``, ``"masks"``, ``"files"``, ``"folders"``, ``"bytes"``.
    bytes
        Bytes read or written so far; 0 where they are not counted.
    counts
        Number of items by what became of them, such as ``{"ok": 7, "refused": 1, "kept": 4}``.
    note
        Which part of the work this is, where it has parts: the name of the file that is downloaded.
    """

    done: int
    total: int | None
    unit: str
    bytes: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


OnProgress = Callable[[Progress], None]


class Meter:
    """Counts finished items and reports each; reports the start when it is made.

    `counts` are items of an earlier run, by what became of them; the other parameters are those of :class:`Progress`.
    """

    def __init__(
        self, on_progress: OnProgress | None, total: int, unit: str, counts: Mapping[str, int] | None = None
    ) -> None:
        self._on_progress = on_progress
        self._total = total
        self._unit = unit
        self._counts = Counter(counts or {})
        self._bytes = 0
        self._done = 0
        self._report()

    def add(self, items: int = 1, *, counts: Mapping[str, int] | None = None, bytes: int = 0) -> None:
        """Count finished items, what became of them and their bytes, and report."""
        self._done += items
        self._counts.update(counts or {})
        self._bytes += bytes
        self._report()

    def _report(self) -> None:
        if self._on_progress is not None:
            counts = {name: count for name, count in self._counts.items() if count}
            self._on_progress(Progress(self._done, self._total, self._unit, self._bytes, counts))
