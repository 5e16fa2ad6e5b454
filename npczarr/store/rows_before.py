"""Rows as they were before one of them is changed in place: what a kill leaves half written can be told by no table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from npczarr.model.records import Row
from npczarr.model.schema import ROW_DIGEST
from npczarr.store.location import Location, delete, get, put
from npczarr.store.seal import with_digest

#: Below an array, where no program takes it for a member of a group.
BEFORE_KEY = "status/before.json"


def keep_before(location: Location, before: Mapping[str, Any], after: Row) -> None:
    """Keep what a row holds, scalars alone, until another row is changed or the run has ended.

    Parameters
    ----------
    location
        The store, whose lease this process holds.
    before, after
        The row as it is, with the status that it had before it was pending, and as it is to be.
    """
    values = {name: _plain(value) for name, value in before.items() if np.ndim(value) == 0}
    digests = [str(before[ROW_DIGEST]), str(with_digest(after).values[ROW_DIGEST])]
    content = {"patient": after.patient, "sequence": after.sequence, "digests": digests, "row": values}
    put(location.open(), BEFORE_KEY, json.dumps(content).encode())


def row_before(location: Location, patient: str, sequence: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as it was before a killed run began to change it; as it is, where none did or nobody knows."""
    try:
        kept = json.loads(get(location.open(read_only=True), BEFORE_KEY) or b"null")
        same = (kept["patient"], kept["sequence"]) == (patient, sequence) and str(row[ROW_DIGEST]) in kept["digests"]
        return {**row, **kept["row"]} if same and row["status"] == "pending" else dict(row)
    except (ValueError, KeyError, TypeError):
        return dict(row)


def forget_before(location: Location) -> None:
    """Delete what was kept: every row is as its tables say."""
    delete(location.open(), BEFORE_KEY)


def _plain(value: Any) -> str | int | float:  # noqa: ANN401 - a scalar of NumPy or of Python
    found = np.asarray(value)
    return found.item() if found.dtype.kind in "biuf" else str(value)
