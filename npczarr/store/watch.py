"""Whether scans were changed since a store was opened: what is read of one must belong together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import numpy as np
from zarr.abc.store import Store
from zarr.storage import LocalStore

from npczarr.errors import StoreError
from npczarr.store.location import Location, put
from npczarr.store.objects import Objects
from npczarr.store.zarr_library import run

if TYPE_CHECKING:
    from npczarr.store.scans import StoredScan

Place = tuple[int, int]


#: An object below an array whose content is new each time that rows are about to change or have changed. Of `status`
#: itself an object store cannot tell: its ETag is the same again once everything is ok again.
EPOCH_KEY = "status/epoch"
#: By how much the clocks of one server's machines may differ; times of objects are whole seconds.
_CLOCKS = timedelta(seconds=3)


class Stamp(NamedTuple):
    """What tells the epoch of a store from others, "" where nothing does; and when it began, by its server's clock."""

    text: str = ""
    began: datetime | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """What the epoch of a store was when it was opened; small, so it can travel in a task.

    Writers say `pending` in `status` and begin an epoch before they touch voxels; they write the other tables of a
    row, begin another epoch, and write `status` again.

    Parameters
    ----------
    location
        The store.
    stamp
        By which the epoch is told from a later one.
    describe
        Describes one scan of a store anew; a function of a module.
    """

    location: Location
    stamp: Stamp
    describe: Callable[[Location, Stamp, Place], StoredScan]

    def check(self, scan: StoredScan, times: Sequence[datetime] = ()) -> None:
        """Make sure that what was read of a scan belongs to what the store said of it when it was opened.

        Parameters
        ----------
        scan
            As the store described it.
        times
            When the objects that were read were written, all of them, where that is known. A writer begins an epoch
            before it touches voxels: those that are older than the epoch of the opening are the ones of then, and no
            request is needed to see it.

        Raises
        ------
        StoreError
            If the scan was changed in between.
        """
        if times and self.stamp.began is not None and max(times) < self.stamp.began - _CLOCKS:
            return
        now = stamp_of(self.location)
        if now != self.stamp and not _same(scan, self.describe(self.location, now, scan.place)):
            raise StoreError(
                f"{scan.label} ({self.location.shown}): changed while it was read; open the store again, once it is no "
                "longer written"
            )


def begin_epoch(store: Store) -> None:
    """Tell readers that rows are about to change, or have changed."""
    put(store, EPOCH_KEY, uuid4().hex.encode())


@contextmanager
def read_together(location: Location) -> Iterator[None]:
    """Make sure that what is read of a store in several steps is of one state of it.

    Raises
    ------
    StoreError
        On leaving, if a writer began an epoch meanwhile.
    """
    before = stamp_of(location)
    yield
    if stamp_of(location) != before:
        raise StoreError(
            f"{location.shown}: changed while it was read, and two states of it would have been mixed; run the command "
            "again, once the store is no longer written"
        )


def stamp_of(location: Location) -> Stamp:
    """Return what tells the epoch of a store from others; an empty one where there is none, or it cannot be read."""
    store = location.open(read_only=True)
    try:
        if isinstance(store, LocalStore):
            found = os.stat(Path(store.root, EPOCH_KEY))
            return Stamp(f"{found.st_mtime_ns} {found.st_size} {found.st_ino}")
        return Stamp(*run(store.stamp(EPOCH_KEY))) if isinstance(store, Objects) else Stamp()
    except (OSError, StoreError):
        return Stamp()


def _same(one: StoredScan, other: StoredScan) -> bool:
    """Whether two descriptions say the same of a scan's voxels."""
    texts = ("patient", "sequence", "status", "image_digest", "mask_digest", "row_digest", "known_zyx", "shape_zyx")
    if any(getattr(one, name) != getattr(other, name) for name in texts):
        return False
    return one.grid is None or (other.grid is not None and np.array_equal(one.grid.affine, other.grid.affine))
