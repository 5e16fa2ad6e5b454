"""DICOM headers: the objects of a folder, and the fields of each image.

Only the tags listed here are parsed; nothing else of a header can reach the store.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pydicom
from pydicom import config as pydicom_config
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from npczarr.errors import SourceError
from npczarr.model.limits import Limits
from npczarr.sources.acquisition import ACQUISITION, IDENTITIES
from npczarr.sources.decompression import check_dataset
from npczarr.sources.differences import TELLING
from npczarr.sources.files import refusal_reason
from npczarr.sources.header_scan import scan_header
from npczarr.sources.pixels import OVERLAY_BITS

_STRUCTURE = (
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID",
    "FrameOfReferenceUID", "ImageType", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "PlanarConfiguration",
    "BitsAllocated", "HighBit", "PixelRepresentation", "PixelSpacing", "ImagePositionPatient",
    "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "LossyImageCompression",
    "ConcatenationUID", "InConcatenationNumber", "InConcatenationTotalNumber", "ModalityLUTSequence",
    "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", "PixelData", "FloatPixelData",
    "DoubleFloatPixelData",
)  # fmt: skip
EMPTY = "empty"
_NO_IMAGE = "DICOM object without an image"
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PIXEL_DATA = pydicom.tag.Tag("PixelData")
_TAGS: frozenset[int] = frozenset(int(tag) for tag in (
    *map(pydicom.tag.Tag, dict.fromkeys((*_STRUCTURE, *ACQUISITION, *TELLING, *IDENTITIES))),
    *map(pydicom.tag.Tag, OVERLAY_BITS),
))  # fmt: skip
#: Kinds of object that outline structures on images.
STRUCTURES = ("RT Structure Set Storage", "Segmentation Storage", "Label Map Segmentation Storage")
#: Kinds of object that are newer than the dictionary of some versions of pydicom.
_NEW_KINDS = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage"}


@dataclass(frozen=True, slots=True, eq=False)
class Folder:
    """The DICOM objects of a folder.

    Parameters
    ----------
    series
        Images by SeriesInstanceUID.
    passed_over
        What else there is, by kind.
    structures
        Contents of files that outline structures.
    not_dicom
        Places of the files that are no DICOM, in the order of the files.
    image_like
        SeriesInstanceUID and kind of objects that are no images by their kind, and have pixels with a position.
    """

    series: Mapping[str, list[Dataset]]
    passed_over: Counter[str]
    structures: tuple[bytes, ...] = ()
    not_dicom: tuple[int, ...] = ()
    image_like: tuple[tuple[str, str], ...] = ()


@contextmanager
def quiet() -> Iterator[None]:
    """Let pydicom accept values that violate the standard; the readers check the fields that matter."""
    with warnings.catch_warnings(), pydicom_config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def read_folder(
    files: Iterable[tuple[str, bytes | Exception]], limits: Limits, *, keywords: Sequence[str] = ()
) -> Folder:
    """Parse every file of a folder.

    Parameters
    ----------
    files
        Label and content of each.
    limits
        Limits of the scan.
    keywords
        Further fields to parse.

    Raises
    ------
    SourceError
        If an image cannot be read: a series with a hole is not a series.
    """
    tags = _TAGS.union(int(pydicom.tag.Tag(keyword)) for keyword in keywords)
    series: dict[str, list[Dataset]] = {}
    passed_over: Counter[str] = Counter()
    structures: list[bytes] = []
    not_dicom: list[int] = []
    image_like: list[tuple[str, str]] = []
    for at, (label, content) in enumerate(files):
        if isinstance(content, Exception):
            raise SourceError(f"{label} {refusal_reason(content)}")
        if not content:
            passed_over[EMPTY] += 1
            continue
        dataset = _parse(label, content, limits, tags)
        kind = _kind(dataset)
        if kind:
            passed_over[kind] += 1
            structures += [content] if kind in STRUCTURES else []
        if dataset is None:
            not_dicom.append(at)
            continue
        uid = str(dataset.get("SeriesInstanceUID", ""))
        if not kind:
            dataset.filename = label
            series.setdefault(uid, []).append(dataset)
        elif fault := _image_fault(dataset, kind):
            raise SourceError(f"{label} is a DICOM file {fault}; copy it again from its origin")
        elif kind not in STRUCTURES and _has_pixels(dataset) and "ImagePositionPatient" in dataset:
            image_like.append((uid, kind))
    return Folder(series, passed_over, tuple(structures), tuple(not_dicom), tuple(image_like))


def _parse(label: str, content: bytes, limits: Limits, tags: Collection[int]) -> Dataset | None:
    try:
        scanned = scan_header(content, tags)
        if scanned is not None:
            return scanned
        check_dataset(content, limits)
        listed: Any = list(tags)
        return _parse_around_pixels(content, listed) or pydicom.dcmread(BytesIO(content), specific_tags=listed)
    except InvalidDicomError:
        pass
    except SourceError as error:
        raise SourceError(f"{label}: {error}") from error
    except Exception as error:
        raise SourceError(
            f"{label} is a damaged DICOM file ({type(error).__name__}); copy it again from its origin"
        ) from error
    try:  # old files lack the preamble; whatever then has no SOP class is another kind of file
        dataset = pydicom.dcmread(BytesIO(content), specific_tags=list(tags), force=True)
    except Exception:
        return None
    return dataset if "SOPClassUID" in dataset else None


def _parse_around_pixels(content: bytes, tags: list[Any]) -> Dataset | None:
    """Parse a header without copying uncompressed pixels, which would take as long as the rest.

    None where the pixels are compressed, or do not follow the header as they do in most files.
    """
    buffer = BytesIO(content)
    dataset = pydicom.dcmread(buffer, specific_tags=tags, stop_before_pixels=True)
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
    kind = class_name(dataset)
    if not kind:
        return None if _has_pixels(dataset) else _NO_IMAGE
    if "Image Storage" not in kind or "Non-Image" in kind:
        return kind
    if (
        "Secondary Capture" in kind
        and "ImagePositionPatient" not in dataset
        and "PerFrameFunctionalGroupsSequence" not in dataset
    ):
        return kind  # a screenshot
    return None if _has_pixels(dataset) else kind


def _has_pixels(dataset: Dataset) -> bool:
    return "Rows" in dataset and any(name in dataset for name in _PIXELS)


def _image_fault(dataset: Dataset, kind: str) -> str:
    """Say how an object that is no slice is a damaged image: a lost first or last slice would go unnoticed."""
    is_image = "Image Storage" in kind and "Non-Image" not in kind
    if any(name in dataset for name in _PIXELS):
        return "of an image without Rows in its header" if is_image and "Rows" not in dataset else ""
    headless = "TransferSyntaxUID" not in dataset.file_meta
    cut_short = is_image or (headless and (kind == _NO_IMAGE or bool(getattr(dataset, "preamble", None))))
    return "that is cut short" if cut_short else ""


def class_name(dataset: Dataset) -> str:
    """Name of the kind of an object; empty if it is private or not known."""
    uid = UID(str(dataset.file_meta.get("MediaStorageSOPClassUID", "") or dataset.get("SOPClassUID", "")))
    return _NEW_KINDS.get(str(uid)) or ("" if uid.name == uid else uid.name)
