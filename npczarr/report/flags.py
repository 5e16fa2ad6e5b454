"""Scans to look at again because of their morphology."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.model.geometry import AXES
from npczarr.model.results import Numbers
from npczarr.store.axis_order import axis_places

if TYPE_CHECKING:
    import xarray as xr

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
        number `volume_ratio` on (patient); of one sequence alone, whose volumes agree, on what dimensions it has.

    Raises
    ------
    ParameterError
        If the ratio is not above 1, or the result lacks one of the axes z, y and x.
    """
    import xarray as xr

    if not volume_ratio > 1:
        raise ParameterError(f"volume_ratio must be above 1, got {volume_ratio}")
    flags = flags_of(result, volume_ratio=volume_ratio)
    dims = dict.fromkeys(dim for found, _ in flags.values() for dim in found)
    return xr.Dataset(flags, coords={dim: result[dim] for dim in dims if dim in result.coords})


def flags_of(result: Numbers, *, volume_ratio: float = VOLUME_RATIO) -> dict[str, tuple[tuple[str, ...], NDArray[Any]]]:
    """Return what :func:`quality` does, each flag as its dimensions and values."""
    volume, start, stop = (result[name] for name in ("volume", "touches_start", "touches_stop"))
    z = _place_of_z(result)
    ends = (np.asarray(start.values) > 0) | (np.asarray(stop.values) > 0)
    largest = smallest = np.asarray(volume.values)
    if "sequence" in volume.dims:
        over = volume.dims.index("sequence")
        largest, smallest = (one.reduce(largest, axis=over) for one in (np.fmax, np.fmin))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = largest / smallest
    scan, patient = volume.dims, tuple(dim for dim in volume.dims if dim != "sequence")
    return {
        "empty": (result["voxel_count"].dims, np.asarray(result["voxel_count"].values) == 0),
        "several_pieces": (result["components"].dims, np.asarray(result["components"].values) > 1),
        "touches_end_slice": (scan, np.take(ends, z, axis=start.dims.index("axis"))),
        "volume_ratio": (patient, ratio),
        "volumes_disagree": (patient, ratio > volume_ratio),
    }


def _place_of_z(result: Numbers) -> int:
    """Return where z is along `axis`."""
    start = result["touches_start"]
    sizes = dict(zip((str(dim) for dim in start.dims), np.asarray(start.values).shape, strict=True))
    named = {"axis": result["axis"]} if "axis" in _names(result) else {}
    return axis_places(named, sizes, where="the result")[AXES.index("z")]


def _names(result: Numbers) -> set[str]:
    """Names of what a result holds, with its coordinates; to iterate over an ``xarray.Dataset`` leaves these out."""
    return {str(name) for name in getattr(result, "variables", result)}
