"""Compressed pixels without text: no comments in a codestream, no bytes behind its end or behind the last frame."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydicom.encaps import encapsulate, generate_fragments, generate_frames, parse_basic_offsets
from pydicom.filebase import DicomBytesIO
from pydicom.uid import RLELossless

from npczarr.errors import SourceError
from npczarr.sources.rle import decode_rle

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: Transfer syntaxes of JPEG, JPEG-LS, JPEG 2000 and its high throughput, retired ones too.
_CODED = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (*range(50, 94), 201, 202, 203))
_OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
_JPEG, _SCAN, _FILL = b"\xff\xd8", b"\xff\xda", b"\xff\xff"
_JPEG_2000, _TILE_PART, _DATA = b"\xff\x4f", b"\xff\x90", b"\xff\x93"
_END = b"\xff\xd9"  # of all of them
_COMMENTS = {_JPEG: b"\xff\xfe", _JPEG_2000: b"\xff\x64"}
#: What ends the data of a scan: not a stuffed byte, nor a restart (ISO 10918-1 B.1.1, ISO 14495-1 A.1).
_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")


def clean_frames(dataset: Dataset) -> None:
    """Write the frames of compressed pixels anew, in place, without what is no part of an image; their values stay.

    A frame of JPEG, JPEG-LS or JPEG 2000 loses its comments and what follows its end; RLE, what follows the last frame.
    Pixels that are compressed in another way stay as they are.

    Raises
    ------
    SourceError
        If frames are fewer or more than the header says, or do not follow their standard.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax != RLELossless and syntax not in _CODED:
        return
    content = dataset.PixelData
    count = int(dataset.get("NumberOfFrames") or 1)
    stream = DicomBytesIO(content)
    has_offsets = bool(parse_basic_offsets(stream))
    if syntax == RLELossless:
        frames = list(generate_fragments(stream))  # one a frame, PS3.5 A.4.2
    else:
        tables = [dataset[keyword].value for keyword in _OFFSETS if keyword in dataset]
        offsets = (tables[0], tables[1]) if len(tables) == len(_OFFSETS) else None
        found = generate_frames(content, number_of_frames=count, extended_offsets=offsets)
        frames = [clean_codestream(frame) for frame in found]
    if len(frames) < count or (len(frames) > count and syntax != RLELossless):
        raise SourceError(
            f"{len(frames)} compressed frames, and NumberOfFrames says {count}; copy the file again from its origin"
        )
    _write_frames(dataset, frames[:count], has_offsets=has_offsets)
    # what is behind frames that are whole by themselves is none of them
    if len(frames) > count and decode_rle(dataset, (count, int(dataset.Rows), int(dataset.Columns))) is None:
        raise SourceError(
            f"{len(frames)} items of compressed pixels (RLE), and NumberOfFrames says {count}: what is behind the last "
            "frame cannot be told from pixels; decompress the file or leave it out"
        )


def clean_codestream(frame: bytes) -> bytes:
    """Return a frame of JPEG, JPEG-LS or JPEG 2000 without comments and without what follows its end.

    ISO 10918-1 B.1 and ISO 14495-1 C.1 (markers of JPEG and JPEG-LS), ISO 15444-1 A.2 to A.4 (JPEG 2000).

    Raises
    ------
    SourceError
        If it does not follow its standard, or has a comment within a tile.
    """
    if frame[:2] == _JPEG:
        return _clean_jpeg(frame)
    if frame[:2] == _JPEG_2000:
        return _clean_jpeg_2000(frame)
    raise _damaged("do not begin as an image does")


def _clean_jpeg(frame: bytes) -> bytes:
    kept, at = [_JPEG], 2
    while at < len(frame):
        marker = frame[at : at + 2]
        if marker == _END:
            kept.append(marker)
            break
        if marker == _FILL:
            at += 1
            continue
        end = _segment_end(frame, at)
        if marker == _SCAN:
            behind = _MARKER.search(frame, end)
            end = behind.start() if behind else len(frame)
        if marker != _COMMENTS[_JPEG]:
            kept.append(frame[at:end])
        at = end
    return b"".join(kept)


def _clean_jpeg_2000(frame: bytes) -> bytes:
    kept, at = [_JPEG_2000], 2
    while (marker := frame[at : at + 2]) != _TILE_PART:
        end = _segment_end(frame, at)
        if marker != _COMMENTS[_JPEG_2000]:
            kept.append(frame[at:end])
        at = end
    first = at
    while frame[at : at + 2] == _TILE_PART:
        at = _tile_end(frame, at)
    kept.append(frame[first:at])
    if frame[at : at + 2] == _END:
        kept.append(_END)
    elif frame[at:].strip(b"\0"):
        raise _damaged("have bytes that belong to no tile")
    return b"".join(kept)


def _tile_end(frame: bytes, start: int) -> int:
    """Find where a tile-part ends, by the length in its header; 0 stands for the end of the codestream."""
    length, at = int.from_bytes(frame[start + 6 : start + 10], "big"), start
    while (marker := frame[at : at + 2]) != _DATA:
        if marker == _COMMENTS[_JPEG_2000]:
            raise _damaged("have a comment within a tile")
        at = _segment_end(frame, at)
    end = start + length if length else frame.find(_END, at)
    if 0 <= end < at:
        raise _damaged("have a tile that is shorter than its header")
    return len(frame) if end < 0 else min(end, len(frame))


def _segment_end(frame: bytes, at: int) -> int:
    """Find where a marker segment ends, by its length."""
    length = int.from_bytes(frame[at + 2 : at + 4], "big")
    end = at + 2 + length
    if frame[at : at + 1] != b"\xff" or length < 2 or end > len(frame):
        raise _damaged("do not follow their standard")
    return end


def _damaged(fault: str) -> SourceError:
    return SourceError(
        f"the compressed pixels {fault}, so that text in them cannot be told from pixels; decompress the file, copy it "
        "again from its origin, or leave it out"
    )


def _write_frames(dataset: Dataset, frames: list[bytes], *, has_offsets: bool) -> None:
    """Put each frame into an item of its own; the basic offset table is made anew, the extended one is optional."""
    dataset["PixelData"].value = encapsulate(frames, has_bot=has_offsets)
    for keyword in _OFFSETS:
        if keyword in dataset:
            delattr(dataset, keyword)
