"""Which bytes of a shard are needed, and fetching them in as few requests as can be.

A shard is chunks one after another and an index of them at its end (Zarr v3, ``sharding_indexed``). Of a shard that is
wanted for the most part all is read at once. For a few chunks the index is read and kept, and then neighbouring chunks
come as one range of bytes.
"""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from npczarr.errors import StoreError
from npczarr.store.access import Location, Part, fetch

_EMPTY = np.uint64(2**64 - 1)
_KEPT = 20_000  # indexes, about half a kilobyte each


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of a store.

    Parameters
    ----------
    location, key
        The store, and the object in it.
    counts
        Chunks along z, y, x.
    """

    location: Location
    key: str
    counts: tuple[int, ...]

    def read(self, spans: tuple[slice, ...]) -> Iterator[tuple[tuple[int, ...], bytes]]:
        """Yield index (z, y, x) and checked bytes, still compressed, of each chunk in the spans that holds something.

        Raises
        ------
        StoreError
            If the shard is damaged or cannot be read.
        """
        wanted = int(np.prod([s.stop - s.start for s in spans]))
        if wanted > np.prod(self.counts) // 2:
            part = self._fetch()
            if part is not None:
                index = self._index(part)
                _INDEXES.keep((self.location, self.key), index)
                yield from self._cut(index.chunks, spans, part.data, 0)
        elif wanted:
            yield from self._read_few(spans)

    def _read_few(self, spans: tuple[slice, ...]) -> Iterator[tuple[tuple[int, ...], bytes]]:
        kept = _INDEXES.find((self.location, self.key)) if "://" in self.location.url else None
        if kept is not None:
            found = self._try(kept, spans)
            if found is not None:
                yield from found
                return
        part = self._fetch(slice(-self._index_bytes, None))
        if part is None:
            return
        index = self._index(part)
        _INDEXES.keep((self.location, self.key), index)
        chosen = index.chunks[spans]
        present = chosen[chosen[..., 0] != _EMPTY]
        if len(present):
            start, stop = int(present[:, 0].min()), int(present.sum(axis=1).max())
            run = self._fetch(slice(start, stop))
            yield from self._cut(index.chunks, spans, b"" if run is None else run.data, start)

    def _try(self, kept: _Index, spans: tuple[slice, ...]) -> list[tuple[tuple[int, ...], bytes]] | None:
        """Read with an index that was kept, or None where the shard may have been written again since."""
        chosen = kept.chunks[spans]
        present = chosen[chosen[..., 0] != _EMPTY]
        # a chunk that was empty is so still where the same version was read of another; else nothing tells
        if len(present) == 0 or (kept.version is None and present.shape[0] < chosen[..., 0].size):
            return None
        start, stop = int(present[:, 0].min()), int(present.sum(axis=1).max())
        try:
            run = self._fetch(slice(start, stop))
            if run is None or run.version != kept.version:
                return None
            return list(self._cut(kept.chunks, spans, run.data, start))
        except StoreError:
            return None

    def _cut(
        self, index: NDArray[Any], spans: tuple[slice, ...], data: bytes, start: int
    ) -> Iterator[tuple[tuple[int, ...], bytes]]:
        """Cut a run of bytes that begins at ``start`` into the chunks of the spans."""
        chosen = index[spans]
        for found in np.argwhere(chosen[..., 0] != _EMPTY):
            offset, length = (int(n) for n in chosen[tuple(found)])
            chunk = data[offset - start : offset - start + length]
            if len(chunk) != length or not _checked(chunk):
                raise self.damaged("a chunk does not match its checksum")
            yield tuple(s.start + int(i) for s, i in zip(spans, found, strict=True)), chunk[:-4]

    @property
    def _index_bytes(self) -> int:
        return int(np.prod(self.counts)) * 16 + 4

    def _index(self, part: Part) -> _Index:
        data = part.data[-self._index_bytes :]
        if len(data) < self._index_bytes or not _checked(data):
            raise self.damaged("its index does not match its checksum")
        return _Index(np.frombuffer(data[:-4], dtype="<u8").reshape(*self.counts, 2), part.version)

    def _fetch(self, span: slice | None = None) -> Part | None:
        return fetch(self.location.open(read_only=True), self.key, span)

    def damaged(self, what: str) -> StoreError:
        """Return the error that says what is wrong with the shard."""
        return StoreError(
            f"{self.location.url}: the shard {self.key} is damaged, {what}; run npczarr validate, then convert "
            "--rewrite"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Index:
    """(z, y, x, 2) offset and length of each chunk, and the version of the shard that they are of."""

    chunks: NDArray[Any]
    version: str | None


class _Indexes:
    """The indexes that this process has read lately; a shard written again is known by its version or checksums."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, _Index] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: tuple[Location, str]) -> _Index | None:
        with self._lock:
            index = self._kept.get(key)
            if index is not None:
                self._kept.move_to_end(key)
            return index

    def keep(self, key: tuple[Location, str], index: _Index) -> None:
        if "://" not in key[0].url:
            return  # a local index is read faster than it is known to be fresh
        with self._lock:
            self._kept[key] = index
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)


_INDEXES = _Indexes()


def _checked(data: bytes) -> bool:
    return len(data) >= 4 and bool(struct.unpack("<I", data[-4:])[0] == google_crc32c.value(data[:-4]))
