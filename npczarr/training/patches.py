"""Batches of patches for training, straight from a store."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from npczarr.errors import ParameterError
from npczarr.model.per_axis import PerAxis
from npczarr.store.location import Location, locate
from npczarr.store.open import open_location
from npczarr.store.origin import cohort_behind
from npczarr.store.selection import select_patients
from npczarr.store.tile_cache import TileCache
from npczarr.training.arguments import check_memory, check_numbers, check_sampling, checked_labels, checked_size
from npczarr.training.batches import Patches
from npczarr.training.filling import Normalization, PatchFiller
from npczarr.training.splits import warn_of_parted_subjects
from npczarr.training.subjects import MaskUse, Subject, find_subjects

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
    mask_of: str | None = None,
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

    Every iteration shows every patient, in another order each time, if `steps` and `start` are left as they are; where
    the last batch is not full, it is filled with patients once more. Each iteration goes on where the one before ended:
    ``for epoch in range(100): for batch in p`` never gives a batch twice. Workers of a ``DataLoader`` have to be told
    the epoch, by :meth:`Patches.set_epoch`. The same seed gives the same batches on any number of threads and workers;
    the ranks of a world share out the batches of one with `world` times their size. Any store will do whose sequences
    lie on one grid; one written by ``npczarr resample --for training`` is many times as fast.

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
    mask_of
        Sequence whose mask alone is read, where one for all was outlined; by default that of every sequence.
    steps
        Batches of one iteration; by default as many as show every patient.
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
    size_zyx = checked_size(size)
    check_numbers(
        batch_size=batch_size, steps=steps, start=start, seed=seed, rank=rank, world=world, threads=threads,
        cache_mb=cache_mb,
    )  # fmt: skip
    check_sampling(foreground, normalize, masks)
    location = locate(store, storage_options)
    _check_unpacked(location)
    dataset = open_location(location, dask=False)
    if "rater" in dataset.dims:
        raise ParameterError(f"{location.shown}: holds masks of raters and no images; name a store of images")
    cohort = cohort_behind(dataset, ("image", "mask"))
    assert cohort is not None
    chosen = checked_labels("sequences", sequences, cohort.labels["sequence"])
    outlined = chosen if mask_of is None else (mask_of,)
    labels = cohort.labels["patient"]
    wanted = labels if where is None else [labels[i] for i in select_patients(location, where, chosen).patients]
    if where is not None:
        warn_of_parted_subjects(dataset, where, wanted)
    use = MaskUse(read=masks, place=foreground > 0)
    subjects, left_out = find_subjects(cohort, wanted, chosen, outlined, use, scaled=normalize is not None)
    _tell_of_left_out(subjects, left_out, location.shown)
    cache = (_REMOTE_CACHE_MB if location.is_remote else 0) if cache_mb is None else cache_mb
    cores = os.cpu_count() or 1
    kept = TileCache(cache * _MB)
    filler = PatchFiller(size_zyx, len(chosen), len(outlined) if masks else 0, normalize, foreground, kept)
    check_memory(filler.bytes_of_patch * batch_size)
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
        raise ParameterError(f"{store}: no patient can be sampled; the first of {len(left_out)}, {patient}: {reason}")
    warnings.warn(
        f"{len(left_out)} of {len(left_out) + len(subjects)} patients are not sampled, the first {patient}: {reason}; "
        "see .left_out for all", UserWarning, stacklevel=3,
    )  # fmt: skip


def _check_unpacked(location: Location) -> None:
    if location.is_packed:
        raise ParameterError(
            f"{location.shown}: patches are not read from a packed store, whose objects would be looked up one by one; "
            "unpack it (unzip), or resample it for training"
        )
