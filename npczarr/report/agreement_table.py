"""The table of agreement: of raters, or of predictions with the masks of a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from npczarr.kernels.bootstrap import LEAST_SUBJECTS, Summary, summarise
from npczarr.model.results import AGREEMENT, AGREEMENT_TABLE
from npczarr.report.table_text import Floats, known, labels, make_table, numbers, of_one, one, three
from npczarr.store.subjects import subjects_of


def agreement(result: xr.Dataset | None) -> pd.DataFrame:
    """Agreement of raters, or of predictions with the store: mean and median with bootstrap 95 % intervals.

    The intervals draw patients; of fewer than five there is none, and mean and median stand alone.

    Parameters
    ----------
    result
        A store's `agreement` or `score/NAME`, of one label; None where it is not there yet.

    Returns
    -------
    pandas.DataFrame
        A row for each metric and sequence (and pair of raters, where there are several); columns `n`, `mean [95 %]`,
        `median [95 %]`, `min-max`, `both empty`, `not compared`. Surface Dice is named with its tolerance.

    Raises
    ------
    ParameterError
        If the result is of several labels.
    """
    title = "Agreement of raters, with bootstrap 95 % intervals"
    names = [] if result is None else [name for name in AGREEMENT_TABLE if name in result]
    if result is None or not names:
        lacking = "No raters are compared yet: `npczarr agreement STORE`, on a store of several raters' masks, does it."
        return make_table({}, "metric", title, [lacking])
    result = of_one(result, "pair")
    rows = _agreement_rows(result, names)
    notes = []
    if any("inf" in row["min-max"] for row in rows.values()):
        notes.append("A distance is infinite (inf) where one of the two masks is empty.")
    if any(row["both empty"] for row in rows.values()):
        notes.append("Where both masks are empty there is nothing to compare: they are counted, and left out of n.")
    if any(row["n"] and "[" not in row["mean [95 %]"] for row in rows.values()):
        notes.append(f"There is no interval below {LEAST_SUBJECTS} patients.")
    if "surface_dice" in names and (tolerance := _tolerance(result)):
        notes.append(f"Surface Dice: share of both surfaces that lies within {tolerance} of the other.")
    subjects = subjects_of(result)
    if len({*subjects}) < len(subjects):
        notes.append(f"n counts visits, {len(subjects)} of {len({*subjects})} patients; the intervals draw patients.")
    return make_table(rows, ("metric", "sequence", *_pair_dim(result)), title, notes)


def _tolerance(result: xr.Dataset) -> str:
    """Tolerance of the surface Dice, as in "2 mm"; "" where the result does not say it."""
    return f"{result.attrs['tolerance_mm']:g} mm" if "tolerance_mm" in result.attrs else ""


def metric_name(result: xr.Dataset, metric: str) -> str:
    """Name a metric of agreement in words, surface Dice with its tolerance."""
    tolerance = _tolerance(result) if metric == "surface_dice" else ""
    return metric.replace("_", " ") + (f" at {tolerance}" if tolerance else "")


def _pair_dim(result: xr.Dataset) -> tuple[str, ...]:
    return ("pair",) if "pair" in result.dims else ()


def _agreement_rows(result: xr.Dataset, names: Sequence[str]) -> dict[tuple[str, ...], dict[str, Any]]:
    """Rows by metric, sequence, and pair of raters where there are several."""
    units = {variable.name: variable.units for variable in AGREEMENT}
    subjects = subjects_of(result)
    parts: list[tuple[tuple[str, ...], xr.Dataset]] = [((), result)]
    if _pair_dim(result):
        parts = [((str(pair),), result.sel(pair=pair)) for pair in result["pair"].values]
    rows = {}
    for name in names:
        in_mm = units[name] == "mm"
        metric = metric_name(result, name) + (", mm" if in_mm else "")
        for pair, part in parts:
            values, a, b = (numbers(part, variable)[..., 0] for variable in (name, "voxels_a", "voxels_b"))
            for i, sequence in enumerate(labels(result, "sequence")):
                summary = summarise(values[:, i], subjects=subjects)
                row = _agreement_row(summary, values[:, i], (a + b)[:, i], one if in_mm else three)
                rows[metric, sequence, *pair] = row
    return rows


def _agreement_row(found: Summary, values: Floats, voxels: Floats, write: Callable[[float], str]) -> dict[str, Any]:
    some = known(values)

    def interval(middle: float, low: float, high: float) -> str:
        if not found.n:
            return ""
        return write(middle) if np.isnan(low) else f"{write(middle)} [{write(low)}, {write(high)}]"

    return {
        "n": found.n,
        "mean [95 %]": interval(found.mean, found.mean_low, found.mean_high),
        "median [95 %]": interval(found.median, found.median_low, found.median_high),
        "min-max": f"{write(some.min())}-{write(some.max())}" if found.n else "",
        "both empty": int((voxels == 0).sum()),
        "not compared": int((np.isnan(values) & (voxels != 0)).sum()),
    }
