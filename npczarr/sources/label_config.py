"""The table ``[labels]`` of a TOML file.

.. code-block:: toml

    [labels]                          # name in the store = what it is made from; where they overlap, the first counts
    tumor = 1                         # value of a NIfTI mask, or number of a segment
    node = [2, 3]
    GTV = ["GTVp", "GTV*"]            # structure of an RTSTRUCT, or label or code of a segment: the first that is there
    CTV = { value = 4, roi = "CTV*", segment = "SCT:108369006", threshold = 0.3 }
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from npczarr.errors import ParameterError, SourceError
from npczarr.model.label_set import Label, Labels, check_label_names

_KEYS = {"value", "roi", "segment", "threshold"}


def parse_labels(table: Any, where: str) -> Labels:  # noqa: ANN401 - parsed TOML
    """Read the table of labels.

    Raises
    ------
    SourceError
        If it is not as described above.
    """
    if not isinstance(table, dict):
        raise SourceError(f"{where}: expected a table of names, such as tumor = 1, got {table!r}")
    try:
        check_label_names(tuple(table))
    except ParameterError as error:
        raise SourceError(f"{where}: {error}") from error
    labels = tuple(
        _label(name, number, rule, f"{where}, {name}") for number, (name, rule) in enumerate(table.items(), 1)
    )
    repeated = [value for value, count in Counter(v for label in labels for v in label.values).items() if count > 1]
    if repeated:
        raise SourceError(f"{where}: value {repeated[0]} is declared twice; give each value to one label")
    return labels


def _label(name: str, number: int, rule: Any, where: str) -> Label:  # noqa: ANN401 - parsed TOML
    if not isinstance(rule, dict):
        given = _listed(rule, (int, str), where)
        numbers = tuple(one for one in given if isinstance(one, int))
        texts = tuple(one for one in given if isinstance(one, str))
        return Label(name, number, _values(numbers, where), texts, (*texts, *numbers))
    if unknown := sorted(set(rule) - _KEYS):
        raise SourceError(f"{where}: unknown key {unknown[0]!r}, expected one of {sorted(_KEYS)}")
    if not set(rule) & {"value", "roi", "segment"}:
        raise SourceError(f"{where}: expected a value, a roi or a segment that it is made from, got {rule!r}")
    threshold = rule.get("threshold", 0.5)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise SourceError(f"{where}: expected a threshold above 0 and up to 1, got {threshold!r}")
    return Label(
        name,
        number,
        _values(_listed(rule.get("value", []), (int,), where), where),
        _listed(rule.get("roi", []), (str,), where),
        _listed(rule.get("segment", []), (int, str), where),
        float(threshold),
    )


def _listed(given: Any, kinds: tuple[type, ...], where: str) -> tuple[Any, ...]:  # noqa: ANN401 - parsed TOML
    values = given if isinstance(given, list) else [given]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, kinds) or value == "":
            expected = " or ".join({int: "a whole number", str: "a text"}[kind] for kind in kinds)
            raise SourceError(f"{where}: expected {expected}, or a list of them, got {given!r}")
    return tuple(values)


def _values(numbers: tuple[int, ...], where: str) -> tuple[int, ...]:
    if any(number < 1 for number in numbers):
        raise SourceError(f"{where}: expected values above 0, got {min(numbers)}; 0 is background")
    return numbers
