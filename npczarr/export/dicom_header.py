"""What DICOM objects of an export say of the patient and of the image that they outline."""

from __future__ import annotations

from importlib.metadata import version
from io import BytesIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from npczarr.errors import ParameterError
from npczarr.export.origin import Origin
from npczarr.export.scan import ScanVoxels
from npczarr.sources.structures.drawn_on import made_series_uid, made_uid

MANUFACTURER = "npczarr"
_LONGEST_ID = 64  # of a PatientID


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
    study.PatientID = _patient_id(scan.patient)
    study.PatientName = f"{study.PatientID}^"
    return Origin(
        made_series_uid(*series),
        made_uid("frame", scan.patient, scan.frame_digest or scan.sequence),
        tuple(made_uid("slice", *series, str(z)) for z in range(scan.grid.shape_zyx[0])),
        study,
    )


def encoded(dataset: Dataset) -> bytes:
    """Encode a DICOM object as a file, explicit VR little endian."""
    if not hasattr(dataset, "file_meta"):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
        dataset.file_meta = meta
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def software_version() -> str:
    """Version of this program, as it stands in headers."""
    return version("npczarr")


def _patient_id(label: str) -> str:
    if len(label) > _LONGEST_ID or not label.isprintable() or "\\" in label:
        raise ParameterError(f"{label!r} cannot be a PatientID: expected at most {_LONGEST_ID} printable characters")
    return label
