"""The entries of one column: numbers in the units of the store, missing codes, and text as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.model.categories import canonical
from npczarr.model.clinical import LONG_MONTHS, MISSING, ClinicalField, fold, plain_number, read_times, unit_of
from npczarr.model.events import EVENTS, read_events
from npczarr.model.identity_words import GERMAN_EVENTS

At = tuple[int, ...]  # of a patient, or of a patient and a sequence
#: Codes, of which a float64 would lose something: leading zeros, or digits beyond the 15 that it holds exactly.
_CODE = re.compile(r"[-+]?(?:0\d|\d{16})")
#: Codes such as 1E2, in a column where no entry is surely a number with a power of ten or decimals.
_POWER = re.compile(r"\d+[eE]\d+")
_SURE_NUMBER = re.compile(r".*[.,].*|[-+]\d+[eE].*|.*[eE][-+].*")
_COMMA = re.compile(r"[-+]?\d+,\d+")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d{1,2}")
#: 1,234 and 1,234,567: thousands where decimals have a point.
_GROUPED_BY_COMMAS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+")
#: 1.234 and 1.234.567: thousands where decimals have a comma.
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+(?!\d)")
_DECIMAL_POINT = re.compile(r"[-+]?(?!0\d)\d*\.\d+")
_FEW = 0.1  # of a column's entries
_FAR_ABOVE = 2  # times the highest of the other numbers
#: Days as spreadsheet programs count them: from 1954 to 2064.
_FIRST_DAY, _LAST_DAY = 20_000, 60_000
_MOSTLY = 0.8  # of such days differ
_EVENT_WORDS = """
    begin beginn started start end ende ended op operation surgery resection biopsy diagnosis admission discharge birth
    death died relapse recurrence rezidiv visit
    """
#: Words of a point in time, and those that may stand beside them; a name with any other may be of a measurement.
_TIME_POINTS = GERMAN_EVENTS.union(_EVENT_WORDS.split())
_BESIDE_WORDS = "of the der des day tag first last rt crt radiotherapy chemotherapy therapy therapie treatment"
_BESIDE = frozenset(_BESIDE_WORDS.split())

_TNM = re.compile(
    r"[acpry]*(t(?:is|x|[0-4])[a-d]?)[\s,;/]*[acpry]*(n(?:x|[0-3])[a-d]?)[\s,;/]*[acpry]*(m(?:x|[01])[a-d]?)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, eq=False)
class ColumnValues:
    """One column, read.

    Parameters
    ----------
    column
        float64 with NaN, or str (dtype object) with "", where there is no entry.
    attributes
        What was changed while reading: `source_units`, `missing_codes`.
    warnings
        What the user should look at.
    """

    column: NDArray[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_values(
    name: str,
    entries: Mapping[At, str],
    shape: tuple[int, ...],
    known: ClinicalField | None,
    meanings: Mapping[str, str] | None = None,
    *,
    thousands: bool = False,
) -> ColumnValues:
    """Read a column's entries.

    A column that nobody knows holds numbers if every entry is one, and text as it is written otherwise; codes such as
    "007" or "1E2" and numbers of more than 15 digits before the point are text.

    Parameters
    ----------
    name
        Name of the column, which may say a unit.
    entries
        Text by place; other places have no entry.
    shape
        (patient,) or (patient, sequence).
    known
        The clinical field that the column holds, if it is one.
    meanings
        Meaning by entry, from the configuration; such entries are replaced in the store.
    thousands
        Whether the table may write 1234 as 1.234, as :func:`may_group_thousands` says; 1,5 is a number in it.
    """
    if known is not None and known.dtype == "string":
        return _text(name, known, {at: (meanings or {}).get(text, text) for at, text in entries.items()}, shape)
    pointed = [text for text in entries.values() if "." in text] if thousands else []
    if pointed and all(_THOUSANDS.match(text) for text in pointed):
        plain = pointed[0].replace(".", "")
        doubt = (
            f"{name}: {pointed[0]!r} may be {plain} or a decimal number, for the table has decimal commas or "
            "semicolons between its columns; the column is kept as text. Write numbers without separators of thousands"
        )
        return ColumnValues(_filled(shape, entries, ""), warnings=(doubt,))
    if known is not None:
        return _times(name, known, entries, shape)
    return _numbers_or_text(name, entries, shape, commas=thousands)


def _numbers_or_text(name: str, entries: Mapping[At, str], shape: tuple[int, ...], *, commas: bool) -> ColumnValues:
    """Read a column that nobody knows; `commas`: whether its numbers may have decimal commas."""
    given = {at: text for at, text in entries.items() if text.lower() not in MISSING}
    decimal = commas and _has_decimal_commas(list(given.values()))
    numbers = {at: plain_number(text.replace(",", ".") if decimal else text) for at, text in given.items()}
    others = [entries[at] for at, number in numbers.items() if number is None]
    if not numbers or others or _are_codes([*given.values()]):
        return ColumnValues(_filled(shape, entries, ""), warnings=_nearly_numbers(name, others, len(numbers)))
    return ColumnValues(_filled(shape, numbers, np.nan))


def _are_codes(entries: Sequence[str]) -> bool:
    """Whether a column of numbers holds codes, which would be written otherwise as numbers.

    >>> _are_codes(["007", "12"]), _are_codes(["1E2", "12E4"]), _are_codes(["2E5", "1.5e-3"]), _are_codes(["1", "2"])
    (True, True, False, False)
    """
    if any(map(_CODE.match, entries)):
        return True
    return any(map(_POWER.fullmatch, entries)) and not any(map(_SURE_NUMBER.fullmatch, entries))


def may_group_thousands(rows: Sequence[Mapping[str, str]], separator: str) -> bool:
    """Whether a table may write 1234 as 1.234: it has decimal commas, or semicolons and no decimal points.

    >>> may_group_thousands([{"age": "54,5", "days": "1.234"}], ";"), may_group_thousands([{"days": "1.234"}], ",")
    (True, False)
    """
    entries = [entry for row in rows for entry in row.values()]
    if any(_DECIMAL_COMMA.fullmatch(entry) for entry in entries):
        return True
    pointed = (entry for entry in entries if _DECIMAL_POINT.fullmatch(entry))
    return separator == ";" and all(_THOUSANDS.fullmatch(entry) for entry in pointed)


def _has_decimal_commas(entries: Sequence[str]) -> bool:
    """Whether the commas of a column are decimal ones beyond doubt: 1,234 alone may be a thousand.

    >>> _has_decimal_commas(["1,70", "2"]), _has_decimal_commas(["1,234"]), _has_decimal_commas(["1,5", "1.5"])
    (True, False, False)
    """
    commas = [text for text in entries if "," in text]
    decimal = bool(commas) and all(_COMMA.fullmatch(text) for text in commas)
    return decimal and not all(map(_GROUPED_BY_COMMAS.fullmatch, commas)) and not any("." in text for text in entries)


def _nearly_numbers(name: str, others: Sequence[str], count: int) -> tuple[str, ...]:
    """Warn of a column that was meant to be numbers, and is text for some of its entries."""
    commas = [text for text in others if _COMMA.fullmatch(text)]
    if others and len(commas) == len(others):
        return (f"{name}: {commas[0]!r} has a comma, so the column is kept as text; write numbers with a point",)
    if 0 < len(others) <= count * _FEW:
        few = "1 entry is" if len(others) == 1 else f"{len(others)} entries are"
        return (f"{name}: {few} no number, the other {count - len(others)} are; the column is kept as text",)
    return ()


def split_tnm(entries: Mapping[At, str]) -> tuple[dict[At, str], dict[At, str], dict[At, str]] | None:
    """Take T, N and M apart where every entry has all three, as in T2N1M0; None where one has not.

    >>> split_tnm({(0,): "cT2a N1 M0", (1,): "NA"})
    ({(0,): 'T2a'}, {(0,): 'N1'}, {(0,): 'M0'})
    """
    given = {at: text for at, text in entries.items() if text.lower() not in MISSING}
    found = {at: _TNM.fullmatch(text.strip()) for at, text in given.items()}
    if not found or not all(found.values()):
        return None
    t, n, m = (
        {at: one[i][0].upper() + one[i][1:].lower() for at, one in found.items() if one is not None} for i in (1, 2, 3)
    )
    return t, n, m


def _text(name: str, known: ClinicalField, entries: Mapping[At, str], shape: tuple[int, ...]) -> ColumnValues:
    problem = read_events(known.name, list(entries.values()), name).problem if known.name in EVENTS else ""
    warnings = (f"no survival can be computed: {problem}",) if problem else ()
    labels = dict(zip(entries, canonical(known.name, list(entries.values())), strict=True))
    codes = sorted({text for at, text in entries.items() if text and not labels[at]})
    kept = {at: text for at, text in entries.items() if labels[at]}
    return ColumnValues(_filled(shape, kept, ""), {"missing_codes": codes} if codes else {}, warnings)


def _times(name: str, known: ClinicalField, entries: Mapping[At, str], shape: tuple[int, ...]) -> ColumnValues:
    """Read ages and times; one that is no number leaves the column as text, without codes for missing ones."""
    unit = str(known.units)
    given = unit_of(name)
    read = read_times(list(entries.values()), known, given)
    numbers = {at: value for at, value in zip(entries, read.values, strict=True) if not np.isnan(value)}
    warnings = _doubtful_numbers(name, known, numbers, entries)
    if unit == "month" and given is None:
        warnings += _long_months(name, numbers)
    recorded: dict[str, Any] = {"missing_codes": [*read.codes]} if read.codes else {}
    if read.odd:
        warnings.insert(0, f"{name}: {_first(entries, read.odd)!r} is no number, so the column is kept as text")
    if read.odd or not (numbers or read.codes):
        kept = {at: text for at, text in entries.items() if text not in read.codes}
        return ColumnValues(_filled(shape, kept, ""), recorded, tuple(warnings))
    if given not in (None, unit):
        recorded["source_units"] = given
    return ColumnValues(_filled(shape, numbers, np.nan), recorded, tuple(warnings))


def _first(entries: Mapping[At, str], of: Sequence[str]) -> str:
    return next(text for text in entries.values() if text in of)


def _doubtful_numbers(
    name: str, known: ClinicalField, numbers: Mapping[At, float], entries: Mapping[At, str]
) -> list[str]:
    """Warn of numbers that make no sense, or may be codes for missing ones."""
    warnings = []
    if count := sum(not 0 <= number <= (known.highest or np.inf) for number in numbers.values()):
        warnings.append(f"{name}: {count} values outside 0 to {known.highest:g} {known.units}s, kept as they are")
    if far := _nines_far_above(numbers, entries):
        warnings.append(
            f"{name}: {far!r} is far above all other values and may be a code for a missing one, kept as it is; if it "
            "is a code, leave the cell empty"
        )
    return warnings


def _nines_far_above(numbers: Mapping[At, float], entries: Mapping[At, str]) -> str:
    """Return an entry such as 9999 that may be a time, and is far above all others; "" if there is none."""
    nines = [at for at in numbers if re.fullmatch(r"9{3,}", entries[at].strip())]
    others = [number for at, number in numbers.items() if at not in nines]
    return next((entries[at] for at in nines if others and numbers[at] > _FAR_ABOVE * max(others)), "")


def _long_months(name: str, numbers: Mapping[At, float]) -> list[str]:
    """Warn of times in months that are rather days."""
    longest = max(numbers.values(), default=0.0)
    if longest <= LONG_MONTHS:
        return []
    return [
        f"{name}: taken as months, up to {longest:g}; if it is not, write the unit into the column's name, as in "
        f"'{name} (days)'"
    ]


def _filled(shape: tuple[int, ...], entries: Mapping[At, Any], fill: Any) -> NDArray[Any]:  # noqa: ANN401
    column: NDArray[Any] = np.full(shape, fill, dtype=object if fill == "" else np.float64)
    for at, value in entries.items():
        column[at] = value
    return column


def are_spreadsheet_days(name: str, entries: Iterable[str | float]) -> bool:
    """Whether entries are dates as numbers of a spreadsheet program, by their range and the name of the column.

    >>> are_spreadsheet_days("RT begin", ["43211", "43528.5"]), are_spreadsheet_days("Volume at start", [43211, 43528])
    (True, False)
    """
    words = {fold(word) for word in re.findall(r"[^\W\d_]+", name)}
    if words.isdisjoint(_TIME_POINTS) or not words <= _TIME_POINTS | _BESIDE:
        return False
    numbers = [plain_number(text) for text in map(str, entries) if text.lower() not in MISSING]
    days = {number for number in numbers if number is not None and _FIRST_DAY <= number <= _LAST_DAY}
    # codes of operations are as large, and repeat
    return all(number in days for number in numbers) and len(days) > _MOSTLY * len(numbers)


def is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where a column has no value: NaN, or an empty text."""
    missing: NDArray[np.bool_] = np.isnan(values) if values.dtype.kind == "f" else values == ""
    return missing
