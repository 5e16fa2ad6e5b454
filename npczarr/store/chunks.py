"""A scan's voxels as chunks of its place in the store: written whole, cleared whole, and their digest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import xxhash
import zarr
from numpy.typing import NDArray

from npczarr.model.geometry import Shape
from npczarr.model.layout import Layout
from npczarr.store.encoding import Encoder, encoder_of
from npczarr.store.lease import writing
from npczarr.store.location import Location, delete, keys_below, put_all
from npczarr.store.storage_errors import translate_errors
from npczarr.store.zarr_library import WRITE_ALL_CHUNKS

Place = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ScanPlace:
    """Where the voxels of one scan go; it can travel in a task.

    Parameters
    ----------
    location, index
        The store, and the index of patient and sequence.
    layout
        Layout of the store.
    clear
        Whether chunks of an earlier version may be there.
    token
        Token of the lease under which the scan is written; "" where nobody else can see the store.
    """

    location: Location
    index: tuple[int, int]
    layout: Layout
    clear: bool
    token: str = ""

    def write(self, name: str, voxels: NDArray[Any] | None, fill: float, rater: tuple[int, ...] = ()) -> None:
        """Write `image` or `mask`, and delete what else an earlier version left; None leaves nothing there.

        Raises
        ------
        LeaseError
            If another writer has taken over.
        """
        place = (*self.index, *rater)
        with writing(self.location.open(), self.token):
            if voxels is not None:
                write_voxels(self.location, name, place, voxels, self.layout, fill)
            if self.clear:
                shape = None if voxels is None else (voxels.shape[0], voxels.shape[1], voxels.shape[2])
                clear_voxels(self.location, name, place, self.layout, shape)


def write_voxels(
    location: Location, name: str, place: Place, voxels: NDArray[Any], layout: Layout, fill: float
) -> None:
    """Write every chunk that the box of a scan meets, each whole, also those that hold nothing but the fill value.

    Parameters
    ----------
    location, name
        The store, and ``"image"`` or ``"mask"``.
    place
        Index of patient and sequence, and of the rater where there is one.
    voxels
        (z, y, x), in the type of the array.
    layout
        Layout of the store; the scan must fit its arrays.
    fill
        Value outside the scan.
    """
    with translate_errors(location.open(), f"write {name}"):
        array, encode = _writable(location, location.session(), name, layout)
        if any(i >= n for i, n in zip(place, array.shape, strict=False)):  # patients were appended since
            _writable.cache_clear()
            array, encode = _writable(location, location.session(), name, layout)
        if encode is None or voxels.dtype != encode.dtype:
            _write_by_zarr(array, name, place, voxels, layout, fill)
            return
    put_all(location.open(), _encoded(encode, name, place, voxels, layout, fill))


def _encoded(
    encode: Encoder, name: str, place: Place, voxels: NDArray[Any], layout: Layout, fill: float
) -> Iterator[tuple[str, bytes]]:
    """Give the key of every chunk that the box of a scan meets, and the chunk encoded: written while it is in cache."""
    chunk = layout.chunk_zyx(name)
    padded = np.empty(chunk, voxels.dtype)  # for all of them: memory that is new each time costs more than the copy
    filled: Shape | None = None  # around a part of this shape
    for at, key in zip(layout.chunks(name, voxels.shape), chunk_keys(name, place, layout, voxels.shape), strict=True):
        part = voxels[tuple(slice(i * n, (i + 1) * n) for i, n in zip(at, chunk, strict=True))]
        if part.shape != chunk or not part.flags.c_contiguous:
            if part.shape not in (chunk, filled):
                padded.fill(fill)
            filled = part.shape
            padded[tuple(slice(n) for n in part.shape)] = part
            part = padded
        yield key, encode(part)


def _write_by_zarr(
    array: Any,  # noqa: ANN401 - zarr's arrays are generic
    name: str,
    place: Place,
    voxels: NDArray[Any],
    layout: Layout,
    fill: float,
) -> None:
    """Write chunks that are encoded in another way than ours, as of a store that another program has rewritten."""
    box = tuple(
        min(-(-n // chunk) * chunk, extent)
        for n, chunk, extent in zip(voxels.shape, layout.chunk_zyx(name), layout.extent_zyx, strict=True)
    )
    if box != voxels.shape:  # zarr-python would read a chunk that is written in part
        padded = np.full(box, fill, dtype=voxels.dtype)
        padded[tuple(slice(0, n) for n in voxels.shape)] = voxels
        voxels = padded
    array[(*place, *(slice(0, n) for n in box))] = voxels


def clear_voxels(location: Location, name: str, place: Place, layout: Layout, keep_zyx: Shape | None = None) -> None:
    """Delete the chunks of a place, but for those that a scan of the given shape has just written."""
    prefix = chunk_prefix(name, place)
    kept = set() if keep_zyx is None else set(chunk_keys(name, place, layout, keep_zyx))
    store = location.open()
    for key in sorted(set(keys_below(store, prefix)) - kept):
        delete(store, key)


def chunk_prefix(name: str, place: Place) -> str:
    """Return the folder of a scan's chunks."""
    return "/".join((name, "c", *(str(i) for i in place)))


def chunk_keys(name: str, place: Place, layout: Layout, shape_zyx: Shape) -> Iterator[str]:
    """Give the key of every chunk that the box of a scan meets."""
    prefix = chunk_prefix(name, place)
    for z, y, x in layout.chunks(name, shape_zyx):
        yield f"{prefix}/{z}/{y}/{x}"


def is_padding(values: Any, fill: float) -> Any:  # noqa: ANN401 - a scalar or an array, and its truth
    """Whether values are the fill value, NaN or not."""
    return np.isnan(values) if math.isnan(fill) else values == fill


def without_padding(values: NDArray[Any], padding: float) -> NDArray[Any]:
    """Return values with NaN for padding, as xarray decodes them; whole numbers stay what they are if there is none."""
    outside = is_padding(values, padding)
    if math.isnan(padding) or not outside.any():
        return values
    known = values.astype(np.result_type(values, np.float32))
    known[outside] = np.nan
    return known


def digest(array: NDArray[Any]) -> str:
    """XXH3-128 of the voxels in C order, little endian, as hexadecimal digits."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return xxhash.xxh3_128_hexdigest(little.data)


@lru_cache(maxsize=16)
def _writable(
    location: Location, session: tuple[tuple[str, str], ...], name: str, layout: Layout
) -> tuple[Any, Encoder | None]:
    """Open an array to write to, and what encodes its chunks, once in each process for each size of the store."""
    found = zarr.open_array(location.open(), path=name, mode="r+", zarr_format=3)
    return found.with_config(WRITE_ALL_CHUNKS), encoder_of(found, layout.chunk_zyx(name))
