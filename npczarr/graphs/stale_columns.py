"""Columns that a store has of earlier tables, and what becomes of them when the tables of a source are read again."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from npczarr.model.cohort import Cohort
from npczarr.model.division import SPLIT
from npczarr.model.identifiers import identifies_beside_labels
from npczarr.model.schema import STORED, Variable
from npczarr.sources.column_values import is_missing
from npczarr.sources.joined_columns import AND, COLUMN, TABLE
from npczarr.sources.tables import Tables
from npczarr.store.hierarchy import ZarrArray, arrays_of, dims_of, dtype_of, labels, read_tables
from npczarr.store.rows import Rows

Column = tuple[Variable, NDArray[Any]]
_ADDED_BY_XARRAY = ("_FillValue", "coordinates")  # attributes on its copies
_NOT_GIVEN = "that the source's tables do not give"
_TELLING = "that may tell who the patients are"
_LACKING = (
    "stay as they were, for the source lacks scans of their patients that the store holds, so that they may be of "
    "another source; to be rid of them convert into a new store"
)


def stale_columns(
    root: zarr.Group, cohort: Cohort, tables: Tables, *, strangers: bool
) -> tuple[dict[str, Column | None], tuple[str, ...]]:
    """Take the values of a source's patients out of columns that its tables no longer give.

    They stay where the source has no table, or could not use that of the column, or lacks scans of the patient that
    the store holds: they may be of another source then. Those that may tell who the patients are go in any case,
    unless they are to be kept.

    Parameters
    ----------
    root, cohort, tables, strangers
        As of :func:`npczarr.graphs.source_columns.over_store`.

    Returns
    -------
    tuple
        The columns that change, None for those of which nobody has a value any more; and what was done, in words.
    """
    arrays = {name: found for name, found in arrays_of(root) if name not in tables.columns and _is_of_table(found)}
    if not arrays:
        return {}, ()
    patients = np.array(labels(root, "patient"), dtype=object)
    mine = np.isin(patients, cohort.patients)
    whole = mine & ~np.isin(patients, _with_other_scans(root, cohort))
    changed: dict[str, Column | None] = {}
    remarks: dict[str, list[str]] = {}
    for name, values in read_tables(arrays).items():
        held = ~is_missing(values).reshape(len(values), -1).all(axis=1)
        what, stay = _why(name, arrays[name], tables, strangers=strangers)
        gone = (mine if strangers or what == _TELLING else whole) & (not stay)
        if (gone & held).any() or (gone.all() and not held.any()):
            rest = (held & ~gone).any()
            changed[name] = _without(name, arrays[name], values, gone) if rest else None
            whose = "lost the values of the source's patients, not those of others" if rest else "were taken out"
            remarks.setdefault(f"columns {what} {whose}", []).append(name)
        if (mine & held & ~gone).any():
            remarks.setdefault(f"columns {what} {stay or _LACKING}", []).append(name)
    return changed, tuple(f"{remark}: {', '.join(names)}" for remark, names in remarks.items())


def tells_who(name: str, column: str, kept: Collection[str]) -> bool:
    """Whether a column's name says that it tells who the patients are, and nobody asked to keep it.

    Parameters
    ----------
    name, column
        In the store, and in its table.
    kept
        Columns to keep, by either name in lower case.
    """
    return identifies_beside_labels(column) and not {name.casefold(), column.casefold()} & {*kept}


def _is_of_table(found: ZarrArray) -> bool:
    return TABLE in found.attrs and SPLIT not in found.attrs and found.dtype.kind in "fTO"


def _with_other_scans(root: zarr.Group, cohort: Cohort) -> list[str]:
    """List the patients of whom the store holds a scan that the source has not."""
    there = {key for key, files in cohort.scans.items() if files.images or files.raters}
    status = Rows(root).read("status")
    return sorted({key[0] for key, said in status.items() if said in STORED and key not in there})


def _why(name: str, found: ZarrArray, tables: Tables, *, strangers: bool) -> tuple[str, str]:
    """Say which columns this is one of, and why the values of the source's patients stay in it; "" where they go."""
    table = str(found.attrs[TABLE])
    if tells_who(name, str(found.attrs.get(COLUMN, name)), tables.kept):
        return _TELLING, ""
    if strangers:
        return "of the patients who were replaced", ""
    if unused := sorted(tables.unused.intersection(table.split(AND))):
        return f"of {AND.join(unused)}", "stay as they were, for it could not be used"
    if not tables.used:
        return "of earlier tables", "stay as they were, for the source has no table"
    return _NOT_GIVEN, ""


def _without(name: str, found: ZarrArray, values: NDArray[Any], gone: NDArray[np.bool_]) -> Column:
    """Return a column without the values of some patients."""
    attributes = {key: value for key, value in found.attrs.asdict().items() if key not in _ADDED_BY_XARRAY}
    description, units = attributes.pop("long_name", name), attributes.pop("units", None)
    variable = Variable(name, dims_of(found), dtype_of(found), description, units, attributes)
    left = values.copy()
    left[gone] = variable.fill
    return variable, left
