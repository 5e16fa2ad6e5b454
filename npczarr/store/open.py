"""Open a store as one xarray Dataset."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from npczarr.errors import StoreError
from npczarr.model.schema import voxel_variables
from npczarr.store.access import Location, locate
from npczarr.store.arrays import ShardedVoxels, VoxelArray
from npczarr.store.create import check_schema

_AT_ONCE = 32  # requests in flight
_VOXELS = tuple(variable.name for variable in voxel_variables("int16"))


def open_store(url: str | Path, *, group: str | None = None, options: Mapping[str, Any] | None = None) -> xr.Dataset:
    """Open a store: what plain ``xr.open_zarr(url)`` gives, with one Dask chunk per scan and the tables loaded.

    Parameters
    ----------
    url
        Folder or URL of the store.
    group
        A result beside it, such as ``"morphology"``.
    options
        Storage options; credentials belong in the environment.

    Returns
    -------
    xarray.Dataset
        `image` and `mask` on (patient, sequence, z, y, x), lazy; everything else as coordinates, in memory.

    Raises
    ------
    StoreError
        If there is no store, or one of a schema that this program does not know.
    """
    return open_location(locate(url, dict(options or {})), group=group)


def open_location(location: Location, *, group: str | None = None) -> xr.Dataset:
    """Open a store as :func:`open_store` does."""
    stored = _open(location, group)
    if group is not None:
        return xr.decode_cf(_loaded(stored, location))
    check_schema(stored.attrs, location.url)
    voxels = {name: stored[name].variable for name in _VOXELS if name in stored}
    tables = xr.decode_cf(_loaded(stored.drop_vars(list(voxels)), location))
    fast = xr.Dataset({name: _fast(location, name, variable) for name, variable in voxels.items()})
    whole_scans = {dim: -1 if dim in ("z", "y", "x") else 1 for dim in fast.dims}
    return tables.assign(dict(xr.decode_cf(fast).chunk(whole_scans, inline_array=True).data_vars))


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


def _loaded(tables: xr.Dataset, location: Location) -> xr.Dataset:
    """Read every variable; of a remote store many at once, for each is a round trip."""
    if "://" not in location.url:
        return tables.load()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda name: tables.variables[name].load(), tables.variables))
    return tables


def _open(location: Location, group: str | None) -> xr.Dataset:
    """Open without decoding."""
    try:
        with warnings.catch_warnings():
            # between two steps of a writer there may be none; the arrays' own metadata are read instead
            warnings.filterwarnings("ignore", "Failed to open Zarr store with consolidated metadata", RuntimeWarning)
            store = location.open(read_only=True)
            dataset: xr.Dataset = xr.open_zarr(store, group=group, chunks=None, zarr_format=3, decode_cf=False)
            return dataset
    except FileNotFoundError as error:
        what = "store" if group is None else f"group {group!r}"
        raise StoreError(f"{location.url}: no {what} here; check the path, or make it with npczarr") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{location.url}: cannot be read as a Zarr v3 store ({error})") from error
