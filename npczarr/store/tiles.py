"""Boxes of a scan, decoded chunk by chunk from the bytes of its objects: no library of arrays for each read.

What is decoded here is what npczarr and zarr-python write: bytes, Blosc or zstd, a checksum. Every other encoding is
read by zarr-python. An object that is absent, too short or does not match its checksum is an error that names it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from threading import local
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import blosc, zstd
from numpy.typing import NDArray

from npczarr.errors import StoreError
from npczarr.store.scans import StoredScan
from npczarr.store.tile_cache import TileCache
from npczarr.store.voxels import VoxelArray, Window

_thread = local()
Span = tuple[slice, slice, slice]
_Cut = tuple[int, slice, slice]
_BRIEF, _MOST_BRIEF = 256, 4  # bytes of an encoded chunk that is remembered, and how many of them
_CHECKSUM = 4  # bytes
_RESIDUE = 0x48674BC7  # CRC-32C of any bytes followed by their own CRC-32C, little endian


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a box, from one chunk.

    Parameters
    ----------
    chunk
        (z, y, x) of the whole chunk, as it is stored; valid until the next tile is asked for.
    inside
        What of the chunk is in the box.
    span
        Where in the box it belongs.
    """

    chunk: NDArray[Any]
    inside: Span
    span: Span

    @property
    def values(self) -> NDArray[Any]:
        """(z, y, x) values that are in the box."""
        found: NDArray[Any] = self.chunk[self.inside]
        return found


@dataclass(frozen=True, slots=True)
class TileReader:
    """Reads boxes of one array; it can travel to another process.

    Parameters
    ----------
    array
        `image` or `mask`.
    cache
        Keeps encoded objects; shared by the readers of a process.
    """

    array: VoxelArray
    cache: TileCache

    def tiles(
        self, scan: StoredScan, window: Window, contents: Mapping[str, bytes | None] | None = None
    ) -> Iterator[Tile]:
        """Give a box of one scan, chunk by chunk.

        Parameters
        ----------
        scan
            One whose voxels are in the array.
        window
            Slices (z, y, x) of step 1 inside the scan.
        contents
            Objects of :meth:`keys`, where they were read already.

        Raises
        ------
        StoreError
            If an object is absent or damaged.
        """
        array = self.array
        codec = self._codec()
        if codec is None:
            values = scan.image(window) if array.name == "image" else scan.mask(window)
            yield Tile(np.ascontiguousarray(values), _all_of(window), _all_of(window))
            return
        parts, keys = self._parts(scan, window)
        if codec.mapped and not array.location.is_remote:
            encoded: list[Any] = [self._mapped(scan, key) for key in keys]
        else:
            held = self.cache.get([(array, keys)]) if contents is None else contents
            encoded = [held[key] for key in keys]
        for (z, y, x), key, content in zip(parts, keys, encoded, strict=True):
            values = self._fill(scan) if content is None else self._decoded(content, codec, key, scan)
            yield Tile(values, (z[1], y[1], x[1]), (z[2], y[2], x[2]))

    def keys(self, scan: StoredScan, window: Window) -> list[str]:
        """Return keys of the objects that a box needs; none where zarr-python reads it."""
        return [] if self._codec() is None else self._parts(scan, window)[1]

    def _codec(self) -> _Codec | None:
        """Return how chunks are encoded; None where zarr-python reads them."""
        array = self.array
        return None if array.sharded or set(array.chunks[:-3]) != {1} else _codec(array.fingerprint)

    def _parts(self, scan: StoredScan, window: Window) -> tuple[list[tuple[_Cut, _Cut, _Cut]], list[str]]:
        """Cut a box at chunks, and name the object of each."""
        cuts = (_cuts(s, n) for s, n in zip(window, self.array.chunks[-3:], strict=True))
        parts = [(z, y, x) for z, y, x in product(*cuts)]
        return parts, self.array.keys_of((*scan.place, z[0], y[0], x[0]) for z, y, x in parts)

    def _mapped(self, scan: StoredScan, key: str) -> memoryview | None:
        """Map an object that holds plain values into memory; its checksum is looked at once in each process."""
        path = f"{self.array.location.url}/{key}"
        try:
            return self.cache.mapped(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:  # ValueError: it is empty
            raise StoreError(f"{scan.label}: {path} cannot be read ({error}); restore it from a copy") from error

    def _fill(self, scan: StoredScan) -> NDArray[Any]:
        """Return a chunk that has no object: other programs leave those of fill values out, which the digest shows."""
        if (self.array.name, scan.label) not in self.cache.complete:
            _ = scan.image() if self.array.name == "image" else scan.mask()
            self.cache.complete.add((self.array.name, scan.label))
        return np.full(self.array.chunks[-3:], self.array.fill, self.array.dtype)

    def _decoded(self, content: bytes | memoryview, codec: _Codec, key: str, scan: StoredScan) -> NDArray[Any]:
        brief = bytes(content) if len(content) < _BRIEF else b""
        if brief and (same := self.cache.brief.get((self.array.name, brief))) is not None:
            return same
        chunk, dtype = self.array.chunks[-3:], np.dtype(self.array.dtype)
        size = math.prod(chunk) * dtype.itemsize
        known = isinstance(content, memoryview) and (key, "") in self.cache.complete
        try:
            decoded = codec.decode(content, size, verify=not known)
        except (RuntimeError, ValueError) as error:
            raise StoreError(
                f"{scan.label} ({self.array.location.shown}): {key} is damaged ({error}); restore it from a copy, or "
                "write the scan again"
            ) from error
        if codec.mapped:
            self.cache.complete.add((key, ""))
        values = decoded.view(dtype).reshape(chunk)
        if brief and len(self.cache.brief) < _MOST_BRIEF:
            self.cache.brief[self.array.name, brief] = values.copy()
        return values


@dataclass(frozen=True, slots=True)
class _Codec:
    """How a chunk is encoded: a compressor or none, and whether a checksum follows."""

    compressor: str
    checksum: bool

    @property
    def mapped(self) -> bool:
        """Whether an object holds values as they are."""
        return not self.compressor

    def decode(self, content: bytes | memoryview, size: int, *, verify: bool = True) -> NDArray[np.uint8]:
        """Decode a chunk to bytes, which are valid until this thread decodes the next.

        Raises
        ------
        ValueError, RuntimeError
            If it does not match its checksum or its size.
        """
        body = memoryview(content)
        if self.checksum:
            if verify and google_crc32c.value(bytes(content)) != _RESIDUE:
                raise ValueError("it does not match its checksum")
            body = body[:-_CHECKSUM]
        if not self.compressor:
            found = np.frombuffer(body, np.uint8)
            if found.size != size:
                raise ValueError(f"{found.size} bytes, expected {size}")
            return found
        result = _scratch(size)
        (blosc if self.compressor == "blosc" else zstd).decompress(body, result)
        return result


def _scratch(size: int) -> NDArray[np.uint8]:
    """Return memory of this thread: to ask the system for it costs as much as to decode into it."""
    held: NDArray[np.uint8] | None = getattr(_thread, "held", None)
    if held is None or held.size < size:
        held = _thread.held = np.empty(size, np.uint8)
    return held[:size]


def _cuts(span: slice, chunk: int) -> list[_Cut]:
    """Cut a span along one axis at chunks: number of each, what is taken of it, and where in the span that belongs."""
    found = []
    for i in range(span.start // chunk, -(-span.stop // chunk)):
        start, stop = max(span.start, i * chunk), min(span.stop, (i + 1) * chunk)
        inside, place = slice(start - i * chunk, stop - i * chunk), slice(start - span.start, stop - span.start)
        found.append((i, inside, place))
    return found


@lru_cache(maxsize=64)
def _codec(fingerprint: str) -> _Codec | None:
    """Return how an array is encoded; None where only zarr-python knows."""
    _, _, codecs, _ = json.loads(fingerprint)
    names = [codec["name"] for codec in codecs]
    endian = next((c.get("configuration", {}).get("endian", "little") for c in codecs if c["name"] == "bytes"), "")
    if endian != "little" or names[0] != "bytes":
        return None
    rest = names[1:]
    checksum = rest[-1:] == ["crc32c"]
    rest = rest[:-1] if checksum else rest
    if rest not in ([], ["blosc"], ["zstd"]):
        return None
    return _Codec(rest[0] if rest else "", checksum)


def _all_of(window: Window) -> Span:
    z, y, x = (slice(0, s.stop - s.start) for s in window)
    return z, y, x
