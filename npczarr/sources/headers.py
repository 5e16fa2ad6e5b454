"""DICOM headers: which objects a folder holds, and what each image says of itself.

Only the tags listed here are parsed; nothing else of a header can reach the store.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
from pydicom import config as pydicom_config
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from npczarr.errors import SourceError
from npczarr.model.limits import Limits
from npczarr.sources.acquisition import ACQUISITION, number
from npczarr.sources.files import why
from npczarr.sources.packed import check_dataset

_STRUCTURE = (
    "SpecificCharacterSet", "SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "ImageType", "NumberOfFrames", "Rows",
    "Columns", "SamplesPerPixel", "PlanarConfiguration", "BitsAllocated", "HighBit", "PixelRepresentation",
    "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept",
    "LossyImageCompression",
    "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", "PixelData", "FloatPixelData",
    "DoubleFloatPixelData",
)  # fmt: skip
EMPTY = "empty"
_FARTHEST_MM = 1e6  # beyond a kilometre numbers are damaged, and their squares may overflow
_NO_IMAGE = "DICOM object without an image"
_PIXEL_DATA = pydicom.tag.Tag("PixelData")
_TAGS: list[Any] = [pydicom.tag.Tag(keyword) for keyword in (*_STRUCTURE, *ACQUISITION)]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One slice of an image object: where it lies and how its values are scaled."""

    dataset: Dataset
    index: int
    position_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, ...]
    slope: float
    intercept: float


@dataclass(frozen=True, slots=True, eq=False)
class Folder:
    """The DICOM objects of a folder: images by series, and what was passed over, by kind."""

    series: Mapping[str, list[Dataset]]
    passed_over: Counter[str]


@contextmanager
def quiet() -> Iterator[None]:
    """Let pydicom accept values that break the standard; what matters of them is checked here, with better words."""
    with warnings.catch_warnings(), pydicom_config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def read_folder(files: Iterable[tuple[str, bytes | Exception]], limits: Limits) -> Folder:
    """Parse every file of a folder, given as (label, content).

    Raises
    ------
    SourceError
        If an image cannot be read: a series with a hole is not a series.
    """
    series: dict[str, list[Dataset]] = {}
    passed_over: Counter[str] = Counter()
    for label, content in files:
        if isinstance(content, Exception):
            raise SourceError(f"{label} {why(content)}")
        if not content:
            passed_over[EMPTY] += 1
            continue
        dataset = _parse(label, content, limits)
        kind = _kind(dataset)
        if dataset is not None and kind and _cut_short(dataset, kind):
            raise SourceError(f"{label} is a DICOM file that is cut short; copy it again from its origin")
        if kind:
            passed_over[kind] += 1
        else:
            assert dataset is not None
            dataset.filename = label
            series.setdefault(str(dataset.get("SeriesInstanceUID", "")), []).append(dataset)
    return Folder(series, passed_over)


def _parse(label: str, content: bytes, limits: Limits) -> Dataset | None:
    try:
        check_dataset(content, limits)
        return _parse_around_pixels(content) or pydicom.dcmread(BytesIO(content), specific_tags=_TAGS)
    except InvalidDicomError:
        pass
    except SourceError as error:
        raise SourceError(f"{label}: {error}") from error
    except Exception as error:
        raise SourceError(
            f"{label} is a damaged DICOM file ({type(error).__name__}); copy it again from its origin"
        ) from error
    try:  # old files lack the preamble; whatever then has no SOP class is another kind of file
        dataset = pydicom.dcmread(BytesIO(content), specific_tags=_TAGS, force=True)
    except Exception:
        return None
    return dataset if "SOPClassUID" in dataset else None


def _parse_around_pixels(content: bytes) -> Dataset | None:
    """Parse a header and leave uncompressed pixels where they are: copying them would take as long as the rest.

    None where the pixels are compressed, or do not follow the header as they do in most files.
    """
    buffer = BytesIO(content)
    dataset = pydicom.dcmread(buffer, specific_tags=_TAGS, stop_before_pixels=True)
    syntax = dataset.file_meta.get("TransferSyntaxUID", "")
    start = buffer.tell()
    if (
        syntax not in (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
        or content[start : start + 4] != b"\xe0\x7f\x10\x00"
    ):
        return None
    implicit = syntax == ImplicitVRLittleEndian
    value = start + (8 if implicit else 12)
    length = int.from_bytes(content[value - 4 : value], "little")
    if length == 0xFFFFFFFF:
        return None
    vr = "OW" if implicit else content[start + 4 : start + 6].decode("ascii", "replace")
    pixels: Any = memoryview(content)[value : value + length]
    dataset[_PIXEL_DATA] = RawDataElement(_PIXEL_DATA, vr, length, pixels, value, implicit, True)
    return dataset


def _kind(dataset: Dataset | None) -> str | None:
    """Name the kind of an object that is not a slice of a series, or None where it is one."""
    if dataset is None:
        return "not DICOM"
    sop_class = _sop_class(dataset)
    if "Rows" not in dataset or any(
        word in sop_class.name for word in ("Presentation State", "Segmentation", "RT Dose")
    ):
        return sop_class.name if sop_class and sop_class.name != sop_class else _NO_IMAGE
    if "LOCALIZER" in image_type(dataset):
        return "localizer"
    return None


def _cut_short(dataset: Dataset, kind: str) -> bool:
    """Whether an object that shows no image is what is left of one; its loss at either end of a series is not seen."""
    return kind.endswith("Image Storage") or (kind == _NO_IMAGE and "TransferSyntaxUID" not in dataset.file_meta)


def _sop_class(dataset: Dataset) -> UID:
    return UID(str(dataset.file_meta.get("MediaStorageSOPClassUID", "") or dataset.get("SOPClassUID", "")))


def image_type(dataset: Dataset) -> list[str]:
    """Values of ImageType in upper case."""
    value = dataset.get("ImageType", "")
    return [str(part).upper() for part in ([value] if isinstance(value, str) else value or [])]


def frames_of(dataset: Dataset) -> list[Frame]:
    """List the slices of an image object, classic or enhanced.

    Raises
    ------
    SourceError
        If it is a mosaic, has colour, or does not say where its slices lie.
    """
    if "MOSAIC" in image_type(dataset):
        raise SourceError(
            "Siemens mosaic: many slices tiled into one image, whose positions only private tags tell; convert it to "
            "enhanced or single-slice DICOM first"
        )
    if int(dataset.get("SamplesPerPixel", 1) or 1) != 1:
        raise SourceError(f"{dataset.SamplesPerPixel} samples per pixel (colour), expected one; not an MR image")
    if "PerFrameFunctionalGroupsSequence" in dataset:
        groups, frames = len(dataset.PerFrameFunctionalGroupsSequence), int(dataset.get("NumberOfFrames", 1) or 1)
        if groups != frames:
            raise SourceError(f"{frames} frames but functional groups for {groups}; the file is damaged")
        return [_enhanced_frame(dataset, i) for i in range(frames)]
    if int(dataset.get("NumberOfFrames", 1) or 1) != 1:
        raise SourceError(
            f"{dataset.NumberOfFrames} frames in one file without functional groups to say where each lies"
        )
    return [_frame(dataset, 0, dataset, dataset, dataset, dataset)]


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
        transformation if "RescaleSlope" in transformation else dataset,
    )


def _frame(
    dataset: Dataset, index: int, position: Dataset, orientation: Dataset, measures: Dataset, scale: Dataset
) -> Frame:
    slope = number(scale, "RescaleSlope")
    intercept = number(scale, "RescaleIntercept")
    if np.isinf(slope) or np.isinf(intercept):
        raise SourceError(
            f"RescaleSlope {slope:g} and RescaleIntercept {intercept:g} must be finite; repair the headers"
        )
    return Frame(
        dataset,
        index,
        _numbers(position, "ImagePositionPatient", 3),
        _numbers(orientation, "ImageOrientationPatient", 6),
        _numbers(measures, "PixelSpacing", 2),
        1.0 if np.isnan(slope) else slope,
        0.0 if np.isnan(intercept) else intercept,
    )


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    try:
        values = tuple(float(value) for value in dataset[keyword].value)
    except (KeyError, TypeError, ValueError, OverflowError):
        values = ()
    if len(values) != count or not np.isfinite(values).all() or max(map(abs, values)) > _FARTHEST_MM:
        raise SourceError(f"no usable {keyword} in the header, so the place of the slice is not known")
    if keyword == "PixelSpacing" and min(values) < 1 / _FARTHEST_MM:
        raise SourceError(f"PixelSpacing {values} mm, expected lengths above 0; repair the headers")
    return values
