"""Texts of a selection that are in no row of their column, such as ``sex == 'male'`` where a store has M and F."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from npczarr.model.categories import canonical
from npczarr.model.where import Column, Texts, column_name, parse

_FEW = 12  # distinct values that a message names
_LONG = 40  # characters of a value: longer ones are free text, not named


def remarks_on_texts(
    where: str, columns: Mapping[str, Column], words: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """Say which texts of a selection no row has, and what the rows have instead.

    A column of many values, such as labels, is passed over unless one of them is the text in another spelling. So is
    a text of several after `in`, where another of them is there.

    Parameters
    ----------
    where
        The selection.
    columns
        Its columns by name.
    words
        Texts that a column may hold, by its name, whether a row has them or not.

    >>> remarks_on_texts("sex != 'male' and sex == ''", {"sex": np.array(["M", "F", "M"])})
    ["no row has 'male' in sex, which has 'F', 'M'"]
    """
    found: dict[str, None] = {}
    for name, texts in _comparisons(parse(where)):
        column = columns.get(name)
        if column is None or column.dtype.kind in "biuf":
            continue
        allowed = (words or {}).get(name, ())
        absent = _absent(column, [text for text in texts if text and text not in allowed])
        known = _values(column) if absent else []
        for text in absent:
            remark = _remark(name, text, known, allowed, alone=len(absent) == len(texts))
            if remark:
                found[remark] = None
    return list(found)


def _comparisons(tree: ast.expr) -> Iterator[tuple[str, list[str]]]:
    """Give the columns that are compared for equality with texts, and these; of `in` all of one list at once."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        for op, left, right in zip(node.ops, sides[:-1], sides[1:], strict=True):
            pairs = [(left, right)]
            if isinstance(op, ast.Eq | ast.NotEq):
                pairs.append((right, left))
            elif not isinstance(op, ast.In | ast.NotIn):
                continue
            for side, other in pairs:
                name, texts = column_name(side), _texts(other)
                if name is not None and texts:
                    yield name, texts


def _texts(node: ast.expr) -> list[str]:
    items = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]


def _absent(column: Column, texts: Sequence[str]) -> list[str]:
    values: Any = column.values if isinstance(column, Texts) else column
    if len(texts) == 1:  # without a set of a million labels
        return [] if np.any(np.asarray(values == texts[0])) else [texts[0]]
    there = set(values.ravel().tolist()) if texts else set()
    return [text for text in texts if text not in there]


def _values(column: Column) -> list[str]:
    """List the distinct values of a column that are known."""
    values: Any = column.values if isinstance(column, Texts) else column.ravel()
    return sorted({str(value) for value in values.tolist()} - {""})


def _remark(name: str, text: str, known: Sequence[str], allowed: Sequence[str], *, alone: bool) -> str:
    """Say what a column has where it lacks a text; "" where that may well be meant."""
    nobody = f"no row has {text!r} in {name}"
    spelled = [one for one in known if _plain(one) == _plain(text)]
    if spelled:
        return f"{nobody}; did you mean {spelled[0]!r}?"
    if not alone:
        return ""
    if allowed:
        return f"{nobody}, which may be {', '.join(map(repr, allowed))}"
    if not known:
        return f"{nobody}, which is known of nobody"
    if _is_stage(name, text) and any(_is_stage(name, one) for one in known):
        return ""
    if name == "patient" or len(known) > _FEW or max(map(len, known)) > _LONG:
        return ""
    return f"{nobody}, which has {', '.join(map(repr, known))}"


def _is_stage(name: str, text: str) -> bool:
    """Whether a text is a stage as the store writes them, which a small cohort may lack.

    >>> _is_stage("t_stage", "T4"), _is_stage("t_stage", "t9"), _is_stage("sex", "male")
    (True, False, False)
    """
    return canonical(name, [f"stage {text}"]) == [text]


def _plain(text: str) -> str:
    """Write a text in lower case, without spaces around it and without leading zeros."""
    plain = text.strip().lower()
    return plain.lstrip("0") or plain
