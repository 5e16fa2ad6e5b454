"""Open a store as one xarray Dataset."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from npczarr.errors import StoreError
from npczarr.model.schema import voxel_variables
from npczarr.store.access import Location, locate
from npczarr.store.create import check_schema

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
    location = locate(url, dict(options or {}))
    dataset = _open(location, group)
    if group is None:
        check_schema(dataset.attrs, location.url)
    voxels = [name for name in _VOXELS if name in dataset]
    lazy = dataset[voxels].reset_coords(drop=True)
    whole_scans = {dim: 1 if dim in ("patient", "sequence", "rater") else -1 for dim in lazy.dims if dim != "axis"}
    return dataset.drop_vars(voxels).load().assign(dict(lazy.chunk(whole_scans).data_vars))


def _open(location: Location, group: str | None) -> xr.Dataset:
    try:
        with warnings.catch_warnings():
            # between two steps of a writer there may be none; the arrays' own metadata are read instead
            warnings.filterwarnings("ignore", "Failed to open Zarr store with consolidated metadata", RuntimeWarning)
            store = location.open(read_only=True)
            dataset: xr.Dataset = xr.open_zarr(store, group=group, chunks=None, zarr_format=3)
            return dataset
    except FileNotFoundError as error:
        what = "store" if group is None else f"group {group!r}"
        raise StoreError(f"{location.url}: no {what} here; check the path, or make it with npczarr") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{location.url}: cannot be read as a Zarr v3 store ({error})") from error
