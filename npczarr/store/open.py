"""Open a store as one xarray Dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from npczarr.model.schema import voxel_variables
from npczarr.store.access import Location, locate
from npczarr.store.arrays import ShardedVoxels, VoxelArray
from npczarr.store.create import check_schema
from npczarr.store.tables import open_stored, tables_of

#: Arrays by the names that Dask has for them, which tell their content; a few dozen bytes each.
_BY_NAME: dict[str, VoxelArray] = {}
_VOXELS = tuple(variable.name for variable in voxel_variables("int16"))


def open_store(
    url: str | Path, *, group: str | None = None, dask: bool = True, options: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """Open a store: what plain ``xr.open_zarr(url)`` gives, with one Dask chunk per scan and the tables loaded.

    Of a remote store the tables are loaded, all at once, when a value of one is first wanted.

    Parameters
    ----------
    url
        Folder or URL of the store.
    group
        A result beside it, such as ``"morphology"``.
    dask
        One Dask chunk per scan. Without Dask values are read when they are looked at: the least delay for one slice.
    options
        Storage options; credentials belong in the environment.

    Returns
    -------
    xarray.Dataset
        `image` and `mask` on (patient, sequence, z, y, x), lazy; everything else as coordinates.

    Raises
    ------
    StoreError
        If there is no store, or one of a schema that this program does not know.
    """
    return open_location(locate(url, dict(options or {})), group=group, dask=dask)


def open_location(location: Location, *, group: str | None = None, dask: bool = True) -> xr.Dataset:
    """Open a store as :func:`open_store` does."""
    stored = open_stored(location, group)
    if group is not None:
        return tables_of(stored, location, group)
    check_schema(stored.attrs, location.url)
    voxels = {name: stored[name].variable for name in _VOXELS if name in stored}
    tables = tables_of(stored.drop_vars(list(voxels)), location, group)
    fast = xr.Dataset({name: _fast(location, name, variable) for name, variable in voxels.items()})
    decoded = xr.decode_cf(fast)
    if dask:
        whole_scans = {dim: -1 if dim in ("z", "y", "x") else 1 for dim in fast.dims}
        decoded = decoded.chunk(whole_scans, inline_array=True)
        for name, variable in decoded.data_vars.items():
            _BY_NAME[variable.data.name] = VoxelArray(sharded_voxels(location, str(name), voxels[str(name)]))
    return tables.assign(dict(decoded.data_vars))


def without_dask(variable: xr.Variable) -> xr.Variable | None:
    """Return a whole array of a store as stored values that are read when they are looked at, and no more of them.

    None where it is not just as :func:`open_store` gave it. Dask would read all of a scan for the slice of a slice.
    """
    array = _BY_NAME.get(getattr(variable._data, "name", ""))
    if array is None:
        return None
    lazy: Any = indexing.LazilyIndexedArray(array)
    return xr.Variable(variable.dims, indexing.MemoryCachedArray(indexing.CopyOnWriteArray(lazy)), variable.attrs)


def sharded_voxels(location: Location, name: str, variable: xr.Variable) -> ShardedVoxels:
    """Describe an array whose voxels are to be read from its shards."""
    encoding = variable.encoding
    (_, _, z, y, x), (_, _, shard_z, shard_y, shard_x) = encoding["chunks"][-5:], encoding["shards"][-5:]
    fill = variable.attrs.get("_FillValue", np.nan if variable.dtype.kind == "f" else 0)
    shape = tuple(int(n) for n in variable.shape)
    return ShardedVoxels(location, name, shape, variable.dtype.name, fill, (z, y, x), (shard_z, shard_y, shard_x))


def _fast(location: Location, name: str, variable: xr.Variable) -> xr.Variable:
    array = VoxelArray(sharded_voxels(location, name, variable))
    return xr.Variable(variable.dims, indexing.LazilyIndexedArray(array), variable.attrs, variable.encoding)
