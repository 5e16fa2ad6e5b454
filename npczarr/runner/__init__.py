"""How tasks are run: in this process, on local worker processes, or on a running cluster, by one method."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from itertools import islice
from numbers import Integral
from queue import Empty, SimpleQueue
from typing import Any, Literal, Self, TypeVar

from npczarr import ctrl_c, freed_memory
from npczarr.errors import ClusterError, ParameterError
from npczarr.runner.local import start_workers
from npczarr.runner.watched import WatchedWorkers

Task = TypeVar("Task")
Result = TypeVar("Result")
Idle = Literal["processes", "threads", "here"]

_ADDRESS = re.compile(r"(\w+://)?[^/]+:\d+/?|inproc://.+|unix://.+")
_AHEAD = 2  # tasks in flight for each worker thread: one running, one waiting
_LOOK_SECONDS = 1.0  # after which workers that have joined are given tasks, though none has ended
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
                else (self._workers is None and active_client()) or start_workers(self._workers, module, self._stack)
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


def _run_with_memory_kept(function: Callable[[Task], Result], task: Task) -> Result:
    freed_memory.keep()
    return function(task)


def active_client() -> Any:  # noqa: ANN401 - a distributed.Client or None
    """Return the Client that the user has started, or None."""
    if "distributed" not in sys.modules:
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None
