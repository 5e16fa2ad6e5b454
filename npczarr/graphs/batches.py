"""Many small scans to a Dask task: what a scheduler spends on a task is more than measuring such a scan takes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import TaskRef  # the base of a Future of distributed, which need not be installed
from dask.base import optimize, tokenize
from dask.core import get_dependencies
from dask.highlevelgraph import HighLevelGraph
from dask.local import get_sync
from numpy.typing import NDArray

from npczarr import freed_memory

_LARGEST = 32 * 2**20  # bytes of voxels in a batch of several blocks, which are read one after the other
_FEWEST = 32  # batches, where there are as many blocks: so that several workers end at the same time

Key = Any  # of a Dask graph: text, or a tuple of text and numbers
Place = tuple[slice, ...]
#: Geometry of a block of scans and their voxels, to the results of the block.
BlockFunction = Callable[..., NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The tasks of several blocks, which run as one.

    Parameters
    ----------
    tasks
        Dask graph of the blocks.
    results
        Keys in it, in the order of the blocks.
    inputs
        Keys of what comes from tasks outside.
    """

    tasks: Mapping[Key, Any]
    results: tuple[Key, ...]
    inputs: tuple[Key, ...]


def in_batches(
    function: BlockFunction,
    blocks: Sequence[da.Array],
    table: Any,  # noqa: ANN401 - NumPy or Dask
    shape: tuple[int, ...],
    *,
    name: str,
) -> da.Array:
    """Build the lazy array of ``function(table, *blocks)``: one Dask task for many small blocks, and one that joins.

    Parameters
    ----------
    function
        What is done with a block, such as a function of an importable module; returns floats.
    blocks
        Arrays of the same shape, in chunks that are whole along their last three axes (z, y, x).
    table
        (…, n): what else is known of each scan, on all axes of the blocks but the last three.
    shape
        What the function returns for each scan.
    name
        Name of the tasks.

    Returns
    -------
    dask.array.Array
        (…, *shape) in one chunk.
    """
    scans = blocks[0].shape[:-3]
    blocks = [block if block.chunks == blocks[0].chunks else block.rechunk(blocks[0].chunks) for block in blocks]
    name = f"{name}-{tokenize(function, [block.name for block in blocks], table)}"
    inputs = [*blocks, table.rechunk(-1)] if isinstance(table, da.Array) else list(blocks)
    optimized = optimize(*inputs)
    graph: dict[Key, Any] = {key: value for array in inputs for key, value in _on_workers(array)}
    for array in optimized:
        graph.update(array.__dask_graph__())
    whole_table = (optimized[-1].name, *(0 for _ in table.shape)) if isinstance(table, da.Array) else None
    tasks: dict[Key, Any] = {}
    places: list[Place] = []
    for at, place in _places(blocks[0]):
        known = table[place] if whole_table is None else (operator.getitem, whole_table, place)
        tasks[("block", len(places))] = (function, known, *((block.name, *at, 0, 0, 0) for block in blocks))
        places.append(place)
    layer, batches = _layer(name, graph, tasks, _blocks_in_batch(blocks))
    chosen = [tuple(places[first : first + size]) for first, size in batches]
    parts = [(name, i) for i in range(len(batches))]
    joined = f"join-{name}"
    layer[(joined, *(0 for _ in (*scans, *shape)))] = (join_blocks, parts, _Places(tuple(chosen)), (*scans, *shape))
    whole = HighLevelGraph({joined: layer}, {joined: set()})
    return da.Array(whole, joined, chunks=tuple((n,) for n in (*scans, *shape)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the blocks of each batch lie; a record, so that Dask does not look for tasks in it."""

    of_batch: tuple[tuple[Place, ...], ...]


def run_batch(batch: Batch, values: list[Any]) -> list[NDArray[Any]]:
    """Run the tasks of a batch one after the other, in this thread."""
    freed_memory.keep()
    graph = {**batch.tasks, **dict(zip(batch.inputs, values, strict=True))}
    found = get_sync(graph, list(batch.results))
    return list(found)


def join_blocks(parts: list[list[NDArray[Any]]], places: _Places, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Lay the blocks of all batches into one array."""
    result = np.full(shape, np.nan)
    for values, of_batch in zip(parts, places.of_batch, strict=True):
        for block, place in zip(values, of_batch, strict=True):
            result[place] = block
    return result


def _on_workers(array: da.Array) -> Iterator[tuple[Key, TaskRef]]:
    """Give the blocks that workers of distributed hold already, after ``persist()``; optimizing leaves them out."""
    for layer in array.dask.layers.values():
        if getattr(layer, "is_materialized", bool)():
            yield from ((key, value) for key, value in layer.items() if isinstance(value, TaskRef))


def _places(blocks: da.Array) -> Iterator[tuple[tuple[int, ...], Place]]:
    """Give the number of each block along all axes but the last three, and which scans it holds."""
    axes = []
    for sizes in blocks.chunks[:-3]:
        ends = np.cumsum(sizes).tolist()
        axes.append([slice(end - size, end) for end, size in zip(ends, sizes, strict=True)])
    for at in product(*(range(len(axis)) for axis in axes)):
        yield at, tuple(axis[i] for axis, i in zip(axes, at, strict=True))


def _blocks_in_batch(blocks: Sequence[da.Array]) -> int:
    size = sum(int(prod(block.chunksize)) * block.dtype.itemsize for block in blocks)
    count = int(prod(blocks[0].numblocks))
    return max(1, min(int(_LARGEST // max(1, size)), ceil(count / _FEWEST)))


def _layer(
    name: str, graph: Mapping[Key, Any], tasks: Mapping[Key, Any], size: int
) -> tuple[dict[Key, Any], list[tuple[int, int]]]:
    """Put the tasks of blocks, and those that only they need, into batches.

    Returns
    -------
    tuple
        A graph of batches, and of what several of them need; and of each batch its first block and their number.
    """
    ends = list(tasks)
    batches = [ends[i : i + size] for i in range(0, len(ends), size)]
    whole = {**graph, **tasks}
    held = {key for key, value in graph.items() if isinstance(value, TaskRef)}
    needs = {key: set() if key in held else get_dependencies(whole, key) for key in whole}
    owner = _owners(needs, batches, held)
    layer: dict[Key, Any] = {key: graph[key] for key, one in owner.items() if one is None}
    own: list[dict[Key, Any]] = [{} for _ in batches]
    inputs: list[dict[Key, None]] = [{} for _ in batches]
    for key, one in owner.items():
        if one is not None:
            own[one][key] = whole[key]
            inputs[one] |= {need: None for need in needs[key] if owner[need] is None}
    for i, ends_of_batch in enumerate(batches):
        batch = Batch(own[i], tuple(ends_of_batch), tuple(inputs[i]))
        layer[(name, i)] = (run_batch, batch, list(inputs[i]))
    return layer, [(i * size, len(batch)) for i, batch in enumerate(batches)]


def _owners(
    needs: Mapping[Key, set[Key]], batches: Sequence[Sequence[Key]], held: Container[Key]
) -> dict[Key, int | None]:
    """Say which batch a task belongs to; None for one that several need, and for what workers hold already.

    Dask replaces what workers hold by its value in arguments of tasks, but not inside a :class:`Batch`.
    """
    owner: dict[Key, int | None] = {}
    for i, ends in enumerate(batches):
        waiting = list(ends)
        while waiting:
            key = waiting.pop()
            if key not in owner:
                owner[key] = None if key in held else i
            elif owner[key] is None or owner[key] == i:
                continue
            else:
                owner[key] = None
            waiting += needs[key]
    _share(owner, needs)
    return owner


def _share(owner: dict[Key, int | None], needs: Mapping[Key, set[Key]]) -> None:
    """Share what a shared task needs too."""
    waiting = [key for key, one in owner.items() if one is None]
    while waiting:
        for need in needs[waiting.pop()]:
            if owner[need] is not None:
                owner[need] = None
                waiting.append(need)
