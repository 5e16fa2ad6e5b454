"""Marks of a review in a CSV file, for a store that cannot be written: rows are only ever appended."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from npczarr.model.review import Key, Mark

_NAMED = 10  # lines in a message
_COLUMNS = tuple(field.name for field in fields(Mark))


def append_marks(path: Path, marks: Sequence[Mark]) -> None:
    """Append rows in one write, so that those of two reviewers do not mix; nothing that is there is changed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    there = path.read_bytes() if path.exists() else b""
    if not there:
        writer.writerow(_COLUMNS)
    elif not there.endswith(b"\n"):
        text.write("\n")  # a row that was cut by a crash stays a row of its own, and counts for nothing
    for mark in marks:
        writer.writerow([" ".join(str(getattr(mark, name)).splitlines()) for name in _COLUMNS])
    with path.open("ab", buffering=0) as file:
        file.write(text.getvalue().encode())
        os.fsync(file.fileno())


def read_marks(path: Path) -> tuple[dict[Key, Mark], tuple[str, ...]]:
    """Read the marks of a file; of a scan the last one counts.

    Returns
    -------
    tuple of (dict, tuple of str)
        The marks, and in words which lines are none: those that are cut or damaged count for nothing.
    """
    if not path.is_file():
        return {}, ()
    found, bad = {}, []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines[1:], start=2):
        for row in csv.reader([line]):
            try:
                mark = Mark(**dict(zip(_COLUMNS, row, strict=True)))
            except (ValueError, TypeError):
                bad.append(str(number))
                continue
            found[mark.key] = mark
    where = f"line{'s' if len(bad) > 1 else ''} {', '.join(bad[:_NAMED])}{' …' if len(bad) > _NAMED else ''}"
    problem = f"{path}: {where} cannot be read as a mark, and counts for nothing; correct it, or review that scan again"
    return found, (problem,) if bad else ()
