"""Clinical tables: CSV files in, columns by patient or by scan out; every column is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import SourceError
from npczarr.model.clinical import CLINICAL, ClinicalField, known_field
from npczarr.model.cohort import Cohort, File
from npczarr.model.messages import first_of
from npczarr.model.schema import RESERVED, SCAN, VISIT, VISIT_ORDER, Variable
from npczarr.model.visit_order import VISIT_TIME, describe_unordered, places_of_visits
from npczarr.sources.column_remarks import name_codes, name_empty, name_events
from npczarr.sources.column_values import ColumnValues, may_group_thousands, read_values, split_tnm
from npczarr.sources.config import SourceConfig
from npczarr.sources.csv_files import WORKBOOK, parse_csv, separator_of
from npczarr.sources.files import Source, refusal_reason
from npczarr.sources.joined_columns import COLUMN, TABLE, Apart, Column, contradictions, join, name_apart
from npczarr.sources.table_rows import At, PlacedRows, Row, place_rows

_LONGEST_LABEL = 80
_SESSIONS = re.compile(r"(?:.*/)?sub-([^/]+)_sessions\.tsv")
Columns = dict[str, Column]
#: Column, the field that a part of it is, and the part.
_Part = tuple[str, ClinicalField, Mapping[At, str]]


@dataclass(slots=True, eq=False)
class _Table:
    """A table while its columns are placed.

    Parameters
    ----------
    file, placed
        The table, and its rows.
    header
        Names of its columns.
    thousands
        Whether it may write 1234 as 1.234.
    given
        Names in the store of the columns that it gave.
    apart
        Those that contradict an earlier table.
    """

    file: File
    placed: PlacedRows
    header: frozenset[str]
    thousands: bool
    given: set[str] = field(default_factory=set)
    apart: list[Apart] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Tables:
    """Columns of every table, ready for the store; what is odd about them is noted until they are there.

    Parameters
    ----------
    columns
        Values by variable: (patient,) or (patient, sequence), float64 or object (str).
    warnings
        Tables and rows that could not be used, and why.
    used, unused
        Names of the tables that were understood, and of those that were left out.
    kept
        Names of columns, in lower case, that are taken though they tell who the patients are.
    """

    columns: Mapping[str, tuple[Variable, NDArray[Any]]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    used: frozenset[str] = frozenset()
    unused: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()


def read_tables(source: Source, cohort: Cohort, config: SourceConfig) -> Tables:
    """Read a cohort's tables; one that cannot be understood is a warning and costs no scan.

    Subject and session of each visit are columns too, where the cohort has sessions.
    """
    columns = _visit_columns(cohort, config)
    warnings = [f"{file.path}: {WORKBOOK}; the table was left out" for file in cohort.strays if _is_workbook(file)]
    used = set()
    placer = _Placer(cohort, config, columns)
    for file, rows, thousands in _tables(source, cohort, warnings):
        try:
            found = placer.add(rows, file, thousands=thousands)
            warnings += [f"{file.path}: {warning}" for warning in found]
            used.add(file.name)
        except SourceError as error:
            warnings.append(f"{file.path}: {error}; the table was left out")
    warnings += name_events(columns)
    unused = {file.name for file in cohort.tables} - used
    return Tables(columns, (*warnings, *_unordered(cohort, config, columns)), frozenset(used), frozenset(unused))


def _is_workbook(file: File) -> bool:
    """Whether a file is a table of a spreadsheet program; what such a program leaves beside an open one is none."""
    return file.name.lower().endswith((".xlsx", ".xls", ".xlsm", ".ods")) and not file.name.startswith(("~$", "."))


def _visit_columns(cohort: Cohort, config: SourceConfig) -> Columns:
    """Subject and session of each patient of the cohort, and the order of sessions where it is declared."""
    if not cohort.visits:
        return {}
    visits = [cohort.visits[label] for label in cohort.patients]
    subject, session = VISIT
    if config.visits:
        session = replace(session, attributes={**session.attributes, VISIT_ORDER: json.dumps(config.visits)})
    return {
        subject.name: (subject, np.array([visit.subject for visit in visits], dtype=object)),
        session.name: (session, np.array([visit.session for visit in visits], dtype=object)),
    }


def _unordered(cohort: Cohort, config: SourceConfig, columns: Columns) -> list[str]:
    """Say whose visits have no order."""
    if not cohort.visits:
        return []
    visits = [cohort.visits[label] for label in cohort.patients]
    times = [str(time) for time in columns[VISIT_TIME][1]] if VISIT_TIME in columns else []
    subjects = [visit.subject for visit in visits]
    sessions = [visit.session for visit in visits]
    places = places_of_visits(subjects, sessions, declared=config.visits, times=times)
    problem = describe_unordered(cohort.patients, subjects, places)
    return [problem] if problem else []


def _tables(source: Source, cohort: Cohort, warnings: list[str]) -> Iterator[tuple[File, list[dict[str, str]], bool]]:
    """Yield each table's rows, and whether it may have separators of thousands.

    The tables of sessions that BIDS has for each subject are one table.
    """
    of_sessions: list[dict[str, str]] = []
    first = None
    for file, content in zip(cohort.tables, source.read([file.path for file in cohort.tables]), strict=True):
        try:
            if isinstance(content, Exception):
                raise SourceError(refusal_reason(content))
            rows = parse_csv(content)
        except SourceError as error:
            warnings.append(f"{file.path}: {error}; the table was left out")
            continue
        if match := _SESSIONS.fullmatch(file.path):
            of_sessions += [{"participant_id": match[1], **row} for row in rows]
            first = first or file
        else:
            yield file, rows, may_group_thousands(rows, separator_of(content))
    if first is not None:
        yield first, of_sessions, False


class _Placer:
    """Places the columns of one table after another, each among those of the tables before it."""

    def __init__(self, cohort: Cohort, config: SourceConfig, columns: Columns) -> None:
        self._cohort, self._config, self._columns = cohort, config, columns
        self._headers: dict[str, frozenset[str]] = {}  # by column, those of the tables that gave it

    def add(self, rows: Sequence[Row], file: File, *, thousands: bool) -> list[str]:
        """Add a table's columns; return what could not be placed."""
        if not rows:
            raise SourceError("no rows below the header")
        placed = place_rows(rows, self._cohort, self._config)
        every = dict.fromkeys(name for row in rows for name in row)
        names = [name for name in every if name not in placed.keys]
        meanings = _meanings(names, placed, self._config)
        warnings = list(placed.warnings)
        if not meanings and _should_be_known(names, placed, file, self._config):
            warnings.append(_nothing_known(names))
        warnings += name_empty(names, rows, placed)
        table = _Table(file, placed, frozenset(every), thousands)
        parts: list[_Part] = []
        for name in names:
            values = {at: row.get(name, "") for at, row in placed.rows.items()}
            known = meanings.get(name)
            if known is not None and (stages := _tnm_parts(name, known, values)):
                parts += stages
                known = None
            warnings += self._place(name, known, values, table)
        for name, stage, part in parts:  # last: a column of T alone says it better
            if stage.name not in table.given:
                self._place(name, stage, part, table)
        return [*warnings, *name_apart(table.apart, self._cohort.patients)]

    def _place(self, name: str, known: ClinicalField | None, entries: Mapping[At, str], table: _Table) -> list[str]:
        """Make one variable of one column: a known clinical field, or the column as it is; return what to look at."""
        # in lower case: some file systems make one folder of "age" and "Age"
        used = {label.lower() for label in (*self._columns, *RESERVED)}
        label = _label(name, table.file, self._config, ()) if known is None else known.name
        values, column = self._read(name, label, known, entries, table)
        twice: list[str] = []
        before = self._like(label, table, is_known=known is not None)
        differ = None if before is None else contradictions(before, column)
        if before is not None and differ == ():
            column = join(before, column)
        elif label.lower() in used:
            free = _label(name, table.file, self._config, used)
            values, column = self._read(name, free, None, entries, table)
            if before is not None:
                table.apart.append(Apart(before[0], free, differ or ()))
            elif known is not None and label in table.given:
                first = self._columns[label][0].attributes[COLUMN]
                twice = [f"{label} is column {first!r}; column {name!r} is kept apart, as {free}"]
            label = free
        self._columns[label] = column
        self._headers.setdefault(label, table.header)
        table.given.add(label)
        return [*values.warnings, *twice, *name_codes(name, values, entries)]

    def _read(
        self, name: str, label: str, known: ClinicalField | None, entries: Mapping[At, str], table: _Table
    ) -> tuple[ColumnValues, Column]:
        meanings = self._config.values.get(known.name, {}) if known else {}
        values = read_values(name, entries, table.placed.shape, known, meanings, thousands=table.thousands)
        numeric = values.column.dtype.kind == "f"
        variable = Variable(
            label,
            SCAN[: len(table.placed.shape)],
            "float64" if numeric else "string",
            name if known is None else known.description,
            known.units if known is not None and numeric else None,
            {TABLE: table.file.name, COLUMN: name, **values.attributes},
        )
        return values, (variable, values.column)

    def _like(self, label: str, table: _Table, *, is_known: bool) -> Column | None:
        """Return the column of an earlier table that means the same: a clinical field, or one of the same header."""
        if label in table.given or not (is_known or self._headers.get(label) == table.header):
            return None
        return self._columns.get(label)


def _meanings(names: Sequence[str], placed: PlacedRows, config: SourceConfig) -> dict[str, ClinicalField]:
    """Clinical fields by column; a table of scans has none."""
    if placed.by_scan:
        return {}
    return {name: known for name in names if (known := _known(name, config)) is not None}


def _should_be_known(names: Sequence[str], placed: PlacedRows, file: File, config: SourceConfig) -> bool:
    """Whether it is odd that no column of a table is a clinical field."""
    of_patients = not placed.by_scan and not _SESSIONS.fullmatch(file.path)
    return bool(names) and of_patients and not config.columns.keys() & {*names}


def _tnm_parts(name: str, known: ClinicalField, values: Mapping[At, str]) -> list[_Part]:
    """Take a column that holds T, N and M apart; nothing where it holds a stage."""
    parts = split_tnm(values) if known.name == "clinical_stage" else None
    if parts is None:
        return []
    stages = [stage for letter in "TNM" if (stage := known_field(letter)) is not None]
    return [(name, stage, part) for stage, part in zip(stages, parts, strict=True)]


def _nothing_known(names: Sequence[str]) -> str:
    shown = first_of(names)
    return (
        f"none of its columns ({shown}) is a clinical field that is known by its name: all were kept as they are. If "
        "some hold age, sex, stage or survival, say so in a TOML file, which `npczarr columns` begins for you"
    )


def _label(name: str, file: File, config: SourceConfig, used: Collection[str]) -> str:
    """Name a column that is no clinical field: as it is called, with its table's name where that is taken."""
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
