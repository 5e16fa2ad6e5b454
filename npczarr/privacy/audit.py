"""What in a folder, zip or URL could identify someone."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npczarr.errors import SourceError
from npczarr.model.identifiers import DATE, UID, identifies_by_name, tells_who
from npczarr.model.limits import Limits
from npczarr.model.progress import Meter, OnProgress
from npczarr.privacy.clean import burned_in, gzip_name, nifti_layout, nifti_text, read_dicom
from npczarr.privacy.deidentify import SMALL_FILES
from npczarr.privacy.profile import identifies, is_cleaned, is_kept_text, is_taken_out, words_of
from npczarr.runner import Runner
from npczarr.sources.csv_files import parse_csv
from npczarr.sources.decompression import unpack_gzip
from npczarr.sources.files import Source, open_source, refusal_reason
from npczarr.sources.nifti_file import silent
from npczarr.sources.zarr_stores import refuse_store, split_stores

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_BATCH = 64  # files of one task: enough to hide the cost of starting it
_EXAMPLES = 3
_READ = "a source of DICOM, NIfTI, tables (CSV, TSV) and JSON, such as a store is made from"
_CLOSED = (
    *(".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"),
    *(".xls", ".xlsx", ".xlsm", ".ods", ".doc", ".docx", ".odt", ".rtf", ".pdf", ".parquet", ".sqlite", ".db", ".sav"),
)
_NOTES = ("face", "text")  # for a person to decide
_ABOUT = ("BodyPartExamined", "StudyDescription", "SeriesDescription", "ProtocolName", "RequestedProcedureDescription")
_OUTLINES = re.compile(r"roi|mask|label|seg|lesion|tumou?r", re.IGNORECASE)  # no image, by the name of the file
_HEAD = re.compile(r"head|brain|skull|face|neck|nasoph|orbit|sinus|\bH&N\b|\bHN\b", re.IGNORECASE)
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

    Counted by number of files: filled attributes of the Basic Profile of DICOM PS3.15, at every level of sequences;
    private attributes by creator; dates, UIDs and names in paths; text in NIfTI headers; annotations burned into
    pixels, as far as headers tell; words of the patient's names and numbers, dates and UIDs in texts that a cleaned
    copy keeps; columns of tables and entries of JSON sidecars that tell who someone is. Noted for a person to decide:
    other texts that stay, and scans of a head, from which a face can be reconstructed.

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


Looked = dict[str, dict[tuple[str, str], str] | str]


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


def _in_path(path: str) -> dict[tuple[str, str], str]:
    patterns = {"date": DATE, "UID": UID, "name of a person, perhaps": _PERSON}
    return {("path", name): match[0] for name, pattern in patterns.items() if (match := pattern.search(path))}


def _in_content(path: str, content: bytes, limits: Limits) -> dict[tuple[str, str], str]:
    name = path.rpartition("/")[2].lower()
    if name.endswith((".nii", ".nii.gz")):
        return _in_nifti(name, content, limits)
    with silent("pydicom"):  # values that break a rule of DICOM are looked at all the same
        dataset = read_dicom(content, limits, stop_before_pixels=True)
        if dataset is not None:
            try:
                return _in_dicom(path, dataset)
            except Exception as error:  # pydicom parses values where they are first looked at
                raise SourceError(f"a damaged DICOM file ({type(error).__name__}), not looked at") from error
    if name.endswith((".dcm", ".ima", ".dicom")):
        raise SourceError("not a DICOM file, though its name says so; not looked at")
    if name.endswith((".csv", ".tsv")):
        return _in_table(content)
    if name.endswith(_CLOSED):
        raise SourceError(f"of a kind that audit does not look into; it reads {_READ}")
    return _in_sidecar(content) if name.endswith(".json") else {}


def _in_nifti(name: str, content: bytes, limits: Limits) -> dict[tuple[str, str], str]:
    try:
        data = content
        if name.endswith(".gz"):
            data = unpack_gzip(content, lambda head: nifti_layout(head)[1], limits, limits.clock())
        found = {("nifti", text): "" for text in nifti_text(data)}
        if not _OUTLINES.search(name):
            found["face", "NIfTI image, which does not say which part of the body it shows"] = ""
        packed_as = gzip_name(content).lower()
        return found | ({("path", "name in the gzip header"): packed_as} if packed_as not in name else {})
    except SourceError:
        raise
    except Exception as error:  # damage of gzip, zlib, struct
        raise SourceError(f"a damaged NIfTI file ({type(error).__name__}), not looked at") from error


def _in_table(content: bytes) -> dict[tuple[str, str], str]:
    """Find columns that tell by their name who the patients are; one value of each."""
    rows = parse_csv(content)
    columns = [column for column in (rows[0] if rows else {}) if identifies_by_name(column)]
    filled = {column: next((row[column] for row in rows if row[column]), "") for column in columns}
    return {("column", column): value for column, value in filled.items() if value}


def _in_sidecar(content: bytes) -> dict[tuple[str, str], str]:
    """Find entries of a JSON sidecar, such as dcm2niix writes, that the profile takes out of a DICOM header."""
    try:
        entries = json.loads(content)
    except ValueError as error:
        raise SourceError("damaged JSON, not looked at") from error
    except RecursionError as error:
        raise SourceError("JSON nested too deep, not looked at") from error
    entries = entries if isinstance(entries, dict) else {}
    return {
        ("sidecar", str(key)): str(value)
        for key, value in entries.items()
        if value not in ("", None, [], {}) and (identifies_by_name(str(key)) or is_taken_out(str(key)))
    }


def _in_dicom(path: str, dataset: Dataset) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    folders = frozenset([*path.split("/"), "unknown"])
    words = words_of(dataset)
    for element in dataset.iterall():
        if element.tag.is_private:
            found["private", element.private_creator or "no creator"] = str(element.tag)
        elif identifies(element, dataset, folders):
            found[_kind(element.VR), element.keyword or str(element.tag)] = str(element.value)
        elif is_kept_text(element):
            kind = "kept text" if tells_who(str(element.value), words) else "text"
            found[kind, element.keyword] = str(element.value)
    meta = dataset.file_meta
    found |= {
        ("attribute", tag): str(meta[tag].value)
        for tag in ("SourceApplicationEntityTitle", "SendingApplicationEntityTitle", "PrivateInformation")
        if tag in meta
    }
    if not is_cleaned(dataset) and any(dataset.preamble or b""):
        found["attribute", "preamble"] = ""
    if burned_in(dataset):
        found["burned in", "annotation in the pixels"] = str(dataset.get("BurnedInAnnotation", "not told"))
    for part in re.split(r"[\^ ,_]+", str(dataset.get("PatientName", ""))):
        if len(part) > 2 and not is_cleaned(dataset) and part.lower() in path.lower():
            found["path", "PatientName"] = part
    if "Rows" in dataset and (shown := _may_show_a_face(dataset)):
        found["face", shown] = ""
    return found


def _may_show_a_face(dataset: Dataset) -> str:
    """Say why a face may be reconstructed from an image: its header says so, or says nothing of what it shows."""
    about = " ".join(str(dataset.get(keyword, "")) for keyword in _ABOUT)
    if _HEAD.search(about):
        return "image of a head or neck"
    silent = not str(dataset.get("BodyPartExamined", "")).strip()
    return "image whose header does not say which part of the body it shows" if silent else ""


def _kind(vr: str) -> str:
    return {"DA": "date", "DT": "date", "TM": "date", "UI": "uid"}.get(vr, "attribute")
