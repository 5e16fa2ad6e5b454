"""How tasks are run: in this process, on local worker processes, or on a running cluster, by one function."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from npczarr.errors import ParameterError

Task = TypeVar("Task")
Result = TypeVar("Result")

_AHEAD = 2  # tasks in flight for each worker thread: one running, one waiting


@contextmanager
def cluster(workers: int | None = None, scheduler: str | None = None) -> Iterator[Any]:
    """Give a distributed Client, or None for work in this process.

    Parameters
    ----------
    workers
        Local worker processes; 0 for this process, None for one a core, or the active Client if there is one.
    scheduler
        Address of a running scheduler, ``tcp://host:port``.

    Raises
    ------
    ParameterError
        If both are given, or the scheduler cannot be reached.
    """
    if workers is not None and workers < 0:
        raise ParameterError(f"workers must be 0 or more, got {workers}")
    if scheduler is not None and workers is not None:
        raise ParameterError("give either workers (local processes) or a scheduler, not both")
    if workers == 0:
        yield None
        return
    from distributed import Client, LocalCluster, default_client

    if scheduler is not None:
        try:
            client = Client(scheduler, timeout="30s")
        except (OSError, ValueError) as error:
            raise ParameterError(
                f"no scheduler answers at {scheduler} ({error}); start one with `dask scheduler`"
            ) from error
        with client:
            yield client
        return
    if workers is None:
        try:
            yield default_client()
            return
        except ValueError:
            workers = os.cpu_count() or 1
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as local,
        Client(local) as client,
    ):
        yield client


def run_tasks(
    client: Any,  # noqa: ANN401 - a distributed.Client or None
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    name: Callable[[Task], str],
) -> Iterator[tuple[Task, Result | BaseException]]:
    """Run a function over tasks and yield each with its result, or with the error that ended it, as they finish.

    Only a few tasks are in flight for each worker, so neither scheduler nor client grows with the number of tasks. A
    task whose worker dies is run again elsewhere, so it must be safe to run twice.

    Parameters
    ----------
    function
        A function of an importable module.
    name
        Readable name of a task, for the dashboard.
    """
    if client is None:
        for task in tasks:
            try:
                outcome: Result | BaseException = function(task)
            except Exception as error:
                outcome = error
            yield task, outcome
        return
    from distributed import as_completed

    waiting = iter(tasks)
    running: dict[Any, Task] = {}
    finished = as_completed()

    def submit() -> None:
        for task in waiting:
            future = client.submit(function, task, pure=False, key=f"{name(task)}-{os.urandom(4).hex()}")
            running[future] = task
            finished.add(future)
            return

    slots = _AHEAD * max(1, sum(client.nthreads().values()))
    for _ in range(slots):
        submit()
    for future in finished:
        task = running.pop(future)
        outcome = future.exception() if future.status == "error" else future.result()
        future.release()
        yield task, outcome
        submit()
