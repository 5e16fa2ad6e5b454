"""Stores for tests: what two of one cohort have in common, and a copy that is measured."""

import shutil
from pathlib import Path

import xarray as xr

import npczarr as npc

#: Attributes that differ between two stores of the same scans: when each was made, and the secret of its digests.
OF_ONE_STORE = ("history", "npczarr_salt")
SALTED = ("series_digest", "study_digest", "frame_digest", "row_digest")


def comparable(dataset: xr.Dataset) -> xr.Dataset:
    """Leave out what is a store's own."""
    kept = {key: value for key, value in dataset.attrs.items() if key not in OF_ONE_STORE}
    return dataset.drop_vars([name for name in SALTED if name in dataset]).drop_attrs(deep=False).assign_attrs(kept)


def measured_copy(store: Path, folder: Path) -> Path:
    """Copy a store into a folder, and measure the tumors of the copy."""
    copy = shutil.copytree(store, folder / "cohort.zarr")
    npc.measure_store(copy, "morphology")
    return copy
