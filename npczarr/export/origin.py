"""The DICOM series that a stored scan was made from, for objects that are to refer to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pydicom.charset import default_encoding
from pydicom.dataset import Dataset

from npczarr.errors import SourceError
from npczarr.model.cohort import ScanFiles
from npczarr.model.records import Scan
from npczarr.sources.config import load_config
from npczarr.sources.dicom import read_scan
from npczarr.sources.discover import discover
from npczarr.sources.files import Source, open_source
from npczarr.sources.headers import quiet
from npczarr.store.chunks import digest
from npczarr.store.scans import StoredScan

#: What an object that belongs to a study repeats of it.
OF_STUDY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName", "SOPClassUID", "Modality", "SpecificCharacterSet",
)  # fmt: skip

_LONGEST_STUDY_ID = 16
_REPLACEMENT = "\ufffd"  # stands for bytes that could not be decoded


@dataclass(frozen=True, slots=True)
class OriginFiles:
    """Where the series of a scan may be read."""

    source: Source = field(repr=False)
    files: ScanFiles


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Identifiers of a series, and the header fields of its study; nothing of it enters a store.

    Parameters
    ----------
    series_uid, frame_of_reference_uid
        SeriesInstanceUID and FrameOfReferenceUID.
    instance_uids
        SOPInstanceUID of each slice, in the order of z.
    study
        Fields of patient and study, as :data:`OF_STUDY` lists them.
    """

    series_uid: str = field(repr=False)
    frame_of_reference_uid: str = field(repr=False)
    instance_uids: tuple[str, ...] = field(repr=False)
    study: Dataset = field(repr=False)


def find_origins(
    source: str | Path, config: str | Path | None, options: Mapping[str, Any] | None
) -> dict[tuple[str, str], OriginFiles]:
    """Find the files of each series of a source, by patient and sequence.

    Parameters
    ----------
    source, config
        Folder, zip or URL, and the TOML file of its layout.
    options
        Options of the source's file system.

    Raises
    ------
    SourceError
        If the source cannot be listed.
    """
    rules = load_config(config)
    origin = open_source(source, options, rules.limits)
    return {key: OriginFiles(origin, files) for key, files in discover(origin, rules).scans.items() if files.images}


def read_origin(stored: StoredScan, files: OriginFiles) -> Origin:
    """Read the series of a scan, and make sure that it is the stored one.

    Raises
    ------
    SourceError
        If the source has no series of these voxels, or one that cannot be referred to slice by slice.
    """
    scan = read_scan(files.source, files.files.images, masks=files.files.masks, where=files.files.where)
    if digest(scan.image.astype(stored.image_array.dtype)) != stored.image_digest:
        raise SourceError("the series of the source is not the one in the store; give the source that it was made from")
    if not scan.series_uid or not scan.frame_of_reference_uid:
        raise SourceError("the series has no SeriesInstanceUID or no FrameOfReferenceUID, so nothing can refer to it")
    if len(set(scan.instance_uids)) < len(scan.instance_uids):
        raise SourceError(
            "several slices are in one object of the source (enhanced multi-frame); export without the source, or "
            "as nifti"
        )
    study = _study(scan, files)
    return Origin(scan.series_uid, scan.frame_of_reference_uid, scan.instance_uids, study)


def _study(scan: Scan, files: OriginFiles) -> Dataset:
    """Fields of patient and study, of the first file of the series."""
    for file in files.files.images:
        content = files.source.read([file.path])[0]
        if isinstance(content, Exception):
            continue
        with quiet():
            dataset = _header(content)
            if str(dataset.get("SOPInstanceUID", "")) in scan.instance_uids:
                kept = _kept(dataset)
                return kept if _is_decoded(kept) else _kept_as_latin(_header(content))
    raise SourceError("the first slice of the series cannot be read again; check the source")


def _header(content: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(content), force=True, stop_before_pixels=True)


def _is_decoded(kept: Dataset) -> bool:
    """Whether the text could be read by the character set that its file names."""
    return not any(_REPLACEMENT in str(element.value) for element in kept)


def _kept_as_latin(dataset: Dataset) -> Dataset:
    """Return the fields read as Latin-1, which has a character for every byte: two patients stay two."""
    implicit, little_endian = dataset.original_encoding
    dataset.set_original_encoding(implicit, little_endian, default_encoding)
    kept = _kept(dataset)
    del kept.SpecificCharacterSet
    return kept


def _kept(dataset: Dataset) -> Dataset:
    kept = Dataset()
    for keyword in OF_STUDY:
        if keyword in dataset:
            kept.add(dataset[keyword])
    if len(str(kept.get("StudyID", ""))) > _LONGEST_STUDY_ID:
        kept.StudyID = ""  # it may be empty, but not be longer than the standard allows
    return kept
