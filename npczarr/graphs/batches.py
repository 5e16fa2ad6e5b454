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
from dask.array.optimization import optimize
from dask.base import tokenize
from dask.core import flatten, get_dependencies
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph
from dask.local import get_sync
from numpy.typing import NDArray

from npczarr import freed_memory
from npczarr.model.schema import TEXT

_LARGEST = 32 * 2**20  # bytes of voxels in a batch of several blocks, which are read one after the other
_FEWEST = 32  # batches, where there are as many blocks: so that several workers end at the same time

Key = Any  # of a Dask graph: text, or a tuple of text and numbers
Place = tuple[slice, ...]
#: Geometry of a block of scans and their voxels, to the results of the block.
BlockFunction = Callable[..., NDArray[Any]]
#: Results of a block, and its texts, None where there are none.
BlockResult = tuple[NDArray[Any], NDArray[Any] | None]


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
    texts: da.Array | None = None,
) -> tuple[da.Array, da.Array | None]:
    """Build the lazy array of ``function(table, *blocks)``: one Dask task for many small blocks, and one that joins.

    What is made from the same tasks as the blocks, such as what is said of a file as it is read, comes out beside it:
    no task runs twice.

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
    texts
        A text for each scan, objects on all axes of the blocks but the last three; None if there are none.

    Returns
    -------
    tuple
        Numbers (…, *shape) and texts (…), each in one chunk.
    """
    scans = blocks[0].shape[:-3]
    blocks = [block if block.chunks == blocks[0].chunks else block.rechunk(blocks[0].chunks) for block in blocks]
    told = [] if texts is None else [texts.rechunk(blocks[0].chunks[:-3])]
    name = f"{name}-{tokenize(function, [block.name for block in (*blocks, *told)], table)}"
    inputs = [*blocks, *told, *([table.rechunk(-1)] if isinstance(table, da.Array) else [])]
    graph: dict[Key, Any] = {key: value for array in inputs for key, value in _on_workers(array)}
    graph.update(_optimized(inputs))
    whole_table = (inputs[-1].name, *(0 for _ in table.shape)) if isinstance(table, da.Array) else None
    tasks: dict[Key, Any] = {}
    places: list[Place] = []
    for at, place in _places(blocks[0]):
        known = table[place] if whole_table is None else (operator.getitem, whole_table, place)
        text = (told[0].name, *at) if told else None
        keys = ((block.name, *at, 0, 0, 0) for block in blocks)
        tasks[("block", len(places))] = (_with_text, text, function, known, *keys)
        places.append(place)
    layer, batches = _layer(name, graph, tasks, _blocks_in_batch(blocks))
    chosen = [tuple(places[first : first + size]) for first, size in batches]
    parts = [(name, i) for i in range(len(batches))]
    held = _Places(tuple(chosen))
    numbers = _joined(f"join-{name}", join_blocks, (parts, held, (*scans, *shape)), name, layer)
    return numbers, _joined(f"join-texts-{name}", join_texts, (parts, held, scans), name, layer) if told else None


def _joined(
    joined: str, join: BlockFunction, arguments: tuple[Any, ...], name: str, batches: Mapping[Key, Any]
) -> da.Array:
    """Build the array, in one chunk, that a function joins from all batches; the last argument is its shape."""
    shape = arguments[-1]
    layers = {name: batches, joined: {(joined, *(0 for _ in shape)): (join, *arguments)}}
    whole = HighLevelGraph(layers, {name: set(), joined: {name}})
    dtype = np.float64 if join is join_blocks else TEXT
    return da.Array(whole, joined, chunks=tuple((n,) for n in shape), dtype=dtype)


def values_of(arrays: Sequence[da.Array]) -> list[Delayed]:
    """Return the values of arrays of one chunk each, to be computed; no task that several of them need runs twice."""
    name = f"values-{tokenize([array.name for array in arrays])}"
    whole = HighLevelGraph({name: _optimized(arrays)}, {name: set()})
    return [Delayed((array.name, *(0 for _ in array.shape)), whole, layer=name) for array in arrays]


def _optimized(arrays: Sequence[da.Array]) -> dict[Key, Any]:
    """Optimize graphs as one: Dask, given several arrays, fuses what two of them need into both."""
    graph = HighLevelGraph.merge(*(array.dask for array in arrays))
    return dict(optimize(graph, list(flatten([array.__dask_keys__() for array in arrays]))))


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the blocks of each batch lie; a record, so that Dask does not look for tasks in it."""

    of_batch: tuple[tuple[Place, ...], ...]


def _with_text(text: Any, function: BlockFunction, *arguments: NDArray[Any]) -> BlockResult:  # noqa: ANN401
    return function(*arguments), text


def run_batch(batch: Batch, values: list[Any]) -> list[BlockResult]:
    """Run the tasks of a batch one after the other, in this thread."""
    freed_memory.keep()
    graph = {**batch.tasks, **dict(zip(batch.inputs, values, strict=True))}
    found = get_sync(graph, list(batch.results))
    return list(found)


def join_blocks(parts: list[list[BlockResult]], places: _Places, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Lay the numbers of the blocks of all batches into one array."""
    result = np.full(shape, np.nan)
    for values, of_batch in zip(parts, places.of_batch, strict=True):
        for (block, _), place in zip(values, of_batch, strict=True):
            result[place] = block
    return result


def join_texts(parts: list[list[BlockResult]], places: _Places, shape: tuple[int, ...]) -> NDArray[Any]:
    """Lay the texts of the blocks of all batches into one array."""
    result = np.full(shape, "", dtype=TEXT)
    for values, of_batch in zip(parts, places.of_batch, strict=True):
        for (_, text), place in zip(values, of_batch, strict=True):
            result[place] = text
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
