"""What is said of the columns of a clinical table: which hold nothing, and which numbers were taken for none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from npczarr.model.events import read_events
from npczarr.model.messages import first_of
from npczarr.sources.column_values import ColumnValues
from npczarr.sources.joined_columns import COLUMN, Column
from npczarr.sources.table_rows import At, PlacedRows, Row

_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")


def name_empty(names: Sequence[str], rows: Sequence[Row], placed: PlacedRows) -> list[str]:
    """Name the columns that have no entry for anyone of the cohort, though the table has some for others."""
    empty = [name for name in names if _has_entries(name, rows) and not _has_entries(name, placed.rows.values())]
    if not empty:
        return []
    return [f"no patient of this cohort has a value of {len(empty)} of its {len(names)} columns: {first_of(empty)}"]


def _has_entries(name: str, rows: Iterable[Row]) -> bool:
    return any(row.get(name, "").strip() for row in rows)


def name_codes(name: str, values: ColumnValues, entries: Mapping[At, str]) -> list[str]:
    """Name the numbers in a column that were taken for "not known".

    Parameters
    ----------
    name
        Name of the column in its table.
    values
        What was read from it.
    entries
        Text by place.
    """
    codes = [code for code in values.attributes.get("missing_codes", ()) if _NUMBER.fullmatch(code)]
    count = sum(entry in codes for entry in entries.values())
    if not count:
        return []
    entered = "1 entry" if count == 1 else f"{count} entries"
    return [f"{name}: {entered} ({first_of(codes)}) taken for not known, and left empty"]


def name_events(columns: Mapping[str, Column]) -> list[str]:
    """Name the column that may say who has died, where times of survival are known and deaths are not."""
    if "overall_survival" not in columns or "death" in columns:
        return []
    for variable, values in columns.values():
        entries = {str(entry).strip() for entry in values.ravel()} if variable.dtype == "string" else set()
        events = read_events("death", sorted(entries), "status")  # in which a mere "yes" says nothing
        if not events.problem and {True, False} <= {*events.observed} and not any(map(_NUMBER.fullmatch, entries)):
            column = str(variable.attributes[COLUMN])
            return [
                f"no column is known to say who has died, so there is no survival; if {column!r} does ("
                f"{first_of(sorted(entries - {''}))}), say so in a TOML file: [columns] {column!r} = 'death'"
            ]
    return []
