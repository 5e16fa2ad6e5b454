"""DICOM RTSTRUCT: the labels of a mask as closed planar contours, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from npczarr.errors import SourceError
from npczarr.export.colors import color_of
from npczarr.export.dicom_header import MANUFACTURER, encoded, image_headers, remarks, software_version
from npczarr.export.mask_names import mask_stem
from npczarr.export.outlines import outlines
from npczarr.export.scan import ScanVoxels
from npczarr.export.terms import interpreted_type
from npczarr.model.geometry import Grid
from npczarr.outputs import write_whole
from npczarr.sources.structures.drawn_on import made_uid
from npczarr.store.scans import StoredScan

_STUDY = "1.2.840.10008.3.1.2.3.1"  # the class of a referenced study, retired, which this object still asks for
_PATIENT = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName", "FrameOfReferenceUID", "PositionReferenceIndicator",
)  # fmt: skip


def write(scan: ScanVoxels, folder: Path, bits: int) -> tuple[list[Path], list[str]]:
    """Write ``ROI-<mask>.dcm``: a structure for each label of the store, numbered as there.

    The image that it refers to has identifiers made up by :func:`npczarr.export.dicom_header.image_headers`.
    """
    if scan.mask is None:
        raise SourceError("there is no mask to write")
    if not scan.mask.any():
        return [], ["the mask is empty: an RTSTRUCT cannot say so, none was written"]
    images = image_headers(scan)
    made = _header(scan, images)
    for number, label in enumerate(scan.labels, 1):
        contours = _contours(scan.mask == number, scan.grid, images)
        if contours:
            _add(made, number, label, contours, str(images[0].FrameOfReferenceUID))
    path = folder / f"{mask_stem(scan.sequence)}.dcm"
    write_whole(path, encoded(made, images[0]))
    return [path], remarks(scan)


def names(scan: StoredScan) -> list[str]:
    """Names of the files that :func:`write` writes of a scan."""
    return [f"{mask_stem(scan.sequence)}.dcm"] if scan.mask_voxels else []


def _header(scan: ScanVoxels, images: Sequence[Dataset]) -> Dataset:
    """Make the object without its structures."""
    made, image = Dataset(), images[0]
    made.SOPClassUID = RTStructureSetStorage
    made.SOPInstanceUID = made_uid("RTSTRUCT", scan.patient, scan.sequence, scan.mask_digest)
    made.SeriesInstanceUID = made_uid("RTSTRUCT series", scan.patient, scan.sequence, scan.mask_digest)
    for keyword in _PATIENT:
        setattr(made, keyword, image.get(keyword, ""))
    now = datetime.now(UTC)
    made.Modality, made.SeriesNumber, made.InstanceNumber = "RTSTRUCT", 101, 1
    made.OperatorsName = made.ApprovalStatus = ""
    made.Manufacturer = made.ManufacturerModelName = MANUFACTURER
    made.SoftwareVersions = software_version()
    made.StructureSetLabel = "MASK"
    made.StructureSetDate, made.StructureSetTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
    made.ApprovalStatus = "UNAPPROVED"
    series = Dataset()
    series.SeriesInstanceUID = image.SeriesInstanceUID
    series.ContourImageSequence = [_reference(one) for one in images]
    study = Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = _STUDY, image.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = image.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    made.ReferencedFrameOfReferenceSequence = [frame]
    made.StructureSetROISequence, made.ROIContourSequence, made.RTROIObservationsSequence = [], [], []
    return made


def _add(made: Dataset, number: int, label: str, contours: list[Dataset], frame_uid: str) -> None:
    """Add one structure."""
    roi, drawn, observed = Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ReferencedFrameOfReferenceUID, roi.ROIName, roi.ROIGenerationAlgorithm = (
        number,
        frame_uid,
        label,
        "",
    )
    drawn.ROIDisplayColor, drawn.ContourSequence, drawn.ReferencedROINumber = list(color_of(number)), contours, number
    observed.ObservationNumber = observed.ReferencedROINumber = number
    observed.RTROIInterpretedType, observed.ROIInterpreter = interpreted_type(label), ""
    made.StructureSetROISequence.append(roi)
    made.ROIContourSequence.append(drawn)
    made.RTROIObservationsSequence.append(observed)


def _contours(inside: NDArray[np.bool_], grid: Grid, images: Sequence[Dataset]) -> list[Dataset]:
    """Contours of one structure, in the order of the slices."""
    found: list[Dataset] = []
    for z in np.flatnonzero(inside.any(axis=(1, 2))).tolist():
        for ring in outlines(inside[z]):
            index = np.column_stack([ring, np.full(len(ring), float(z)), np.ones(len(ring))])
            points = (index @ grid.affine.T)[:, :3]
            contour = Dataset()
            contour.ContourImageSequence = [_reference(images[z])]
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            contour.ContourNumber = len(found) + 1
            contour.ContourData = [f"{value:.4f}" for value in points.ravel()]
            found.append(contour)
    return found


def _reference(image: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return reference
