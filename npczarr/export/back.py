"""Import of masks that were edited elsewhere, in place of the store's, with a record of their origin."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from npczarr.errors import NpczarrError, ParameterError, SourceError, StoreError
from npczarr.model.cohort import ScanFiles
from npczarr.model.geometry import Grid
from npczarr.model.imported import GONE, say_imported
from npczarr.model.label_set import labels_of_store, renumbered
from npczarr.model.layout import Layout
from npczarr.model.progress import Meter, OnProgress
from npczarr.model.records import Mask, Row
from npczarr.model.schema import SCAN_TABLES, STORED
from npczarr.runner import Runner
from npczarr.sources.config import load_config
from npczarr.sources.files import Source, open_source
from npczarr.sources.mask_files import MaskFiles, sort_masks
from npczarr.sources.masks import read_mask
from npczarr.sources.structures.drawn_on import StoredIdentity, image_of
from npczarr.sources.structures.masks import is_structure, read_object
from npczarr.sources.structures.records import ImageUids
from npczarr.store.chunks import ScanPlace, digest
from npczarr.store.cohort import StoredCohort
from npczarr.store.describe import SALT, add_history, uid_digest
from npczarr.store.hierarchy import array, mask_labels, open_group, read_layout
from npczarr.store.hierarchy import labels as stored_labels
from npczarr.store.lease import Lease, hold_lease
from npczarr.store.location import Location, get, locate
from npczarr.store.rows import Rows
from npczarr.store.rows_before import RowsBefore
from npczarr.store.scans import StoredScan

_EVIDENCE = tuple(v.name for v in SCAN_TABLES if v.name.startswith("mask_"))
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Imported:
    """Outcome of the import of one mask.

    Parameters
    ----------
    patient, sequence
        Scan that it is of; the sequence is "" where the name of the mask tells none and the patient has no scan.
    status
        ``replaced``; ``kept``, it is the stored one; ``refused``, and nothing changed.
    message
        Why.
    """

    patient: str
    sequence: str
    status: str
    message: str = ""


def import_masks(
    store: str | Path,
    folder: str | Path,
    *,
    config: str | Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    break_lock: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    source_options: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Imported, ...]:
    """Replace stored masks by those of a folder: NIfTI, which their affine places as on conversion, SEG or RTSTRUCT.

    The scan's message then says when, from which file, and which digest the mask had before. A mask that does not fit,
    or a SEG or RTSTRUCT of another series in another frame of reference, is refused and changes nothing. Converting the
    same source again keeps the new masks; a source whose image or mask of a scan is another, ``--rewrite`` or
    ``--replace`` bring back its own. Interrupted, a scan is left pending until it is imported or converted again.

    Parameters
    ----------
    store
        Folder or URL of the store; not one of several raters.
    folder
        Folder, zip or URL of masks named as in the source, ``<patient>/ROI-T1.nii.gz`` or
        ``ROI-T1.dcm``: what an export as NIfTI, SEG or RTSTRUCT wrote.
    config
        TOML file that describes another layout of the folder, or other labels than the store's own.
    workers
        Local worker processes that read the masks; 0 for this process. By default the active ``distributed.Client``,
        or this process: reading a mask takes some milliseconds.
    scheduler
        Address of a running scheduler instead.
    break_lock
        Take over from a writer that no longer runs.
    storage_options, source_options
        Options of the store's and of the folder's file system; credentials belong in the environment.
    on_progress
        Called with a :class:`npczarr.Progress` when the masks are known, and after each.

    Returns
    -------
    tuple of Imported
        By patient and sequence.

    Raises
    ------
    SourceError
        If there is no mask in the folder.
    ParameterError
        If the store holds several raters' masks, or workers and scheduler do not fit.
    StoreError
        If the store cannot be opened or written, or another process writes to it.
    """
    rules = load_config(config)
    source = open_source(folder, source_options, rules.limits)
    location = locate(store, storage_options)
    runner = Runner(workers, scheduler, idle="here")
    opened = location.open()
    root = open_group(location.open(read_only=True), location.shown, mode="r")  # what is not a store gets no lease
    if array(root, "mask").ndim != 5:
        raise ParameterError(f"{location.shown}: a store of several raters' masks; convert it again to change them")
    sequences = stored_labels(root, "sequence")
    there = [key for key, status in Rows(root).read("status").items() if status != "missing"]
    files = sort_masks(source.files(), rules, sequences, there)
    scans = list(files.scans.values())
    if not scans and not files.of_nobody:
        if get(locate(folder, source_options).open(read_only=True), "zarr.json") is not None:
            raise SourceError(
                f"{source.shown}: a store, expected a folder of masks; write its masks with npczarr export --format "
                "nifti, and import those"
            )
        raise SourceError(f"{source.shown}: no mask found; expected them named as in the source, patient/ROI-T1.nii.gz")
    with hold_lease(opened, location.shown, break_lock=break_lock) as lease, runner:
        root = open_group(opened, location.shown)
        rows = Rows(root, lease)
        tables = {v.name: rows.read(v.name) for v in SCAN_TABLES}
        before = RowsBefore(location, tables)
        target = _Target(location, rows, before, read_layout(root, location.shown), lease)
        stored = StoredCohort(location, root)
        names = mask_labels(root)
        labels = renumbered(rules.labels, names, where=location.shown) if rules.labels else labels_of_store(names)
        salt = str(root.attrs.asdict().get(SALT, ""))
        tasks = [_task(replace(scan, labels=labels), source, stored, tables, salt) for scan in scans]
        done: dict[Key, Imported] = {}
        meter = Meter(on_progress, len(tasks), "masks")
        for task, outcome in runner.run(read_task, tasks, name=lambda task: f"import-{'-'.join(task.key)}"):
            one = done[task.key] = _imported(task, outcome, target, tables)
            meter.add(counts={one.status: 1})
        with lease.writing():
            if before.changed:  # by a killed run, too: nobody has told of those
                add_history(root, "import-masks", {"replaced": before.changed})
            before.forget()
    return (*(done[scan.patient, scan.sequence] for scan in scans), *_unmatched(files, sequences))


def _unmatched(files: MaskFiles, sequences: Sequence[str]) -> Iterator[Imported]:
    """Refuse the masks that are of no scan of the store."""
    for path, key in sorted(files.unnamed.items()):
        said = f"its name stands for none of {', '.join(sequences)}"
        yield Imported(*key, "refused", f"{path.rpartition('/')[2]}: {said}")
    for path, patient in sorted(files.of_nobody.items()):
        yield Imported(patient, "", "refused", f"{path.rpartition('/')[2]}: no scan of this patient in the store")


@dataclass(frozen=True, slots=True, eq=False)
class _Target:
    location: Location
    rows: Rows
    before: RowsBefore
    layout: Layout
    lease: Lease


@dataclass(frozen=True, slots=True, eq=False)
class ImportTask:
    """One mask to read: its files, and its scan in the store, or the reason why no scan can take it.

    `held` is the digest of the stored mask; empty where another must be written even if it is the same. `series` is the
    digest of the scan's SeriesInstanceUID by `salt`; `thickness_mm` is its SliceThickness.
    """

    key: Key
    source: Source = field(repr=False)
    files: ScanFiles
    scan: StoredScan | None
    held: str = ""
    problem: str = ""
    series: str = ""
    salt: str = field(default="", repr=False)
    thickness_mm: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class ReadMask:
    """A mask that differs from the stored one, with its digest and its file's; or no mask, and the reason."""

    mask: Mask | None
    digest: str = ""
    file_digest: str = ""
    status: str = ""
    message: str = ""


def _task(
    files: ScanFiles, source: Source, cohort: StoredCohort, tables: Mapping[str, Mapping[Key, Any]], salt: str
) -> ImportTask:
    """Say what a worker reads."""
    key = files.patient, files.sequence
    if key not in tables["status"]:
        return ImportTask(key, source, files, None, problem="no such patient and sequence in the store")
    try:
        scan = cohort.scan(*key)
    except NpczarrError as error:
        return ImportTask(key, source, files, None, problem=str(error))
    good = tables["status"][key] in STORED and tables["mask_status"][key] in STORED
    held = str(tables["mask_digest"][key]) if good else ""
    series, thickness = str(tables["series_digest"][key]), float(tables["slice_thickness"][key])
    return ImportTask(key, source, files, scan, held, series=series, salt=salt, thickness_mm=thickness)


def read_task(task: ImportTask) -> ReadMask:
    """Read one mask and place it on the grid of its scan."""
    if task.scan is None:
        return ReadMask(None, status="refused", message=task.problem)
    try:
        grid = _usable_grid(task.scan)
        mask = read_mask(task.source, task.files.masks, grid, task.files.labels, image=_image(task, task.scan))
        content = task.source.read([task.files.masks[0].path])[0]
    except NpczarrError as error:
        return ReadMask(None, status="refused", message=str(error))
    new = digest(mask.mask)
    if new == task.held:
        return ReadMask(None, status="kept", message="it is the stored mask")
    return ReadMask(mask, new, xxhash.xxh3_128_hexdigest(content) if isinstance(content, bytes) else "unknown")


def _image(task: ImportTask, scan: StoredScan) -> ImageUids | None:
    """Find the identifiers of the scan among those that DICOM masks name; None for NIfTI."""
    contents = task.source.read([file.path for file in task.files.masks])
    objects = [read_object(c, task.source.limits) for c in contents if isinstance(c, bytes) and is_structure(c)]
    identity = StoredIdentity(*task.key, scan.image_digest, task.series, scan.frame_digest, task.thickness_mm)
    return image_of(identity, partial(uid_digest, salt=task.salt), objects) if objects else None


def _imported(
    task: ImportTask, outcome: ReadMask | BaseException, target: _Target, tables: Mapping[str, Mapping[Key, Any]]
) -> Imported:
    """Replace one mask: mark the scan as pending, write its chunks, then the row."""
    if isinstance(outcome, StoreError) or not isinstance(outcome, Exception | ReadMask):
        raise outcome
    if isinstance(outcome, Exception):  # out of memory, or a decoder that crashed, more than once
        return Imported(*task.key, "refused", f"the worker process died of this mask ({type(outcome).__name__})")
    if outcome.mask is None:
        return Imported(*task.key, outcome.status, outcome.message)
    row = target.before.row(task.key, {name: values[task.key] for name, values in tables.items()})
    new, said = _row(task, row, outcome, outcome.mask)
    with target.lease.writing():
        target.before.keep(row, new)
    target.rows.mark_pending([task.key])
    _write(outcome.mask, target, task.key)
    target.rows.write([new])
    with target.lease.writing():
        target.before.done(task.key)
    return Imported(*task.key, "replaced", "; ".join([*outcome.mask.warnings, said]))


def _usable_grid(scan: StoredScan) -> Grid:
    """Return the grid of a scan with an image; one left pending is usable if its image is whole."""
    if scan.stored and scan.grid is not None:
        return scan.grid
    if scan.status == "pending" and scan.image_digest and scan.grid is not None:
        scan.image()  # it is held against its digest
        return scan.grid
    raise StoreError(f"the scan is {scan.status} in the store ({scan.message}); convert it first")


def _write(mask: Mask, target: _Target, key: Key) -> None:
    place = ScanPlace(target.location, target.rows.place(key), target.layout, clear=True, token=target.lease.token)
    place.write("mask", mask.mask, 0)


def _row(task: ImportTask, row: Mapping[str, Any], read: ReadMask, mask: Mask) -> tuple[Row, str]:
    """Return the scan's row with the new fields of its mask, and what is said of it; earlier messages are kept."""
    if row["status"] in STORED and row["mask_digest"] == read.digest:
        return Row(*task.key, row), "it is the stored mask, of a scan that an interrupted run had left pending"
    said = say_imported(task.files.masks[0].path, read.file_digest, str(row["mask_digest"] or row["mask_status"]))
    fresh = {v.name: v.fill for v in SCAN_TABLES if v.name in _EVIDENCE}
    values = {**row, **fresh, **mask.evidence, "mask_digest": read.digest}
    values["mask_status"] = "warning" if mask.warnings else "ok"
    values["status"] = "ok" if row["status"] == "ok" and not mask.warnings else "warning"
    earlier = [part for part in str(row["message"]).split("; ") if part and not part.startswith(GONE)]
    values["message"] = "; ".join((*mask.warnings, said, *earlier))
    return Row(*task.key, {name: np.asarray(v) if np.ndim(v) else v for name, v in values.items()}), said
