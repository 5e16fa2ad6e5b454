"""What a header says about the bits of a pixel, and whether the pixels agree.

DICOM PS3.5 section 8.1.1: of BitsAllocated bits, BitsStored hold the value, the highest of them at HighBit; the others
may hold overlays, whose place the header gives, or anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from npczarr.errors import SourceError
from npczarr.sources.acquisition import number
from npczarr.sources.fields import raw_value
from npczarr.sources.pixels import OVERLAY_BITS, is_coded

_FIELDS = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
_OVERLAYS = frozenset(OVERLAY_BITS)
#: Smallest and largest value.
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Packing:
    """Which bits of a pixel hold its value.

    Parameters
    ----------
    allocated, stored, high
        BitsAllocated, BitsStored and HighBit, mended where they cannot be.
    signed
        PixelRepresentation.
    coded
        The pixels come out of a codestream that has a precision of its own.
    overlays
        Bits that hold overlays, by the header.
    faults
        What the header says that cannot be.
    """

    allocated: int
    stored: int
    high: int
    signed: bool
    coded: bool
    overlays: tuple[int, ...] = ()
    faults: tuple[str, ...] = ()


def packing_key(dataset: Dataset) -> tuple[object, ...]:
    """Return what a packing follows from, unconverted: slices of one key have one packing."""
    overlays: tuple[object, ...] = ()
    if not _OVERLAYS.isdisjoint(dataset.keys()):
        overlays = tuple(raw_value(dataset, tag) for tag in OVERLAY_BITS)
    return (*(raw_value(dataset, name) for name in _FIELDS), overlays, is_coded(dataset))


def read_packing(dataset: Dataset) -> Packing:
    """Read the packing of an image object."""
    allocated, signed = int(dataset.BitsAllocated), bool(dataset.PixelRepresentation)
    stored, high = number(dataset, "BitsStored"), number(dataset, "HighBit")
    faults = []
    if not 1 <= stored <= allocated:
        shown = "absent" if np.isnan(stored) else f"{stored:g}"
        faults.append(f"BitsStored is {shown} with {allocated} bits allocated: all of them are taken as the value")
        stored, high = allocated, allocated - 1
    elif not np.isnan(high) and not stored - 1 <= high < allocated:
        faults.append(f"HighBit {high:g} cannot go with BitsStored {stored:g}: taken as {stored - 1:g}")
        high = stored - 1
    high = stored - 1 if np.isnan(high) else high
    overlays = (_position(dataset, tag) for tag in OVERLAY_BITS)
    return Packing(
        allocated,
        int(stored),
        int(high),
        signed,
        is_coded(dataset),
        tuple(sorted({bit for bit in overlays if 0 < bit < allocated})),
        tuple(faults),
    )


def range_of(values: NDArray[Any]) -> Range:
    """Return the smallest and the largest value; 0 and 0 where there is none."""
    return (int(values.min()), int(values.max())) if values.size else (0, 0)


def interpret(
    values: NDArray[Any], packing: Packing, known: Range | None = None
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the values of pixels, and what must be said of them.

    Parameters
    ----------
    values
        Pixels of every slice with this packing, as decoded, in a type that is signed as the header says.
    packing
        What the header says of their bits.
    known
        Their range, where it was looked up before.

    Raises
    ------
    SourceError
        If the pixels deny their header so that their values are not known.
    """
    warnings = list(packing.faults)
    if values.size == 0 or (packing.stored == packing.allocated and packing.high == packing.stored - 1):
        return values, tuple(warnings)
    low, high = _range(packing)
    shift = packing.high - (packing.stored - 1)
    least, most = range_of(values) if known is None else known
    if shift:
        values, warning = _shifted(values, packing, shift, fits=low <= least and most <= high)
        warnings.append(warning)
        least, most = range_of(values)
    if low <= least and most <= high:
        return values, tuple(warnings)
    if above := [bit for bit in packing.overlays if bit > packing.high]:
        warnings.append(
            f"the bits above BitsStored {packing.stored} are no part of the value and were cleared: the header says "
            f"that overlays lie there (OverlayBitPosition {', '.join(map(str, above))})"
        )
        return _lower_bits(values, packing.stored), tuple(warnings)
    if packing.signed and least >= 0 and most < 1 << packing.stored:
        return _lower_bits(values, packing.stored), tuple(warnings)  # two's complement of so many bits, not extended
    beyond = int(np.count_nonzero((values < low) | (values > high)))
    warnings.append(
        f"{beyond} voxels lie outside what BitsStored {packing.stored} allows ({low} to {high}), with values from "
        f"{least} to {most}: the header is wrong, and the values are kept as they are"
    )
    return values, tuple(warnings)


def _position(dataset: Dataset, tag: int) -> int:
    try:
        return int(dataset[tag].value) if tag in dataset else 0
    except (TypeError, ValueError):
        return 0


def _range(packing: Packing) -> tuple[int, int]:
    if packing.signed:
        return -(1 << packing.stored - 1), (1 << packing.stored - 1) - 1
    return 0, (1 << packing.stored) - 1


def _lower_bits(values: NDArray[Any], stored: int) -> NDArray[Any]:
    """Keep the lower bits, extended by their sign if the type has one."""
    unused = 8 * values.itemsize - stored
    kept: NDArray[Any] = (values << unused) >> unused
    return kept


def _shifted(values: NDArray[Any], packing: Packing, shift: int, *, fits: bool) -> tuple[NDArray[Any], str]:
    """Shift values down that begin above the lowest bit, if the pixels confirm it."""
    where = f"HighBit {packing.high} with BitsStored {packing.stored}"
    empty = not np.bitwise_or.reduce(values, axis=None) & ((1 << shift) - 1)
    if empty and not (packing.coded and fits):
        return values >> shift, f"{where}: the values lie {shift} bits up in each pixel, and were moved down"
    if packing.coded and fits:
        return values, f"{where} is wrong: the compressed pixels hold values of {packing.stored} bits as they are"
    raise SourceError(
        f"{where} says that the lowest {shift} bits of each pixel hold no value, but they are not empty: the values "
        "cannot be told; repair HighBit and BitsStored"
    )
