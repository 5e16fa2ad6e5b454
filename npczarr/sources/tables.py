"""Clinical tables: CSV files in, columns by patient or by scan out; every column is kept."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from npczarr.errors import SourceError
from npczarr.model.clinical import CLINICAL, PATIENT_ALIASES, SEQUENCE_ALIASES, ClinicalField, known_field, plain
from npczarr.model.cohort import Cohort, File
from npczarr.model.schema import RESERVED, SCAN, Variable
from npczarr.sources.column_values import read_values, split_tnm
from npczarr.sources.config import SourceConfig
from npczarr.sources.files import Source, refusal_reason

_MOST_COLUMNS = 2000
_LONGEST_LABEL = 80


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Columns of every table, ready for the store.

    Parameters
    ----------
    columns
        Values by variable: (patient,) or (patient, sequence), float64 or object (str).
    warnings
        Tables and rows that could not be used, and why.
    """

    columns: Mapping[str, tuple[Variable, NDArray[Any]]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_tables(source: Source, cohort: Cohort, config: SourceConfig) -> Tables:
    """Read a cohort's tables; one that cannot be understood is a warning and costs no scan."""
    columns: dict[str, tuple[Variable, NDArray[Any]]] = {}
    warnings: list[str] = []
    for file, content in zip(cohort.tables, source.read([file.path for file in cohort.tables]), strict=True):
        try:
            if isinstance(content, Exception):
                raise SourceError(refusal_reason(content))
            rows = parse_csv(content)
            warnings += [f"{file.path}: {warning}" for warning in _add(rows, file, cohort, config, columns)]
        except SourceError as error:
            warnings.append(f"{file.path}: {error}; the table was left out")
    return Tables(columns, tuple(warnings))


def parse_csv(content: bytes) -> list[dict[str, str]]:
    """Rows of a CSV file by column name; encoding (UTF-8, UTF-16, GB 18030, Latin-1) and separator are detected.

    Raises
    ------
    SourceError
        If there is no header with two columns, or a name occurs twice.
    """
    text = _decode(content)
    lines = text.splitlines()
    header = next((line for line in lines if line.strip()), "")
    separator = max(",;\t|", key=header.count)
    try:
        lines_of = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        rows = [row for row in lines_of if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise SourceError(f"cannot be read as a table ({error}); save it again as CSV") from error
    if not rows or len(rows[0]) < 2:
        raise SourceError("expected a header line with at least two columns separated by comma, semicolon, tab or |")
    names = [cell.strip() for cell in rows[0]]
    if len(names) > _MOST_COLUMNS:
        raise SourceError(f"{len(names)} columns, expected {_MOST_COLUMNS} or fewer; is this a table of patients?")
    rows = [row + [""] * (len(names) - len(row)) for row in rows]
    # Spreadsheets leave separators behind the last column: without a name and without values, it is no column
    kept = [i for i, name in enumerate(names) if name or any(row[i].strip() for row in rows)]
    names = [names[i] for i in kept]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise SourceError(f"the column {twice[0]!r} occurs twice; rename one")
    return [dict(zip(names, (row[i].strip() for i in kept), strict=True)) for row in rows[1:]]


def _decode(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    # Chinese characters are pairs of high bytes; accented letters stand alone, though many read as GB 18030 as well
    high, paired = (sum(map(len, re.findall(pattern, content))) for pattern in (rb"[\x80-\xff]", rb"[\x80-\xff]{2,}"))
    for encoding in ("utf-8-sig", *(["gb18030"] if 2 * paired > high else [])):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


def _add(
    rows: Sequence[Mapping[str, str]],
    file: File,
    cohort: Cohort,
    config: SourceConfig,
    columns: dict[str, tuple[Variable, NDArray[Any]]],
) -> list[str]:
    """Add a table's columns; return what could not be placed."""
    if not rows:
        raise SourceError("no rows below the header")
    names = list(rows[0])
    patient_column = _find(names, PATIENT_ALIASES, config, "patient")
    if patient_column is None:
        raise SourceError(
            f'no column of patient numbers among {names}; name it in a TOML file: [columns] "…" = "patient"'
        )
    sequence_column = _find(names, SEQUENCE_ALIASES, config, "sequence")
    patients = {_key(label): i for i, label in enumerate(cohort.patients)}
    sequences = {plain(label): i for i, label in enumerate(cohort.sequences)}
    by_scan = sequence_column is not None and {plain(r.get(sequence_column, "")) for r in rows} <= sequences.keys()

    placed: dict[tuple[int, ...], Mapping[str, str]] = {}
    strangers, repeated = [], []
    for row in rows:
        patient = patients.get(_key(row[patient_column]))
        if patient is None:
            strangers.append(row[patient_column])
            continue
        at = (patient, sequences[plain(row[str(sequence_column)])]) if by_scan else (patient,)
        if at in placed and placed[at] != row:
            repeated.append(row[patient_column])
        placed.setdefault(at, row)
    shape = (len(cohort.patients), len(cohort.sequences))[: 1 + by_scan]
    warnings = [f"{len(strangers)} rows of patients who have no folder"] if strangers else []
    warnings += [f"{len(repeated)} patients have several rows; the first is kept"] if repeated else []
    staged: dict[tuple[str, ClinicalField | None], dict[tuple[int, ...], str]] = {}
    for name in names:
        if name != patient_column and not (by_scan and name == sequence_column):
            values = {at: row.get(name, "") for at, row in placed.items()}
            known = None if by_scan else _known(name, config)
            if known is not None and known.name == "clinical_stage" and (parts := split_tnm(values)):
                staged |= {(name, known_field(stage)): part for stage, part in zip("TNM", parts, strict=True)}
                known = None
            warnings += _place(name, known, values, shape, file, config, columns)
    for (name, stage), part in staged.items():  # last: a column of T alone says it better
        if stage is not None and stage.name not in columns:
            _place(name, stage, part, shape, file, config, columns)
    return warnings


def _find(names: Sequence[str], aliases: Sequence[str], config: SourceConfig, meaning: str) -> str | None:
    named = next((name for name in names if config.columns.get(name) == meaning), None)
    by_alias = {plain(name): name for name in reversed(names)}
    return named or next((by_alias[alias] for alias in aliases if alias in by_alias), None)


def _key(label: str) -> str:
    """Patients are "001" in one table and "1" or "1.0" in another."""
    text = label.strip().lower()
    return str(int(float(text))) if re.fullmatch(r"\d{1,9}(\.0*)?", text) else text


def _place(
    name: str,
    known: ClinicalField | None,
    entries: Mapping[tuple[int, ...], str],
    shape: tuple[int, ...],
    file: File,
    config: SourceConfig,
    columns: dict[str, tuple[Variable, NDArray[Any]]],
) -> list[str]:
    """Make one variable of one column: a known clinical field, or the column as it is; return what to look at."""
    # in lower case: some file systems make one folder of "age" and "Age"
    used = {name.lower() for name in (*columns, *RESERVED)}
    if known is not None and known.name in used:
        known = None
    values = read_values(name, entries, shape, known)
    numeric = values.column.dtype.kind == "f"
    label = known.name if known is not None else _label(name, file, config, used)
    columns[label] = (
        Variable(
            label,
            SCAN[: len(shape)],
            "float64" if numeric else "string",
            name if known is None else known.description,
            known.units if known is not None and numeric else None,
            {"source_table": file.name, "source_column": name, **values.attributes},
        ),
        values.column,
    )
    return list(values.warnings)


def _label(name: str, file: File, config: SourceConfig, used: set[str]) -> str:
    """Name a column that is no clinical field: as it is called, and told apart by its table where that is taken."""
    # a label names a folder or an object of every store: no separators, nothing that a file system refuses
    label = re.sub(r'[\s/\\:*?"<>|\x00-\x1f\x7f]+', "_", name.strip()).lstrip("_.")[:_LONGEST_LABEL] or "unnamed"
    label = config.columns.get(name) or (f"{label}_" if label.lower() in ("c", "zarr.json") else label)
    if label.lower() in used:
        label = f"{file.name.rpartition('.')[0]}_{label}"
    while label.lower() in used:
        label += "_"
    return label


def _known(name: str, config: SourceConfig) -> ClinicalField | None:
    named = config.columns.get(name)
    return known_field(name) if named is None else next((f for f in CLINICAL if f.name == named), None)
