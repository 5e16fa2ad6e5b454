"""One scan as its scanner would have written it: the DICOM files of a series, and the NIfTI mask of its tumour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import nibabel
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage

from npczarr.phantom.anatomy import NoisePool, draw_slice
from npczarr.phantom.plan import PatientPlan, Scanner, ScanPlan

_MASK_DTYPES = (("uint8", 1), ("int16", 1), ("float32", 1), ("float64", 1), ("uint8", 255), ("uint8", 2))


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where a scan lies: affine (4, 4) from voxel index (x, y, z, 1) to LPS mm, and its spacing and shape."""

    affine: NDArray[np.float64]
    spacing_zyx_mm: tuple[float, float, float]
    shape_zyx: tuple[int, int, int]


def place(scan: ScanPlan, rng: np.random.Generator) -> Placement:
    """Place a scan around the scanner's isocentre: two in three tilted by up to 15 degrees, cosines of six decimals."""
    spacing = (round(scan.thickness_mm + scan.gap_mm, 2), *[round(scan.field_of_view_mm / scan.matrix, 6)] * 2)
    tilt, turn = np.deg2rad(rng.uniform(-15, 15)), np.deg2rad(rng.uniform(-4, 4))
    if rng.random() < 1 / 3:
        tilt = turn = 0.0
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    axes = np.round(about_z @ about_x, 6)
    shape = (scan.slices, scan.matrix, scan.matrix)
    affine = np.eye(4)
    affine[:3, 0] = axes[:, 0] * spacing[2]
    affine[:3, 1] = axes[:, 1] * spacing[1]
    affine[:3, 2] = np.cross(axes[:, 0], axes[:, 1]) * spacing[0]
    half = (np.array(shape[::-1]) - 1) / 2
    affine[:3, 3] = np.round(rng.normal(0, 8, 3) - affine[:3, :3] @ half, 4)
    return Placement(affine, (spacing[0], spacing[1], spacing[2]), shape)


def dicom_files(
    patient: PatientPlan,
    scan: ScanPlan,
    placement: Placement,
    tumour: NDArray[np.uint8],
    pool: NoisePool,
    rng: np.random.Generator,
) -> Iterator[tuple[str, bytes]]:
    """Write the slices of a series; names and instance numbers are in no anatomical order on some."""
    depth = placement.shape_zyx[0]
    orders = (np.arange(depth), np.arange(depth)[::-1], np.r_[0:depth:2, 1:depth:2], rng.permutation(depth))
    named = orders[int(rng.choice(4, p=(0.55, 0.2, 0.15, 0.1)))]
    dataset = _header(patient, scan, placement, rng)
    series = str(dataset.SeriesInstanceUID)
    for number, z in enumerate(named, 1):
        position = placement.affine[:3, :3] @ (0, 0, z) + placement.affine[:3, 3]
        dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]
        dataset.SliceLocation = f"{position[2]:.4f}"
        dataset.InstanceNumber = int(number if rng.random() < 0.9 else depth - number + 1)
        dataset.SOPInstanceUID = f"{series}.{number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        height_mm = (z - (depth - 1) / 2) * placement.spacing_zyx_mm[0]
        pixels = draw_slice(scan.sequence, scan.matrix, placement.spacing_zyx_mm[1], height_mm, tumour[z], pool, rng)
        dataset.PixelData = pixels.tobytes()
        buffer = BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
        yield f"{number:05d}.dcm", buffer.getvalue()


def _header(patient: PatientPlan, scan: ScanPlan, placement: Placement, rng: np.random.Generator) -> FileDataset:
    scanner = patient.scanner
    study = f"2.25.{int(rng.integers(10**17, 10**18))}"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if scanner.implicit else ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    bits, signed = (16, 1) if scanner.signed else (12, 0)
    fields = {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "SOPClassUID": MRImageStorage,
        "Modality": "MR",
        "Manufacturer": scanner.manufacturer,
        "ManufacturerModelName": scanner.model,
        "PatientName": patient.label,
        "PatientID": patient.label,
        "ScanningSequence": "SE",
        "SequenceVariant": "SK",
        "MRAcquisitionType": "2D",
        "SliceThickness": f"{scan.thickness_mm:g}",
        "RepetitionTime": f"{scan.repetition_time_ms:g}",
        "EchoTime": f"{scan.echo_time_ms:g}",
        "NumberOfAverages": "2",
        "ImagingFrequency": f"{42.577 * scanner.field_strength_t:.4f}",
        "MagneticFieldStrength": f"{scanner.field_strength_t:g}",
        "SpacingBetweenSlices": f"{scan.gap_mm if scanner.gap_in_header else placement.spacing_zyx_mm[0]:g}",
        "EchoTrainLength": 1 if scan.echo_time_ms < 30 else 15,
        "PercentPhaseFieldOfView": "100",
        "PixelBandwidth": "217",
        "ReconstructionDiameter": f"{scan.field_of_view_mm:g}",
        "FlipAngle": f"{scan.flip_angle_deg:g}",
        "PatientPosition": "HFS",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.{1 + len(scan.sequence)}",
        "SeriesNumber": 1 + len(scan.sequence),
        "ImageOrientationPatient": [f"{v:.6f}" for v in _cosines(placement)],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": scan.matrix,
        "Columns": scan.matrix,
        "PixelSpacing": [f"{placement.spacing_zyx_mm[1]:.6f}", f"{placement.spacing_zyx_mm[2]:.6f}"],
        "BitsAllocated": 16,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": signed,
    }
    if scanner.manufacturer.startswith("Philips"):
        fields |= {"RescaleIntercept": "0", "RescaleSlope": f"{rng.uniform(0.5, 3):.6f}", "RescaleType": "normalized"}
    for keyword, value in fields.items():
        setattr(dataset, keyword, value)
    _add_private(dataset, scanner, rng)
    return dataset


def _cosines(placement: Placement) -> NDArray[np.float64]:
    columns: NDArray[np.float64] = placement.affine[:3, :2].T / np.array(placement.spacing_zyx_mm[2:0:-1])[:, None]
    return columns.ravel()


def _add_private(dataset: Dataset, scanner: Scanner, rng: np.random.Generator) -> None:
    """Add private blocks of the vendor's kind and size, with made-up content."""
    if scanner.manufacturer == "SIEMENS":
        block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        block.add_new(0x10, "OB", b"SV10\4\3\2\1" + rng.bytes(6000))
        block.add_new(0x20, "OB", b"SV10\4\3\2\1" + rng.bytes(3000))
    elif scanner.manufacturer.startswith("Philips"):
        block = dataset.private_block(0x2001, "Philips Imaging DD 001", create=True)
        for i in range(1, 30):
            block.add_new(i, "FL", float(rng.random()))
        item = Dataset()
        inner = item.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
        inner.add_new(0x10, "LO", "made up")
        dataset.private_block(0x2005, "Philips MR Imaging DD 005", create=True).add_new(0x02, "SQ", [item])
    else:
        block = dataset.private_block(0x0019, "GEMS_ACQU_01", create=True)
        for i in range(0x10, 0x40):
            block.add_new(i, "DS", f"{rng.uniform(0, 100):.4f}")
        dataset.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2A, "OB", rng.bytes(1000))


def nifti_mask(
    tumour: NDArray[np.uint8], placement: Placement, rng: np.random.Generator
) -> tuple[bytes, dict[str, object]]:
    """Store a mask as the published ones are: rows against the image's, one of several number types, sometimes noisy.

    Returns
    -------
    tuple
        The file, and how it was stored: dtype, value of tumour, flipped voxel axes.
    """
    dtype, value = _MASK_DTYPES[int(rng.choice(6, p=(0.64, 0.18, 0.06, 0.02, 0.05, 0.05)))]
    flips = "y" if rng.random() < 0.9 else "xy"
    data = tumour.transpose(2, 1, 0).astype(dtype) * np.dtype(dtype).type(value)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ placement.affine
    for axis in (("x", "y").index(flip) for flip in flips):
        data = np.flip(data, axis)
        step = affine[:3, axis].copy()
        affine[:3, 3] += step * (data.shape[axis] - 1)
        affine[:3, axis] = -step
    if np.dtype(dtype).kind == "f":
        data = data + rng.choice(np.array([-3e-7, 0, 2e-7], dtype=dtype), size=data.shape)
    image = nibabel.Nifti1Image(np.asfortranarray(data), affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    return image.to_bytes(), {"dtype": dtype, "value": value, "flipped": flips}
