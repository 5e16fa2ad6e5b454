"""Survival of a cohort: Kaplan-Meier curves by a clinical variable, with the number at risk."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from lifelines import KaplanMeierFitter
from lifelines.statistics import multivariate_logrank_test
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from npczarr.errors import ParameterError
from npczarr.report.style import GRAY, WIDE_INCHES, blank, colors_of, short, styled

_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
_STEP_MONTHS = 12
_MOST_STEPS = 30
LEAST_PATIENTS = 5  # of a group: a curve, an estimate or a test of fewer means little
_ROUNDING = 1e-9  # of a product of fractions: an estimate of exactly 1/2 may be 0.5000000000000001


def survival_summary(times: pd.DataFrame) -> pd.DataFrame:
    """Summarise each group: patients, events, median survival and survival at the last full year, with 95 % limits.

    Groups of five patients or more are estimated and tested, as :func:`survival_curves` draws them; of others there are
    the counts alone. The year is the last that a patient of such a group has reached. A group none of whose patients
    was observed so long has no survival there: NaN; it is 0 where all of them had the event before.

    Parameters
    ----------
    times
        What :func:`npczarr.report.survival_times.survival_times` gives.

    Returns
    -------
    pandas.DataFrame
        Index `group`; `patients`, `events`, `median_months` (first time at which the estimate is 1/2 or less, infinite
        where there is none), `at` (months), `survival`, `lower`, `upper`, `followed_months` (how long the patient
        observed longest was). The limits are NaN where survival is 0 or 1: the formula has none there.
        ``attrs["logrank_p"]``: probability under one survival for all these groups, NaN with one or none.

    References
    ----------
    Kaplan and Meier, J Am Stat Assoc 1958; 53: 457-481. Limits: exponential Greenwood (Kalbfleisch and Prentice 1980),
    as lifelines computes them. Log-rank test: Mantel, Cancer Chemother Rep 1966; 50: 163-170.
    """
    large = _large_groups(times)
    at = float(_years(times if large.empty else large)[-1])
    fits = _fits(large)
    rows = {}
    for group, one in times.groupby("group", sort=False):
        counts = {"patients": len(one), "events": int(one["event"].sum())}
        rows[str(group)] = counts | (_estimates(one, fits[str(group)], at) if str(group) in fits else {"at": at})
    columns = ["patients", "events", "median_months", "at", "survival", "lower", "upper", "followed_months"]
    summary = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns)
    summary.index.name = "group"
    summary.attrs["logrank_p"] = _logrank(large)
    return summary


def _large_groups(times: pd.DataFrame) -> pd.DataFrame:
    """Patients of the groups that are estimated, drawn and tested."""
    large: pd.DataFrame = times[times["group"].map(times["group"].value_counts()) >= LEAST_PATIENTS]
    large.attrs = dict(times.attrs)
    return large


def _estimates(one: pd.DataFrame, fit: KaplanMeierFitter, at: float) -> dict[str, float]:
    """Estimate the survival of one group; `at` in months."""
    followed = float(one["months"].max())
    limits = fit.confidence_interval_survival_function_
    lower, upper = limits.loc[limits.index <= at].iloc[-1]
    survival = float(fit.predict(at))
    if followed < at and not one["event"].all():  # the estimate would carry on what nobody was there to show
        survival = np.nan
    if not _ROUNDING < survival < 1 - _ROUNDING:  # Greenwood's formula has no limits at 0 and 1
        lower = upper = np.nan
    return {
        "median_months": _median_months(fit),
        "at": at,
        "survival": survival,
        "lower": float(lower),
        "upper": float(upper),
        "followed_months": followed,
    }


def _median_months(fit: KaplanMeierFitter) -> float:
    """First time at which survival is 1/2 or less, as lifelines' own but for rounding; infinite if there is none."""
    survival = fit.survival_function_.iloc[:, 0]
    reached = survival.index[survival <= 0.5 + _ROUNDING]
    return float(reached[0]) if len(reached) else np.inf


@styled
def survival_curves(times: pd.DataFrame, *, xlabel: str = "Months", ylabel: str = "Overall survival") -> Figure:
    """Kaplan-Meier curve of each group, ticks where patients leave observation, and the number at risk below.

    Parameters
    ----------
    times
        What :func:`npczarr.report.survival_times.survival_times` gives. A curve ends where the last patient of its
        group was observed. Groups of fewer than five patients are not drawn.

    Raises
    ------
    ParameterError
        If no group has five patients.
    """
    largest = int(times["group"].value_counts().max()) if len(times) else 0
    if largest < LEAST_PATIENTS:
        raise ParameterError(f"no group has {LEAST_PATIENTS} patients, the largest has {largest}: too few for a curve")
    times = _large_groups(times)
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
    curves.set_xlim(0, float(times["months"].max()) * 1.02 or 1)
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


def _fits(times: pd.DataFrame) -> dict[str, KaplanMeierFitter]:
    return {
        str(group): KaplanMeierFitter().fit(one["months"], one["event"], label=str(group))
        for group, one in times.groupby("group", sort=False)
    }


def _years(times: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Months of whole years of observation, or of every few years where there are many."""
    last = float(times["months"].max())
    if last < _STEP_MONTHS:
        return np.array([0.0, last] if last else [0.0])
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
