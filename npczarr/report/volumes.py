"""Figures of tumor volume: by stage, and how sequences agree."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from npczarr.errors import ParameterError
from npczarr.model.categories import canonical, ranked
from npczarr.report.style import COLORS, GRAY, MARKERS, blank, box, colors_of, dot_size, plain_numbers, styled


@styled
def volume_by_stage(dataset: xr.Dataset, morphology: xr.Dataset, stage: str = "t_stage") -> Figure:
    """Tumor volume by stage, for each sequence, on a logarithmic axis.

    Parameters
    ----------
    dataset
        The cohort, for the stage of each patient.
    morphology
        What :func:`npczarr.morphology` gives of it.
    stage
        A clinical variable; patients without it are left out.

    Raises
    ------
    ParameterError
        If there is no such variable, or no volume of a patient who has it.
    """
    stages = _clinical(dataset, stage)
    volumes = _volumes_cm3(morphology)
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
    axes.set_xticks(range(len(labels)), [f"{label}\nn = {len(chosen[label])}" for label in labels])
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_ylabel("Tumor volume, cm³")
    axes.grid(axis="y")
    figure.legend(loc="outside upper left", ncols=len(volumes.columns), handletextpad=0.2)
    return figure


def bland_altman(morphology: xr.Dataset) -> pd.DataFrame:
    """Agreement of tumor volumes between each two sequences, after Bland and Altman.

    Parameters
    ----------
    morphology
        What :func:`npczarr.morphology` gives.

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
        If there are no volumes of two sequences.

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

    Raises
    ------
    ParameterError
        If there are no volumes of two sequences.
    """
    pairs = _pairs(morphology)
    limits = bland_altman(morphology)
    figure = blank(0.35 + 1.65 * len(pairs))
    panels = figure.subplots(len(pairs), 1, sharex=True, squeeze=False)[:, 0]
    for axes, ((first, second), frame), (_, row) in zip(panels, pairs.items(), limits.iterrows(), strict=True):
        mean, difference = frame.mean(axis=1), frame[first] - frame[second]
        axes.plot(
            mean, difference, "o", color=COLORS[0], markersize=dot_size(len(frame)), alpha=0.55, markeredgewidth=0
        )
        axes.axhline(0, color=GRAY, linewidth=0.6)
        for value, style, name in ((row["mean_difference"], "-", "mean"), (row["upper"], "--", "+1.96 SD"),
                                   (row["lower"], "--", "−1.96 SD")):  # fmt: skip
            if np.isfinite(value):
                axes.axhline(value, color=COLORS[1], linestyle=style, linewidth=1)
                axes.annotate(
                    f"{name}\n{value:+.2f}".replace("-", "−"),
                    (1.01, value),
                    xycoords=("axes fraction", "data"),
                    va="center",
                    fontsize=6,
                )
        axes.set_title(f"{first} − {second}  (n = {len(frame)})")
        axes.set_ylabel("Difference, cm³")
        axes.set_xscale("log")
        axes.margins(y=0.15)
        plain_numbers(axes.xaxis)
    panels[-1].set_xlabel("Mean volume of the two, cm³")
    return figure


def _volumes_cm3(morphology: xr.Dataset) -> pd.DataFrame:
    """Volumes of tumors, a row for each patient and a column for each sequence; empty masks are NaN."""
    volume = _volume(morphology)
    for dim in ("patient", "sequence"):
        volume = volume if dim in volume.dims else volume.expand_dims(dim)
    volume = volume.transpose("patient", "sequence")
    values = np.where(volume.values > 0, volume.values / 1000, np.nan)
    patients, sequences = ([str(label) for label in volume[dim].values] for dim in ("patient", "sequence"))
    return pd.DataFrame(values, index=patients, columns=sequences)


def _pairs(morphology: xr.Dataset) -> dict[tuple[str, str], pd.DataFrame]:
    volumes = _volumes_cm3(morphology)
    pairs = {pair: volumes[list(pair)].dropna() for pair in combinations(volumes.columns, 2)}
    pairs = {pair: frame for pair, frame in pairs.items() if len(frame)}
    if not pairs:
        raise ParameterError("volumes of two sequences are needed, and no patient has them")
    return pairs


def _clinical(dataset: xr.Dataset, name: str) -> pd.Series[str]:
    """Known values of a clinical variable by patient, as its categories are called."""
    if name not in dataset:
        raise ParameterError(f"the store holds no {name.replace('_', ' ')}: convert it again with its clinical table")
    values = canonical(name, [str(value) for value in np.atleast_1d(dataset[name].values)])
    found = pd.Series(values, index=[str(label) for label in np.atleast_1d(dataset["patient"].values)])
    return found[found != ""]


def _volume(morphology: xr.Dataset) -> xr.DataArray:
    if "volume" not in morphology:
        raise ParameterError("the result holds no 'volume'; make one with `npczarr morphology STORE`")
    return morphology["volume"]
