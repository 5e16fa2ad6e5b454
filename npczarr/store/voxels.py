"""`image` and `mask` of a store, described so that any process can read them without opening the rest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from npczarr import freed_memory
from npczarr.errors import StoreError
from npczarr.store.hierarchy import ZarrArray
from npczarr.store.location import Location, exists
from npczarr.store.storage_errors import translate_errors
from npczarr.store.whole import WholeArrays
from npczarr.store.zarr_library import codecs_of

Window = tuple[slice, slice, slice]
_LARGEST_CHUNK = 2**31  # bytes; Blosc takes no more
#: Arrays that this process has open.
_OPENED: dict[tuple[Any, ...], ZarrArray] = {}
_MOST_OPENED = 64


@dataclass(frozen=True, slots=True)
class VoxelArray:
    """One voxel array: small, and free of open files, so it can travel in a task.

    Parameters
    ----------
    location, name
        The store and the array.
    shape, dtype, chunks
        As in the array's metadata.
    padding
        Value outside the scans, by the attribute `_FillValue` of the array.
    fill
        Value of a chunk that is absent; in stores that another program wrote it may be anything.
    fingerprint
        Encoding of the array; a process that finds another one refuses to read.
    whole
        Whether every chunk of a stored scan's box must be there, since npczarr alone wrote the store.
    """

    location: Location
    name: str
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    padding: float
    fill: float
    fingerprint: str
    whole: bool = False

    def read(self, place: tuple[int, ...], window: Window) -> NDArray[Any]:
        """Read a box (z, y, x) of one scan, as it is stored.

        Raises
        ------
        StoreError
            If a chunk is damaged or cannot be read. One that is absent gives the array's fill value, unless the
            store was written whole.
        """
        store = self.location.open(read_only=True)
        with translate_errors(store, f"read {self.name} at {'/'.join(map(str, place))}"):
            values = np.asarray(self._array()[(*place, *window)])
        if values.shape[-3:] != tuple(s.stop - s.start for s in window):
            raise StoreError(f"{self.location.shown}: {self.name} was resized while it was read; open the store again")
        return values

    def absent_objects(self, place: tuple[int, ...], shape_zyx: tuple[int, int, int]) -> list[str]:
        """List the chunks of a scan's box that have no object."""
        store = self.location.open(read_only=True)
        keys = dict.fromkeys(self._key(place, first) for first in self._firsts(shape_zyx))
        return [key for key in keys if not exists(store, key)]

    def damaged_objects(self, place: tuple[int, ...], shape_zyx: tuple[int, int, int]) -> Iterator[str]:
        """Give the chunks of a scan's box that cannot be read."""
        for first in self._firsts(shape_zyx):
            z, y, x = (slice(start, start + 1) for start in first)
            try:
                self.read(place, (z, y, x))
            except StoreError:
                yield self._key(place, first)

    def _firsts(self, shape_zyx: tuple[int, int, int]) -> Iterator[tuple[int, ...]]:
        """Give the first voxel (z, y, x) of every chunk of a scan's box."""
        return product(*(range(0, n, chunk) for n, chunk in zip(shape_zyx, self.chunks[-3:], strict=True)))

    @property
    def sharded(self) -> bool:
        """Whether an object holds several chunks."""
        return self._array().shards is not None

    def keys_of(self, indices: Iterable[tuple[int, ...]]) -> list[str]:
        """Return the keys of the objects that hold chunks."""
        encode = self._array().metadata.encode_chunk_key
        return [f"{self.name}/{encode(index)}" for index in indices]

    def _key(self, place: tuple[int, ...], voxel: tuple[int, ...]) -> str:
        """Return the key of the object that holds a voxel: of its chunk, or of the shard that holds that."""
        array = self._array()
        sizes = array.shards or array.chunks
        at = tuple(i // size for i, size in zip((*place, *voxel), sizes, strict=True))
        return f"{self.name}/{array.metadata.encode_chunk_key(at)}"

    def _array(self) -> ZarrArray:
        return _open(self.location, self.name, self.fingerprint, self.shape, self.whole)


def describe_voxels(location: Location, name: str, found: ZarrArray) -> VoxelArray:
    """Describe an array of a store that is open.

    Raises
    ------
    StoreError
        If its sizes or its type are not those of an array of scans.
    """
    shape, chunks = tuple(int(n) for n in found.shape), tuple(int(n) for n in found.chunks)
    sound = len(shape) == len(chunks) and len(shape) in (5, 6) and found.dtype.kind in "iuf" and min(chunks) > 0
    if not sound or float(np.prod(chunks, dtype=float)) * found.dtype.itemsize > _LARGEST_CHUNK:
        raise StoreError(
            f"{location.shown}: {name} of {found.dtype}, shape {shape}, chunks {chunks}: no array of scans; its "
            "metadata are damaged, convert into a new store"
        )
    default = np.nan if found.dtype.kind == "f" else 0
    padding = found.attrs.asdict().get("_FillValue", default)
    if not isinstance(padding, int | float):  # xarray writes floats as base64 of their bytes: NaN, in our stores
        padding = np.nan
    fill, fingerprint = float(found.fill_value), _fingerprint(found)
    whole = isinstance(found.store, WholeArrays) and found.store.whole
    _keep((location, location.session(), name, fingerprint, shape, whole), found)
    return VoxelArray(location, name, shape, found.dtype.name, chunks, padding, fill, fingerprint, whole)


def _fingerprint(found: ZarrArray) -> str:
    return json.dumps([found.dtype.name, list(found.chunks), codecs_of(found), str(found.fill_value)])


def _open(location: Location, name: str, fingerprint: str, shape: tuple[int, ...], whole: bool) -> ZarrArray:
    """Open an array, once in each process and for each size of the store."""
    key = location, location.session(), name, fingerprint, shape, whole
    if key not in _OPENED:
        _keep(key, _opened(location, name, fingerprint, whole))
    return _OPENED[key]


def _keep(key: tuple[Any, ...], array: ZarrArray) -> None:
    if len(_OPENED) >= _MOST_OPENED:
        _OPENED.clear()
    _OPENED[key] = array


def _opened(location: Location, name: str, fingerprint: str, whole: bool) -> ZarrArray:
    freed_memory.keep()
    store = WholeArrays(location.open(read_only=True), whole=whole)
    with translate_errors(store, f"open {name}"):
        try:
            found = zarr.open_group(store, mode="r", zarr_format=3)[name]
        except (FileNotFoundError, KeyError) as error:
            raise StoreError(f"{location.shown}: {name} is gone; open the store again") from error
        if _fingerprint(found) != fingerprint:
            raise StoreError(f"{location.shown}: {name} was encoded anew while it was read; open the store again")
        return found
