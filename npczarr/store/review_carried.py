"""Marks of a store in one that was resampled from it: a scan that was excluded is excluded there too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import zarr

from npczarr.errors import StoreError
from npczarr.model.review import Key, Mark
from npczarr.model.schema import STORED
from npczarr.store.cohort import open_consolidated
from npczarr.store.hierarchy import array, labels
from npczarr.store.location import Location
from npczarr.store.review import Review, write_marks
from npczarr.store.review_digests import input_digests
from npczarr.store.review_stored import stored_marks


def marks_to_carry(location: Location) -> dict[Key, Mark]:
    """Return the marks of scans that are as they were when they were seen, and those that were taken back.

    Raises
    ------
    StoreError
        If some cannot be read: a scan that was excluded would be let through.
    """
    root = open_consolidated(location)
    found = Review(location).every(root)
    if found.problems:
        raise StoreError("; ".join(found.problems))
    digests = input_digests(root, found.marks)
    return {key: mark for key, mark in found.marks.items() if mark.input_digest == digests.get(key)}


def carry_marks(root: zarr.Group, marks: Mapping[Key, Mark], shown: str) -> bool:
    """Keep marks of the source of a store; of two marks of one scan the later counts.

    Parameters
    ----------
    root, marks, shown
        The store, to be written under a lease, marks of its source, and its URL for messages.

    Returns
    -------
    bool
        Whether anything changed.
    """
    held = stored_marks(root, shown).marks
    digests, status = input_digests(root, marks), array(root, "status")[...]
    places = {
        (patient, sequence): (p, s)
        for p, patient in enumerate(labels(root, "patient"))
        for s, sequence in enumerate(labels(root, "sequence"))
    }
    coming = [
        replace(mark, input_digest=digests[key])
        for key, mark in marks.items()
        if key in places and status[places[key]] in STORED and (key in held or mark.decision)
    ]
    new = [mark for mark in coming if mark.key not in held or _counts(mark, held[mark.key])]
    if new:
        write_marks(root, new, shown)
    return bool(new)


def _counts(mark: Mark, held: Mark) -> bool:
    """Whether a mark counts in place of another: it is later, or the same of a scan that was written anew."""
    return mark.time > held.time or (mark.time == held.time and mark != held)
