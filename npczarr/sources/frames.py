"""The slices of an image object, classic or enhanced: position and scaling of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from pydicom.dataset import Dataset

from npczarr.errors import SourceError
from npczarr.sources.fields import raw_text, raw_value, text_values

_FARTHEST_MM = 1e6  # beyond a kilometre numbers are damaged, and their squares may overflow
_PIXEL_MM = (0.01, 20.0)  # of every scanner; beyond, the unit or the field is wrong


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One slice of an image object: its position and the scaling of its values."""

    dataset: Dataset
    index: int
    position_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, ...]
    slope: float
    intercept: float


def count_frames(dataset: Dataset) -> int:
    """Return how many frames an image object says that it has."""
    return int(dataset.get("NumberOfFrames", 1) or 1)


def frames_of(dataset: Dataset, indices: Sequence[int] | None = None) -> list[Frame]:
    """List all slices of an image object, or those with the given indices.

    Raises
    ------
    SourceError
        If it is a mosaic, holds no gray values in integers, or does not give the positions of its slices.
    """
    _check_kind(dataset)
    frames = count_frames(dataset)
    if "PerFrameFunctionalGroupsSequence" in dataset:
        groups = len(dataset.PerFrameFunctionalGroupsSequence)
        if groups != frames:
            raise SourceError(f"{frames} frames but functional groups for {groups}; the file is damaged")
        return [_enhanced_frame(dataset, i) for i in (range(frames) if indices is None else indices)]
    if frames != 1:
        raise SourceError(f"{frames} frames in one file without functional groups to say where each lies")
    return [_frame(dataset, 0, dataset, dataset, dataset, dataset)]


def _check_kind(dataset: Dataset) -> None:
    if "MOSAIC" in text_values(dataset, "ImageType"):
        raise SourceError(
            "Siemens mosaic: many slices tiled into one image, whose positions only private tags tell; convert it to "
            "enhanced or single-slice DICOM first"
        )
    if int(dataset.get("SamplesPerPixel", 1) or 1) != 1:
        raise SourceError(f"{dataset.SamplesPerPixel} samples per pixel (color), expected one; not an MR image")
    if raw_text(dataset, "PhotometricInterpretation") == "PALETTE COLOR":
        raise SourceError("palette color: the pixels are numbers of colors, expected gray values; not an MR image")
    floats = next((name for name in ("FloatPixelData", "DoubleFloatPixelData") if name in dataset), None)
    if floats and "PixelData" not in dataset:
        raise SourceError(
            f"no integer pixel data in the image: it holds floating-point numbers ({floats}), as a parametric map "
            "does; take the series that it was computed from"
        )
    if dataset.get("BitsAllocated") == 1:
        raise SourceError("1 bit per pixel (BitsAllocated): a bitmap such as a mask or an overlay, not an MR image")


def _enhanced_frame(dataset: Dataset, index: int) -> Frame:
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    groups = (dataset.PerFrameFunctionalGroupsSequence[index], shared[0])

    def group(name: str) -> Dataset:
        found = next((g[name][0] for g in groups if name in g and len(g[name].value)), None)
        return found if found is not None else Dataset()

    transformation = group("PixelValueTransformationSequence")
    return _frame(
        dataset,
        index,
        group("PlanePositionSequence"),
        group("PlaneOrientationSequence"),
        group("PixelMeasuresSequence"),
        transformation if "RescaleSlope" in transformation or "RescaleIntercept" in transformation else dataset,
    )


def _frame(
    dataset: Dataset, index: int, position: Dataset, orientation: Dataset, measures: Dataset, scale: Dataset
) -> Frame:
    return Frame(
        dataset,
        index,
        _numbers(position, "ImagePositionPatient", 3),
        _numbers(orientation, "ImageOrientationPatient", 6),
        _pixel_spacing(measures),
        _rescale(scale, "RescaleSlope", 1.0),
        _rescale(scale, "RescaleIntercept", 0.0),
    )


def _rescale(scale: Dataset, keyword: str, absent: float) -> float:
    """Return one number of a field, or what holds where it is absent or empty."""
    try:
        if not raw_text(scale, keyword):
            return absent
        (value,) = _decimals(scale, keyword)
    except (KeyError, TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise SourceError(
            f"the {keyword} of a slice is not one finite number, so its values cannot be compared with those of "
            "others; repair the headers"
        )
    return value


def _pixel_spacing(measures: Dataset) -> tuple[float, ...]:
    spacing = _numbers(measures, "PixelSpacing", 2)
    if min(spacing) < _PIXEL_MM[0] or max(spacing) > _PIXEL_MM[1]:
        raise SourceError(
            f"PixelSpacing {spacing[0]:g} x {spacing[1]:g} mm, expected lengths from {_PIXEL_MM[0]:g} to "
            f"{_PIXEL_MM[1]:g} mm; check the unit and repair the headers"
        )
    return spacing


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    try:
        values = _decimals(dataset, keyword)
    except (KeyError, TypeError, ValueError, OverflowError):
        values = ()
    if len(values) != count or not all(math.isfinite(value) and abs(value) <= _FARTHEST_MM for value in values):
        raise SourceError(f"no usable {keyword} in the header, so the place of the slice is not known")
    return values


def _decimals(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Values of a field of decimal strings, from its bytes where they are plain: pydicom keeps each as an object."""
    raw = raw_value(dataset, keyword)
    if isinstance(raw, bytes):
        with suppress(ValueError):
            return tuple(map(float, raw.split(b"\\")))
    return tuple(float(value) for value in dataset[keyword].value)
