"""The order of a subject's visits, by what was declared, when they were, or the numbers in their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Column that says when a visit was, as BIDS calls it.
VISIT_TIME = "acq_time"
_PIECES = re.compile(r"\d+|\D+")
_FIRST = frozenset({"baseline", "bl"})  # by definition before any other
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}.*)?")
#: Dates that may begin with their day or their month, so that their numbers do not sort.
_OTHER_DATES = re.compile(r"\d{1,3}[-./_ ]\d{1,2}[-./_ ]\d{2,4}|\d{6}|(?!19|20)\d{8}")


def order_visits(
    sessions: Sequence[str], *, declared: Sequence[str] = (), times: Sequence[str] = ()
) -> tuple[int, ...] | None:
    """Return the place of each session of one subject, from 0; None where nothing tells it.

    Parameters
    ----------
    sessions
        Names of the visits, each once.
    declared
        Names in their order, as a configuration gives them.
    times
        When each visit was, as ISO 8601 writes it; "" where that is not known.

    Examples
    --------
    >>> order_visits(["month12", "baseline", "month6"]), order_visits(["2019-03-04", "2018-11-01"])
    ((2, 0, 1), (1, 0))
    >>> order_visits(["post", "pre"]), order_visits(["post", "pre"], declared=["pre", "post"])
    (None, (1, 0))
    >>> order_visits(["04.03.2019", "01.11.2018"]), order_visits(["week12", "month6"])
    (None, None)
    """
    names = [plain_visit(session) for session in sessions]
    if len(names) == 1:
        return (0,)
    wanted = [plain_visit(name) for name in declared]
    if set(names) <= set(wanted):
        return _places([(wanted.index(name),) for name in names])
    if len(times) == len(names) and all(_DATE.fullmatch(time) for time in times):
        return _places([(time,) for time in times])
    return _places(_by_numbers(names))


def places_of_visits(
    subjects: Sequence[str], sessions: Sequence[str], *, declared: Sequence[str] = (), times: Sequence[str] = ()
) -> list[int]:
    """Return the place of each visit among those of its subject, from 0; -1 where nothing tells it."""
    rows: dict[str, list[int]] = {}
    for row, subject in enumerate(subjects):
        rows.setdefault(subject, []).append(row)
    places = [-1] * len(subjects)
    for visits in rows.values():
        of_visits = [times[i] for i in visits] if times else []
        found = order_visits([sessions[i] for i in visits], declared=declared, times=of_visits)
        for row, place in zip(visits, found or [-1] * len(visits), strict=True):
            places[row] = place
    return places


def describe_unordered(patients: Sequence[str], subjects: Sequence[str], places: Sequence[int]) -> str:
    """Say which subjects have visits whose order nothing tells, and what to do; "" where there is none."""
    named = list(dict.fromkeys(subject for subject, place in zip(subjects, places, strict=True) if place < 0))
    if not named:
        return ""
    first = ", ".join(patient for patient, subject in zip(patients, subjects, strict=True) if subject == named[0])
    return (
        f"nothing tells the order of the visits of {len(named)} subject{'s' * (len(named) > 1)} (the first: {first}): "
        'say it in the TOML file, such as [sessions] order = ["pre", "post"], and convert again'
    )


def plain_visit(name: str) -> str:
    """Write a session as others do: "ses-02" and "02" are one."""
    return name.strip().lower().removeprefix("ses-")


def _by_numbers(names: Sequence[str]) -> list[tuple[int, ...]]:
    """Return the numbers of each name, by which it sorts; nothing where names differ in more than their numbers."""
    later = [name for name in names if name not in _FIRST]
    if any(_OTHER_DATES.search(name) and not _DATE.search(name) for name in later):
        return []
    words: set[tuple[str, ...]] = set()
    numbers: list[tuple[int, ...]] = []
    for name in names:
        pieces = _PIECES.findall(name)
        if name in _FIRST:
            numbers.append((-1,))
        else:
            numbers.append(tuple(int(piece) for piece in pieces if piece.isdecimal()))
            words.add(tuple(piece if not piece.isdecimal() else "" for piece in pieces))
    return numbers if len(words) == 1 and all(numbers) else []


def _places(keys: Sequence[tuple[int | str, ...]]) -> tuple[int, ...] | None:
    """Return the place of each key; None where two are the same."""
    if not keys or len(set(keys)) < len(keys):
        return None
    ranked = sorted(keys)
    return tuple(ranked.index(key) for key in keys)
