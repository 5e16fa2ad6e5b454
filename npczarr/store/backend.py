"""`image` and `mask` as xarray indexes them: of a whole cohort, and of one scan; what is read is checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from npczarr.errors import StoreError
from npczarr.store.chunks import digest
from npczarr.store.cohort import StoredCohort
from npczarr.store.scans import StoredScan, as_stored


class ScanVoxels(BackendArray):
    """One voxel array of a cohort: outside the scans it is padding, inside it is read and checked.

    Parameters
    ----------
    cohort
        The store.
    name
        ``"image"`` or ``"mask"``.
    """

    def __init__(self, cohort: StoredCohort, name: str) -> None:
        self.cohort = cohort
        self.name = name
        self._array = cohort.image if name == "image" else cohort.mask
        patients = self._array.shape[0] if cohort.patients is None else len(cohort.patients)
        self.shape = (patients, *self._array.shape[1:])
        self.dtype = np.dtype(self._array.dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return ScanVoxels, (self.cohort, self.name)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return "npczarr", self.cohort.opening, self.name

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # noqa: ANN401 - as xarray types it
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read any combination of numbers, slices and 1-D arrays of numbers."""
        lists = _lists(key, self.shape)
        shape = [len(one) for one in lists]
        result: NDArray[Any] = np.full(shape, self._array.padding, dtype=self.dtype)
        if 0 not in shape:
            for p, patient in enumerate(lists[0]):
                for s, sequence in enumerate(lists[1]):
                    scan = self.cohort.at((int(patient), int(sequence)), voxels_only=True)
                    self._fill(result[p, s], scan, lists[2:])
        return result.reshape(_kept(key, self.shape))

    def _fill(self, result: NDArray[Any], scan: StoredScan, lists: list[NDArray[Any]]) -> None:
        """Put what is chosen of one scan into its place of the result."""
        if not (scan.has_image if self.name == "image" else scan.has_mask):
            return
        raters, box = lists[:-3], lists[-3:]
        inside = [np.flatnonzero(one < n) for one, n in zip(box, scan.shape_zyx, strict=True)]
        if any(not len(one) for one in inside):
            return
        within = [one[i] for one, i in zip(box, inside, strict=True)]
        z, y, x = (slice(int(one.min()), int(one.max()) + 1) for one in within)
        values = scan.image((z, y, x)) if self.name == "image" else scan.mask((z, y, x))
        offsets = [one - s.start for one, s in zip(within, (z, y, x), strict=True)]
        places = [*(np.arange(len(one)) for one in raters), *inside]
        result[_as_index(places)] = values[_as_index([*raters, *offsets])]


class OneScan(BackendArray):
    """Image or mask of one scan of a store; a part of it reads no more than it needs."""

    def __init__(self, scan: StoredScan, name: str) -> None:
        self._scan = scan
        self.name = name
        array = scan.image_array if name == "image" else scan.mask_array
        raters = (len(scan.raters),) if scan.raters and name == "mask" else ()
        self.shape = (*raters, *scan.shape_zyx)
        self.dtype = np.dtype(array.dtype)

    def lazy(self) -> Any:  # noqa: ANN401 - a duck array of xarray
        """Return it as the data of a variable: read when it is looked at, and then kept."""
        return _kept_once_read(self)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # noqa: ANN401 - as xarray types it
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        lists, kept = _lists(key, self.shape), _kept(key, self.shape)
        if any(not len(one) for one in lists):
            return np.empty(kept, dtype=self.dtype)
        z, y, x = (slice(int(one.min()), int(one.max()) + 1) for one in lists[-3:])
        there = self._scan.has_image if self.name == "image" else self._scan.has_mask
        if there:
            values = self._scan.image((z, y, x)) if self.name == "image" else self._scan.mask((z, y, x))
        else:
            array = self._scan.image_array if self.name == "image" else self._scan.mask_array
            values = np.full([*self.shape[:-3], *(s.stop - s.start for s in (z, y, x))], array.padding, self.dtype)
        offsets = [one - s.start for one, s in zip(lists[-3:], (z, y, x), strict=True)]
        chosen: NDArray[Any] = values[_as_index([*lists[:-3], *offsets])]
        return chosen.reshape(kept)


@dataclass(frozen=True, slots=True, eq=False)
class SomeRaters:
    """A mask in a store, as some of its raters outlined it.

    Parameters
    ----------
    scan
        A scan of a store of raters.
    raters
        Numbers of the raters, in order; one number for a mask without the axis of raters, None if nothing tells which.
    """

    scan: StoredScan
    raters: int | list[int] | None

    def read(self) -> list[NDArray[np.uint8]]:
        """Return what the mask may be, (rater, z, y, x) or (z, y, x); all raters are read, for they have one digest."""
        masks = self.scan.mask()
        return list(masks) if self.raters is None else [np.asarray(masks[self.raters])]


class WholeScan(BackendArray):
    """Image or mask of one scan from any xarray variable, read whole when a part of it is first looked at.

    Parameters
    ----------
    variable
        On z, y, x, without padding; lazy or not, decoded or not.
    expected
        What it must hold, in the type in which it was stored: its digest, or a mask in a store. "" where nothing is
        known; values then stay of the type that they are of.
    what
        Name of the values for messages.
    """

    def __init__(self, variable: xr.Variable, expected: str | SomeRaters, what: str) -> None:
        self._variable = variable
        self._expected = expected
        self._what = what
        self._values: NDArray[Any] | None = None
        self.shape = variable.shape
        self.dtype = stored_dtype(variable) if expected else variable.dtype

    def lazy(self) -> Any:  # noqa: ANN401 - a duck array of xarray
        """Return it as the data of a variable: read when it is looked at, and then kept."""
        return _kept_once_read(self)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # noqa: ANN401 - as xarray types it
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        chosen: NDArray[Any] = self._whole()[_as_index(_lists(key, self.shape))]
        return chosen.reshape(_kept(key, self.shape)).copy()  # what is kept is not the caller's to change

    def _whole(self) -> NDArray[Any]:
        if self._values is None:
            values = np.asarray(self._variable.values)
            found = self._as_expected(values) if self._expected else values
            exact = exactly(found, self.dtype)
            self._values = found if exact is None else exact
        return self._values

    def _as_expected(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the values as they were stored.

        Raises
        ------
        StoreError
            If they are not what is expected.
        """
        if isinstance(self._expected, SomeRaters):
            for stored in self._expected.read():
                if any(np.array_equal(one, stored) for one in self._candidates(values)):
                    return stored
            known = "mask in the store"
        else:
            for one in self._candidates(values):
                if digest(one) == self._expected:
                    return one
            known = "digest"
        of_all = ", or raters were left out or put in another order: the digest is of all" if values.ndim > 3 else ""
        raise StoreError(
            f"{self._what} does not match its {known}: an object of the store is absent or damaged, or the "
            f"Dataset was changed after it was opened{of_all}; validate the store, or drop the digest "
            "(ds.drop_vars) from a Dataset that was changed on purpose"
        )

    def _candidates(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Give the values in each form in which they may have been stored."""
        yield from as_stored(values)
        if (exact := exactly(values, self.dtype)) is not None:
            yield exact
        fill = self._variable.encoding.get("_FillValue")
        if values.dtype.kind == "f" and fill is not None:
            yield from as_stored(np.where(np.isnan(values), fill, values))


def stored_dtype(variable: xr.Variable) -> np.dtype[Any]:
    """Return the type of integers in which a variable says that it was stored; its own where it says of none."""
    encoded: np.dtype[Any] = np.dtype(variable.encoding.get("dtype", variable.dtype))
    return encoded if encoded.kind in "iu" else np.dtype(variable.dtype)


def exactly(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Return the values in another type; None if that does not hold every one of them."""
    if np.can_cast(values.dtype, dtype):
        return values.astype(dtype, copy=False)
    if dtype.kind not in "iu" or values.dtype.kind not in "iuf":
        return None
    limits = np.iinfo(dtype)
    if values.size and not (limits.min <= values.min() and values.max() <= limits.max):  # NaN is neither
        return None
    cast = values.astype(dtype)
    return cast if (cast == values).all() else None


def _kept_once_read(array: BackendArray) -> Any:  # noqa: ANN401 - a duck array of xarray
    lazy: Any = indexing.LazilyIndexedArray(array)
    return indexing.MemoryCachedArray(indexing.CopyOnWriteArray(lazy))


def _lists(key: tuple[Any, ...], shape: tuple[int, ...]) -> list[NDArray[Any]]:
    """Spell out which indices a key chooses along each axis."""
    return [np.atleast_1d(np.arange(n)[k]) for k, n in zip(key, shape, strict=True)]


def _as_index(lists: list[NDArray[Any]]) -> tuple[Any, ...]:
    """Return the index of a box: slices where indices follow one another, for arrays of them copy voxel by voxel."""
    if all(len(one) and one[-1] - one[0] == len(one) - 1 and (np.diff(one) == 1).all() for one in lists):
        return tuple(slice(int(one[0]), int(one[-1]) + 1) for one in lists)
    return np.ix_(*lists)


def _kept(key: tuple[Any, ...], shape: tuple[int, ...]) -> list[int]:
    """Lengths of the axes that a key keeps."""
    chosen = [np.arange(n)[k] for k, n in zip(key, shape, strict=True)]
    return [len(one) for one in chosen if one.ndim]
