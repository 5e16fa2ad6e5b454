"""Whether scans were changed since a store was opened: what is read of one must belong together."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from zarr.storage import LocalStore

from npczarr.errors import StoreError
from npczarr.store.location import Location
from npczarr.store.object_store import Objects
from npczarr.store.zarr_library import run

if TYPE_CHECKING:
    from npczarr.store.scans import StoredScan

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Watch:
    """What `status` looked like when a store was opened; small, so it can travel in a task.

    Writers say `pending` in `status` before they touch voxels, and write the whole table then. As long as its first
    object is the one that it was, nothing was touched.

    Parameters
    ----------
    location, key
        The store, and the first object of `status`.
    stamp
        By which that object is told from a later one; "" where nothing tells.
    describe
        Describes one scan of a store anew; a function of a module.
    """

    location: Location
    key: str
    stamp: str
    describe: Callable[[Location, str, Place], StoredScan]

    def check(self, scan: StoredScan) -> None:
        """Make sure that what was read of a scan belongs to what the store said of it when it was opened.

        Raises
        ------
        StoreError
            If the scan was changed in between.
        """
        now = stamp_of(self.location, self.key) if self.stamp else ""
        if now != self.stamp and not _same(scan, self.describe(self.location, now, scan.place)):
            raise StoreError(
                f"{scan.label} ({self.location.shown}): changed while it was read; open the store again, once it is no "
                "longer written"
            )


def stamp_of(location: Location, key: str) -> str:
    """Return what changes whenever an object is written, without reading it; "" where nothing does, or it is absent."""
    store = location.open(read_only=True)
    try:
        if isinstance(store, LocalStore):
            found = os.stat(Path(store.root, key))
            return f"{found.st_mtime_ns} {found.st_size} {found.st_ino}"
        return run(store.stamp(key)) if isinstance(store, Objects) else ""
    except (OSError, StoreError):
        return ""


def _same(one: StoredScan, other: StoredScan) -> bool:
    """Whether two descriptions say the same of a scan's voxels."""
    texts = ("patient", "sequence", "status", "image_digest", "mask_digest", "row_digest", "known_zyx", "shape_zyx")
    if any(getattr(one, name) != getattr(other, name) for name in texts):
        return False
    return one.grid is None or (other.grid is not None and np.array_equal(one.grid.affine, other.grid.affine))
