"""Figures of a cohort's numbers: box plots, agreement of volumes, voxel sizes, scores of quality.

Every function takes Datasets as a store gives them and returns a matplotlib Figure, one column wide or one and a half,
in colors that color-blind readers can distinguish; ``figure.savefig("volume.svg")`` writes it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.report.agreement_table import metric_name
from npczarr.report.outlined_figure import outlined_panel
from npczarr.report.style import GRAY, WIDE_INCHES, blank, box, colors_of, styled
from npczarr.report.survival import LEAST_PATIENTS, survival_curves, survival_summary
from npczarr.report.survival_times import survival_times
from npczarr.report.table_text import of_one
from npczarr.report.volumes import bland_altman, volume_agreement, volume_by_stage
from npczarr.store.axis_order import in_axis_order

__all__ = [
    "LEAST_PATIENTS",
    "agreement_boxes",
    "bland_altman",
    "outlined_panel",
    "resolution",
    "scores_by_sequence",
    "survival_curves",
    "survival_summary",
    "survival_times",
    "volume_agreement",
    "volume_by_stage",
]

Floats = NDArray[np.float64]


@styled
def agreement_boxes(agreement: xr.Dataset, metric: str = "dice") -> Figure:
    """Box plot of a metric of two raters for each sequence.

    Parameters
    ----------
    agreement
        What :func:`npczarr.agreement` gives, or :func:`npczarr.score`, of one label. All pairs of raters are drawn, and
        n counts their comparisons.
    metric
        ``"dice"``, ``"jaccard"`` or another number of the result.

    Raises
    ------
    ParameterError
        If the result lacks the metric, has no value of it, or is of several labels.
    """
    agreement = of_one(agreement, "pair")
    groups = _by_sequence(_variable(agreement, metric, "npczarr agreement"))
    if not any(len(values) for values in groups.values()):
        raise ParameterError(f"no scan has a value of {metric}: no two raters outlined the same scan")
    unit = agreement[metric].attrs.get("units", "1")
    figure = blank(2.6)
    axes = figure.add_subplot()
    colors = colors_of(list(groups))
    for at, (sequence, values) in enumerate(groups.items()):
        box(axes, at, values[np.isfinite(values)], colors[sequence], width=0.5)
    axes.set_xticks(range(len(groups)), [f"{s}\nn = {int(np.isfinite(v).sum())}" for s, v in groups.items()])
    axes.set_xlim(-0.6, len(groups) - 0.4)
    name = {"dice": "Dice coefficient", "jaccard": "Jaccard index"}.get(metric, metric_name(agreement, metric))
    axes.set_ylabel(name if unit == "1" else f"{name}, {unit}")
    if metric in ("dice", "jaccard"):
        axes.set_ylim(top=1)
    axes.grid(axis="y")
    return figure


@styled
def resolution(dataset: xr.Dataset) -> Figure:
    """Slice spacing by header against positions, and pixel spacing against matrix; one bubble for equal scans.

    Raises
    ------
    ParameterError
        If no scan is stored.
    """
    frame = _voxel_sizes(dataset)
    if frame.empty:
        raise ParameterError("no scan is stored, so there are no voxel sizes")
    figure = blank(2.7, width_inches=WIDE_INCHES)
    left, right = figure.subplots(1, 2)
    _bubbles(left, frame.dropna(subset=["measured", "header"]), "measured", "header")
    finite = frame[["measured", "header"]].to_numpy()
    finite = finite[np.isfinite(finite)]
    if frame[["measured", "header"]].dropna().empty:
        left.text(0.5, 0.5, "no header says it", transform=left.transAxes, ha="center", color=GRAY)
    elif finite.size:
        ends = [finite.min() * 0.9, finite.max() * 1.05]
        left.plot(ends, ends, color=GRAY, linewidth=0.7, zorder=0)
        left.annotate("equal", (ends[1], ends[1]), color=GRAY, fontsize=6, ha="right", va="bottom")
    left.set_title("Distance between slices")
    left.set_xlabel("From slice positions, mm")
    left.set_ylabel("SpacingBetweenSlices, mm")
    _bubbles(right, frame, "columns", "pixel")
    right.set_title("Pixels")
    right.set_xlabel("Matrix, pixels to a row")
    right.set_ylabel("Pixel spacing, mm")
    for axes in (left, right):
        axes.margins(0.12)
        axes.grid()
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, handletextpad=0.2)
    return figure


@styled
def scores_by_sequence(
    scores: pd.DataFrame, sequences: Sequence[str], columns: Sequence[str], titles: Sequence[str]
) -> Figure:
    """Scores of every scan by sequence, one panel each.

    Parameters
    ----------
    scores
        A row for each scan, with a column `sequence`.
    sequences
        Labels, in the order in which they are drawn.
    columns, titles
        Columns of `scores` to draw, and the title of each panel.

    Raises
    ------
    ParameterError
        If no scan has a score.
    """
    if scores.empty or not scores[list(columns)].notna().to_numpy().any():
        raise ParameterError("no scan has a score: there are no images")
    colors = colors_of(sequences)
    figure = blank(2.3, width_inches=WIDE_INCHES)
    for axes, column, title in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, titles, strict=True):
        for at, sequence in enumerate(sequences):
            values = scores.loc[scores["sequence"] == sequence, column].dropna().to_numpy()
            box(axes, at, values, colors[sequence], width=0.6)
        axes.set_xticks(range(len(sequences)), sequences, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_xlim(-0.7, len(sequences) - 0.3)
        axes.set_title(title)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
    return figure


def _variable(result: xr.Dataset, name: str, command: str) -> xr.DataArray:
    if name not in result:
        raise ParameterError(f"the result holds no {name!r}; make one with `{command}`")
    return result[name]


def _by_sequence(values: xr.DataArray) -> dict[str, Floats]:
    """Values of each sequence that are not NaN, of all patients and pairs of raters."""
    values = values if "sequence" in values.dims else values.expand_dims("sequence")
    found = {str(s): values.isel(sequence=i).values.ravel() for i, s in enumerate(values["sequence"].values)}
    return {sequence: numbers[~np.isnan(numbers)] for sequence, numbers in found.items()}


def _voxel_sizes(dataset: xr.Dataset) -> pd.DataFrame:
    """Sizes of every stored scan, a row each."""
    dataset = in_axis_order(dataset)
    columns = {
        "measured": dataset["spacing"].sel(axis="z"),
        "pixel": dataset["spacing"].sel(axis="x"),
        "columns": dataset["shape"].sel(axis="x"),
        "header": dataset["spacing_between_slices"],
    }
    sequences = [str(s) for s in np.atleast_1d(dataset["sequence"].values)]
    sizes = {"patient": dataset.sizes.get("patient", 1), "sequence": len(sequences)}  # either may have been selected
    flat = {name: values.variable.set_dims(sizes).values.ravel() for name, values in columns.items()}
    frame = pd.DataFrame({"sequence": sequences * sizes["patient"], **flat})
    return frame[frame["columns"] > 0].dropna(subset=["pixel"])


def _bubbles(axes: Axes, frame: pd.DataFrame, x: str, y: str) -> None:
    """One bubble for each pair of values, its area as many scans as have it, sequences side by side."""
    sequences = [str(s) for s in dict.fromkeys(frame["sequence"])]
    most = frame.round({x: 1, y: 2}).groupby([x, y, "sequence"]).size().max() if len(frame) else 1
    for i, (sequence, color) in enumerate(colors_of(sequences).items()):
        one = frame[frame["sequence"].astype(str) == sequence].round({x: 1, y: 2})
        counts = one.groupby([x, y]).size()
        points = np.array([list(pair) for pair in counts.index], dtype=float).reshape(-1, 2)
        aside = ScaledTranslation((i - (len(sequences) - 1) / 2) * 5 / 72, 0, axes.figure.dpi_scale_trans)
        axes.scatter(
            points[:, 0], points[:, 1], s=6 + 90 * counts.to_numpy() / most, color=color, alpha=0.55, linewidth=0,
            transform=axes.transData + aside, label=sequence,
        )  # fmt: skip
        axes.update_datalim(points)
    axes.autoscale_view()
