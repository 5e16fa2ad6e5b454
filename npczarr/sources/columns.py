"""A first map of a cohort's table columns to clinical fields, as TOML that the user corrects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from npczarr.errors import SourceError
from npczarr.model.clinical import CLINICAL, MISSING, SEQUENCE_ALIASES, known_field, plain
from npczarr.sources.csv_files import parse_csv
from npczarr.sources.patient_column import counts_rows, numbers_rows, patient_columns

_FEW = 6  # different entries that are shown: more of them may identify patients

_HEAD = """\
# What the columns of the tables mean: "column in the table" = "name in the store".
# Correct it, then: npczarr convert SOURCE STORE --columns THIS_FILE
# A line that begins with # has no effect: such a column is kept under its own name.
#
# Names with a meaning:
"""


def starting_map(csv_paths: str | Path | Sequence[str | Path]) -> str:
    """Write a starting map from CSV files: what each column is taken for, and what to choose from.

    Parameters
    ----------
    csv_paths
        One file, or several of one cohort.

    Returns
    -------
    str
        TOML, which :func:`npczarr.sources.config.load_config` reads: a line for each column that is known by its name,
        the others behind a #. Entries are shown where few repeat, so no names of patients.

    Raises
    ------
    SourceError
        If a file cannot be read or is no table.
    """
    paths = [csv_paths] if isinstance(csv_paths, str | Path) else csv_paths
    if not paths:
        raise SourceError("expected one or more CSV files to write a map from, found none")
    meanings = [("patient", "whose row it is; every table needs it"), ("sequence", "of which scan, if it is of one")]
    meanings += [(known.name, known.description + (f", {known.units}" if known.units else "")) for known in CLINICAL]
    lines = [f"#   {name:<26} {meaning}" for name, meaning in meanings]
    seen: set[str] = set()
    taken: set[str] = set()
    body = [line for path in paths for line in _of_table(Path(path), seen, taken)]
    return _HEAD + "\n".join([*lines, "", "[columns]", *body]).rstrip() + "\n"


def _of_table(path: Path, seen: set[str], taken: set[str]) -> list[str]:
    try:
        rows = parse_csv(path.read_bytes())
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from error
    if not rows:
        raise SourceError(f"{path}: no rows below the header, so there is nothing to map")
    possible = patient_columns(list(rows[0]))
    patient = _patient_column(possible, rows)
    keys = {patient: "patient", _first(rows[0], SEQUENCE_ALIASES): "sequence"}
    found = [keys[name] for name in rows[0] if name in keys]
    lines = [f"# {_one_line(path.name)}", *_about_patients(patient, possible)]
    for name in rows[0]:
        meaning = keys.get(name) or _meaning(name) or ("patient" if patient is None and name in possible else "")
        line = f"{_text(name)} = {_text(meaning)}  # {_one_line(_shown([row.get(name, '') for row in rows]))}"
        certain = name in keys or (meaning and meaning not in {*taken, "patient"} and "sequence" not in found)
        if name in seen:  # a TOML file names a column once, for all tables
            lines.append(f"# {_text(name)}: see above")
        elif certain:
            lines.append(line)
            taken.add(meaning)
        else:
            lines.append(f"# {line}")
        seen.add(name)
    return [*lines, ""]


def _patient_column(possible: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str | None:
    """Choose the column of patients by its name; none where it may count the rows and another does not."""
    keys = [name for name in possible if not numbers_rows(name)]
    counting = {name for name in keys if counts_rows([row[name] for row in rows])}
    return None if not keys or (keys[0] in counting and len(counting) < len(keys)) else keys[0]


def _about_patients(patient: str | None, possible: Sequence[str]) -> list[str]:
    """Say which column was taken for the patient, where that is not plain to see."""
    if patient is None and possible:
        return ['# Which column has the patients is not clear: make one of these "patient".']
    if patient is None:
        return ['# No column of patient numbers was found: make one of these "patient".']
    others = ", ".join(_text(name) for name in possible if name != patient)
    return [f"# {_one_line(_text(patient))} was taken for the patient, and not {_one_line(others)}."] if others else []


def _meaning(name: str) -> str:
    known = known_field(name)
    return known.name if known else ""


def _first(row: Mapping[str, str], aliases: Sequence[str]) -> str | None:
    by_alias = {plain(name): name for name in reversed(list(row))}
    return next((by_alias[alias] for alias in aliases if alias in by_alias), None)


def _shown(entries: Sequence[str]) -> str:
    """Describe entries: numbers by their range, text and codes such as 007 by what they say where they repeat."""
    given = [entry for entry in entries if entry.lower() not in MISSING]
    different = sorted({*given})
    if given and all(re.fullmatch(r"-?(0|[1-9]\d{0,14})(\.\d+)?", entry) for entry in given):
        numbers = [float(entry) for entry in given]
        return f"{min(numbers):g} to {max(numbers):g}"
    if len(different) <= min(_FEW, len(given) // 2):
        return ", ".join(different) or "empty"
    return f"text, {len(different)} different entries"


def _text(name: str) -> str:
    """Write a TOML string: JSON escapes the same, save for one character that TOML does not allow as it is."""
    return json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")


def _one_line(text: str) -> str:
    """Make text fit for a comment: on one line, without control characters."""
    shown = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text)
    return shown if len(shown) <= 80 else f"{shown[:79]}…"
