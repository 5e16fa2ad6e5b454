"""How tasks are run: in this process, on local worker processes, or on a running cluster, by one method."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from numbers import Integral
from queue import Empty, SimpleQueue
from typing import Any, Literal, Self, TypeVar

from npczarr import ctrl_c, freed_memory
from npczarr.errors import ClusterError, ParameterError
from npczarr.watched_workers import WatchedWorkers

Task = TypeVar("Task")
Result = TypeVar("Result")
Idle = Literal["processes", "threads", "here"]

_ADDRESS = re.compile(r"(\w+://)?[^/]+:\d+/?|inproc://.+|unix://.+")
_AHEAD = 2  # tasks in flight for each worker thread: one running, one waiting
_LOOK_SECONDS = 1.0  # after which workers that have joined are given tasks, though none has ended
_HASH_SEED_OF_DASK = "6640"
_RETRIES = 2  # of a task that raised: a store may have been away; one whose worker died is run again by Dask itself


class Runner:
    """Runs tasks where the user wants them; a context manager that starts nothing before the first task.

    Parameters
    ----------
    workers
        Local worker processes; 0 for this process; None for the active ``distributed.Client``, or one a core.
    scheduler
        Address of a running scheduler, ``tcp://host:port``.
    idle
        What to use where nothing is chosen and no client is active: worker ``"processes"``, one a core; ``"threads"``
        of this process, for work that releases the interpreter; or this process alone (``"here"``), for work that takes
        less time than starting others.

    Raises
    ------
    ParameterError
        If both are given, one is of another kind, or the scheduler cannot be reached.
    """

    def __init__(self, workers: int | None = None, scheduler: str | None = None, *, idle: Idle = "processes") -> None:
        if workers is not None and (not isinstance(workers, Integral) or isinstance(workers, bool) or workers < 0):
            raise ParameterError(f"workers must be a whole number of 0 or more, got {workers!r}")
        if scheduler is not None and workers is not None:
            raise ParameterError("give either workers (local processes) or a scheduler, not both")
        if scheduler is not None and not (isinstance(scheduler, str) and _ADDRESS.fullmatch(scheduler)):
            raise ParameterError(f"scheduler must be an address such as tcp://host:8786, got {scheduler!r}")
        free = workers is None and scheduler is None and active_client() is None
        if free and idle == "here":
            workers = 0
        self._threads = free and idle == "threads"
        self._workers = workers
        self._scheduler = scheduler
        self._stack = ExitStack()
        self._client: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        with ctrl_c.deferred():  # people press it twice
            self._stack.close()

    def run(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], *, name: Callable[[Task], str]
    ) -> Iterator[tuple[Task, Result | BaseException]]:
        """Run a function over tasks and yield each with its result, or with the error that ended it, as they finish.

        Only a few tasks are in flight for each worker, so neither scheduler nor client grows with the number of tasks.
        A task that raises is tried again, one whose worker dies is run elsewhere: it must be safe to run twice.

        Parameters
        ----------
        function
            A function of an importable module.
        name
            Readable name of a task, for the dashboard.

        Raises
        ------
        ClusterError
            If the scheduler goes away.
        """
        if self._workers == 0:
            for task in tasks:
                try:
                    outcome: Result | BaseException = function(task)
                except Exception as error:
                    outcome = error
                yield task, outcome
        elif self._threads:
            yield from _on_threads(function, tasks)
        else:
            yield from self._distribute(function, iter(tasks), name)

    def _distribute(
        self, function: Callable[[Task], Result], waiting: Iterator[Task], name: Callable[[Task], str]
    ) -> Iterator[tuple[Task, Result | BaseException]]:
        first = next(waiting, None)
        if first is None:
            return
        client = self._connect(function.__module__)
        running: dict[Any, Task] = {}
        finished: SimpleQueue[Any] = SimpleQueue()

        def submit(tasks: Iterable[Task]) -> None:
            for task in tasks:
                key = f"{name(task)}-{os.urandom(4).hex()}"
                future = client.submit(_run_with_memory_kept, function, task, pure=False, key=key, retries=_RETRIES)
                running[future] = task
                future.add_done_callback(finished.put)

        submit([first])
        with WatchedWorkers(client) as workers:
            while running:
                submit(islice(waiting, max(0, _AHEAD * max(1, workers.threads) - len(running))))
                try:
                    future = finished.get(timeout=_LOOK_SECONDS)  # workers may have joined
                except Empty:
                    continue
                task = running.pop(future)
                outcome = _outcome(future, name(task))
                future.release()
                yield task, outcome

    def _connect(self, module: str) -> Any:  # noqa: ANN401 - a distributed.Client
        if self._client is None:
            self._client = (
                self._client_of_scheduler()
                if self._scheduler
                else (self._workers is None and active_client()) or self._local(module)
            )
        return self._client

    def _client_of_scheduler(self) -> Any:  # noqa: ANN401
        from distributed import Client
        from distributed.utils import silence_logging_cmgr

        # a scheduler that goes away is said once, by us
        self._stack.enter_context(silence_logging_cmgr(logging.CRITICAL))
        try:
            return self._stack.enter_context(Client(self._scheduler, timeout="30s", set_as_default=False))
        except (OSError, ValueError) as error:
            raise ParameterError(
                f"no scheduler answers at {self._scheduler} ({error}); start one with `dask scheduler`"
            ) from error

    def _local(self, module: str) -> Any:  # noqa: ANN401
        from distributed import Client, LocalCluster

        self._stack.enter_context(_without_main_module())
        self._stack.enter_context(_environment_restored(_set_by_dask()))
        self._stack.enter_context(_forked_from_one_import(module))
        with ctrl_c.deferred(), _standard_library_first():  # Dask cannot close workers that are about to start
            try:
                local = LocalCluster(
                    n_workers=self._workers or os.cpu_count() or 1,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=":0",  # any free port: a fixed one warns the second user of a machine
                    silence_logs=logging.CRITICAL,
                )
            except RuntimeError as error:
                raise ClusterError(f"the worker processes cannot be started ({error}); give workers=0") from error
            self._stack.enter_context(local)
        client = self._stack.enter_context(Client(local, set_as_default=False))
        client.register_plugin(_environment())
        return client


def _outcome(future: Any, task: str) -> Any:  # noqa: ANN401 - a distributed.Future, and whatever its task returned
    """Return the result of a task, or the error that ended it."""
    with suppress(OSError, CancelledError):  # of the connection: those of a task are not raised
        if future.status == "error":
            return future.exception()
        if future.status == "finished":
            return future.result()
    raise ClusterError(
        f"the cluster gave up {task}: its scheduler went away; run again on one that runs, what was complete is kept"
    )


def _on_threads(
    function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[tuple[Task, Result | BaseException]]:
    """Run tasks on threads, one for each core."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {pool.submit(function, task): task for task in tasks}
        for future in as_completed(running):
            error = future.exception()
            yield running.pop(future), future.result() if error is None else error


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


def _run_with_memory_kept(function: Callable[[Task], Result], task: Task) -> Result:
    freed_memory.keep()
    return function(task)


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


def active_client() -> Any:  # noqa: ANN401 - a distributed.Client or None
    """Return the Client that the user has started, or None."""
    if "distributed" not in sys.modules:
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None
