"""The one process that writes the catalogue: hands out scans, takes their rows, grows the arrays."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace

import zarr

from npczarr.errors import StoreError
from npczarr.graphs.run import Runner
from npczarr.graphs.scans import ScanTask, missing_row, source_digest, write_scan
from npczarr.model.cohort import Cohort, ScanFiles
from npczarr.model.layout import Layout
from npczarr.model.records import Row
from npczarr.sources.files import Source
from npczarr.store.access import Location
from npczarr.store.catalogue import Catalogue
from npczarr.store.create import array, resize
from npczarr.store.lease import Lease

Key = tuple[str, str]
_FLUSH_SECONDS = 2.0  # rows of finished scans are written this often: what a kill can cost


@dataclass(slots=True)
class Progress:
    """How far a conversion is; given to ``on_progress`` after each scan.

    Parameters
    ----------
    total, done
        Scans to write, and written, refused or missing.
    kept
        Scans that were in the store already, from the same files.
    source_bytes
        Bytes of the source's files read so far.
    statuses
        Number of scans by status.
    """

    total: int
    kept: int
    done: int = 0
    source_bytes: int = 0
    statuses: Counter[str] = field(default_factory=Counter)


class Writer:
    """Writes a cohort into an open store.

    Parameters
    ----------
    root, target, layout
        The store, where it lies, and its chunk layout.
    lease
        The right to write; checked before each write to the catalogue.
    clear
        Whether earlier versions of scans may be there.

    Attributes
    ----------
    catalogue
        What the store says of each scan.
    replaced
        Scans that stood in the store and are written again.
    """

    def __init__(self, root: zarr.Group, target: Location, layout: Layout, lease: Lease, *, clear: bool) -> None:
        self._root = root
        self._target = target
        self._layout = layout
        self._lease = lease
        self._clear = clear
        self._unwritten: list[Row] = []
        self._flushed = time.monotonic()
        self.catalogue = Catalogue(root)
        self.replaced: set[Key] = set()

    def run(
        self,
        runner: Runner,
        source: Source,
        cohort: Cohort,
        rewrite: Collection[str],
        on_progress: Callable[[Progress], None] | None,
    ) -> dict[Key, Row]:
        """Write every scan that the store does not hold from the same files; return what became of each."""
        queue, rows, progress = self._plan(cohort, rewrite)
        self._unwritten += rows.values()
        try:
            while queue:  # once, and again where a scan had to wait for the arrays to grow
                for task, outcome in runner.run(write_scan, self._tasks(source, queue, cohort.raters), name=_task_name):
                    row = _row_of(task, outcome)
                    if row.outgrown is not None:
                        self._resize(self._layout.grown(row.outgrown))
                        queue.append(task.files)
                        continue
                    rows[row.patient, row.sequence] = row
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
        return rows

    def _plan(self, cohort: Cohort, rewrite: Collection[str]) -> tuple[list[ScanFiles], dict[Key, Row], Progress]:
        """Tell scans to write from missing ones and from scans to keep, by status and source digest."""
        status, digests = self.catalogue.read("status"), self.catalogue.read("source_digest")
        queue: list[ScanFiles] = []
        missing: dict[Key, Row] = {}
        kept: Counter[str] = Counter()
        for key in ((patient, sequence) for patient in cohort.patients for sequence in cohort.sequences):
            files = cohort.scans.get(key, ScanFiles(*key))
            # a scan that the store has and this source lacks is no change: sources may hold a part of the cohort
            same = key not in cohort.scans or digests[key] == source_digest(files)
            same = same and not {key[0], "/".join(key)} & set(rewrite)
            if status[key] in ("ok", "warning") and same:
                kept[status[key]] += 1
            elif not files.images and not files.raters:
                missing[key] = missing_row(files)
            else:
                queue.append(files)
                if status[key] in ("ok", "warning"):
                    self.replaced.add(key)
        self.catalogue.mark_pending([(files.patient, files.sequence) for files in queue])
        queue.reverse()
        progress = Progress(total=len(queue), kept=kept.total(), statuses=kept + Counter(missing=len(missing)))
        return queue, missing, progress

    def _tasks(self, source: Source, queue: list[ScanFiles], raters: tuple[str, ...]) -> Iterator[ScanTask]:
        while queue:
            files = queue.pop()
            place = self.catalogue.patients[files.patient], self.catalogue.sequences[files.sequence]
            yield ScanTask(source, files, self._target, place, self._layout, self._clear, raters)

    def _flush(self) -> None:
        self._lease.check()
        self.catalogue.write(self._unwritten)
        self._unwritten = []
        self._flushed = time.monotonic()

    def _trim(self) -> None:
        """Cut the arrays to the largest scan, so that neither the order of scans nor a wrong guess leaves a trace."""
        z, y, x = (int(n) for n in array(self._root, "shape")[...].reshape(-1, 3).max(axis=0))
        if min(z, y, x) > 0 and (z, y, x) != self._layout.extent_zyx:
            self._resize(replace(self._layout, extent_zyx=(z, y, x)))

    def _resize(self, layout: Layout) -> None:
        self._lease.check()
        patients, sequences = list(self.catalogue.patients), list(self.catalogue.sequences)
        resize(self._root, patients=patients, sequences=sequences, extent_zyx=layout.extent_zyx)
        self._layout = layout


def _row_of(task: ScanTask, outcome: Row | BaseException) -> Row:
    if isinstance(outcome, Row):
        return outcome
    if isinstance(outcome, StoreError) or not isinstance(outcome, Exception):
        raise outcome
    # the worker died of this scan, more than once: out of memory, or a decoder that crashed
    message = f"the worker process died while reading this scan ({type(outcome).__name__}: {outcome})"
    return Row(
        task.files.patient,
        task.files.sequence,
        {"status": "refused", "mask_status": "refused", "message": message, "source_digest": source_digest(task.files)},
    )


def _task_name(task: ScanTask) -> str:
    return f"convert-{task.files.patient}-{task.files.sequence}"
