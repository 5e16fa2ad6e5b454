"""The tables of a store as xarray variables: everything but the voxels."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import xarray as xr
import zarr
from xarray.backends import BackendArray
from xarray.core import indexing

from npczarr.errors import MissingStoreError, NpczarrError, StoreError
from npczarr.model.derived import advice_for, command_of, is_derived
from npczarr.model.schema import COORDINATES
from npczarr.store.hierarchy import Chosen
from npczarr.store.location import Location, absence_reason
from npczarr.store.storage_errors import first_line, translate_errors
from npczarr.store.table_chunks import read_ours
from npczarr.store.whole import WholeArrays, is_written_whole

_AT_ONCE = 32  # requests in flight
_OF_DAMAGE = (AttributeError, TypeError, ValueError, LookupError, RuntimeError)  # as codecs and metadata name it
#: Reads tables by their names, as they are stored.
Reader = Callable[[Sequence[str]], Mapping[str, Any]]


def open_stored(
    location: Location, group: str | None, patients: Chosen | None = None
) -> tuple[xr.Dataset, WholeArrays]:
    """Open a store or a group of it as it is stored, nothing decoded; `patients` are those that are chosen.

    Returns
    -------
    tuple
        What is stored, and that from which its tables are read.
    """
    store = location.open(read_only=True)
    tables = WholeArrays(store)
    with translate_errors(store, "open it"), warnings.catch_warnings():
        # between two steps of a writer there may be none; the arrays' own metadata are read instead
        warnings.filterwarnings("ignore", "Failed to open Zarr store with consolidated metadata", RuntimeWarning)
        try:
            dataset: xr.Dataset = xr.open_zarr(
                tables, group=group, chunks=None, zarr_format=3, decode_cf=False, create_default_indexes=False
            )
        except FileNotFoundError as error:
            raise _missing(location, group) from error
        except (ValueError, KeyError, TypeError) as error:
            # zarr raises a KeyError for a group that is not in the consolidated metadata, or where there are none
            unlisted = "not found in consolidated metadata" in str(error) or error.args == (group,)
            if group is not None and unlisted:
                raise _missing(location, group) from error
            raise StoreError(
                f"{location.shown}: cannot be read as a Zarr v3 store ({first_line(error)}); check the path"
            ) from error
    if group is None:
        tables.whole = is_written_whole(dataset.attrs)
    else:  # xarray, where it copies a result, names a fill value
        tables.whole = not any("_FillValue" in variable.attrs for variable in dataset.variables.values())
    if patients is not None:
        dataset = dataset.isel(patient=patients)
    with translate_errors(store, "read its labels"):
        dataset = dataset.assign_coords({name: dataset.variables[name].load() for name in _labels_in(dataset)})
    return dataset, tables


@contextmanager
def translate_group_damage(location: Location, group: str | None) -> Iterator[None]:
    """Say of a group of a store that is damaged what it is and what makes it whole.

    Raises
    ------
    StoreError
        In place of an error that tells of damage; what a store or a network refuses passes.
    """
    try:
        yield
    except Exception as error:
        cause = error.__cause__ if isinstance(error, NpczarrError) else error
        if group is None or not isinstance(cause, _OF_DAMAGE) or isinstance(error, MissingStoreError):
            raise
        raise StoreError(
            f"{location.shown}: {group} is damaged ({type(cause).__name__}: {first_line(cause)}); "
            f"{advice_for(f'{group}/')}"
        ) from error


def _labels_in(dataset: xr.Dataset) -> list[str]:
    """Names of the variables that label a dimension."""
    return [str(name) for name, variable in dataset.variables.items() if variable.dims == (name,)]


def _missing(location: Location, group: str | None) -> MissingStoreError:
    if group is not None and is_derived(group):
        advice = f"check its name, or make it, also where it was half written, with `{command_of(group)}`"
        return MissingStoreError(f"{location.shown}: no result {group!r} here; {advice}")
    if group is not None:
        return MissingStoreError(f"{location.shown}: no group {group!r} here; check its name")
    return MissingStoreError(f"{location.shown}: {absence_reason(location.open(read_only=True))}")


def tables_of(
    stored: xr.Dataset,
    store: WholeArrays,
    location: Location,
    group: str | None,
    patients: Chosen | None = None,
    *,
    lazy: bool,
) -> tuple[xr.Dataset, Reader]:
    """Decode tables, in memory or read when a value is first wanted.

    Parameters
    ----------
    stored, store, location, group, patients
        What :func:`open_stored` gave, and was given.
    lazy
        Whether values are read when they are first wanted.

    Returns
    -------
    tuple
        The tables, and what reads them by name as they are stored, each once for both.
    """
    if not lazy:
        loaded = (_with_ours(stored, store, group) if patients is None else stored).load()
        return xr.decode_cf(loaded), lambda names: {name: loaded[name].values for name in names}
    names = [str(name) for name in stored.variables if name not in stored.indexes]
    coordinates = tuple(name for name in names if name in COORDINATES)
    others = tuple(name for name in names if name not in coordinates)
    tables = LazyTables(location, group, patients, (coordinates, others), stored)
    decoded = xr.decode_cf(stored.assign({name: _variable(tables, name, stored.variables[name]) for name in names}))
    for name in names:
        variable = decoded.variables[name]
        # what xarray itself does with variables that it opens: decoded once, and safe to write into
        variable.data = indexing.MemoryCachedArray(indexing.CopyOnWriteArray(variable._data))
    return decoded, tables.read


def _with_ours(stored: xr.Dataset, store: WholeArrays, group: str | None) -> xr.Dataset:
    """Return what is stored with those tables in memory that are whole and as npczarr encodes them."""
    root = zarr.open_group(store, path=group or "", mode="r", zarr_format=3)
    ours = read_ours({str(name): root[str(name)] for name in stored.variables if name not in stored.indexes})
    return stored.assign({name: stored.variables[name].copy(data=values) for name, values in ours.items()})


def _variable(tables: LazyTables, name: str, stored: xr.Variable) -> xr.Variable:
    array = indexing.LazilyIndexedArray(_Table(tables, name, stored))
    return xr.Variable(stored.dims, array, stored.attrs, stored.encoding)


class LazyTables:
    """The tables of a remote or a large store; to read them one by one would cost a round trip each.

    Parameters
    ----------
    location, group, patients
        The store, the group in it, and the numbers of the patients who are chosen, if not all are.
    sets
        Names that are read together: whoever looks at one coordinate looks at all, and seldom at the rest.
    stored
        The opened store; None in a process to which it was sent, until it is opened there.
    """

    def __init__(
        self,
        location: Location,
        group: str | None,
        patients: Chosen | None,
        sets: tuple[tuple[str, ...], ...],
        stored: xr.Dataset | None,
    ) -> None:
        self._origin = location, group, patients, sets
        self._stored = stored
        self._loaded: set[str] = set()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return LazyTables, (*self._origin, None)  # no connections, which may hold credentials

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - an array of any type
        together = next(names for names in self._origin[3] if name in names)
        return self.read(together)[name]

    def read(self, names: Sequence[str]) -> dict[str, Any]:
        """Return tables as they are stored, those that were not read yet all at once."""
        location, group, patients, _ = self._origin
        with self._lock:
            if self._stored is None:
                self._stored, _ = open_stored(location, group, patients)
            variables = self._stored.variables
            wanted = [name for name in names if name not in self._loaded]
            if wanted:
                store = location.open(read_only=True)
                reading = translate_errors(store, "read the tables")
                with translate_group_damage(location, group), reading, ThreadPoolExecutor(_AT_ONCE) as pool:
                    list(pool.map(lambda name: variables[name].load(), wanted))
                self._loaded.update(wanted)
            return {name: variables[name].values for name in names}


class _Table(BackendArray):
    """One of the tables, as xarray indexes it."""

    def __init__(self, tables: LazyTables, name: str, stored: xr.Variable) -> None:
        self._tables = tables
        self._name = name
        self.shape = stored.shape
        self.dtype = stored.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # noqa: ANN401 - as xarray types it
        support = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, support, lambda k: self._tables[self._name][k])
