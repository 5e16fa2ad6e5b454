"""Worker processes of this machine: forked from one import, in the environment of the process that asks for them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from npczarr import ctrl_c
from npczarr.errors import ClusterError

_HASH_SEED_OF_DASK = "6640"


def start_workers(count: int | None, module: str, stack: ExitStack) -> Any:  # noqa: ANN401 - a distributed.Client
    """Start worker processes of one thread each, which end when the stack is closed, and return their client.

    Parameters
    ----------
    count
        How many; None for one a core.
    module
        What they import before they begin.
    stack
        Holds the workers, the client, and what was changed in this process for them.

    Raises
    ------
    ClusterError
        If they cannot be started.
    """
    from distributed import Client, LocalCluster

    stack.enter_context(_without_main_module())
    stack.enter_context(_environment_restored(_set_by_dask()))
    stack.enter_context(_forked_from_one_import(module))
    with ctrl_c.deferred(), _standard_library_first():  # Dask cannot close workers that are about to start
        try:
            local = LocalCluster(
                n_workers=count or os.cpu_count() or 1,
                threads_per_worker=1,
                processes=True,
                dashboard_address=":0",  # any free port: a fixed one warns the second user of a machine
                silence_logs=logging.CRITICAL,
            )
        except RuntimeError as error:
            raise ClusterError(f"the worker processes cannot be started ({error}); give workers=0") from error
        stack.enter_context(local)
    client = stack.enter_context(Client(local, set_as_default=False))
    client.register_plugin(_environment())
    return client


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Hide from multiprocessing where the ``__main__`` module was loaded from.

    A spawned process imports the caller's script before it begins, so a script without a guard would run again in every
    worker, which starts workers of its own. Tasks of this package are functions of its modules and need no script.
    """
    main = sys.modules["__main__"]
    hidden = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    main.__dict__.pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)


@contextmanager
def _environment_restored(ours: Mapping[str, str]) -> Iterator[None]:
    """Take back variables that the block sets for the processes that it starts, such as one thread for linear algebra.

    What somebody has set since stays, and so does what another runner has taken back already.
    """
    before = {name: os.environ.get(name) for name in ours}
    try:
        yield
    finally:
        for name, value in before.items():
            if os.environ.get(name) == ours[name]:
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def _set_by_dask() -> dict[str, str]:
    """Return the environment variables that Dask sets before it starts a worker."""
    import dask

    given = dask.config.get("distributed.nanny.pre-spawn-environ", {})
    return {"PYTHONHASHSEED": _HASH_SEED_OF_DASK, **{name: str(value) for name, value in given.items()}}


@contextmanager
def _forked_from_one_import(module: str) -> Iterator[None]:
    """Let worker processes be forked from one that has imported what they need, instead of each importing it.

    That process has no threads and lives as long as this one. Where the system has no such server or forks badly
    (Windows, macOS), or the user chose a method, nothing is changed.
    """
    import dask
    from distributed.utils import get_mp_context

    method = "distributed.worker.multiprocessing-method"
    if not sys.platform.startswith("linux") or dask.config.get(method) != "spawn":
        yield
        return
    from multiprocessing import forkserver  # Windows has none

    with dask.config.set({method: "forkserver"}):
        get_mp_context()  # chooses modules of its own, once
        multiprocessing.set_forkserver_preload(["distributed.nanny", module])
        # workers ignore it for good: this process alone answers to it, and ends them
        with ctrl_c.ignored(), _standard_library_first():
            forkserver.ensure_running()
        yield


@contextmanager
def _standard_library_first() -> Iterator[None]:
    """Let processes that are started in the block import nothing from the current folder before they know our path.

    It may hold a ``random.py``. What they import later they look for where this process does.
    """
    safe = {"PYTHONSAFEPATH": "1"}
    with _environment_restored(safe):
        os.environ.update(safe)
        yield


def _environment() -> Any:  # noqa: ANN401 - a distributed.WorkerPlugin
    """Give workers the environment of this process as it is now: the server that forks them has that of its start.

    What Dask sets for its workers, such as one thread for linear algebra, stays. Workers that were not forked learn to
    ignore Ctrl-C, too.
    """
    import dask
    from distributed import WorkerPlugin

    wanted = dict(os.environ)
    of_dask = [*_set_by_dask(), *dask.config.get("distributed.nanny.environ", {})]

    class Environment(WorkerPlugin):
        def setup(self, worker: object) -> None:
            kept = {name: os.environ[name] for name in of_dask if name in os.environ}
            os.environ.clear()
            os.environ.update(wanted | kept)
            ctrl_c.ignore()

    return Environment()
