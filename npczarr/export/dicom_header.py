"""What DICOM objects of an export say of the patient and of the image that they outline."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from io import BytesIO

from pydicom.charset import convert_encodings, default_encoding, encode_string, python_encoding
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR

from npczarr.errors import ParameterError
from npczarr.export.origin import Origin
from npczarr.export.scan import ScanVoxels
from npczarr.sources.structures.drawn_on import made_series_uid, made_uid

MANUFACTURER = "npczarr"
_LONGEST = 64  # of PatientID and PatientName: characters by the standard, but programs count the bytes of UTF-8
_UNICODE = "ISO_IR 192"  # UTF-8


def image_headers(scan: ScanVoxels) -> list[Dataset]:
    """Headers of the slices of a scan, without pixels.

    Where the source was given, identifiers and fields of the study are those of its series. Else they are made of
    labels and digests, since a store keeps none: the same scan gets the same ones, and scans that share a frame of
    reference share it here.
    """
    grid = scan.grid
    directions, spacing = grid.directions, grid.spacing_zyx_mm
    origin = _made_up(scan) if scan.origin is None else scan.origin
    headers = []
    for z, uid in enumerate(origin.instance_uids):
        header = Dataset()
        for keyword in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "StudyID"):
            setattr(header, keyword, "")
        header.PatientName = header.ReferringPhysicianName = ""
        header.SOPClassUID, header.Modality = MRImageStorage, "MR"
        header.update(origin.study)
        header.SOPInstanceUID, header.SeriesInstanceUID = uid, origin.series_uid
        header.FrameOfReferenceUID, header.PositionReferenceIndicator = origin.frame_of_reference_uid, ""
        header.InstanceNumber, header.SeriesNumber = z + 1, 1
        header.Rows, header.Columns = grid.shape_zyx[1:]
        header.ImagePositionPatient = [round(float(v), 6) for v in (grid.affine @ [0, 0, z, 1])[:3]]
        header.ImageOrientationPatient = [round(float(v), 9) for v in (*directions[:, 0], *directions[:, 1])]
        header.PixelSpacing = [round(float(v), 9) for v in spacing[1:]]
        header.SliceThickness = header.SpacingBetweenSlices = round(float(spacing[0]), 9)
        headers.append(header)
    return headers


def _made_up(scan: ScanVoxels) -> Origin:
    """Make up identifiers for a series whose own are not known."""
    series = (scan.patient, scan.sequence, scan.image_digest)
    study = Dataset()
    study.StudyInstanceUID, study.StudyID = made_uid("study", scan.patient), "1"
    study.SpecificCharacterSet = _UNICODE
    study.PatientID = _patient_id(scan.patient)
    study.PatientName = f"{_shortened(scan.patient, _LONGEST - 1)}^"
    return Origin(
        made_series_uid(*series),
        made_uid("frame", scan.patient, scan.frame_digest or scan.sequence),
        tuple(made_uid("slice", *series, str(z)) for z in range(scan.grid.shape_zyx[0])),
        study,
    )


def encoded(dataset: Dataset, image: Dataset) -> bytes:
    """Encode a DICOM object as a file, explicit VR little endian.

    Its text is in the character set of the image that it refers to, or, where that cannot hold it, in UTF-8.
    """
    if "SpecificCharacterSet" in image:
        dataset.SpecificCharacterSet = image.SpecificCharacterSet
    if not _can_hold_its_text(dataset):
        dataset.SpecificCharacterSet = _UNICODE
    if not hasattr(dataset, "file_meta"):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
        dataset.file_meta = meta
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _can_hold_its_text(dataset: Dataset) -> bool:
    """Whether the character set of an object is one of DICOM, and has every character of its text."""
    named = dataset.get("SpecificCharacterSet") or ""
    names = list(named) if isinstance(named, MultiValue) else [str(named)]
    if not all(name in python_encoding for name in names):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # of names that exclude each other, and of text that is replaced
        try:
            # pydicom writes Latin-1 where the standard's default is ASCII
            encodings = ["ascii" if one == default_encoding else one for one in convert_encodings(names)]
            for text in _texts(dataset):
                encode_string(text, encodings)
        except UserWarning:
            return False
    return True


def _texts(dataset: Dataset) -> Iterator[str]:
    """Every text of an object that its character set encodes."""
    for element in dataset.iterall():
        if element.VR in CUSTOMIZABLE_CHARSET_VR:
            values = element.value if isinstance(element.value, MultiValue) else [element.value]
            yield from (str(value) for value in values if value is not None)


def software_version() -> str:
    """Version of this program, as it stands in headers."""
    return version("npczarr")


def remarks(scan: ScanVoxels) -> list[str]:
    """Say where an object differs from what the store says of the scan."""
    notes = [] if scan.z_spacing_known else ["one slice, distance to the next unknown: 1 mm was written"]
    if scan.origin is None and _patient_id(scan.patient) != scan.patient:
        notes.append(f"the label is too long for a PatientID: {_patient_id(scan.patient)} was written")
    return notes


def _patient_id(label: str) -> str:
    if not label.isprintable() or "\\" in label:
        raise ParameterError(f"{label!r} cannot be a PatientID: expected printable characters, and no backslash")
    return _shortened(label, _LONGEST)


def _shortened(label: str, longest: int) -> str:
    """Cut a label to a number of bytes of UTF-8; a digest at its end keeps apart labels that begin alike."""
    content = label.encode()
    if len(content) <= longest:
        return label
    end = f"-{hashlib.blake2b(content, digest_size=8).hexdigest()}"
    return content[: longest - len(end)].decode(errors="ignore") + end
