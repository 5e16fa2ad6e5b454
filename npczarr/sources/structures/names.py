"""Labels of structures: made fit to be shown and stored, and chosen by name, pattern, number or code."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from fnmatch import fnmatchcase

from npczarr.errors import SourceError
from npczarr.sources.structures.records import Segment

LONGEST = 64  # characters of a label; DICOM allows as many in the fields that hold one
_LISTED = 20  # names in one message


def clean_label(text: str) -> str:
    """Make a label fit to be shown and stored: one line of at most 64 characters, none of which is invisible.

    It ends before the first control character: in a damaged file the text of other fields follows there.
    """
    kept = []
    for character in text:
        if character.isspace():
            kept.append(" ")
        elif unicodedata.category(character) == "Cc":
            break
        elif unicodedata.category(character)[0] != "C":
            kept.append(character)
    return " ".join("".join(kept).split())[:LONGEST].rstrip()


def match(names: Sequence[str], patterns: str | Sequence[str], *, several: bool = False) -> tuple[int, ...]:
    """Find structures by name.

    Parameters
    ----------
    names
        Names of the structures that there are.
    patterns
        Name, or pattern with ``*``, ``?`` or ``[abc]``, without regard to case. Of a list, the first that matches any
        structure decides: it names one structure as several institutions write it.
    several
        Whether a pattern may match several structures.

    Returns
    -------
    tuple of int
        Positions in ``names``: one, unless ``several``.

    Raises
    ------
    SourceError
        If no structure matches, or more than one where one is meant.
    """
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in wanted:
        found = _matches(names, pattern)
        if len(found) > 1 and not several:
            raise SourceError(
                f"{len(found)} structures match {_quote(pattern)}, expected one: {_listed([names[i] for i in found])}; "
                "give the full name of one"
            )
        if found:
            return found
    sought = " or ".join(map(_quote, wanted[:_LISTED])) or "an empty list of names"
    raise SourceError(f"no structure matches {sought}; there are: {_listed(names)}; check the name")


def match_segments(
    segments: Sequence[Segment], wanted: int | str | Sequence[int | str], *, several: bool = False
) -> tuple[int, ...]:
    """Find segments by number, label or type code, and return their numbers.

    Parameters
    ----------
    segments
        Segments of one object.
    wanted
        Whole number: the segment number. Text: the label or a pattern of it, as in :func:`match`, or the type code as
        ``scheme:value``. Of a list, the first that matches any segment decides.
    several
        Whether several segments may match.

    Raises
    ------
    SourceError
        If no segment matches, or more than one where one is meant.
    """
    for one in [wanted] if isinstance(wanted, int | str) else list(wanted):
        found = [
            segment for segment in segments if one in (segment.number, f"{segment.type.scheme}:{segment.type.value}")
        ]
        if not found and isinstance(one, str):
            found = [segments[i] for i in _matches([segment.label for segment in segments], one)]
        if len(found) > 1 and not several:
            raise SourceError(
                f"{len(found)} segments match {_quote(str(one))}, expected one: {_numbered(found)}; give a number"
            )
        if found:
            return tuple(segment.number for segment in found)
    raise SourceError(f"no segment matches {_quote(str(wanted))}; there are: {_numbered(segments)}; check the name")


def _matches(names: Sequence[str], pattern: str) -> tuple[int, ...]:
    """Positions of the names that match: letter by letter if any, else without regard to case, else as a pattern."""
    folded = pattern.casefold()
    tests = (
        lambda name: name == pattern,
        lambda name: name.casefold() == folded,
        lambda name: fnmatchcase(name.casefold(), folded),
    )
    for test in tests:
        if found := tuple(i for i, name in enumerate(names) if test(name)):
            return found
    return ()


def _quote(name: str) -> str:
    return f"'{clean_label(name)}'"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(_quote, names[:_LISTED]))
    more = len(names) - _LISTED
    return (shown or "none") + (f" and {more} more" if more > 0 else "")


def _numbered(segments: Sequence[Segment]) -> str:
    return _listed([f"{segment.number}: {segment.label}" for segment in segments])
