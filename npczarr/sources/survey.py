"""The series of a source by the headers of its files, whatever folders they are in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from operator import sub
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian

from npczarr.model.cohort import File
from npczarr.sources.fields import field_values
from npczarr.sources.files import Source
from npczarr.sources.guess import KEYWORDS
from npczarr.sources.headers import class_name, quiet

_HEAD = 2**16  # of a file is read first; few headers are longer
_AT_ONCE = 64
_SAME_COSINES = 0.02  # direction cosines that differ by less are one orientation
_FIELDS = (
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID",
    "PatientName", "Rows", "Columns", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "FlipAngle", "TemporalPositionIdentifier", "TriggerTime", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "PixelData", "FloatPixelData", "DoubleFloatPixelData",
)  # fmt: skip
#: Fields by which images of one series at one position are told apart, in this order.
_TELLING = (
    "EchoTime", "ImageType", "DiffusionBValue", "InversionTime", "FlipAngle", "TemporalPositionIdentifier",
    "TriggerTime",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Surveyed:
    """One file: its header, and what kind of object it is if it is no image."""

    file: File
    owner: str
    header: Dataset
    kind: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Images that may be one scan: of one series, of one orientation, and not several at one position.

    Parameters
    ----------
    owner
        Label of the patient, as the caller of :func:`survey` has it.
    images
        In the order of their paths.
    """

    owner: str
    images: tuple[Surveyed, ...]

    @property
    def header(self) -> Dataset:
        """Header of the first image."""
        return self.images[0].header

    @property
    def files(self) -> tuple[File, ...]:
        """Its files."""
        return tuple(image.file for image in self.images)


def survey(
    source: Source,
    files: Sequence[File],
    owner: Callable[[File], str],
    *,
    keywords: Sequence[str] = (),
    on_file: Callable[[int, int], None] | None = None,
) -> tuple[list[Surveyed], list[File]]:
    """Read the header of every file.

    Parameters
    ----------
    source, files
        What to read.
    owner
        Returns the label of the patient by path.
    keywords
        Further fields to read.
    on_file
        Called with the number of files that were read, and of all.

    Returns
    -------
    tuple
        DICOM objects; and files that are none, or cannot be read.
    """
    tags = [pydicom.tag.Tag(keyword) for keyword in dict.fromkeys((*_FIELDS, *KEYWORDS, *keywords))]
    found, others = [], []
    with quiet():
        for done, (file, header) in enumerate(_headers(source, files, tags), 1):
            if header is None:
                others.append(file)
            else:
                found.append(Surveyed(file, owner(file), header, _kind(header)))
            if on_file is not None:
                on_file(done, len(files))
    return found, others


def group_images(images: Sequence[Surveyed]) -> list[Group]:
    """Sort images into groups that may be scans: by patient, series, orientation, and what tells echoes apart."""
    by_series: dict[tuple[Any, ...], list[Surveyed]] = {}
    with quiet():
        for image in images:
            uid = str(image.header.get("SeriesInstanceUID", "")) or image.file.path.rpartition("/")[0]
            key = (image.owner, uid, _numbers(image.header, "Rows"), _numbers(image.header, "Columns"))
            by_series.setdefault(key, []).append(image)
        return [
            Group(key[0], part)
            for key, series in by_series.items()
            for group in _by_orientation(series)
            for part in _split(tuple(group), _TELLING)
        ]


def value_of(header: Dataset, keyword: str) -> tuple[float | str, ...]:
    """Values of a field of the first frame."""
    return field_values(header, 0, keyword)


def _headers(source: Source, files: Sequence[File], tags: list[Any]) -> Iterator[tuple[File, Dataset | None]]:
    for start in range(0, len(files), _AT_ONCE):
        batch = files[start : start + _AT_ONCE]
        for file, content in zip(batch, source.read_heads(batch, _HEAD), strict=True):
            header = _parse(content, tags, whole=file.size <= _HEAD)
            if header is _TOO_SHORT:
                header = _parse(source.read([file.path])[0], tags, whole=True)
            yield file, header


_TOO_SHORT = Dataset()


def _parse(content: bytes | Exception, tags: list[Any], *, whole: bool) -> Dataset | None:
    """Return a header, None for what is no DICOM file, and `_TOO_SHORT` where more of the file is needed."""
    if isinstance(content, Exception) or len(content) < 8:
        return None
    buffer = BytesIO(content)
    try:
        try:
            header = pydicom.dcmread(buffer, specific_tags=tags, stop_before_pixels=True)
        except InvalidDicomError:
            header = pydicom.dcmread(buffer, specific_tags=tags, stop_before_pixels=True, force=True)
            if "SOPClassUID" not in header:
                return None
        if not whole and header.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            return _TOO_SHORT
        return header if whole or buffer.tell() < len(content) else _TOO_SHORT
    except Exception:  # pydicom names damage in a dozen ways; what reads the scan says it at length
        return None if whole else _TOO_SHORT


def _split(images: tuple[Surveyed, ...], fields: Sequence[str]) -> list[tuple[Surveyed, ...]]:
    """Split images until no two of them are at one position, or nothing tells them apart."""
    if not fields or not _share_positions(images):
        return [images]
    parts: dict[Any, list[Surveyed]] = {}
    for image in images:
        parts.setdefault(value_of(image.header, fields[0]), []).append(image)
    return [small for part in parts.values() for small in _split(tuple(part), fields[1:])]


def _share_positions(images: Sequence[Surveyed]) -> bool:
    """Whether different images are at one position; exact copies by their SOPInstanceUID are one image."""
    distinct = {str(image.header.get("SOPInstanceUID", "")) or image.file.path: image for image in images}
    positions = [value_of(image.header, "ImagePositionPatient") for image in distinct.values()]
    known = [tuple(round(v, 2) for v in p if isinstance(v, float)) for p in positions if p]
    return len(set(known)) < len(known)


def _by_orientation(images: Sequence[Surveyed]) -> list[list[Surveyed]]:
    """Sort images by their orientation; noise in the headers splits no series."""
    groups: list[tuple[tuple[float, ...], list[Surveyed]]] = []
    for image in images:
        cosines = _numbers(image.header, "ImageOrientationPatient")
        for known, group in groups:
            if len(known) == len(cosines) and max(map(abs, map(sub, known, cosines)), default=0.0) < _SAME_COSINES:
                group.append(image)
                break
        else:
            groups.append((cosines, [image]))
    return [group for _, group in groups]


def _numbers(header: Dataset, keyword: str) -> tuple[float, ...]:
    return tuple(value for value in value_of(header, keyword) if isinstance(value, float))


def _kind(header: Dataset) -> str:
    """Name the kind of an object that is no image of a series; "" where it is one."""
    kind = class_name(header)
    if not kind:
        return "" if "Rows" in header else "DICOM object without an image"
    if "Image Storage" not in kind or "Non-Image" in kind:
        return kind
    has_place = "ImagePositionPatient" in header or "PerFrameFunctionalGroupsSequence" in header
    return kind if "Secondary Capture" in kind and not has_place else ""
