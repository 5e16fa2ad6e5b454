"""The voxels of a store, described so that a worker can read them without opening the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from npczarr.store.access import Location
from npczarr.store.arrays import ShardedVoxels
from npczarr.store.create import array


def voxels_of(root: zarr.Group, location: Location, name: str) -> ShardedVoxels:
    """Describe `image` or `mask` of an open store."""
    found = array(root, name)
    (z, y, x), (shard_z, shard_y, shard_x) = found.chunks[-3:], found.shards[-3:]
    fill = found.fill_value.item()
    return ShardedVoxels(location, name, found.shape, found.dtype.name, fill, (z, y, x), (shard_z, shard_y, shard_x))


def read_place(root: zarr.Group, location: Location, name: str, place: tuple[int, int]) -> NDArray[Any]:
    """Read all that a store holds of one scan, padding too: (z, y, x), or (rater, z, y, x)."""
    if [type(codec).__name__ for codec in array(root, name).compressors] != ["BloscCodec", "Crc32cCodec"]:
        return np.asarray(array(root, name)[place])  # of another program
    voxels = voxels_of(root, location, name)
    z, y, x = (slice(0, n) for n in voxels.shape[-3:])
    raters = voxels.shape[2:-3]
    read = [voxels.read((*place, *rater), (z, y, x)) for rater in np.ndindex(*raters)]
    return np.stack(read) if raters else read[0]
