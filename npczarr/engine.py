"""``xr.open_dataset(url, engine="npczarr")``: the same Dataset as ``npczarr.open``, by xarray's own entry point."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint

from npczarr.errors import ParameterError
from npczarr.model.geometry import AXES
from npczarr.store.open import open_store

_VOXELS = ("image", "mask")


class CohortBackend(BackendEntrypoint):
    """Opens a store for xarray, with voxels that are checked as they are read.

    xarray adds Dask itself, where its argument `chunks` is given: ``chunks={}`` is one chunk a scan for `image` and
    `mask`. Each table is then one chunk of its own: load the tables before `map_blocks`, or use ``npczarr.open``, which
    has them in memory. Without `chunks`, values are read when they are looked at, and kept.
    """

    description = "Cohort stores that npczarr wrote, checked as they are read"
    url = "https://docs.xarray.dev/en/stable/user-guide/io.html"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "group", "storage_options")

    def open_dataset(  # type: ignore[override] # the decoders of netCDF have no place here
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open a store; see :func:`npczarr.open`.

        Parameters
        ----------
        filename_or_obj
            Folder or URL of the store.
        drop_variables
            Variables to leave out.
        group
            A result beside it, such as ``"morphology"``.
        storage_options
            Options of the file system; credentials belong in the environment.

        Raises
        ------
        ParameterError
            If it is no path and no URL.
        StoreError
            If there is no store, or one of a schema that this program does not know.
        """
        if not isinstance(filename_or_obj, str | os.PathLike):
            kind = type(filename_or_obj).__name__
            raise ParameterError(f"engine 'npczarr' opens a folder or a URL, got {kind}; give the path of the store")
        url = filename_or_obj if isinstance(filename_or_obj, str) else Path(filename_or_obj)
        dataset = open_store(url, group=group, dask=False, storage_options=storage_options)
        for name in _VOXELS:
            if name in dataset and group is None:
                sizes = dataset[name].sizes
                dataset[name].encoding["preferred_chunks"] = {d: n if d in AXES else 1 for d, n in sizes.items()}
        unwanted = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ())
        return dataset.drop_vars(unwanted, errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:  # noqa: ANN401 - as xarray types it
        """Return False: a store is a Zarr hierarchy, and xarray's own engine opens it where none is named."""
        return False
