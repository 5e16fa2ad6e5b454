"""The columns of a source's tables on their way into a store: which are taken, and spread over its patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from npczarr.graphs.stale_columns import stale_columns, tells_who
from npczarr.model.cohort import Cohort
from npczarr.model.division import SPLIT
from npczarr.model.events import EVENTS
from npczarr.model.identifiers import DATE, is_date
from npczarr.model.schema import SCAN
from npczarr.model.visit_order import VISIT_TIME
from npczarr.sources.column_values import are_spreadsheet_days, is_missing
from npczarr.sources.joined_columns import AND, COLUMN, TABLE, Column
from npczarr.sources.tables import Tables
from npczarr.store.hierarchy import array, dtype_of, labels

_MOST = 0.5  # of the entries of a column
_FIRST_DAY, _LAST_DAY = 19000000, 21000000  # as YYYYMMDD


def without_identities(tables: Tables, keep: Collection[str]) -> Tables:
    """Leave out the columns that tell who the patients are by their names, or by the dates in them, and say so.

    Columns by which rows are joined are none of these; a second one of patients may hold the numbers of a hospital.
    """
    kept = frozenset(name.casefold() for name in keep)
    columns, warnings = {}, list(tables.warnings)
    for name, (variable, values) in tables.columns.items():
        column = str(variable.attributes.get(COLUMN, name))
        if COLUMN in variable.attributes and tells_who(name, column, kept):
            warnings.append(
                f"column {column!r}: left out, for it may tell who the patients are; take it with --keep {column!r}"
            )
            continue
        dated = 0 if {name.casefold(), column.casefold()} & kept else _count_dates(column, values)
        if dated > _MOST * (~is_missing(values)).sum() and name != VISIT_TIME:
            warnings.append(f"column {column!r}: left out, for it holds exact dates; take it with --keep {column!r}")
            continue
        if dated:
            warnings.append(_dates_are_kept(name, column, dated))
        columns[name] = variable, values
    return dataclasses.replace(tables, columns=columns, warnings=tuple(warnings), kept=kept)


def _dates_are_kept(name: str, column: str, count: int) -> str:
    why = ", for visits are ordered by their dates" if name == VISIT_TIME else ""
    entries = "1 entry with an exact date is kept" if count == 1 else f"{count} entries with exact dates are kept"
    return f"column {column!r}: {entries}{why}; write --keep {column!r} if that is right"


def _count_dates(column: str, values: NDArray[Any]) -> int:
    """Count the entries of a column that are or hold the day of a year, be they numbers such as 20190304 or 43528."""
    entries = values[~is_missing(values)]
    if are_spreadsheet_days(column, entries):
        return len(entries)
    if values.dtype.kind == "f":
        eight_digits = values[(values > _FIRST_DAY) & (values < _LAST_DAY) & (values == np.floor(values))]
        return sum(DATE.fullmatch(f"{number:.0f}") is not None for number in eight_digits)
    return sum(is_date(text) for text in values.ravel())


def over_store(
    root: zarr.Group, cohort: Cohort, tables: Tables, *, strangers: bool = False
) -> dict[str, Column | None]:
    """Spread a source's columns over all patients of the store; what the store holds of others is kept.

    Columns of earlier tables lose the values of the source's patients where its tables no longer give them, and where
    they may tell who the patients are.

    Parameters
    ----------
    root, cohort
        The store, which has all patients and sequences of the source already.
    tables
        Tables of the source. What becomes of earlier columns is added to their warnings.
    strangers
        Whether the source's patients take the places of other people.

    Returns
    -------
    dict
        Columns to write, whole; None for those to delete.
    """
    patients, sequences = labels(root, "patient"), labels(root, "sequence")
    rows = {label: i for i, label in enumerate(patients)}
    at = [rows[label] for label in cohort.patients], [sequences.index(label) for label in cohort.sequences]
    spread: dict[str, Column | None] = {}
    for name, column in tables.columns.items():
        if name in root and SPLIT in array(root, name).attrs:
            tables.warnings += (
                f"column {name!r}: left out, for the store has a division of the patients of this name; give it "
                "another name, with --columns",
            )
            continue
        found = array(root, name) if name in root else None
        old = None if found is None else found[...]
        if found is not None and old is not None and not strangers:
            column = _with_unused(column, old, str(found.attrs.get(TABLE, "")), at, tables)
        joined = _joined(column, old, at, (len(patients), len(sequences)))
        if found is not None:
            joined = _named_by_both(joined, str(found.attrs.get(COLUMN, "")), _without(found[...], at))
            tables.warnings += _type_change(name, dtype_of(found), joined[0].dtype)
        spread[name] = joined
    stale, remarks = stale_columns(root, cohort, tables, strangers=strangers)
    tables.warnings += remarks
    return spread | stale


def _type_change(name: str, before: str, now: str) -> tuple[str, ...]:
    """Say that a column of numbers becomes text, or the reverse: selections that name it mean something else then."""
    if before == now:
        return ()
    if now == "string":
        return (
            f"column {name!r}: the store had numbers and has text now, for not every entry is a number that can be "
            f"kept as it is written; a selection such as {name} > 5 has to be written otherwise, and what other "
            "sources gave is as the store had it until they are converted again",
        )
    return (
        f"column {name!r}: the store had text and has numbers now; a selection such as {name} == '5' has to be written "
        "otherwise",
    )


def _with_unused(
    column: Column, old: NDArray[Any], before: str, at: tuple[list[int], list[int]], tables: Tables
) -> Column:
    """Keep what the store has of a table that could not be used now, where the other tables say nothing."""
    variable, values = column
    unused = sorted(tables.unused.intersection(before.split(AND)))
    if not unused or (old.dtype.kind in "TO") != (variable.dtype == "string") or old.ndim != values.ndim:
        return column
    held = old[np.ix_(*at[: old.ndim])].astype(values.dtype)
    lost = is_missing(values) & ~is_missing(held)
    if not lost.any():
        return column
    tables.warnings += (
        f"column {variable.name!r}: {lost.sum()} values of {AND.join(unused)} stay as they were, for it could not "
        "be used",
    )
    names = AND.join(dict.fromkeys([*str(variable.attributes[TABLE]).split(AND), *unused]))
    return dataclasses.replace(variable, attributes={**variable.attributes, TABLE: names}), np.where(lost, held, values)


def _named_by_both(column: Column, before: str, others: NDArray[Any]) -> Column:
    """Name an endpoint by the columns of all its sources: what 1 means depends on every one of the names."""
    variable, values = column
    if variable.name not in EVENTS or not before or is_missing(others).all():
        return column
    names = sorted({*before.split(AND), *str(variable.attributes[COLUMN]).split(AND)})
    return dataclasses.replace(variable, attributes={**variable.attributes, COLUMN: AND.join(names)}), values


def _joined(
    column: Column, old: NDArray[Any] | None, at: tuple[list[int], list[int]], sizes: tuple[int, int]
) -> Column:
    """Put the values of some patients, and of some of their sequences, among those that the store has of others."""
    variable, values = column
    if values.ndim == 1:
        at = at[0], list(range(sizes[1]))
    others = None if old is None else _without(old, at)
    if others is None or is_missing(others).all():
        text = variable.dtype == "string"
        others = np.full(sizes[: values.ndim], "" if text else np.nan, dtype=object if text else np.float64)
    elif "O" in (values.dtype.kind, others.dtype.kind):
        variable, values, others = dataclasses.replace(variable, dtype="string"), _as_text(values), _as_text(others)
    if others.ndim != values.ndim:  # what is said of a patient is said of each scan
        variable = dataclasses.replace(variable, dims=SCAN)
        values, others = _of_scans(values, len(at[1])), _of_scans(others, sizes[1])
    others[np.ix_(*at[: values.ndim])] = values
    return variable, others


def _without(old: NDArray[Any], at: tuple[list[int], list[int]]) -> NDArray[Any]:
    """Return the values of the others."""
    text = old.dtype.kind == "T"
    others = old.astype(object) if text else old.copy()
    others[np.ix_(*at[: old.ndim])] = "" if text else np.nan
    return others


def _of_scans(values: NDArray[Any], sequences: int) -> NDArray[Any]:
    return values if values.ndim == len(SCAN) else np.repeat(values[:, np.newaxis], sequences, axis=1)


def _as_text(values: NDArray[Any]) -> NDArray[Any]:
    """Write numbers as text, with every digit that they have."""
    if values.dtype.kind == "O":
        return values
    texts = ["" if np.isnan(value) else repr(float(value)).removesuffix(".0") for value in values.ravel()]
    return np.array(texts, dtype=object).reshape(values.shape)
