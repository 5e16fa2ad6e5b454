"""Which row of a clinical table is of which row of the store: by patient, by visit, or by scan."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from npczarr.model.clinical import SEQUENCE_ALIASES, SESSION_ALIASES, plain
from npczarr.model.cohort import Cohort
from npczarr.model.messages import first_of
from npczarr.sources.config import SourceConfig
from npczarr.sources.entry_labels import EntryLabels
from npczarr.sources.patient_column import choose_patient_column

_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_FEW = 6  # entries that a remark shows

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
        Rows that have no place, and a choice of columns that is not plain to see.
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
        If no column holds patient numbers, or several hold different ones.
    """
    names = list(rows[0])
    people = _People(cohort)
    sequences = EntryLabels(cohort.sequences, plain)
    patient, doubts = choose_patient_column(rows, people.find, config.columns)
    session = find_column(names, SESSION_ALIASES, config, "session") if cohort.visits else None
    sequence = _sequence_column(rows, sequences, config)
    placed: dict[At, Row] = {}
    left_out = _LeftOut(frozenset(row[patient].strip() for row in rows), by_scan=sequence is not None)
    for row in _visits_first(rows, session):
        visit = row.get(session, "") if session else ""
        found = left_out.check_patient(row[patient], people.find(row[patient]))
        people_rows = left_out.check_visit(visit, found, [i for name in found for i in people.rows(name, visit)])
        places: list[At] = [(i,) for i in people_rows]
        if sequence is not None and places:
            of_scan = left_out.check_sequence(row.get(sequence, ""), sequences.find(row.get(sequence, "")))
            places = [(i, cohort.sequences.index(label)) for i in people_rows for label in of_scan]
        for at in places:
            if at in placed and not _is_same(row, placed[at], session):
                left_out.repeated.add(at)
            placed.setdefault(at, row)
    strange = [row[patient] for row in rows if not people.find(row[patient])]
    hints = [] if config.patient else _hints_at_numbers(strange, cohort, none_found=not placed)
    shape = (len(cohort.patients),) if sequence is None else (len(cohort.patients), len(cohort.sequences))
    keys = tuple(name for name in (patient, session, sequence) if name is not None)
    return PlacedRows(placed, keys, shape, (*doubts, *left_out.remarks(cohort), *hints))


def _hints_at_numbers(strange: Sequence[str], cohort: Cohort, *, none_found: bool) -> list[str]:
    """Say that rows of patients who have no folder may be joined by the PatientID of the headers.

    Parameters
    ----------
    strange
        Entries that name no patient of the cohort.
    none_found
        Whether no row of the table has a place.
    """
    numbers = EntryLabels({number for several in cohort.numbers.values() for number in several}, patient_key)
    known = sum(bool(numbers.find(entry)) for entry in strange)
    advice = '[layout] patient = "PatientID" in a TOML file (--config)'
    if known:
        return [f"{known} of these rows have the PatientID of a header: {advice} joins them, and makes it the label"]
    images = (file for scan in cohort.scans.values() for file in scan.images[:1])
    if cohort.numbers or not (strange and none_found) or any(_NIFTI.search(file.path) for file in images):
        return []
    return [f"if they are written as PatientID in the headers, {advice} joins them, and makes it the label"]


def _sequence_column(rows: Sequence[Row], sequences: EntryLabels, config: SourceConfig) -> str | None:
    """Find the column of sequences: the one that is declared, else one with an entry that is a sequence."""
    name = find_column(list(rows[0]), SEQUENCE_ALIASES, config, "sequence")
    if name is None or config.columns.get(name) == "sequence":
        return name
    return name if any(sequences.find(row.get(name, "")) for row in rows) else None


@dataclass
class _LeftOut:
    """Rows that have no place, by the reason; entries are those of the column of patients."""

    entries: frozenset[str]
    by_scan: bool
    strangers: int = 0
    unclear: dict[str, str] = field(default_factory=dict)
    visits: Counter[str] = field(default_factory=Counter)
    sequences: Counter[str] = field(default_factory=Counter)
    repeated: set[At] = field(default_factory=set)

    def check_patient(self, entry: str, found: tuple[str, ...]) -> tuple[str, ...]:
        """Return the patient that an entry means, and note where there is none or several."""
        if len(found) > 1:
            self.unclear[entry] = f"{entry!r} may be any of {', '.join(found)}"
            return ()
        if entry.strip() not in found and self.entries & {*found}:
            self.unclear[entry] = f"{entry!r} may be another than {found[0]}, who has a row"
            return ()
        self.strangers += not found
        return found

    def check_visit(self, entry: str, found: tuple[str, ...], rows: list[int]) -> list[int]:
        """Return the rows of a patient's visit, and note where the patient has none of this name."""
        self.visits[entry] += bool(found) and not rows
        return rows

    def check_sequence(self, entry: str, found: tuple[str, ...]) -> tuple[str, ...]:
        """Return the sequence that an entry means, and note where there is none or several."""
        self.sequences[entry] += len(found) != 1
        return found if len(found) == 1 else ()

    def remarks(self, cohort: Cohort) -> tuple[str, ...]:
        """Say which rows were left out, and which are not the only ones of their patient."""
        said = [f"{self.strangers} rows of patients who have no folder"] if self.strangers else []
        if self.unclear:
            shown = "; ".join(list(self.unclear.values())[:_FEW]) + ("; …" if len(self.unclear) > _FEW else "")
            said.append(
                f"rows of {len(self.unclear)} patients were left out; write them as folders are called: {shown}"
            )
        for what, entries in (("visits", +self.visits), ("sequences", +self.sequences)):
            if entries:
                shown = first_of([repr(entry) for entry in entries])
                said.append(f"{entries.total()} rows of {what} that the images have not ({shown}) were left out")
        if self.repeated:
            several = len(self.repeated) > 1
            whose = ("scan" if self.by_scan else "patient") + ("s have" if several else " has")
            shown = first_of([" ".join(_labels(at, cohort)) for at in sorted(self.repeated)])
            said.append(f"{len(self.repeated)} {whose} several rows that differ ({shown}); the first is kept")
        return tuple(said)


def _labels(at: At, cohort: Cohort) -> list[str]:
    return [labels[i] for i, labels in zip(at, (cohort.patients, cohort.sequences), strict=False)]


def find_column(names: Sequence[str], aliases: Sequence[str], config: SourceConfig, meaning: str) -> str | None:
    """Find the column of a meaning: the one that the configuration names, else by its name."""
    named = next((name for name in names if config.columns.get(name) == meaning), None)
    by_alias = {plain(name): name for name in reversed(names) if config.columns.get(name, meaning) == meaning}
    return named or next((by_alias[alias] for alias in aliases if alias in by_alias), None)


class _People:
    """Rows of the store by how tables call patients and visits."""

    def __init__(self, cohort: Cohort) -> None:
        self._by_label = {label: i for i, label in enumerate(cohort.patients)}
        self._by_visit: dict[str, dict[str, int]] = {}
        for i, label in enumerate(cohort.patients):
            if label in cohort.visits:
                visit = cohort.visits[label]
                self._by_visit.setdefault(visit.subject, {})[visit.session] = i
        self._names = EntryLabels([*self._by_visit, *cohort.patients], patient_key)

    def find(self, entry: str) -> tuple[str, ...]:
        """Return the patient or subject that an entry means; several where it may mean any of them."""
        return self._names.find(entry)

    def rows(self, name: str, session: str) -> list[int]:
        """Return the rows of the store of a patient or subject: of one visit where it is named, else of all."""
        visits = self._by_visit.get(name, {})
        if session:
            found = EntryLabels(visits, session_key).find(session)
            return [visits[found[0]]] if len(found) == 1 else []
        return [self._by_label[name]] if name in self._by_label else list(visits.values())


def _visits_first(rows: Sequence[Row], session: str | None) -> list[Row]:
    """Rows that name a session come first: what is said of a visit goes before what is said of the subject."""
    return list(rows) if session is None else sorted(rows, key=lambda row: not row.get(session))


def _is_same(row: Row, placed: Row, session: str | None) -> bool:
    """Whether what is at a row's place says the same, or says it of the visit alone."""
    return placed == row or (session is not None and bool(placed.get(session)) and not row.get(session))


def patient_key(label: str) -> str:
    """Patients are "001" in one table and "1", "1.0" or "sub-001" in another."""
    return _number_or_text(re.sub("^sub-", "", _one_case(label)))


def session_key(label: str) -> str:
    """Sessions are "02" in one table and "2" or "ses-02" in another."""
    return _number_or_text(re.sub("^ses-", "", _one_case(label)))


def _one_case(label: str) -> str:
    return unicodedata.normalize("NFC", label.strip().lower())


def _number_or_text(text: str) -> str:
    return str(int(float(text))) if re.fullmatch(r"\d{1,9}(\.0*)?", text) else text
