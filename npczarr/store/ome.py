"""Arrays of an OME-Zarr image and its label written as Zarr v3; what the metadata say is for the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray

from npczarr.store.zarr_library import image_codecs


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A group of a hierarchy: its attributes, and the array ``0`` in it, if any."""

    attributes: Mapping[str, Any]
    array: NDArray[Any] | None = None


def write_groups(folder: Path, nodes: Mapping[str, Node], dims: tuple[str, ...]) -> None:
    """Write groups by path, parents first; of each array a slice is a chunk.

    Parameters
    ----------
    folder
        Folder to create.
    nodes
        By path below it, ``""`` the root.
    dims
        Names of the dimensions of every array.
    """
    root = zarr.open_group(folder, mode="w", zarr_format=3)
    for path, node in nodes.items():
        group = root if path == "" else root.create_group(path)
        group.attrs.put(dict(node.attributes))
        if node.array is not None:
            made = group.create_array(
                "0",
                shape=node.array.shape,
                chunks=(1, *node.array.shape[1:]),
                dtype=node.array.dtype,
                compressors=image_codecs("zstd")[:1],
                dimension_names=dims,
            )
            made[...] = node.array
