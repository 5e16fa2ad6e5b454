"""Rows as they were before they are changed in place: what a kill leaves half written can be told by no table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from npczarr.model.records import Row
from npczarr.model.schema import ROW_DIGEST
from npczarr.store.location import Location, delete, get, put
from npczarr.store.seal import status_before, with_digest

#: Below an array, where no program takes it for a member of a group.
BEFORE_KEY = "status/before.json"
Key = tuple[str, str]


class RowsBefore:
    """Scalars of those rows of a store that a run is changing, or that a killed run has left in between.

    Parameters
    ----------
    location
        The store, whose lease this process holds.
    tables
        Its tables of scans, by name: `status` and `row_digest` say which rows a killed run has left in between, and
        which it has changed.

    Attributes
    ----------
    changed
        Rows that were changed, by this run or a killed one, since :meth:`forget` was last called.
    """

    def __init__(self, location: Location, tables: Mapping[str, Mapping[Key, Any]]) -> None:
        self._location = location
        self._kept, self.changed = _read(location)
        for key in [key for key in self._kept if tables["status"].get(key) != "pending"]:
            _, after = self._kept.pop(key)["digests"]
            self.changed += str(tables[ROW_DIGEST].get(key, "")) == after

    def row(self, key: Key, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row as it was before it was marked pending, also where a killed run has changed it in part.

        A row that is whole, by its own digest, is what it says, whatever was kept of it: another run may have marked it
        since.
        """
        status = status_before(*key, row)
        kept = self._kept.get(key)
        if kept is None or status != "pending" or str(row[ROW_DIGEST]) not in kept["digests"]:
            return {**row, "status": status}
        return {**row, **kept["row"]}

    def keep(self, before: Mapping[str, Any], after: Row) -> None:
        """Keep what a row holds until :meth:`done`; `before` has the status that it had before it was pending."""
        values = {name: _plain(value) for name, value in before.items() if np.ndim(value) == 0}
        digests = [str(before[ROW_DIGEST]), str(with_digest(after).values[ROW_DIGEST])]
        self._kept[after.patient, after.sequence] = {"digests": digests, "row": values}
        self._write()

    def done(self, key: Key) -> None:
        """Let go of a row whose new content is written."""
        self._kept.pop(key, None)
        self.changed += 1
        self._write()

    def forget(self) -> None:
        """Count changes anew, once they are told; where every row is as its tables say, nothing stays in the store."""
        self.changed = 0
        if self._kept:
            self._write()
        else:
            delete(self._location.open(), BEFORE_KEY)

    def _write(self) -> None:
        rows = [{"patient": p, "sequence": s, **kept} for (p, s), kept in self._kept.items()]
        put(self._location.open(), BEFORE_KEY, json.dumps({"changed": self.changed, "rows": rows}).encode())


def _read(location: Location) -> tuple[dict[Key, dict[str, Any]], int]:
    """Read what a killed run has kept, and how many rows it had changed; nothing where that cannot be read."""
    try:
        found = json.loads(get(location.open(read_only=True), BEFORE_KEY) or b'{"changed": 0, "rows": []}')
        kept = {(str(one["patient"]), str(one["sequence"])): _entry(one) for one in found["rows"]}
        return kept, int(found["changed"])
    except (ValueError, KeyError, TypeError):
        return {}, 0


def _entry(one: Mapping[str, Any]) -> dict[str, Any]:
    before, after = one["digests"]
    return {"digests": [before, after], "row": dict(one["row"])}


def _plain(value: Any) -> str | int | float:  # noqa: ANN401 - a scalar of NumPy or of Python
    found = np.asarray(value)
    return found.item() if found.dtype.kind in "biuf" else str(value)
