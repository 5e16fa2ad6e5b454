"""Patches for training: statistics of a scan, and tiles of it normalized into a patch in one pass."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from npczarr.model.geometry import Floats
from npczarr.model.training import PERCENTILES, POINTS, ScanFacts

_LEAST = -(2**15)  # of int16


def scan_facts(image: NDArray[Any] | None, mask: NDArray[Any] | None, padding: float) -> ScanFacts:
    """Find the statistics and the foreground of one scan.

    Parameters
    ----------
    image, mask
        (z, y, x) stored values and labels; None where there is none.
    padding
        Value of `image` outside the field of view, which counts nowhere.
    """
    foreground = np.empty((0, 4), np.int32) if mask is None else _foreground(mask)
    if image is None:
        return ScanFacts.of([math.nan] * 6, foreground)
    mean, deviation, low, high = _statistics(_inside(image, padding))
    of_tumor = math.nan, math.nan
    if mask is not None and len(foreground):
        of_tumor = _statistics(_inside(image[mask > 0], padding))[:2]
    return ScanFacts.of((mean, deviation, low, high, *of_tumor), foreground)


def _inside(image: NDArray[Any], padding: float) -> NDArray[Any]:
    values = image.ravel()
    if math.isnan(padding):
        inside = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, dtype=bool)
    else:
        inside = values != padding
    found: NDArray[Any] = values[inside]
    return found


def _statistics(values: NDArray[Any]) -> tuple[float, float, float, float]:
    if not values.size:
        return math.nan, math.nan, math.nan, math.nan
    low, high = _percentiles(values)
    return float(np.mean(values, dtype=np.float64)), float(np.std(values, dtype=np.float64)), float(low), float(high)


def _percentiles(values: NDArray[Any]) -> tuple[float, float]:
    """Return the percentiles :data:`PERCENTILES` as NumPy defines them; of int16 from a histogram."""
    if values.dtype != np.int16:
        low, high = np.percentile(values, PERCENTILES)
        return float(low), float(high)
    upto = np.cumsum(_counts(values))
    found = []
    for percent in PERCENTILES:
        place = percent / 100 * (values.size - 1)
        first = int(place)
        one, other = (int(n) + _LEAST for n in np.searchsorted(upto, (first, min(first + 1, values.size - 1)), "right"))
        found.append(one + (place - first) * (other - one))
    return found[0], found[1]


@numba.njit(nogil=True, cache=True)
def _counts(values: NDArray[np.int16]) -> NDArray[np.int64]:
    """Return how often each int16 occurs, from the least."""
    counts = np.zeros(65536, np.int64)
    for value in values:
        counts[np.int64(value) + 32768] += 1
    return counts


def _foreground(mask: NDArray[Any]) -> NDArray[np.int32]:
    """Choose voxels of every label evenly, in the order of the volume."""
    places = np.flatnonzero(mask)
    labels = mask.ravel()[places]
    rows = []
    for label in np.unique(labels):
        of_label = places[labels == label]
        chosen = of_label[np.linspace(0, len(of_label) - 1, min(POINTS, len(of_label))).round().astype(np.int64)]
        z, y, x = np.unravel_index(chosen, mask.shape)
        rows.append(np.stack([np.full(len(chosen), label), z, y, x], axis=1))
    return np.concatenate(rows).astype(np.int32) if rows else np.empty((0, 4), np.int32)


def normalize_into(
    chunk: NDArray[Any],
    inside: tuple[slice, slice, slice],
    scale: Floats,
    offset: Floats,
    padding: float,
    patch: NDArray[np.float32],
    span: tuple[slice, slice, slice],
) -> None:
    """Write ``scale[z] * values + offset[z]`` of a part of a chunk into a part of a patch; 0 for padding and NaN.

    Parameters
    ----------
    chunk, inside
        (z, y, x) stored values, and which of them.
    scale, offset
        (z,) of those.
    padding
        Stored value outside the field of view.
    patch, span
        (z, y, x), and where in it they belong.
    """
    if chunk.dtype.kind in "iu" and chunk.dtype.itemsize > 2:  # a float32 does not hold them
        part = chunk[inside]
        values = scale[:, None, None] * part + offset[:, None, None]
        patch[span] = np.where(part == padding, 0, values)
        return
    if chunk.dtype.kind in "iu" and math.isnan(padding):
        chunk = chunk.astype(np.float32)
    if not (chunk.flags.c_contiguous and patch.flags.c_contiguous):
        raise ValueError("chunk and patch must be in C order")
    first = tuple(s.start for s in inside)
    count = tuple(s.stop - s.start for s in inside)
    a, b = scale.astype(np.float32), offset.astype(np.float32)
    _normalize(chunk, first, count, a, b, chunk.dtype.type(padding), patch, tuple(s.start for s in span))


@numba.njit(nogil=True, cache=True)
def _normalize(
    chunk: NDArray[Any],
    first: tuple[int, int, int],
    count: tuple[int, int, int],
    scale: NDArray[Any],
    offset: NDArray[Any],
    padding: Any,  # noqa: ANN401 - of the type of the chunk
    patch: NDArray[Any],
    to: tuple[int, int, int],
) -> None:
    """Normalize row by row; whole arrays in C order and no branch in the inner loop, so that it becomes vectors."""
    empty = np.float32(0)
    for z in range(count[0]):
        a, b = scale[z], offset[z]
        for y in range(count[1]):
            source = chunk[first[0] + z, first[1] + y, first[2] : first[2] + count[2]]
            target = patch[to[0] + z, to[1] + y, to[2] : to[2] + count[2]]
            for x in range(len(target)):
                number = a * np.float32(source[x]) + b
                # | and not or: a branch would end the vectors; only NaN differs from itself
                target[x] = empty if (source[x] == padding) | (number != number) else number
