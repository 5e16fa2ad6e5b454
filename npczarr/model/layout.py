"""How voxels are laid out in regular chunks; planning only, no store is touched.

A chunk holds whole slices: rows and columns of the cohort's largest matrix, and as many slices as make a few MiB. A
scan that is larger than all before it makes the array grow; chunks stay as they are, so such a scan takes more.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import median
from typing import TypeVar

import numpy as np

from npczarr.errors import ParameterError, SourceError
from npczarr.model.geometry import Shape
from npczarr.model.limits import GB, Limits

Key = TypeVar("Key", int, tuple[int, int])
CODECS = ("lz4", "zstd")
#: Chunks of the tables: patients, and values along z.
TABLE_PATIENTS, TABLE_SLICES = 4096, 64
_IMAGE_CHUNK_BYTES = 4 * 2**20  # measured: 2 and 8 MiB were no faster, for a slice or for the cohort
_MASK_CHUNK_BYTES = 16 * 2**20  # masks compress to little, so a whole one is one object
_LARGEST_RATIO = 4  # of the largest matrix to the commonest, by area: beyond it chunks would be mostly padding
_MOST_CHUNKS = 2**12  # of a scan that is larger than the plan
_PADDED_RATIO = 4.0  # padded voxels to voxels: beyond it a user is told


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes of `image` and `mask` along z, y, x.

    Parameters
    ----------
    extent_zyx
        Size of the arrays.
    image_chunk_zyx, mask_chunk_zyx
        Size of a chunk; rows and columns are the same for both.
    dtype
        Type of `image`: int16, int32, or float32 of images of floats and once resampled.
    codec
        Compressor of `image`, inside Blosc.
    """

    extent_zyx: Shape
    image_chunk_zyx: Shape
    mask_chunk_zyx: Shape
    dtype: str = "int16"
    codec: str = "lz4"

    def chunk_zyx(self, name: str) -> Shape:
        """Return the chunk of `image` or `mask`."""
        return self.image_chunk_zyx if name == "image" else self.mask_chunk_zyx

    def fits(self, shape_zyx: Shape) -> bool:
        """Whether a scan of this shape fits the arrays."""
        return all(n <= extent for n, extent in zip(shape_zyx, self.extent_zyx, strict=True))

    def grown(self, shape_zyx: Shape, limits: Limits) -> Layout:
        """Return the layout with room for a scan of this shape; chunks stay.

        Raises
        ------
        SourceError
            If the scan is longer than the limit, would pad every other beyond it, or be cut into thousands of chunks.
        """
        limits.check_axes(shape_zyx)
        z, y, x = (max(n, extent) for n, extent in zip(shape_zyx, self.extent_zyx, strict=True))
        padded = f"a scan of {shape_zyx} voxels among scans of {self.extent_zyx} makes the arrays {(z, y, x)}"
        try:
            limits.check_voxels(math.prod((z, y, x)) * np.dtype(self.dtype).itemsize)
        except SourceError as error:
            raise SourceError(f"{padded}, and each is padded to it: {error}") from error
        chunks = math.prod(chunk_counts(shape_zyx, self.image_chunk_zyx))
        if chunks > _MOST_CHUNKS:
            raise SourceError(
                f"{padded}, whose chunks of {self.image_chunk_zyx} would be {chunks} of this scan; convert into a new "
                "store"
            )
        return replace(self, extent_zyx=(z, y, x))

    def chunks(self, name: str, shape_zyx: Shape) -> Iterator[Shape]:
        """Give the index of every chunk that the box of a scan of this shape meets, in C order."""
        counts = chunk_counts(shape_zyx, self.chunk_zyx(name))
        for z, y, x in product(*(range(n) for n in counts)):  # noqa: UP028 - unpacked, it is typed
            yield z, y, x


def chunk_counts(shape_zyx: Sequence[int], chunk_zyx: Sequence[int]) -> tuple[int, ...]:
    """Return the number of chunks along each axis that hold a box of this shape."""
    return tuple(-(-n // chunk) for n, chunk in zip(shape_zyx, chunk_zyx, strict=True))


def table_chunks(dims: Sequence[str], shape: Sequence[int]) -> tuple[int, ...]:
    """Chunks of a table; along `patient` and `z` they are of a fixed size, so that the cohort may grow."""
    fixed = {"patient": TABLE_PATIENTS, "z": TABLE_SLICES}
    return tuple(fixed.get(dim, max(1, n)) for dim, n in zip(dims, shape, strict=True))


def check_codec(codec: str) -> None:
    """Refuse a codec that is not known.

    Raises
    ------
    ParameterError
        If it is none of :data:`CODECS`.
    """
    if codec not in CODECS:
        raise ParameterError(f"codec must be one of {', '.join(CODECS)}, got {codec!r}")


def plan_layout(
    shapes_zyx: Iterable[Shape], *, dtype: str = "int16", codec: str = "lz4", limits: Limits | None = None
) -> Layout:
    """Lay out a cohort of scans of these shapes.

    Every scan is padded to the largest. Shapes by which they would be padded beyond the limits are left out of the
    plan; such a scan is refused when it is written, by :meth:`Layout.grown`.

    Rows and columns of a chunk are the largest matrix, or, where that is over four times the commonest in area, twice
    the commonest's. Its slices make about 4 MiB of an image or 16 MiB of a mask, and are never more than the commonest
    number of slices.

    >>> plan_layout([(30, 512, 512), (30, 512, 512), (20, 640, 640)])
    Layout(extent_zyx=(30, 640, 640), image_chunk_zyx=(5, 640, 640), mask_chunk_zyx=(30, 640, 640), dtype='int16', \
codec='lz4')
    """
    shapes = list(shapes_zyx)
    itemsize = np.dtype(dtype).itemsize
    if limits is not None:
        within = [shape for shape in shapes if max(shape) <= limits.axis_voxels]
        shapes = _without_outliers(within, limits.scan_gb * GB / itemsize)
    shapes = shapes or [(1, 1, 1)]
    extent = _extent(shapes)
    rows, columns = _chunk_matrix(Counter((y, x) for _, y, x in shapes), extent)
    depth = _common_depth(Counter(z for z, _, _ in shapes))
    image_depth = _slices(_IMAGE_CHUNK_BYTES, rows * columns * itemsize, depth)
    mask_depth = _slices(_MASK_CHUNK_BYTES, rows * columns, depth)
    return Layout(extent, (image_depth, rows, columns), (mask_depth, rows, columns), dtype, codec)


def padding_remark(shapes_zyx: Sequence[Shape], layout: Layout) -> str:
    """Say how far padding inflates the scans; "" where it is less than four times their voxels."""
    shapes = [shape for shape in shapes_zyx if min(shape) > 0]
    voxels = sum(math.prod(shape) for shape in shapes)
    if not voxels:
        return ""
    padded = math.prod(layout.extent_zyx) * len(shapes) / voxels
    counts = (chunk_counts(shape, layout.image_chunk_zyx) for shape in shapes)
    chunked = sum(math.prod(count) for count in counts) * math.prod(layout.image_chunk_zyx) / voxels
    if max(padded, chunked) < _PADDED_RATIO:
        return ""
    z, y, x = layout.extent_zyx
    return (
        f"scans are padded to {z} x {y} x {x} voxels, {padded:.1f} times their own; in the store's chunks they take "
        f"{chunked:.1f} times (padding compresses to almost nothing, but plain readers decode it): cohorts of very "
        "different sizes are read faster from a store each"
    )


def _chunk_matrix(matrices: Counter[tuple[int, int]], extent_zyx: Shape) -> tuple[int, int]:
    rows, columns = _commonest(matrices)
    largest = extent_zyx[1], extent_zyx[2]
    if math.prod(largest) > _LARGEST_RATIO * rows * columns:
        return min(2 * rows, largest[0]), min(2 * columns, largest[1])
    return largest


def _commonest(counts: Counter[Key]) -> Key:
    """Return the commonest key, the largest of those tied."""
    return max(counts, key=lambda key: (counts[key], key))


def _common_depth(counts: Counter[int]) -> int:
    """Return the commonest number of slices; of those tied the middle one, so that one odd scan decides nothing."""
    most = max(counts.values())
    tied = sorted(depth for depth, count in counts.items() if count == most)
    return tied[(len(tied) - 1) // 2]


def _slices(wanted_bytes: int, slice_bytes: int, most: int) -> int:
    return max(1, min(most, wanted_bytes // slice_bytes))


def _extent(shapes: Sequence[Shape]) -> Shape:
    return max(s[0] for s in shapes), max(s[1] for s in shapes), max(s[2] for s in shapes)


def _without_outliers(shapes: list[Shape], most_voxels: float) -> list[Shape]:
    """Leave out the shapes that are farthest from the median along an axis, until the padded scan is small enough."""
    while shapes and math.prod(extent := _extent(shapes)) > most_voxels:
        axis = max(range(3), key=lambda i: extent[i] / median(shape[i] for shape in shapes))
        shapes = [shape for shape in shapes if shape[axis] < extent[axis]]
    return shapes
