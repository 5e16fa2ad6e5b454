"""What reviewers decided on each scan: kept in the store as group `review`, or in a CSV file where it is read-only."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import xxhash
import zarr

from npczarr.errors import LeaseError, ReadOnlyError, unknown_label
from npczarr.model.review import Key, Mark
from npczarr.model.schema import INDEXES, SCAN, Variable
from npczarr.store.cohort import open_consolidated
from npczarr.store.create import TEXT, add_table
from npczarr.store.hierarchy import array, labels, open_group
from npczarr.store.lease import hold_lease
from npczarr.store.location import Location, delete_below, get
from npczarr.store.review_file import append_marks, read_marks
from npczarr.store.zarr_library import consolidate

GROUP = "review"
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

    def marks(self) -> dict[Key, Mark]:
        """Return the marks that hold: of scans that are as they were when they were seen.

        Those of the file count after those of the store.
        """
        root = open_consolidated(self.location)  # a group that is being made is not in it yet
        digests = _input_digests(root)
        kept = {**_stored_marks(root), **read_marks(self.csv_file)}
        return {key: mark for key, mark in kept.items() if mark.decision and mark.input_digest == digests.get(key)}

    def keep(self, marks: Sequence[Mark], *, wait: float = _WAIT) -> str:
        """Keep marks, each in place of an earlier one of its scan; they are there when this returns.

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
                    _write(root, completed)
                return
            except LeaseError:
                if time.monotonic() > stop:
                    raise
                time.sleep(_PAUSE)


def review_table(location: Location) -> xr.Dataset | None:
    """Return decision, reason, note, reviewer and time of the marks in a store that hold, on (patient, sequence).

    None where nobody has reviewed the store.
    """
    root = open_consolidated(location)
    if GROUP not in root:
        return None
    digests, marks = _input_digests(root), _stored_marks(root)
    patients, sequences = labels(root, "patient"), labels(root, "sequence")
    found = {name: np.full((len(patients), len(sequences)), "", dtype=object) for name in SHOWN}
    for key, mark in marks.items():
        if mark.decision and mark.input_digest == digests[key]:
            for name in SHOWN:
                found[name][patients.index(key[0]), sequences.index(key[1])] = getattr(mark, name)
    variables = {name: (SCAN, values) for name, values in found.items()}
    return xr.Dataset(variables, coords={"patient": patients, "sequence": sequences})


def _input_digests(root: zarr.Group) -> dict[Key, str]:
    """Digest of image and mask of each scan, by which a mark knows what was seen."""
    images, masks = (array(root, name)[...] for name in ("image_digest", "mask_digest"))
    return {
        (patient, sequence): str(xxhash.xxh3_128_hexdigest(f"{images[p, s]} {masks[p, s]}".encode()))
        for p, patient in enumerate(labels(root, "patient"))
        for s, sequence in enumerate(labels(root, "sequence"))
    }


def _completed(root: zarr.Group, marks: Iterable[Mark]) -> list[Mark]:
    """Add the time, and the digest of what is seen."""
    digests = _input_digests(root)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    completed = []
    for mark in marks:
        if mark.key not in digests:
            dim, at = ("sequence", 1) if mark.patient in labels(root, "patient") else ("patient", 0)
            raise unknown_label(dim, mark.key[at], labels(root, dim))
        completed.append(Mark(**{**asdict(mark), "time": now, "input_digest": digests[mark.key]}))
    return completed


def _parsed(text: str, key: Key) -> Mark | None:
    """Read a mark as it was stored; None for what is none."""
    try:
        found = json.loads(text)
        return Mark(**{**found, "patient": key[0], "sequence": key[1]})
    except (ValueError, TypeError):
        return None


def _stored_marks(root: zarr.Group) -> dict[Key, Mark]:
    group = root.get(GROUP)
    if not isinstance(group, zarr.Group) or "mark" not in group:
        return {}
    texts = array(group, "mark")[...]
    found = {}
    for p, patient in enumerate(labels(root, "patient")):
        for s, sequence in enumerate(labels(root, "sequence")):
            inside = p < texts.shape[0] and s < texts.shape[1]
            mark = _parsed(str(texts[p, s]), (patient, sequence)) if inside and texts[p, s] else None
            if mark is not None:
                found[mark.key] = mark
    return found


def _write(root: zarr.Group, marks: Sequence[Mark]) -> None:
    """Write marks: all of them by the one object that holds `mark`, and then what is made of it."""
    patients, sequences = labels(root, "patient"), labels(root, "sequence")
    sizes = {"patient": array(root, "patient").shape[0], "sequence": array(root, "sequence").shape[0]}
    if not _is_complete(root):
        delete_below(root.store, GROUP)
        made = root.create_group(GROUP)
        for variable in (*_INDEXES, *_TABLES):
            add_table(made, variable, sizes, array(root, variable.name)[...] if variable in _INDEXES else None)
        consolidate(root)
    group: Any = root[GROUP]
    kept = {**_stored_marks(root), **{mark.key: mark for mark in marks}}
    for variable in _TABLES:
        values = np.full(tuple(sizes.values()), "", dtype=TEXT)
        for (patient, sequence), mark in kept.items():
            values[patients.index(patient), sequences.index(sequence)] = _value(mark, variable.name)
        table = array(group, variable.name)
        if table.shape != values.shape:
            table.resize(values.shape)
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
