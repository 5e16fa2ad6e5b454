"""Whether scans are as they were when their patches were planned: what a batch holds must belong together."""

from __future__ import annotations

import time
from collections.abc import Sequence

from npczarr.store.scans import StoredScan
from npczarr.store.watch import stamp_of

_PAUSE_SECONDS = 1.0  # between two looks at a remote store, each of which is a request


class Unchanged:
    """Looks whether scans have changed; it can travel to another process."""

    def __init__(self) -> None:
        self._looked = -_PAUSE_SECONDS
        self._same: set[tuple[str, tuple[int, int]]] = set()

    def check(self, scans: Sequence[StoredScan]) -> None:
        """Make sure that scans of one store, which were read just now, are those of its opening.

        A local store is looked at each time, a remote one once a second.

        Raises
        ------
        StoreError
            If a scan was changed since.
        """
        watch = scans[0].watch
        if watch is None:
            return
        if watch.location.is_remote:
            now = time.monotonic()
            if 0 <= now - self._looked < _PAUSE_SECONDS:
                return
            self._looked = now
        stamp = stamp_of(watch.location)
        if stamp == watch.stamp:
            return
        for scan in scans:
            if (stamp.text, scan.place) not in self._same:
                watch.check(scan)
                self._same.add((stamp.text, scan.place))
