"""Batches of patches, in order or by number, filled by threads of this process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np

from npczarr.errors import ParameterError
from npczarr.training.arguments import check_numbers
from npczarr.training.epoch import SharedEpoch
from npczarr.training.filling import Batch, PatchFiller
from npczarr.training.sampling import Draw, draws
from npczarr.training.subjects import Subject


class Patches:
    """Batches of patches; iterate over it, or ask for one by its number. Made by :func:`npczarr.patches`.

    Both give the same: after ``batches = list(p)``, ``batches[3]`` is ``p[3]``. It is a map-style Dataset of batches
    for ``torch.utils.data.DataLoader(p, batch_size=None)``, with any number of workers, started by fork or spawn; an
    iterable one by :meth:`as_iterable_dataset`.

    Attributes
    ----------
    subjects
        Labels of the patients that are sampled.
    left_out
        Patients that are not, and why.
    memory_bytes
        Most bytes that batches in flight and objects kept in memory take, beside one decoded chunk for each thread.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        left_out: Mapping[str, str],
        filler: PatchFiller,
        *,
        batch_size: int,
        steps: int,
        seed: int,
        start: int,
        rank: int,
        world: int,
        threads: int,
    ) -> None:
        self._subjects = tuple(subjects)
        self._filler = filler
        self._batch_size = batch_size
        self._steps = steps
        self._seed = seed
        self._start = start
        self._rank, self._world = rank, world
        self._threads = threads
        #: Batches that are filled while one is used: enough for each thread to have a patch to fill.
        self._ahead = max(2, -(-2 * threads // batch_size))
        self._pool: tuple[int, ThreadPoolExecutor] | None = None
        self._epoch = SharedEpoch()
        self.subjects = tuple(subject.patient for subject in subjects)
        self.left_out = dict(left_out)
        of_batch = batch_size * filler.bytes_of_patch
        self.memory_bytes = (self._ahead + 1) * of_batch + filler.cache.limit

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pool": None}  # threads stay where they are

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> Batch:
        """Return one batch.

        Raises
        ------
        IndexError
            If there are no more than so many in an epoch.
        """
        if not isinstance(index, int | np.integer):
            raise ParameterError(f"expected the number of a batch, got {index!r}")
        if not -self._steps <= index < self._steps:
            raise IndexError(f"batch {index} of {self._steps}")
        return self._wait(*self._begin(self._first + int(index) % self._steps))

    def __iter__(self) -> Iterator[Batch]:
        """Give the batches of the next epoch in order; those to come are decoded meanwhile."""
        self.next_epoch()
        return self._batches(range(self._first, self._first + self._steps))

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch: ``p[i]`` and the next iteration are of it.

        Workers of a ``DataLoader`` get a copy of this object when they start: each time that it is iterated over, or
        once with ``persistent_workers``. Every copy on this machine goes to the epoch. Without this call before each
        iteration, a map-style Dataset would give the same batches again.

        Raises
        ------
        ParameterError
            If it is not a whole number of at least 0.
        """
        check_numbers(epoch=epoch)
        self._epoch.set(int(epoch))

    def next_epoch(self) -> None:
        """Go to the epoch behind the one that was iterated over, as each iteration does."""
        self._epoch.begin()

    @property
    def epoch(self) -> int:
        """Number of the iteration whose batches ``p[i]`` gives, from 0; the next iteration is the one behind it."""
        return self._epoch.number

    @property
    def _first(self) -> int:
        """Number of the first batch of this epoch since the beginning."""
        return self._start + self.epoch * self._steps

    def _batches(self, steps: Iterable[int]) -> Iterator[Batch]:
        todo = iter(steps)
        begun = [self._begin(step) for step in islice(todo, self._ahead)]
        while begun:
            batch = begun.pop(0)
            step = next(todo, None)
            if step is not None:
                begun.append(self._begin(step))
            yield self._wait(*batch)

    def as_iterable_dataset(self) -> Any:  # noqa: ANN401 - a class of PyTorch, which is no dependency
        """Return the same batches as a ``torch.utils.data.IterableDataset``, for a DataLoader of ``batch_size=None``.

        Raises
        ------
        ParameterError
            If PyTorch is not installed.
        """
        try:
            from npczarr.training.torch_dataset import IterablePatches
        except ModuleNotFoundError as error:
            raise ParameterError(f"{error.name} is not installed: pip install torch") from error
        return IterablePatches(self)

    def _begin(self, step: int) -> tuple[Batch, list[Future[None]]]:
        """Ask the threads to fill a batch."""
        drawn = draws(self._seed, step, self._batch_size, len(self._subjects), rank=self._rank, world=self._world)
        subjects = [self._subjects[draw.subject] for draw in drawn]
        batch = self._filler.empty(subjects, step)
        threads = self._executor()
        return batch, [threads.submit(self._fill, i, draw, batch) for i, draw in enumerate(drawn)]

    def _fill(self, i: int, draw: Draw, batch: Batch) -> None:
        self._filler.fill(self._subjects[draw.subject], self._seed, draw.number, i, batch)

    def _wait(self, batch: Batch, parts: list[Future[None]]) -> Batch:
        for part in parts:
            part.result()
        return batch

    def _executor(self) -> ThreadPoolExecutor:
        """Return the threads of this process: those of a parent do not live on in a fork."""
        if self._pool is None or self._pool[0] != os.getpid():
            self._pool = os.getpid(), ThreadPoolExecutor(self._threads, thread_name_prefix="patches")
        return self._pool[1]
