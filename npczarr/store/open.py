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
from npczarr.model.layout import TABLE_PATIENTS
from npczarr.model.schema import SCAN, voxel_variables
from npczarr.store.backend import ScanVoxels
from npczarr.store.cohort import StoredCohort
from npczarr.store.hierarchy import Chosen, check_schema
from npczarr.store.location import Location, locate
from npczarr.store.selection import select_patients
from npczarr.store.storage_errors import translate_damage
from npczarr.store.tables import open_stored, tables_of, translate_group_damage
from npczarr.store.whole import WholeArrays

_NEEDED = {"image", "mask", "patient", "sequence", "status", "shape", "spacing", "affine"}
#: Attributes that voxels may have; a scale_factor, say, would change them.
_ATTRIBUTES = ("_FillValue", "long_name", "units", "flag_values", "flag_meanings")
#: Patients who travel by number in every task; of more, all tables are opened and the selection is left to xarray.
_MANY = 4096
_VOXELS = tuple(variable.name for variable in voxel_variables("int16"))


def open_store(
    url: str | Path,
    *,
    group: str | None = None,
    where: str | None = None,
    dask: bool = True,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Open a store: what plain ``xr.open_zarr(url)`` gives, with one Dask chunk per scan and the tables loaded.

    Voxels are checked as they are read: an object that is absent, or a scan that does not match its digest, is an
    error. Of a remote store, or one of more than 4096 patients, the tables are loaded, all at once, when a value of one
    is first wanted.

    Parameters
    ----------
    url
        Folder or URL of the store.
    group
        A result beside it, such as ``"morphology"``.
    where
        Which patients: comparisons of columns of the cohort with values, and ``in``, ``and``, ``or``, ``not``, such as
        ``"t_stage in ('T3', 'T4') and status == 'ok'"``. What differs between sequences must hold for all of
        which anyone has a scan. Results are columns as in ``"morphology.volume > 5000"``, reviews as in
        ``"review.decision != 'exclude'"``. The catalog of the store chooses, at any size, and nothing is read of the
        other patients.
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
    ParameterError
        If the selection is none, or names a column that is not there.

    Warns
    -----
    UserWarning
        If another program changed a column by which is selected, or a large store has no catalog: tables are read.
    """
    location = locate(url, storage_options)
    if where is None:
        return open_location(location, group=group, dask=dask)
    chosen = select_patients(location, where).patients
    if len(chosen) > _MANY:
        return open_location(location, group=group, dask=dask).isel(patient=chosen)
    return open_location(location, group=group, dask=dask, patients=chosen)


open = open_store  # its public name: npczarr.open


def open_location(
    location: Location, *, group: str | None = None, dask: bool = True, patients: Chosen | None = None
) -> xr.Dataset:
    """Open a store as :func:`open_store` does, and of it only those `patients` whose numbers are given."""
    with translate_damage(location.shown), translate_group_damage(location, group):
        stored, store = open_stored(location, group, patients)
        if group is not None:
            return tables_of(stored, store, location, group, patients, lazy=location.is_remote)[0]
        check_schema(stored.attrs, location.shown, store)
        absent = sorted(_NEEDED - set(stored.variables))
        if absent:
            raise StoreError(f"{location.shown}: no {', '.join(absent)} in it; convert into a new store")
        for name in _VOXELS:
            dims = stored[name].dims
            if dims[:2] != SCAN or dims[-3:] != AXES:
                raise StoreError(
                    f"{location.shown}: {name} is on {dims}, expected {(*SCAN, *AXES)}; convert into a new store"
                )
        dataset = _assembled(location, stored, store, patients, dask=dask)
    dataset.encoding |= {"source": location.url, "storage_options": dict(location.options)}
    return dataset


def _assembled(
    location: Location, stored: xr.Dataset, store: WholeArrays, patients: Chosen | None, *, dask: bool
) -> xr.Dataset:
    """Put the voxels, read scan by scan, beside the tables."""
    voxels = {name: stored[name].variable for name in _VOXELS}
    # the cohort first: it notes the state of the tables before any of them is read
    cohort = StoredCohort(location, patients=patients)
    late = location.is_remote or cohort.image.shape[0] > TABLE_PATIENTS
    tables, cohort.read = tables_of(stored.drop_vars(list(voxels)), store, location, None, patients, lazy=late)
    lazy = xr.decode_cf(xr.Dataset({name: _voxels(cohort, name, variable) for name, variable in voxels.items()}))
    if dask:
        # the voxels then have a name of this opening: one made of what they are takes all the tables
        token = uuid4().hex if late else None
        lazy = lazy.chunk({dim: -1 if dim in AXES else 1 for dim in lazy.dims}, token=token, inline_array=True)
    return tables.assign(dict(lazy.data_vars))


def _voxels(cohort: StoredCohort, name: str, variable: xr.Variable) -> xr.Variable:
    kept = {key: value for key, value in variable.attrs.items() if key in _ATTRIBUTES}
    return xr.Variable(variable.dims, indexing.LazilyIndexedArray(ScanVoxels(cohort, name)), kept, variable.encoding)
