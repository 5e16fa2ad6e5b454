"""What reviewers decided on each scan: kept in the store as group `review`, or in a CSV file where it is read-only."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from npczarr.errors import LeaseError, ReadOnlyError, StoreError, unknown_label
from npczarr.model.review import Key, Mark
from npczarr.model.schema import INDEXES, SCAN, TEXT, Variable
from npczarr.store.cohort import open_consolidated
from npczarr.store.create import add_table
from npczarr.store.hierarchy import array, labels, open_group
from npczarr.store.lease import hold_lease
from npczarr.store.location import Location, delete_below, exists, get
from npczarr.store.review_digests import input_digests
from npczarr.store.review_file import append_marks, read_marks
from npczarr.store.storage_errors import first_line
from npczarr.store.zarr_library import consolidate

GROUP = "review"
_MARKS = f"{GROUP}/mark/c/0/0"  # the first object of marks
_WAIT = 10.0  # s for another writer
_PAUSE = 0.05
_NAMED = 10  # scans in a message
_TO_DO = "If the storage is well, restore the folder review from a copy of the store; or delete it, and review anew."
#: `mark` is written first and holds all of a mark; the others are made of it, for people.
_TABLES = (
    Variable("mark", SCAN, "string", "the whole mark, as JSON text"),
    Variable("decision", SCAN, "string", "what the reviewer decided: accept or exclude"),
    Variable("reason", SCAN, "string", "why the scan is to be excluded: coverage, resolution, artifact or other"),
    Variable("note", SCAN, "string", "what the reviewer wrote"),
    Variable("reviewer", SCAN, "string", "who decided; empty unless the reviewer gave a name"),
    Variable("time", SCAN, "string", "when, UTC"),
    Variable("input_digest", SCAN, "string", "digest of what was seen: a scan that changed is to be reviewed again"),
)
_INDEXES = tuple(variable for variable in INDEXES if variable.name in SCAN)
SHOWN = ("decision", "reason", "note", "reviewer", "time")


class ChangedScanError(StoreError):
    """A scan is not as it was when it was looked at, so a decision on it is not kept."""


@dataclass(frozen=True, slots=True)
class FoundMarks:
    """The marks of a store.

    Attributes
    ----------
    marks
        Those that hold: of scans that are as they were when they were seen.
    problems
        What cannot be read, in words: where, and what to do.
    """

    marks: Mapping[Key, Mark]
    problems: tuple[str, ...] = ()


class Review:
    """The marks of one store.

    Parameters
    ----------
    location
        The store.
    csv_file
        File that keeps the marks if the store cannot be written; by default ``<store>-review.csv`` in the current
        folder.
    """

    def __init__(self, location: Location, csv_file: Path | None = None) -> None:
        self.location = location
        name = location.shown.rpartition("/")[2].removesuffix(".zarr")
        self.csv_file = csv_file or Path.cwd() / f"{name}-review.csv"

    def read(self) -> FoundMarks:
        """Read the marks; those of the file count after those of the store."""
        root = open_consolidated(self.location)  # a group that is being made is not in it yet
        every = self.every(root)
        return FoundMarks(_that_hold(root, every.marks), every.problems)

    def every(self, root: zarr.Group) -> FoundMarks:
        """Read the marks of the opened store, also those that were taken back, and those of scans changed since."""
        stored, stored_problems = _readable(root, self.location.shown)
        filed, file_problems = read_marks(self.csv_file)
        return FoundMarks({**stored, **filed}, (*stored_problems, *file_problems))

    def keep(self, marks: Sequence[Mark], *, wait: float = _WAIT) -> str:
        """Keep marks, each in place of an earlier one of its scan; they are there when this returns.

        Parameters
        ----------
        marks
            Those with an `input_digest` are of what was looked at; the others are of the scans as they are now.
        wait
            Seconds to wait for another writer.

        Returns
        -------
        str
            ``"store"`` or ``"csv"``: where they are kept.

        Raises
        ------
        LeaseError
            If another process writes to the store for longer than `wait` seconds.
        UnknownLabelError
            If there is no such scan.
        ChangedScanError
            If a scan is another than the one that was looked at; none of the marks is kept.
        StoreError
            If a mark of one of these scans is there but cannot be read: nothing is written over it.
        """
        try:
            self._keep_in_store(marks, wait)
        except ReadOnlyError:
            root = open_group(self.location.open(read_only=True), self.location.shown, mode="r")
            append_marks(self.csv_file, _completed(root, marks))
            return "csv"
        return "store"

    def _keep_in_store(self, marks: Sequence[Mark], wait: float) -> None:
        opened = self.location.open()
        stop = time.monotonic() + wait
        while True:
            try:
                with hold_lease(opened, self.location.shown) as lease:
                    root = open_group(opened, self.location.shown)
                    completed = _completed(root, marks)
                    lease.check()
                    write_marks(root, completed, self.location.shown)
                return
            except LeaseError:
                if time.monotonic() > stop:
                    raise
                time.sleep(_PAUSE)


def review_table(location: Location) -> xr.Dataset | None:
    """Return decision, reason, note, reviewer and time of the marks that hold, on (patient, sequence).

    They are those of the store, and of the file in the current folder that has them where it is read-only. None where
    nobody has reviewed the store. The attribute ``problems`` lists what cannot be read, in words.
    """
    root = open_consolidated(location)
    review = Review(location)
    if GROUP not in root and not review.csv_file.exists():
        return None
    every = review.every(root)
    patients, sequences = labels(root, "patient"), labels(root, "sequence")
    tables = {name: np.full((len(patients), len(sequences)), "", dtype=object) for name in SHOWN}
    for (patient, sequence), mark in _that_hold(root, every.marks).items():
        for name in SHOWN:
            tables[name][patients.index(patient), sequences.index(sequence)] = getattr(mark, name)
    variables = {name: (SCAN, values) for name, values in tables.items()}
    return xr.Dataset(variables, {"patient": patients, "sequence": sequences}, {"problems": list(every.problems)})


def _that_hold(root: zarr.Group, marks: Mapping[Key, Mark]) -> dict[Key, Mark]:
    """Leave out marks that were taken back, and those of scans that have changed since."""
    digests = input_digests(root, marks)
    return {key: mark for key, mark in marks.items() if mark.decision and mark.input_digest == digests.get(key)}


def _completed(root: zarr.Group, marks: Sequence[Mark]) -> list[Mark]:
    """Add the time and, where a mark does not say what was seen, the digest of the scan as it is."""
    digests = input_digests(root, [mark.key for mark in marks])
    for mark in marks:
        if mark.key not in digests:
            dim, at = ("sequence", 1) if mark.patient in labels(root, "patient") else ("patient", 0)
            raise unknown_label(dim, mark.key[at], labels(root, dim))
    if changed := [mark.key for mark in marks if mark.input_digest not in ("", digests[mark.key])]:
        raise ChangedScanError(
            f"{_names(changed)}: the scan has changed since this page was loaded; reload it and look again"
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [replace(mark, time=now, input_digest=digests[mark.key]) for mark in marks]


def _parsed(text: str, key: Key) -> Mark | None:
    """Read a mark as it was stored; None for what is none."""
    try:
        found = json.loads(text)
        return Mark(**{**found, "patient": key[0], "sequence": key[1]})
    except (ValueError, TypeError):
        return None


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the table of marks holds; `damaged` are the scans whose mark is there and cannot be read."""

    marks: dict[Key, Mark] = field(default_factory=dict)
    damaged: tuple[Key, ...] = ()


def _readable(root: zarr.Group, shown: str) -> tuple[dict[Key, Mark], tuple[str, ...]]:
    """Return the marks of a store that can be read, and in words which cannot."""
    try:
        stored = stored_marks(root, shown)
    except StoreError as error:
        return {}, (str(error),)
    return stored.marks, (_damage(stored.damaged, shown),) if stored.damaged else ()


def _damage(scans: Sequence[Key], shown: str) -> str:
    return (
        f"{shown}: the review's marks of {_names(scans)} are damaged; they count for nothing, and nothing is written "
        f"over them. What was decided may still be read in the arrays decision, reason and note of the group. {_TO_DO}"
    )


def _names(scans: Sequence[Key]) -> str:
    names = ", ".join("/".join(key) for key in scans[:_NAMED])
    return f"{names} and {len(scans) - _NAMED} more" if len(scans) > _NAMED else names


def stored_marks(root: zarr.Group, shown: str) -> _Stored:
    """Read the table of marks.

    Raises
    ------
    StoreError
        If it is there, or was, and cannot be read.
    """
    try:
        group: Any = root.get(GROUP)
        if group is None or "mark" not in group:
            if exists(root.store, _MARKS):
                raise FileNotFoundError("metadata are absent")
            return _Stored()
        texts = array(group, "mark")[...]
    except Exception as error:  # damaged metadata and chunks give all kinds
        raise StoreError(
            f"{shown}: the review's marks cannot be read ({type(error).__name__}: {first_line(error)}); none of them "
            f"counts, and nothing is written over them. {_TO_DO}"
        ) from error
    found, damaged = {}, []
    for p, patient in enumerate(labels(root, "patient")[: texts.shape[0]]):
        for s, sequence in enumerate(labels(root, "sequence")[: texts.shape[1]]):
            if not texts[p, s]:
                continue
            mark = _parsed(str(texts[p, s]), (patient, sequence))
            if mark is None:
                damaged.append((patient, sequence))
            else:
                found[mark.key] = mark
    return _Stored(found, tuple(damaged))


def write_marks(root: zarr.Group, marks: Sequence[Mark], shown: str) -> None:
    """Write marks: all of them by the one object that holds `mark`, and then what is made of it."""
    there = exists(root.store, _MARKS) or _is_complete(root)  # else it is half made, and holds nothing
    stored = stored_marks(root, shown) if there else _Stored()
    if refused := [mark.key for mark in marks if mark.key in stored.damaged]:
        raise StoreError(_damage(refused, shown))
    patients, sequences = labels(root, "patient"), labels(root, "sequence")
    sizes = {"patient": array(root, "patient").shape[0], "sequence": array(root, "sequence").shape[0]}
    if not _is_complete(root):
        if stored.damaged:
            raise StoreError(_damage(stored.damaged, shown))
        delete_below(root.store, GROUP)
        made = root.create_group(GROUP)
        for variable in (*_INDEXES, *_TABLES):
            add_table(made, variable, sizes, array(root, variable.name)[...] if variable in _INDEXES else None)
        consolidate(root)
    group: Any = root[GROUP]
    kept = {**stored.marks, **{mark.key: mark for mark in marks}}
    for variable in _TABLES:
        table = array(group, variable.name)
        if table.shape != tuple(sizes.values()):
            table.resize(tuple(sizes.values()))
        values = table[...] if stored.damaged else np.full(table.shape, "", dtype=TEXT)  # what is damaged stays
        for (patient, sequence), mark in kept.items():
            values[patients.index(patient), sequences.index(sequence)] = _value(mark, variable.name)
        table[...] = values


def _is_complete(root: zarr.Group) -> bool:
    """Whether the group is there whole: it is written into the consolidated metadata last."""
    about = json.loads(get(root.store, "zarr.json") or b"{}")
    known = (about.get("consolidated_metadata") or {}).get("metadata") or {}
    return f"{GROUP}/{_TABLES[-1].name}" in known and GROUP in root


def _value(mark: Mark, name: str) -> str:
    if name != "mark":
        return str(getattr(mark, name))
    return json.dumps({key: value for key, value in asdict(mark).items() if key not in SCAN}, ensure_ascii=False)
