"""A cleaned copy of a cohort: DICOM by the Basic Profile, NIfTI without its text, and nothing else."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from npczarr.errors import ParameterError, check_lists
from npczarr.model.cohort import File
from npczarr.model.options import check_local
from npczarr.model.progress import Meter, OnProgress
from npczarr.outputs import expanded, hold_folder
from npczarr.privacy.changes import Changes, begin, find_changes, finish
from npczarr.privacy.copying import Cleaned, Task, clean_folder, copy_tables
from npczarr.privacy.names import Copy, Names, plan
from npczarr.privacy.record import NAME, Record
from npczarr.privacy.whose import describe_doubts, find_whose
from npczarr.runner import Runner
from npczarr.sources.config import load_config
from npczarr.sources.files import Source, open_source
from npczarr.sources.labels import IGNORED
from npczarr.sources.zarr_stores import refuse_store, split_stores

SMALL_FILES = 500  # read in about the time that two processes take to start
_READ = "the DICOM and NIfTI files that one is made from"


@dataclass(frozen=True, slots=True)
class Deidentified:
    """Outcome of :func:`deidentify`: how many files were written, and why others were not.

    Parameters
    ----------
    written, kept
        How many were written, and how many were there already.
    failed, not_copied
        Why the others were not, by path: those that should have been, and those that are no images.
    numbered
        How many patients and visits got numbers instead of names, which may tell who they are, or a date.
    remarks
        What was left out of tables, and what the names of folders leave open.
    gone
        Files of the copy that earlier runs made and that this one would not make, by their paths in the copy: the
        source has not got what they were made from, or other files were chosen.
    """

    written: int
    kept: int
    failed: dict[str, str]
    not_copied: dict[str, str]
    numbered: int = 0
    remarks: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


def deidentify(
    source: str | Path,
    out: str | Path,
    *,
    key: bytes | None = None,
    tables: Collection[str] = (),
    keep_patients: bool = False,
    remove_gone: bool = False,
    config: str | Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    source_options: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> Deidentified:
    """Write a cleaned copy of a cohort.

    DICOM is cleaned by the Basic Profile of PS3.15: dates are emptied, private attributes removed, UIDs replaced alike
    in every file. Texts that stay by the profile lose words of the patient's names and numbers, dates and UIDs. The
    label of the patient becomes PatientID and PatientName; where it is more than a short number, a number that does not
    follow the order of the labels takes its place, in all names of folders and files too. Visits get one where a name
    may tell a date, or a letter where their order is not known; other names of files and folders become numbers in the
    same order, save those that the layout spells out. The copy converts by the same configuration; a file that cannot
    be called so that its layout still fits is not copied, and failed.
    The name of a structure in an RTSTRUCT or SEG stays where it is of words of the field, such as GTVp, or stands in
    the configuration's [labels]; of one that a pattern there matches, what the pattern spells stays; of others the
    words of the field, unless another is called so.
    The values of pixels stay, in their encoding. Overlays in bits that hold no value are cleared, bytes behind the last
    pixel are cut off, and comments are cut out of JPEG, JPEG-LS and JPEG 2000; a file whose overlay lies in compressed
    pixels fails. A face can still be reconstructed from a scan of the head, see :func:`audit`.

    A further run with the same key into the same folder brings the copy up to date. Patients and files keep their
    names, new ones get the next numbers; only the visits of a patient are numbered anew where one was added before
    others. A file is written again if its source has another size or time of modification, or if the options or the
    version of npczarr have changed, and tables always are. The folder has a hidden file, ``.npczarr-deidentify``, that
    says what the copy is made of, by digests that nobody without the key can make.

    Parameters
    ----------
    source
        Folder, ``.zip`` file or URL.
    out
        Folder to write, outside the source.
    key
        Secret of 16 bytes or more, from which the UIDs are made. A further run with the same key continues the first,
        also one that was killed. Without one, a random key is used and forgotten: such a copy cannot be continued nor
        tied to its source.
    tables
        Paths of CSV files in the source to copy. Columns whose names say that they tell who someone is are left out,
        patients and visits are called as in the new paths, and entries that hold a date or a word of what was left out
        are emptied: `remarks` says what. A table whose rows cannot follow the new names is not copied, and failed.
    keep_patients
        Keep the names of patients whatever they are: they are pseudonyms already.
    remove_gone
        Remove from the copy what earlier runs made of files that are not copied any more. By default it stays and is
        named in `gone`, for the source may be gone on purpose.
    config
        TOML file that describes another layout, as for :func:`npczarr.convert`, and limits. What does not fit it is not
        copied. Without one, files that lie neither in the published layout nor in that of BIDS belong to the folder
        that has one PatientID, or else to that above their series.
    workers
        Local worker processes; 0 for this process. By default the active ``distributed.Client``, or one a core; this
        process for a few hundred files. All must see the same folder `out`.
    scheduler
        Address of a running scheduler instead.
    source_options
        Options of the source's file system; credentials belong in the environment.
    on_progress
        Called with a :class:`npczarr.Progress` when the folders are known, and after each.

    Returns
    -------
    Deidentified
        How many files were written, and why others were not.

    Raises
    ------
    ParameterError
        If a table is not in the source; if `out` lies in the source or the other way round, is not empty where no key
        is given, or was not made with this key; if another run writes there; if the key is short; if the disk is
        full; if workers and scheduler do not fit.
    SourceError
        If the source cannot be listed, or is a Zarr store; if nothing tells whose its files are.
    """
    check_lists(tables=tables)
    layout = load_config(config)
    tables = frozenset(tables)
    if not layout.sequences and any("{sequence}" in pattern for pattern in layout.images + layout.masks):
        raise ParameterError(
            f"{config}: name the sequences under [sequences]: any other name of a folder may tell who the patient is"
        )
    where = open_source(source, source_options, layout.limits)
    out = _check(where, Path(out), key)
    files, stores = _listed(where, tables)
    whose = find_whose(where, files, layout, described=config is not None)
    runner = Runner(workers, scheduler, idle="here" if len(files) < SMALL_FILES else "processes")
    _make(out)
    with hold_folder(out):
        secret = key or secrets.token_bytes(32)
        record = Record(secret, out / NAME if key else None)
        record.load()
        names = Names(layout, strict=whose.strict, keep_patients=keep_patients, record=record, places=whose.places)
        copies, ignored = plan(files, tables, names)
        ignored |= dict.fromkeys(stores, "a Zarr store: clean what it was made from, and convert that")
        rois = tuple(str(name) for label in layout.labels for name in (*label.rois, *label.segments))
        changes = find_changes(out, copies, files, rois, record)
        begin(out, changes, record)
        to_copy = [copy for copy in changes.todo if copy.kind == "table"]
        done = [copy_tables(where, out, to_copy, names.new_names(), layout)]
        if not done[0].full:
            done += _clean(runner, _tasks(where, out, changes.todo, secret, rois), changes, record, on_progress)
        _check_room(out, done, len(changes.todo), continued=key is not None)
        gone = finish(out, changes, record, remove_gone=remove_gone)
    moved = f"{len(changes.moved)} files of the copy got another path, because patients or visits have other names now"
    doubts = describe_doubts(whose, names, layout, keep_patients=keep_patients)
    failed = {path: reason for one in done for path, reason in one.failed.items()} | names.unsafe | {**whose.unknown}
    ignored |= {path: "not a DICOM file" for one in done for path in one.foreign}
    return Deidentified(
        sum(len(one.written) for one in done),
        changes.kept,
        dict(sorted(failed.items())),
        {path: reason for path, reason in sorted(ignored.items()) if path not in failed},
        len(names.numbered),
        (*doubts, *([moved] if changes.moved else []), *done[0].remarks),
        gone,
    )


def _tasks(source: Source, out: Path, copies: Sequence[Copy], key: bytes, rois: tuple[str, ...]) -> list[Task]:
    """Return a task for each folder, in the order of the new names: times of files tell in which they were written."""
    folders: dict[str, list[Copy]] = defaultdict(list)
    for copy in copies:
        if copy.kind != "table":
            folders[copy.target.rpartition("/")[0]].append(copy)
    return [Task(source, str(out), tuple(group), key, rois) for _, group in sorted(folders.items())]


def _clean(
    runner: Runner, tasks: list[Task], changes: Changes, record: Record, on_progress: OnProgress | None
) -> list[Cleaned]:
    """Clean the files of all folders, and note in the record what was written as soon as it is.

    Once the disk is full, no further folder is begun.
    """
    done: list[Cleaned] = []
    waiting = takewhile(lambda _: not done or not done[-1].full, tasks)  # asked after each outcome
    meter = Meter(on_progress, len(tasks), "folders")
    with runner:
        # a task is named by its verb alone: labels of patients are not to be shown here
        for task, outcome in runner.run(clean_folder, waiting, name=lambda task: "deidentify"):
            if isinstance(outcome, Exception):
                reason = f"not copied ({type(outcome).__name__})"
                outcome = Cleaned(failed={copy.path: reason for copy in task.copies})
            elif not isinstance(outcome, Cleaned):
                raise outcome
            record.confirm({target: changes.wanted[target] for target in outcome.written})
            done.append(outcome)
            meter.add(counts={"failed": int(bool(outcome.failed))}, bytes=outcome.bytes)
    return done


def _check_room(out: Path, done: Sequence[Cleaned], total: int, *, continued: bool) -> None:
    """End the run where the disk was full."""
    full = next((one.full for one in done if one.full), "")
    if not full:
        return
    written = sum(len(one.written) for one in done)
    advice = (
        "make room, and run again with the same key" if continued else "name an empty folder where there is more room"
    )
    raise ParameterError(
        f"{out}: there is no more room ({full}): {written} of {total} files were written, {total - written} were not; "
        f"{advice}"
    )


def _listed(source: Source, tables: Collection[str]) -> tuple[list[File], list[str]]:
    """List the files that may be copied, and folders that are Zarr stores."""
    files = source.files()
    refuse_store(source.shown, files, _READ)
    files, stores = split_stores(files)
    files = [file for file in files if not IGNORED.search(file.path)]
    if unknown := sorted(set(tables) - {file.path for file in files}):
        raise ParameterError(f"{unknown[0]}: no such table in the source; give its path below {source.shown}")
    return files, stores


def _check(source: Source, out: Path, key: bytes | None) -> Path:
    """Return the whole path of the folder to write; nothing is made."""
    check_local(out)
    target = expanded(out).resolve()
    if "://" not in source.url:
        there = Path(source.url)
        if target == there or there in target.parents or target in there.parents:
            raise ParameterError(f"{out}: must lie outside the source, which is never changed; give another folder")
    if target.exists() and not target.is_dir():
        raise ParameterError(f"{out}: expected a folder, found a file; give another name")
    if key is not None and len(key) < 16:
        raise ParameterError(
            f"the key must have 16 bytes or more, got {len(key)}; make one with `openssl rand -hex 32`"
        )
    if key is None and target.exists() and any(target.iterdir()):
        raise ParameterError(f"{out}: is not empty; give an empty folder, or the key of the run to be continued")
    return target


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"{folder}: cannot be made ({error.strerror}); give another folder") from error
