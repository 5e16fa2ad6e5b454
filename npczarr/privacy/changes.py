"""What a run has to write, by what earlier runs into the same folder left there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from npczarr.model.cohort import File
from npczarr.privacy.names import Copy
from npczarr.privacy.profile import METHOD
from npczarr.privacy.record import TEMPORARY, Made, Record


@dataclass(frozen=True, slots=True)
class Changes:
    """What a run has to do.

    Parameters
    ----------
    todo
        Files to write: new ones, and those whose source or rules are not what they were made of.
    kept
        How many are there already, of the same source by the same rules.
    wanted
        What each file of the copy is to be made of, by its path in the copy.
    moved
        Files of the copy whose source now goes elsewhere.
    gone
        Files of the copy whose source is not copied any more.
    """

    todo: tuple[Copy, ...] = field(repr=False)
    kept: int
    wanted: Mapping[str, Made] = field(repr=False)
    moved: tuple[str, ...] = field(repr=False)
    gone: tuple[str, ...] = field(repr=False)


def find_changes(
    out: Path, copies: Sequence[Copy], files: Sequence[File], rois: Sequence[str], record: Record
) -> Changes:
    """Compare what is to be copied with what the record says is there; nothing is changed.

    Parameters
    ----------
    out
        Folder of the copy.
    copies
        All that is to be in it.
    files
        The files of the source, which say of what size each is and when it changed.
    rois
        Names of structures that are kept, which are rules too.
    record
        What earlier runs left.
    """
    listed = {file.path: file for file in files}
    rules = (version("npczarr"), METHOD, *sorted(rois))
    wanted = {
        copy.target: Made(record.digest("source", copy.path), _content(copy, listed[copy.path], rules, record))
        for copy in copies
    }
    there = {
        target
        for target, made in wanted.items()
        if made.content and record.files.get(target) == made and (out / target).is_file()
    }
    sources = {made.source for made in wanted.values()}
    left = [target for target in record.files if target not in wanted and (out / target).is_file()]
    return Changes(
        tuple(copy for copy in copies if copy.target not in there),
        len(there),
        wanted,
        tuple(target for target in left if record.files[target].source in sources),
        tuple(target for target in left if record.files[target].source not in sources),
    )


def _content(copy: Copy, file: File, rules: Sequence[str], record: Record) -> str:
    """Return the digest of all that decides what a file holds; "" where it is to be written in any case.

    A table follows the names of all patients; of a file without a stamp nothing tells whether it has changed.
    """
    if copy.kind == "table" or not file.stamp:
        return ""
    return record.digest("content", file.path, file.size, file.stamp, copy.kind, copy.patient, *rules)


def begin(out: Path, changes: Changes, record: Record) -> None:
    """Note what is going to be written before any of it is, so that a run that is killed leaves nothing unknown."""
    for target, made in record.files.items():
        if not made.content:
            _remove(out, target + TEMPORARY)
    left = {*changes.moved, *changes.gone}
    todo = {copy.target for copy in changes.todo}
    record.files = {
        **{target: made for target, made in record.files.items() if target in left},
        **{target: Made(made.source) if target in todo else made for target, made in changes.wanted.items()},
    }
    record.save()


def finish(out: Path, changes: Changes, record: Record, *, remove_gone: bool) -> tuple[str, ...]:
    """Remove files whose source is elsewhere in the copy now, note what is there, and return those that are left."""
    for target in (*changes.moved, *(changes.gone if remove_gone else ())):
        _remove(out, target)
    left = tuple(target for target in (*changes.moved, *changes.gone) if os.path.lexists(out / target))
    record.files = {
        target: made
        for target, made in record.files.items()
        if target in left or (target in changes.wanted and (made.content or os.path.lexists(out / target)))
    }
    record.save()
    return left


def _remove(out: Path, target: str) -> None:
    """Remove a file of the copy, and the folders that it leaves empty."""
    path = out / target
    with suppress(OSError, UnicodeEncodeError):  # a run in another locale may have written it
        path.unlink(missing_ok=True)
        for folder in path.parents[: len(Path(target).parents) - 1]:
            folder.rmdir()  # refused where there is something in it
