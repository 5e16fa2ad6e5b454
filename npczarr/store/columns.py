"""The scalar columns of a store, one value a scan: what a selection in words can speak of, and where it stands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from npczarr.errors import StoreError
from npczarr.model.schema import SCAN
from npczarr.store.hierarchy import ZarrArray, dims_of, read_tables
from npczarr.store.results import INPUT_DIGEST, INPUTS, RESULTS, input_digests

#: Dimensions of which each entry is a column of its own.
_SPREAD = ("axis", "rater", "pair", "label")
#: Reads arrays, by path.
Read = Callable[[Mapping[str, ZarrArray]], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Column:
    """One value a patient or a scan.

    Parameters
    ----------
    path
        Path of the array that holds it.
    entry
        Index along those dimensions of the array that are neither patient nor sequence.
    """

    path: str
    entry: tuple[int, ...] = ()

    @property
    def group(self) -> str:
        """Path of the result that it belongs to; "" in the store's own tables."""
        return self.path.rpartition("/")[0]

    @property
    def sources(self) -> tuple[str, ...]:
        """Every array on which its values depend: those of a result hold for what was measured alone."""
        return (self.path, f"{self.group}/{INPUT_DIGEST}", *INPUTS) if self.group else (self.path,)


def columns_of(members: Mapping[str, Any]) -> dict[str, Column]:
    """List the scalar columns of a store, given its members by path, by the names that selections use.

    A column of a result is ``morphology.volume`` or ``score.<name>.dice``; an entry of one that has several is
    ``spacing_z``, ``morphology.volume.<label>``. What is no letter or digit of such a name is an underscore. A name
    that would stand for two columns stands for the array of just that name, else for none. What reviewers decided is
    not among them.
    """
    arrays: dict[str, dict[str, ZarrArray]] = {}
    for path, one in members.items():
        if not isinstance(one, zarr.Group):
            group, _, name = path.rpartition("/")
            arrays.setdefault(group, {})[name] = one
    found = list(_spread("", _scalars(arrays.get("", {}), ("axis",)), {"axis": ("z", "y", "x")}))
    for group, held in arrays.items():
        if group.partition("/")[0] in RESULTS and INPUT_DIGEST in held:
            own = {name: one for name, one in held.items() if name not in SCAN}
            entries = {name: _labels(one) for name, one in own.items() if dims_of(one) == (name,)}
            found += _spread(f"{group}/", _scalars(own, _SPREAD), entries)
    times = Counter(name for name, _ in found)
    return {name: column for name, column in found if times[name] == 1 or column == Column(name)}


def arrays_for(members: Mapping[str, Any], columns: Iterable[Column]) -> dict[str, ZarrArray]:
    """Choose every array on which the values of columns depend, by path.

    Raises
    ------
    StoreError
        If the store lacks one.
    """
    paths = list(dict.fromkeys(path for column in columns for path in column.sources))
    absent = [path for path in paths if path not in members]
    if absent:
        store = next(iter(members.values())).store
        raise StoreError(f"{store}: no {', '.join(absent)} in it; convert into a new store")
    return {path: members[path] for path in paths}


def read_columns(
    arrays: Mapping[str, ZarrArray], columns: Mapping[str, Column], read: Read = read_tables
) -> dict[str, NDArray[Any]]:
    """Read columns from their arrays, by name; each (patients, sequences), or (patients, 1).

    Numbers of a result are NaN, and its texts empty, for a scan that changed after it was measured.
    """
    if not columns:
        return {}
    needed = {path: arrays[path] for column in columns.values() for path in column.sources}
    tables = {path: _decoded(arrays[path], values) for path, values in read(needed).items()}
    measured = {group: _as_measured(group, tables) for group in {column.group for column in columns.values()} if group}
    return {name: _values(tables[column.path], column, measured) for name, column in columns.items()}


def _scalars(arrays: Mapping[str, ZarrArray], spread: Sequence[str]) -> Iterator[tuple[str, ZarrArray]]:
    """Choose the arrays with one value a patient or a scan, or with one for each entry of some other dimensions."""
    for name, found in arrays.items():
        dims = dims_of(found)
        ours = tuple(dim for dim in dims if dim in SCAN)
        scalar = ours in (SCAN[:1], SCAN) and dims[: len(ours)] == ours and set(dims) <= {*SCAN, *spread}
        if scalar and name != INPUT_DIGEST:
            yield name, found


def _spread(
    prefix: str, arrays: Iterable[tuple[str, Any]], labels: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, Column]]:
    """Give the columns of arrays: one, or one for each entry."""
    for name, found in arrays:
        dims = [(dim, n) for dim, n in zip(dims_of(found), found.shape, strict=True) if dim not in SCAN]
        for entry in product(*(range(n) for _, n in dims)):
            words = [labels[dim][i] if dim in labels else str(i) for (dim, _), i in zip(dims, entry, strict=True)]
            join = "_" if not prefix else "."
            yield _spoken(prefix + join.join([name, *words])), Column(prefix + name, entry)


def _spoken(name: str) -> str:
    """Write a name so that a selection can hold it."""
    return re.sub(r"[^\w.]", "_", name.replace("/", "."))


def _labels(found: Any) -> list[str]:  # noqa: ANN401 - a zarr array
    return [str(label) for label in found[...]]


def _decoded(found: ZarrArray, values: NDArray[Any]) -> xr.Variable:
    """Apply what attributes say of values, as xarray does when it opens a store."""
    variable = xr.Variable(dims_of(found), values, found.attrs.asdict())
    return xr.decode_cf(xr.Dataset({"values": variable})).variables["values"]


def _as_measured(group: str, tables: Mapping[str, xr.Variable]) -> NDArray[np.bool_]:
    """Say which scans are as they were when they were measured."""
    digests = input_digests({name: tables[name].values for name in INPUTS})
    measured = np.asarray(tables[f"{group}/{INPUT_DIGEST}"].values, dtype=object)
    same: NDArray[np.bool_] = np.asarray(digests, dtype=object) == measured
    return same


def _values(table: xr.Variable, column: Column, measured: Mapping[str, NDArray[np.bool_]]) -> NDArray[Any]:
    entry: Any = (..., *column.entry)
    values: NDArray[Any] = np.asarray(table.values)[entry]
    if SCAN[1] not in table.dims:
        values = values[:, np.newaxis]
    if values.dtype.kind not in "biuf":  # text is compared as Python compares it
        texts = values.astype(object).astype(str).astype(object)
        return np.where(measured[column.group], texts, "") if column.group else texts
    if column.group:
        return np.where(measured[column.group], values.astype(float), np.nan)
    return values
