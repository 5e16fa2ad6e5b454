"""How voxels are laid out in chunks and shards; planning only, no store is touched.

A chunk is one slice at the cohort's most common matrix size, a shard is one whole scan. A scan that is larger than all
before it makes the array grow; its shards stay as they are, so such a scan takes more than one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import median

import numpy as np

from npczarr.errors import ParameterError, SourceError
from npczarr.model.geometry import Shape
from npczarr.model.limits import GB, Limits

CODECS = ("lz4", "zstd")
_MOST_CHUNKS = 2**16  # of a shard: its index takes 16 bytes for each
_MOST_SHARDS = 2**12  # of a scan that is larger than the plan


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes of `image` and `mask` along z, y, x.

    Parameters
    ----------
    extent_zyx
        Size of the arrays.
    chunk_zyx
        Size of a chunk: one slice.
    shard_zyx
        Size of a shard, a multiple of the chunk.
    dtype
        Type of `image`: int16, int32, or float32 once resampled.
    codec
        Compressor inside Blosc.
    """

    extent_zyx: Shape
    chunk_zyx: Shape
    shard_zyx: Shape
    dtype: str = "int16"
    codec: str = "lz4"

    def fits(self, shape_zyx: Shape) -> bool:
        """Whether a scan of this shape fits the arrays."""
        return all(n <= extent for n, extent in zip(shape_zyx, self.extent_zyx, strict=True))

    def grown(self, shape_zyx: Shape, limits: Limits) -> Layout:
        """Return the layout with room for a scan of this shape; chunks and shards stay.

        Raises
        ------
        SourceError
            If the scan is longer than the limit, would pad every other beyond it, or be cut into thousands of shards.
        """
        limits.check_axes(shape_zyx)
        z, y, x = (max(n, extent) for n, extent in zip(shape_zyx, self.extent_zyx, strict=True))
        padded = f"a scan of {shape_zyx} voxels among scans of {self.extent_zyx} makes the arrays {(z, y, x)}"
        try:
            limits.check_voxels(math.prod((z, y, x)) * np.dtype(self.dtype).itemsize)
        except SourceError as error:
            raise SourceError(f"{padded}, and each is padded to it: {error}") from error
        shards = math.prod(-(-n // shard) for n, shard in zip(shape_zyx, self.shard_zyx, strict=True))
        if shards > _MOST_SHARDS:
            raise SourceError(
                f"{padded}, whose shards of {self.shard_zyx} would be {shards} of this scan; convert into a new store"
            )
        return replace(self, extent_zyx=(z, y, x))

    def shards(self, shape_zyx: Shape) -> Iterator[Shape]:
        """Give the index of every shard that a scan of this shape may take, in C order."""
        counts = (-(-n // shard) for n, shard in zip(shape_zyx, self.shard_zyx, strict=True))
        for z, y, x in product(*(range(n) for n in counts)):  # noqa: UP028 - unpacked, it is typed
            yield z, y, x


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
    """Lay out a cohort of scans of these shapes: chunk = most common matrix (the largest of those tied), shard = scan.

    Every scan is padded to the largest. Shapes by which they would be padded beyond the limits are left out of the
    plan; such a scan is refused when it is written, by :meth:`Layout.grown`.

    >>> plan_layout([(30, 512, 512), (34, 512, 512), (20, 640, 640)])
    Layout(extent_zyx=(34, 640, 640), chunk_zyx=(1, 512, 512), shard_zyx=(34, 1024, 1024), dtype='int16', codec='lz4')
    """
    shapes = list(shapes_zyx)
    if limits is not None:
        within = [shape for shape in shapes if max(shape) <= limits.axis_voxels]
        shapes = _without_outliers(within, limits.scan_gb * GB / np.dtype(dtype).itemsize)
    shapes = shapes or [(1, 1, 1)]
    extent = _extent(shapes)
    matrices = Counter((y, x) for _, y, x in shapes)
    common = sorted(matrices, key=lambda matrix: (matrices[matrix], matrix), reverse=True)
    shards = (_shard(extent, matrix) for matrix in [*common, extent[1:]])
    chunk, shard = next((c, s) for c, s in shards if math.prod(s) <= _MOST_CHUNKS * math.prod(c) or c[1:] == extent[1:])
    return Layout(extent, chunk, shard, dtype, codec)


def _shard(extent_zyx: Shape, matrix: tuple[int, int]) -> tuple[Shape, Shape]:
    """Return the chunk of a matrix, and the shard of such chunks that a scan of this extent fits."""
    (z, y, x), (rows, columns) = extent_zyx, matrix
    return (1, rows, columns), (z, -(-y // rows) * rows, -(-x // columns) * columns)


def _extent(shapes: Sequence[Shape]) -> Shape:
    return max(s[0] for s in shapes), max(s[1] for s in shapes), max(s[2] for s in shapes)


def _without_outliers(shapes: list[Shape], most_voxels: float) -> list[Shape]:
    """Leave out the shapes that lie farthest from the median along an axis, until the padded scan is small enough."""
    while shapes and math.prod(extent := _extent(shapes)) > most_voxels:
        axis = max(range(3), key=lambda i: extent[i] / median(shape[i] for shape in shapes))
        shapes = [shape for shape in shapes if shape[axis] < extent[axis]]
    return shapes
