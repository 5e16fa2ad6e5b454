"""Summaries of a result: counts, mean and median with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.kernels.bootstrap import summarise
from npczarr.model.cohort import subject_of
from npczarr.model.results import Numbers, Table

_DIMS = ("pair", "sequence", "patient")


def summary(result: Numbers, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Summarise metrics of a result for each sequence; intervals are over subjects, whatever the number of visits.

    Returns
    -------
    list of dict
        For each metric and sequence (and pair of raters): `n` values, `n_empty` (the mask, or both masks, without
        tumor), `n_missing` (no mask to measure), `min`, `max`, and mean and median with their percentile-bootstrap
        95 % intervals, in the metric's `units`. NaN where there is no value, for intervals also below five subjects.
    """
    counted = [_ordered(result[name]) for name in ("voxel_count", "voxels_a", "voxels_b") if name in result]
    voxels = sum(counted[1:], start=counted[0])
    pairs = [str(pair) for pair in result["pair"].values] if "pair" in result else [None]
    sequences = [str(sequence) for sequence in np.atleast_1d(result["sequence"].values)]
    subjects = [subject_of(str(label)) for label in np.atleast_1d(result["patient"].values)]
    rows = []
    for metric in metrics:
        units = result[metric].attrs.get("units", "1")
        numbers = _ordered(result[metric])
        for i, pair in enumerate(pairs):
            for j, sequence in enumerate(sequences):
                values, tumor = numbers[i, j], voxels[i, j]
                found = summarise(values, subjects=subjects)
                rows.append(
                    {"metric": metric, "sequence": sequence, "units": units}
                    | ({} if pair is None else {"pair": pair})
                    | {"n": found.n, "n_empty": int((tumor == 0).sum()), "n_missing": int(np.isnan(tumor).sum())}
                    | {
                        "min": float(np.fmin.reduce(values, initial=np.nan)),
                        "max": float(np.fmax.reduce(values, initial=np.nan)),
                    }
                    | {f"mean{end}": getattr(found, f"mean{end}") for end in ("", "_low", "_high")}
                    | {f"median{end}": getattr(found, f"median{end}") for end in ("", "_low", "_high")}
                )
    return rows


def _ordered(table: Table) -> NDArray[np.float64]:
    """Return values on (pair, sequence, patient), of length 1 along those that a selection has dropped."""
    present = [dim for dim in _DIMS if dim in table.dims]
    values = np.asarray(table.values, dtype=np.float64).transpose([table.dims.index(dim) for dim in present])
    return np.expand_dims(values, [i for i, dim in enumerate(_DIMS) if dim not in present])
