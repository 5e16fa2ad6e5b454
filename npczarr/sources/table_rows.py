"""Which row of a clinical table is of which row of the store: by patient, by visit, or by scan."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from npczarr.errors import SourceError
from npczarr.model.clinical import PATIENT_ALIASES, SEQUENCE_ALIASES, SESSION_ALIASES, plain
from npczarr.model.cohort import Cohort
from npczarr.sources.config import SourceConfig

At = tuple[int, ...]
Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PlacedRows:
    """The rows of a table by their place in the store.

    Parameters
    ----------
    rows
        By (patient,) or (patient, sequence).
    keys
        Columns that say whose row it is; they are no values.
    shape
        Length of each of these dimensions.
    warnings
        Rows that have no place.
    """

    rows: Mapping[At, Row]
    keys: tuple[str, ...]
    shape: tuple[int, ...]
    warnings: tuple[str, ...]

    @property
    def by_scan(self) -> bool:
        """Whether each row is of one scan."""
        return len(self.shape) == 2


def place_rows(rows: Sequence[Row], cohort: Cohort, config: SourceConfig) -> PlacedRows:
    """Find the place of each row; a row of a subject without a session is of all the subject's visits.

    Raises
    ------
    SourceError
        If no column holds patient numbers.
    """
    names = list(rows[0])
    patient = find_column(names, PATIENT_ALIASES, config, "patient")
    if patient is None:
        raise SourceError(
            f'no column of patient numbers among {names}; name it in a TOML file: [columns] "…" = "patient"'
        )
    session = find_column(names, SESSION_ALIASES, config, "session") if cohort.visits else None
    sequence = _sequence_column(rows, cohort, config)
    people = _People(cohort)
    sequences = {plain(label): i for i, label in enumerate(cohort.sequences)}
    placed: dict[At, Row] = {}
    strangers, repeated = 0, 0
    for row in _visits_first(rows, session):
        found = people.find(row[patient], row[session] if session else "")
        strangers += not found
        places: list[At] = [(i,) if sequence is None else (i, sequences[plain(row[sequence])]) for i in found]
        repeated += not _is_news(row, [placed[at] for at in places if at in placed], session)
        for at in places:
            placed.setdefault(at, row)
    shape = (len(cohort.patients),) if sequence is None else (len(cohort.patients), len(cohort.sequences))
    keys = tuple(name for name in (patient, session, sequence) if name is not None)
    return PlacedRows(placed, keys, shape, _remarks(strangers, repeated))


def _sequence_column(rows: Sequence[Row], cohort: Cohort, config: SourceConfig) -> str | None:
    """Find the column of sequences, if its entries are those of the cohort; else the column has another meaning."""
    name = find_column(list(rows[0]), SEQUENCE_ALIASES, config, "sequence")
    known = {plain(label) for label in cohort.sequences}
    return name if name is not None and {plain(row.get(name, "")) for row in rows} <= known else None


def _remarks(strangers: int, repeated: int) -> tuple[str, ...]:
    said = [f"{strangers} rows of patients who have no folder"] if strangers else []
    return (*said, *([f"{repeated} patients have several rows; the first is kept"] if repeated else []))


def find_column(names: Sequence[str], aliases: Sequence[str], config: SourceConfig, meaning: str) -> str | None:
    """Find the column of a meaning: the one that the configuration names, else by its name."""
    named = next((name for name in names if config.columns.get(name) == meaning), None)
    by_alias = {plain(name): name for name in reversed(names) if config.columns.get(name, meaning) == meaning}
    return named or next((by_alias[alias] for alias in aliases if alias in by_alias), None)


class _People:
    """Rows of the store by how tables call patients and visits."""

    def __init__(self, cohort: Cohort) -> None:
        self._by_label = {patient_key(label): [i] for i, label in enumerate(cohort.patients)}
        self._by_subject: dict[str, list[int]] = {}
        self._by_visit: dict[tuple[str, str], list[int]] = {}
        for i, label in enumerate(cohort.patients):
            if label in cohort.visits:
                subject, session = cohort.visits[label].subject, cohort.visits[label].session
                self._by_subject.setdefault(patient_key(subject), []).append(i)
                self._by_visit[patient_key(subject), session_key(session)] = [i]

    def find(self, patient: str, session: str) -> list[int]:
        """Return the rows of the store that a row is of: one visit where it names one, else all of the subject."""
        key = patient_key(patient)
        if session:
            return self._by_visit.get((key, session_key(session)), [])
        return self._by_label.get(key) or self._by_subject.get(key, [])


def _visits_first(rows: Sequence[Row], session: str | None) -> list[Row]:
    """Rows that name a session come first: what is said of a visit goes before what is said of the subject."""
    return list(rows) if session is None else sorted(rows, key=lambda row: not row[session])


def _is_news(row: Row, placed: Sequence[Row], session: str | None) -> bool:
    """Whether the place of a row is free, or what is there says the same, or says it of the visit alone."""
    return all(one == row or (session is not None and bool(one[session]) and not row[session]) for one in placed)


def patient_key(label: str) -> str:
    """Patients are "001" in one table and "1", "1.0" or "sub-001" in another."""
    text = re.sub("^sub-", "", label.strip().lower())
    return str(int(float(text))) if re.fullmatch(r"\d{1,9}(\.0*)?", text) else text


def session_key(label: str) -> str:
    """Sessions are "02" in one table and "2" or "ses-02" in another."""
    text = re.sub("^ses-", "", label.strip().lower())
    return str(int(float(text))) if re.fullmatch(r"\d{1,9}(\.0*)?", text) else text
