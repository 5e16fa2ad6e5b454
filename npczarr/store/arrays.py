"""Voxels read straight from their shards: only chunks that hold something are decoded, and each is checked.

zarr-python reads the same bytes to the same values; for masks, most of whose chunks are empty, it takes ten times as
long.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing
from zarr.abc.store import Store

from npczarr.errors import StoreError
from npczarr.store.access import Location, get

_EMPTY = np.uint64(2**64 - 1)
Window = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class ShardedVoxels:
    """`image` or `mask` of a store: small, and free of open files, so it can travel in a task.

    Parameters
    ----------
    location, name
        The store and the array.
    shape, dtype, fill
        As in the array's metadata.
    chunk_zyx, shard_zyx
        Sizes of chunk and shard; along the dimensions before them both are 1.
    """

    location: Location
    name: str
    shape: tuple[int, ...]
    dtype: str
    fill: float
    chunk_zyx: tuple[int, int, int]
    shard_zyx: tuple[int, int, int]

    def read(self, place: tuple[int, ...], window: Window) -> NDArray[Any]:
        """Read a box (z, y, x) of one scan, given as slices of step 1 with both ends.

        Raises
        ------
        StoreError
            If a shard is damaged or cannot be read.
        """
        starts = [s.start for s in window]
        result = np.zeros([s.stop - s.start for s in window], dtype=self.dtype)
        if self.fill:
            result.fill(self.fill)
        shards = (range(s.start // n, -(-s.stop // n)) for s, n in zip(window, self.shard_zyx, strict=True))
        for shard in product(*shards):
            content = self._load(place, shard)
            if content is None:
                continue
            origin = [i * n for i, n in zip(shard, self.shard_zyx, strict=True)]
            for at, chunk in self._chunks(content, place, window, origin):
                into, of = [], []
                for first, start, extent, whole in zip(at, starts, result.shape, self.chunk_zyx, strict=True):
                    low, high = max(first, start), min(first + whole, start + extent)
                    into.append(slice(low - start, high - start))
                    of.append(slice(low - first, high - first))
                result[tuple(into)] = chunk[tuple(of)]
        return result

    def _load(self, place: tuple[int, ...], shard: tuple[int, ...]) -> bytes | None:
        return get(_opened(self.location), "/".join(str(i) for i in (self.name, "c", *place, *shard)))

    def _chunks(self, content: bytes, place: tuple[int, ...], window: Window, origin: list[int]) -> Any:  # noqa: ANN401
        """Yield first voxel and values of each chunk of a shard that holds something and meets the window."""
        counts = tuple(shard // chunk for shard, chunk in zip(self.shard_zyx, self.chunk_zyx, strict=True))
        size = int(np.prod(counts)) * 16
        if len(content) < size + 4 or not _checked(content[-size - 4 :]):
            raise self._damaged(place, "its index does not match its checksum")
        index = np.frombuffer(content[-size - 4 : -4], dtype="<u8").reshape(*counts, 2)
        spans = [
            slice(max(0, (s.start - o) // n), max(0, -(-(s.stop - o) // n)))
            for s, o, n in zip(window, origin, self.chunk_zyx, strict=True)
        ]
        wanted = index[tuple(spans)]
        for found in np.argwhere(wanted[..., 0] != _EMPTY):
            offset, length = (int(n) for n in wanted[tuple(found)])
            data = content[offset : offset + length]
            if len(data) != length or not _checked(data):
                raise self._damaged(place, "a chunk does not match its checksum")
            chunk = np.frombuffer(blosc.decompress(data[:-4]), dtype=self.dtype).reshape(self.chunk_zyx)
            at = [o + (s.start + int(i)) * n for o, s, i, n in zip(origin, spans, found, self.chunk_zyx, strict=True)]
            yield at, chunk

    def _damaged(self, place: tuple[int, ...], what: str) -> StoreError:
        return StoreError(
            f"{self.location.url}: the shard of {self.name} {place} is damaged, {what}; run npczarr validate, then "
            "convert --rewrite"
        )


class VoxelArray(BackendArray):
    """:class:`ShardedVoxels` as xarray indexes it."""

    def __init__(self, voxels: ShardedVoxels) -> None:
        self.voxels = voxels
        self.shape = voxels.shape
        self.dtype = np.dtype(voxels.dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # noqa: ANN401 - as xarray types it
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read any combination of numbers, slices and 1-D arrays of numbers."""
        chosen = [np.arange(n)[k] for k, n in zip(key, self.shape, strict=True)]
        lists = [np.atleast_1d(c) for c in chosen]
        scans, box = lists[:-3], lists[-3:]
        shape = [len(c) for c in lists]
        kept = [len(c) for c, k in zip(lists, chosen, strict=True) if k.ndim]
        if 0 in shape:
            return np.empty(kept, dtype=self.dtype)
        z, y, x = (slice(int(c.min()), int(c.max()) + 1) for c in box)
        whole = all(len(c) == 1 or (np.diff(c) == 1).all() for c in box)
        within = np.ix_(*(c - c.min() for c in box))
        result = None if len(shape) == 3 or max(shape[:-3]) == 1 else np.empty(shape, dtype=self.dtype)
        for at in np.ndindex(*shape[:-3]):
            values = self.voxels.read(tuple(int(c[i]) for c, i in zip(scans, at, strict=True)), (z, y, x))
            values = values if whole else values[within]
            if result is None:  # one scan: what was read is the answer
                return values.reshape(kept)
            result[at] = values
        assert result is not None
        return result.reshape(kept)


@lru_cache(maxsize=32)
def _opened(location: Location) -> Store:
    return location.open(read_only=True)


def _checked(data: bytes) -> bool:
    return bool(struct.unpack("<I", data[-4:])[0] == google_crc32c.value(data[:-4]))
