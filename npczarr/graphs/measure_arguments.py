"""The arguments of each measure: which it takes, their defaults, and the name of its result."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from npczarr.errors import ParameterError
from npczarr.model.options import normalize_options, redacted
from npczarr.model.results import TOLERANCE_MM
from npczarr.outputs import expanded

#: The arguments that each measure takes, and their defaults.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "morphology": {"method": "lorensen", "label": None},
    "agreement": {"tolerance": TOLERANCE_MM, "label": None},
    "score": {"predictions": None, "tolerance": TOLERANCE_MM, "config": None, "label": None},
}


def arguments_of(measure: str, given: Mapping[str, Any], source_options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arguments of a measure, with absolute paths.

    Parameters
    ----------
    measure
        ``"morphology"``, ``"agreement"`` or ``"score"``.
    given
        Arguments by name; None where one was not given.
    source_options
        Options of the predictions' file system.

    Raises
    ------
    ParameterError
        If there is no such measure, one of its arguments is missing, or one is given that it does not take.
    """
    given = _absolute(given)
    if measure not in DEFAULTS:
        raise ParameterError(f"measure must be one of {', '.join(DEFAULTS)}, got {measure!r}")
    defaults = DEFAULTS[measure]
    for name, value in given.items():
        if value is not None and name not in defaults:
            raise ParameterError(f"{name} is no argument of {measure}, which takes {', '.join(defaults)}; leave it out")
    chosen = {**defaults, **{name: value for name, value in given.items() if value is not None}}
    if measure == "score" and chosen["predictions"] is None:
        raise ParameterError("predictions: expected a folder, zip, URL or store of masks to score, got none")
    if source_options:
        if measure != "score":
            raise ParameterError(f"source_options are of predictions, and {measure} has none; leave them out")
        chosen["storage_options"] = dict(normalize_options(source_options, chosen["predictions"]))
    return chosen


def result_path(measure: str, name: str | None, chosen: Mapping[str, Any]) -> str:
    """Return the path of a result in the store; without a name, it is named for the predictions and the label, if any.

    Raises
    ------
    ParameterError
        If the name has other characters than letters, digits, ``.``, ``_`` and ``-``.
    """
    if name is None:
        label = chosen["label"]
        parts = [Path(redacted(chosen["predictions"])).stem] if measure == "score" else []
        parts += [] if label is None else [label] if isinstance(label, str) else label
        name = "-".join(parts) or None
    if name is None:
        return measure
    if not re.fullmatch(r"[\w.-]+", name):
        raise ParameterError(f"a name of letters, digits, . _ - expected for the result, got {name!r}")
    return f"{measure}/{name}"


def _absolute(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Make local paths among the parameters absolute: a worker may run in another folder."""
    kept = {name: value for name, value in parameters.items() if value is not None}
    for name in {"predictions", "config"} & set(kept):
        if "://" not in str(kept[name]):
            kept[name] = str(expanded(kept[name]).resolve())
    return kept
