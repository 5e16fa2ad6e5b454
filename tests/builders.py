"""Small files that many tests need: DICOM series, NIfTI masks, a whole cohort in the published layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

from npczarr.model.geometry import RAS_TO_LPS, Grid

#: Native transfer syntaxes, by a short name.
SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big-endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}


def rotation(seed: int) -> np.ndarray:
    """(3, 3) random rotation."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    q[:, 2] *= np.sign(np.linalg.det(q))
    return q


def oblique_grid(
    shape_zyx: Sequence[int] = (5, 6, 7), seed: int = 0, spacing_zyx_mm: Sequence[float] = (5.5, 0.5, 0.7)
):
    """Grid in a random direction, at a random place."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(seed) * np.array(spacing_zyx_mm)[::-1]
    affine[:3, 3] = np.random.default_rng(seed).uniform(-200, 200, 3)
    return Grid(tuple(shape_zyx), affine)


def noise(grid: Grid, dtype: str = "int16", seed: int = 0, high: int = 4096) -> np.ndarray:
    """Voxel values between 0 and ``high``, none like another slice's."""
    return np.random.default_rng(seed).integers(0, high, grid.shape_zyx).astype(dtype)


def slice_dataset(
    pixels: np.ndarray, grid: Grid, z: int, *, syntax: str = "explicit", series: str = "1.2.3"
) -> FileDataset:
    """One classic MR slice: slice ``z`` of ``grid``; every identifying field holds text that must never leak."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = SYNTAXES[syntax]
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    little = syntax != "big-endian"
    ds = FileDataset("", {}, b"\0" * 128, meta, is_implicit_VR=syntax == "implicit", is_little_endian=little)
    ds.SOPClassUID = MRImageStorage
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.SeriesInstanceUID = series
    ds.PatientName, ds.PatientID, ds.StudyDate = "SECRET^NAME", "SECRET-ID", "19990101"
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "MR", "Builder", "Model 1"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    ds.add(_private("SECRET PRIVATE"))
    ds.InstanceNumber = 1  # the same in all: nothing may order slices by it
    ds.EchoTime, ds.RepetitionTime = "12.5", "600"
    directions = grid.directions
    ds.ImagePositionPatient = [f"{v:.9g}" for v in (grid.affine @ [0, 0, z, 1])[:3]]
    ds.ImageOrientationPatient = [f"{v:.9g}" for v in (*directions[:, 0], *directions[:, 1])]
    ds.PixelSpacing = [f"{v:.9g}" for v in grid.spacing_zyx_mm[1:]]
    ds.SliceThickness = f"{grid.spacing_zyx_mm[0]:.9g}"
    set_pixels(ds, pixels)
    return ds


def set_pixels(ds: Dataset, pixels: np.ndarray) -> None:
    """Put pixels (rows, columns) or (frames, rows, columns) into an image in its own byte order."""
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = 8 * pixels.itemsize
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    order = ">" if ds.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<"
    content = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    ds.PixelData = content + b"\0" * (len(content) % 2)
    ds["PixelData"].VR = "OB" if bits == 8 else "OW"


def _private(text: str) -> DataElement:
    return DataElement(0x00091001, "LO", text)


def write_series(
    folder: Path,
    volume: np.ndarray,
    grid: Grid,
    *,
    names: Callable[[int], str] = "{:06d}.dcm".format,
    edit: Callable[[FileDataset, int], None] | None = None,
    skip: Iterable[int] = (),
    syntax: str = "explicit",
    series: str = "1.2.3",
) -> None:
    """Write a series, one file per slice; ``edit(dataset, z)`` may change each, ``skip`` leaves slices out."""
    folder.mkdir(parents=True, exist_ok=True)
    for z in sorted(set(range(len(volume))) - set(skip)):
        ds = slice_dataset(volume[z], grid, z, syntax=syntax, series=series)
        if edit:
            edit(ds, z)
        ds.save_as(folder / names(z), enforce_file_format=True)


def enhanced_dataset(volume: np.ndarray, grid: Grid, order: Sequence[int]) -> FileDataset:
    """One enhanced multi-frame MR object whose frames lie in the given order."""
    ds = slice_dataset(volume[0], grid, 0)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = ds.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = ds.PixelSpacing, ds.SliceThickness
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "EchoTime"):
        delattr(ds, keyword)
    echo = Dataset()
    echo.EffectiveEchoTime = 33.0
    shared = Dataset()
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence, shared.MREchoSequence = (
        [orientation],
        [measures],
        [echo],
    )
    ds.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for z in order:
        position, scale, frame = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [f"{v:.9g}" for v in (grid.affine @ [0, 0, z, 1])[:3]]
        scale.RescaleSlope, scale.RescaleIntercept = f"{z + 1}", f"{-z}"
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [position], [scale]
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = frames
    ds.NumberOfFrames = len(frames)
    set_pixels(ds, volume[list(order)])
    return ds


def nifti_image(
    voxels_zyx: np.ndarray,
    grid: Grid,
    *,
    order: Sequence[int] = (0, 1, 2),
    flips: Sequence[int] = (),
    dtype: str = "uint8",
    sform: bool = True,
    qform: bool = True,
    version: int = 1,
) -> nibabel.Nifti1Image:
    """NIfTI image of voxels on ``grid``: ``order`` says which of x, y, z a file axis is, ``flips`` which run back."""
    array, affine = voxels_zyx.transpose(2, 1, 0), RAS_TO_LPS @ grid.affine
    for axis in flips:
        array = np.flip(array, axis)
        affine = affine @ _reversal(axis, array.shape[axis])
    array, affine = array.transpose(order), affine[:, [*order, 3]]
    kind = nibabel.Nifti2Image if version == 2 else nibabel.Nifti1Image
    image = kind(np.ascontiguousarray(array).astype(dtype), affine, dtype=dtype)
    image.set_sform(affine if sform else None, code=1 if sform else 0)
    image.set_qform(affine if qform else None, code=1 if qform else 0)
    return image


def _reversal(axis: int, n: int) -> np.ndarray:
    matrix = np.eye(4)
    matrix[axis, axis], matrix[axis, 3] = -1, n - 1
    return matrix


def blob(grid: Grid) -> np.ndarray:
    """(z, y, x) uint8: a lump inside the grid that looks the same in no flip or permutation."""
    mask = np.zeros(grid.shape_zyx, np.uint8)
    mask[1:3, 1:4, 2:6] = 1
    mask[1, 1, 2] = 0
    mask[2, 3, 1] = 1
    return mask


TABLES = {
    "info_diagnoses.csv": "ID,Age,Sex,T stage,Ward\n1,50,M,T1,north\n2,61,F,T3,south\n3,,M,T4,north\n",
    "meta_data.csv": "patient;sequence;Operator\n001;T1WI;a\n002;CE-T1WI;b\n",
}


def write_cohort(
    root: Path, patients: Sequence[str] = ("001", "002", "003"), tables: Mapping[str, str] = TABLES
) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray, Grid]]:
    """Write a mini cohort in the published layout; return image, mask and grid of each scan."""
    written = {}
    base = root / "data" / "MRI-Segments"
    for p, patient in enumerate(patients):
        for s, (sequence, mask_name) in enumerate((("T1WI", "T1"), ("T2WI", "T2"), ("CE-T1WI", "CE-T1"))):
            grid = oblique_grid((4 + p, 8, 9), seed=10 * p + s)
            volume, mask = noise(grid, seed=10 * p + s), blob(grid)
            write_series(base / patient / sequence, volume, grid, series=f"1.2.{p}.{s}")
            # as published: the stored mask rows run against the DICOM rows
            nibabel.save(nifti_image(mask, grid, flips=(1,)), base / patient / f"ROI-{mask_name}.nii")
            written[patient, sequence] = volume, mask, grid
    for name, text in tables.items():
        (root / name).write_text(text, encoding="utf-8")
    return written
