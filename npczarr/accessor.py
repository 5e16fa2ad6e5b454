"""``ds.npc``: the verbs of the field on a plain xarray Dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from npczarr.errors import ParameterError
from npczarr.model.geometry import AXES, Grid
from npczarr.model.schema import SCAN
from npczarr.store.backend import OneScan, WholeScan
from npczarr.store.origin import cohort_behind
from npczarr.store.scans import StoredCohort

_VOXELS = ("image", "mask")


@xr.register_dataset_accessor("npc")
class CohortAccessor:
    """Verbs on a cohort opened from a store, by ``npczarr.open`` or plain ``xr.open_zarr``."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset
        self._cohort: StoredCohort | None = None
        self._searched = False

    def scan(self, patient: str, sequence: str, *, real: bool = False) -> xr.Dataset:
        """Return one scan, without its padding.

        What is read is checked: an absent object, or voxels that do not match their digest, are an error. If the
        Dataset is just as it was opened, a slice of the scan reads no more than it needs; else the scan is read whole.

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
            geometry and acquisition as scalar coordinates, everything else that is known of the scan as scalars.

        Raises
        ------
        ParameterError
            If there is no such patient or sequence, or the store holds no image of it.
        StoreError
            If the scan is damaged; for some damage only when its values are read.
        """
        found = self._one(patient, sequence)
        voxels = {name: found[name].variable for name in _VOXELS if name in found}
        tables = found.drop_vars(list(voxels)).load()
        depth, rows, columns = (int(n) for n in tables["shape"].values)
        if not min(depth, rows, columns):
            status, message = (str(tables[name].values) if name in tables else "" for name in ("status", "message"))
            raise ParameterError(f"{patient}/{sequence} has no image in the store: {status}, {message}")
        tables = tables.isel(
            {dim: slice(n) for dim, n in zip(AXES, (depth, rows, columns), strict=True) if dim in tables.dims}
        )
        grid = Grid((depth, rows, columns), tables["affine"].values)
        cropped = tables.drop_vars([name for name in ("z_mm", *AXES) if name in tables.variables])
        cropped = cropped.assign(self._voxels(voxels, tables, (patient, sequence), grid.shape_zyx))
        for axis, positions in zip(AXES, grid.axis_positions_mm(), strict=True):
            attributes = {"units": "mm", "long_name": f"position of the voxel center along {axis}"}
            cropped = cropped.assign_coords({axis: (axis, positions, attributes)})
        if real and "image" in cropped:
            slope, intercept = cropped["rescale_slope"], cropped["rescale_intercept"]
            cropped["image"] = cropped["image"] * slope + intercept
        return cropped

    def _voxels(
        self,
        voxels: dict[str, xr.Variable],
        tables: xr.Dataset,
        labels: tuple[str, str],
        shape_zyx: tuple[int, int, int],
    ) -> dict[str, xr.Variable]:
        """Return image and mask of a scan as they are stored, checked when they are read."""
        cohort = self._stored_cohort()
        found = {}
        for name, variable in voxels.items():
            dims = tuple(str(dim) for dim in variable.dims)
            if cohort is not None:
                array: Any = OneScan(cohort.scan(*labels), name)
            else:
                box = {dim: slice(n) for dim, n in zip(AXES, shape_zyx, strict=True)}
                expected = str(tables[f"{name}_digest"].values) if f"{name}_digest" in tables else ""
                array = WholeScan(variable.isel(box), expected, f"{'/'.join(labels)}: {name}")
            attributes = {key: value for key, value in variable.attrs.items() if key != "_FillValue"}
            found[name] = xr.Variable(dims, array.lazy(), attributes)
        return found

    def _stored_cohort(self) -> StoredCohort | None:
        """Return the store behind the Dataset; None where its voxels are not just those of the store."""
        if not self._searched:
            self._searched = True
            names = tuple(name for name in _VOXELS if name in self._dataset)
            self._cohort = cohort_behind(self._dataset, names) if names else None
        return self._cohort

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
