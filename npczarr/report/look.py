"""One look at the voxels of every scan: its scores and a thumbnail, on threads or wherever the caller runs tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from os import cpu_count
from typing import Protocol

import numpy as np
import xarray as xr

from npczarr.report.images import imaged, thumbnail
from npczarr.report.scores import Scores, score_image
from npczarr.store.access import Location
from npczarr.store.arrays import ShardedVoxels
from npczarr.store.open import sharded_voxels


@dataclass(frozen=True, slots=True)
class LookTask:
    """One scan to look at: where its voxels are, without any open file; mask None where there is none."""

    patient: str
    sequence: str
    place: tuple[int, int]
    shape_zyx: tuple[int, int, int]
    spacing_zyx_mm: tuple[float, float, float]
    image: ShardedVoxels
    mask: ShardedVoxels | None


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen: scores and a WebP picture, or the problem that hindered it."""

    scores: Scores | None
    picture: bytes = b""
    problem: str = ""


class Run(Protocol):
    """Runs a function over tasks and yields each with its result or error, in any order, as npczarr's runner does."""

    def __call__(
        self, function: Callable[[LookTask], Look], tasks: Iterable[LookTask], *, name: Callable[[LookTask], str]
    ) -> Iterator[tuple[LookTask, Look | BaseException]]:
        """Run."""


def look_at_all(
    dataset: xr.Dataset,
    location: Location,
    *,
    run: Run | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[tuple[str, str], Look]:
    """Look at every scan of a store that has an image.

    Parameters
    ----------
    dataset
        What :func:`npczarr.open` gives of the store.
    location
        The store.
    run
        What runs the tasks; by default threads of this process.
    on_progress
        Called with the scans done and in all.

    Returns
    -------
    dict
        By patient and sequence, in the store's order. A scan that cannot be read is there with its problem: the others
        are looked at all the same.
    """
    tasks = list(_tasks(dataset, location))
    found = {}
    outcomes = (run or on_threads)(look, tasks, name=lambda task: f"look-{task.patient}-{task.sequence}")
    for done, (task, outcome) in enumerate(outcomes, 1):
        seen = Look(None, problem=str(outcome)) if isinstance(outcome, BaseException) else outcome
        found[task.patient, task.sequence] = seen
        if on_progress is not None:
            on_progress(done, len(tasks))
    return {(task.patient, task.sequence): found[task.patient, task.sequence] for task in tasks}


def look(task: LookTask) -> Look:
    """Look at one scan."""
    z, y, x = (slice(0, n) for n in task.shape_zyx)
    image = np.nan_to_num(
        task.image.read(task.place, (z, y, x)), copy=False
    )  # a resampled scan may have no value there
    first_rater = (0,) * (len(task.mask.shape) - 5) if task.mask else ()
    mask = None if task.mask is None else task.mask.read((*task.place, *first_rater), (z, y, x))
    spacing = tuple(n if np.isfinite(n) else 1.0 for n in task.spacing_zyx_mm)
    return Look(score_image(image, mask), thumbnail(image, mask, spacing))


def on_threads(
    function: Callable[[LookTask], Look], tasks: Iterable[LookTask], *, name: Callable[[LookTask], str]
) -> Iterator[tuple[LookTask, Look | BaseException]]:
    """Run tasks on the threads of this process, one for each core: reading and NumPy leave the interpreter free."""
    with ThreadPoolExecutor(cpu_count()) as pool:
        running = {pool.submit(function, task): task for task in tasks}
        for future in as_completed(running):
            error = future.exception()
            yield running.pop(future), future.result() if error is None else error


def _tasks(dataset: xr.Dataset, location: Location) -> Iterator[LookTask]:
    image, mask = (_voxels(dataset, location, name) for name in ("image", "mask"))
    there = imaged(dataset).transpose("patient", "sequence").values
    masked = np.isin(dataset["mask_status"].transpose("patient", "sequence").values.astype(object), ("ok", "warning"))
    shapes, spacings = (dataset[name].transpose("patient", "sequence", "axis").values for name in ("shape", "spacing"))
    for p, s in np.argwhere(there):
        (z, y, x), (z_mm, y_mm, x_mm) = shapes[p, s].tolist(), spacings[p, s].tolist()
        labels = str(dataset["patient"].values[p]), str(dataset["sequence"].values[s])
        place = int(p), int(s)
        yield LookTask(*labels, place, (z, y, x), (z_mm, y_mm, x_mm), image, mask if masked[p, s] else None)


def _voxels(dataset: xr.Dataset, location: Location, name: str) -> ShardedVoxels:
    """Describe `image` or `mask` as it is stored, from the decoded variable."""
    decoded = dataset[name].variable
    dtype = np.dtype(decoded.encoding.get("dtype", decoded.dtype))
    fill = {"_FillValue": decoded.encoding["_FillValue"]} if "_FillValue" in decoded.encoding else {}
    bare = np.broadcast_to(np.zeros((), dtype), decoded.shape)  # takes no memory
    return sharded_voxels(location, name, xr.Variable(decoded.dims, bare, fill, decoded.encoding))
