"""RLE Lossless pixels (DICOM PS3.5 annex G), segment by segment through pylibjpeg-rle.

pydicom decodes them in plain Python. Its plugin of the same library ends whole tasks on damaged frames (a panic of Rust
is no ``Exception``); a segment by itself, with something behind it, is unpacked whatever it holds.
"""

from __future__ import annotations

from itertools import pairwise
from struct import unpack
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from rle.rle import decode_segment

_HEADER = 64  # bytes
#: As long as the longest run, so that none that is cut off can swallow it; no byte of it comes twice, so that it is
#: not found a few bytes before or behind its place; and read as operations, it repeats what it does not repeat.
_MARK = bytes(range(0x80, 0x100))
_MARK_RUN = bytes([len(_MARK) - 1]) + _MARK


def decode_rle(dataset: Dataset, shape: tuple[int, int, int]) -> NDArray[Any] | None:
    """(frames, rows, columns) pixels of an image of one sample a pixel.

    None where a frame is not just what the standard says, byte for byte: pydicom then decodes it, or says what is wrong
    with it.
    """
    width, odd = divmod(int(dataset.BitsAllocated), 8)
    plain = dataset.get("SamplesPerPixel", 1) == 1 and dataset.PixelRepresentation in (0, 1)
    if odd or width not in (1, 2) or not plain:
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
    plane = _unpack_whole(segment, pixels)
    if plane is None and segment[-1:] == b"\0":  # perhaps padding, for a segment has an even length
        plane = _unpack_whole(segment[:-1], pixels)
    return plane


def _unpack_whole(segment: bytes, pixels: int) -> NDArray[np.uint8] | None:
    """Unpack PackBits; None unless a run that is put behind them begins just where they end."""
    if len(segment) > 2 * pixels:  # more than pixels one by one take; two bytes may give 128
        return None
    try:
        plain = decode_segment(segment + _MARK_RUN)
    except ValueError:
        return None
    whole = len(plain) == pixels + len(_MARK) and plain.endswith(_MARK)
    return np.frombuffer(plain, np.uint8, count=pixels) if whole else None
