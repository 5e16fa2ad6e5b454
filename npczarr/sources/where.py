"""Which images of a folder a scan is made of: rules over header fields, from the configuration.

.. code-block:: toml

    [sequences]
    T1WI = { folder = "T1WI", mask = "T1", where = { EchoTime = "<30", ImageType = "!DERIVED" } }
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from npczarr.errors import SourceError
from npczarr.model.cohort import Where
from npczarr.sources.fields import ENHANCED_NAMES, Field, field_values

_NUMBERS = {"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"}
_TIMES = {"DA", "DT", "TM"}  # of which only numbers can be compared: 120000 is noon
_TEXTS = {"AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UI", "UR", "UT"}
_LONGEST = 200
_CONDITION = re.compile(r"\s*(!?)\s*(<=|>=|<|>|)\s*(.*?)\s*", re.DOTALL)


def parse_where(table: Any, place: str) -> Where:  # noqa: ANN401 - parsed TOML
    """Check the rule of a sequence.

    Parameters
    ----------
    table
        Condition, or list of conditions, by DICOM keyword. A condition is a glob (letter case does not matter) or a
        number, ``<``, ``>``, ``<=`` or ``>=`` with a number, and any of these after ``!`` for its opposite. Of a list
        one must hold, and every one with ``!``.
    place
        Where the rule stands, for messages.

    Raises
    ------
    SourceError
        If a key is no DICOM keyword, or a condition cannot be one of that field.
    """
    if not isinstance(table, dict):
        raise SourceError(f"{place}: expected a table of conditions by DICOM keyword, got {table!r}")
    rule: list[tuple[str, str | tuple[str, ...]]] = []
    for keyword, value in table.items():
        vr = _checked_vr(keyword, place)
        given = value if isinstance(value, list) else [value]
        if not given:
            raise SourceError(f"{place}.{keyword}: the list of conditions is empty; give one or leave the key out")
        conditions = tuple(_checked_condition(condition, vr, f"{place}.{keyword}") for condition in given)
        rule.append((keyword, conditions if isinstance(value, list) else conditions[0]))
    return tuple(rule)


def keywords_of(where: Where) -> tuple[str, ...]:
    """DICOM keywords that must be parsed to apply a rule, with their names in enhanced objects."""
    names = [keyword for keyword, _ in where]
    return (*names, *(ENHANCED_NAMES[name] for name in names if name in ENHANCED_NAMES))


def unmet(where: Where, dataset: Dataset, index: int) -> str | None:
    """Return the keyword of the first condition that a frame does not meet; None if it meets all."""
    for keyword, conditions in where:
        given = (conditions,) if isinstance(conditions, str) else conditions
        if not _meets(given, field_values(dataset, index, keyword)):
            return keyword
    return None


def _checked_vr(keyword: str, place: str) -> str:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise SourceError(
            f"{place}: {keyword!r} is no DICOM keyword; expected a name such as EchoTime, ImageType or "
            "SeriesDescription, letter for letter"
        )
    vr = dictionary_VR(tag)
    if vr not in _NUMBERS | _TIMES | _TEXTS:
        raise SourceError(f"{place}: {keyword} holds neither text nor numbers ({vr}), so nothing can be asked of it")
    return vr


def _checked_condition(value: Any, vr: str, place: str) -> str:  # noqa: ANN401 - parsed TOML
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value:.12g}"
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST:
        raise SourceError(
            f'{place}: expected a condition such as "<30", "!DERIVED" or "*t1*" of at most {_LONGEST} characters, '
            f"got {value!r}"
        )
    _, comparison, operand = _split(value)
    if comparison and (vr in _TEXTS or _number(operand) is None):
        raise SourceError(
            f"{place}: {value!r} compares numbers, expected a field of numbers and a number behind {comparison}"
        )
    if not operand:
        raise SourceError(f"{place}: {value!r} says nothing after its sign; expected a number or text")
    if vr in _NUMBERS and _number(operand) is None and not re.search(r"[*?\[]", operand):
        raise SourceError(f"{place}: {value!r} is no number, and the field holds numbers")
    return value


def _meets(conditions: Sequence[str], values: tuple[Field, ...]) -> bool:
    positive = [condition for condition in conditions if not _split(condition)[0]]
    negative = [condition for condition in conditions if _split(condition)[0]]
    return all(not _holds(condition, values) for condition in negative) and (
        not positive or any(_holds(condition, values) for condition in positive)
    )


def _holds(condition: str, values: tuple[Field, ...]) -> bool:
    """Whether a condition, without its ``!``, holds for one of the values, or for all of them joined."""
    _, comparison, operand = _split(condition)
    if comparison:
        bound = float(operand)
        return any(_compares(comparison, found, bound) for found in map(_number, values) if found is not None)
    number = _number(operand)
    texts = [f"{value:.12g}" if isinstance(value, float) else value for value in values]
    joined = ["\\".join(texts)] if len(texts) > 1 else []
    return any(_glob(operand)(text) for text in (*texts, *joined)) or (
        number is not None
        and any(isinstance(value, float) and math.isclose(value, number, rel_tol=1e-6) for value in values)
    )


def _compares(comparison: str, found: float, bound: float) -> bool:
    return {"<": found < bound, "<=": found <= bound, ">": found > bound, ">=": found >= bound}[comparison]


def _number(value: Field) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


@lru_cache(maxsize=256)
def _split(condition: str) -> tuple[bool, str, str]:
    match = _CONDITION.fullmatch(condition)
    assert match is not None
    return bool(match[1]), match[2], match[3]


@lru_cache(maxsize=256)
def _glob(pattern: str) -> Any:  # noqa: ANN401 - a bound method of re.Pattern
    return re.compile(fnmatch.translate(pattern), re.IGNORECASE | re.DOTALL).match
