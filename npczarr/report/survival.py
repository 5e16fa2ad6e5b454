"""Survival of a cohort: Kaplan-Meier curves by a clinical variable, with the number at risk."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from lifelines import KaplanMeierFitter
from lifelines.statistics import multivariate_logrank_test
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from npczarr.errors import ParameterError
from npczarr.model.categories import canonical, ranked
from npczarr.model.clinical import MISSING, time_in
from npczarr.report.style import GRAY, WIDE_INCHES, blank, colors_of, short, styled
from npczarr.report.table_text import first_visits, is_of_patients, some

_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
_STEP_MONTHS = 12
_MOST_STEPS = 30
LEAST_PATIENTS = 5  # of a group: a curve of fewer means little


def survival_times(
    dataset: xr.Dataset, by: str = "clinical_stage", *, time: str = "overall_survival", event: str = "death"
) -> pd.DataFrame:
    """Return `months`, `event` (whether it was observed) and `group` of every patient who has all three.

    The first visit of a subject counts where there are several.

    Raises
    ------
    ParameterError
        If the store lacks one of the variables or has it for each scan, the times are text, or no patient has all
        three.
    """
    names = (time, event, by)
    if absent := [name.replace("_", " ") for name in names if name not in dataset]:
        raise ParameterError(f"the store holds no {' and no '.join(absent)}: convert it again with its clinical table")
    if several := [name.replace("_", " ") for name in names if not is_of_patients(dataset, name)]:
        raise ParameterError(f"the store has {' and '.join(several)} for each scan, expected one value a patient")
    dataset = first_visits(dataset)
    months, events, groups, patients = (np.atleast_1d(dataset[name].values) for name in (*names, "patient"))
    if months.dtype.kind not in "biuf":
        raise ParameterError(_why_text(time, list(map(_text, months))))
    observed = pd.Series(canonical(event, list(map(_text, events)))).map({"yes": True, "no": False})
    frame = pd.DataFrame(
        {"months": months.astype(float), "event": observed, "group": canonical(by, list(map(_text, groups)))}
    )
    frame.index = pd.Index(list(map(str, patients)), name="patient")
    known = frame["months"].ge(0) & np.isfinite(frame["months"]) & frame["event"].notna() & (frame["group"] != "")
    if not known.any():
        raise ParameterError(f"no patient has {', '.join(names).replace('_', ' ')} together")
    found: pd.DataFrame = frame[known].astype({"event": bool})
    order = ranked(by, found["group"])
    found = found.sort_values("group", key=lambda names: names.map(order.index), kind="stable")
    found.attrs["by"] = by.replace("_", " ")
    return found


def _why_text(name: str, entries: list[str]) -> str:
    """Say which entries of a column of times made it text."""
    odd = sorted({entry for entry in entries if entry.lower() not in MISSING and _months(entry) is None})
    cause = f"no number in {some(odd)}" if odd else "it holds no numbers"
    return f"{name.replace('_', ' ')} is text ({cause}): correct the table and convert again"


def _months(entry: str) -> float | None:
    return time_in(entry, given="month", wanted="month")


def survival_summary(times: pd.DataFrame) -> pd.DataFrame:
    """Summarise each group: patients, events, median survival and survival at the last full year, with 95 % limits.

    Parameters
    ----------
    times
        What :func:`survival_times` gives.

    Returns
    -------
    pandas.DataFrame
        Index `group`; `patients`, `events`, `median_months` (infinite where half of the group is never reached), `at`
        (months), `survival`, `lower`, `upper`. ``attrs["logrank_p"]``: probability under one survival for all, NaN with
        one group.

    References
    ----------
    Kaplan and Meier, J Am Stat Assoc 1958; 53: 457-481. Limits: exponential Greenwood (Kalbfleisch and Prentice 1980),
    as lifelines computes them. Log-rank test: Mantel, Cancer Chemother Rep 1966; 50: 163-170.
    """
    at = float(_years(times)[-1])
    rows = {}
    for group, fit in _fits(times).items():
        limits = fit.confidence_interval_survival_function_
        before = limits.loc[limits.index <= at].iloc[-1]
        rows[group] = {
            "patients": int((times["group"] == group).sum()),
            "events": int(times.loc[times["group"] == group, "event"].sum()),
            "median_months": float(fit.median_survival_time_),
            "at": at,
            "survival": float(fit.predict(at)),
            "lower": float(before.iloc[0]),
            "upper": float(before.iloc[1]),
        }
    summary = pd.DataFrame.from_dict(rows, orient="index")
    summary.index.name = "group"
    summary.attrs["logrank_p"] = _logrank(times)
    return summary


@styled
def survival_curves(times: pd.DataFrame, *, xlabel: str = "Months", ylabel: str = "Overall survival") -> Figure:
    """Kaplan-Meier curve of each group, ticks where patients leave observation, and the number at risk below.

    Parameters
    ----------
    times
        What :func:`survival_times` gives. Groups of fewer than five patients are not drawn.

    Raises
    ------
    ParameterError
        If no group has five patients.
    """
    counts = times["group"].value_counts()
    shown = times[times["group"].map(counts) >= LEAST_PATIENTS]
    shown.attrs = dict(times.attrs)
    if shown.empty:
        largest = 0 if counts.empty else int(counts.max())
        raise ParameterError(f"no group has {LEAST_PATIENTS} patients, the largest has {largest}: too few for a curve")
    times = shown
    fits = _fits(times)
    years = _years(times)
    figure = blank(2.5 + 0.2 * len(fits), width_inches=WIDE_INCHES)
    curves, risk = figure.subplots(2, 1, sharex=True, height_ratios=[2.0, 0.2 + 0.17 * len(fits)])
    for (group, fit), color, line in zip(
        fits.items(), colors_of(list(fits)).values(), _LINES * (1 + len(fits) // len(_LINES)), strict=False
    ):
        steps = fit.survival_function_.iloc[:, 0]
        curves.step(steps.index, steps.to_numpy(), where="post", color=color, linestyle=line, label=short(group, 14))
        censored = fit.event_table.index[fit.event_table["censored"] > 0]
        curves.plot(censored, fit.predict(censored), "|", color=color, markersize=4, markeredgewidth=0.8)
        if len(fits) <= 2:  # more bands than that hide each other
            limits = fit.confidence_interval_survival_function_
            curves.fill_between(limits.index, *limits.to_numpy().T, step="post", color=color, alpha=0.15, linewidth=0)
    curves.set_ylim(0, 1.02)
    curves.set_xlim(0, years[-1] * 1.02 or 1)
    curves.set_ylabel(ylabel)
    curves.grid()
    p = _logrank(times)
    if np.isfinite(p):
        said = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
        curves.annotate(f"log-rank {said}", (0.02, 0.04), xycoords="axes fraction", color=GRAY, fontsize=7)
    said = str(times.attrs.get("by", "group")).capitalize()
    figure.legend(
        loc="outside upper left",
        ncols=min(len(fits), 5),
        title=said,
        title_fontsize=7,
        alignment="left",
        handlelength=2.2,
    )
    _at_risk(risk, fits, years)
    risk.set_xlabel(xlabel)
    return figure


def _text(value: object) -> str:
    return "" if value != value else str(value)  # a number that is NaN differs from itself


def _fits(times: pd.DataFrame) -> dict[str, KaplanMeierFitter]:
    return {
        str(group): KaplanMeierFitter().fit(one["months"], one["event"], label=str(group))
        for group, one in times.groupby("group", sort=False)
    }


def _years(times: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Months of whole years of observation, or of every few years where there are many."""
    last = float(times["months"].max())
    if last < _STEP_MONTHS:
        return np.array([0.0, max(last, 1.0)])
    # days that were taken as months would make thousands of columns
    step = _STEP_MONTHS * np.ceil(last / (_STEP_MONTHS * _MOST_STEPS))
    return np.arange(0, last + 1e-9, step)


def _logrank(times: pd.DataFrame) -> float:
    if times["group"].nunique() < 2 or not times["event"].any():
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # lifelines calls pandas as a later pandas will not allow
        return float(multivariate_logrank_test(times["months"], times["group"], times["event"]).p_value)


def _at_risk(
    axes: Axes, fits: dict[str, KaplanMeierFitter], years: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> None:
    """Write how many of each group are still observed just before each year."""
    for row, ((group, fit), color) in enumerate(zip(fits.items(), colors_of(list(fits)).values(), strict=True)):
        for month in years:
            count = int((fit.durations >= month).sum())
            axes.text(month, -row, str(count), ha="center", va="center", fontsize=7)
        where: Any = {"xy": (-0.07, -row), "xycoords": ("axes fraction", "data"), "ha": "right", "va": "center"}
        axes.annotate(short(group, 14), **where, fontsize=7, color=color, fontweight="bold")
    axes.set_ylim(-len(fits) + 0.4, 0.9)
    axes.set_title("Number at risk", fontsize=7)
    axes.set_yticks([])
    axes.set_xticks(years)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
