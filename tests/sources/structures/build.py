"""Small RT structure sets and segmentation objects, made with pydicom alone; text that must never leak is in each."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    RLELossless,
    RTStructureSetStorage,
    SegmentationStorage,
    generate_uid,
)

from npczarr.model.geometry import Grid
from npczarr.sources.structures import Contour, Roi
from npczarr.sources.structures.seg import LABEL_MAP_STORAGE

SECRET = "SECRET^NAME"
SERIES, FRAME = "1.2.840.77.1", "1.2.840.77.2"


def straight_grid(shape_zyx=(6, 20, 24), spacing_zyx=(3.0, 1.0, 1.0), origin=(-10.0, 5.0, 40.0)) -> Grid:
    """Axial grid, so that voxel (z, y, x) is at origin + (x, y, z) * spacing."""
    affine = np.diag([*spacing_zyx[::-1], 1.0])
    affine[:3, 3] = origin
    return Grid(shape_zyx, affine)


def to_mm(grid: Grid, points_xy, z: float) -> np.ndarray:
    """(n, 3) LPS mm of (n, 2) voxel coordinates of slice ``z``."""
    xy = np.asarray(points_xy, dtype=float)
    index = np.column_stack([xy, np.full(len(xy), float(z)), np.ones(len(xy))])
    return (index @ grid.affine.T)[:, :3]


def box(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def roi(grid: Grid, *slices, kind: str = "CLOSED_PLANAR", name: str = "GTV", **others) -> Roi:
    """A structure of polygons, each given as (z, points in voxels)."""
    return Roi(1, name, tuple(Contour(to_mm(grid, points, z), kind) for z, points in slices), **others)


def save(dataset: FileDataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def blank(sop_class: str, syntax: str = ExplicitVRLittleEndian) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    little = syntax != ExplicitVRBigEndian
    dataset = FileDataset("", {}, b"\0" * 128, meta, is_implicit_VR=False, is_little_endian=little)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.PatientName, dataset.PatientID, dataset.StudyDate = SECRET, SECRET, "19990101"
    return dataset


def item(**fields) -> Dataset:
    dataset = Dataset()
    for keyword, value in fields.items():
        setattr(dataset, keyword, value)
    return dataset


def contour_item(points_mm, kind: str = "CLOSED_PLANAR", image_uid: str = "1.2.3") -> Dataset:
    points = np.asarray(points_mm, dtype=float)
    return item(
        ContourImageSequence=[item(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID=image_uid)],
        ContourGeometricType=kind,
        NumberOfContourPoints=len(points),
        ContourData=[f"{v:.6g}" for v in points.ravel()],
    )


def rtstruct_dataset(
    structures: dict[str, Sequence[Dataset]], *, series=SERIES, frame=FRAME, syntax=ExplicitVRLittleEndian
):
    """Structures by name, each a list of items of ContourSequence."""
    dataset = blank(RTStructureSetStorage, syntax)
    dataset.Modality, dataset.StructureSetLabel = "RTSTRUCT", SECRET
    dataset.ReferencedFrameOfReferenceSequence = [
        item(
            FrameOfReferenceUID=frame,
            RTReferencedStudySequence=[item(RTReferencedSeriesSequence=[item(SeriesInstanceUID=series)])],
        )
    ]
    numbered = list(enumerate(structures.items(), 1))
    dataset.StructureSetROISequence = [
        item(ROINumber=n, ReferencedFrameOfReferenceUID=frame, ROIName=name, ROIDescription=SECRET)
        for n, (name, _) in numbered
    ]
    dataset.ROIContourSequence = [
        item(ReferencedROINumber=n, ContourSequence=list(contours)) for n, (_, contours) in numbered if contours
    ]
    dataset.RTROIObservationsSequence = [
        item(ObservationNumber=n, ReferencedROINumber=n, RTROIInterpretedType="GTV", ROIInterpreter=SECRET)
        for n, _ in numbered
    ]
    return dataset


def rtstruct(structures: dict[str, Sequence[Dataset]], **options) -> bytes:
    return save(rtstruct_dataset(structures, **options))


def seg_dataset(
    grid: Grid,
    frames: Sequence[tuple[int, int, np.ndarray]],
    *,
    kind: str = "BINARY",
    bits: int | None = None,
    labels: Sequence[str] = ("tumour", "node"),
    spacing_between: float | None = None,
    series: str = SERIES,
    frame: str = FRAME,
    compressed: bool = False,
    syntax: str = ExplicitVRLittleEndian,
) -> FileDataset:
    """Frames, each (segment number, slice of the grid, (rows, columns) values), in the order of the file."""
    dataset = blank(LABEL_MAP_STORAGE if kind == "LABELMAP" else SegmentationStorage, syntax)
    dataset.Modality, dataset.ContentCreatorName, dataset.SegmentationType = "SEG", SECRET, kind
    dataset.FrameOfReferenceUID = frame
    dataset.ReferencedSeriesSequence = [item(SeriesInstanceUID=series)]
    dataset.SegmentSequence = [
        item(
            SegmentNumber=n,
            SegmentLabel=label,
            SegmentDescription=SECRET,
            SegmentAlgorithmType="MANUAL",
            SegmentedPropertyCategoryCodeSequence=[
                item(CodeValue="49755003", CodingSchemeDesignator="SCT", CodeMeaning="Morphologic abnormality")
            ],
            SegmentedPropertyTypeCodeSequence=[
                item(CodeValue=f"10836900{n}", CodingSchemeDesignator="SCT", CodeMeaning="Neoplasm")
            ],
        )
        for n, label in enumerate(labels, 1)
    ]
    if kind == "FRACTIONAL":
        dataset.SegmentationFractionalType, dataset.MaximumFractionalValue = "PROBABILITY", 255
    directions, spacing = grid.directions, grid.spacing_zyx_mm
    measures = item(PixelSpacing=[f"{v:.9g}" for v in spacing[1:]], SliceThickness=f"{spacing[0]:.9g}")
    if spacing_between:
        measures.SpacingBetweenSlices = f"{spacing_between:.9g}"
    orientation = item(ImageOrientationPatient=[f"{v:.9g}" for v in (*directions[:, 0], *directions[:, 1])])
    dataset.SharedFunctionalGroupsSequence = [
        item(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[orientation])
    ]
    groups = []
    for number, z, _ in frames:
        position = [f"{v:.9g}" for v in (grid.affine @ [0, 0, z, 1])[:3]]
        group = item(PlanePositionSequence=[item(ImagePositionPatient=position)])
        if kind != "LABELMAP":
            group.SegmentIdentificationSequence = [item(ReferencedSegmentNumber=number)]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    bits = bits or (1 if kind == "BINARY" else 8)
    values = np.array([values for _, _, values in frames])
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    if bits == 1:
        packed = np.packbits(values.astype(bool).ravel(), bitorder="little").tobytes()
    else:
        packed = values.astype(f"<u{bits // 8}").tobytes()
    dataset.PixelData = packed + b"\0" * (len(packed) % 2)
    dataset["PixelData"].VR = "OB" if bits <= 8 else "OW"
    if compressed:
        dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)  # GDCM ends the process
    return dataset


def seg(grid: Grid, frames: Sequence[tuple[int, int, np.ndarray]], **options) -> bytes:
    return save(seg_dataset(grid, frames, **options))
