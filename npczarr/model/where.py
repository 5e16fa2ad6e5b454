"""Selections in words, such as ``t_stage in ('T3', 'T4') and age < 60``; parsed, never evaluated as Python."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import ParameterError, UnknownLabelError, nearest_label, unknown_label
from npczarr.model.schema import MEASURES


@dataclass(frozen=True, slots=True)
class Texts:
    """Text by row as numbers of its distinct values, each of which is compared once.

    Parameters
    ----------
    values
        (n,) distinct values.
    codes
        Index of the value of each row, of any shape.
    """

    values: NDArray[Any]
    codes: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the rows."""
        return self.codes.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.values.dtype

    def plain(self) -> NDArray[Any]:
        """Return the text of each row."""
        found: NDArray[Any] = self.values[self.codes]
        return found


Column = NDArray[Any] | Texts
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ALLOWED = "comparisons of columns with values, in, not in, and, or, not, such as: t_stage in ('T3', 'T4') and age < 60"
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
#: What SQL, C and pandas write, and how it is written here.
_HINTS = (
    (re.compile(r"(?<![=!<>])=(?!=)|<>"), "; to compare write =="),
    (re.compile(r"[&|~]|!(?!=)|\b(AND|OR|NOT|IN)\b"), "; write and, or, not"),
    (re.compile(r"\blike\b", re.IGNORECASE), "; text is compared whole: name the values, as in ('001', '002')"),
    (re.compile(r"\bbetween\b", re.IGNORECASE), "; write 50 <= age <= 60"),
    (
        re.compile(r"\b(null|none|nan|is|(is|not)(null|na))\b", re.IGNORECASE),
        "; numbers that are known are equal to themselves, as in age == age, and text that is not known is ''",
    ),
)
_LONGEST = 10_000  # characters
_DEEPEST = 100  # nested expressions, far below where Python's recursion ends


def names_in(where: str) -> tuple[str, ...]:
    """Names of the columns that a selection speaks of, in order.

    Raises
    ------
    ParameterError
        If it is no selection.

    >>> names_in("age < 60 and t_stage == 'T1'")
    ('age', 't_stage')
    """
    found: list[str] = []
    _gather(parse(where), found)
    return tuple(dict.fromkeys(found))


def _gather(node: ast.AST, found: list[str]) -> None:
    name = column_name(node)
    if name is not None:
        found.append(name)
        return
    for child in ast.iter_child_nodes(node):
        _gather(child, found)


def column_name(node: ast.AST) -> str | None:
    """Return the name of a column, such as ``age`` or ``morphology.volume``; None for anything else."""
    if isinstance(node, ast.Attribute):
        group = column_name(node.value)
        return None if group is None else f"{group}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else None


def unknown_column(name: str, known: Iterable[str], where: str) -> UnknownLabelError:
    """Return the error for a column that is not there; it says what else a name may have been meant to be."""
    known = list(known)
    error = unknown_label("column", name, known)
    group, _, rest = name.partition(".")
    if nearest_label(name, known) is not None:
        return error
    if rest and group in MEASURES and not any(one.startswith(f"{group}.") for one in known):
        return UnknownLabelError(f"{error}; its results are there once npczarr {group} has measured them")
    quotes = f"; text goes in quotation marks: {name!r}" if name in _compared_with_names(where) else ""
    hints = "" if rest else _hints(name)
    return UnknownLabelError(f"{error}{quotes}{hints}") if quotes or hints else error


def _compared_with_names(where: str) -> set[str]:
    """Return the names that stand to the right of another, as a column and its value do."""
    found: set[str] = set()
    for node in ast.walk(parse(where)):
        if isinstance(node, ast.Compare) and column_name(node.left) is not None:
            items = [part for side in node.comparators for part in getattr(side, "elts", [side])]
            found |= {part.id for part in items if isinstance(part, ast.Name)}
    return found


def select(where: str, columns: Mapping[str, Column]) -> NDArray[np.bool_]:
    """Say which rows a selection chooses.

    Numbers are compared with numbers and text with text. A number that is not known (NaN) is unequal to all and
    neither smaller nor larger than any.

    Parameters
    ----------
    where
        Comparisons (``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, chained too) and ``in`` or ``not in`` with values in
        brackets, joined by ``and``, ``or``, ``not``.
    columns
        Arrays of one shape by name.

    Raises
    ------
    ParameterError
        If it is no selection, names a column that is not there, or compares text with a number.

    >>> select("age < 60 or not t_stage in ('T1', 'T2')", {"age": np.array([50, 70, 70]),
    ...        "t_stage": np.array(["T3", "T4", "T1"])})
    array([ True,  True, False])
    """
    found = _truth(parse(where), where, columns)
    shape = next(iter(columns.values())).shape if columns else ()
    return np.broadcast_to(found, shape).copy()


def parse(where: str) -> ast.expr:
    """Read a selection as an expression of Python.

    Raises
    ------
    ParameterError
        If it is none.
    """
    if not isinstance(where, str) or not where.strip() or len(where) > _LONGEST:
        raise ParameterError(f"where: expected {_ALLOWED}; got {str(where)[:80]!r}")
    try:
        tree = ast.parse(where.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ParameterError(f"where: {where!r} cannot be read{_hints(where)}; expected {_ALLOWED}") from error
    texts = list(_QUOTED.finditer(where))
    if any(not where[one.end() : other.start()].strip() for one, other in pairwise(texts)):  # Python joins them
        raise ParameterError(
            f"where: {where!r} has texts beside one another; a quotation mark in a text stands between marks of the "
            'other kind, as in "it\'s", and texts of a list are parted by commas'
        )
    level: list[ast.AST] = [tree]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return tree
    raise ParameterError(f"where: more than {_DEEPEST} expressions nested in each other; expected {_ALLOWED}")


def _hints(where: str) -> str:
    """Say how it is written here what other languages write in another way."""
    bare = _QUOTED.sub("", where)  # what is in quotation marks means nothing
    return "".join(hint for pattern, hint in _HINTS if pattern.search(bare))


def _truth(node: ast.expr, where: str, columns: Mapping[str, Column]) -> Any:  # noqa: ANN401 - an array or a scalar
    if isinstance(node, ast.BoolOp):
        parts = [_truth(value, where, columns) for value in node.values]
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return join.reduce(np.broadcast_arrays(*parts))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return np.logical_not(_truth(node.operand, where, columns))
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        found = [
            _compared(op, left, right, where, columns)
            for op, left, right in zip(node.ops, sides[:-1], sides[1:], strict=True)
        ]
        return np.logical_and.reduce(np.broadcast_arrays(*found))
    raise _refused(node, where)


def _compared(op: ast.cmpop, left: ast.expr, right: ast.expr, where: str, columns: Mapping[str, Column]) -> Any:  # noqa: ANN401 - an array or a scalar
    one = _value(left, where, columns)
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(right, ast.Tuple | ast.List | ast.Set):
            raise ParameterError(f"where: after 'in' give values in brackets, such as ('T3', 'T4'); got {where!r}")
        hits = [_compare(operator.eq, one, _value(item, where, columns), where) for item in right.elts]
        found = np.logical_or.reduce(np.broadcast_arrays(*hits)) if hits else np.False_
        return found if isinstance(op, ast.In) else np.logical_not(found)
    if type(op) not in _COMPARISONS:
        raise _refused(left, where)
    return _compare(_COMPARISONS[type(op)], one, _value(right, where, columns), where)


def _compare(op: Callable[[Any, Any], Any], one: Any, other: Any, where: str) -> Any:  # noqa: ANN401 - arrays, Texts or scalars
    if (one.dtype.kind in "biuf") != (other.dtype.kind in "biuf"):
        raise ParameterError(f"where: {where!r} compares text with a number; put text in quotation marks, numbers not")
    if isinstance(one, Texts) and not other.shape and isinstance(other, np.ndarray):
        return np.asarray(op(one.values, other), dtype=bool)[one.codes]
    if isinstance(other, Texts) and not one.shape and isinstance(one, np.ndarray):
        return np.asarray(op(one, other.values), dtype=bool)[other.codes]
    return op(*(side.plain() if isinstance(side, Texts) else side for side in (one, other)))


def _value(node: ast.expr, where: str, columns: Mapping[str, Column]) -> Any:  # noqa: ANN401 - an array or a scalar
    name = column_name(node)
    if name is not None:
        if name not in columns:
            raise unknown_column(name, columns, where)
        return columns[name]
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float):
        return np.asarray(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        number = _value(node.operand, where, columns)
        if number.dtype.kind in "iuf":
            return -number if isinstance(node.op, ast.USub) else number
    raise _refused(node, where)


def _refused(node: ast.expr, where: str) -> ParameterError:
    try:
        part = ast.unparse(node)
    except RecursionError:
        part = "…"
    whole = where.strip()[:200]
    of = "" if part == whole else f" in {whole!r}"
    what = "not understood" if of else "no comparison"
    return ParameterError(f"where: {part!r}{of} is {what}{_hints(where)}; expected {_ALLOWED}")
