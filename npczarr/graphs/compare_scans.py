"""Scans of a store held against each other: another frame of reference, the same image under two names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from npczarr.model.cohort import subject_of
from npczarr.model.schema import STORED
from npczarr.store.rows import Key, Rows

_OTHER_FRAME = "another frame of reference than "
_SAME_IMAGE = "holds the same image as "
Digests = Mapping[Key, Any]


def compare_scans(rows: Rows, *, images: bool) -> None:
    """Warn of scans that do not share their patient's frame of reference, and of images that the store holds twice.

    What was said of a scan by an earlier run is said anew, or taken back where it no longer holds.

    Parameters
    ----------
    rows
        The rows of the store.
    images
        Whether images are compared, by their digests; else what was said of them stays.
    """
    status, message, frames = (rows.read(name) for name in ("status", "message", "frame_digest"))
    stored = [key for key, one in status.items() if one in STORED]
    warnings = {key: [text] for key, text in _other_frames(stored, frames)}
    if images:
        for key, text in _same_images(stored, rows.read("image_digest")):
            warnings.setdefault(key, []).append(text)
    said_anew = (_OTHER_FRAME, _SAME_IMAGE) if images else (_OTHER_FRAME,)
    new: dict[Key, dict[str, str]] = {}
    for key in stored:
        text = str(message[key])
        parts = [*warnings.get(key, ()), *_without(text, said_anew)]
        if parts != _parts(text):
            new[key] = {"message": "; ".join(parts), "status": "warning" if parts else "ok"}
    rows.amend(new)


def without_comparisons(message: str) -> str:
    """Return a message without what comparing scans has added to it."""
    return "; ".join(_without(message, (_OTHER_FRAME, _SAME_IMAGE)))


def _without(message: str, beginnings: tuple[str, ...]) -> list[str]:
    """Split a message, and leave out the parts that begin in one of some ways."""
    return [part for part in _parts(message) if not part.startswith(beginnings)]


def _parts(message: str) -> list[str]:
    return [part for part in message.split("; ") if part]


def _other_frames(scans: Sequence[Key], frames: Digests) -> Iterator[tuple[Key, str]]:
    """Name the scans in another frame of reference than the first of their patient: positions cannot be compared."""
    firsts: dict[str, Key] = {}
    for key in (key for key in scans if frames[key]):
        first = firsts.setdefault(key[0], key)
        if frames[key] != frames[first]:
            yield key, f"{_OTHER_FRAME}{first[1]}: their patient coordinates may not be comparable"


def _same_images(scans: Sequence[Key], images: Digests) -> Iterator[tuple[Key, str]]:
    """Name the scans with the very voxels of one before them, of another patient or of their own."""
    firsts: dict[str, Key] = {}
    for key in (key for key in scans if images[key]):
        first = firsts.setdefault(str(images[key]), key)
        if first != key:
            own = subject_of(first[0]) == subject_of(key[0])
            why = "one series under two names" if own else "one patient under two names, or a copy"
            yield key, f"{_SAME_IMAGE}{'/'.join(first)}: {why}"
