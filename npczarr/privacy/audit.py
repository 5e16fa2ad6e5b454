"""What in a folder, zip or URL could identify someone."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from npczarr.errors import SourceError
from npczarr.model.identifiers import DATE, UID
from npczarr.model.limits import Limits
from npczarr.model.progress import Meter, OnProgress
from npczarr.privacy.clean import is_index, read_dicom
from npczarr.privacy.contents import Found, find_in_dicom, find_in_json, find_in_nifti, find_in_table
from npczarr.privacy.deidentify import SMALL_FILES
from npczarr.privacy.record import is_record
from npczarr.runner import Runner
from npczarr.sources.files import Source, open_source, refusal_reason
from npczarr.sources.nifti_file import silent
from npczarr.sources.zarr_stores import refuse_store, split_stores

_BATCH = 64  # files of one task: enough to hide the cost of starting it
_EXAMPLES = 3
_READ = "a source of DICOM, NIfTI, tables (CSV, TSV) and JSON, such as a store is made from"
_NOTES = ("face", "text")  # for a person to decide
_PERSON = re.compile(r"\^|(?<![A-Za-z])[A-Z][a-z]{2,}[ _,]+[A-Z][a-z]{2,}(?![A-Za-z])")


@dataclass(frozen=True, slots=True)
class Leak:
    """One thing that could identify someone; `values` holds examples, and only if they were asked for."""

    kind: str
    name: str
    files: int
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Audit:
    """What was looked at, what was found, what to keep in mind, and what could not be read and why, by path.

    A Zarr store within the source counts as one file, which could not be read.
    """

    files: int
    findings: tuple[Leak, ...]
    notes: tuple[Leak, ...]
    unread: dict[str, str]

    @property
    def clean(self) -> bool:
        """Whether nothing was found and everything could be read."""
        return not (self.findings or self.unread)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return {"clean": self.clean} | asdict(self)


@dataclass(frozen=True, slots=True)
class _Task:
    source: Source = field(repr=False)
    paths: tuple[str, ...] = field(repr=False)


def audit(
    source: str | Path,
    *,
    values: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    source_options: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> Audit:
    """Look through every file of a source for what could identify someone.

    Counted by number of files: filled attributes of the Basic Profile of DICOM PS3.15, at every level of sequences and
    behind the pixels; private attributes by creator; indexes of media (DICOMDIR); dates, UIDs and names in paths; text
    in NIfTI headers, and bytes behind the voxels; annotations burned into pixels and overlays in their unused bits, as
    far as headers tell; words of the patient's names and numbers, dates and UIDs in texts that a cleaned copy keeps;
    columns of tables and entries of JSON sidecars, at every level, that tell who someone is. Noted for a person to
    decide: other texts that stay, entries of tables and JSON that hold a date, a name as DICOM writes them, an e-mail
    address or a telephone number, and scans of a head, from which a face can be reconstructed. A file of any other kind
    is not looked into, and counts as one that could not be read.

    Parameters
    ----------
    source
        Folder, ``.zip`` file or URL.
    values
        Also keep up to three values of each finding.
    workers
        Local worker processes; 0 for this process. By default the active ``distributed.Client``, or one a core; this
        process for a few hundred files.
    scheduler
        Address of a running scheduler instead.
    source_options
        Options of the source's file system; credentials belong in the environment.
    on_progress
        Called with a :class:`npczarr.Progress` when the files are known, and after each batch of them.

    Returns
    -------
    Audit
        What was found, by kind, and the files that could not be read.

    Raises
    ------
    ParameterError
        If workers and scheduler do not fit.
    SourceError
        If the source cannot be listed, or is a Zarr store.
    """
    where = open_source(source, source_options)
    files = where.files()
    refuse_store(where.shown, files, _READ)
    files, stores = split_stores(files)
    paths = [file.path for file in files]
    tasks = [_Task(where, tuple(paths[i : i + _BATCH])) for i in range(0, len(paths), _BATCH)]
    counts: dict[tuple[str, str], int] = defaultdict(int)
    examples: dict[tuple[str, str], set[str]] = defaultdict(set)
    unread = dict.fromkeys(stores, f"a Zarr store; audit reads {_READ}")
    with Runner(workers, scheduler, idle="here" if len(paths) < SMALL_FILES else "processes") as runner:
        meter = Meter(on_progress, len(paths), "files")
        # a task is named by its verb alone: paths are not to be shown here
        for task, outcome in runner.run(look, tasks, name=lambda task: "audit"):
            results = _results(task, outcome)
            missed = {path: found for path, found in results.items() if isinstance(found, str)}
            unread |= missed
            for found in results.values():
                for what, value in () if isinstance(found, str) else found.items():
                    counts[what] += 1
                    examples[what].add(value)
            meter.add(len(task.paths), counts={"unread": len(missed)})
    findings = [
        Leak(*what, count, tuple(sorted(examples[what])[:_EXAMPLES]) if values else ())
        for what, count in sorted(counts.items())
    ]
    return Audit(
        len(paths) + len(stores),
        tuple(f for f in findings if f.kind not in _NOTES),
        tuple(f for f in findings if f.kind in _NOTES),
        dict(sorted(unread.items())),
    )


Looked = dict[str, Found | str]


def _results(task: _Task, outcome: Looked | BaseException) -> Looked:
    """Give every path of a task its result, also where the task ended in an error."""
    if isinstance(outcome, Exception):
        return dict.fromkeys(task.paths, f"not read ({type(outcome).__name__})")
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def look(task: _Task) -> Looked:
    """For each path, map (kind, name) of what was found to one value; or why the file could not be read."""
    found: Looked = {}
    for path in task.paths:
        (content,) = task.source.read([path])
        if isinstance(content, Exception):
            found[path] = refusal_reason(content)
            continue
        try:
            found[path] = _in_path(path) | _in_content(path, content, task.source.limits)
        except SourceError as error:
            found[path] = str(error)
    return found


def _in_path(path: str) -> Found:
    patterns = {"date": DATE, "UID": UID, "name of a person, perhaps": _PERSON}
    return {("path", name): match[0] for name, pattern in patterns.items() if (match := pattern.search(path))}


def _in_content(path: str, content: bytes, limits: Limits) -> Found:
    name = path.rpartition("/")[2].lower()
    if name.endswith((".nii", ".nii.gz")):
        return find_in_nifti(name, content, limits)
    if is_index(content):
        return {("index", "DICOMDIR, a list of patients and dates"): ""}
    with silent("pydicom"):  # values that break a rule of DICOM are looked at all the same
        dataset = read_dicom(content, limits, skip_pixels=True)
        if dataset is not None:
            try:
                return find_in_dicom(path, dataset)
            except Exception as error:  # pydicom parses values where they are first looked at
                raise SourceError(f"a damaged DICOM file ({type(error).__name__}), not looked at") from error
    if name.endswith((".dcm", ".ima", ".dicom")):
        raise SourceError("not a DICOM file, though its name says so; not looked at")
    if name.endswith((".csv", ".tsv")):
        return find_in_table(content)
    if name.endswith(".json"):
        return find_in_json(content)
    if content and not is_record(name, content):
        raise SourceError(
            "of a kind that audit does not look into, as it does into DICOM, NIfTI, CSV, TSV and JSON; look at it "
            "yourself, or leave it out"
        )
    return {}
