"""Open a store as one xarray Dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import xarray as xr
from xarray.core import indexing

from npczarr.errors import StoreError
from npczarr.model.geometry import AXES
from npczarr.model.schema import SCAN, voxel_variables
from npczarr.store.backend import ScanVoxels
from npczarr.store.cohort import StoredCohort
from npczarr.store.hierarchy import check_schema
from npczarr.store.location import Location, locate
from npczarr.store.storage_errors import translate_damage
from npczarr.store.tables import open_stored, tables_of

_NEEDED = {"image", "mask", "patient", "sequence", "status", "shape", "spacing", "affine"}
#: Attributes that voxels may have; a scale_factor, say, would change them.
_ATTRIBUTES = ("_FillValue", "long_name", "units", "flag_values", "flag_meanings")
_VOXELS = tuple(variable.name for variable in voxel_variables("int16"))


def open_store(
    url: str | Path, *, group: str | None = None, dask: bool = True, storage_options: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """Open a store: what plain ``xr.open_zarr(url)`` gives, with one Dask chunk per scan and the tables loaded.

    Voxels are checked as they are read: an object that is absent, or a scan that does not match its digest, is an
    error. Of a remote store the tables are loaded, all at once, when a value of one is first wanted.

    Parameters
    ----------
    url
        Folder or URL of the store.
    group
        A result beside it, such as ``"morphology"``.
    dask
        One Dask chunk per scan. Without Dask values are read when they are looked at: the least delay for one slice.
    storage_options
        Options of the file system; credentials belong in the environment.

    Returns
    -------
    xarray.Dataset
        `image` and `mask` on (patient, sequence, z, y, x), lazy; geometry and acquisition as coordinates, everything
        else as data variables.

    Raises
    ------
    StoreError
        If there is no store, or one of a schema that this program does not know.
    """
    return open_location(locate(url, storage_options), group=group, dask=dask)


open = open_store  # its public name: npczarr.open


def open_location(location: Location, *, group: str | None = None, dask: bool = True) -> xr.Dataset:
    """Open a store as :func:`open_store` does."""
    with translate_damage(location.shown):
        stored = open_stored(location, group)
        if group is not None:
            return tables_of(stored, location, group)[0]
        check_schema(stored.attrs, location.shown)
        absent = sorted(_NEEDED - set(stored.variables))
        if absent:
            raise StoreError(f"{location.shown}: no {', '.join(absent)} in it; convert into a new store")
        for name in _VOXELS:
            dims = stored[name].dims
            if dims[:2] != SCAN or dims[-3:] != AXES:
                raise StoreError(
                    f"{location.shown}: {name} is on {dims}, expected {(*SCAN, *AXES)}; convert into a new store"
                )
        dataset = _assembled(location, stored, dask=dask)
    dataset.encoding |= {"source": location.url, "storage_options": dict(location.options)}
    return dataset


def _assembled(location: Location, stored: xr.Dataset, *, dask: bool) -> xr.Dataset:
    """Put the voxels, read scan by scan, beside the tables."""
    voxels = {name: stored[name].variable for name in _VOXELS}
    # the cohort first: it notes the state of the tables before any of them is read
    cohort = StoredCohort(location)
    tables, cohort.read = tables_of(stored.drop_vars(list(voxels)), location, None)
    lazy = xr.decode_cf(xr.Dataset({name: _voxels(cohort, name, variable) for name, variable in voxels.items()}))
    if dask:
        # of a remote store the voxels have a name of this opening: one made of what they are takes all its tables
        token = uuid4().hex if location.is_remote else None
        lazy = lazy.chunk({dim: -1 if dim in AXES else 1 for dim in lazy.dims}, token=token, inline_array=True)
    return tables.assign(dict(lazy.data_vars))


def _voxels(cohort: StoredCohort, name: str, variable: xr.Variable) -> xr.Variable:
    kept = {key: value for key, value in variable.attrs.items() if key in _ATTRIBUTES}
    return xr.Variable(variable.dims, indexing.LazilyIndexedArray(ScanVoxels(cohort, name)), kept, variable.encoding)
