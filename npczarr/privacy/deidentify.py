"""A cleaned copy of a cohort: DICOM by the Basic Profile, NIfTI without its text, and nothing else."""

from __future__ import annotations

import os
import secrets
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from npczarr.errors import NpczarrError, ParameterError, SourceError
from npczarr.model.cohort import File
from npczarr.model.options import check_local
from npczarr.model.progress import Meter, OnProgress
from npczarr.privacy.clean import clean_dicom, clean_nifti
from npczarr.privacy.names import DICOM_ENDINGS, Copy, Names, Renamed, plan
from npczarr.privacy.tables import clean_table
from npczarr.runner import Runner
from npczarr.sources.config import SourceConfig, load_config
from npczarr.sources.files import Source, open_source, refusal_reason
from npczarr.sources.labels import IGNORED
from npczarr.sources.zarr_stores import refuse_store, split_stores

SMALL_FILES = 500  # read in about the time that two processes take to start
_TEMPORARY = ".npczarr-part"
_READ = "the DICOM and NIfTI files that one is made from"


@dataclass(frozen=True, slots=True)
class Task:
    """The files of one folder. Neither their names nor the key are shown: logs hold tasks that fail."""

    source: Source = field(repr=False)
    out: str
    copies: tuple[Copy, ...] = field(repr=False)
    key: bytes = field(repr=False)
    rois: tuple[str, ...] = field(default=(), repr=False)


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
        Folders of patients and visits whose names may tell who they are, or a date, and which got numbers instead.
    remarks
        What was left out of tables, and what the names of folders leave open.
    """

    written: int
    kept: int
    failed: dict[str, str]
    not_copied: dict[str, str]
    numbered: int = 0
    remarks: tuple[str, ...] = ()


def deidentify(
    source: str | Path,
    out: str | Path,
    *,
    key: bytes | None = None,
    tables: Collection[str] = (),
    keep_patients: bool = False,
    config: str | Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    source_options: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> Deidentified:
    """Write a cleaned copy of a cohort.

    DICOM is cleaned by the Basic Profile of PS3.15: dates are emptied, private attributes removed, UIDs replaced alike
    in every file. Texts that stay by the profile lose words of the patient's names and numbers, dates and UIDs. The
    patient's folder becomes PatientID and PatientName, by a number of its own where it is called more than a short
    number; folders of visits get one where a name may tell a date, or a letter where their order is not known; other
    names of files and folders become numbers in the same order, save those that the layout spells out.
    The name of a structure in an RTSTRUCT stays where it is of words of the field, such as GTVp, or stands in the
    configuration's [labels]; of one that a pattern there matches, what the pattern spells stays; others are emptied.
    Pixels stay bit for bit, in their encoding: a face can still be reconstructed from a scan of the head, see
    :func:`audit`.

    Parameters
    ----------
    source
        Folder, ``.zip`` file or URL.
    out
        Folder to write, outside the source.
    key
        Secret of 16 bytes or more, from which the UIDs are made. A second run with the same key continues the first.
        Without one, a random key is used and forgotten: such a copy cannot be continued nor tied to its source.
    tables
        Paths of CSV files in the source to copy. Columns whose names say that they tell who someone is are left out,
        patients and visits are called as their new folders, and entries that hold a date or a word of what was left out
        are emptied: `remarks` says what. A table whose rows cannot follow the new names is not copied, and failed.
    keep_patients
        Keep the names of patients' folders whatever they are: they are pseudonyms already.
    config
        TOML file that describes another layout, as for :func:`npczarr.convert`, and limits. What does not fit it is not
        copied. Without one, files that do not lie in the published layout belong to the folder above their series.
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
        If a table is not in the source; if `out` lies in the source or the other way round, or is not empty where no
        key is given; if the key is short; if workers and scheduler do not fit.
    SourceError
        If the source cannot be listed, or is a Zarr store.
    """
    layout = load_config(config)
    tables = frozenset(tables)
    if not layout.sequences:
        raise ParameterError(
            f"{config}: name the sequences under [sequences]: any other name of a folder may tell who the patient is"
        )
    where = open_source(source, source_options, layout.limits)
    out = _check(where, Path(out), key)
    files, stores = _listed(where, tables)
    runner = Runner(workers, scheduler, idle="here" if len(files) < SMALL_FILES else "processes")
    _make(out)
    names = Names(layout, strict=config is not None, keep_patients=keep_patients)
    copies, ignored = plan(files, tables, names)
    ignored |= dict.fromkeys(stores, "a Zarr store: clean what it was made from, and convert that")
    secret = key or secrets.token_bytes(32)
    folders: dict[str, list[Copy]] = defaultdict(list)
    for copy in copies:
        if copy.kind != "table":
            folders[copy.target.rpartition("/")[0]].append(copy)
    rois = tuple(roi for label in layout.labels for roi in label.rois)
    tasks = [Task(where, str(out), tuple(group), secret, rois) for group in folders.values()]
    done = _copy_tables(where, out, [copy for copy in copies if copy.kind == "table"], names.new_names(), layout)
    written, kept, failed, remarks = done.written, done.kept, dict(done.failed), names.doubts() + list(done.remarks)
    meter = Meter(on_progress, len(tasks), "folders")
    with runner:
        # a task is named by its verb alone: labels of patients are not to be shown here
        for task, outcome in runner.run(clean_folder, tasks, name=lambda task: "deidentify"):
            if isinstance(outcome, Exception):
                reason = f"not copied ({type(outcome).__name__})"
                outcome = Cleaned(0, 0, 0, {copy.path: reason for copy in task.copies}, ())
            elif not isinstance(outcome, Cleaned):
                raise outcome
            written, kept = written + outcome.written, kept + outcome.kept
            failed |= outcome.failed
            ignored |= dict.fromkeys(outcome.foreign, "not a DICOM file")
            meter.add(counts={"failed": int(bool(outcome.failed))}, bytes=outcome.bytes)
    return Deidentified(
        written,
        kept,
        dict(sorted(failed.items())),
        dict(sorted(ignored.items())),
        len(names.numbered),
        tuple(remarks),
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


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What became of a folder: files written or there before, bytes written, failures by path, what is no DICOM."""

    written: int
    kept: int
    bytes: int
    failed: dict[str, str] = field(repr=False)
    foreign: tuple[str, ...] = field(repr=False)
    remarks: tuple[str, ...] = field(default=(), repr=False)


def clean_folder(task: Task) -> Cleaned:
    """Clean the files of a folder; safe to run twice. What is wrong with a file is reported, not raised."""
    written = kept = size = 0
    failed, foreign = {}, []
    for copy in task.copies:
        target = Path(task.out, copy.target)
        if target.exists():  # whole, as it took its name only then
            kept += 1
            continue
        try:
            content = _cleaned(task, copy)
            if content is None:
                foreign.append(copy.path)
                continue
            _write(target, content)
            written += 1
            size += len(content)
        except (NpczarrError, OSError) as error:
            failed[copy.path] = (
                str(error) if isinstance(error, NpczarrError) else f"cannot be written ({error.strerror})"
            )
    return Cleaned(written, kept, size, failed, tuple(foreign))


def _copy_tables(source: Source, out: Path, copies: list[Copy], renamed: Renamed, layout: SourceConfig) -> Cleaned:
    """Clean the tables; safe to run twice."""
    kept, size = 0, 0
    failed: dict[str, str] = {}
    remarks: list[str] = []
    for copy, content in zip(copies, source.read([copy.path for copy in copies]), strict=True):
        target = out / copy.target
        if target.exists():
            kept += 1
            continue
        try:
            if isinstance(content, Exception):
                raise SourceError(refusal_reason(content))
            separator = "\t" if copy.path.lower().endswith(".tsv") else ","
            cleaned, said = clean_table(content, renamed, layout, separator)
            _write(target, cleaned)
        except SourceError as error:
            failed[copy.path] = f"{error}; the table was not copied"
        except OSError as error:
            failed[copy.path] = f"cannot be written ({error.strerror})"
        else:
            size += len(cleaned)
            remarks += [f"{copy.path}: {one}" for one in said]
    return Cleaned(len(copies) - kept - len(failed), kept, size, failed, (), tuple(remarks))


def _check(source: Source, out: Path, key: bytes | None) -> Path:
    """Return the whole path of the folder to write; nothing is made."""
    check_local(out)
    target = out.expanduser().resolve()
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


def _cleaned(task: Task, copy: Copy) -> bytes | None:
    """Return what is to be written, or None where a file whose name does not say so is no DICOM file."""
    (content,) = task.source.read([copy.path])
    if isinstance(content, Exception):
        raise SourceError(refusal_reason(content))
    limits = task.source.limits
    if copy.kind == "nifti":
        return clean_nifti(content, limits, packed=copy.path.lower().endswith(".gz"))
    cleaned = clean_dicom(content, task.key, copy.patient, limits, task.rois)
    if cleaned is None and copy.path.lower().endswith(DICOM_ENDINGS):
        raise SourceError("not a DICOM file, though its name says so")
    return cleaned


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + _TEMPORARY)
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(target)
