"""Summaries of a result: counts, mean and median with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from npczarr.kernels.bootstrap import summarise
from npczarr.model.cohort import subject_of


def summary(result: xr.Dataset, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Summarise metrics of a result for each sequence; intervals are over subjects, whatever the number of visits.

    Returns
    -------
    list of dict
        For each metric and sequence (and pair of raters): `n` values, `n_empty` (the mask, or both masks, without
        tumor), `n_missing` (no mask to measure), `min`, `max`, and mean and median with their percentile-bootstrap
        95 % intervals, in the metric's `units`.
    """
    counted = [result[name] for name in ("voxel_count", "voxels_a", "voxels_b") if name in result]
    voxels = sum(counted[1:], start=counted[0])
    rows = []
    for metric in metrics:
        variable = result[metric]
        for pair in result["pair"].values if "pair" in result.dims else [None]:
            chosen, counts = (v if pair is None else v.sel(pair=pair) for v in (variable, voxels))
            for sequence in np.atleast_1d(result["sequence"].values):
                one = chosen.sel(sequence=sequence) if "sequence" in chosen.dims else chosen
                tumor = np.atleast_1d((counts.sel(sequence=sequence) if "sequence" in counts.dims else counts).values)
                values = np.atleast_1d(one.values)
                known = values[~np.isnan(values)]
                found = summarise(values, subjects=_subjects(one))
                rows.append(
                    {"metric": metric, "sequence": str(sequence), "units": variable.attrs.get("units", "1")}
                    | ({} if pair is None else {"pair": str(pair)})
                    | {"n": found.n, "n_empty": int((tumor == 0).sum()), "n_missing": int(np.isnan(tumor).sum())}
                    | {"min": float(known.min(initial=np.inf)), "max": float(known.max(initial=-np.inf))}
                    | {f"mean{end}": getattr(found, f"mean{end}") for end in ("", "_low", "_high")}
                    | {f"median{end}": getattr(found, f"median{end}") for end in ("", "_low", "_high")}
                )
    return rows


def _subjects(values: xr.DataArray) -> list[str] | None:
    """Subject of each value; None where the values are not of patients."""
    if values.dims != ("patient",) or "patient" not in values.coords:
        return None
    return [subject_of(str(label)) for label in values["patient"].values]
