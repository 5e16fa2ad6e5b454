"""Rows as they were before they are changed in place: what a kill leaves half written can be told by no table."""

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
Key = tuple[str, str]


class RowsBefore:
    """Scalars of those rows of a store that a run is changing, or that a killed run has left in between.

    Parameters
    ----------
    location
        The store, whose lease this process holds.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._kept = _read(location)

    def row(self, key: Key, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row as it was before a killed run began to change it; else as it is."""
        kept = self._kept.get(key)
        if kept is None or row["status"] != "pending" or str(row[ROW_DIGEST]) not in kept["digests"]:
            return dict(row)
        return {**row, **kept["row"]}

    def keep(self, before: Mapping[str, Any], after: Row) -> None:
        """Keep what a row holds until :meth:`done`; `before` has the status that it had before it was pending."""
        values = {name: _plain(value) for name, value in before.items() if np.ndim(value) == 0}
        digests = [str(before[ROW_DIGEST]), str(with_digest(after).values[ROW_DIGEST])]
        self._kept[after.patient, after.sequence] = {"digests": digests, "row": values}
        content = [{"patient": p, "sequence": s, **kept} for (p, s), kept in self._kept.items()]
        put(self._location.open(), BEFORE_KEY, json.dumps(content).encode())

    def done(self, key: Key) -> None:
        """Let go of a row whose new content is written; the next :meth:`keep` or :meth:`forget` drops it."""
        self._kept.pop(key, None)

    def forget(self) -> None:
        """Delete what was kept, if every row is as its tables say."""
        if not self._kept:
            delete(self._location.open(), BEFORE_KEY)


def _read(location: Location) -> dict[Key, dict[str, Any]]:
    """Read what a killed run has kept; nothing where that is not what this module writes."""
    try:
        found = json.loads(get(location.open(read_only=True), BEFORE_KEY) or b"[]")
        return {
            (str(one["patient"]), str(one["sequence"])): {"digests": list(one["digests"]), "row": dict(one["row"])}
            for one in found
        }
    except (ValueError, KeyError, TypeError):
        return {}


def _plain(value: Any) -> str | int | float:  # noqa: ANN401 - a scalar of NumPy or of Python
    found = np.asarray(value)
    return found.item() if found.dtype.kind in "biuf" else str(value)
