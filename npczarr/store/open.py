"""Open a store as one xarray Dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from npczarr.errors import StoreError
from npczarr.model.schema import voxel_variables
from npczarr.store.access import Location, locate
from npczarr.store.arrays import ForeignArray, ShardedVoxels, VoxelArray
from npczarr.store.create import check_schema
from npczarr.store.faults import usable
from npczarr.store.tables import open_stored, tables_of

_NEEDED = {"mask", "patient", "sequence", "status", "shape"}
_LARGEST_CHUNK = 2**31  # bytes; Blosc takes no more
#: Attributes that voxels may have; a scale_factor, say, would change them.
_ATTRIBUTES = ("_FillValue", "long_name", "units", "flag_values", "flag_meanings")
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
    with usable(location.url):
        stored = open_stored(location, group)
        if group is not None:
            return tables_of(stored, location, group)
        check_schema(stored.attrs, location.url)
        absent = sorted(_NEEDED - set(stored.variables))
        if absent:
            raise StoreError(f"{location.url}: no {', '.join(absent)} in it; convert into a new store")
        return _assembled(location, stored, dask=dask)


def _assembled(location: Location, stored: xr.Dataset, *, dask: bool) -> xr.Dataset:
    """Put the voxels, read by shards of their own, beside the tables."""
    voxels = {name: stored[name].variable for name in _VOXELS if name in stored}
    tables = tables_of(stored.drop_vars(list(voxels)), location, None)
    fast = xr.Dataset({name: _fast(location, name, variable) for name, variable in voxels.items()})
    decoded = xr.decode_cf(fast)
    if dask:
        whole_scans = {dim: -1 if dim in ("z", "y", "x") else 1 for dim in fast.dims}
        decoded = decoded.chunk(whole_scans, inline_array=True)
        for name, variable in decoded.data_vars.items():
            if is_sharded(voxels[str(name)]):
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


def is_sharded(variable: xr.Variable) -> bool:
    """Whether an array is encoded as npczarr encodes it; another program's is read by zarr-python."""
    encoding = variable.encoding
    names = [type(codec).__name__ for codec in encoding.get("compressors") or ()]
    return bool(encoding.get("shards")) and names == ["BloscCodec", "Crc32cCodec"] and not encoding.get("filters")


def sharded_voxels(location: Location, name: str, variable: xr.Variable) -> ShardedVoxels:
    """Describe an array whose voxels are to be read from its shards.

    Raises
    ------
    StoreError
        If its sizes or its type are not those of an array of scans.
    """
    shape = tuple(int(n) for n in variable.shape)
    chunks, shards = (tuple(int(n) for n in variable.encoding[key]) for key in ("chunks", "shards"))
    sound = len(shape) == len(chunks) == len(shards) and len(shape) in (5, 6) and variable.dtype.kind in "iuf"
    sound = sound and min(*chunks, *shards) > 0 and set(chunks[:-3]) == set(shards[:-3]) == {1}
    sound = sound and all(shard % chunk == 0 for shard, chunk in zip(shards, chunks, strict=True))
    if not sound or math.prod(chunks) * variable.dtype.itemsize > _LARGEST_CHUNK:
        raise StoreError(
            f"{location.url}: {name} of {variable.dtype}, shape {shape}, shards {shards}, chunks {chunks}: no array of "
            "scans; its metadata are damaged, convert into a new store"
        )
    fill = variable.attrs.get("_FillValue", np.nan if variable.dtype.kind == "f" else 0)
    (z, y, x), (shard_z, shard_y, shard_x) = chunks[-3:], shards[-3:]
    return ShardedVoxels(location, name, shape, variable.dtype.name, fill, (z, y, x), (shard_z, shard_y, shard_x))


def _fast(location: Location, name: str, variable: xr.Variable) -> xr.Variable:
    kept = {key: value for key, value in variable.attrs.items() if key in _ATTRIBUTES}
    ours = is_sharded(variable)
    array: Any = VoxelArray(sharded_voxels(location, name, variable)) if ours else ForeignArray(location, variable)
    return xr.Variable(variable.dims, indexing.LazilyIndexedArray(array), kept, variable.encoding)
