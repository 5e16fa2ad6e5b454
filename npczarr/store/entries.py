"""What the tables of a Dataset say of one scan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr

from npczarr.model.schema import COORDINATES
from npczarr.store.origin import is_as_stored


class DatasetTables:
    """Every table of a Dataset, quick to look into: those that are just as they were opened are loaded once, whole.

    Parameters
    ----------
    dataset
        A cohort or a selection of it.
    voxels
        Names of the variables that are no tables.
    """

    def __init__(self, dataset: xr.Dataset, voxels: tuple[str, ...]) -> None:
        self._dataset = dataset
        self._voxels = voxels
        self._remote = "://" in str(dataset.encoding.get("source", ""))
        #: By name: a variable of the Dataset, and the same in memory.
        self._loaded: dict[str, tuple[xr.Variable, xr.Variable]] = {}

    def entries(self, place: Mapping[str, int]) -> dict[str, xr.Variable]:
        """Return the entries of one scan, in memory; of a remote store only its coordinates are, the rest is lazy.

        Parameters
        ----------
        place
            Index by dimension.
        """
        self._load()
        found = {name: _entry(self._current(name, variable), place) for name, variable in self._tables()}
        lazy = {name: one for name, one in found.items() if not _in_memory(one) and self._is_wanted(name)}
        if lazy:
            found |= {str(name): one for name, one in xr.Dataset(lazy).load().variables.items()}
        return found

    def _tables(self) -> Iterator[tuple[str, xr.Variable]]:
        for name, variable in self._dataset.variables.items():
            if name not in self._voxels:
                yield str(name), variable

    def _is_wanted(self, name: str) -> bool:
        return not self._remote or name in COORDINATES or name in self._dataset.coords

    def _current(self, name: str, variable: xr.Variable) -> xr.Variable:
        before, loaded = self._loaded.get(name, (None, variable))
        return loaded if before is variable else variable

    def _load(self) -> None:
        wanted = {
            name: variable
            for name, variable in self._tables()
            if not _in_memory(self._current(name, variable)) and self._is_wanted(name) and is_as_stored(variable)
        }
        if wanted:
            loaded = xr.Dataset(wanted).load().variables
            self._loaded |= {name: (variable, loaded[name]) for name, variable in wanted.items()}


def _in_memory(variable: xr.Variable) -> bool:
    return isinstance(variable._data, np.ndarray) or isinstance(variable, xr.IndexVariable)


def _entry(variable: xr.Variable, place: Mapping[str, int]) -> xr.Variable:
    """Choose the entry of a scan; of values in memory without what makes xarray's own selection slow."""
    index = tuple(place.get(str(dim), slice(None)) for dim in variable.dims)
    if not isinstance(variable._data, np.ndarray):
        return variable[index]
    dims = tuple(dim for dim in variable.dims if dim not in place)
    chosen = np.asarray(variable._data[index], dtype=variable.dtype)
    return xr.Variable(dims, chosen, variable.attrs, variable.encoding, fastpath=True)
