"""Predicted masks that are a store of their own, laid on the scans of a cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import ParameterError, unknown_label
from npczarr.graphs.changed_datasets import scan_labels
from npczarr.graphs.label_dim import names_in
from npczarr.graphs.map_scans import in_order, masks_there
from npczarr.model.geometry import AXES
from npczarr.model.schema import SCAN
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
    lead = tuple(dim for dim in in_order(dataset)["mask"].dims if dim not in AXES)
    labels = scan_labels(dataset, lead)
    for dim, wanted in labels.items():
        known = {str(label) for label in other[dim].values}
        absent = [label for label in wanted.ravel() if label not in known]
        if absent:
            raise unknown_label(dim, absent[0], other[dim].values, where=f"the store of predictions {url}")
    own, others = (names_in(one["mask"].attrs, one["mask"].dtype) for one in (dataset, other))
    if own != others:
        raise ParameterError(
            f"{url}: its labels are {', '.join(others) or 'not named'}, those of the cohort "
            f"{', '.join(own) or 'not named'}; score masks of the same labels"
        )
    dataset, other = _bare(dataset), _bare(_paired(other, dataset, labels, lead))
    there = _predicted(other)
    same = (other["shape"] == dataset["shape"]).all("axis") & (
        abs(other["affine"] - dataset["affine"]).max(("affine_row", "affine_column")) < _SAME_GRID_MM
    )
    if first := _first(there & ~same, labels, lead):
        raise ParameterError(f"{url}: predictions on another grid than the scan, first {first}; resample them onto it")
    foreign = there & _of_other_images(dataset, other)
    if first := _first(foreign, labels, lead):
        raise ParameterError(
            f"{url}: {int(foreign.sum())} of {int(there.sum())} predictions are of other images than the cohort's, "
            f"first {first}: another cohort of the same labels? If they are of the same scans, export the masks "
            "(npczarr export --format nifti) and give that folder"
        )
    mask = other["mask"].isel({axis: slice(dataset.sizes[axis]) for axis in AXES})
    mask = mask.pad({a: (0, dataset.sizes[a] - mask.sizes[a]) for a in AXES}, constant_values=0)
    return mask, there, "".join(map(str, np.ravel(other["mask_digest"])))


def _paired(
    other: xr.Dataset, dataset: xr.Dataset, labels: Mapping[str, NDArray[Any]], lead: Sequence[Any]
) -> xr.Dataset:
    """Select the scans of another store that those of a cohort are compared with, on the cohort's dimensions."""
    # labels along their own dimensions Dask selects by whole chunks
    if set(lead) <= set(SCAN) and all(dataset[dim].dims in ((), (dim,)) for dim in SCAN):
        return other.sel({dim: dataset[dim].values for dim in SCAN})
    places = {}
    for dim, wanted in labels.items():
        rows = {str(label): i for i, label in enumerate(other[dim].values)}
        numbers = np.array([rows[label] for label in wanted.ravel()], dtype=np.int64)
        places[dim] = xr.Variable(lead, numbers.reshape(wanted.shape))
    return other.isel(places)


def _bare(dataset: xr.Dataset) -> xr.Dataset:
    """Leave out labels, by which xarray would lay scans on others; what is compared is in one order."""
    plain = dataset.reset_coords()
    return plain.drop_vars(list(plain.coords))


def unmatched_in_store(dataset: xr.Dataset, other: xr.Dataset) -> list[tuple[str, str]]:
    """Patient and sequence of the masks of another store that are of no scan of the cohort."""
    patients, sequences = ({str(label) for label in np.atleast_1d(dataset[dim].values)} for dim in SCAN)
    there = _predicted(other).transpose(*SCAN)
    labels = [[str(label) for label in there[dim].values] for dim in SCAN]
    keys = [(labels[0][p], labels[1][s]) for p, s in np.argwhere(there.values)]
    return [(patient, sequence) for patient, sequence in keys if patient not in patients or sequence not in sequences]


def _predicted(other: xr.Dataset) -> xr.DataArray:
    there = masks_there(other)
    return (other["shape"] > 0).all("axis") if there is None else there


def _first(wrong: xr.DataArray, labels: Mapping[str, NDArray[Any]], lead: Sequence[Any]) -> str:
    """Patient and sequence of the first scan of which something holds; "" where there is none."""
    places = np.argwhere(wrong.transpose(*lead).values)
    return "/".join(labels[dim][tuple(places[0])] for dim in SCAN) if len(places) else ""


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
        return xr.full_like(dataset["shape"].isel(axis=0, drop=True), "", dtype=object)
    return dataset[name].astype(object)
