"""The tables of a store as xarray variables: everything but the voxels."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from npczarr.errors import MissingStoreError, StoreError
from npczarr.model.schema import COORDINATES
from npczarr.store.location import Location, get
from npczarr.store.storage_errors import first_line, translate_errors
from npczarr.store.whole import WholeTables, is_written_whole

_AT_ONCE = 32  # requests in flight
#: Reads tables by their names, as they are stored.
Reader = Callable[[Sequence[str]], Mapping[str, Any]]


def open_stored(location: Location, group: str | None) -> xr.Dataset:
    """Open a store or a group of it as it is stored, nothing decoded."""
    store = location.open(read_only=True)
    tables = WholeTables(store)
    with translate_errors(store, "open it"), warnings.catch_warnings():
        # between two steps of a writer there may be none; the arrays' own metadata are read instead
        warnings.filterwarnings("ignore", "Failed to open Zarr store with consolidated metadata", RuntimeWarning)
        try:
            dataset: xr.Dataset = xr.open_zarr(tables, group=group, chunks=None, zarr_format=3, decode_cf=False)
        except FileNotFoundError as error:
            raise _missing(location, group) from error
        except (ValueError, KeyError, TypeError) as error:
            # zarr raises a KeyError for a group that is not listed in the consolidated metadata
            if group is not None and "not found in consolidated metadata" in str(error):
                raise _missing(location, group) from error
            raise StoreError(
                f"{location.shown}: cannot be read as a Zarr v3 store ({first_line(error)}); check the path"
            ) from error
    if group is None:
        tables.whole = is_written_whole(dataset.attrs)
        _check_labels(tables, dataset)
    else:  # xarray, where it copies a result, names a fill value
        tables.whole = not any("_FillValue" in variable.attrs for variable in dataset.variables.values())
    return dataset


def _missing(location: Location, group: str | None) -> MissingStoreError:
    what, maker = ("store", "convert") if group is None else (f"group {group!r}", group.partition("/")[0])
    return MissingStoreError(f"{location.shown}: no {what} here; check the path, or make one with npczarr {maker}")


def _check_labels(tables: WholeTables, dataset: xr.Dataset) -> None:
    """Look again for labels that are empty: xarray has read them before it is known whether chunks may be absent."""
    for name, index in dataset.indexes.items():
        if "" in index:
            for i in range(-(-len(index) // int(dataset[name].encoding["chunks"][0]))):
                get(tables, f"{name}/c/{i}")


def tables_of(stored: xr.Dataset, location: Location, group: str | None) -> tuple[xr.Dataset, Reader]:
    """Decode tables: of a local store in memory, of a remote one read when a value is first wanted.

    Returns
    -------
    tuple
        The tables, and what reads them by name as they are stored, each once for both.
    """
    if not location.is_remote:
        loaded = stored.load()
        return xr.decode_cf(loaded), lambda names: {name: loaded[name].values for name in names}
    lazy = [str(name) for name in stored.variables if name not in stored.indexes]
    coordinates = tuple(name for name in lazy if name in COORDINATES)
    others = tuple(name for name in lazy if name not in coordinates)
    tables = RemoteTables(location, group, (coordinates, others), stored)
    decoded = xr.decode_cf(stored.assign({name: _variable(tables, name, stored.variables[name]) for name in lazy}))
    for name in lazy:
        variable = decoded.variables[name]
        # what xarray itself does with variables that it opens: decoded once, and safe to write into
        variable.data = indexing.MemoryCachedArray(indexing.CopyOnWriteArray(variable._data))
    return decoded, tables.read


def _variable(tables: RemoteTables, name: str, stored: xr.Variable) -> xr.Variable:
    array = indexing.LazilyIndexedArray(_Table(tables, name, stored))
    return xr.Variable(stored.dims, array, stored.attrs, stored.encoding)


class RemoteTables:
    """The tables of a remote store; to read them one by one would cost a round trip each.

    Parameters
    ----------
    location, group
        The store, and the group in it.
    sets
        Names that are read together: whoever looks at one coordinate looks at all, and seldom at the rest.
    stored
        The opened store; None in a process to which it was sent, until it is opened there.
    """

    def __init__(
        self, location: Location, group: str | None, sets: tuple[tuple[str, ...], ...], stored: xr.Dataset | None
    ) -> None:
        self._origin = location, group, sets
        self._stored = stored
        self._loaded: set[str] = set()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteTables, (*self._origin, None)  # no connections, which may hold credentials

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - an array of any type
        together = next(names for names in self._origin[2] if name in names)
        return self.read(together)[name]

    def read(self, names: Sequence[str]) -> dict[str, Any]:
        """Return tables as they are stored, those that were not read yet all at once."""
        location, group, _ = self._origin
        with self._lock:
            if self._stored is None:
                self._stored = open_stored(location, group)
            variables = self._stored.variables
            wanted = [name for name in names if name not in self._loaded]
            if wanted:
                store = location.open(read_only=True)
                with translate_errors(store, "read the tables"), ThreadPoolExecutor(_AT_ONCE) as pool:
                    list(pool.map(lambda name: variables[name].load(), wanted))
                self._loaded.update(wanted)
            return {name: variables[name].values for name in names}


class _Table(BackendArray):
    """One of the tables, as xarray indexes it."""

    def __init__(self, tables: RemoteTables, name: str, stored: xr.Variable) -> None:
        self._tables = tables
        self._name = name
        self.shape = stored.shape
        self.dtype = stored.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # noqa: ANN401 - as xarray types it
        support = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, support, lambda k: self._tables[self._name][k])
