"""A column that several tables give: one where they agree, as tables of two hospitals do, apart where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.model.categories import canonical
from npczarr.model.clinical import plain, unit_of
from npczarr.model.events import EVENTS
from npczarr.model.messages import first_of
from npczarr.model.schema import Variable
from npczarr.sources.column_values import is_missing

TABLE, COLUMN = "source_table", "source_column"  # attributes of a column
AND = "; "  # between the names in them
Column = tuple[Variable, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Apart:
    """A column that two tables give differently.

    Parameters
    ----------
    before
        The column as an earlier table gave it.
    label
        Under what name the later table's is kept.
    patients
        Indices of the patients of whom they say different things; none where the columns are of different kinds.
    """

    before: Variable
    label: str
    patients: tuple[int, ...]


def contradictions(first: Column, second: Column) -> tuple[int, ...] | None:
    """Return the patients of whom two columns say different things; None where the columns are of different kinds.

    Different kinds are numbers and text, codes of events in columns of different names, times as text in different
    units, and text that would mean something else beside that of the other: "M" is a man beside "F", and a woman beside
    "H".
    """
    (variable, held), (other, given) = first, second
    there, added = ~is_missing(held), ~is_missing(given)
    if not (there.any() and added.any()):
        return ()
    if (variable.dims, variable.dtype) != (other.dims, other.dtype):
        return None
    if variable.name in EVENTS and plain(str(variable.attributes[COLUMN])) != plain(str(other.attributes[COLUMN])):
        return None
    if variable.dtype == "string":
        if len({unit_of(str(one.attributes[COLUMN])) for one in (variable, other)}) > 1:  # numbers are converted
            return None
        together = _meaning(variable.name, np.where(there, held, given))
        held, given = _meaning(variable.name, held), _meaning(variable.name, given)
        if (together[there] != held[there]).any() or (together[added & ~there] != given[added & ~there]).any():
            return None
    return tuple(np.unique(np.nonzero(there & added & (held != given))[0]).tolist())


def _meaning(name: str, entries: NDArray[Any]) -> NDArray[Any]:
    return np.array(canonical(name, entries.ravel().tolist()), dtype=object).reshape(entries.shape)


def join(first: Column, second: Column) -> Column:
    """Join two columns that contradict each other in nobody."""
    (variable, held), (other, given) = first, second
    if is_missing(given).all():
        return first
    if is_missing(held).all():
        return second
    attributes = {**other.attributes, **variable.attributes}
    for name in (TABLE, COLUMN, "source_units"):
        both = dict.fromkeys(
            word for one in (variable, other) for word in str(one.attributes.get(name, "")).split(AND) if word
        )
        if both:
            attributes[name] = AND.join(both)
    codes = {code for one in (variable, other) for code in one.attributes.get("missing_codes", ())}
    if codes:
        attributes["missing_codes"] = sorted(codes)
    return replace(variable, attributes=attributes), np.where(is_missing(held), given, held)


def name_apart(apart: Sequence[Apart], patients: Sequence[str]) -> list[str]:
    """Say which columns of a table are not what an earlier table says, and what they are called."""
    said = []
    for table in dict.fromkeys(str(one.before.attributes.get(TABLE, "")) for one in apart):
        of_table = [one for one in apart if one.before.attributes.get(TABLE, "") == table]
        whose = sorted({i for one in of_table for i in one.patients})
        of = f"of {len(whose)} patient{'s'[: len(whose) > 1]} ({first_of([patients[i] for i in whose])})"
        what = f"other values than {table} {of}" if whose else f"entries of another kind than those of {table}"
        said.append(
            f"{first_of([one.before.name for one in of_table])}: {what}, so what this table says is kept apart, as "
            f"{first_of([one.label for one in of_table])}; correct one of the tables, and convert again"
        )
    return said
