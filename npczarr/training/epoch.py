"""The number of an epoch, which copies of an object in other processes follow."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import weakref
from contextlib import suppress
from typing import Any

_NUMBERS = struct.Struct("<qq")  # the epoch that was set last, and how often one was set


class SharedEpoch:
    """Counts epochs; where one is set, every copy on this machine goes to it.

    Workers of a ``DataLoader`` that live on from epoch to epoch hold a copy of the dataset from their start. The number
    that is set lies in a small file of the temporary folder, which a fork and a pickled copy both map into memory.
    """

    def __init__(self, path: str = "", number: int = 0, *, begun: bool = False) -> None:
        self._path = path
        self._number, self._begun = number, begun
        self._memory = _memory_of(path) if path else self._create()
        self._seen = self._read()[1]

    def __reduce__(self) -> tuple[Any, ...]:
        self._follow()
        return _copied, (self._path, self._number, self._begun)

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedEpoch:
        return SharedEpoch(number=self.number, begun=self._begun)

    @property
    def number(self) -> int:
        """The epoch."""
        self._follow()
        return self._number

    def set(self, number: int) -> None:
        """Go to an epoch, here and in every copy; the next iteration is of it."""
        self._memory[:] = _NUMBERS.pack(number, self._read()[1] + 1)
        self._follow()

    def begin(self) -> None:
        """Begin an iteration: of the epoch that was set, or of the one behind that of the iteration before."""
        self._follow()
        self._number += self._begun
        self._begun = True

    def _follow(self) -> None:
        number, times = self._read()
        if times != self._seen:
            self._number, self._begun, self._seen = number, False, times

    def _read(self) -> tuple[int, int]:
        number, times = _NUMBERS.unpack(self._memory[:])
        return number, times

    def _create(self) -> mmap.mmap:
        try:
            handle, self._path = tempfile.mkstemp(prefix="npczarr-epoch-")
        except OSError:  # no place to write: a fork shares anonymous memory
            return mmap.mmap(-1, _NUMBERS.size)
        with os.fdopen(handle, "r+b") as file:
            file.write(bytes(_NUMBERS.size))
            file.flush()
            memory = mmap.mmap(file.fileno(), _NUMBERS.size)
        weakref.finalize(self, _remove, self._path, os.getpid())
        return memory


def _copied(path: str, number: int, begun: bool) -> SharedEpoch:
    """Return a copy that follows; one of its own where the file is not there, as on another machine."""
    if path and os.path.exists(path):
        with suppress(OSError):
            return SharedEpoch(path, number, begun=begun)
    return SharedEpoch(number=number, begun=begun)


def _memory_of(path: str) -> mmap.mmap:
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), _NUMBERS.size)


def _remove(path: str, process: int) -> None:
    if os.getpid() == process:  # a fork deletes its copy too
        with suppress(OSError):
            os.remove(path)
