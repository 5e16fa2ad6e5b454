"""Review in the page: which patients are to be seen, and the marks that come from there."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from npczarr.errors import ParameterError
from npczarr.model.options import redacted
from npczarr.model.review import REASONS, Mark
from npczarr.store.review import Review
from npczarr.store.review_latest import version_of

_LARGEST = 20_000  # bytes of a request


@dataclass(frozen=True, slots=True)
class ReviewDesk:
    """What the page of one reviewer needs.

    Parameters
    ----------
    review
        The marks of the store.
    reviewer
        Name that each mark is given; "" for none.
    sample
        Patients to be reviewed; all where it is empty.
    """

    review: Review
    reviewer: str = ""
    sample: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """Return the marks that hold and what cannot be read, whom to review, and the reasons; valid JSON."""
        found = self.review.read()
        return {
            "marks": [_shown(mark) for mark in found.marks.values()],
            "problems": [redacted(problem) for problem in (*found.problems, *self._elsewhere())],
            "sample": list(self.sample),
            "reasons": list(REASONS),
        }

    def keep(self, body: bytes) -> dict[str, Any]:
        """Keep the marks of a request, which are there when this returns.

        Raises
        ------
        ParameterError
            If the request is not one of the page's.
        ChangedScanError
            If a scan or its mark is another than the one that the page was drawn from.
        """
        rows = _parsed(body)
        marks = [Mark(**{name: row[name] for name in _SENT}, reviewer=self.reviewer) for row in rows]
        before = {mark.key: row["before"] for mark, row in zip(marks, rows, strict=True)}
        where, kept = self.review.keep_unless_marked(marks, before)
        in_file = where == "csv"
        return {
            "where": where,
            "file": str(self.review.csv_file) if in_file else "",
            "counts": self._counts() if in_file else "",
            "versions": [version_of(mark) for mark in kept],
        }

    def _counts(self) -> str:
        """Say where marks of the CSV file count."""
        used = self.review.usual_file
        if self.review.csv_file.resolve() == used.resolve():
            return "it counts for commands in that folder"
        return f"it counts only where --review-csv names this file: tables, where= and the report read {used}"

    def _elsewhere(self) -> tuple[str, ...]:
        """Say that marks of a file that was named count nowhere else, once there are some."""
        file = self.review.csv_file
        if not file.exists() or file.resolve() == self.review.usual_file.resolve():
            return ()
        return (f"Marks in {file}: {self._counts()}",)


def draw_sample(patients: Sequence[str], count: int | None, seed: int) -> tuple[str, ...]:
    """Draw patients at random, in the store's order; the same seed draws the same. None: nobody is drawn."""
    if count is None:
        return ()
    if count < 1:
        raise ParameterError(f"a sample has at least one patient, got {count}")
    drawn = set(random.Random(seed).sample(sorted(patients), min(count, len(patients))))
    return tuple(patient for patient in patients if patient in drawn)


_SENT = ("patient", "sequence", "decision", "reason", "note", "input_digest")
_FIELDS = {*_SENT, "before"}  # the version of the mark that the page shows


def _parsed(body: bytes) -> list[dict[str, str]]:
    try:
        found = json.loads(body) if len(body) <= _LARGEST else None
    except (ValueError, RecursionError):
        found = None
    rows = found if isinstance(found, list) else []
    if not rows or not all(isinstance(row, dict) and set(row) == _FIELDS for row in rows):
        raise ParameterError(f"expected a list of marks, each with {', '.join(sorted(_FIELDS))}")
    if not all(isinstance(value, str) for row in rows for value in row.values()):
        raise ParameterError("expected text in every field of a mark")
    if not all(row["input_digest"] for row in rows):
        raise ParameterError("expected in every mark the input_digest of the scan that was looked at")
    return rows


def _shown(mark: Mark) -> dict[str, str]:
    return {name: getattr(mark, name) for name in _SENT} | {"version": version_of(mark)}
