"""Times and events of a cohort's patients, as survival is computed from them; refused where either is not certain."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.model.categories import canonical, ranked
from npczarr.model.clinical import CLINICAL, LONG_MONTHS, MISSING, time_in, unit_of
from npczarr.model.events import read_events
from npczarr.report.table_text import Floats, first_visits, is_of_patients, many, some


def survival_times(
    dataset: xr.Dataset, by: str = "clinical_stage", *, time: str = "overall_survival", event: str = "death"
) -> pd.DataFrame:
    """Return `months`, `event` (whether it was observed) and `group` of every patient who has all three.

    The first visit of a subject counts where there are several. Other patients are left out only for what they lack;
    an entry of `event` that is not understood for certain is an error, see :func:`npczarr.model.events.read_events`.

    Returns
    -------
    pandas.DataFrame
        Index `patient`, in the order of groups. In its attributes: `by`; `left_out`, in words, how many patients lack
        what; `assumed`, in words, the unit of the times where the table does not say it.

    Raises
    ------
    ParameterError
        If the store lacks one of the variables or has it for each scan, the times are text or of unknown unit, it is
        not certain of whom the event was observed, or no patient has all three.
    """
    names = (time, event, by)
    if absent := [name.replace("_", " ") for name in names if name not in dataset]:
        raise ParameterError(f"the store holds no {' and no '.join(absent)}: convert it again with its clinical table")
    if several := [name.replace("_", " ") for name in names if not is_of_patients(dataset, name)]:
        raise ParameterError(f"the store has {' and '.join(several)} for each scan, expected one value a patient")
    dataset = first_visits(dataset)
    months, assumed = _read_months(dataset, time)
    observed = _read_observed(dataset, event, timed=months >= 0)
    groups = np.array(canonical(by, _texts(dataset, by)), dtype=object)
    frame = pd.DataFrame({"months": months, "event": pd.Series(observed, dtype=object), "group": groups})
    frame.index = pd.Index(list(map(str, np.atleast_1d(dataset["patient"].values))), name="patient")
    lacking = _lacking(frame, by.replace("_", " "))
    found: pd.DataFrame = frame[lacking == ""].astype({"event": bool})
    if found.empty:
        raise ParameterError(f"no patient has {', '.join(names).replace('_', ' ')} together")
    order = ranked(by, found["group"])
    found = found.sort_values("group", key=lambda names: names.map(order.index), kind="stable")
    counts = lacking[lacking != ""].value_counts(sort=False)
    found.attrs = {
        "by": by.replace("_", " "),
        "left_out": ", ".join(f"{count} {what}" for what, count in counts.items()),
        "assumed": assumed,
    }
    return found


def _lacking(frame: pd.DataFrame, by: str) -> pd.Series[str]:
    """Say what each patient lacks; "" if nothing."""
    lacking = pd.Series("", index=frame.index, dtype=object)
    reasons = {
        f"without {by}": frame["group"] == "",
        "without an entry of the event": frame["event"].isna(),
        "with a time below 0": frame["months"] < 0,
        "without a time": ~np.isfinite(frame["months"]),
    }
    for what, whose in reasons.items():  # the last that is true stays
        lacking[whose] = what
    return lacking


def _read_months(dataset: xr.Dataset, name: str) -> tuple[Floats, str]:
    """Read times in months, and say in words that the unit is assumed; "" where it is known."""
    variable = dataset[name]
    values = np.atleast_1d(variable.values)
    if values.dtype.kind not in "biuf":
        raise ParameterError(_why_text(name, _texts(dataset, name)))
    months = values.astype(np.float64)
    column = str(variable.attrs.get("source_column", ""))
    units = unit_of(f"time ({variable.attrs.get('units', '')})")
    stored_as = {field.name: field.units for field in CLINICAL}.get(name)
    unit = units or stored_as or unit_of(column or name)
    if unit is None:
        raise ParameterError(
            f"{name.replace('_', ' ')} has no unit, expected one in the name of its column: write it there, as in "
            f"'{column or name} (months)', and convert again"
        )
    months *= time_in("1", given=unit, wanted="month") or 1.0
    if all(map(unit_of, column.split("; "))) if column else units:  # of each of its tables
        return months, ""
    longest = float(np.nanmax(months, initial=0.0, where=np.isfinite(months)))
    if longest > LONG_MONTHS and unit == "month":
        raise ParameterError(
            f"{name.replace('_', ' ')} has no unit in the name of its column and would be up to {longest:g} months: "
            f"write the unit there, as in '{column or name} (days)', and convert again"
        )
    return months, f"Times are taken as {unit}s, for the name of column {column or name!r} says no unit."


def _read_observed(dataset: xr.Dataset, name: str, *, timed: NDArray[np.bool_]) -> list[bool | None]:
    """Read of whom the event was observed; `timed`: who has a time."""
    column = str(dataset[name].attrs.get("source_column", name))
    events = read_events(name, _texts(dataset, name), column)
    if events.problem:
        raise ParameterError(events.problem)
    if events.doubt:
        raise ParameterError(f"{events.doubt}; if these are some of the patients, select rows of the times of all")
    entries = [observed for observed, has_time in zip(events.observed, timed, strict=True) if has_time]
    blank = entries.count(None)
    if blank and len(levels := {*entries} - {None}) == 1:
        said = "observed" if levels == {True} else "not observed"
        raise ParameterError(
            f"every entry of column {column!r} says that {name.replace('_', ' ')} was {said}, and "
            f"{many(blank, 'patient with a time has', 'patients with a time have')} no entry, which may mean the "
            "opposite: fill in the empty entries and convert again"
        )
    return list(events.observed)


def _texts(dataset: xr.Dataset, name: str) -> list[str]:
    """Entries as text, whole numbers without a point; "" for NaN."""
    return [_text(value) for value in np.atleast_1d(dataset[name].values).tolist()]


def _text(value: object) -> str:
    if value != value:  # a number that is NaN differs from itself
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _why_text(name: str, entries: list[str]) -> str:
    """Say which entries of a column of times made it text."""
    odd = sorted({entry for entry in entries if entry.lower() not in MISSING and _months(entry) is None})
    cause = f"no number in {some(odd)}" if odd else "it holds no numbers"
    return f"{name.replace('_', ' ')} is text ({cause}): correct the table and convert again"


def _months(entry: str) -> float | None:
    return time_in(entry, given="month", wanted="month")
