"""One NIfTI file, in and out as bytes, without its text; and what text it holds."""

from __future__ import annotations

import gzip
import struct
import sys

from npczarr.errors import SourceError
from npczarr.model.limits import Limits
from npczarr.sources.decompression import unpack_gzip
from npczarr.sources.nifti_file import file_size

#: Where its text is, by the size of the header: offset and length.
_NIFTI = {
    348: {"db_name": (4, 28), "descrip": (148, 80), "aux_file": (228, 24), "intent_name": (328, 16)},
    540: {"descrip": (240, 80), "aux_file": (320, 24), "intent_name": (508, 16), "unused_str": (525, 15)},
}


def clean_nifti(content: bytes, limits: Limits, *, packed: bool) -> bytes:
    """Clear the text fields and extensions of a NIfTI file, and what lies behind its voxels; the rest stays as it is.

    The fields, by `nifti1.h` and `nifti2.h`: data_type, db_name, descrip, aux_file, intent_name and unused_str.

    Raises
    ------
    SourceError
        If it is no single-file NIfTI, or is damaged.
    """
    try:
        data = bytearray(unpack_gzip(content, lambda _: sys.maxsize, limits, limits.clock()) if packed else content)
        size, start = _whole_layout(data)
        del data[file_size(bytes(data[:540])) :]
    except SourceError:
        raise
    except Exception as error:  # gzip, zlib, struct and nibabel name damage in a dozen ways
        raise SourceError(f"a damaged NIfTI file ({type(error).__name__}); copy it again or leave it out") from error
    for offset, length in _NIFTI[size].values():
        data[offset : offset + length] = bytes(length)
    data[size:start] = bytes(start - size)  # the flag of extensions and the extensions: zeros say there are none
    return gzip.compress(bytes(data), mtime=0) if packed else bytes(data)


def _whole_layout(data: bytes | bytearray) -> tuple[int, int]:
    size, start = _layout(data)
    if start > len(data):
        raise ValueError("the voxels lie outside the file")
    return size, start


def _layout(head: bytes | bytearray) -> tuple[int, int]:
    """Return the header's size and where the voxels begin, from a file's first 540 bytes.

    Raises
    ------
    ValueError
        If it is no single-file NIfTI-1 or NIfTI-2.
    """
    for order in "<>":
        (size,) = struct.unpack_from(order + "i", head)
        if size in _NIFTI:
            start = int(struct.unpack_from(order + ("f" if size == 348 else "q"), head, 108 if size == 348 else 168)[0])
            if start < size:
                raise ValueError("the voxels lie inside the header")
            return size, start
    raise ValueError("not a NIfTI header")


def nifti_text(data: bytes) -> list[str]:
    """Name the filled text fields of a whole NIfTI file, and where else it holds what is no voxel."""
    size, start = _whole_layout(data)
    found = [name for name, (offset, length) in _NIFTI[size].items() if data[offset : offset + length].strip(b"\0 ")]
    others = {"extension": data[size:start], "bytes behind the voxels": data[file_size(data[:540]) :]}
    return found + [name for name, content in others.items() if content.strip(b"\0")]


def gzip_texts(data: bytes) -> tuple[str, str]:
    """Return the name that a gzip file says it had before it was packed, and its comment (RFC 1952, section 2.3)."""
    if data[:2] != b"\x1f\x8b" or len(data) < 12:
        return "", ""
    flags, start = data[3], 12 + int.from_bytes(data[10:12], "little") if data[3] & 4 else 10
    texts = data[start : start + 2000].split(b"\0")
    name = texts.pop(0) if flags & 8 else b""
    comment = texts[0] if flags & 16 and texts else b""
    return name.decode("latin-1"), comment.decode("latin-1")
