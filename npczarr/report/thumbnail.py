"""The small picture of a scan: its slice with most tumor, upright and outlined."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from npczarr.model.slice_view import SliceView

PIXELS = 200  # a side; 277 pictures of that size are about 3 MB
_ORANGE = np.array([230, 159, 0], np.uint8)  # the color of every outline
_HEAD = 0.2  # of the way from air to the brightest tissue: what is brighter belongs to the patient
_LEAST = 0.03  # of a row or column: fewer bright pixels are noise
_MARGIN_MM = 8.0


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """The picture of one scan, and what it shows.

    Parameters
    ----------
    content
        A WebP file.
    left, right
        Side of the patient at the left and the right edge of the picture: R, L, A, P, I or S.
    slice, z_mm
        Number of the slice, counted from 0, and its position along the slice normal.
    tumor_mm
        Positions of the first and the last slice with tumor; NaN where there is none.
    """

    content: bytes
    left: str
    right: str
    slice: int
    z_mm: float
    tumor_mm: tuple[float, float]


def thumbnail(image: NDArray[Any], mask: NDArray[Any] | None, view: SliceView, *, pixels: int = PIXELS) -> Thumbnail:
    """Draw the slice with most tumor, or the middle one, cut to the patient.

    Parameters
    ----------
    image, mask
        (z, y, x); mask None where there is none.
    view
        How the slices lie on paper: the picture keeps their proportions in mm.
    pixels
        Length of each side.
    """
    z = largest_slice(mask, len(image))
    positions = view.positions_zyx_mm[0]
    plane = view.upright(image[z])
    inside = np.zeros(plane.shape, dtype=bool) if mask is None else view.upright(mask[z] > 0)
    size_mm = np.abs([view.extent_mm[3] - view.extent_mm[2], view.extent_mm[1] - view.extent_mm[0]])
    window = _window(plane, inside, size_mm / plane.shape)
    content = _encoded(_gray_levels(plane[window]), inside[window], size_mm / plane.shape, pixels)
    with_tumor = np.flatnonzero(mask.any(axis=(1, 2))) if mask is not None and mask.any() else np.zeros(0, dtype=int)
    ends = positions[with_tumor[[0, -1]]] if len(with_tumor) else np.full(2, np.nan)
    return Thumbnail(
        content,
        view.letters["left"],
        view.letters["right"],
        z,
        float(positions[z]),
        (float(ends.min()), float(ends.max())),
    )


def largest_slice(mask: NDArray[Any] | None, depth: int) -> int:
    """Index of the slice with most tumor; the middle one where there is none."""
    if mask is None or not mask.any():
        return depth // 2
    return int(np.count_nonzero(mask, axis=(1, 2)).argmax())


def _window(plane: NDArray[Any], inside: NDArray[np.bool_], voxel_mm: NDArray[Any]) -> tuple[slice, slice]:
    """Rows and columns of the patient and the tumor with a margin; air around them would take most of the picture."""
    low, high = np.percentile(plane, (1, 99))
    bright = plane > low + _HEAD * (high - low)
    spans = []
    for axis in (0, 1):
        lines = (bright.mean(axis=1 - axis) > _LEAST) | inside.any(axis=1 - axis)
        found = np.flatnonzero(lines)
        margin = int(np.ceil(_MARGIN_MM / voxel_mm[axis]))
        first, last = (found[0] - margin, found[-1] + 1 + margin) if len(found) else (0, plane.shape[axis])
        spans.append(slice(max(0, int(first)), min(plane.shape[axis], int(last))))
    return spans[0], spans[1]


def _encoded(gray: NDArray[np.uint8], inside: NDArray[np.bool_], voxel_mm: NDArray[Any], pixels: int) -> bytes:
    """Return a square WebP picture: the slice in its middle, outlined."""
    height, width = gray.shape * voxel_mm
    size = tuple(max(1, round(pixels * side / max(height, width))) for side in (width, height))
    resampling = Image.Resampling.BOX if max(gray.shape) > pixels else Image.Resampling.BICUBIC
    picture = np.repeat(np.asarray(Image.fromarray(gray).resize(size, resampling))[..., None], 3, axis=2)
    if inside.any():
        small = Image.fromarray(inside.astype(np.uint8) * 255).resize(size, Image.Resampling.BICUBIC)
        picture[_edge(np.asarray(small) > 127)] = _ORANGE
    square = Image.new("RGB", (pixels, pixels))
    square.paste(Image.fromarray(picture), ((pixels - size[0]) // 2, (pixels - size[1]) // 2))
    buffer = io.BytesIO()
    square.save(buffer, "WEBP", quality=74, method=4)
    return buffer.getvalue()


def _gray_levels(plane: NDArray[Any]) -> NDArray[np.uint8]:
    """Gray levels from the first to the 99.5th percentile."""
    low, high = np.percentile(plane, (1, 99.5))
    scaled = (plane.astype(np.float32) - np.float32(low)) * np.float32(255 / max(high - low, 1e-6))
    return scaled.clip(0, 255).astype(np.uint8)


def _edge(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels on either side of the outline: a line of one pixel would fade when the picture is compressed."""
    padded = np.pad(inside, 1)
    around = np.stack([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
    return np.asarray((inside & ~around.all(axis=0)) | (~inside & around.any(axis=0)))
