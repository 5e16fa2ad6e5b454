"""A cleaned copy of a cohort: DICOM by the Basic Profile, NIfTI without its text, and nothing else."""

from __future__ import annotations

import os
import re
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from npczarr.errors import NpczarrError, ParameterError, SourceError
from npczarr.model.cohort import File
from npczarr.privacy.clean import clean_dicom, clean_nifti
from npczarr.sources.files import Source, open_source, why

Run = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[tuple[Any, Any]]]
_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_MASK = re.compile(r"ROI-(CE-)?T[12]\.nii(\.gz)?$")  # the published names; any other may name a person
_FOLDERS = frozenset(("data", "MRI-Segments", "T1WI", "T2WI", "CE-T1WI"))
_TEMPORARY = ".npczarr-part"


@dataclass(frozen=True, slots=True)
class Copy:
    """One file to clean: where it lies, where it goes, and who it is of; `kind` is dicom, nifti or table."""

    path: str
    target: str
    kind: str
    patient: str


@dataclass(frozen=True, slots=True)
class Task:
    """The files of one folder. Neither their names nor the key are shown: logs hold tasks that fail."""

    source: Source = field(repr=False)
    out: str
    copies: tuple[Copy, ...] = field(repr=False)
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Deidentified:
    """What became of the files: how many were written or already there, and why the others were not, by path."""

    written: int
    kept: int
    failed: dict[str, str]
    not_copied: tuple[str, ...]


def one_by_one(function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Run a function over tasks in this process; yield each with its result or its error."""
    for task in tasks:
        try:
            outcome = function(task)
        except Exception as error:
            outcome = error
        yield task, outcome


def deidentify(
    source: str | Path,
    out: str | Path,
    *,
    key: bytes | None = None,
    tables: Collection[str] = (),
    storage_options: dict[str, Any] | None = None,
    run: Run = one_by_one,
    on_progress: Callable[[int, int], None] | None = None,
) -> Deidentified:
    """Write a cleaned copy of a cohort.

    DICOM is cleaned by the Basic Profile of PS3.15: dates are emptied, private attributes removed, UIDs replaced alike
    in every file. The patient's folder becomes PatientID and PatientName; other names of files and folders become
    numbers in the same order, save those of the published layout. Pixels stay bit for bit, in their encoding.

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
        Paths of CSV files to copy as they are; look at them first.
    run
        Runs a function over tasks and yields (task, result or exception), in any order.
    on_progress
        Called with folders done and folders in all.

    Raises
    ------
    ParameterError
        If `out` lies in the source or the other way round, is not empty where no key is given, or the key is short.
    SourceError
        If the source cannot be listed.
    """
    where = open_source(source, storage_options)
    target = _check(where, Path(out), key)
    files = [f for f in where.files() if not f.path.startswith("__MACOSX/") and f.name != ".DS_Store"]
    copies, ignored = plan(files, tables)
    secret = key or secrets.token_bytes(32)
    folders: dict[str, list[Copy]] = defaultdict(list)
    for copy in copies:
        folders[copy.target.rpartition("/")[0]].append(copy)
    tasks = [Task(where, str(target), tuple(group), secret) for group in folders.values()]
    written = kept = 0
    failed: dict[str, str] = {}
    for done, (task, outcome) in enumerate(run(clean_folder, tasks), 1):
        if isinstance(outcome, BaseException):
            failed |= {copy.path: f"not copied ({type(outcome).__name__})" for copy in task.copies}
        else:
            written, kept, failed = written + outcome[0], kept + outcome[1], failed | outcome[2]
        if on_progress is not None:
            on_progress(done, len(tasks))
    return Deidentified(written, kept, dict(sorted(failed.items())), tuple(ignored))


def plan(files: Iterable[File], tables: Collection[str] = ()) -> tuple[list[Copy], list[str]]:
    """Say where each file goes, by the paths alone, so that a second run says the same; and which are not copied."""
    paths = sorted(file.path for file in files)
    kinds = {path: _kind(path, tables) for path in paths}
    patients = {_patient(path, kind) for path, kind in kinds.items() if kind in ("dicom", "nifti")}
    names = _Names({patient for patient in patients if patient})
    copies = []
    for path in paths:
        kind = kinds[path]
        if kind:
            folder = names.folder(path.rpartition("/")[0])
            copies.append(Copy(path, folder + names.file(path, kind), kind, _patient(path, kind).rpartition("/")[2]))
    return copies, [path for path in paths if not kinds[path]]


def clean_folder(task: Task) -> tuple[int, int, dict[str, str]]:
    """Clean the files of one folder; how many were written, were there already, and why the others failed."""
    written = kept = 0
    failed = {}
    for copy in task.copies:
        target = Path(task.out, copy.target)
        if target.exists():  # whole, as it took its name only then
            kept += 1
            continue
        try:
            _write(target, _cleaned(task, copy))
            written += 1
        except (NpczarrError, OSError) as error:
            failed[copy.path] = (
                str(error) if isinstance(error, NpczarrError) else f"cannot be written ({error.strerror})"
            )
    return written, kept, failed


def _check(source: Source, out: Path, key: bytes | None) -> Path:
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


def _kind(path: str, tables: Collection[str]) -> str:
    """Return dicom, nifti or table, or nothing for what is not copied; what has no known ending may be DICOM."""
    name = path.rpartition("/")[2].lower()
    if path in tables:
        return "table"
    if _NIFTI.search(name):
        return "nifti"
    ending = name.rpartition(".")[2] if "." in name else ""
    return "dicom" if ending in ("", "dcm", "dicom", "ima", "img") or ending.isdecimal() else ""


def _patient(path: str, kind: str) -> str:
    """Path of the patient's folder: above the series' folder, or the one that holds the masks."""
    folders = path.split("/")[:-1]
    if kind == "dicom" and len(folders) > 1:
        folders = folders[:-1]
    return "/".join(folders) or "unknown"


class _Names:
    """Neutral names, given in the order in which the old ones sort."""

    def __init__(self, patients: set[str]) -> None:
        self._patients = patients
        self._folders: dict[str, str] = {"": ""}
        self._counts: dict[str, int] = defaultdict(int)

    def folder(self, path: str) -> str:
        """Return the new path of a folder, with a slash at its end."""
        if path not in self._folders:
            above, _, name = path.rpartition("/")
            parent = self.folder(above)
            if path not in self._patients and name not in _FOLDERS:
                name = self._number(parent, "folder-{:03d}")
            self._folders[path] = f"{parent}{name}/"
        return self._folders[path]

    def file(self, path: str, kind: str) -> str:
        """Return the new name of a file."""
        folder, _, name = path.rpartition("/")
        if kind == "table" or (kind == "nifti" and _MASK.match(name)):
            return name
        ending = ".dcm" if kind == "dicom" else ".nii.gz" if name.lower().endswith(".gz") else ".nii"
        return self._number(folder + ending, "{:05d}" + ending)

    def _number(self, where: str, form: str) -> str:
        self._counts[where] += 1
        return form.format(self._counts[where])


def _cleaned(task: Task, copy: Copy) -> bytes:
    (content,) = task.source.read([copy.path])
    if isinstance(content, Exception):
        raise SourceError(why(content))
    if copy.kind == "dicom":
        return clean_dicom(content, task.key, copy.patient)
    if copy.kind == "nifti":
        return clean_nifti(content, packed=copy.target.endswith(".gz"))
    return content


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + _TEMPORARY)
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(target)
