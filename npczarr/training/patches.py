"""Batches of patches for training, straight from a store."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from npczarr.errors import ParameterError
from npczarr.model.geometry import Shape
from npczarr.model.per_axis import PerAxis, per_axis
from npczarr.store.location import locate
from npczarr.store.open import open_location
from npczarr.store.origin import cohort_behind
from npczarr.store.selection import select_patients
from npczarr.store.tile_cache import TileCache
from npczarr.training.filling import Batch, Normalization, PatchFiller
from npczarr.training.sampling import Draw, draws
from npczarr.training.splits import warn_of_parted_subjects
from npczarr.training.subjects import Subject, find_subjects

_MB = 2**20
_REMOTE_CACHE_MB = 1024
_REMOTE_THREADS = 4


def patches(
    store: str | Path,
    *,
    size: PerAxis[int],
    batch_size: int = 2,
    sequences: Sequence[str] | None = None,
    where: str | None = None,
    foreground: float = 1 / 3,
    normalize: Normalization | None = "zscore",
    masks: bool = True,
    steps: int | None = None,
    start: int = 0,
    seed: int = 0,
    rank: int = 0,
    world: int = 1,
    threads: int | None = None,
    cache_mb: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Patches:
    """Draw patches of aligned sequences and their masks, as batches of arrays.

    Every patient comes once an epoch, in another order each time; where the last batch of one is not full, it is filled
    from the next. The same seed gives the same batches on any number of
    threads and workers; the ranks of a world share out the batches of one with `world` times their size. Any store will
    do whose sequences lie on one grid; one written by ``npczarr resample --for training`` is many times as fast.

    Parameters
    ----------
    store
        Folder or URL.
    size
        Voxels of a patch: one number, or three along z, y, x. What lies outside a scan is 0.
    batch_size
        Patches of a batch.
    sequences
        Labels, in the order in which they are stacked; by default all of the store.
    where
        Which patients: a selection such as ``"t_stage in ('T3', 'T4') and split == 'train'"``. What differs between
        sequences must hold for all of them.
    foreground
        Share of patches that are placed about a voxel of the mask, of every label as often as of another. Patients
        without one are sampled anywhere.
    normalize
        ``"zscore"`` (mean 0, standard deviation 1 over the scan), ``"percentile"`` (its 0.5th to 0, its 99.5th to 1) or
        None (real values).
    masks
        Also read the masks; a patient who lacks one is left out.
    steps
        Batches of one iteration; by default as many as show every patient once.
    start
        Number of the first batch: a run that ended after `n` batches goes on at ``start=n``.
    seed
        Seed of the order and of the places.
    rank, world
        Number of this process and of all that train together.
    threads
        Threads that decode; by default one a core, for a remote store at least 4.
    cache_mb
        Megabytes of objects kept in memory as they are encoded; by default none for a local store, which the operating
        system caches, and 1024 for a remote one.
    storage_options
        Options of the file system; credentials belong in the environment.

    Returns
    -------
    Patches
        Batches, by iteration or by number.

    Raises
    ------
    ParameterError
        If an argument is wrong, or no patient can be sampled.
    StoreError
        If there is no store.

    Warns
    -----
    UserWarning
        If patients are left out, :attr:`Patches.left_out` says why; if `where` parts the visits of a subject.
    """
    size_zyx = _checked_size(size)
    _check_numbers(batch_size=batch_size, steps=steps, start=start, rank=rank, world=world, threads=threads)
    _check_sampling(foreground, normalize)
    location = locate(store, storage_options)
    dataset = open_location(location, dask=False)
    if "rater" in dataset.dims:
        raise ParameterError(f"{location.shown}: holds masks of raters and no images; name a store of images")
    cohort = cohort_behind(dataset, ("image", "mask"))
    assert cohort is not None
    chosen = cohort.labels["sequence"] if sequences is None else tuple(sequences)
    labels = cohort.labels["patient"]
    wanted = labels if where is None else [labels[i] for i in select_patients(location, where, chosen).patients]
    if where is not None:
        warn_of_parted_subjects(dataset, where, wanted)
    subjects, left_out = find_subjects(cohort, wanted, chosen, masks=masks, scaled=normalize is not None)
    _tell_of_left_out(subjects, left_out, location.shown)
    cache = (_REMOTE_CACHE_MB if location.is_remote else 0) if cache_mb is None else cache_mb
    cores = os.cpu_count() or 1
    filler = PatchFiller(size_zyx, len(chosen), normalize, foreground, masks, TileCache(cache * _MB))
    return Patches(
        subjects,
        left_out,
        filler,
        batch_size=batch_size,
        steps=-(-len(subjects) // (batch_size * world)) if steps is None else steps,
        seed=seed,
        start=start,
        rank=rank,
        world=world,
        threads=threads or (max(_REMOTE_THREADS, cores) if location.is_remote else cores),
    )


def _tell_of_left_out(subjects: Sequence[Subject], left_out: Mapping[str, str], store: str) -> None:
    """Warn of patients who are not sampled; if none is left, it is an error."""
    if not left_out and subjects:
        return
    patient, reason = next(iter(left_out.items()), ("", ""))
    if not subjects and not left_out:
        raise ParameterError(f"{store}: no patient is chosen; change where")
    if not subjects:
        raise ParameterError(
            f"{store}: no patient can be sampled; the first of {len(left_out)}: {reason}. Sequences must lie on one "
            "grid: npczarr resample --for training --like SEQUENCE makes such a store; or name one of sequences"
        )
    warnings.warn(
        f"{len(left_out)} of {len(left_out) + len(subjects)} patients are not sampled, the first {patient}: {reason}; "
        "see .left_out for all", UserWarning, stacklevel=3,
    )  # fmt: skip


class Patches:
    """Batches of patches; iterate over it, or ask for one by its number. Made by :func:`patches`.

    Both give the same: ``list(p)[3]`` is ``p[3]``. It is a map-style Dataset of batches for
    ``torch.utils.data.DataLoader(p, batch_size=None)``, with any number of workers, started by fork or spawn; an
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
        if not -self._steps <= index < self._steps:
            raise IndexError(f"batch {index} of {self._steps}")
        return self._wait(*self._begin(self._start + index % self._steps))

    def __iter__(self) -> Iterator[Batch]:
        """Give the batches in order; the next ones are decoded meanwhile."""
        todo = iter(range(self._start, self._start + self._steps))
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
        first = (step * self._world + self._rank) * self._batch_size
        drawn = draws(self._seed, first, self._batch_size, len(self._subjects))
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


def _checked_size(size: PerAxis[int]) -> Shape:
    found = per_axis("size", size, whole=True)
    if found is None or len(found) != 3 or not all(isinstance(n, int | np.integer) and n > 0 for n in found):
        raise ParameterError(f"size: expected a number of voxels, or three along z, y, x, got {size!r}")
    z, y, x = (int(n) for n in found)
    return z, y, x


def _check_sampling(foreground: float, normalize: str | None) -> None:
    if not 0 <= foreground <= 1:
        raise ParameterError(f"foreground must be a share between 0 and 1, got {foreground}")
    if normalize not in (None, "zscore", "percentile"):
        raise ParameterError(f"normalize must be 'zscore', 'percentile' or None, got {normalize!r}")


def _check_numbers(**numbers: int | None) -> None:
    least = {"start": 0, "rank": 0}
    for name, value in numbers.items():
        if value is not None and (not isinstance(value, int | np.integer) or value < least.get(name, 1)):
            raise ParameterError(f"{name}: expected a whole number of at least {least.get(name, 1)}, got {value!r}")
    rank, world = numbers["rank"], numbers["world"]
    if rank is not None and world is not None and rank >= world:
        raise ParameterError(f"rank must be smaller than world, {world}, got {rank}")
