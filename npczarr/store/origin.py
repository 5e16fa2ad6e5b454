"""Where the values of an xarray variable come from: a store just as it was opened, or something else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr
import zarr
from xarray.backends import BackendArray
from zarr.storage import FsspecStore, LocalStore

from npczarr.errors import NpczarrError
from npczarr.store.backend import ScanVoxels
from npczarr.store.cohort import StoredCohort
from npczarr.store.location import locate


def cohort_behind(dataset: xr.Dataset, names: tuple[str, ...]) -> StoredCohort | None:
    """Return the store whose whole, unchanged arrays some variables of a Dataset are; else None.

    A selection, an edited mask, or the mask of another Dataset must not be mistaken for what the store holds: values
    that have been loaded, selected, computed or replaced have no origin here.

    Parameters
    ----------
    dataset
        Opened by ``npczarr.open`` or by plain ``xr.open_zarr``, with Dask or without.
    names
        Which of `image` and `mask` it has.
    """
    origins = [(name, _origin(dataset[name].variable)) for name in names]
    ours = {id(origin.cohort): origin.cohort for _, origin in origins if isinstance(origin, ScanVoxels)}
    if all(isinstance(origin, ScanVoxels) and origin.name == name for name, origin in origins) and len(ours) == 1:
        return next(iter(ours.values()))
    source = dataset.encoding.get("source")
    arrays = [(name, getattr(origin, "_array", None)) for name, origin in origins]
    if not isinstance(source, str) or not all(_is_array_of(source, name, array) for name, array in arrays):
        return None
    try:
        return StoredCohort(locate(source))
    except NpczarrError:
        return None


def source_of(dataset: xr.Dataset) -> StoredCohort | None:
    """Return the store that a Dataset, or what it was selected from, was opened from; None where there is none."""
    source = dataset.encoding.get("source")
    if not isinstance(source, str):
        return None
    try:
        return StoredCohort(locate(source, dataset.encoding.get("storage_options")))
    except NpczarrError:
        return None


def is_as_stored(variable: xr.Variable) -> bool:
    """Whether a variable is a whole array of a store, lazy, decoded at most: to load it computes nothing else."""
    return isinstance(_origin(variable), BackendArray)


def is_table_of(cohort: StoredCohort, name: str, variable: xr.Variable) -> bool:
    """Whether a variable is a whole table of a store, lazy: what it says need not be read to be what the store says."""
    origin = _origin(variable)
    shared = getattr(cohort.read, "__self__", None)  # the tables that npczarr.open reads for the Dataset and the cohort
    if shared is not None and getattr(origin, "_tables", None) is shared:
        return bool(origin._name == name)
    return _is_array_of(cohort.location.url, name, getattr(origin, "_array", None))


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What holds the values of a variable at one time.

    Parameters
    ----------
    variable, data, innermost
        The variable, its data, and what these wrap in the end: xarray puts an array there when values are kept or set.
    name
        Name of a Dask array, which is another once values are set in it; else "".
    """

    variable: xr.Variable
    data: Any
    innermost: Any
    name: str

    def is_same(self, other: Held | None) -> bool:
        """Whether nothing was replaced or set in between; values set in a NumPy array cannot be told."""
        return (
            other is not None
            and self.variable is other.variable
            and self.data is other.data
            and self.innermost is other.innermost
            and self.name == other.name
        )


def held_by(variable: xr.Variable) -> Held:
    """Return what holds the values of a variable now."""
    data: Any = variable._data
    innermost = data
    while (inner := getattr(innermost, "array", None)) is not None:
        innermost = inner
    return Held(variable, data, innermost, data.name if hasattr(data, "dask") else "")


def _is_array_of(source: str, name: str, array: Any) -> bool:  # noqa: ANN401 - whatever xarray wraps
    """Whether a zarr array is the one of this name in the root of a store."""
    if not isinstance(array, zarr.Array) or array.path != name:
        return False
    store: Any = array.store
    if isinstance(store, LocalStore):
        return "://" not in source and Path(store.root).resolve() == Path(source).resolve()
    return isinstance(store, FsspecStore) and source.rstrip("/").endswith(f"/{store.path.strip('/')}")


def _origin(variable: xr.Variable) -> Any:  # noqa: ANN401 - a BackendArray or None
    """Unwrap a variable down to the array of a backend, as long as nothing selects or changes its values."""
    found: Any = variable._data
    if hasattr(found, "dask"):
        found = _wrapped_by_dask(found)
    while found is not None and hasattr(found, "array"):
        key = getattr(getattr(found, "key", None), "tuple", ())
        if any(not isinstance(part, slice) or part != slice(None) for part in key):
            return None
        found = found.array
    return found if getattr(found, "shape", None) == variable.shape else None


def _wrapped_by_dask(array: Any) -> Any:  # noqa: ANN401 - a Dask array; what it was made from, or None
    """Return what a Dask array was made from, if that is all it is."""
    layers = dict(array.dask.layers)
    top = layers.pop(array.name, None)
    inputs = [value for value, indices in getattr(top, "indices", ()) if indices is None]
    originals = [value for layer in layers.values() for value in getattr(layer, "mapping", {}).values()]
    wrapped = [value for value in (*inputs, *originals) if hasattr(value, "array")]
    return wrapped[0] if len(wrapped) == 1 and len(layers) == len(originals) else None
