"""The workers of a cluster while tasks run: how many take tasks, and what a user must know while none does.

Without a word nothing would be seen, and for ever: tasks are not given up, since a cluster may begin to start workers
when it has tasks.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Collection, Mapping
from typing import Any, Self

_LOOK_SECONDS = 2.0
_PATIENCE_SECONDS = 10.0  # a worker that is being started, or started again, takes less


class WatchedWorkers:
    """Looks at the workers of a cluster while a block runs, and warns once of each thing that keeps tasks waiting.

    Parameters
    ----------
    client
        A ``distributed.Client`` of the cluster.

    Attributes
    ----------
    threads
        How many tasks the workers run at a time, as it was known last.
    """

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - a distributed.Client
        self._client = client
        self._scheduler = client.scheduler.address
        self._ended = threading.Event()
        self._since: dict[str, float] = {}  # when each fault was first seen, by what is said of it
        self._said: set[str] = set()
        self._thread = threading.Thread(target=self._watch, name="npczarr-watched-workers", daemon=True)
        self.threads = sum(client.nthreads().values())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join(timeout=1)  # it may be asking a scheduler that is gone

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            try:
                workers = self._client.scheduler_info(n_workers=-1)["workers"]
            except Exception:  # the scheduler is gone, which is said where results are awaited
                continue
            self.threads = sum(one["nthreads"] for one in workers.values() if one["status"] == "running")
            self._tell(_faults(self._scheduler, workers))

    def _tell(self, faults: Collection[str]) -> None:
        """Warn of what has been so for some time."""
        now = time.monotonic()
        self._since = {fault: self._since.get(fault, now) for fault in faults}
        for fault, since in self._since.items():
            if now - since >= _PATIENCE_SECONDS and fault not in self._said and not self._ended.is_set():
                self._said.add(fault)
                warnings.warn(fault, RuntimeWarning, stacklevel=1)


def _faults(scheduler: str, workers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say what keeps tasks waiting: no worker, or workers that Dask has paused."""
    if not workers:
        return [
            f"no worker at {scheduler}, so tasks are waiting; start one with `dask worker {scheduler}`. If there was "
            "one, its log says why it ended: npczarr, in the same version, must be installed where it runs"
        ]
    return [
        f"the worker {address} has paused, as its memory of {one['memory_limit'] / 2**20:.0f} MiB is nearly full, and "
        "tasks wait on it; give it more (--memory-limit), or end it: its tasks are then run by another"
        for address, one in workers.items()
        if one["status"] == "paused"
    ]
