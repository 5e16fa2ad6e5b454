"""The header of what nearly every DICOM file is, read off its bytes: what pydicom gives, in a third of its time.

Such a file is little endian, its tags ascend, its lengths are known, and its pixels end it; sequences that nobody asks
for may be of undefined length, as compressed pixels are. Anything else is left to pydicom: :func:`scan_header` gives
what ``dcmread`` gives, or None.
"""

from __future__ import annotations

from collections.abc import Collection
from struct import Struct
from typing import Any

from pydicom.charset import convert_encodings
from pydicom.dataelem import RawDataElement, empty_value_for_VR
from pydicom.dataset import FileDataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLETransferSyntaxes,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

from npczarr.sources.scanned_header import ScannedHeader, ScannedMeta, tag_object

_EXPLICIT, _IMPLICIT, _LENGTH = Struct("<HH2sH").unpack_from, Struct("<HHL").unpack_from, Struct("<L").unpack_from
_SHORT = {vr.encode(): str(vr) for vr in EXPLICIT_VR_LENGTH_16}
_LONG = {vr.encode(): str(vr) for vr in EXPLICIT_VR_LENGTH_32}
_EMPTY: dict[str | None, Any] = {
    vr: empty_value_for_VR(vr, raw=True) for vr in (*_SHORT.values(), *_LONG.values(), None)
}
_PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
_COMPRESSED = (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes, *RLETransferSyntaxes)
#: Transfer syntaxes as files hold them.
_SYNTAXES = {uid.encode() + b"\0" * (len(uid) % 2): uid for uid in (*_PLAIN, *_COMPRESSED)}
_PREAMBLE, _START = 128, 132
_GROUP_LENGTH, _SYNTAX, _CHARACTER_SET = 0x00020000, 0x00020010, 0x00080005
_DATASET, _PIXELS, _PIXEL_DATA = 0x00030000, 0x7FE00008, 0x7FE00010
_UNDEFINED = 0xFFFFFFFF
_DEEPEST = 8  # sequences in sequences

Elements = dict[BaseTag, Any]


def scan_header(content: bytes, tags: Collection[int]) -> FileDataset | None:
    """Read the wanted fields of an image and its pixels, which are not copied.

    Parameters
    ----------
    content
        The file.
    tags
        The fields to read as plain numbers, SpecificCharacterSet and PixelData among them.

    Returns
    -------
    pydicom.dataset.FileDataset or None
        What ``dcmread`` with these ``specific_tags`` gives, but for uncompressed pixels, which are a memoryview, and
        for what follows pixels. None where the file has anything unusual about it: then only pydicom knows.
    """
    if content[_PREAMBLE:_START] != b"DICM":
        return None
    meta: Elements = {}
    start = _read_explicit(content, _START, _DATASET, None, meta)
    length, syntax = meta.get(_GROUP_LENGTH), meta.get(_SYNTAX)  # type: ignore[call-overload]
    if start is None or length is None or (length.VR, length.length) != ("UL", 4) or syntax is None:
        return None
    uid = _SYNTAXES.get(syntax.value) if syntax.VR == "UI" else None
    implicit = uid == ImplicitVRLittleEndian
    if uid is None or (implicit and content[start + 4 : start + 6].isalpha()):
        return None
    elements: Elements = {}
    read = _read_implicit if implicit else _read_explicit
    end = read(content, start, _PIXELS, tags, elements)
    if end is None or not _add_pixels(content, end, implicit, uid in _COMPRESSED, elements):
        return None
    file_meta = ScannedMeta(meta)
    file_meta.set_original_encoding(False, True, "iso8859")
    dataset = ScannedHeader(None, elements, content[:_PREAMBLE], file_meta, implicit, True)  # type: ignore[arg-type]
    try:
        names = dataset.get("SpecificCharacterSet")
        dataset.set_original_encoding(implicit, True, convert_encodings(names) if names else "iso8859")
    except Exception:  # pydicom names damage in a dozen ways, and will again
        return None
    return dataset


def _read_explicit(content: bytes, at: int, limit: int, tags: Collection[int] | None, found: Elements) -> int | None:
    """Read fields below a tag; return where that or a higher one begins, None where something is unusual."""
    size, last = len(content) - 12, -1
    while at <= size:
        group, element, code, length = _EXPLICIT(content, at)
        tag = group << 16 | element
        if tag <= last:
            return None
        if tag >= limit:
            return at
        value = at + 8
        vr = _SHORT.get(code)
        if vr is None:
            vr = _LONG.get(code)
            (length,) = _LENGTH(content, value)
            value += 4
            if vr is None:
                return None
            if length == _UNDEFINED:
                after = None if vr != "SQ" or tags is None or tag in tags else _skip_sequence(content, value)
                if after is None:
                    return None
                at, last = after, tag
                continue
        at, last = value + length, tag
        if tags is None or tag in tags:
            held = content[value:at] if length else _EMPTY[vr]
            name = tag_object(tag)
            found[name] = RawDataElement(name, vr, length, held, value, False, True)
    return None


def _skip_sequence(content: bytes, at: int, depth: int = 0) -> int | None:
    """Return where a sequence of undefined length ends; None where something in it is unusual."""
    while at <= len(content) - 8:
        group, element, length = _IMPLICIT(content, at)
        at += 8
        if (group, element, length) == (0xFFFE, 0xE0DD, 0):
            return at
        if (group, element) != (0xFFFE, 0xE000) or length == 0 or depth > _DEEPEST:
            return None
        end = None if length == _UNDEFINED else at + length
        item = _skip_item(content, at, end, depth)
        if item is None:
            return None
        at = item
    return None


def _skip_item(content: bytes, at: int, end: int | None, depth: int) -> int | None:
    """Return where an item of a sequence ends: where its length says, or where it is closed."""
    while at != end:
        if at > len(content) - 12:
            return None
        group, element, code, length = _EXPLICIT(content, at)
        value = at + 8
        if (group, element, code, length) == (0xFFFE, 0xE00D, b"\0\0", 0):
            return value if end is None else None
        if group == 0xFFFE or (group << 16 | element) == _CHARACTER_SET:
            return None
        if code in _LONG:
            (length,) = _LENGTH(content, value)
            value += 4
        elif code not in _SHORT:
            return None
        if length != _UNDEFINED:
            at = value + length
            continue
        after = _skip_sequence(content, value, depth + 1) if code == b"SQ" else None
        if after is None:
            return None
        at = after
    return at


def _read_implicit(content: bytes, at: int, limit: int, tags: Collection[int], found: Elements) -> int | None:
    """Do the same where no type is written."""
    size, last = len(content) - 12, -1
    while at <= size:
        group, element, length = _IMPLICIT(content, at)
        tag = group << 16 | element
        if tag <= last:
            return None
        if tag >= limit:
            return at
        if length == _UNDEFINED:
            return None
        value = at + 8
        at, last = value + length, tag
        if tag in tags:
            held = content[value:at] if length else _EMPTY[None]
            name = tag_object(tag)
            found[name] = RawDataElement(name, None, length, held, value, True, True)
    return None


def _add_pixels(content: bytes, at: int, implicit: bool, compressed: bool, found: Elements) -> bool:
    """Whether integer pixels begin there and are all there."""
    group, element, code, _ = _EXPLICIT(content, at)
    if group << 16 | element != _PIXEL_DATA or not (implicit or code in (b"OW", b"OB")):
        return False
    value = at + (8 if implicit else 12)
    (length,) = _LENGTH(content, value - 4)
    end = _end_of_items(content, value) if compressed else value + length
    if end is None or not 0 < end - value <= len(content) - value or compressed != (length == _UNDEFINED):
        return False
    vr = "OW" if implicit else code.decode()
    pixels: Any = content[value:end] if compressed else memoryview(content)[value:end]
    name = tag_object(_PIXEL_DATA)
    found[name] = RawDataElement(name, vr, length, pixels, value, implicit, True)
    return True


def _end_of_items(content: bytes, at: int) -> int | None:
    """Return where the items of compressed pixels end; None where they are not closed as the standard says."""
    while at <= len(content) - 8:
        group, element, length = _IMPLICIT(content, at)
        if (group, element, length) == (0xFFFE, 0xE0DD, 0):
            return at
        if (group, element) != (0xFFFE, 0xE000) or length == _UNDEFINED:
            return None
        at += 8 + length
    return None
