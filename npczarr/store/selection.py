"""Which patients of a store a selection in words chooses: by the catalog, at any size, else by the tables."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from npczarr.errors import ParameterError, StoreError
from npczarr.model.layout import TABLE_PATIENTS
from npczarr.model.review import DECISIONS, REASONS
from npczarr.model.schema import RESAMPLING, SCAN, STATUSES
from npczarr.model.where import Texts, names_in, select, unknown_column
from npczarr.model.where_texts import remarks_on_texts
from npczarr.store.catalog import open_catalog
from npczarr.store.cohort import open_consolidated
from npczarr.store.columns import arrays_for, columns_of, read_columns
from npczarr.store.hierarchy import array, check_schema, labels, members_below
from npczarr.store.location import Location
from npczarr.store.review import GROUP as REVIEW
from npczarr.store.review import SHOWN as REVIEWED
from npczarr.store.review import review_table
from npczarr.store.storage_errors import translate_damage

CATALOG = "catalog"
STATUS = "status"
_IS_THERE = f"{STATUS} not in ('missing', '')"
_NOT_CARRIED = (
    "{}: holds no review; marks of the store that it was resampled from count here once npczarr resample is run again"
)
#: Words that columns may hold by the format, of which a store need not have all.
_WORDS = {
    STATUS: tuple(STATUSES), "mask_status": tuple(STATUSES), f"{REVIEW}.decision": DECISIONS,
    f"{REVIEW}.reason": tuple(REASONS),
}  # fmt: skip
_RENEW = "any command that writes to the store renews it, such as npczarr validate --seal"


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Patients that were chosen.

    Parameters
    ----------
    patients
        Their numbers, in order.
    by
        ``"catalog"``, or why tables were read instead.
    """

    patients: NDArray[np.int64]
    by: str


def select_patients(location: Location, where: str, sequences: Sequence[str] | None = None) -> Selection:
    """Choose patients of a store; nothing is read but the columns that the selection names.

    Parameters
    ----------
    location
        The store.
    where
        Such as ``"t_stage in ('T3', 'T4') and morphology.volume > 5000"``. What differs between sequences must hold for
        all.
    sequences
        Labels of those that count; by default all of which the store has a scan.

    Raises
    ------
    ParameterError
        If it is no selection, names a column that is not there, or speaks of sequences.
    StoreError
        If it speaks of a review of which marks cannot be read.

    Warns
    -----
    UserWarning
        If the catalog of the store is not of its tables as they are, or a large store has none; if a text that the
        selection names is in no row of its column; if nobody is chosen and a sequence has no value at all of what the
        selection names.
    """
    names = names_in(where)
    if SCAN[1] in names:
        raise ParameterError(
            f"where: {where!r} speaks of {SCAN[1]}, and where chooses patients; select sequences of what is opened, "
            "such as ds.sel(sequence=['T1WI'])"
        )
    root = open_consolidated(location)
    with translate_damage(location.shown):
        check_schema(root.attrs.asdict(), location.shown, root.store)
        known = labels(root, SCAN[1])
        shape = int(array(root, SCAN[0]).shape[0]), len(known)
        wanted = names if sequences else tuple(dict.fromkeys((*names, STATUS)))
        columns, by = _columns(root, location, where, wanted, shape)
    rows = np.broadcast_to(select(where, columns), shape)
    if sequences:
        counted = np.isin(known, list(sequences))
    else:
        there: NDArray[np.bool_] = np.asarray(np.broadcast_to(select(_IS_THERE, columns), shape).any(axis=0))
        counted = there if there.any() else ~there
    chosen = np.flatnonzero(rows[:, counted].all(axis=1))
    for remark in remarks_on_texts(where, columns, _WORDS):
        warnings.warn(f"{location.shown}: {remark}", stacklevel=3)
    if not len(chosen):
        _say_what_nobody_has(location, {name: columns[name] for name in names}, np.asarray(known), counted)
    return Selection(chosen, by)


def _say_what_nobody_has(
    location: Location,
    columns: Mapping[str, NDArray[Any] | Texts],
    sequences: NDArray[Any],
    counted: NDArray[np.bool_],
) -> None:
    for name, values in columns.items():
        if isinstance(values, Texts) or values.dtype.kind != "f":
            continue
        without = sequences[counted & np.isnan(np.broadcast_to(values, (len(values), len(sequences)))).all(axis=0)]
        if len(without):
            warnings.warn(
                f"{location.shown}: nobody is chosen, for no scan of {', '.join(map(str, without))} has a value of "
                f"{name}, and what differs between sequences must hold for all; to choose by one sequence, open the "
                "whole store, compare the values of that sequence, and select with ds.isel(patient=…)",
                stacklevel=4,
            )


def _columns(
    root: zarr.Group, location: Location, where: str, names: Sequence[str], shape: tuple[int, int]
) -> tuple[Mapping[str, NDArray[Any] | Texts], str]:
    """Return the columns of a selection by name, and what they were read from."""
    columns, by, lasting = _from_catalog(root, names, shape)
    rest = [name for name in names if name not in columns]
    if not rest:
        return columns, CATALOG
    found = _from_tables(root, location, rest, shape, where)
    if not lasting or shape[0] > TABLE_PATIENTS:
        warnings.warn(f"{location.shown}: whole tables were read to select patients, for {by}", stacklevel=4)
    return {**columns, **found}, f"tables, for {by}"


def _from_catalog(
    root: zarr.Group, names: Sequence[str], shape: tuple[int, int]
) -> tuple[dict[str, NDArray[Any] | Texts], str, bool]:
    """Return the columns that the catalog holds as they are, why it lacks the rest, and whether that may be."""
    try:
        catalog = open_catalog(root.store)
    except ModuleNotFoundError:
        return {}, "the catalog is read by pyarrow, which is not installed: pip install 'npczarr[catalog]'", True
    if catalog is None:
        return {}, f"the store has no catalog; {_RENEW}", True
    with catalog:
        held = [name for name in names if name in catalog.columns]
        current = catalog.current(root, held) if catalog.shape == shape else []
        columns = catalog.read(current)
    if columns is None:
        return {}, f"the catalog is damaged; {_RENEW}", False
    stale = [name for name in held if name not in current]
    if stale:
        return columns, f"the catalog is not of {', '.join(stale)} as the tables are now; {_RENEW}", False
    return columns, f"the catalog leaves out {', '.join(name for name in names if name not in held)}", True


def _from_tables(
    root: zarr.Group, location: Location, names: Sequence[str], shape: tuple[int, int], where: str
) -> dict[str, NDArray[Any]]:
    reviewed = {f"{REVIEW}.{name}": name for name in REVIEWED}
    members = dict(members_below(root))
    known = columns_of(members)
    for name in names:
        if name not in known and name not in reviewed:
            raise unknown_column(name, [*known, *reviewed], where)
    wanted = {name: known[name] for name in names if name in known}
    columns = read_columns(arrays_for(members, wanted.values()), wanted)
    if any(name in reviewed for name in names):
        marks = review_table(location)
        if marks is not None and marks.attrs["problems"]:
            raise StoreError("; ".join(marks.attrs["problems"]))  # a scan that was excluded would be let through
        if marks is None and RESAMPLING in root.attrs:
            warnings.warn(_NOT_CARRIED.format(location.shown), stacklevel=5)
        nothing = np.full(shape, "", dtype=object)
        columns |= {n: nothing if marks is None else marks[r].values for n, r in reviewed.items() if n in names}
    return {name: np.broadcast_to(found, shape) for name, found in columns.items()}
