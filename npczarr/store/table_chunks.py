"""Tables read and written chunk by chunk, many at once, without zarr-python: their chunks hold mostly nothing.

A chunk has room for 4096 patients. zarr-python makes a string for every one of them and copies it several times, which
was half of the time of a run over a small cohort. Here only the entries that a table has are made; the rest of a chunk
is known to be fill values. Tables that are encoded in another way than ours, or damaged, are left to zarr-python.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
from numcodecs import Zstd
from numcodecs.vlen import VLenUTF8
from numpy.typing import NDArray

from npczarr.model.schema import TEXT
from npczarr.store.encoding import has_plain_chunks, with_checksum, without_checksum
from npczarr.store.location import get_all, put_all
from npczarr.store.zarr_library import TABLE_LEVEL, codecs_of

_MOST_CHUNKS = 2**14  # of a table
_AT_ONCE = 16  # tables that are left to zarr-python at a time
_ZSTD, _UTF8 = Zstd(TABLE_LEVEL), VLenUTF8()
_AFTER = [{"name": "zstd", "configuration": {"level": TABLE_LEVEL, "checksum": False}}, {"name": "crc32c"}]
_COUNT = struct.Struct("<I")  # before the texts of a chunk, and before each of them the number of its bytes
_ALL = slice(None)
ZarrArray = Any  # zarr's array types are generic over formats
Place = tuple[int, ...]


def read_rows(tables: Mapping[str, ZarrArray], rows: slice = _ALL) -> dict[str, NDArray[Any]]:
    """Read tables of one store, or rows of them that are whole chunks, all at once.

    Raises
    ------
    StoreError
        If a chunk is absent where none may be.
    """
    found = read_ours(tables, rows)
    rest = {path: table for path, table in tables.items() if path not in found}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found |= zip(rest, pool.map(lambda table: np.asarray(table[rows]), rest.values()), strict=True)
    return {path: found[path] for path in tables}


def read_ours(tables: Mapping[str, ZarrArray], rows: slice = _ALL) -> dict[str, NDArray[Any]]:
    """Read those tables that are encoded as ours are, whole and undamaged."""
    ours = {path: table for path, table in tables.items() if _is_ours(table)}
    keys = [_key(table, at) for table in ours.values() for at in _places(table, rows)]
    contents = iter(get_all(next(iter(ours.values())).store, keys, failures=False) if ours else ())
    found = {}
    for path, table in ours.items():
        values = _decode(table, rows, {at: next(contents) for at in _places(table, rows)})
        if values is not None:
            found[path] = values
    return found


def write_rows(tables: Iterable[tuple[ZarrArray, NDArray[Any]]], first: int = 0) -> None:
    """Write values into tables of one store, all at once: whole chunks, from a row on with which a chunk begins."""
    encoded: dict[str, bytes] = {}
    for table, values in tables:
        store = table.store
        if _is_ours(table):
            encoded |= _encode(table, first, values)
        elif values.size:
            table[first : first + len(values)] = values
    if encoded:
        put_all(store, encoded.items())


def _is_ours(table: ZarrArray) -> bool:
    if table.ndim == 0 or not has_plain_chunks(table):
        return False
    first, *after = codecs_of(table)
    little = (first.get("configuration") or {}).get("endian", "little") == "little"
    kind = {"bytes": "biuf", "vlen-utf8": "T"}.get(first["name"], "")
    return (
        after == _AFTER
        and little
        and table.dtype.kind in kind
        and math.prod(-(-n // size) for n, size in zip(table.shape, table.chunks, strict=True)) <= _MOST_CHUNKS
        and (kind != "T" or table.fill_value == "")
    )


def _places(table: ZarrArray, rows: slice) -> Iterator[Place]:
    """Give the index of every chunk of these rows."""
    first, last, _ = rows.indices(table.shape[0])
    counts = [range(-(-n // size)) for n, size in zip(table.shape, table.chunks, strict=True)]
    return product(range(first // table.chunks[0], -(-last // table.chunks[0])), *counts[1:])


def _key(table: ZarrArray, at: Place) -> str:
    return f"{table.path}/c/{'/'.join(map(str, at))}"


def _part(table: ZarrArray, at: Place) -> tuple[tuple[slice, ...], Place]:
    """Return where the entries of a chunk are in its table, and their shape; its chunk may have room for more."""
    bounds = [(i * c, min(n, (i + 1) * c)) for i, c, n in zip(at, table.chunks, table.shape, strict=True)]
    return tuple(slice(*bound) for bound in bounds), tuple(last - first for first, last in bounds)


def _decode(table: ZarrArray, rows: slice, contents: Mapping[Place, bytes | None]) -> NDArray[Any] | None:
    """Put the chunks of some rows together; None if one is absent or damaged."""
    first, last, _ = rows.indices(table.shape[0])
    values = np.empty((last - first, *table.shape[1:]), table.dtype)
    for at, content in contents.items():
        box, shape = _part(table, at)
        part = None if content is None else _decode_chunk(table, shape, content)
        if part is None:
            return None
        values[slice(box[0].start - first, box[0].stop - first), *box[1:]] = part
    return values


def _decode_chunk(table: ZarrArray, shape: Place, content: bytes) -> NDArray[Any] | None:
    packed = without_checksum(content)
    if packed is None:
        return None
    try:
        plain = bytes(_ZSTD.decode(packed))
        if table.dtype.kind == "T":
            return _decode_texts(table.chunks, shape, plain)
        held = np.frombuffer(plain, table.dtype.newbyteorder("<")).reshape(table.chunks)
        return held[tuple(slice(n) for n in shape)]
    except (RuntimeError, ValueError, TypeError, MemoryError, struct.error):  # zarr-python says what is wrong
        return None


def _decode_texts(chunk: Place, shape: Place, plain: bytes) -> NDArray[Any] | None:
    room = math.prod(chunk)
    if plain[: _COUNT.size] != _COUNT.pack(room):
        return None
    held = (shape[0], *chunk[1:])
    texts: NDArray[Any] = _UTF8.decode(_COUNT.pack(math.prod(held)) + plain[_COUNT.size :])
    behind = plain[len(_UTF8.encode(texts)) :]
    if behind != bytes(_COUNT.size * (room - texts.size)):  # nothing but empty texts
        return None
    return texts.reshape(held)[tuple(slice(n) for n in shape)].astype(TEXT)


def _encode(table: ZarrArray, first: int, values: NDArray[Any]) -> dict[str, bytes]:
    """Encode the chunks of some rows, by key."""
    found = {}
    for at in _places(table, slice(first, first + len(values))):
        box, _ = _part(table, at)
        part = values[slice(box[0].start - first, box[0].stop - first), *box[1:]]
        plain = _encode_texts(table, part) if table.dtype.kind == "T" else _encode_numbers(table, part)
        found[_key(table, at)] = with_checksum(bytes(_ZSTD.encode(plain)))
    return found


def _encode_numbers(table: ZarrArray, part: NDArray[Any]) -> bytes:
    whole = np.full(table.chunks, table.fill_value, table.dtype.newbyteorder("<"))
    whole[tuple(slice(n) for n in part.shape)] = part
    return whole.tobytes()


def _encode_texts(table: ZarrArray, part: NDArray[Any]) -> bytes:
    rows = np.full((part.shape[0], *table.chunks[1:]), "", dtype=object)
    rows[tuple(slice(n) for n in part.shape)] = part
    room = math.prod(table.chunks)
    return _COUNT.pack(room) + bytes(_UTF8.encode(rows.ravel())[4:]) + bytes(_COUNT.size * (room - rows.size))
