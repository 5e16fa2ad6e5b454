"""Scans of a store held against each other: another visit or frame of reference, the same image under two names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from npczarr.model.cohort import subject_of
from npczarr.model.schema import STORED
from npczarr.store.rows import Key, Rows

_OTHER_STUDY = "another study than "
_OTHER_FRAME = "another frame of reference than "
_SAME_IMAGE = "holds the same image as "
_SAID = (_OTHER_STUDY, _OTHER_FRAME, _SAME_IMAGE)
Digests = Mapping[Key, Any]


def compare_scans(rows: Rows, *, images: bool) -> None:
    """Warn of scans that do not share their patient's study or frame of reference, and of images that are held twice.

    What was said of a scan by an earlier run is said anew, or taken back where it no longer holds.

    Parameters
    ----------
    rows
        The rows of the store.
    images
        Whether images are compared, by their digests; else what was said of them stays.
    """
    names = ("status", "message", "study_digest", "frame_digest")
    status, message, studies, frames = (rows.read(name) for name in names)
    stored = [key for key, one in status.items() if one in STORED]
    said = [*_other_studies(stored, studies, frames), *_other_frames(stored, frames)]
    said += _same_images(stored, rows.read("image_digest")) if images else []
    warnings: dict[Key, list[str]] = {}
    for key, text in said:
        warnings.setdefault(key, []).append(text)
    said_anew = _SAID if images else (_OTHER_STUDY, _OTHER_FRAME)
    new: dict[Key, dict[str, str]] = {}
    for key in stored:
        text = str(message[key])
        parts = [*warnings.get(key, ()), *_without(text, said_anew)]
        if parts != _parts(text):
            new[key] = {"message": "; ".join(parts), "status": "warning" if parts else "ok"}
    rows.amend(new)


def without_comparisons(message: str) -> str:
    """Return a message without what comparing scans has added to it."""
    return "; ".join(_without(message, _SAID))


def _without(message: str, beginnings: tuple[str, ...]) -> list[str]:
    """Split a message, and leave out the parts that begin in one of some ways."""
    return [part for part in _parts(message) if not part.startswith(beginnings)]


def _parts(message: str) -> list[str]:
    return [part for part in message.split("; ") if part]


def _other_studies(scans: Sequence[Key], studies: Digests, frames: Digests) -> Iterator[tuple[Key, str]]:
    """Name the scans of another study than the first of their patient, but for those in the same frame of reference."""
    for key, first in _unlike_first(scans, studies):
        if not frames[key] or frames[key] != frames[first]:
            yield key, f"{_OTHER_STUDY}{first[1]}: they may be of different visits"


def _other_frames(scans: Sequence[Key], frames: Digests) -> Iterator[tuple[Key, str]]:
    """Name the scans in another frame of reference than the first of their patient: positions cannot be compared."""
    for key, first in _unlike_first(scans, frames):
        yield key, f"{_OTHER_FRAME}{first[1]}: their patient coordinates may not be comparable"


def _unlike_first(scans: Sequence[Key], digests: Digests) -> Iterator[tuple[Key, Key]]:
    """Give the scans with another digest than the first of their patient that has one, and that first."""
    firsts: dict[str, Key] = {}
    for key in (key for key in scans if digests[key]):
        first = firsts.setdefault(key[0], key)
        if digests[key] != digests[first]:
            yield key, first


def _same_images(scans: Sequence[Key], images: Digests) -> Iterator[tuple[Key, str]]:
    """Name the scans with the very voxels of one before them, of another patient or of their own."""
    firsts: dict[str, Key] = {}
    for key in (key for key in scans if images[key]):
        first = firsts.setdefault(str(images[key]), key)
        if first != key:
            own = subject_of(first[0]) == subject_of(key[0])
            why = "one series under two names" if own else "one patient under two names, or a copy"
            yield key, f"{_SAME_IMAGE}{'/'.join(first)}: {why}"
