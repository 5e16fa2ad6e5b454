"""What is said of a result in a few lines: one number in many, and the scans to look at again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from npczarr.errors import ParameterError
from npczarr.kernels.bootstrap import summarise

VOLUME_RATIO = 2.0  # between sequences of one patient: they outline one tumour


def summary(result: xr.Dataset, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Summarise metrics of a result for each sequence.

    Returns
    -------
    list of dict
        For each metric and sequence (and pair of raters): `n` values, `n_empty` (the mask, or both masks, without
        tumour), `n_missing` (no mask to measure), `min`, `max`, and mean and median with their percentile-bootstrap
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
                tumour = np.atleast_1d((counts.sel(sequence=sequence) if "sequence" in counts.dims else counts).values)
                values = np.atleast_1d(one.values)
                known = values[~np.isnan(values)]
                found = summarise(values)
                rows.append(
                    {"metric": metric, "sequence": str(sequence), "units": variable.attrs.get("units", "1")}
                    | ({} if pair is None else {"pair": str(pair)})
                    | {"n": found.n, "n_empty": int((tumour == 0).sum()), "n_missing": int(np.isnan(tumour).sum())}
                    | {"min": float(known.min(initial=np.inf)), "max": float(known.max(initial=-np.inf))}
                    | {f"mean{end}": getattr(found, f"mean{end}") for end in ("", "_low", "_high")}
                    | {f"median{end}": getattr(found, f"median{end}") for end in ("", "_low", "_high")}
                )
    return rows


def quality(result: xr.Dataset, *, volume_ratio: float = VOLUME_RATIO) -> xr.Dataset:
    """Flag scans to look at again, from their morphology.

    Parameters
    ----------
    result
        What :func:`npczarr.morphology` gives for a cohort.
    volume_ratio
        Largest volume of a patient's sequences over the smallest beyond which they disagree: they outline one tumour.

    Returns
    -------
    xarray.Dataset
        Booleans: `empty`, `several_pieces`, `touches_end_slice` on (patient, sequence); `volumes_disagree` and the
        number `volume_ratio` on (patient).

    Raises
    ------
    ParameterError
        If the ratio is not above 1.
    """
    if not volume_ratio > 1:
        raise ParameterError(f"volume_ratio must be above 1, got {volume_ratio}")
    ends = (result["touches_start"] > 0) | (result["touches_stop"] > 0)
    ratio = result["volume"].max("sequence") / result["volume"].min("sequence")
    return xr.Dataset(
        {
            "empty": result["voxel_count"] == 0,
            "several_pieces": result["components"] > 1,
            "touches_end_slice": ends.sel(axis="z", drop=True),
            "volume_ratio": ratio,
            "volumes_disagree": ratio > volume_ratio,
        }
    )
