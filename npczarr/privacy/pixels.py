"""What a DICOM file stores with its pixels and is none: overlays in unused bits, bytes behind the last pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.uid import ExplicitVRBigEndian

from npczarr.errors import SourceError
from npczarr.privacy.codestreams import clean_frames
from npczarr.sources.bits import read_packing
from npczarr.sources.pixels import OVERLAY_BITS

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: Attributes that hold pixels: bits of a value, None where BitsAllocated says it.
PIXELS = {"PixelData": None, "FloatPixelData": 32, "DoubleFloatPixelData": 64}


def clean_pixels(dataset: Dataset) -> None:
    """Take out, in place, what is stored with the pixels of a file and is no pixel.

    Called with the whole header: the attributes of overlays say which bits hold them.

    Raises
    ------
    SourceError
        If it cannot be told from the pixels, or not be taken out of them.
    """
    overlays = overlay_bits(dataset) if "PixelData" in dataset else ()
    if overlays:
        _clear(dataset, overlays)
    compressed = dataset.file_meta.TransferSyntaxUID.is_encapsulated
    for keyword, bits in PIXELS.items():
        if compressed and keyword == "PixelData" and dataset.get(keyword):
            clean_frames(dataset)
        elif dataset.get(keyword):
            _cut(dataset, keyword, bits)


def overlay_bits(dataset: Dataset) -> tuple[int, ...]:
    """Bits of each pixel that hold an overlay, by the header, and are no part of the value."""
    if "BitsAllocated" not in dataset or all(tag not in dataset for tag in OVERLAY_BITS):
        return ()
    packing = read_packing(dataset)
    # the lowest bit is also what the header says of an overlay that has an attribute of its own (OverlayData)
    lowest = any(_is_lowest(dataset, tag, packing.allocated) for tag in OVERLAY_BITS)
    value = range(packing.high - packing.stored + 1, packing.high + 1)
    return tuple(bit for bit in ((0,) * lowest + packing.overlays) if bit not in value)


def _is_lowest(dataset: Dataset, position: int, allocated: int) -> bool:
    width = position - 2  # OverlayBitsAllocated
    return (
        position in dataset and dataset[position].value == 0 and width in dataset and dataset[width].value == allocated
    )


def _cut(dataset: Dataset, keyword: str, bits: int | None) -> None:
    """Cut off what lies behind the last pixel of a native image, but for the byte that makes the length even."""
    size = _size(dataset, bits)
    element = dataset[keyword]
    content = element.value
    if len(content) <= size:
        return
    big = dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian
    if size % 2 and big and element.VR == "OW":  # swapped in pairs, PS3.5 section 7.3: the last pixel is behind
        element.value = content[: size - 1] + b"\0" + content[size : size + 1]
    else:
        element.value = content[:size] + bytes(size % 2)


def _size(dataset: Dataset, bits: int | None) -> int:
    """Bytes that the pixels of a native image take at most."""
    needed = ("Rows", "Columns", "BitsAllocated") if bits is None else ("Rows", "Columns")
    if missing := [name for name in needed if dataset.get(name) is None]:
        raise SourceError(
            f"holds pixels and its header has no {missing[0]}, so that other bytes cannot be told from them; repair "
            "the header or leave the file out"
        )
    bits = bits or int(dataset.BitsAllocated)
    pixels = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("NumberOfFrames") or 1)
    values = pixels * int(dataset.get("SamplesPerPixel") or 1)
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":  # two pixels share their colors, PS3.3 C.7.6.3.1.2
        values = values // 3 * 2
    return -(-values // 8) if bits == 1 else values * -(-bits // 8)


def _clear(dataset: Dataset, bits: tuple[int, ...]) -> None:
    """Clear bits that hold overlays, so that each value is read as before: see `npczarr.sources.bits.interpret`."""
    packing = read_packing(dataset)
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated or packing.allocated % 8:
        raise SourceError(
            f"an overlay lies in bits of the pixels that hold no value (OverlayBitPosition {bits[-1]}), and cannot be "
            "cleared where pixels are compressed or packed; decompress the file or leave it out"
        )
    width = packing.allocated // 8
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    content = dataset.PixelData
    whole = len(content) // width * width
    values: Any = np.frombuffer(content[:whole], f"{order}{'i' if packing.signed else 'u'}{width}")
    if bits[-1] > packing.high:  # all bits above, as the reader does: signs may be told by the lower of them alone
        unused = packing.allocated - 1 - packing.high
        values = values << unused >> unused
    low = sum(1 << bit for bit in bits if bit < packing.high)
    values = values & ~values.dtype.type(low)
    dataset["PixelData"].value = values.astype(f"{order}u{width}", copy=False).tobytes() + content[whole:]
