"""The one process that writes the tables of a store: hands out scans, takes their rows, grows the arrays."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import xarray as xr
import zarr

from npczarr.errors import SourceError, StoreError
from npczarr.graphs.compare_scans import compare_scans
from npczarr.graphs.convert_scan import clear_scan
from npczarr.graphs.held_scan import HeldScans, keep_held
from npczarr.graphs.run_result import REMEMBERED, run_result, with_lost_import
from npczarr.model.layout import Layout, padding_remark
from npczarr.model.limits import Limits
from npczarr.model.progress import Meter, OnProgress
from npczarr.model.records import Row
from npczarr.model.schema import STORED
from npczarr.runner import Runner
from npczarr.store.chunks import ScanPlace
from npczarr.store.create import resize
from npczarr.store.hierarchy import array, labels
from npczarr.store.lease import Lease, afterwards
from npczarr.store.location import Location
from npczarr.store.rows import Key, Rows

_FLUSH_SECONDS = 4.0  # rows of finished scans are written no more often than this: what a kill can cost
_FLUSH_SHARE = 0.05  # of a run's time that writing them takes, about
_LONGEST_PAUSE = 20.0  # seconds


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
        Labels of the scans to write, kept or absent.
    digests
        Digest of what a scan is made from, where there is anything.
    absent
        Rows of scans of which there is nothing to write.
    function
        Writes one scan, given a task; a function of an importable module.
    task
        Makes the task of a scan, given its place in the store.
    clear_absent
        Whether scans that the store holds and the source lacks are removed; else they stay.
    compare_images
        Whether to warn of images that are in the store twice.
    held
        What the store holds, and keeps where its source has got worse; None where it follows its source in that too.
    gone
        Scans that the store holds and the source has no files of any more.
    """

    verb: str
    patients: tuple[str, ...]
    sequences: tuple[str, ...]
    digests: Mapping[Key, str]
    absent: Mapping[Key, Row]
    function: Callable[[Any], Row]
    task: Callable[[Key, ScanPlace], Task]
    clear_absent: bool = False
    compare_images: bool = False
    held: HeldScans | None = None
    gone: Collection[Key] = ()


class StoreWriter:
    """Writes scans into an open store.

    Parameters
    ----------
    root, target, layout
        The store, its location, and its chunk layout.
    lease
        The right to write; checked before each write to the tables.
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
        self._untouched: dict[Key, str] = {}  # status of scans that were marked pending and stay as they are
        self._flushed = time.monotonic()
        self._pause = _FLUSH_SECONDS
        self._rows = Rows(root, lease)
        self._raters = len(labels(root, "rater")) if "rater" in root else 0
        self._before: dict[str, dict[Key, Any]] = {}

    def run(
        self,
        runner: Runner,
        work: Work,
        rewrite: Collection[str],
        on_progress: OnProgress | None,
    ) -> xr.Dataset:
        """Write every scan that the store does not hold from the same source; return what became of each.

        Returns
        -------
        xarray.Dataset
            As :func:`npczarr.graphs.run_result.run_result` gives it, and what padding costs (`padding`).
        """
        queue, rows, counts = self._plan(work, rewrite)
        with afterwards(self._root.store, self._flush):
            meter = Meter(on_progress, len(queue), "scans", counts)
            while queue:  # once, and again where a scan had to wait for the arrays to grow
                tasks = runner.run(work.function, self._tasks(work, queue), name=lambda task: _name(work, task))
                for task, outcome in tasks:
                    row = _row_of(task.key, work, outcome)
                    if row.outgrown is not None:
                        try:
                            self._resize(self._layout.grown(row.outgrown, self._limits))
                        except SourceError as error:
                            row = _refusal(task.key, work, str(error))
                        else:
                            queue.append(task.key)
                            continue
                    sure = isinstance(outcome, Row)
                    row = rows[task.key] = self._settled(row, work, sure=sure)
                    became = self._take(row, clear=self._clear or not sure)
                    meter.add(counts={became: 1}, bytes=row.source_bytes)
        compare_scans(self._rows, images=work.compare_images)
        self._trim()
        now = {name: self._rows.read(name) for name in ("status", "message", "mask_status")}
        result = run_result(work.patients, work.sequences, rows, self._before, now)
        shapes = [(int(z), int(y), int(x)) for z, y, x in array(self._root, "shape")[...].reshape(-1, 3)]
        return result.assign_attrs(padding=padding_remark(shapes, self._layout))

    def _plan(self, work: Work, rewrite: Collection[str]) -> tuple[list[Key], dict[Key, Row], Counter[str]]:
        """Tell scans to write from those of which there is nothing and from those to keep, by status and digest."""
        self._before = {name: self._rows.read(name) for name in REMEMBERED}
        status, digests = self._before["status"], self._rows.read("source_digest")
        queue: list[Key] = []
        absent: dict[Key, Row] = {}
        kept = 0
        for key in ((patient, sequence) for patient in work.patients for sequence in work.sequences):
            # a scan that the store has and this source lacks is no change: sources may hold a part of the cohort
            elsewhere = not work.clear_absent and key not in work.gone
            same = digests[key] == work.digests[key] if key in work.digests else elsewhere
            same = same and not {key[0], "/".join(key)} & set(rewrite)
            if status[key] in STORED and same:
                kept += 1
            elif key in work.absent:
                row = work.absent[key]
                if (status[key], digests[key]) == (row.values["status"], row.values["source_digest"]):
                    kept += 1
                else:
                    absent[key] = self._settled(row, work)
            else:
                queue.append(key)
        cleared = [key for key, row in absent.items() if not row.kept]
        self._rows.mark_pending([*queue, *(key for key in cleared if status[key] in STORED)])
        queue.reverse()
        counts = Counter(self._take(row, clear=self._clear) for row in absent.values())
        counts["kept"] += kept
        return queue, absent, counts

    def _place(self, key: Key) -> ScanPlace:
        return ScanPlace(self._target, self._rows.place(key), self._layout, self._clear, self._lease.token)

    def _tasks(self, work: Work, queue: list[Key]) -> Iterator[Task]:
        while queue:
            key = queue.pop()
            yield work.task(key, self._place(key))

    def _settled(self, row: Row, work: Work, *, sure: bool = True) -> Row:
        """Return what is to become of a scan, given what its source gives and what the store held before.

        Parameters
        ----------
        row, work
            What a worker says of it, or that there is nothing of it.
        sure
            Whether its voxels are as they were or as the row says; a worker that died may have written in part.
        """
        held = None if work.held is None else work.held.get((row.patient, row.sequence))
        held = held if held is None or sure else replace(held, sure=False)
        return with_lost_import(keep_held(row, held), self._before)

    def _take(self, row: Row, *, clear: bool) -> str:
        """Note what became of a scan; its row is written with others, every few seconds.

        Parameters
        ----------
        row
            What became of it.
        clear
            Whether voxels of another version may be there, which go if there are none now.

        Returns
        -------
        str
            What became of it, in a word.
        """
        key = row.patient, row.sequence
        if row.declined or row.kept:
            self._untouched[key] = str(row.values.get("status", self._before["status"][key]))
        else:
            if clear and row.values["status"] not in STORED:
                clear_scan(replace(self._place(key), clear=True), self._raters)
            self._unwritten.append(row)
        if time.monotonic() - self._flushed > self._pause:
            self._flush()
        return "kept" if row.kept else "refused" if row.declined else str(row.values["status"])

    def _flush(self) -> None:
        started = time.monotonic()
        self._rows.set_texts({"status": self._untouched})
        self._untouched = {}
        self._rows.write(self._unwritten)
        self._unwritten = []
        self._flushed = time.monotonic()
        self._pause = min(max((self._flushed - started) / _FLUSH_SHARE, _FLUSH_SECONDS), _LONGEST_PAUSE)

    def _trim(self) -> None:
        """Cut the arrays to the largest scan, so that neither the order of scans nor a wrong guess leaves a trace."""
        z, y, x = (int(n) for n in array(self._root, "shape")[...].reshape(-1, 3).max(axis=0))
        if min(z, y, x) > 0 and (z, y, x) != self._layout.extent_zyx:
            self._resize(replace(self._layout, extent_zyx=(z, y, x)))

    def _resize(self, layout: Layout) -> None:
        patients, sequences = list(self._rows.patients), list(self._rows.sequences)
        with self._lease.writing():
            resize(
                self._root,
                patients=patients,
                sequences=sequences,
                extent_zyx=layout.extent_zyx,
                check=self._lease.check,
            )
        self._layout = layout


def _row_of(key: Key, work: Work, outcome: Row | BaseException) -> Row:
    if isinstance(outcome, Row):
        return outcome
    if isinstance(outcome, StoreError) or not isinstance(outcome, Exception):
        raise outcome
    # out of memory, or a decoder that crashed, more than once
    return _refusal(key, work, f"the worker process died of this scan ({type(outcome).__name__})")


def _refusal(key: Key, work: Work, message: str) -> Row:
    """Return the row of a scan that no worker could refuse."""
    values = {"status": "refused", "mask_status": "refused", "message": message, "source_digest": work.digests[key]}
    return Row(*key, values)


def _name(work: Work, task: Task) -> str:
    return "-".join((work.verb, *task.key))
