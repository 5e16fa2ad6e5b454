"""What sampling patches needs to know of a scan, and how a store made for training is laid out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.model.geometry import Shape
from npczarr.model.layout import Layout
from npczarr.model.schema import SCAN, Variable

#: Group of a store in which the statistics and the foreground of its scans are kept.
TRAINING = "training"
VERSION = 2  # of the definitions below: facts of another version are found anew
#: Codecs of images. Without one they are mapped into memory, which nothing that decodes is as fast as.
CODECS = ("none", "lz4", "zstd")
#: Tiles of images: a patch decodes little more than itself, and a scan is some hundred objects at most.
IMAGE_TILE_ZYX = (16, 64, 64)
#: Tiles of masks, which are mostly background and decode quickly.
MASK_TILE_ZYX = (32, 128, 128)
#: Voxels of each label that are kept to place patches at.
POINTS = 256
PERCENTILES = (0.5, 99.5)

VARIABLES: tuple[Variable, ...] = (
    Variable("mean", SCAN, "float64", "mean of the stored values of the scan", "1"),
    Variable("standard_deviation", SCAN, "float64", "standard deviation of the stored values of the scan", "1"),
    Variable("low", SCAN, "float64", f"percentile {PERCENTILES[0]} of the stored values of the scan", "1"),
    Variable("high", SCAN, "float64", f"percentile {PERCENTILES[1]} of the stored values of the scan", "1"),
    Variable("foreground_mean", SCAN, "float64", "mean of the stored values where the mask is not 0", "1"),
    Variable("foreground_standard_deviation", SCAN, "float64", "their standard deviation", "1"),
    Variable(
        "foreground",
        (*SCAN, "point", "place"),
        "int32",
        f"label, z, y, x of up to {POINTS} voxels of each label, evenly chosen; 0 where there are fewer",
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class ScanFacts:
    """Statistics and foreground of one scan.

    Parameters
    ----------
    mean, standard_deviation
        Mean and standard deviation of the stored values; NaN where there is no image.
    low, high
        Their percentiles :data:`PERCENTILES`.
    foreground_mean, foreground_standard_deviation
        The same of the voxels where the mask is not 0; NaN where the mask is empty.
    foreground
        (n, 4) label, z, y, x of voxels of each label.
    """

    mean: float
    standard_deviation: float
    low: float
    high: float
    foreground_mean: float
    foreground_standard_deviation: float
    foreground: NDArray[np.int32]

    @classmethod
    def of(cls, numbers: Iterable[float], foreground: NDArray[np.int32]) -> ScanFacts:
        """Return the record of numbers in the order of :data:`VARIABLES`."""
        mean, deviation, low, high, foreground_mean, foreground_deviation = numbers
        return cls(mean, deviation, low, high, foreground_mean, foreground_deviation, foreground)


def training_layout(layout: Layout, codec: str) -> Layout:
    """Lay out a resampled cohort for random access in three dimensions.

    Without a codec, the image of a scan is one object, which is mapped into memory; else it is tiles. Masks are tiles.

    Raises
    ------
    ParameterError
        If the codec is none of :data:`CODECS`.
    """
    if codec not in CODECS:
        raise ParameterError(f"codec for training must be one of {', '.join(CODECS)}, got {codec!r}")
    image = layout.extent_zyx if codec == "none" else _within(IMAGE_TILE_ZYX, layout.extent_zyx)
    mask = _within(MASK_TILE_ZYX, layout.extent_zyx)
    return replace(layout, dtype="int16", image_chunk_zyx=image, mask_chunk_zyx=mask, codec=codec)


def _within(tile: Shape, extent: Shape) -> Shape:
    z, y, x = (min(n, most) for n, most in zip(tile, extent, strict=True))
    return z, y, x
