"""The voxels of a store, described so that a worker can read them without opening the rest."""

from __future__ import annotations

import zarr

from npczarr.store.access import Location
from npczarr.store.arrays import ShardedVoxels
from npczarr.store.create import array


def voxels_of(root: zarr.Group, location: Location, name: str) -> ShardedVoxels:
    """Describe `image` or `mask` of an open store."""
    found = array(root, name)
    (z, y, x), (shard_z, shard_y, shard_x) = found.chunks[-3:], found.shards[-3:]
    fill = found.fill_value.item()
    return ShardedVoxels(location, name, found.shape, found.dtype.name, fill, (z, y, x), (shard_z, shard_y, shard_x))
