"""How voxels are laid out in chunks and shards; planning only, no store is touched.

A chunk is one slice at the cohort's most common matrix size, a shard is one whole scan. A scan that is larger than all
before it makes the array grow; its shards stay as they are, so such a scan takes more than one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from npczarr.errors import ParameterError
from npczarr.model.geometry import Shape

CODECS = ("lz4", "zstd")


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

    def grown(self, shape_zyx: Shape) -> Layout:
        """Return the layout with room for a scan of this shape; chunks and shards stay."""
        z, y, x = (max(n, extent) for n, extent in zip(shape_zyx, self.extent_zyx, strict=True))
        return replace(self, extent_zyx=(z, y, x))

    def shards(self) -> Iterator[Shape]:
        """Give the index of every shard that a scan may take, in C order."""
        counts = (-(-extent // shard) for extent, shard in zip(self.extent_zyx, self.shard_zyx, strict=True))
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


def plan_layout(shapes_zyx: Iterable[Shape], *, dtype: str = "int16", codec: str = "lz4") -> Layout:
    """Lay out a cohort of scans of these shapes: chunk = most common matrix (the largest of those tied), shard = scan.

    >>> plan_layout([(30, 512, 512), (34, 512, 512), (20, 640, 640)])
    Layout(extent_zyx=(34, 640, 640), chunk_zyx=(1, 512, 512), shard_zyx=(34, 1024, 1024), dtype='int16', codec='lz4')
    """
    shapes = list(shapes_zyx) or [(1, 1, 1)]
    matrices = Counter((y, x) for _, y, x in shapes)
    rows, columns = max(matrices, key=lambda matrix: (matrices[matrix], matrix))
    extent = (max(s[0] for s in shapes), max(s[1] for s in shapes), max(s[2] for s in shapes))
    shard = (extent[0], -(-extent[1] // rows) * rows, -(-extent[2] // columns) * columns)
    return Layout(extent, (1, rows, columns), shard, dtype, codec)
