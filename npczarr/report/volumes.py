"""Figures of tumor volume: by stage, and agreement of sequences."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from npczarr.errors import ParameterError
from npczarr.model.categories import canonical, ranked
from npczarr.report.digits import signed
from npczarr.report.style import (
    COLORS,
    GRAY,
    MARKERS,
    WIDE_INCHES,
    blank,
    box,
    colors_of,
    dot_size,
    plain_numbers,
    styled,
)
from npczarr.report.table_text import first_visits, is_of_patients, of_one, two
from npczarr.store.measured import held_to
from npczarr.store.subjects import unordered_visits

_DECADE = 10.0  # between the smallest and the largest volume
_PANELS = 3  # in a row
_RATIOS = (
    (0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4),
    (0.2, 0.33, 0.5, 0.67, 0.8, 1, 1.25, 1.5, 2, 3, 5),
    (0.01, 0.1, 0.5, 1, 2, 10, 100),
)
_SPANS = (2.0, 25.0)  # highest over lowest ratio: up to these, the first and the second set of ticks are sparse enough


@styled
def volume_by_stage(dataset: xr.Dataset, morphology: xr.Dataset, stage: str = "t_stage") -> Figure:
    """Tumor volume by stage, for each sequence, on a logarithmic axis; n counts patients with a volume.

    The first counts where a patient has several visits.

    Parameters
    ----------
    dataset
        The cohort, for the stage of each patient.
    morphology
        What :func:`npczarr.morphology` gives of one label and rater; patients and sequences that are not in `dataset`
        are left out, and scans that changed since they were measured.
    stage
        A clinical variable; patients without it are left out.

    Raises
    ------
    ParameterError
        If there is no such variable, no volume of a patient who has it, or the volumes are of several labels or raters.
    """
    dataset = first_visits(dataset)
    stages = _clinical(dataset, stage)
    volumes = _volumes_cm3(held_to(morphology, dataset))
    stages = stages[stages.index.isin(volumes.index)]
    labels = ranked(stage, stages)
    chosen = {label: volumes.loc[stages.index[stages == label]] for label in labels}
    if not any(frame.notna().to_numpy().any() for frame in chosen.values()):
        raise ParameterError(f"no patient has both a volume and {stage.replace('_', ' ')}")
    figure = blank(2.9)
    axes = figure.add_subplot()
    width = 0.8 / len(volumes.columns)
    for i, (sequence, color) in enumerate(colors_of(list(volumes.columns)).items()):
        for at, frame in enumerate(chosen.values()):
            offset = (i - (len(volumes.columns) - 1) / 2) * width
            box(axes, at + offset, frame[sequence].dropna().to_numpy(), color, width=width * 0.8)
        axes.plot([], [], MARKERS[0], color=color, markersize=4, label=sequence)
    axes.set_yscale("log")
    plain_numbers(axes.yaxis)
    counts = [int(chosen[label].notna().any(axis=1).sum()) for label in labels]
    axes.set_xticks(range(len(labels)), [f"{label}\nn = {n}" for label, n in zip(labels, counts, strict=True)])
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_ylabel("Tumor volume, cm³")
    axes.grid(axis="y")
    figure.legend(loc="outside upper left", ncols=len(volumes.columns), handletextpad=0.2)
    return figure


def bland_altman(morphology: xr.Dataset) -> pd.DataFrame:
    """Agreement of tumor volumes between each two sequences, after Bland and Altman.

    The first visit counts where a patient has several, by the labels of the result.

    Parameters
    ----------
    morphology
        What :func:`npczarr.morphology` gives of one label and rater.

    Returns
    -------
    pandas.DataFrame
        A row for each pair, first less second: `n` patients with both, `mean_difference` in cm³ with its limits of
        agreement `lower` and `upper` (mean ± 1.96 SD, n - 1 degrees of freedom); and `ratio` first / second, the
        geometric mean, with `ratio_lower` and `ratio_upper`, the same limits taken on logarithms, which suit
        differences that grow with the volume. NaN with fewer than two patients, for the limits.

    Raises
    ------
    ParameterError
        If there are no volumes of two sequences, they are of several labels or raters, or of several visits of a
        patient whose order the labels do not tell.

    References
    ----------
    Bland and Altman, Statistical methods for assessing agreement between two methods of clinical measurement, Lancet
    1986; 327: 307-310, doi 10.1016/S0140-6736(86)90837-8.
    """
    rows = []
    for (first, second), frame in _pairs(morphology).items():
        difference, ratio = frame[first] - frame[second], np.log(frame[first] / frame[second])
        spread, log_spread = 1.96 * difference.std(ddof=1), 1.96 * ratio.std(ddof=1)
        rows.append(
            {
                "first": first,
                "second": second,
                "n": len(frame),
                "mean_difference": difference.mean(),
                "lower": difference.mean() - spread,
                "upper": difference.mean() + spread,
                "ratio": np.exp(ratio.mean()),
                "ratio_lower": np.exp(ratio.mean() - log_spread),
                "ratio_upper": np.exp(ratio.mean() + log_spread),
            }
        )
    return pd.DataFrame(rows)


@styled
def volume_agreement(morphology: xr.Dataset) -> Figure:
    """Bland-Altman plots of tumor volume, one for each two sequences; the numbers are :func:`bland_altman`'s.

    Where the volumes span a decade or more, the plots show ratios: differences grow with the volume, so that limits of
    the difference are too wide for small tumors and too narrow for large ones.

    Raises
    ------
    ParameterError
        If there are no volumes of two sequences, or they are of several labels or raters.
    """
    pairs = _pairs(morphology)
    limits = bland_altman(morphology)
    ratios = _spans_a_decade(pairs)
    columns = min(len(pairs), _PANELS)
    rows = -(-len(pairs) // columns)
    figure = blank(0.45 + 2.1 * rows, width_inches=WIDE_INCHES)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, (pair, frame), (_, row) in zip(panels.ravel(), pairs.items(), limits.iterrows(), strict=False):
        (_draw_ratios if ratios else _draw_differences)(axes, pair, frame, row)
        axes.set_xscale("log")
        plain_numbers(axes.xaxis)
    for axes in panels.ravel()[len(pairs) :]:
        axes.set_axis_off()
    if ratios:
        _ratio_ticks(panels[0, 0])
    figure.supxlabel("Mean volume of the two, cm³", fontsize=8)
    figure.supylabel("Ratio" if ratios else "Difference, cm³", fontsize=8)
    return figure


def _spans_a_decade(pairs: Mapping[tuple[str, str], pd.DataFrame]) -> bool:
    means = np.concatenate([frame.mean(axis=1).to_numpy() for frame in pairs.values()])
    return bool(means.max() >= _DECADE * means.min())


def _draw_ratios(axes: Axes, pair: tuple[str, str], frame: pd.DataFrame, row: pd.Series[float]) -> None:
    first, second = pair
    _draw_points(axes, frame.mean(axis=1), frame[first] / frame[second], 1)
    _draw_limits(axes, row["ratio"], row["ratio_lower"], row["ratio_upper"])
    axes.set_yscale("log")
    summary = two(row["ratio"])
    if np.isfinite(row["ratio_lower"]):
        summary += f" [{two(row['ratio_lower'])}, {two(row['ratio_upper'])}]"
    axes.set_title(f"{first} / {second}\n{summary}, n = {len(frame)}", fontsize=7, fontweight="normal")


def _draw_differences(axes: Axes, pair: tuple[str, str], frame: pd.DataFrame, row: pd.Series[float]) -> None:
    first, second = pair
    _draw_points(axes, frame.mean(axis=1), frame[first] - frame[second], 0)
    _draw_limits(axes, row["mean_difference"], row["lower"], row["upper"])
    axes.margins(y=0.15)
    summary = signed(row["mean_difference"], 2)
    if np.isfinite(row["lower"]):
        summary += f" [{signed(row['lower'], 2)}, {signed(row['upper'], 2)}]"
    axes.set_title(f"{first} − {second}\n{summary}, n = {len(frame)}", fontsize=7, fontweight="normal")


def _draw_points(axes: Axes, mean: pd.Series[float], compared: pd.Series[float], equal: float) -> None:
    axes.axhline(equal, color=GRAY, linewidth=0.6)
    size = dot_size(len(mean))
    axes.plot(mean, compared, "o", color=COLORS[0], markersize=size, alpha=0.55, markeredgewidth=0)


def _draw_limits(axes: Axes, middle: float, lower: float, upper: float) -> None:
    for value, style in ((middle, "-"), (lower, "--"), (upper, "--")):
        if np.isfinite(value):
            axes.axhline(value, color=COLORS[1], linestyle=style, linewidth=1)


def _ratio_ticks(axes: Axes) -> None:
    """Give a logarithmic axis of ratios ticks that are read as ratios, as many as fit."""
    low, high = axes.get_ylim()
    low, high = min(low, 0.9), max(high, 1 / 0.9)
    axes.set_ylim(low, high)
    ticks = _RATIOS[int(np.searchsorted(_SPANS, high / low))]
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _volumes_cm3(morphology: xr.Dataset) -> pd.DataFrame:
    """Volumes of tumors, a row for each patient and a column for each sequence; empty masks are NaN."""
    volume = _volume(of_one(morphology))
    for dim in ("patient", "sequence"):
        volume = volume if dim in volume.dims else volume.expand_dims(dim)
    volume = volume.transpose("patient", "sequence")
    values = np.where(volume.values > 0, volume.values / 1000, np.nan)
    patients, sequences = ([str(label) for label in volume[dim].values] for dim in ("patient", "sequence"))
    return pd.DataFrame(values, index=patients, columns=sequences)


def _pairs(morphology: xr.Dataset) -> dict[tuple[str, str], pd.DataFrame]:
    if unordered_visits(morphology):  # a result holds no visits but those in the labels of its patients
        raise ParameterError(
            "the result has several visits of a patient, and does not tell which is the first; select one visit of "
            "each patient (morphology.sel(patient=[...]))"
        )
    volumes = _volumes_cm3(first_visits(morphology))
    pairs = {pair: volumes[list(pair)].dropna() for pair in combinations(volumes.columns, 2)}
    pairs = {pair: frame for pair, frame in pairs.items() if len(frame)}
    if not pairs:
        raise ParameterError("volumes of two sequences are needed, and no patient has them")
    return pairs


def _clinical(dataset: xr.Dataset, name: str) -> pd.Series[str]:
    """Known values of a clinical variable by patient, as its categories are called."""
    if name not in dataset:
        raise ParameterError(f"the store holds no {name.replace('_', ' ')}: convert it again with its clinical table")
    if not is_of_patients(dataset, name):
        raise ParameterError(f"the store has {name.replace('_', ' ')} for each scan, expected one value a patient")
    values = canonical(name, [str(value) for value in np.atleast_1d(dataset[name].values)])
    found = pd.Series(values, index=[str(label) for label in np.atleast_1d(dataset["patient"].values)])
    return found[found != ""]


def _volume(morphology: xr.Dataset) -> xr.DataArray:
    if "volume" not in morphology:
        raise ParameterError("the result holds no 'volume'; make one with `npczarr morphology STORE`")
    return morphology["volume"]
