"""Voxels read straight from their shards: only chunks that hold something are decoded, and each is checked.

zarr-python reads the same bytes to the same values; for masks, most of whose chunks are empty, it takes ten times as
long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray
from xarray import Variable
from xarray.backends import BackendArray
from xarray.core import indexing

from npczarr.store.access import Location
from npczarr.store.faults import usable
from npczarr.store.ranges import Shard

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
            origin = [i * n for i, n in zip(shard, self.shard_zyx, strict=True)]
            key = "/".join(str(i) for i in (self.name, "c", *place, *shard))
            for at, chunk in self._chunks(key, window, origin):
                into, of = [], []
                for first, start, extent, whole in zip(at, starts, result.shape, self.chunk_zyx, strict=True):
                    low, high = max(first, start), min(first + whole, start + extent)
                    into.append(slice(low - start, high - start))
                    of.append(slice(low - first, high - first))
                result[tuple(into)] = chunk[tuple(of)]
        return result

    def _chunks(self, key: str, window: Window, origin: list[int]) -> Iterator[tuple[list[int], NDArray[Any]]]:
        """Yield first voxel and values of each chunk of a shard that holds something and meets the window."""
        counts = tuple(shard // chunk for shard, chunk in zip(self.shard_zyx, self.chunk_zyx, strict=True))
        spans = [
            slice(min(max(0, (s.start - o) // n), count), min(max(0, -(-(s.stop - o) // n)), count))
            for s, o, n, count in zip(window, origin, self.chunk_zyx, counts, strict=True)
        ]
        shard = Shard(self.location, key, counts)
        for found, data in shard.read(tuple(spans)):
            yield (
                [o + i * n for o, i, n in zip(origin, found, self.chunk_zyx, strict=True)],
                self._unpacked(data, shard),
            )

    def _unpacked(self, data: bytes, shard: Shard) -> NDArray[Any]:
        """Decompress a chunk; Blosc would take the memory that bytes 4 to 7 ask for, and read 16 whatever there is."""
        expected = int(np.prod(self.chunk_zyx)) * np.dtype(self.dtype).itemsize
        try:
            if len(data) < 16 or int.from_bytes(data[4:8], "little") != expected:
                raise ValueError(f"it is not of {expected} bytes")
            return np.frombuffer(blosc.decompress(data), dtype=self.dtype).reshape(self.chunk_zyx)
        except (RuntimeError, ValueError) as error:
            raise shard.damaged(f"a chunk cannot be unpacked ({error})") from error


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


class ForeignArray(BackendArray):
    """Voxels that another program encoded, read by zarr-python; its errors are said to be of the store."""

    def __init__(self, location: Location, variable: Variable) -> None:
        self._location = location
        self._variable = variable
        self.shape = variable.shape
        self.dtype = variable.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # noqa: ANN401 - as xarray types it
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        with usable(self._location.url):
            return np.asarray(self._variable[key].values)
