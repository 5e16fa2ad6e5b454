"""``ds.npc``: the verbs of the field on a plain xarray Dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from npczarr.errors import ParameterError
from npczarr.model.geometry import AXES
from npczarr.model.schema import SCAN


@xr.register_dataset_accessor("npc")
class CohortAccessor:
    """Verbs on a cohort opened from a store, by ``npczarr.open`` or plain ``xr.open_zarr``."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def scan(self, patient: str, sequence: str, *, real: bool = False) -> xr.Dataset:
        """Return one scan, without its padding.

        Parameters
        ----------
        patient, sequence
            Labels, such as ``"012"`` and ``"CE-T1WI"``.
        real
            Apply rescale slope and intercept: `image` then holds real values, float64.

        Returns
        -------
        xarray.Dataset
            `image` (stored DICOM values, lossless integers) and `mask`, lazy, on z, y, x in mm along each voxel axis;
            the scan's metadata as scalar coordinates, `affine` (4, 4) and rescale per slice.

        Raises
        ------
        ParameterError
            If there is no such patient or sequence, or the store holds no image of it.
        """
        dataset = self._plain()._one(patient, sequence)
        depth, rows, columns = (int(n) for n in dataset["shape"].values)
        if not min(depth, rows, columns):
            status, message = (str(dataset[name].values) if name in dataset else "" for name in ("status", "message"))
            raise ParameterError(f"{patient}/{sequence} has no image in the store: {status}, {message}")
        cropped = dataset.isel(z=slice(depth), y=slice(rows), x=slice(columns))
        positions = {axis: cropped[f"{axis}_mm"].values for axis in AXES}
        cropped = cropped.drop_vars([f"{axis}_mm" for axis in AXES]).assign_coords(positions)
        for axis in AXES:
            cropped[axis].attrs = {"units": "mm", "long_name": f"position of the voxel centre along {axis}"}
        if "image" in cropped:
            cropped["image"] = _stored_values(cropped["image"])
            if real:
                slope, intercept = cropped["rescale_slope"].load(), cropped["rescale_intercept"].load()
                cropped["image"] = cropped["image"] * slope + intercept
        small = [name for name in cropped.coords if name not in AXES]
        return cropped.assign_coords({name: cropped[name].load() for name in small})

    def _plain(self) -> CohortAccessor:
        """Take voxels straight from the store where they can be: a slice of a scan is then all that is read."""
        from npczarr.store.open import without_dask  # which imports xarray, which imports this module

        voxels = {name: self._dataset[name].variable for name in ("image", "mask") if name in self._dataset}
        plain = {name: found for name, variable in voxels.items() if (found := without_dask(variable)) is not None}
        return CohortAccessor(self._dataset.assign(plain))

    def _one(self, patient: str, sequence: str) -> xr.Dataset:
        dataset = self._dataset
        for dim, label in zip(SCAN, (patient, sequence), strict=True):
            if dim not in dataset.coords:
                raise ParameterError(f"the Dataset has no {dim} coordinate; is it opened from a cohort store?")
            known = [str(value) for value in np.atleast_1d(dataset[dim].values)]
            if label not in known:
                shown = ", ".join(known[:5]) + (" …" if len(known) > 5 else "")
                raise ParameterError(f"no {dim} {label!r} in the store; it has {shown}")
            if dim in dataset.dims:
                dataset = dataset.isel({dim: known.index(label)})
        return dataset


def _stored_values(image: xr.DataArray) -> xr.DataArray:
    """Turn decoded values back to the integers that are stored: inside its extent a scan has no padding."""
    dtype: Any = np.dtype(image.encoding.get("dtype", image.dtype))
    return image.astype(dtype) if dtype.kind == "i" and image.dtype.kind == "f" else image
