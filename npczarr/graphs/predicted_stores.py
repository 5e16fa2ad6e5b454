"""Predicted masks that are a store of their own, laid on the scans of a cohort."""

from __future__ import annotations

import numpy as np
import xarray as xr

from npczarr.errors import ParameterError, unknown_label
from npczarr.model.geometry import AXES
from npczarr.model.label_set import flag_names
from npczarr.model.schema import SCAN, STORED
from npczarr.store.describe import SALT

_SAME_GRID_MM = 1e-3


def lay_store(dataset: xr.Dataset, other: xr.Dataset, url: str) -> tuple[xr.DataArray, xr.DataArray, str]:
    """Lay the masks of another store on the cohort's arrays.

    Returns
    -------
    tuple
        Masks, where there are any, and their digests.

    Raises
    ------
    ParameterError
        If it holds other scans or labels, scans on another grid or of other images, or the masks of several raters.
    """
    if "rater" in other.dims:
        raise ParameterError(f"{url}: holds the masks of raters, expected one mask a scan; export those of one rater")
    labels = {dim: dataset[dim].values for dim in SCAN}
    for dim in SCAN:
        known = {str(label) for label in other[dim].values}
        absent = [str(label) for label in np.atleast_1d(labels[dim]) if str(label) not in known]
        if absent:
            raise unknown_label(dim, absent[0], other[dim].values, where=f"the store of predictions {url}")
    own, others = (flag_names(one["mask"].attrs) for one in (dataset, other))
    if own != others:
        raise ParameterError(
            f"{url}: its labels are {', '.join(others) or 'not named'}, those of the cohort "
            f"{', '.join(own) or 'not named'}; score masks of the same labels"
        )
    other = other.sel(labels)
    there = _predicted(other)
    same = (other["shape"] == dataset["shape"]).all("axis") & (
        abs(other["affine"] - dataset["affine"]).max(("affine_row", "affine_column")) < _SAME_GRID_MM
    )
    if first := _first(there & ~same):
        raise ParameterError(f"{url}: predictions on another grid than the scan, first {first}; resample them onto it")
    foreign = there & _of_other_images(dataset, other)
    if first := _first(foreign):
        raise ParameterError(
            f"{url}: {int(foreign.sum())} of {int(there.sum())} predictions are of other images than the cohort's, "
            f"first {first}: another cohort of the same labels? If they are of the same scans, export the masks "
            "(npczarr export --format nifti) and give that folder"
        )
    mask = other["mask"].isel({axis: slice(dataset.sizes[axis]) for axis in AXES})
    mask = mask.pad({a: (0, dataset.sizes[a] - mask.sizes[a]) for a in AXES}, constant_values=0)
    return (
        mask.reset_coords(drop=True),
        there.reset_coords(drop=True),
        "".join(map(str, np.ravel(other["mask_digest"]))),
    )


def unmatched_in_store(dataset: xr.Dataset, other: xr.Dataset) -> list[tuple[str, str]]:
    """Patient and sequence of the masks of another store that are of no scan of the cohort."""
    patients, sequences = ({str(label) for label in np.atleast_1d(dataset[dim].values)} for dim in SCAN)
    there = _predicted(other).transpose(*SCAN)
    labels = [[str(label) for label in there[dim].values] for dim in SCAN]
    keys = [(labels[0][p], labels[1][s]) for p, s in np.argwhere(there.values)]
    return [(patient, sequence) for patient, sequence in keys if patient not in patients or sequence not in sequences]


def _predicted(other: xr.Dataset) -> xr.DataArray:
    return (other["mask_status"] == STORED[0]) | (other["mask_status"] == STORED[1])


def _first(wrong: xr.DataArray) -> str:
    """Patient and sequence of the first scan of which something holds; "" where there is none."""
    if not bool(wrong.any()):
        return ""
    first = wrong.isel(dict(zip(wrong.dims, np.argwhere(wrong.values)[0], strict=True)))
    return "/".join(str(first[dim].values) for dim in SCAN)


def _of_other_images(dataset: xr.Dataset, other: xr.Dataset) -> xr.DataArray:
    """Whether the image of each scan is known to be another: of another series, or of other voxels.

    Digests of series can be compared in stores of one salt alone: a copy, or what was resampled from it.
    """
    differ = _differ(dataset, other, "image_digest")
    if dataset.attrs.get(SALT) and dataset.attrs.get(SALT) == other.attrs.get(SALT):
        known = _known(dataset, other, "series_digest")
        return (known & _differ(dataset, other, "series_digest")) | (~known & differ)
    return differ


def _differ(dataset: xr.Dataset, other: xr.Dataset, name: str) -> xr.DataArray:
    return _known(dataset, other, name) & (_texts(dataset, name) != _texts(other, name))


def _known(dataset: xr.Dataset, other: xr.Dataset, name: str) -> xr.DataArray:
    return (_texts(dataset, name) != "") & (_texts(other, name) != "")


def _texts(dataset: xr.Dataset, name: str) -> xr.DataArray:
    """Digests of the scans; "" where there are none."""
    if name not in dataset:
        return xr.full_like(dataset["mask_status"].astype(object), "").reset_coords(drop=True)
    return dataset[name].astype(object).reset_coords(drop=True)
