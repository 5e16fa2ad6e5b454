"""What the tables of a Dataset say of one scan."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import xarray as xr
from xarray.core import indexing

from npczarr.model.schema import COORDINATES, STORED
from npczarr.store.axis_order import AXIS, IN_ORDER, axis_places
from npczarr.store.origin import Held, held_by, is_as_stored

#: By name, what the tables say of one scan.
Entries = Mapping[str, xr.Variable]


class DatasetTables:
    """Every table of a Dataset, quick to look into: those that are just as they were opened are loaded once, whole.

    Parameters
    ----------
    dataset
        A cohort or a selection of it; it may be changed in place.
    voxels
        Names of the variables that are no tables.
    """

    def __init__(self, dataset: xr.Dataset, voxels: tuple[str, ...]) -> None:
        self._dataset = dataset
        self._voxels = voxels
        self._remote = "://" in str(dataset.encoding.get("source", ""))
        #: By name: what held the values of a variable, and the variable in memory.
        self._loaded: dict[str, tuple[Held, xr.Variable]] = {}

    def entries(self, place: Mapping[str, int], names: Collection[str] | None = None) -> dict[str, xr.Variable]:
        """Return the entries of one scan, in memory; of a remote store only its coordinates are, the rest is lazy.

        Parameters
        ----------
        place
            Index by dimension.
        names
            Tables that are asked for, if they are there; by default all.

        Returns
        -------
        dict
            By name; along `axis` in the order z, y, x.

        Raises
        ------
        ParameterError
            If the tables lack one of the three axes.
        """
        current = self._load()
        found = {n: _entry(variable, place) for n, variable in current.items() if names is None or n in names}
        found = self._in_axis_order(found)
        lazy = {name: one for name, one in found.items() if not in_memory(one) and self._is_wanted(name)}
        if lazy:
            found |= {str(name): one for name, one in xr.Dataset(lazy).load().variables.items()}
        return found

    def _in_axis_order(self, found: dict[str, xr.Variable]) -> dict[str, xr.Variable]:
        """Lay entries of a scan along `axis` as a store has them."""
        along = {name: one for name, one in found.items() if AXIS in one.dims or name in ("shape", "spacing")}
        if not along:
            return found
        variables = self._dataset.variables
        for name, one in along.items():
            places = axis_places(variables, one.sizes, where=name)
            found[name] = one if places == IN_ORDER else one.isel({AXIS: places})
        return found

    def _tables(self) -> Iterator[tuple[str, xr.Variable]]:
        for name, variable in self._dataset.variables.items():
            if name not in self._voxels and not _is_pairs(variable):
                yield str(name), variable

    def _is_wanted(self, name: str) -> bool:
        return not self._remote or name in COORDINATES or name in self._dataset.coords

    def _current(self, name: str, variable: xr.Variable) -> xr.Variable:
        """Return a variable in memory, if it was loaded and has not been changed since, or xarray keeps its values."""
        if in_memory(variable):
            return variable
        held = held_by(variable)
        if isinstance(held.innermost, np.ndarray):
            return xr.Variable(variable.dims, variable.values, variable.attrs, variable.encoding, fastpath=True)
        before, loaded = self._loaded.get(name, (None, variable))
        return loaded if held.is_same(before) else variable

    def _load(self) -> dict[str, xr.Variable]:
        """Return every table, those in memory that are to be loaded once."""
        tables = dict(self._tables())
        current = {name: self._current(name, variable) for name, variable in tables.items()}
        wanted = {
            name: tables[name]
            for name, variable in current.items()
            if not in_memory(variable) and self._is_wanted(name) and is_as_stored(tables[name])
        }
        if wanted:
            loaded = xr.Dataset(wanted).load().variables
            self._loaded |= {name: (held_by(variable), loaded[name]) for name, variable in wanted.items()}
            current |= {name: loaded[name] for name in wanted}
        return current


def in_memory(variable: xr.Variable) -> bool:
    """Whether to look at the values of a variable reads nothing."""
    return isinstance(variable._data, np.ndarray) or isinstance(variable, xr.IndexVariable)


def digest_known(entries: Entries, name: str) -> str | None:
    """Return the digest of image or mask of a scan: "" where there are no such voxels, None where it is not known.

    Parameters
    ----------
    entries
        What the tables say of the scan.
    name
        ``"image"`` or ``"mask"``.
    """
    if f"{name}_digest" not in entries:
        return None
    digest = str(entries[f"{name}_digest"].values)
    if digest or (name == "image" and "rater" in entries):  # a store of raters holds no images
        return digest
    status = "mask_status" if name == "mask" else "status"
    return None if status not in entries or str(entries[status].values) in STORED else ""


def _is_pairs(variable: xr.Variable) -> bool:
    """Whether a variable is the pairs of an index of several levels, which are variables of their own."""
    return isinstance(variable._data, indexing.PandasMultiIndexingAdapter) and variable._data.level is None


def _entry(variable: xr.Variable, place: Mapping[str, int]) -> xr.Variable:
    """Choose the entry of a scan; of values in memory without what makes xarray's own selection slow."""
    index = tuple(place.get(str(dim), slice(None)) for dim in variable.dims)
    if not isinstance(variable._data, np.ndarray):
        return variable[index]
    dims = tuple(dim for dim in variable.dims if dim not in place)
    chosen = np.array(variable._data[index], dtype=variable.dtype)  # a copy: the cohort's tables are not a scan's
    return xr.Variable(dims, chosen, variable.attrs, variable.encoding, fastpath=True)
