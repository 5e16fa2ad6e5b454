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
            "problems": [redacted(problem) for problem in found.problems],
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
            If a scan is another than the one that the page was drawn from.
        """
        marks = [Mark(**found, reviewer=self.reviewer) for found in _parsed(body)]
        where = self.review.keep(marks)
        return {"where": where, "file": str(self.review.csv_file) if where == "csv" else ""}


def draw_sample(patients: Sequence[str], count: int | None, seed: int) -> tuple[str, ...]:
    """Draw patients at random, in the store's order; the same seed draws the same. None: nobody is drawn."""
    if count is None:
        return ()
    if count < 1:
        raise ParameterError(f"a sample has at least one patient, got {count}")
    drawn = set(random.Random(seed).sample(sorted(patients), min(count, len(patients))))
    return tuple(patient for patient in patients if patient in drawn)


_FIELDS = {"patient", "sequence", "decision", "reason", "note", "input_digest"}


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
    return {name: getattr(mark, name) for name in sorted(_FIELDS)}
