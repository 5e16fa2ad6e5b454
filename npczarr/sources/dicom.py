"""One folder of DICOM files in, one scan out: slices by position, values as stored."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

from npczarr.errors import GeometryError, SourceError
from npczarr.model.cohort import File
from npczarr.model.limits import Clock, Limits
from npczarr.model.records import PADDING, Scan
from npczarr.model.slices import Stack, stack_slices
from npczarr.sources.acquisition import acquisition, number
from npczarr.sources.files import Source, told
from npczarr.sources.headers import EMPTY, Folder, Frame, frames_of, quiet, read_folder
from npczarr.sources.pixels import check_native, decode

T = TypeVar("T")
#: What pydicom raises where a field is damaged.
_FAULTS = (
    AttributeError, TypeError, ValueError, LookupError, ArithmeticError, NotImplementedError, RecursionError, EOFError,
    OSError,
    struct.error, BytesLengthException,
)  # fmt: skip
_AT_ONCE = 64  # files in one request; in between, the time is looked at


def read_scan(source: Source, files: Sequence[File]) -> Scan:
    """Read the series in a folder.

    Parameters
    ----------
    source, files
        The files of the folder; what is not an image is passed over and named by its kind.

    Raises
    ------
    SourceError, GeometryError
        If there is no image, or the slices cannot be read or do not make one regular volume.
    """
    source.limits.check_files(files)
    clock = source.limits.clock()
    with _header_faults(), quiet():
        folder = read_folder(clock.over(zip(told(files), _contents(source, files), strict=True)), source.limits)
        notes = [f"passed over: {kind} ({count} file{'s'[: count > 1]})" for kind, count in folder.passed_over.items()]
        if not folder.series:
            raise SourceError("; ".join(["no image in the folder", *notes]))
        frames, stack, reason = _choose_series(folder)
        scan = _scan(frames, stack, (*notes, *reason), source.limits, clock)
    if empty := folder.passed_over[EMPTY]:
        warning = f"{empty} empty file{'s'[: empty > 1]} in the folder: a first or last slice may be lost"
        scan = replace(scan, warnings=(*scan.warnings, warning))
    return scan


def peek(source: Source, files: Sequence[File]) -> tuple[tuple[int, int, int], str]:
    """Read the first image header of a folder: an upper bound of the scan's shape (z, y, x), and the type it needs.

    Raises
    ------
    SourceError
        If no file of the folder is an image.
    """
    with _header_faults(), quiet():
        for at, file in enumerate(files):
            source.limits.check_files([file])
            folder = read_folder(zip(told(files)[at : at + 1], source.read([file.path]), strict=True), source.limits)
            for dataset in (dataset for series in folder.series.values() for dataset in series):
                # a layout must not be planned on a size that nothing bears out
                frames, rows, columns = len(frames_of(dataset)), int(dataset.Rows), int(dataset.Columns)
                source.limits.check_voxels(2 * frames * rows * columns)
                check_native(dataset)
                return (frames * (len(files) - at), rows, columns), _needed_dtype(dataset)
    raise SourceError("no image in the folder")


@contextmanager
def _header_faults() -> Iterator[None]:
    """Name what pydicom raises where a field is first looked at: not there, or damaged."""
    try:
        yield
    except _FAULTS as error:
        # not its text, which would be stored: it may hold the value of the field
        field = f"the header has no {error.name}" if isinstance(error, AttributeError) else (
            f"a header field is damaged ({type(error).__name__})"
        )  # fmt: skip
        raise SourceError(f"{field}; copy the files again") from error


def _contents(source: Source, files: Sequence[File]) -> Iterator[bytes | Exception]:
    for start in range(0, len(files), _AT_ONCE):
        yield from source.read([file.path for file in files[start : start + _AT_ONCE]])


def _choose_series(folder: Folder) -> tuple[list[Frame], Stack, tuple[str, ...]]:
    """Take the one series, or of several the one with most slices that makes a regular volume; say why."""
    good: list[tuple[list[Frame], Stack]] = []
    faults: list[SourceError] = []
    for datasets in folder.series.values():
        try:
            frames = [frame for dataset in datasets for frame in frames_of(dataset)]
            good.append((frames, _stack(frames)))
        except SourceError as fault:
            faults.append(fault)
    if not good:
        if len(faults) == 1:
            raise faults[0]
        reasons = "; ".join(dict.fromkeys(str(fault) for fault in faults))
        raise SourceError(f"{len(faults)} series in the folder, none usable: {reasons}")
    good.sort(key=lambda pair: -len(pair[0]))
    frames, stack = good[0]
    if len(folder.series) == 1:
        return frames, stack, ()
    others = [str(len(other)) for other, _ in good[1:]]
    if others and int(others[0]) == len(frames):
        raise SourceError(
            f"{len(folder.series)} series in the folder, the largest with {len(frames)} slices each: nothing tells "
            "which is meant; keep one"
        )
    rejected = [f"{others[i]} slices" for i in range(len(others))] + [f"unusable: {fault}" for fault in faults]
    chosen = f"{len(folder.series)} series in the folder; took the one with most slices ({len(frames)})"
    return frames, stack, (f"{chosen}, left {', '.join(rejected)}",)


def _stack(frames: list[Frame]) -> Stack:
    matrices = {(int(f.dataset.Rows), int(f.dataset.Columns)) for f in frames}
    if len(matrices) > 1:
        raise GeometryError(f"slices of several matrix sizes in one series: {sorted(matrices)}, expected one; split it")
    rows, columns = matrices.pop()
    first = frames[0].dataset
    values = acquisition(first)
    thickness, between = (values.get(name, np.nan) for name in ("slice_thickness", "spacing_between_slices"))
    return stack_slices(
        np.array([frame.position_mm for frame in frames]),
        np.array([frame.orientation for frame in frames]),
        rows=rows,
        columns=columns,
        pixel_spacings_mm=np.array([frame.pixel_spacing_mm for frame in frames]),
        header_spacing_mm=float(between) if np.isfinite(float(between)) else None,
        header_thickness_mm=float(thickness) if np.isfinite(float(thickness)) else None,
    )


def _scan(frames: list[Frame], stack: Stack, notes: tuple[str, ...], limits: Limits, clock: Clock) -> Scan:
    ordered = [frames[i] for i in stack.order]
    first = ordered[0].dataset
    warnings = list(stack.warnings)
    if str(first.get("PhotometricInterpretation", "")) == "MONOCHROME1":
        warnings.append("MONOCHROME1: low values are bright; stored values are kept as they are")
    if str(first.get("LossyImageCompression", "")) == "01":
        warnings.append("the source says its pixels were compressed with loss")
    return Scan(
        _volume(ordered, stack.grid.shape_zyx, limits, clock),
        stack.grid,
        np.array([frame.slope for frame in ordered]),
        np.array([frame.intercept for frame in ordered]),
        acquisition(first),
        notes,
        tuple(warnings),
        stack.z_spacing_known,
    )


def _volume(frames: list[Frame], shape_zyx: tuple[int, int, int], limits: Limits, clock: Clock) -> NDArray[Any]:
    """Decode the frames in their order; int16, or int32 where a value does not fit or would be taken for padding."""
    dtype = _needed_dtype(*{id(frame.dataset): frame.dataset for frame in frames}.values())
    limits.check_voxels(math.prod(shape_zyx) * np.dtype(dtype).itemsize)
    _naming(check_native, frames[0].dataset)  # before memory is taken for as many as it claims
    volume = np.empty(shape_zyx, dtype=np.dtype(dtype))
    decoded: dict[int, NDArray[Any]] = {}
    for z, frame in enumerate(clock.over(frames)):
        key = id(frame.dataset)
        if key not in decoded:
            decoded[key] = _naming(decode, frame.dataset)
        values = decoded[key][frame.index]
        if values.shape != shape_zyx[1:]:
            raise SourceError(f"slice {z}: {values.shape} pixels, the header says {shape_zyx[1:]}")
        if values.dtype == np.uint32 and values.max(initial=0) > np.iinfo(np.int32).max:
            raise SourceError(f"slice {z}: the value {values.max()} does not fit 32-bit signed integers")
        volume[z] = values
        if len(decoded[key]) == 1:
            del decoded[key]
    if dtype == "int16":
        return volume.astype(np.int32) if volume.min() == PADDING["int16"] else volume
    fits = volume.min() > PADDING["int16"] and volume.max() <= np.iinfo(np.int16).max
    return volume.astype(np.int16) if fits else volume


def _naming(act: Callable[[Dataset], T], dataset: Dataset) -> T:
    """Do something with an image, and name its file where that fails."""
    try:
        return act(dataset)
    except SourceError as error:
        raise SourceError(f"{dataset.filename}: {error}") from error


def _needed_dtype(*datasets: Dataset) -> str:
    """int32 where a header allows values that int16 cannot hold."""
    for dataset in datasets:
        bits = number(dataset, "BitsStored")
        if bits > 16 or (bits == 16 and not dataset.get("PixelRepresentation", 0)):
            return "int32"
    return "int16"
