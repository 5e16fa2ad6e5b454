"""The rows of scans in the tables. One process writes them, and a scan counts only once its row says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from npczarr.model.records import Row
from npczarr.model.schema import SCAN_TABLES, Variable
from npczarr.store.hierarchy import array, labels
from npczarr.store.lease import Lease
from npczarr.store.seal import with_digest
from npczarr.store.table_chunks import read_rows, write_rows
from npczarr.store.watch import begin_epoch

Key = tuple[str, str]


class Rows:
    """Reads and writes rows of scans, by label.

    Parameters
    ----------
    root
        The store.
    lease
        The right to write, checked before each write; None for rows that are only read.
    """

    def __init__(self, root: zarr.Group, lease: Lease | None = None) -> None:
        self._root = root
        self._writing = nullcontext if lease is None else lease.writing
        self.patients = {label: i for i, label in enumerate(labels(root, "patient"))}
        self.sequences = {label: i for i, label in enumerate(labels(root, "sequence"))}

    def place(self, key: Key) -> tuple[int, int]:
        """Return the index of patient and sequence."""
        return self.patients[key[0]], self.sequences[key[1]]

    def read(self, name: str) -> dict[Key, Any]:
        """Values of one table by (patient, sequence)."""
        values = read_rows({name: array(self._root, name)})[name]
        return {(p, s): values[i, j] for p, i in self.patients.items() for s, j in self.sequences.items()}

    def mark_pending(self, scans: Sequence[Key]) -> None:
        """Say that these scans are about to change: until their row is written they do not count."""
        if scans:
            self.set_texts({"status": dict.fromkeys(scans, "pending")})
            begin_epoch(self._root.store)

    def set_texts(self, texts: Mapping[str, Mapping[Key, str]]) -> None:
        """Change single entries of text tables, in the given order of tables."""
        for name, entries in texts.items():
            if entries:
                with self._writing():
                    table = array(self._root, name)
                    values = table[...]
                    before = values.copy()
                    for key, text in entries.items():
                        values[self.place(key)] = text
                    if (values != before).any():
                        table[...] = values

    def amend(self, scans: Mapping[Key, Mapping[str, str]]) -> None:
        """Change texts in the rows of stored scans, each with its digest; until that is done they are pending."""
        if not scans:
            return
        tables = read_rows({variable.name: array(self._root, variable.name) for variable in SCAN_TABLES})
        rows = []
        for key, texts in scans.items():
            values = {name: table[self.place(key)] for name, table in tables.items()}
            rows.append(Row(*key, {**values, **texts}))
        self.mark_pending(list(scans))
        self.write(rows)

    def write(self, rows: Sequence[Row]) -> None:
        """Write rows; the status comes last, so that an interruption leaves a scan pending and not half described."""
        if not rows:
            return
        rows = [with_digest(row) for row in rows]
        tables = {variable.name: variable for variable in SCAN_TABLES}
        status = tables.pop("status")
        with self._writing():
            self._write_tables(tables.values(), rows)
        with self._writing():
            begin_epoch(self._root.store)
            self._write_tables([status], rows)

    def _write_tables(self, variables: Iterable[Variable], rows: Sequence[Row]) -> None:
        tables = {variable.name: (variable, array(self._root, variable.name)) for variable in variables}
        places = [self.patients[row.patient] for row in rows]
        # one size, unless another program has encoded the store
        for size in {table.chunks[0] for _, table in tables.values()}:
            alike = {name: table for name, (_, table) in tables.items() if table.chunks[0] == size}
            first, last = min(places) // size * size, (max(places) // size + 1) * size
            blocks = read_rows(alike, slice(first, last))
            for name, block in blocks.items():
                for row, place in zip(rows, places, strict=True):
                    _set_entry(tables[name][0], block, (place - first, self.sequences[row.sequence]), row)
            write_rows(((alike[name], block) for name, block in blocks.items()), first)


def _set_entry(variable: Variable, block: NDArray[Any], at: tuple[int, int], row: Row) -> None:
    """Put what a row says into its place in one table."""
    block[at] = variable.fill
    value = row.values.get(variable.name)
    if isinstance(value, np.ndarray):
        block[at][tuple(slice(0, n) for n in value.shape)] = value
    elif value is not None:
        block[at] = value
