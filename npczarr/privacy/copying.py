"""Cleaned copies of the files of one folder, and of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from npczarr.errors import NpczarrError, SourceError
from npczarr.privacy.clean import clean_dicom
from npczarr.privacy.names import Copy, Renamed
from npczarr.privacy.nifti import clean_nifti
from npczarr.privacy.paths import DICOM_ENDINGS
from npczarr.privacy.record import is_full, write_file
from npczarr.privacy.tables import clean_table
from npczarr.sources.config import SourceConfig
from npczarr.sources.files import Source, refusal_reason


@dataclass(frozen=True, slots=True)
class Task:
    """The files of one folder. Neither their names nor the key are shown: logs hold tasks that fail."""

    source: Source = field(repr=False)
    out: str
    copies: tuple[Copy, ...] = field(repr=False)
    key: bytes = field(repr=False)
    rois: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What became of a folder.

    Parameters
    ----------
    written, bytes
        Paths in the copy of the files that were written, and their bytes.
    failed, foreign
        Failures by path, and what is no DICOM file.
    remarks
        What was left out of tables.
    full
        In the system's words, that the disk was full, so that no further file was begun; "" where it was not.
    """

    written: tuple[str, ...] = field(default=(), repr=False)
    bytes: int = 0
    failed: Mapping[str, str] = field(default_factory=dict, repr=False)
    foreign: tuple[str, ...] = field(default=(), repr=False)
    remarks: tuple[str, ...] = field(default=(), repr=False)
    full: str = ""


def clean_folder(task: Task) -> Cleaned:
    """Clean the files of a folder; safe to run twice. What is wrong with a file is reported, not raised.

    A file that fails leaves nothing in the copy, nor what an earlier run made of what its source was then. Where the
    disk is full, no further file is begun.
    """
    written, size, full = [], 0, ""
    failed, foreign = {}, []
    for copy in task.copies:
        target = Path(task.out, copy.target)
        try:
            content = _cleaned(task, copy)
            if content is not None:
                write_file(target, content)
                written.append(copy.target)
                size += len(content)
                continue
            foreign.append(copy.path)
        except NpczarrError as error:
            failed[copy.path] = str(error)
        except OSError as error:
            failed[copy.path] = f"cannot be written ({error.strerror})"
            full = str(error.strerror) if is_full(error) else ""
        _remove(target)
        if full:
            break
    return Cleaned(tuple(written), size, failed, tuple(foreign), full=full)


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


def copy_tables(source: Source, out: Path, copies: Sequence[Copy], renamed: Renamed, layout: SourceConfig) -> Cleaned:
    """Clean the tables, each anew in every run; of one that fails nothing stays in the copy. A full disk ends it."""
    written, size, full = [], 0, ""
    failed: dict[str, str] = {}
    remarks: list[str] = []
    for copy, content in zip(copies, source.read([copy.path for copy in copies]), strict=True):
        target = out / copy.target
        try:
            if isinstance(content, Exception):
                raise SourceError(refusal_reason(content))
            separator = "\t" if copy.path.lower().endswith(".tsv") else ","
            cleaned, said = clean_table(content, renamed, layout, separator)
            write_file(target, cleaned)
        except NpczarrError as error:
            failed[copy.path] = f"{error}; the table was not copied"
        except OSError as error:
            failed[copy.path] = f"cannot be written ({error.strerror})"
            full = str(error.strerror) if is_full(error) else ""
        else:
            written.append(copy.target)
            size += len(cleaned)
            remarks += [f"{copy.path}: {one}" for one in said]
        if copy.path in failed:
            _remove(target)
        if full:
            break
    return Cleaned(tuple(written), size, failed, (), tuple(remarks), full)


def _remove(target: Path) -> None:
    with suppress(OSError, UnicodeEncodeError):  # where this locale has no letters for the name, there is none
        target.unlink(missing_ok=True)
