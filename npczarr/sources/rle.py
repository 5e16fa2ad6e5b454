"""RLE Lossless pixels (DICOM PS3.5 annex G), by Pillow's decoder of PackBits: pydicom decodes them in plain Python."""

from __future__ import annotations

from itertools import pairwise
from struct import unpack
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

_HEADER = 64  # bytes
#: PackBits that stand for nothing, or complete the longest literal run that is cut off.
_NOTHING = b"\x80" * 128


def decode_rle(dataset: Dataset, shape: tuple[int, int, int]) -> NDArray[Any] | None:
    """(frames, rows, columns) pixels of an image of one sample a pixel.

    None where a frame is not just what the standard says, byte for byte: pydicom then decodes it, or says what is wrong
    with it.
    """
    width, odd = divmod(int(dataset.BitsAllocated), 8)
    if odd or width not in (1, 2) or dataset.get("SamplesPerPixel", 1) != 1:
        return None
    pixels = shape[1] * shape[2]
    values = np.empty((shape[0], pixels, width), np.uint8)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=shape[0]))
    if len(frames) != shape[0]:
        return None
    for frame, into in zip(frames, values, strict=True):
        segments = _segments(frame)
        if len(segments) != width:
            return None
        for place, segment in enumerate(reversed(segments)):  # the first has the highest byte of each pixel
            plane = _unpack(segment, pixels)
            if plane is None:
                return None
            into[:, place] = plane
    return values.view(f"<{'i' if dataset.PixelRepresentation else 'u'}{width}").reshape(shape)


def _segments(frame: bytes) -> list[bytes]:
    """Cut a frame into its segments; none if its header is wrong."""
    if len(frame) < _HEADER:
        return []
    count, *starts = unpack("<16L", frame[:_HEADER])
    if not 0 < count < len(starts) + 1:
        return []
    bounds = [*starts[:count], len(frame)]
    if bounds[0] < _HEADER or bounds != sorted(bounds):
        return []
    return [frame[first:last] for first, last in pairwise(bounds)]


def _unpack(segment: bytes, pixels: int) -> NDArray[np.uint8] | None:
    """Unpack a segment that gives so many bytes, neither more nor less; else None."""
    plane = _first_bytes(segment, pixels)
    without_padding = segment[:-1] if segment[-1:] == b"\0" else segment  # a segment has an even length
    surplus = _first_bytes(without_padding + _NOTHING, pixels + 1)
    return None if plane is None or surplus is not None else np.frombuffer(plane, np.uint8)


def _first_bytes(segment: bytes, count: int) -> bytes | None:
    """Unpack the first bytes of PackBits; None where there are fewer."""
    try:
        return Image.frombytes("L", (count, 1), segment, "packbits", "L").tobytes()
    except ValueError:
        return None
