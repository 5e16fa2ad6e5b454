"""Pixels of an image object, decoded but not yet interpreted: see `bits` for what its header says of their bits."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    RLELossless,
)

from npczarr.errors import SourceError
from npczarr.sources.decoder_remarks import decoder_remarks
from npczarr.sources.decompression import check_codestream, is_lossy_stream, is_signed_stream
from npczarr.sources.rle import decode_rle

#: Decoders in the order of choice. On damaged JPEG 2000 and JPEG-LS GDCM does not raise: it ends the process.
_PLUGINS = ("pylibjpeg", "pyjpegls", "gdcm")
_LOSSY = frozenset((JPEGBaseline8Bit, JPEGExtended12Bit))
_PERHAPS_LOSSY = frozenset((JPEGLSNearLossless, JPEG2000, HTJ2K))
#: OverlayBitPosition of the sixteen overlays that an image may have.
OVERLAY_BITS = tuple(0x60000102 + (i << 17) for i in range(16))


def decode(dataset: Dataset, remarks: list[str] | None = None) -> NDArray[Any]:
    """(frames, rows, columns) pixels of an image object as they are, whatever its transfer syntax.

    Bits above BitsStored are kept: whether they are part of the value only the whole series tells. What the decoder
    says beside the pixels is added to `remarks`.

    Raises
    ------
    SourceError
        If the pixels are not integers, are truncated, or cannot be decoded.
    """
    if "PixelData" not in dataset:
        raise SourceError("no integer pixel data in the image")
    shape = (int(dataset.get("NumberOfFrames", 1) or 1), int(dataset.Rows), int(dataset.Columns))
    if (dtype := _native_dtype(dataset)) is not None:
        if (extra := _check_length(dataset, dtype)) > 1 and remarks is not None:
            remarks.append(f"{extra} bytes are left over after the last pixel")
        return np.frombuffer(_native_bytes(dataset), dtype, count=math.prod(shape)).reshape(shape)
    syntax = syntax_of(dataset)
    found: list[str] = []
    try:
        decoder = _decoder_of(syntax)
        bits = _check_codestreams(dataset, shape, found)
        if syntax == RLELossless and (values := decode_rle(dataset, shape)) is not None:
            return values
        plugins = ("pydicom",) if syntax == RLELossless else _PLUGINS  # see `rle`
        plugin = next((name for name in plugins if name in decoder.available_plugins), "")
        options: Any = {"correct_unused_bits": False, "bits_stored": bits}
        with decoder_remarks() as said:
            values, _ = decoder.as_array(dataset, decoding_plugin=plugin, **options)
        if values.size != math.prod(shape):
            raise SourceError(
                f"they hold {values.size / math.prod(shape[1:]):g} frames, and the header describes {shape[0]}; copy "
                "the file again from its origin"
            )
        if remarks is not None:
            remarks += said or found
    except SourceError as error:
        raise SourceError(f"pixels ({syntax.name}) cannot be decoded: {error}") from error
    except Exception as error:  # without its text, which would be stored and may hold values of the header
        raise SourceError(
            f"pixels ({syntax.name}, {dataset.BitsAllocated} bits) cannot be decoded ({type(error).__name__}); copy "
            "the file again from its origin"
        ) from error
    return np.asarray(values).reshape(shape)


def _native_bytes(dataset: Dataset) -> bytes:
    """Return uncompressed pixels in their order: bytes in big-endian words are swapped in pairs (PS3.5 section 7.3)."""
    element = dataset.get_item("PixelData")
    content: bytes = element.value or b""
    if syntax_of(dataset) != ExplicitVRBigEndian or element.VR != "OW" or int(dataset.BitsAllocated) != 8:
        return content
    whole = len(content) - len(content) % 2
    return np.frombuffer(content, "<u2", count=whole // 2).byteswap().tobytes() + content[whole:]


def _decoder_of(syntax: UID) -> Decoder:
    try:
        return get_decoder(syntax)
    except NotImplementedError as error:
        raise SourceError(
            "nothing here reads this transfer syntax; convert the files to Explicit VR Little Endian"
        ) from error


def _check_codestreams(dataset: Dataset, shape: tuple[int, int, int], remarks: list[str]) -> int:
    """Hold codestreams against the header that they come with; return the bits of a sample."""
    bits = _bits_to_decode(dataset)
    for frame in generate_frames(dataset.PixelData, number_of_frames=shape[0]) if is_coded(dataset) else ():
        check_codestream(frame, *shape[1:])
        bits = _jpeg_precision(frame) or bits  # GDCM cuts values off at the bits that it is given
        signed = is_signed_stream(frame)
        if not remarks and signed is not None and signed != bool(dataset.PixelRepresentation):
            words = ("signed", "unsigned") if signed else ("unsigned", "signed")
            remarks.append("the compressed pixels are {} by their own header, {} by that of the file".format(*words))
    return bits


def is_lossy(dataset: Dataset) -> bool:
    """Whether pixels were compressed with loss, by their encoding alone."""
    syntax = syntax_of(dataset)
    if syntax in _LOSSY or syntax not in _PERHAPS_LOSSY:
        return syntax in _LOSSY
    with suppress(Exception):  # damage is named where the pixels are decoded
        frames = int(dataset.get("NumberOfFrames", 1) or 1)
        return is_lossy_stream(next(generate_frames(dataset.PixelData, number_of_frames=frames)))
    return False


def check_native(dataset: Dataset) -> None:
    """Refuse pixels that are not as many as the header says; compressed ones cannot be counted here."""
    dtype = _native_dtype(dataset)
    if dtype is not None and "PixelData" in dataset:
        _check_length(dataset, dtype)


def _check_length(dataset: Dataset, dtype: np.dtype[Any]) -> int:
    """Return how many bytes are left over after the last pixel; one is the padding to an even length."""
    found = len(dataset.get_item("PixelData").value or b"")
    frames, rows, columns = int(dataset.get("NumberOfFrames", 1) or 1), int(dataset.Rows), int(dataset.Columns)
    expected = frames * rows * columns * dtype.itemsize
    if found < expected:
        raise SourceError(f"the file ends after {found} of {expected} bytes of pixels; copy it again")
    if found - expected >= max(2, columns * dtype.itemsize):  # a row or more
        raise SourceError(
            f"{found} bytes of pixels, and the header describes {expected}: {frames} x {rows} x {columns} pixels of "
            f"{8 * dtype.itemsize} bits; one of them is damaged, so copy the file again from its origin"
        )
    return found - expected


def syntax_of(dataset: Dataset) -> UID:
    """Transfer syntax of an object; files without a meta header are implicit little endian."""
    return UID(dataset.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))


def is_coded(dataset: Dataset) -> bool:
    """Whether the pixels are a codestream that knows its own precision; native ones and RLE hold bits as they are."""
    syntax = syntax_of(dataset)
    return bool(syntax.is_encapsulated) and syntax != RLELossless


def _bits_to_decode(dataset: Dataset) -> int:
    """BitsStored, or BitsAllocated where it is absent or cannot be."""
    allocated = int(dataset.BitsAllocated)
    stored = dataset.get("BitsStored")
    return stored if isinstance(stored, int) and 0 < stored <= allocated else allocated


def _jpeg_precision(frame: bytes) -> int:
    """Bits of a sample by the frame header of a JPEG codestream that was checked (ISO 10918-1 B.2.2); 0 for others."""
    at = 2 if frame[:2] == b"\xff\xd8" else len(frame)
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        if 0xC0 <= frame[at + 1] <= 0xCF and frame[at + 1] not in (0xC4, 0xC8, 0xCC):
            return frame[at + 4] if frame[at + 4] <= 16 else 0
        at += 1 if frame[at + 1] == 0xFF else 2 + max(2, int.from_bytes(frame[at + 2 : at + 4], "big"))
    return 0


def _native_dtype(dataset: Dataset) -> np.dtype[Any] | None:
    """Return the type of uncompressed pixels; None if they are compressed or of an odd width."""
    syntax, bits = syntax_of(dataset), int(dataset.BitsAllocated)
    if syntax.is_encapsulated or bits not in (8, 16, 32):
        return None
    order = ">" if syntax == ExplicitVRBigEndian and bits > 8 else "<"
    return np.dtype(f"{order}{'i' if dataset.PixelRepresentation else 'u'}{bits // 8}")
