"""Labels of structures: made fit to be shown and stored, and chosen by name, pattern, number or code."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from fnmatch import fnmatchcase

from npczarr.errors import SourceError
from npczarr.sources.structures.records import Segment

LONGEST = 64  # characters of a label; DICOM allows as many in the fields that hold one
_LISTED = 20  # names in one message
#: Words of which the name of a structure may be made and still be shown in a message that is stored.
_WORDS = frozenset(
    """
    gtv gtvp gtvn gtvt gtvnx gtvnd gtvln ctv ctvp ctvn ptv itv igtv tumor tumors tumour lesion mass primary node nodes
    nodal lymph metastasis met edema oedema necrosis enhancing nonenhancing core whole cyst background roi segment
    structure mask label object region boost margin inner outer low intermediate high risk dose t n p m l r lt rt left
    right mr mri ct pet ce gd flair dwi adc pre post contrast body external skin patient couch brain brainstem
    stem cord spinal canal spine bone marrow mandible maxilla temporal frontal lobe hippocampus cochlea ear
    optic nerve chiasm eye eyes lens lacrimal pituitary nasopharynx nasal nasopharyngeal pharynx oropharynx
    hypopharynx larynx oral cavity tongue lip parotid submandibular gland thyroid esophagus oesophagus trachea
    lung lungs heart liver kidney kidneys spleen stomach bowel bladder rectum prostate uterus femur head neck
    muscle fat vessel carotid artery vein sinus
    """.split()  # noqa: SIM905 - a list of a hundred strings is harder to read
)


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


def find(names: Sequence[str], patterns: Sequence[str]) -> tuple[tuple[int, ...], str]:
    """Positions of the structures that the first fitting pattern matches, and the pattern; none where none fits."""
    for pattern in patterns:
        if found := _matches(names, pattern):
            return found, pattern
    return (), ""


def find_segments(segments: Sequence[Segment], wanted: Sequence[int | str]) -> tuple[tuple[int, ...], str]:
    """Positions of the segments that the first of several numbers, labels, patterns or codes means, and which it is."""
    for one in wanted:
        found = tuple(i for i, segment in enumerate(segments) if one in (segment.number, _code(segment)))
        if not found and isinstance(one, str):
            found = _matches([segment.label for segment in segments], one)
        if found:
            return found, str(one)
    return (), ""


def describe_names(names: Sequence[str]) -> str:
    """List the names of structures that are of words of the field; of others, which may name a person, the place."""
    shown = [name if is_plain_name(name) else f"one of another name (number {i})" for i, name in enumerate(names, 1)]
    return _listed(shown)


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
        found = [segment for segment in segments if one in (segment.number, _code(segment))]
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


def _code(segment: Segment) -> str:
    return f"{segment.type.scheme}:{segment.type.value}"


def is_plain_name(name: str) -> bool:
    """Whether the name of a structure is of words of the field alone, and so of nobody.

    >>> is_plain_name("GTVp_1 left"), is_plain_name("GTV Miller"), is_plain_name("20190304")
    (True, False, False)
    """
    words = re.findall(r"[^\W\d_]+", name.casefold())
    return all(word in _WORDS for word in words) and not re.search(r"\d{4}", name)


def _quote(name: str) -> str:
    return f"'{clean_label(name)}'"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(_quote, names[:_LISTED]))
    more = len(names) - _LISTED
    return (shown or "none") + (f" and {more} more" if more > 0 else "")


def _numbered(segments: Sequence[Segment]) -> str:
    return _listed([f"{segment.number}: {segment.label}" for segment in segments])
