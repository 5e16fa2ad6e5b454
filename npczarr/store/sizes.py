"""Sizes of a store's arrays and of its results: whether they are as wanted, and made so."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr

from npczarr.errors import NpczarrError
from npczarr.model.derived import command_of, is_derived
from npczarr.model.geometry import AXES
from npczarr.model.schema import EXTENT, TEXT
from npczarr.store.hierarchy import array, arrays_of, dims_of, groups_of
from npczarr.store.location import delete_below
from npczarr.store.storage_errors import first_line


def resize_array(found: Any, shape: tuple[int, ...], *, voxels: bool) -> None:  # noqa: ANN401 - a zarr array
    """Resize an array; of a table every chunk is written, also one that is new."""
    if shape != found.shape:
        found.resize(shape)
    if not voxels and 0 not in shape:
        found[...] = found[...]


def resize_results(group: zarr.Group, names: Mapping[str, list[str]]) -> None:
    """Give results the labels of the store, so that the tree stays aligned; what is new is NaN until it is measured.

    A result that cannot be read is deleted: it is measured anew from the scans.
    """
    for _, result in groups_of(group):
        try:
            _resize_result(result, names)
        except NpczarrError:
            raise
        except Exception as error:  # codecs name damage in a dozen ways
            if not is_derived(result.path):
                raise
            delete_below(group.store, result.path)
            logging.getLogger("npczarr").warning(
                "%s: the result %s is damaged (%s: %s) and was deleted; `%s` measures it anew",
                group.store, result.path, type(error).__name__, first_line(error), command_of(result.path),
            )  # fmt: skip
            continue
        resize_results(result, names)


def _resize_result(result: zarr.Group, names: Mapping[str, list[str]]) -> None:
    for name, found in arrays_of(result):
        lengths = zip(dims_of(found), found.shape, strict=True)
        resize_array(found, tuple(len(names[dim]) if dim in names else n for dim, n in lengths), voxels=False)
        if name in names:
            found[:] = np.array(names[name], dtype=TEXT)


def is_sized(root: zarr.Group, sizes: Mapping[str, int]) -> bool:
    """Whether every array of the store and of its results has these sizes."""
    lengths = {dim: sizes[dim] for dim in ("patient", "sequence")}
    return all(found.shape == tuple(sizes[dim] for dim in dims_of(found)) for _, found in arrays_of(root)) and all(
        n == lengths.get(dim, n)
        for found in _result_arrays(root)
        for dim, n in zip(dims_of(found), found.shape, strict=True)
    )


def _result_arrays(group: zarr.Group) -> list[Any]:
    found = []
    for _, result in groups_of(group):
        found += [one for _, one in arrays_of(result)] + _result_arrays(result)
    return found


def is_labelled(root: zarr.Group, dim: str, names: list[str]) -> bool:
    """Whether a dimension of the store has these labels."""
    return [str(label) for label in array(root, dim)[:]] == names


def set_extent(root: zarr.Group, before: Mapping[str, int], sizes: Mapping[str, int], *, interrupted: bool) -> None:
    """Let `shape` say the new size of the voxel arrays; a copy of a part goes on saying that of the whole.

    Parameters
    ----------
    root
        The store.
    before, sizes
        Sizes of its dimensions, as they were and as they are.
    interrupted
        Whether a run before this one began to change them.
    """
    table = array(root, "shape")
    said = table.attrs.get(EXTENT)
    wanted = [sizes[axis] for axis in AXES]
    if said is not None and said != wanted and (interrupted or said == [before[axis] for axis in AXES]):
        table.attrs[EXTENT] = wanted
