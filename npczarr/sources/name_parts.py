"""Which part of a name is the patient's and which the sequence's, by what many names have in common."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from npczarr.sources.labels import natural

_BETWEEN = re.compile(r"[_\-. ]+")
_CHANNEL = re.compile(r"(.+)(_)(\d{4})")  # as nnU-Net numbers them
_VISIT = re.compile(
    r"(pre|post|baseline|base|bl|fu|follow[-_ ]?up|v|visit|ses|session|tp|time|month|m|week|w|day|d|year|y)[-_ ]*\d*"
    r"(op|rt|treatment)?",
    re.IGNORECASE,
)
_MOST_SEQUENCES = 20
_DIGITS_OF_PATIENTS = 3  # as many are a patient's number, fewer may be a visit's
_CUTS = 3  # separators from either end at which the name of a patient may end


@dataclass(frozen=True, slots=True)
class Parted:
    """Names of patients and sequences, what is between them in a name, and what the names leave open."""

    patients: frozenset[str]
    sequences: tuple[str, ...] = ()
    between: str = ""
    doubts: tuple[str, ...] = ()


def part_names(stems: Sequence[str], mask_stems: Sequence[str]) -> Parted:
    """Part names of images of all patients in one folder.

    A part at the end is the sequence where several patients have it, and it is no number. Four digits are the number
    of a channel where the masks are named without them, or each patient has 0000.

    Parameters
    ----------
    stems, mask_stems
        Names of images and of masks without their endings.
    """
    channels = _channels(stems, mask_stems)
    if channels is not None:
        return channels
    options = [parted for cut in range(-_CUTS, _CUTS + 1) if cut and (parted := _cut(stems, cut))]
    if options:
        # the fewest patients: CE_T1 and T1 are sequences of p1 rather than T1 of p1_CE and p1
        best = min(options, key=lambda parted: (len(parted.patients), len(parted.between)))
        return best if len(stems) > 1 else Parted(frozenset(stems))
    return Parted(frozenset(stems), doubts=tuple(_numbered(stems)))


def put_fields(name: str, patients: Collection[str], sequences: Collection[str]) -> str:
    """Put ``{patient}`` and ``{sequence}`` where the longest names of these are in a name, between separators.

    >>> put_fields("p1_CE_T1_mask", {"p1"}, ("T1", "CE_T1"))
    '{patient}_{sequence}_mask'
    """
    lower = {one.lower() for one in sequences}
    for field, known in (
        ("{patient}", lambda part: part in patients),
        ("{sequence}", lambda part: part.lower() in lower),
    ):
        place = next((place for place in _places(name) if known(name[place])), None)
        if place is not None:
            name = f"{name[: place.start]}{field}{name[place.stop :]}"
    return name


def _places(name: str) -> Iterator[slice]:
    """Every part of a name between separators, the longest first."""
    ends = [(match.start(), match.end()) for match in _BETWEEN.finditer(name)]
    starts, stops = [0, *(end for _, end in ends)], [*(start for start, _ in ends), len(name)]
    places = (slice(start, stop) for start in starts for stop in stops if start < stop)
    return iter(sorted(places, key=lambda place: (place.start - place.stop, place.start)))


def _channels(stems: Sequence[str], mask_stems: Sequence[str]) -> Parted | None:
    """Part names that end in the number of a channel; None where they do not."""
    found = [match for stem in stems if (match := _CHANNEL.fullmatch(stem))]
    if len(found) < len(stems):
        return None
    patients = frozenset(match[1] for match in found)
    named = {*mask_stems}
    told = bool(named & patients) and not named & {*stems}
    first = {match[1] for match in found if match[3] == "0000"}
    if not told and (named & {*stems} or first != patients):
        return None
    doubts = (
        (f"{len(stems)} names end in four digits: taken for channels of one patient, not for patients",)
        if not told and len(patients) == 1 and len(stems) > 1
        else ()
    )
    return Parted(patients, tuple(sorted({match[3] for match in found})), "_", doubts)


def _cut(stems: Sequence[str], cut: int) -> Parted | None:
    """Part every name at a separator, counted from its begin or its end; None where that makes no sequences."""
    patients: dict[str, set[str]] = {}
    between = set()
    for stem in stems:
        seps = [*_BETWEEN.finditer(stem)]
        if len(seps) < abs(cut):
            return None
        sep = seps[cut - 1 if cut > 0 else cut]
        between.add(sep[0])
        patients.setdefault(stem[: sep.start()], set()).add(stem[sep.end() :])
    names = [name for found in patients.values() for name in found]
    sequences = sorted({*names}, key=natural)
    if len(between) > 1 or len(patients) < 2 or len(sequences) > _MOST_SEQUENCES:
        return None
    shared = all(names.count(name) > 1 for name in sequences)
    complete = len(names) >= len(patients) * len(sequences) / 2
    numbers = all(_BETWEEN.split(name)[0].isdecimal() for name in sequences)
    if not (shared and complete) or numbers:
        return None
    visits = all(_VISIT.fullmatch(name) for name in sequences)
    doubts = (f"{', '.join(sequences)} may be visits: then write {{session}} for {{sequence}}",) if visits else ()
    return Parted(frozenset(patients), tuple(sequences), between.pop(), doubts)


def _numbered(stems: Sequence[str]) -> Iterator[str]:
    """Say where names that are alike end in several numbers: they may be of one patient."""
    found: dict[str, set[str]] = {}
    for stem in stems:
        before, _, number = stem.rpartition("_")
        if before and number.isdecimal() and len(number) < _DIGITS_OF_PATIENTS:
            found.setdefault(before, set()).add(number)
    several = [numbers for numbers in found.values() if len(numbers) > 1]
    if len(found) > 1 and several:
        yield (
            f"{len(several)} names are there with several numbers at the end: taken for patients, not for visits or "
            "sequences of one"
        )
