"""A scan's voxels as Zarr shards, assembled whole: compressed chunks, their index, checksums.

The bytes are what zarr-python writes for ``sharding_indexed`` with ``bytes, blosc, crc32c`` inside and ``bytes,
crc32c`` for the index at the end (Zarr v3 codec specifications), without its cost of one chunk at a time.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

import google_crc32c
import numpy as np
import xxhash
from numcodecs import blosc
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import BloscCodec, Crc32cCodec

from npczarr.model.geometry import Shape
from npczarr.model.layout import Layout
from npczarr.store.access import delete, keys_below, put

LEVEL = {"lz4": 3, "zstd": 1}
_EMPTY = 2**64 - 1


def compressors(codec: str) -> list[Any]:
    """Codecs of a chunk, for zarr-python; :func:`encode_shards` writes the same."""
    name: Any = codec
    return [BloscCodec(cname=name, clevel=LEVEL[codec], shuffle="bitshuffle"), Crc32cCodec()]


def encode_shards(array: NDArray[Any], layout: Layout, fill: float) -> Iterator[tuple[Shape, bytes]]:
    """Encode a scan as the shards of its place in the array.

    Parameters
    ----------
    array
        (z, y, x) voxels, in the type of the store.
    fill
        Value outside the scan; a chunk of nothing else is not written.

    Yields
    ------
    tuple
        Index (z, y, x) and bytes of each shard that holds something; others must not exist.
    """
    z, y, x = array.shape
    for index in layout.shards((z, y, x)):
        window = tuple(slice(i * n, (i + 1) * n) for i, n in zip(index, layout.shard_zyx, strict=True))
        content = _encode(array[window], layout, fill)
        if content is not None:
            yield index, content


def put_shards(
    store: Store, prefix: str, array: NDArray[Any] | None, layout: Layout, fill: float, *, clear: bool
) -> None:
    """Write a scan as the shards below a prefix, each whole; with `clear`, what else lies there is deleted."""
    written = set()
    for (z, y, x), content in () if array is None else encode_shards(array, layout, fill):
        key = f"{prefix}/{z}/{y}/{x}"
        put(store, key, content)
        written.add(key)
    if clear:
        for key in set(keys_below(store, prefix)) - written:
            delete(store, key)


def _encode(block: NDArray[Any], layout: Layout, fill: float) -> bytes | None:
    counts = tuple(shard // chunk for shard, chunk in zip(layout.shard_zyx, layout.chunk_zyx, strict=True))
    index = np.full((*counts, 2), _EMPTY, dtype="<u8")
    level, shuffle = LEVEL[layout.codec], blosc.BITSHUFFLE
    parts: list[bytes] = []
    offset = 0
    for at in np.ndindex(counts):
        chunk = block[tuple(slice(i * n, (i + 1) * n) for i, n in zip(at, layout.chunk_zyx, strict=True))]
        # the first voxel tells most chunks of an image from padding without reading the rest
        if chunk.size == 0 or (is_padding(chunk.flat[0], fill) and is_padding(chunk, fill).all()):
            continue
        if chunk.shape != layout.chunk_zyx:
            padded = np.full(layout.chunk_zyx, fill, dtype=block.dtype)
            padded[tuple(slice(0, n) for n in chunk.shape)] = chunk
            chunk = padded
        data = blosc.compress(np.ascontiguousarray(chunk), layout.codec.encode(), level, shuffle)
        parts += [data, _crc32c(data)]
        index[at] = offset, len(data) + 4
        offset += len(data) + 4
    if not parts:
        return None
    table = index.tobytes()
    return b"".join([*parts, table, _crc32c(table)])


def _crc32c(data: bytes) -> bytes:
    return struct.pack("<I", google_crc32c.value(data))


def is_padding(values: Any, fill: float) -> Any:  # noqa: ANN401 - a scalar or an array, and its truth
    """Whether values are the fill value, NaN or not."""
    return np.isnan(values) if math.isnan(fill) else values == fill


def digest(array: NDArray[Any]) -> str:
    """XXH3-128 of the voxels in C order, little endian, as hexadecimal digits."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return xxhash.xxh3_128_hexdigest(little.data)
