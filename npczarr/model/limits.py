"""Limits of memory and time for one scan. A scan beyond them is refused with the reason; the others convert."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import TypeVar

from npczarr.errors import ParameterError, SourceError
from npczarr.model.cohort import File

Item = TypeVar("Item")
GB = 10**9


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for one scan; no real series comes near the defaults.

    Parameters
    ----------
    scan_gb
        Decoded voxels of a scan or a mask, whatever is unpacked on the way to them, and the scan padded to the largest
        of its cohort, in GB (10^9 bytes).
    files_gb
        Files of a scan together, as they come out of an archive, in GB; and any other file.
    axis_voxels
        Slices, rows or columns of a scan: every other scan of the store is padded to them.
    scan_seconds
        Time to read a scan. It is looked at between files, slices and pieces of packed data; a single request to a slow
        server, a single header or a single compressed slice is not interrupted.

    Raises
    ------
    ParameterError
        If a limit is not a positive number.
    """

    scan_gb: float = 4.0
    files_gb: float = 8.0
    axis_voxels: float = 10_000
    scan_seconds: float = 600.0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ParameterError(f"limit {name}: expected a number above 0, got {value!r}")

    def check_files(self, files: Iterable[File]) -> None:
        """Refuse files that are too large together, before one of them is read."""
        total = sum(file.size for file in files)
        if total > self.files_gb * GB:
            raise SourceError(f"{size(total)} of files, over the limit of {self.files_gb:g} GB ({_raise('files_gb')})")

    def check_voxels(self, nbytes: int) -> None:
        """Refuse voxels that would take too much memory, before it is taken."""
        if nbytes > self.scan_gb * GB:
            raise SourceError(
                f"{size(nbytes)} of voxels by the header, over the limit of {self.scan_gb:g} GB ({_raise('scan_gb')})"
            )

    def check_axes(self, shape_zyx: tuple[int, int, int]) -> None:
        """Refuse a scan that is absurdly long in one direction."""
        if max(shape_zyx) > self.axis_voxels:
            raise SourceError(
                f"{shape_zyx} voxels, over the limit of {self.axis_voxels:g} in one direction ({_raise('axis_voxels')})"
            )

    def check_unpacked(self, nbytes: int) -> None:
        """Refuse packed data that has grown too large; to be called while it grows."""
        if nbytes > self.scan_gb * GB:
            raise SourceError(f"packed data grows beyond the limit of {self.scan_gb:g} GB ({_raise('scan_gb')})")

    def clock(self) -> Clock:
        """Start to count the time of a scan."""
        return Clock(self.scan_seconds, time.monotonic() + self.scan_seconds)


@dataclass(frozen=True, slots=True)
class Clock:
    """The time that a scan has left."""

    seconds: float
    end: float

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items while there is time.

        Raises
        ------
        SourceError
            If the time is over; an item that was begun is finished first.
        """
        for item in items:
            if time.monotonic() > self.end:
                raise SourceError(f"reading took more than the limit of {self.seconds:g} s ({_raise('scan_seconds')})")
            yield item


def size(nbytes: int) -> str:
    """Bytes for people: ``3.1 MB``, ``7200 GB``."""
    unit, name = next(((u, n) for u, n in ((GB, "GB"), (10**6, "MB")) if nbytes >= u), (10**3, "kB"))
    return f"{nbytes / unit:.3g} {name}" if nbytes < 1000 * unit else f"{nbytes // unit} {name}"


def _raise(name: str) -> str:
    return f"where that is real, raise limits.{name} in the configuration"
