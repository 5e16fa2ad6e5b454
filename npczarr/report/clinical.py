"""The clinical table: patients by stage and characteristic, and what a store's tables hold besides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from npczarr.model.categories import canonical, ranked
from npczarr.model.clinical import CLINICAL, MISSING, Times, is_missing_code, plain_number, read_times, unit_of
from npczarr.model.events import EVENTS, Events, read_events
from npczarr.report.published import CHARACTERISTICS, with_published
from npczarr.report.table_text import (
    Floats,
    describe_visits,
    first_visits,
    in_full,
    is_of_patients,
    known,
    labels,
    make_table,
    many,
    some,
    texts,
    three_digits,
)

Texts = NDArray[np.object_]
Columns = Mapping[str, NDArray[np.bool_]]
Rows = dict[tuple[str, str], dict[str, Any]]

NOT_STATED = "not stated"
#: What follows patients besides the paper's characteristics.
_BESIDES = {
    "death": "Death",
    "progression_free_survival": "Progression-free survival, months",
    "progression": "Progression",
}
_SIGNS = ("ebv", "vca")
_LABELS = CHARACTERISTICS | _BESIDES
_TIMES = {field.name: field for field in CLINICAL if field.units is not None}
_TITRES = 3  # distinct numbers from which a column of EBV or VCA holds measurements, not yes and no
_MOST_CODES = 5  # distinct whole numbers below 10 up to which they are codes all the same
_MOST = 12  # different entries that are counted apart


def clinical_stages(dataset: xr.Dataset) -> pd.DataFrame:
    """Table 4: number, sex, age, histology, TNM, EBV, VCA and survival of the patients in each clinical stage.

    Entries are read by meaning ("III", "T3" and "3" are one), and patients without an entry count as "not stated":
    every characteristic adds up to the number of patients.

    Returns
    -------
    pandas.DataFrame
        Rows by (characteristic, value); a column for each stage in their order, and `all`. Counts are int; numbers
        are written "mean (SD)", with n - 1, and "median [min, max]".
    """
    title = "Patients by clinical stage"
    notes, dataset = describe_visits(dataset), first_visits(dataset)
    stage = _entries(dataset, "clinical_stage")
    entries = {name: _entries(dataset, name) for name in _LABELS}
    notes += _absent(stage, entries)
    known_ones = {name: found for name, found in entries.items() if any(found)}
    if not any(stage) and not known_ones:
        return make_table({}, "characteristic", title, notes)
    unstaged = int((stage == "").sum())
    if any(stage) and unstaged:
        notes.append(f"{many(unstaged, 'patient has', 'patients have')} no clinical stage: column {NOT_STATED!r}.")
    columns = _stage_columns(stage)
    rows: Rows = {("N", ""): {label: int(its.sum()) for label, its in columns.items()}}
    for name, found in known_ones.items():
        label, values = _LABELS[name], _as_numbers(dataset, name, found)
        rows |= _counted(name, label, found, columns) if values is None else _spread(label, values, columns)
    table = make_table(rows, ("characteristic", "value"), title, notes + _doubts(dataset, stage, entries))
    return with_published(table, "clinical_stages", dataset)


def _absent(stage: Texts, entries: Mapping[str, Texts]) -> list[str]:
    """Name the characteristics that the store lacks, and say how to get them."""
    absent = [label.split(",")[0] for name, label in CHARACTERISTICS.items() if not any(entries[name])]
    if not any(stage):
        absent.insert(0, "clinical stage")
    if not absent:
        return []
    return [
        f"Not in the store: {', '.join(absent)}. Convert again with a table that holds what is missing; columns of "
        "other names are named in a TOML file (`npczarr convert SOURCE STORE --columns map.toml`)."
    ]


def _stage_columns(stage: Texts) -> dict[str, NDArray[np.bool_]]:
    """Patients of each stage, of no stage, and all."""
    columns: dict[str, NDArray[np.bool_]] = {label: stage == label for label in ranked("clinical_stage", stage)}
    if columns and (stage == "").any():
        columns[NOT_STATED] = stage == ""
    return columns | {"all": np.full(len(stage), True)}


def _entries(dataset: xr.Dataset, name: str) -> Texts:
    """Entries of the patients by meaning; all "" where there is no such column."""
    if name not in dataset.variables or not is_of_patients(dataset, name):
        return np.full(len(labels(dataset, "patient")), "", dtype=object)
    written = list(texts(dataset, name, ("patient",)))
    if name in _SIGNS and _codes(written):  # beside a 2 or a 9, nobody knows what 0 and 1 mean
        return np.array(canonical("", written), dtype=object)
    if name not in EVENTS:
        return np.array(canonical(name, written), dtype=object)
    events = _events(dataset, name, written)
    if events.problem:  # as the table has them
        return np.array(canonical("", written), dtype=object)
    return np.array([{None: "", True: "yes", False: "no"}[observed] for observed in events.observed], dtype=object)


def _events(dataset: xr.Dataset, name: str, written: list[str]) -> Events:
    return read_events(name, written, str(dataset[name].attrs.get("source_column", name)))


def _as_numbers(dataset: xr.Dataset, name: str, entries: Texts) -> Floats | None:
    """Entries as numbers; None where they are categories."""
    if name not in _TIMES:
        return _titres(dataset, name) if name in _SIGNS else None
    if dataset[name].dtype.kind == "f":
        return np.atleast_1d(dataset[name].values).astype(np.float64)
    return np.array(_times(dataset, name, entries).values)


def _times(dataset: xr.Dataset, name: str, entries: Texts) -> Times:
    """Read a column of times that is text, as its table has it."""
    return read_times(list(entries), _TIMES[name], unit_of(str(dataset[name].attrs.get("source_column", ""))))


def _titres(dataset: xr.Dataset, name: str) -> Floats | None:
    """Entries of EBV or VCA as measurements, where they are more than codes."""
    raw = texts(dataset, name, ("patient",))
    try:
        values = np.array([np.nan if text.lower() in MISSING else float(text) for text in raw])
    except ValueError:
        return None
    return values if len({*known(values)}) >= _TITRES and not _codes(raw) else None


def _codes(written: Iterable[str]) -> list[str]:
    """Entries of EBV or VCA that are codes of unknown meaning: few whole numbers below 10, other than 0 and 1 alone."""
    there = {text.strip() for text in written} - {text for text in written if text.strip().lower() in MISSING}
    numbers = {text: number for text in there if (number := plain_number(text)) is not None}
    own = {number for number in numbers.values() if not is_missing_code(number)}
    are_codes = len(own) <= _MOST_CODES and all(0 <= number < 10 and number.is_integer() for number in own)
    return sorted(numbers) if are_codes and not {*numbers.values()} <= {0, 1} else []


def _counted(name: str, label: str, entries: Texts, columns: Columns) -> Rows:
    """Count the entries of each column; of many different ones the rarest together."""
    common = Counter(entries[entries != ""])
    rare = [value for value, _ in common.most_common()[_MOST - 1 :]] if len(common) > _MOST else []
    others_label = f"{len(rare)} others"
    shown = entries.copy()
    shown[np.isin(shown.astype(str), rare)] = others_label
    shown[shown == ""] = NOT_STATED
    others = [value for value in (others_label, NOT_STATED) if value in shown]
    found = [value for value in ranked(name, shown) if value not in others] + others
    return {(label, value): {c: int((its & (shown == value)).sum()) for c, its in columns.items()} for value in found}


def _spread(label: str, values: Floats, columns: Columns) -> Rows:
    """Summarise the numbers of each column; one below 0 is no number of a patient, and survival leaves it out too."""
    values = np.where(values < 0, np.nan, values)
    there = {column: values[its & ~np.isnan(values)] for column, its in columns.items()}
    rows: Rows = {
        (label, "mean (SD)"): {column: _mean_and_sd(its) for column, its in there.items()},
        (label, "median [min, max]"): {column: _median_and_range(its) for column, its in there.items()},
    }
    if np.isnan(values).any():
        rows[label, NOT_STATED] = {column: int((its & np.isnan(values)).sum()) for column, its in columns.items()}
    return rows


def _mean_and_sd(values: Floats) -> str:
    if len(values) < 2:
        return three_digits(float(values[0])) if len(values) else ""
    return f"{three_digits(float(values.mean()))} ({three_digits(float(values.std(ddof=1)))})"


def _median_and_range(values: Floats) -> str:
    if not len(values):
        return ""
    return "{} [{}, {}]".format(*(in_full(float(f(values))) for f in (np.median, np.min, np.max)))


def _doubts(dataset: xr.Dataset, stage: Texts, entries: Mapping[str, Texts]) -> list[str]:
    """Say what in the store itself cannot be right, or was not understood."""
    notes = []
    for name, found in entries.items():
        if any(found):
            notes += [f"{_LABELS[name]}: {said}." for said in _left_out(dataset, name, found)]
    for name in EVENTS:
        if any(entries[name]):
            events = _events(dataset, name, list(texts(dataset, name, ("patient",))))
            notes += [f"{_LABELS[name]}: {said}." for said in (events.problem, events.doubt) if said]
    if codes := sorted({*entries["sex"]} & {"0", "1", "2"}):
        notes.append(f"Sex: the table has codes for it and does not say which is which; {_declare('sex', codes[0])}.")
    for name in _SIGNS:
        if any(entries[name]) and (codes := _codes(texts(dataset, name, ("patient",)))):
            what = f"the table has codes ({some(codes)}) and does not say what each means"
            notes.append(f"{_LABELS[name]}: {what}; {_declare(name, codes[0])}.")
    return notes + _doubts_of_m1(stage, entries["m_stage"])


def _declare(name: str, code: str) -> str:
    """Tell how to say what codes mean."""
    meaning = "negative" if name in _SIGNS else "female"
    toml = f'[values.{name}] "{code}" = "{meaning}"'
    return f"say in a TOML file what every entry means, as in {toml}, and convert again with --config"


def _left_out(dataset: xr.Dataset, name: str, entries: Texts) -> list[str]:
    """Say what of a column of numbers is in no mean."""
    numbers = _as_numbers(dataset, name, entries)
    if numbers is None:
        return []
    left_out = f"left out and counted as {NOT_STATED!r}"
    said = []
    recorded = map(str, dataset[name].attrs.get("missing_codes", ()))
    codes = {code for code in recorded if plain_number(code) is not None}
    if name in _TIMES and dataset[name].dtype.kind != "f":
        read = _times(dataset, name, entries)
        codes |= {*read.codes}
        said += [f"no number in {some(read.odd)}, {left_out}"] if read.odd else []
    if codes:
        said.append(f"{some(sorted(codes))} taken for not known, {left_out}")
    if below := int((numbers < 0).sum()):
        said.append(f"{many(below, 'entry is', 'entries are')} below 0, {left_out}")
    return said


def _doubts_of_m1(stage: Texts, m_stage: Texts) -> list[str]:
    """Count the patients whose M stage and clinical stage exclude each other."""
    # AJCC, 8th edition: M1 is stage IVB whatever T and N, and only M1 is; in the 7th it was IVC, in the 9th M1a is IVA
    of_m1 = "4c" if "4c" in stage else "4b"
    distant = np.array([entry.startswith("M1") for entry in m_stage], dtype=bool)
    of_9th = (m_stage == "M1a") & (stage == "4a")
    wrong = int(((stage == of_m1) & (m_stage == "M0")).sum())
    wrong += int((distant & ~of_9th & ~np.isin(stage, ["4", of_m1, ""])).sum())
    if not wrong:
        return []
    return [f"{many(wrong, 'patient is', 'patients are')} M1 but not of stage {of_m1}, or the reverse."]


def clinical_columns(dataset: xr.Dataset) -> pd.DataFrame:
    """List the columns of the clinical tables in a store: what npczarr knows, and what it kept without knowing.

    Returns
    -------
    pandas.DataFrame
        A row for each variable: the table and `column` it comes from, `meaning` ("" where unknown), `units`, number of
        `entries`, and `values`: the range of numbers, or some of the text.
    """
    title = "Columns of the clinical tables"
    meanings = {field.name: field.description for field in CLINICAL}
    rows = {
        str(name): _column_row(variable, meanings.get(str(name), ""))
        for name, variable in dataset.variables.items()
        if "source_column" in variable.attrs
    }
    if not rows:
        return make_table({}, "variable", title, ["The store holds no clinical table: convert again with CSV files."])
    rows = dict(sorted(rows.items(), key=lambda row: (row[1]["meaning"] == "", [*meanings, row[0]].index(row[0]))))
    unknown = [name for name, row in rows.items() if not row["meaning"]]
    notes = [f"Kept as they are, for npczarr does not know what they mean: {', '.join(unknown)}."] if unknown else []
    return make_table(rows, "variable", title, notes)


def _column_row(variable: xr.Variable, meaning: str) -> dict[str, Any]:
    values = np.atleast_1d(variable.values).ravel()
    number = values.dtype.kind == "f"
    there = values[~np.isnan(values)] if number else np.array([str(v) for v in values if str(v)], dtype=object)
    return {
        "table": variable.attrs.get("source_table", ""),
        "column": variable.attrs["source_column"],
        "meaning": meaning,
        "units": variable.attrs.get("units", ""),
        "entries": len(there),
        "values": _range(there) if number and len(there) else some(sorted({*there})),
    }


def _range(values: Floats) -> str:
    return f"{in_full(values.min())} to {in_full(values.max())}"
