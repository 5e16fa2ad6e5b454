"""What reviewers decided on each scan: kept in the store as group `review`, or in a CSV file where it is read-only."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from npczarr.store.review_latest import check_counting, latest_marks, version_of
from npczarr.store.review_stored import FIRST_MARKS, StoredMarks, damage, names, readable_marks, stored_marks
from npczarr.store.review_stored import GROUP as GROUP
from npczarr.store.zarr_library import consolidate

_WAIT = 10.0  # s for another writer
_PAUSE = 0.05
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
    """A scan or its mark is not as it was when it was looked at, so a decision on it is not kept."""


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
        self.usual_file = Path.cwd() / f"{name}-review.csv"
        self.csv_file = csv_file or self.usual_file
        self._appending = threading.Lock()

    def read(self) -> FoundMarks:
        """Read the marks; of one in the store and one in the file, the later counts."""
        root = open_consolidated(self.location)  # a group that is being made is not in it yet
        every = self.every(root)
        return FoundMarks(_that_hold(root, every.marks), every.problems)

    def every(self, root: zarr.Group) -> FoundMarks:
        """Read the marks of the opened store, also those that were taken back, and those of scans changed since."""
        stored, stored_problems = readable_marks(root, self.location.shown)
        filed, file_problems = read_marks(self.csv_file)
        marks, unclear = latest_marks(stored, filed, self.csv_file)
        return FoundMarks(marks, (*stored_problems, *file_problems, *unclear))

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
            If a mark of one of these scans is there but cannot be read: nothing is written over it. If one would not
            count, because the file and the store have marks of it and the other is not earlier.
        """
        return self.keep_unless_marked(marks, None, wait=wait)[0]

    def keep_unless_marked(
        self, marks: Sequence[Mark], before: Mapping[Key, str] | None, *, wait: float = _WAIT
    ) -> tuple[str, list[Mark]]:
        """Keep marks as `keep` does, unless one of the scans was marked by another meanwhile.

        Parameters
        ----------
        marks, wait
            As in `keep`.
        before
            Version of the mark that was shown of each scan, see `npczarr.store.review_latest.version_of`; "" for none.
            None: whatever is there is replaced.

        Returns
        -------
        tuple of (str, list of Mark)
            ``"store"`` or ``"csv"``, and the marks as they are kept.

        Raises
        ------
        ChangedScanError
            If a scan, or its mark, is another than the one that was looked at; none of the marks is kept.
        """
        try:
            return "store", self._keep_in_store(marks, before, wait)
        except ReadOnlyError:
            root = open_group(self.location.open(read_only=True), self.location.shown, mode="r")
            with self._appending:  # of two pages of one server, the second is to see the mark of the first
                completed = self._checked(root, marks, before)
                check_counting(completed, readable_marks(root, self.location.shown)[0], self.location.shown)
                append_marks(self.csv_file, completed)
            return "csv", completed

    def _checked(self, root: zarr.Group, marks: Sequence[Mark], before: Mapping[Key, str] | None) -> list[Mark]:
        """Complete marks of scans that are as they were seen, and whose marks are, if `before` names these."""
        completed = _completed(root, marks)
        if before is None:
            return completed
        every = self.every(root).marks
        now = _that_hold(root, {key: every[key] for key in before if key in every})
        for key, version in before.items():
            if version != (version_of(now[key]) if key in now else ""):
                happened = _what_happened(every.get(key))
                raise ChangedScanError(
                    f"{'/'.join(key)}: {happened} since this page was loaded; reload it and look again"
                )
        return completed

    def _keep_in_store(self, marks: Sequence[Mark], before: Mapping[Key, str] | None, wait: float) -> list[Mark]:
        opened = self.location.open()
        stop = time.monotonic() + wait
        while True:
            try:
                with hold_lease(opened, self.location.shown) as lease:
                    root = open_group(opened, self.location.shown)
                    completed = self._checked(root, marks, before)
                    check_counting(completed, read_marks(self.csv_file)[0], str(self.csv_file))
                    lease.check()
                    write_marks(root, completed, self.location.shown)
                return completed
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


def _what_happened(mark: Mark | None) -> str:
    """Say what another did."""
    if mark is None:
        return "its mark went away"
    who = f" by {mark.reviewer}" if mark.reviewer else " by another page"
    if not mark.decision:
        return f"its mark was taken back{who}"
    return f"it was marked {mark.decision}{f' ({mark.reason})' if mark.reason else ''}{who}"


def _completed(root: zarr.Group, marks: Sequence[Mark]) -> list[Mark]:
    """Add the time and, where a mark does not say what was seen, the digest of the scan as it is."""
    digests = input_digests(root, [mark.key for mark in marks])
    for mark in marks:
        if mark.key not in digests:
            dim, at = ("sequence", 1) if mark.patient in labels(root, "patient") else ("patient", 0)
            raise unknown_label(dim, mark.key[at], labels(root, dim))
    if changed := [mark.key for mark in marks if mark.input_digest not in ("", digests[mark.key])]:
        raise ChangedScanError(
            f"{names(changed)}: the scan has changed since this page was loaded; reload it and look again"
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [replace(mark, time=now, input_digest=digests[mark.key]) for mark in marks]


def write_marks(root: zarr.Group, marks: Sequence[Mark], shown: str) -> None:
    """Write marks: all of them by the one object that holds `mark`, and then what is made of it."""
    there = exists(root.store, FIRST_MARKS) or _is_complete(root)  # else it is half made, and holds nothing
    stored = stored_marks(root, shown) if there else StoredMarks()
    if refused := [mark.key for mark in marks if mark.key in stored.damaged]:
        raise StoreError(damage(refused, shown))
    patients, sequences = labels(root, "patient"), labels(root, "sequence")
    sizes = {"patient": array(root, "patient").shape[0], "sequence": array(root, "sequence").shape[0]}
    if not _is_complete(root):
        if stored.damaged:
            raise StoreError(damage(stored.damaged, shown))
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
