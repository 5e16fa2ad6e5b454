"""One series as DICOM files: the header is serialized once, and each slice fills in its own fields."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage

from npczarr.model.geometry import Grid
from npczarr.model.published import SEQUENCES
from npczarr.phantom.plan import PatientPlan, ScanPlan
from npczarr.phantom.vendors import vendor_fields

# As wide as any value that takes their place, so that no length in the header changes, and like no other value in it
_POSITION = ("+0111.111111", "+0222.222222", "+0333.333333")
_LOCATION = "+0444.4444"
_INSTANCE = "+777777777"
_SLICE_UID = ".9876543210"


def slice_order(depth: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """(depth,) slice at each file name: in most series the anatomical order, else reversed, interleaved, or any."""
    kinds = (np.arange(depth), np.arange(depth)[::-1], np.r_[0:depth:2, 1:depth:2], rng.permutation(depth))
    return kinds[int(rng.choice(4, p=(0.55, 0.2, 0.15, 0.1)))]


def series_files(
    patient: PatientPlan,
    scan: ScanPlan,
    grid: Grid,
    order: NDArray[np.intp],
    images: Iterable[NDArray[np.uint16]],
    *,
    seed: int,
    rng: np.random.Generator,
) -> Iterator[tuple[str, bytes]]:
    """Make the files of a series, in the order of z.

    Parameters
    ----------
    order
        (z,) slice at each file name, counted from 1.
    images
        (rows, columns) of each slice, in the order of z.

    Yields
    ------
    tuple
        Name and content.
    """
    header = _template(patient, scan, grid, seed, rng)
    depth = len(order)
    instances = np.arange(1, depth + 1)
    kind = rng.random()
    if kind < 0.15:
        instances = instances[::-1]
    elif kind < 0.25:
        instances = 2 * instances - 1  # every second number, as where two series were interleaved
    for z, (name, image) in enumerate(zip(np.argsort(order), images, strict=True)):
        position = grid.affine[:3, 2] * z + grid.affine[:3, 3]
        mine = header.replace("\\".join(_POSITION).encode(), "\\".join(f"{mm:+012.6f}" for mm in position).encode())
        mine = mine.replace(_LOCATION.encode(), f"{position[2]:+010.4f}".encode())
        mine = mine.replace(_INSTANCE.encode(), f"{instances[name]:+010d}".encode())
        mine = mine.replace(_SLICE_UID.encode(), f".{1000000001 + name}".encode())
        yield f"{name + 1:05d}.dcm", mine + image.tobytes()


def _template(patient: PatientPlan, scan: ScanPlan, grid: Grid, seed: int, rng: np.random.Generator) -> bytes:
    """Serialize the header of a slice up to its pixels, with placeholders for the fields that differ between slices."""
    scanner = patient.scanner
    study = _uid(seed, patient.label)
    series = _uid(seed, patient.label, scan.sequence)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = UID(series + _SLICE_UID)
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if scanner.implicit else ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    bits = 16 if scanner.signed else 12
    cosines = grid.directions[:, :2].T.ravel()
    fields = {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "SYNTHETIC"],
        "SyntheticData": "YES",
        "SOPClassUID": MRImageStorage,
        "SOPInstanceUID": series + _SLICE_UID,
        "Modality": "MR",
        "Manufacturer": scanner.manufacturer,
        "ManufacturerModelName": scanner.model,
        "PatientName": patient.label,
        "PatientID": patient.label,
        "PatientPosition": "HFS",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
        "FrameOfReferenceUID": _uid(seed, patient.label, "frame"),
        "SeriesNumber": 1 + SEQUENCES.index(scan.sequence),
        "InstanceNumber": _INSTANCE,
        "ImagePositionPatient": list(_POSITION),
        "ImageOrientationPatient": [f"{cosine:.6f}" for cosine in cosines],
        "SliceLocation": _LOCATION,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": scan.matrix,
        "Columns": scan.matrix,
        "PixelSpacing": [f"{scan.pixel_spacing_mm:.6f}"] * 2,
        "BitsAllocated": 16,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(scanner.signed),
        "PixelData": b"\0\0",
    }
    for keyword, value in (fields | _acquisition(patient, scan)).items():
        setattr(dataset, keyword, value)
    vendor_fields(dataset, scanner, rng)
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    # the pixels come last, behind four bytes of their length
    return buffer.getvalue()[:-6] + (2 * scan.matrix**2).to_bytes(4, "little")


def _acquisition(patient: PatientPlan, scan: ScanPlan) -> dict[str, object]:
    t2 = scan.sequence == "T2WI"
    return {
        "ProtocolName": f"{scan.sequence} TSE AX",
        "SeriesDescription": scan.sequence,
        "SequenceName": "*tse2d1_15" if t2 else "*tse2d1_3",
        "ScanningSequence": "SE",
        "SequenceVariant": "SK",
        "ScanOptions": "FC" if t2 else "",
        "MRAcquisitionType": "2D",
        "SliceThickness": f"{scan.thickness_mm:g}",
        "SpacingBetweenSlices": f"{scan.header_spacing_mm:g}",
        "RepetitionTime": f"{scan.repetition_time_ms:g}",
        "EchoTime": f"{scan.echo_time_ms:g}",
        "NumberOfAverages": "2",
        "ImagingFrequency": f"{42.577 * patient.scanner.field_strength_t:.4f}",
        "MagneticFieldStrength": f"{patient.scanner.field_strength_t:g}",
        "EchoTrainLength": 15 if t2 else 3,
        "PercentPhaseFieldOfView": "100",
        "PixelBandwidth": "217",
        "ReconstructionDiameter": f"{scan.field_of_view_mm:g}",
        "AcquisitionMatrix": [0, scan.matrix * 3 // 4, scan.matrix * 5 // 8, 0],
        "FlipAngle": f"{scan.flip_angle_deg:g}",
        "PixelPaddingValue": 0,
    }


def _uid(*keys: object) -> str:
    digest = hashlib.sha256("/".join(map(str, keys)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"
