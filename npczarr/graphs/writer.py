"""The one process that writes the catalogue: hands out scans, takes their rows, grows the arrays."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import xarray as xr
import zarr

from npczarr.errors import SourceError, StoreError
from npczarr.graphs.run import Runner
from npczarr.model.layout import Layout
from npczarr.model.limits import Limits
from npczarr.model.records import Row
from npczarr.model.schema import SCAN, STORED
from npczarr.store.access import Location
from npczarr.store.catalogue import Catalogue
from npczarr.store.create import array, resize
from npczarr.store.lease import Lease
from npczarr.store.shards import put_shards

Key = tuple[str, str]
_FLUSH_SECONDS = 2.0  # rows of finished scans are written this often: what a kill can cost


class Task(Protocol):
    """One scan to write; what a worker is given."""

    @property
    def key(self) -> Key:
        """Patient and sequence."""


@dataclass(frozen=True, slots=True)
class Work:
    """The scans to write, and how.

    Parameters
    ----------
    verb
        For the names of tasks.
    patients, sequences
        Labels of all scans that are spoken of.
    digests
        Digest of what a scan is made from, where there is anything.
    absent
        Rows of scans of which there is nothing to write.
    function
        Writes one scan, given a task; a function of an importable module.
    task
        Makes the task of a scan, its place in the store, the layout, and whether an earlier version may be there.
    """

    verb: str
    patients: tuple[str, ...]
    sequences: tuple[str, ...]
    digests: Mapping[Key, str]
    absent: Mapping[Key, Row]
    function: Callable[[Any], Row]
    task: Callable[[Key, tuple[int, int], Layout, bool], Task]


@dataclass(slots=True)
class Progress:
    """How far a run is; given to ``on_progress`` after each scan.

    Parameters
    ----------
    total, done
        Scans to write, and written, refused or missing.
    kept
        Scans that were in the store already, from the same source.
    source_bytes
        Bytes of the source read so far.
    statuses
        Number of scans by status.
    """

    total: int
    kept: int
    done: int = 0
    source_bytes: int = 0
    statuses: Counter[str] = field(default_factory=Counter)


class Writer:
    """Writes scans into an open store.

    Parameters
    ----------
    root, target, layout
        The store, where it lies, and its chunk layout.
    lease
        The right to write; checked before each write to the catalogue.
    clear
        Whether earlier versions of scans may be there.
    limits
        How far the arrays may grow.
    """

    def __init__(
        self,
        root: zarr.Group,
        target: Location,
        layout: Layout,
        lease: Lease,
        *,
        clear: bool,
        limits: Limits,
    ) -> None:
        self._root = root
        self._target = target
        self._layout = layout
        self._lease = lease
        self._clear = clear
        self._limits = limits
        self._unwritten: list[Row] = []
        self._flushed = time.monotonic()
        self._catalogue = Catalogue(root)
        self._replaced: set[Key] = set()

    def run(
        self,
        runner: Runner,
        work: Work,
        rewrite: Collection[str],
        on_progress: Callable[[Progress], None] | None,
    ) -> xr.Dataset:
        """Write every scan that the store does not hold from the same source; return what became of each.

        Returns
        -------
        xarray.Dataset
            On (patient, sequence) of the work: `status`, `message`, `mask_status`, `action` (written, replaced, kept or
            none), `seconds`, `source_bytes`.
        """
        queue, rows, progress = self._plan(work, rewrite)
        self._unwritten += rows.values()
        try:
            while queue:  # once, and again where a scan had to wait for the arrays to grow
                tasks = runner.run(work.function, self._tasks(work, queue), name=lambda task: _name(work, task))
                for task, outcome in tasks:
                    row = self._row_of(task.key, work, outcome)
                    if row.outgrown is not None:
                        try:
                            self._resize(self._layout.grown(row.outgrown, self._limits))
                        except SourceError as error:
                            row = self._refusal(task.key, work, str(error))
                        else:
                            queue.append(task.key)
                            continue
                    rows[task.key] = row
                    self._unwritten.append(row)
                    if time.monotonic() - self._flushed > _FLUSH_SECONDS:
                        self._flush()
                    progress.done += 1
                    progress.source_bytes += row.source_bytes
                    progress.statuses[row.values["status"]] += 1
                    if on_progress is not None:
                        on_progress(progress)
        finally:
            self._flush()
        self._trim()
        return self._result(work, rows)

    def _plan(self, work: Work, rewrite: Collection[str]) -> tuple[list[Key], dict[Key, Row], Progress]:
        """Tell scans to write from those of which there is nothing and from those to keep, by status and digest."""
        status, digests = self._catalogue.read("status"), self._catalogue.read("source_digest")
        queue: list[Key] = []
        absent: dict[Key, Row] = {}
        kept: Counter[str] = Counter()
        for key in ((patient, sequence) for patient in work.patients for sequence in work.sequences):
            # a scan that the store has and this source lacks is no change: sources may hold a part of the cohort
            same = key not in work.digests or digests[key] == work.digests[key]
            same = same and not {key[0], "/".join(key)} & set(rewrite)
            if status[key] in STORED and same:
                kept[status[key]] += 1
            elif key in work.absent:
                absent[key] = work.absent[key]
            else:
                queue.append(key)
                if status[key] in STORED:
                    self._replaced.add(key)
        self._catalogue.mark_pending(queue)
        queue.reverse()
        found = Counter(row.values["status"] for row in absent.values())
        return queue, absent, Progress(total=len(queue), kept=kept.total(), statuses=kept + found)

    def _tasks(self, work: Work, queue: list[Key]) -> Iterator[Task]:
        while queue:
            patient, sequence = queue.pop()
            place = self._catalogue.patients[patient], self._catalogue.sequences[sequence]
            yield work.task((patient, sequence), place, self._layout, self._clear)

    def _flush(self) -> None:
        self._lease.check()
        self._catalogue.write(self._unwritten)
        self._unwritten = []
        self._flushed = time.monotonic()

    def _trim(self) -> None:
        """Cut the arrays to the largest scan, so that neither the order of scans nor a wrong guess leaves a trace."""
        z, y, x = (int(n) for n in array(self._root, "shape")[...].reshape(-1, 3).max(axis=0))
        if min(z, y, x) > 0 and (z, y, x) != self._layout.extent_zyx:
            self._resize(replace(self._layout, extent_zyx=(z, y, x)))

    def _row_of(self, key: Key, work: Work, outcome: Row | BaseException) -> Row:
        if isinstance(outcome, Row):
            return outcome
        if isinstance(outcome, StoreError) or not isinstance(outcome, Exception):
            raise outcome
        # out of memory, or a decoder that crashed, more than once
        return self._refusal(key, work, f"the worker process died of this scan ({type(outcome).__name__})")

    def _refusal(self, key: Key, work: Work, message: str) -> Row:
        """Leave no voxels of a scan that no worker could refuse, and say why there are none."""
        place = f"{self._catalogue.patients[key[0]]}/{self._catalogue.sequences[key[1]]}"
        for name in ("image", "mask"):
            put_shards(self._target.open(), f"{name}/c/{place}", None, self._layout, 0, clear=True)
        values = {"status": "refused", "mask_status": "refused", "message": message, "source_digest": work.digests[key]}
        return Row(*key, values)

    def _resize(self, layout: Layout) -> None:
        self._lease.check()
        patients, sequences = list(self._catalogue.patients), list(self._catalogue.sequences)
        resize(self._root, patients=patients, sequences=sequences, extent_zyx=layout.extent_zyx)
        self._layout = layout

    def _result(self, work: Work, rows: Mapping[Key, Row]) -> xr.Dataset:
        keys = [[(patient, sequence) for sequence in work.sequences] for patient in work.patients]
        text = np.dtypes.StringDType()

        def table(value: Callable[[Key], Any], dtype: Any) -> tuple[tuple[str, ...], Any]:  # noqa: ANN401 - a dtype
            return SCAN, np.array([[value(key) for key in line] for line in keys], dtype=dtype)

        said = {name: self._catalogue.read(name) for name in ("status", "message", "mask_status")}
        variables = {name: table(values.__getitem__, text) for name, values in said.items()}
        variables["action"] = table(lambda key: self._action(key, rows), text)
        variables["seconds"] = table(lambda key: rows[key].seconds if key in rows else 0.0, np.float64)
        variables["source_bytes"] = table(lambda key: rows[key].source_bytes if key in rows else 0, np.int64)
        labels = {"patient": np.array(work.patients, text), "sequence": np.array(work.sequences, text)}
        return xr.Dataset(variables, coords=labels)

    def _action(self, key: Key, rows: Mapping[Key, Row]) -> str:
        if key not in rows:
            return "kept"
        if rows[key].values["status"] not in STORED:
            return "none"
        return "replaced" if key in self._replaced else "written"


def _name(work: Work, task: Task) -> str:
    return "-".join((work.verb, *task.key))
