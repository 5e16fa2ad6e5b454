"""Pixels of an image object, as its header says they are stored."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from npczarr.errors import SourceError
from npczarr.sources.packed import check_codestream

#: Decoders in the order of choice. On damaged JPEG 2000 and JPEG-LS GDCM does not raise: it ends the process.
_PLUGINS = ("pylibjpeg", "pyjpegls", "gdcm")


def decode(dataset: Dataset) -> NDArray[Any]:
    """(frames, rows, columns) stored pixel values of an image object, whatever its transfer syntax.

    Raises
    ------
    SourceError
        If the pixels are not integers, are truncated, or cannot be decoded.
    """
    if "PixelData" not in dataset:
        raise SourceError("no integer pixel data in the image")
    shape = (int(dataset.get("NumberOfFrames", 1) or 1), int(dataset.Rows), int(dataset.Columns))
    if (dtype := _native_dtype(dataset)) is not None:
        check_native(dataset)
        pixels = np.frombuffer(dataset.get_item("PixelData").value or b"", dtype, count=math.prod(shape))
        return _without_unused_bits(pixels, int(dataset.get("BitsStored") or 8 * dtype.itemsize)).reshape(shape)
    syntax = _syntax(dataset)
    try:
        if syntax.is_encapsulated and syntax != RLELossless:
            for frame in generate_frames(dataset.PixelData, number_of_frames=shape[0]):
                check_codestream(frame, *shape[1:])
        decoder = get_decoder(syntax)
        plugin = next((name for name in _PLUGINS if name in decoder.available_plugins), "")
        values, _ = decoder.as_array(dataset, decoding_plugin=plugin)
    except SourceError as error:
        raise SourceError(f"pixels ({syntax.name}) cannot be decoded: {error}") from error
    except Exception as error:  # without its text, which would be stored and may hold values of the header
        raise SourceError(
            f"pixels ({syntax.name}, {dataset.BitsAllocated} bits) cannot be decoded ({type(error).__name__}); copy "
            "the file again from its origin"
        ) from error
    return np.asarray(values).reshape(shape)


def check_native(dataset: Dataset) -> None:
    """Refuse pixels that are not as many as the header says; compressed ones cannot be counted."""
    dtype = _native_dtype(dataset)
    if dtype is None or "PixelData" not in dataset:
        return
    found = len(dataset.get_item("PixelData").value or b"")
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    expected = frames * int(dataset.Rows) * int(dataset.Columns) * dtype.itemsize
    if found < expected:
        raise SourceError(f"the file ends after {found} of {expected} bytes of pixels; copy it again")


def _syntax(dataset: Dataset) -> UID:
    return UID(dataset.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))


def _native_dtype(dataset: Dataset) -> np.dtype[Any] | None:
    """Type of pixels that lie in the file as they are; None where they are compressed or of an odd width."""
    syntax, bits = _syntax(dataset), int(dataset.BitsAllocated)
    if syntax.is_encapsulated or bits not in (8, 16, 32):
        return None
    order = ">" if syntax == ExplicitVRBigEndian and bits > 8 else "<"
    return np.dtype(f"{order}{'i' if dataset.PixelRepresentation else 'u'}{bits // 8}")


def _without_unused_bits(pixels: NDArray[Any], bits_stored: int) -> NDArray[Any]:
    """Clear or sign-extend the bits above BitsStored, which may hold anything (DICOM PS3.5 section 8.1.1)."""
    unused = 8 * pixels.itemsize - bits_stored
    if unused <= 0 or not len(pixels):
        return pixels
    low, high = (-(1 << bits_stored - 1), 1 << bits_stored - 1) if pixels.dtype.kind == "i" else (0, 1 << bits_stored)
    if pixels.min() >= low and pixels.max() < high:
        return pixels
    return (pixels << unused) >> unused
