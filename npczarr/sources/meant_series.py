"""Series as their headers describe them, and which one of each patient is taken for a sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from npczarr.model.alike import told_as_one
from npczarr.sources.differences import Images, advise_series, describe_series, unshown_differences
from npczarr.sources.fields import raw_text
from npczarr.sources.headers import quiet
from npczarr.sources.survey import Group, Surveyed
from npczarr.sources.toml_text import quoted

Key = tuple[str, str]
_NOBODY = (
    "neither a folder nor a header field names the patient: give each patient a folder, or name the field in a TOML "
    'file ([layout] patient = "PatientID") if its values may be labels of a store'
)
_MOST_SERIES = 6
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Series:
    """A series as its headers describe it, and what it was taken for.

    Parameters
    ----------
    patient
        Label; "" where no header names one.
    sequence
        Name in the store; "" where it was taken for none.
    reason
        Why it was taken, or not; it holds no text of the header.
    doubt
        What its header leaves open.
    described
        Slices and matrix.
    description
        SeriesDescription, for the eyes of the user only: it may name a person.
    group
        The images.
    """

    patient: str
    sequence: str
    reason: str
    doubt: str
    described: str
    description: str
    group: Group


@dataclass(frozen=True, slots=True)
class Unclear:
    """Series of which each may be meant for one sequence of a patient; how they differ, and how to choose one."""

    series: tuple[Series, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What became of the series of a source.

    Parameters
    ----------
    taken
        The one series of each patient and sequence.
    unclear
        Series by patient and sequence, where several may be meant.
    of_none
        Why others are of no scan; one line for each reason.
    """

    taken: list[Series]
    unclear: Mapping[Key, Unclear]
    of_none: list[str]

    @property
    def not_taken(self) -> list[str]:
        """Why series were not taken; one line each."""
        return [*(f"{'/'.join(key)}: {one.reason}" for key, one in self.unclear.items()), *self.of_none]


def choose_series_of(series: Sequence[Series], *, sessions: bool = False, shown: bool = False) -> Choice:
    """Take the one series of each patient and sequence; set aside those that are none, or one of several.

    Parameters
    ----------
    series
        Every series of the source.
    sessions
        Whether the pattern of the images keeps visits apart.
    shown
        Whether the reasons may hold the descriptions of series, which may name a person.
    """
    by_key: dict[Key, list[Series]] = {}
    left: dict[str, int] = {}
    for one in series:
        if one.sequence and one.patient:
            by_key.setdefault((one.patient, one.sequence), []).append(one)
        else:
            reason = one.reason if one.patient else _NOBODY
            left[reason] = left.get(reason, 0) + 1
    taken: list[Series] = []
    unclear: dict[Key, Unclear] = {}
    for key, several in sorted(by_key.items()):
        if len(several) == 1:
            taken += several
            continue
        listed = _list_several(several, sessions=sessions, shown=shown)
        unclear[key] = Unclear(tuple(several), f"{len(several)} series may be meant, none was taken: {listed}")
    of_none = [f"{count} series: {reason}" for reason, count in sorted(left.items(), key=lambda item: -item[1])]
    return Choice(taken, unclear, of_none)


def count_guesses(taken: Sequence[Series]) -> list[str]:
    """Say what series were taken for, and why, alike ones on one line."""
    lines = sorted(f"{one.sequence}: {one.reason}" + (f" ({one.doubt})" if one.doubt else "") for one in taken)
    return [f"{count} series taken for {line}" for count, line in told_as_one(lines)]


def images_of(group: Group) -> Images:
    """Headers of a group, with the numbers of their frames."""
    return [(image.header, frames_of_header(image)) for image in group.images]


def frames_of_header(image: Surveyed) -> tuple[int, ...]:
    """Numbers of the frames of a file."""
    groups = image.header.get("PerFrameFunctionalGroupsSequence") or ()
    return tuple(range(len(groups))) or (0,)


def _list_several(several: Sequence[Series], *, sessions: bool, shown: bool) -> str:
    """Say of several series that may be meant how they differ, and how to choose one."""
    images = [images_of(one.group) for one in several]
    with quiet():
        described = describe_series(images)
        unshown = unshown_differences(images)
        advice = advise_series(images)
        uids = [raw_text(one.group.header, "StudyInstanceUID") for one in several]
    known = list(dict.fromkeys(uid for uid in uids if uid))
    studies = len(known)
    entries = []
    for i, (one, words, uid) in enumerate(zip(several, described, uids, strict=True), 1):
        text = f", {quoted(one.description[:_LONGEST])}" if shown and one.description else ""
        study = f", study {known.index(uid) + 1}" if uid and studies > 1 else ""
        entries.append(f"({i}) {words}{text}{study}, {one.reason}")
    more = len(entries) - _MOST_SERIES
    parts = [*entries[:_MOST_SERIES], *([f"and {more} more"] if more > 0 else [])]
    if unshown and not shown:
        parts.append(f"they differ in {', '.join(unshown)}, which may name a person and is not shown")
    if studies > 1 and not sessions:
        parts.append(
            f"they are of {studies} studies (StudyInstanceUID): if each has a folder, {{session}} in the pattern keeps "
            'visits apart, such as images = "{patient}/{session}/**"'
        )
    elif not unshown and len({*described}) == 1:
        parts.append("nothing that is compared tells them apart: keep one of them")
    if unshown or len({*described}) > 1:
        parts.append(advice)
    return "; ".join(parts)
