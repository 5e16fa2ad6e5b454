"""Scans to look at again because of their morphology."""

from __future__ import annotations

import xarray as xr

from npczarr.errors import ParameterError

VOLUME_RATIO = 2.0  # between sequences of one patient: they outline one tumor


def quality(result: xr.Dataset, *, volume_ratio: float = VOLUME_RATIO) -> xr.Dataset:
    """Flag scans to look at again, from their morphology.

    Parameters
    ----------
    result
        What :func:`npczarr.morphology` gives for a cohort.
    volume_ratio
        Largest volume of a patient's sequences over the smallest beyond which they disagree: they outline one tumor.

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
