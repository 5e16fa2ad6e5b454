"""The voxels of a scan from its frames: stored values, in the smallest type that holds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from npczarr.errors import SourceError
from npczarr.model.geometry import Shape
from npczarr.model.limits import Clock, Limits
from npczarr.model.records import PADDING
from npczarr.sources.acquisition import number
from npczarr.sources.bits import Range, interpret, packing_key, range_of, read_packing
from npczarr.sources.frames import Frame
from npczarr.sources.pixels import check_native, decode

T = TypeVar("T")


def needed_dtype(dataset: Dataset) -> str:
    """Return "int32" if the header allows values that int16 cannot hold, else "int16"."""
    allocated, stored = number(dataset, "BitsAllocated"), number(dataset, "BitsStored")
    bits = stored if 1 <= stored <= allocated else allocated
    return "int32" if bits > 16 or (bits == 16 and not dataset.get("PixelRepresentation", 0)) else "int16"


def read_volume(
    frames: Sequence[Frame], shape_zyx: Shape, limits: Limits, clock: Clock
) -> tuple[NDArray[Any], list[str]]:
    """Decode frames in their order.

    Returns
    -------
    tuple
        (z, y, x) int16, or int32 where a value needs it or would be taken for padding; and what must be said of it.

    Raises
    ------
    SourceError
        If a frame cannot be decoded, has another size than the scan, or values that 32 bits cannot hold.
    """
    datasets = list({id(frame.dataset): frame.dataset for frame in frames}.values())
    limits.check_voxels(math.prod(shape_zyx) * max(2 if needed_dtype(d) == "int16" else 4 for d in datasets))
    _naming(check_native, frames[0].dataset)  # before memory is taken for as many as it claims
    remarks: list[str] = []
    decoded, ranges = _decoded(frames, shape_zyx, limits, clock, remarks)
    volume, known, warnings = _interpreted(decoded, ranges, frames)
    if remarks:
        warnings.append(
            f"odd pixel data in {len(remarks)} image{'s'[: len(remarks) > 1]} (the first: {remarks[0]}): damaged, or "
            "padded by another program; look at the scan"
        )
    return _smallest(volume, known), warnings


def _decoded(
    frames: Sequence[Frame], shape_zyx: Shape, limits: Limits, clock: Clock, remarks: list[str]
) -> tuple[NDArray[Any], list[Range]]:
    """Decode frames; return their pixels and the range of each, looked up while it is in the processor's cache."""
    volume: NDArray[Any] = np.empty(0, np.uint8)
    ranges: list[Range] = []
    decoded: dict[int, NDArray[Any]] = {}
    for z, frame in enumerate(clock.over(frames)):
        key = id(frame.dataset)
        if key not in decoded:
            decoded[key] = _naming(lambda dataset: decode(dataset, remarks), frame.dataset)
        values = decoded[key][frame.index]
        if values.shape != shape_zyx[1:]:
            raise SourceError(f"slice {z}: {values.shape} pixels, the header says {shape_zyx[1:]}")
        if z == 0:
            volume = np.empty(shape_zyx, values.dtype.newbyteorder("="))
        elif not np.can_cast(values.dtype, volume.dtype):
            wider = np.result_type(values.dtype, volume.dtype)
            limits.check_voxels(math.prod(shape_zyx) * wider.itemsize)
            volume = volume.astype(wider)
        volume[z] = values
        ranges.append(range_of(volume[z]))
        if len(decoded[key]) == 1:
            del decoded[key]
    return volume, ranges


def _joined(ranges: Iterable[Range]) -> Range:
    lows, highs = zip(*ranges, strict=True)
    return min(lows), max(highs)


def _interpreted(
    volume: NDArray[Any], ranges: Sequence[Range], frames: Sequence[Frame]
) -> tuple[NDArray[Any], Range, list[str]]:
    """Interpret the bits of all slices with the same packing together: a single slice may not use all of them.

    Returns values, their range, and what must be said of them.
    """
    slices: dict[tuple[object, ...], list[int]] = {}
    for z, frame in enumerate(frames):
        slices.setdefault(packing_key(frame.dataset), []).append(z)
    warnings: list[str] = []
    changed = False
    for which in slices.values():
        packing = read_packing(frames[which[0]].dataset)
        pixels = volume if len(slices) == 1 else volume[which]
        known: Range | None = _joined(ranges[z] for z in which)
        if pixels.itemsize * 8 > packing.allocated:  # widened for other slices: bits are counted in their own type
            pixels, known = pixels.astype(f"{'i' if packing.signed else 'u'}{packing.allocated // 8}"), None
        values, remarks = interpret(pixels, packing, known)
        changed |= values is not pixels or known is None
        share = "" if len(slices) == 1 else f" ({len(which)} of {len(frames)} slices)"
        warnings += [words + share for words in remarks]
        if len(slices) == 1:
            volume = values
        elif values is not pixels:
            volume[which] = values
    return volume, range_of(volume) if changed else _joined(ranges), warnings


def _smallest(volume: NDArray[Any], known: Range) -> NDArray[Any]:
    least, most = known
    for value in known:
        if not PADDING["int32"] < value <= np.iinfo(np.int32).max:
            raise SourceError(f"the value {value} does not fit 32-bit signed integers (the lowest of them is padding)")
    if PADDING["int16"] < least and most <= np.iinfo(np.int16).max:
        return volume.view(np.int16) if volume.itemsize == 2 else volume.astype(np.int16)
    return volume.astype(np.int32, copy=False)


def _naming(act: Callable[[Dataset], T], dataset: Dataset) -> T:
    """Apply a function to an image, and name its file in the error."""
    try:
        return act(dataset)
    except SourceError as error:
        raise SourceError(f"{dataset.filename}: {error}") from error
