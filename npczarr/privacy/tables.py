"""Tables in a cleaned copy: without columns that tell who someone is, under the new names of patients and visits."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from npczarr.errors import SourceError
from npczarr.model.clinical import PATIENT_ALIASES, SESSION_ALIASES, plain
from npczarr.model.identifiers import identifies_beside_labels, identity_words, is_date, is_plain_visit, tells_who
from npczarr.privacy.names import Renamed
from npczarr.sources.column_values import are_spreadsheet_days
from npczarr.sources.config import SourceConfig
from npczarr.sources.csv_files import parse_csv
from npczarr.sources.labels import natural
from npczarr.sources.table_rows import find_column, patient_key, session_key

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class _Keys:
    """Columns that say whose row it is; session is "" where there is none."""

    patient: str
    session: str


def clean_table(
    content: bytes, renamed: Renamed, layout: SourceConfig, separator: str = ","
) -> tuple[bytes, list[str]]:
    """Clean a table of patients.

    Columns whose names say that they tell who someone is are left out, and so are those of dates as numbers of a
    spreadsheet program, and the rows of whoever has no folder.
    Entries that hold a word of what was left out of their row, a date or a UID are emptied. Where patients have new
    names, rows are in their order.

    Parameters
    ----------
    content
        The table, in any encoding that :func:`npczarr.sources.csv_files.parse_csv` knows.
    renamed
        New names of the patients' folders, which replace the old ones in the column of patients.
    layout
        Which columns name patients and sessions, where their own names do not tell.
    separator
        Between the columns of the new table, which is UTF-8.

    Returns
    -------
    tuple
        The new table, and what was left out of it.

    Raises
    ------
    SourceError
        If it cannot be read, or its rows cannot follow the new names.
    """
    rows = parse_csv(content)
    names = list(rows[0]) if rows else []
    keys = _Keys(
        _patient_column(names, rows, renamed, layout), find_column(names, SESSION_ALIASES, layout, "session") or ""
    )
    left_out = [name for name in names if name != keys.patient and _must_go(name, rows, keys, renamed)]
    kept = [name for name in names if name not in left_out]
    emptied: Counter[str] = Counter()
    cleaned = []
    for row in rows:
        if (new := _new_keys(row, keys, renamed)) is not None:
            values = _without_words(row, kept, _words_of(row, left_out, keys, new), emptied, keys)
            cleaned.append(values | {name: value for name, value in new.items() if name in kept})
    if any(patient_key(name) != old for old, new_names in renamed.patients.items() for name in new_names):
        cleaned.sort(key=lambda row: natural(row[keys.patient]))  # rows in the order of the old names may tell them
    missing = len(rows) - len(cleaned)
    return _as_csv(kept, cleaned, separator), _remarks(left_out, emptied, missing)


def _patient_column(names: Sequence[str], rows: Sequence[Row], renamed: Renamed, layout: SourceConfig) -> str:
    """Find the column whose entries are names of patients' folders: of several, that with most of them."""
    if any(len(new) > 1 for new in renamed.patients.values()):
        raise SourceError(
            "folders of several patients have one name, so that it cannot be told whose its rows are; "
            "rename the folders"
        )
    declared = [name for name in names if layout.columns.get(name) == "patient"]
    candidates = declared or [name for name in names if plain(name) in PATIENT_ALIASES]
    counts = {name: sum(patient_key(row[name]) in renamed.patients for row in rows) for name in candidates}
    best = max(counts, key=lambda name: counts[name], default="")
    if not counts.get(best):
        raise SourceError(
            "no column holds the names of the patients' folders, so that its rows cannot follow their new names; name "
            'it in a TOML file (--config): [columns] "…" = "patient"; without --config the folder above a series is '
            "taken for the patient's"
        )
    return best


def _must_go(name: str, rows: Sequence[Row], keys: _Keys, renamed: Renamed) -> bool:
    """Whether a column may tell who someone is, or the day of anything; a second column of patients may."""
    if name == keys.session:
        return not renamed.visits and not all(is_plain_visit(row[name]) for row in rows)
    return identifies_beside_labels(name) or are_spreadsheet_days(name, [row[name] for row in rows if row[name]])


def _new_keys(row: Row, keys: _Keys, renamed: Renamed) -> Row | None:
    """Return what a row's patient and visit are called now; None where the copy has none of them."""
    patient = patient_key(row[keys.patient])
    if patient not in renamed.patients:
        return None
    (name,) = renamed.patients[patient]
    new = {keys.patient: row[keys.patient] if patient_key(name) == patient else name}
    if keys.session and row[keys.session] and renamed.visits:
        session = session_key(row[keys.session])
        if (patient, session) not in renamed.visits:
            return None
        visit = renamed.visits[patient, session]
        new[keys.session] = row[keys.session] if session_key(visit) == session else visit
    return new


def _words_of(row: Row, left_out: Sequence[str], keys: _Keys, new: Row) -> frozenset[str]:
    """Return words by which an entry of a row would tell what was left out of it, or what its patient was called."""
    old = [row[name] for name in (keys.patient, keys.session) if name and new.get(name, row[name]) != row[name]]
    return identity_words([*(row[name] for name in left_out), *old])


def _without_words(row: Row, kept: Sequence[str], words: frozenset[str], emptied: Counter[str], keys: _Keys) -> Row:
    values = {name: row[name] for name in kept}
    for name in kept:
        if name not in (keys.patient, keys.session) and (tells_who(row[name], words) or is_date(row[name])):
            values[name] = ""
            emptied[name] += 1
    return values


def _as_csv(names: Sequence[str], rows: Sequence[Mapping[str, str]], separator: str) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([row[name] for name in names] for row in rows)
    return out.getvalue().encode()


def _remarks(left_out: Sequence[str], emptied: Mapping[str, int], missing: int) -> list[str]:
    said = [f"column {name!r}: left out, for it may tell who the patients are" for name in left_out]
    said += [
        f"column {name!r}: {count} entries emptied, for they hold a date or a word that may tell who the patients are"
        for name, count in emptied.items()
    ]
    return said + (
        [f"{missing} rows left out: the source has no folder of their patients or visits"] if missing else []
    )
