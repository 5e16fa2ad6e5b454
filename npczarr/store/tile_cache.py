"""Encoded objects of a store that stay in memory, and maps of those that are not encoded."""

from __future__ import annotations

import mmap
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Any
from weakref import WeakSet

from numpy.typing import NDArray

from npczarr.errors import StoreError
from npczarr.store.location import Location, get_all
from npczarr.store.voxels import VoxelArray

_MOST_MAPS = 1024  # a process may have some 65 000


_CACHES: WeakSet[TileCache] = WeakSet()


class TileCache:
    """Objects of a store as they are encoded, the latest used, up to a number of bytes; any thread may ask.

    Parameters
    ----------
    limit
        Bytes that are kept at most; 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: Decoded chunks by what encodes them: most chunks of masks are nothing but background.
        self.brief: dict[tuple[str, bytes], NDArray[Any]] = {}
        #: Latest objects that are mapped into memory: a new map costs a fault for each page that is touched.
        self.maps: OrderedDict[str, memoryview] = OrderedDict()
        #: Arrays and scans that match their digests although they lack objects.
        self.complete: set[tuple[str, str]] = set()
        self._held: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()
        _CACHES.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return TileCache, (self.limit,)

    def get(self, wanted: Iterable[tuple[VoxelArray, Sequence[str]]]) -> dict[str, bytes | None]:
        """Read objects of arrays of one store by key, all at once those that are not held: one wait for all."""
        arrays = {key: array for array, keys in wanted for key in keys}
        found: dict[str, bytes | None] = {}
        with self._lock:
            for key, array in arrays.items() if self.limit else ():
                place = (array.location.url, key)
                if place in self._held:
                    found[key] = self._held[place]
                    self._held.move_to_end(place)
        missing = [key for key in arrays if key not in found]
        if missing:
            location = arrays[missing[0]].location
            read = dict(zip(missing, _read_all(location, missing), strict=True))
            if self.limit:
                self._keep(location.url, read)
            found |= read
        return found

    def mapped(self, path: str) -> memoryview:
        """Map a file into memory, or return the map that there is."""
        with self._lock:
            if (found := self.maps.get(path)) is not None:
                self.maps.move_to_end(path)
                return found
            with open(path, "rb") as file:
                content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            self.maps[path] = content
            if len(self.maps) > _MOST_MAPS:
                self.maps.popitem(last=False)  # what a thread still reads of it stays mapped
            return content

    def renew_lock(self) -> None:
        """Take a lock of its own in a fork: a thread of the parent may have held the old one, for ever here."""
        self._lock = Lock()

    def _keep(self, url: str, read: dict[str, bytes | None]) -> None:
        with self._lock:
            for key, content in read.items():
                if content is not None and (url, key) not in self._held:
                    self._held[url, key] = content
                    self._bytes += len(content)
            while self._bytes > self.limit and self._held:
                self._bytes -= len(self._held.popitem(last=False)[1])


def _renew_locks() -> None:
    for cache in _CACHES:
        cache.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


def _read_all(location: Location, keys: list[str]) -> list[bytes | None]:
    if location.is_remote:
        return get_all(location.open(read_only=True), keys)
    return [_read_file(f"{location.url}/{key}") for key in keys]


def _read_file(path: str) -> bytes | None:
    """Read a file whole, with as few calls as that takes."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    try:
        size = os.fstat(file).st_size
        content = os.read(file, size)
        while len(content) < size and (more := os.read(file, size - len(content))):
            content += more
        return content
    finally:
        os.close(file)
