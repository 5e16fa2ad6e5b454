"""The catalog of a store: its scalar columns as one Parquet file, one row a scan, to select from a large cohort.

It is made from the tables and never counts more than they do: it keeps, for every array that it was made from, the
checksums of its chunks. A column of which they are others now, whoever changed it, is read from its table.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import RangeByteRequest, Store
from zarr.storage import LocalStore

from npczarr.errors import NpczarrError
from npczarr.model.identifiers import identifies_beside_labels
from npczarr.model.schema import SCAN_TABLES, STORED
from npczarr.model.where import Texts
from npczarr.store.checksums import state_of
from npczarr.store.columns import Column, arrays_for, columns_of, read_columns
from npczarr.store.contents import Contents
from npczarr.store.hierarchy import ZarrArray, labels, members_below
from npczarr.store.location import exists
from npczarr.store.storage_errors import translate_damage, translate_errors
from npczarr.store.whole import unwrapped
from npczarr.store.zarr_library import no_range, run

#: Below an array: at this place no program takes it for a member of a group.
CATALOG_KEY = "status/catalog.parquet"
_ABOUT = b"npczarr"
_VERSION = 2  # of what the file holds; one of another version counts as absent
_DICTIONARY = 2**28  # bytes: also a million labels are read as numbers of distinct values
#: Whole numbers that are 0 where there is no scan or no mask.
_COUNTS = frozenset(
    f"{variable.name}{axis}"
    for variable in SCAN_TABLES
    if variable.dtype in ("int32", "int64", "uint8")
    for axis in (("_z", "_y", "_x") if "axis" in variable.dims else ("",))
)
_ROWS = 2**20  # of a row group: one chunk of a column needs no copy


@dataclass(frozen=True, slots=True)
class Catalog:
    """A catalog that is open.

    Parameters
    ----------
    file
        The Parquet file, as pyarrow opened it.
    columns
        What it holds, by name.
    state
        Checksums of the arrays that it was made from, by path.
    shape
        Patients and sequences.
    """

    file: Any
    columns: Mapping[str, Column]
    state: Mapping[str, str]
    shape: tuple[int, int]

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close(force=True)

    def current(self, root: zarr.Group, names: Iterable[str]) -> list[str]:
        """List those columns of some that are as the tables are now."""
        held = [name for name in names if name in self.columns]
        paths = {path for name in held for path in self.columns[name].sources}
        now = state_of(root.store, {path: root.get(path) for path in paths})
        return [name for name in held if all(now[p] == self.state.get(p) for p in self.columns[name].sources)]

    def read(self, names: Sequence[str]) -> dict[str, NDArray[Any] | Texts] | None:
        """Read columns, each on (patient, sequence); None where the file is damaged."""
        from pyarrow import ArrowException

        try:
            table = self.file.read(list(names))
            return {name: _as_column(table.column(name), self.shape) for name in names}
        except (ArrowException, OSError, ValueError):
            return None


def open_catalog(store: Store) -> Catalog | None:
    """Open the catalog of a store; None where there is none that can be read.

    Raises
    ------
    ModuleNotFoundError
        If pyarrow is not installed.
    """
    from pyarrow import ArrowException, parquet

    try:
        if not exists(store, CATALOG_KEY):
            return None
        path = _local_path(store)
        source = path or _Ranges(store, CATALOG_KEY)
        described = parquet.read_metadata(source, memory_map=path is not None)
        about = json.loads(described.metadata[_ABOUT])
        if about["version"] != _VERSION:
            return None
        file = parquet.ParquetFile(
            source, metadata=described, memory_map=path is not None, pre_buffer=path is None,
            page_checksum_verification=True, read_dictionary=_texts_of(described.schema),
        )  # fmt: skip
        columns = {name: Column(path, tuple(entry)) for name, (path, entry) in about["columns"].items()}
        patients, sequences = about["shape"]
        return Catalog(file, columns, about["state"], (patients, sequences))
    except (ArrowException, NpczarrError, OSError, ValueError, KeyError, TypeError):
        return None


def make_catalog(contents: Contents) -> bytes | None:
    """Make the catalog of a store; None where the one that it has is as its tables are, or pyarrow is not installed.

    Raises
    ------
    StoreError
        If a table cannot be read.
    """
    with translate_damage(str(contents.root.store)):
        try:
            return _made(contents)
        except ModuleNotFoundError:
            return None


def differing_columns(root: zarr.Group) -> list[str]:
    """List columns that the catalog gives for those of the tables as they are, and that are others."""
    try:
        catalog = open_catalog(root.store)
    except ModuleNotFoundError:
        return []
    if catalog is None:
        return []
    members = dict(members_below(root))
    known = columns_of(members)
    with catalog:
        current = catalog.current(root, catalog.columns)
        true = [name for name in current if catalog.columns[name] == known.get(name)]
        held = catalog.read(true)
    if held is None:
        return ["all, for it is damaged"]
    wanted = {name: known[name] for name in true}
    tables = read_columns(arrays_for(members, wanted.values()), wanted)
    same = {name for name in true if _equal(held[name], np.broadcast_to(tables[name], catalog.shape))}
    return [name for name in current if name not in same]


def _made(contents: Contents) -> bytes | None:
    from pyarrow import parquet

    store = contents.root.store
    every = columns_of(contents.members)
    arrays = arrays_for(contents.members, every.values())
    columns = {name: column for name, column in every.items() if not _left_out(arrays[column.path], column)}
    # before the tables are read: of what changes in between the catalog is then stale
    state = state_of(store, {path: arrays[path] for column in columns.values() for path in column.sources})
    there = open_catalog(store)
    if there is not None:
        with there:
            if there.state == state and there.columns == columns:
                return None
    sequences = labels(contents.root, "sequence")
    shape = len(labels(contents.root, "patient")), len(sequences)
    values = read_columns(arrays, columns, contents.tables)
    held = {name: (one.path, one.entry) for name, one in columns.items()}
    about = {"version": _VERSION, "shape": shape, "columns": held, "state": state}
    table = _as_table(values, sequences, shape).replace_schema_metadata({_ABOUT: json.dumps(about)})
    texts = [found.name for found in table.schema if str(found.type) == "string"]
    buffer = io.BytesIO()
    parquet.write_table(  # to be read quickly: numbers as they are, and a codec that costs nothing
        table, buffer, compression="lz4", use_dictionary=texts, row_group_size=_ROWS, write_page_checksum=True,
        dictionary_pagesize_limit=_DICTIONARY,
    )  # fmt: skip
    return buffer.getvalue()


def _left_out(found: ZarrArray, column: Column) -> bool:
    """Whether a column is a digest, or one of the cohort's own tables that an audit names, kept by the user's wish."""
    source = found.attrs.asdict().get("source_column")
    names = () if source is None else (column.path, str(source))
    return column.path.endswith("_digest") or any(identifies_beside_labels(name) for name in names)


def _as_table(values: Mapping[str, NDArray[Any]], sequences: Sequence[str], shape: tuple[int, int]) -> Any:  # noqa: ANN401 - of pyarrow
    """Lay columns out as one row a scan, with null for what is not known."""
    import pyarrow as pa

    values = {"patient": values["patient"], "sequence": np.array(sequences, dtype=object)[np.newaxis], **values}
    columns = {}
    for name, found in values.items():
        whole = np.broadcast_to(found, shape).ravel()
        unknown = np.broadcast_to(_unknown(name, values), shape).ravel()
        text = whole.dtype.kind not in "biuf"
        columns[name] = pa.array(whole, pa.string() if text else None, mask=unknown)
    return pa.table(columns)


def _unknown(name: str, values: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Say where a column has no value: empty text, NaN, and 0 voxels of a scan or a mask that is not there."""
    found = values[name]
    if found.dtype.kind == "f":
        return np.asarray(np.isnan(found))
    if found.dtype.kind not in "biu":
        return np.asarray(found == "", dtype=bool)
    status = values.get("mask_status" if name.startswith("mask_") else "status")
    if status is None or name not in _COUNTS:
        return np.zeros(found.shape, dtype=bool)
    return np.asarray((found == 0) & ~np.isin(status.astype(str), STORED))


def _texts_of(schema: Any) -> list[str]:  # noqa: ANN401 - of pyarrow
    """List the columns of text, which are read as numbers of their distinct values."""
    columns = (schema.column(i) for i in range(len(schema)))
    return [column.name for column in columns if column.logical_type.type == "STRING"]


def _as_column(column: Any, shape: tuple[int, int]) -> NDArray[Any] | Texts:  # noqa: ANN401 - of pyarrow
    """Turn a column of the file into an array on (patient, sequence), as the tables have it."""
    column = column.unify_dictionaries() if hasattr(column.type, "index_type") else column
    chunk = column.combine_chunks()
    if hasattr(chunk, "indices"):
        values = chunk.dictionary.to_pylist()
        indices = chunk.indices
        if indices.null_count:
            indices, values = indices.fill_null(len(values)), [*values, ""]
        return Texts(np.array(values, dtype=object), indices.to_numpy(zero_copy_only=False).reshape(shape))
    if chunk.null_count and not str(chunk.type).startswith(("double", "float")):
        chunk = chunk.fill_null(0)
    numbers: NDArray[Any] = chunk.to_numpy(zero_copy_only=False)  # null of a float is NaN
    return numbers.reshape(shape)


def _equal(held: NDArray[Any] | Texts, values: NDArray[Any]) -> bool:
    there = held.plain() if isinstance(held, Texts) else held
    return np.array_equal(there, values, equal_nan=values.dtype.kind == "f")


def _local_path(store: Store) -> Path | None:
    inner = unwrapped(store)
    return Path(inner.root, CATALOG_KEY) if isinstance(inner, LocalStore) else None


class _Ranges(io.RawIOBase):
    """An object of a store as a file that pyarrow reads by ranges."""

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key
        with translate_errors(store, f"look for {key}"):
            self._size = run(store.getsize(key))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        return self._size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = self._size if size < 0 else min(self._size, self._at + size)
        if stop <= self._at:
            return b""
        with translate_errors(self._store, f"read {self._key}"):
            found = run(self._store.get(self._key, *no_range(), RangeByteRequest(self._at, stop)))
        content = b"" if found is None else found.to_bytes()
        self._at += len(content)
        return content
