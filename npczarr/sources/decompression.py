"""Checks of compressed data before it is unpacked: a few kilobytes can hold a terabyte of zeros."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO

from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from npczarr.errors import SourceError
from npczarr.model.limits import Clock, Limits

_DEFLATED = b"1.2.840.10008.1.2.1.99"  # the transfer syntax whose whole dataset is packed
_LONG = {vr.encode() for vr in EXPLICIT_VR_LENGTH_32}
_PIECE = 2**16
_GROWN = 2**20


def check_dataset(content: bytes, limits: Limits) -> None:
    """Refuse a DICOM file whose dataset is deflated and would unpack to more than a scan may take.

    Only the file meta group is looked at, as reading it properly would cost every file its time.

    Raises
    ------
    SourceError
        If it is too large, or is deflated behind a header that cannot be followed.
    """
    end = _meta_end(content)
    if end is None:
        if _DEFLATED in content:
            raise SourceError("a deflated DICOM file whose header is damaged")
    elif _DEFLATED in content[132:end]:
        check_deflated(content[end:], limits, -zlib.MAX_WBITS)


def _meta_end(content: bytes) -> int | None:
    """Find where the file meta group ends (DICOM PS3.10 section 7.1, explicit little endian); None where it is odd."""
    at = 132
    while content[at : at + 2] == b"\x02\x00":
        vr = content[at + 4 : at + 6]
        if vr in _LONG:
            if len(content) < at + 12:
                return None
            at += 12 + int.from_bytes(content[at + 8 : at + 12], "little")
        elif b"AA" <= vr <= b"ZZ" and vr.isalpha():
            at += 8 + int.from_bytes(content[at + 6 : at + 8], "little")
        else:
            return None
    return at if at <= len(content) else None


def check_deflated(content: bytes, limits: Limits, window_bits: int = zlib.MAX_WBITS) -> None:
    """Refuse a deflate stream that unpacks to more than a scan may take; nothing of it is kept.

    Damage ends the check: the reader reports it.
    """
    size = 0
    unpack = zlib.decompressobj(window_bits)
    with suppress(zlib.error):
        for start in range(0, len(content), _PIECE):
            piece = content[start : start + _PIECE]
            while piece and not unpack.eof:
                size += len(unpack.decompress(piece, _GROWN))
                piece = unpack.unconsumed_tail
                limits.check_unpacked(size)


def unpack_gzip(content: bytes, expected: Callable[[bytes], int], limits: Limits, clock: Clock) -> bytes:
    """Unpack a gzip file up to the size that its content says.

    Parameters
    ----------
    content
        The packed file.
    expected
        Returns the expected size, given the first 540 bytes; it may refuse them. What follows that size is not kept.
    limits, clock
        Limits of the scan, and the time that it has left.

    Raises
    ------
    SourceError
        If it unpacks to more than a scan may take.
    OSError, EOFError, zlib.error
        If it is damaged.
    """
    with gzip.GzipFile(fileobj=BytesIO(content)) as file:
        parts = [file.read(540)]
        size, wanted = len(parts[0]), expected(parts[0])
        for part in clock.over(iter(lambda: file.read(_GROWN), b"")):
            if size < wanted:
                parts.append(part)
            size += len(part)
            limits.check_unpacked(size)
    return b"".join(parts)


def check_codestream(frame: bytes, rows: int, columns: int) -> None:
    """Refuse a JPEG, JPEG-LS or JPEG 2000 frame that is of another size than its DICOM header says.

    The decoder takes the memory that the frame's own header asks for. ISO 10918-1 B.2.2 and ISO 14495-1 C.2.2 (start of
    frame), ISO 15444-1 A.5.1 (SIZ).

    Raises
    ------
    SourceError
        If the sizes differ, or the frame does not begin as one of these does.
    """
    found = _jpeg_2000_size(frame) if frame[:4] == b"\xff\x4f\xff\x51" else _jpeg_size(frame)
    if found is None:
        raise SourceError("the compressed pixels do not begin as an image does; the file is damaged")
    if found != (rows, columns):
        raise SourceError(f"the compressed pixels are {found} by their own header, by that of the file {rows, columns}")


def is_signed_stream(frame: bytes) -> bool | None:
    """Whether a JPEG 2000 codestream says that its first component is signed (ISO 15444-1 A.5.1); None for others."""
    return bool(frame[42] & 0x80) if frame[:4] == b"\xff\x4f\xff\x51" and len(frame) > 42 else None


def is_lossy_stream(frame: bytes) -> bool:
    """Whether a JPEG-LS or JPEG 2000 codestream says that it does not give back the values that were compressed.

    By NEAR of the first scan (ISO 14495-1 C.2.3), or the wavelet that cannot be reversed (ISO 15444-1 A.6.1).
    """
    at = 2
    while at + 14 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0x52:  # COD
            return frame[at + 13] == 0
        if marker == 0xDA:  # SOS: two bytes for each component before it
            near = at + 5 + 2 * frame[at + 4]
            return near < len(frame) and frame[near] > 0
        at += 2 + max(2, int.from_bytes(frame[at + 2 : at + 4], "big"))
    return False


def _jpeg_2000_size(frame: bytes) -> tuple[int, int] | None:
    if len(frame) < 24:
        return None
    right, bottom, left, top = struct.unpack(">4I", frame[8:24])
    return bottom - top, right - left


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    """Size in the frame header, where every marker up to the scan follows the one before it.

    Where one is missing, GDCM does not return an error: it ends the process.
    """
    found, kind, tables = None, 0, False
    at = 2 if frame[:2] == b"\xff\xd8" else len(frame)
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xDA:  # start of scan: Huffman processes need their tables by now
            return found if tables or kind == 0xF7 else None
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            if found is not None:
                return None
            kind, found = marker, struct.unpack(">2H", frame[at + 5 : at + 9])
        tables = tables or marker == 0xC4
        at += 1 if marker == 0xFF else 2 + max(2, int.from_bytes(frame[at + 2 : at + 4], "big"))
    return None
