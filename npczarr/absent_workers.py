"""What a user must know while tasks wait on a cluster that has no worker: else nothing would be seen, and for ever."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PATIENCE_SECONDS = 10.0  # a worker that is being started, or started again, takes less


@contextmanager
def told(client: Any) -> Iterator[None]:  # noqa: ANN401 - a distributed.Client
    """Warn once, while the block runs, if the cluster has been without workers for some time; tasks go on waiting.

    They are not given up: a cluster may begin to start workers when it has tasks.

    Parameters
    ----------
    client
        A client of the cluster.
    """
    scheduler = client.scheduler.address
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_PATIENCE_SECONDS / 2):
            if _has_workers(client) or ended.wait(_PATIENCE_SECONDS / 2) or _has_workers(client) or ended.is_set():
                continue
            warnings.warn(
                f"no worker at {scheduler}, so tasks are waiting; start one with `dask worker {scheduler}`. If there "
                "was one, its log says why it ended: npczarr, in the same version, must be installed where it runs",
                RuntimeWarning,
                stacklevel=1,
            )
            return

    thread = threading.Thread(target=watch, name="npczarr-absent-workers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=1)  # it may be asking a scheduler that is gone


def _has_workers(client: Any) -> bool:  # noqa: ANN401
    try:
        return bool(client.nthreads())
    except Exception:  # the scheduler is gone, which is said where results are awaited
        return True
