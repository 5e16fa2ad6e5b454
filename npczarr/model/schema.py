"""The registry of the store's variables: names, dimensions, types and meaning, and nothing else decides them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npczarr.model.geometry import AXES
from npczarr.model.label_set import TUMOR, flag_attributes
from npczarr.model.records import PADDING

SCHEMA_VERSION = 2
SCHEMA_ATTRIBUTE = "npczarr_schema"
RESAMPLING = "resampling"  # attribute of a resampled cohort: what was asked for, as JSON text
SCAN = ("patient", "sequence")
TEXT = np.dtypes.StringDType()  # type of text in memory, of whatever length
EXTENT = "extent"  # attribute of `shape`: sizes of `image` and `mask` along z, y, x, by which a crop is known
ROW_DIGEST = "row_digest"

STATUSES = {
    "ok": "stored, nothing to report",
    "warning": "stored, but read the message before you trust it",
    "refused": "not stored, for the reason in the message",
    "missing": "not in the source",
    "pending": "being written, or left behind by an interrupted run: convert again to complete it, or import the masks "
    "again if that was the run",
}


#: Statuses of a scan whose voxels are in the store.
STORED = ("ok", "warning")


@dataclass(frozen=True, slots=True)
class Variable:
    """One array of the store.

    Parameters
    ----------
    name, dims, dtype
        As they stand in the store; `dtype` is a NumPy name or ``"string"``.
    description
        What it means, for people; `units` as udunits writes them.
    attributes
        Further attributes.
    coordinate
        Whether xarray shows it as a coordinate. These are few, because each is a request beside a slice of `image`.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    description: str
    units: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    coordinate: bool = False

    @property
    def fill(self) -> Any:  # noqa: ANN401 - a NumPy scalar or a string
        """The value where nothing was written."""
        if self.name == "image":
            return PADDING[self.dtype]
        return {"string": "", "f": np.nan}.get(self.dtype if self.dtype == "string" else np.dtype(self.dtype).kind, 0)

    def all_attributes(self) -> dict[str, Any]:
        """Every attribute of the array, valid JSON."""
        units = {"units": self.units} if self.units else {}
        return {"long_name": self.description} | units | dict(self.attributes)


_STATUS_WORDS = {"comment": "; ".join(f"{status}: {meaning}" for status, meaning in STATUSES.items())}

_GEOMETRY = [
    Variable(
        "shape",
        (*SCAN, "axis"),
        "int32",
        "voxels of the scan along z, y, x; 0 where there is no scan",
        coordinate=True,
    ),
    Variable(
        "spacing",
        (*SCAN, "axis"),
        "float64",
        "distance between voxel centers, from the slice positions",
        "mm",
        coordinate=True,
    ),
    Variable(
        "affine",
        (*SCAN, "affine_row", "affine_column"),
        "float64",
        "voxel index (x, y, z, 1) to patient coordinates (LPS)",
        "mm",
        coordinate=True,
    ),
    Variable(
        "z_mm", (*SCAN, "z"), "float64", "position of the voxel center along the slice normal", "mm", coordinate=True
    ),
    Variable("rescale_slope", (*SCAN, "z"), "float64", "real value = slope * stored value + intercept"),
    Variable("rescale_intercept", (*SCAN, "z"), "float64", "real value = slope * stored value + intercept"),
]

_PROVENANCE = [
    Variable("status", SCAN, "string", "what became of the scan", attributes=_STATUS_WORDS, coordinate=True),
    Variable("message", SCAN, "string", "why, in words"),
    Variable("mask_status", SCAN, "string", "what became of the mask", attributes=_STATUS_WORDS),
    Variable(
        "image_digest",
        SCAN,
        "string",
        "digest of the scan's voxels, without padding, C order, little endian, in the type of `image`",
        attributes={"algorithm": "XXH3-128"},
    ),
    Variable(
        "mask_digest",
        SCAN,
        "string",
        "digest of the mask's voxels, without padding, C order, uint8",
        attributes={"algorithm": "XXH3-128"},
    ),
    Variable(
        "series_digest",
        SCAN,
        "string",
        "salted digest of the SeriesInstanceUID, by which a scan of another series is known",
        attributes={"algorithm": "BLAKE2b-128, key: the root attribute npczarr_salt"},
    ),
    Variable(
        "study_digest",
        SCAN,
        "string",
        "salted digest of the StudyInstanceUID, by which scans of one visit are known",
        attributes={"algorithm": "BLAKE2b-128, key: the root attribute npczarr_salt"},
    ),
    Variable(
        "frame_digest",
        SCAN,
        "string",
        "salted digest of the FrameOfReferenceUID: scans of one patient with the same share patient coordinates",
        attributes={"algorithm": "BLAKE2b-128, key: the root attribute npczarr_salt"},
    ),
    Variable(
        "source_digest",
        SCAN,
        "string",
        "digest of the names, sizes and time stamps of the source files, by which a changed scan is known",
        attributes={"algorithm": "XXH3-128"},
    ),
    Variable(
        ROW_DIGEST,
        SCAN,
        "string",
        "digest of all that the tables say of the scan, its labels and its own slices of tables along z",
        attributes={"algorithm": "XXH3-128"},
    ),
]

_EVIDENCE = [
    Variable("mask_voxels", SCAN, "int64", "voxels of tumor, or of all labels; 0 where there is no mask"),
    Variable("mask_affine_error", SCAN, "float64", "largest distance between a corner of mask and image grid", "mm"),
    Variable(
        "mask_affine_source",
        SCAN,
        "string",
        "what placed the mask: sform or qform of NIfTI, contours of an RTSTRUCT, frames of a SEG",
    ),
    Variable(
        "mask_form_difference",
        SCAN,
        "float64",
        "largest distance between a corner by sform and by qform; NaN where the mask has one only",
        "mm",
    ),
    Variable("mask_axes_flipped", SCAN, "string", "axes along which the stored mask runs against the image"),
    Variable("mask_inside_fraction", SCAN, "float64", "fraction of the tumor inside the image volume", "1"),
    Variable("mask_touches_end_slice", SCAN, "uint8", "1 where tumor lies on the first or last slice"),
]

_ACQUISITION = [
    Variable("modality", SCAN, "string", "DICOM Modality"),
    Variable(
        "image_type",
        SCAN,
        "string",
        "DICOM ImageType joined by backslashes; OTHER for any word not known; of raters' masks SYNTHETIC or nothing",
    ),
    Variable("manufacturer", SCAN, "string", "DICOM Manufacturer"),
    Variable("scanner_model", SCAN, "string", "DICOM ManufacturerModelName", coordinate=True),
    Variable("magnetic_field_strength", SCAN, "float64", "DICOM MagneticFieldStrength", "T", coordinate=True),
    Variable("imaging_frequency", SCAN, "float64", "DICOM ImagingFrequency", "MHz"),
    Variable("echo_time", SCAN, "float64", "DICOM EchoTime", "ms", coordinate=True),
    Variable("repetition_time", SCAN, "float64", "DICOM RepetitionTime", "ms", coordinate=True),
    Variable("inversion_time", SCAN, "float64", "DICOM InversionTime", "ms"),
    Variable("flip_angle", SCAN, "float64", "DICOM FlipAngle", "degree", coordinate=True),
    Variable("echo_train_length", SCAN, "float64", "DICOM EchoTrainLength"),
    Variable("number_of_averages", SCAN, "float64", "DICOM NumberOfAverages"),
    Variable("pixel_bandwidth", SCAN, "float64", "DICOM PixelBandwidth", "Hz"),
    Variable(
        "slice_thickness",
        SCAN,
        "float64",
        "DICOM SliceThickness; often wrong",
        "mm",
        coordinate=True,
    ),
    Variable(
        "spacing_between_slices",
        SCAN,
        "float64",
        "DICOM SpacingBetweenSlices; on some scanners the gap, `spacing` is measured",
        "mm",
        coordinate=True,
    ),
    Variable("field_of_view", SCAN, "float64", "DICOM ReconstructionDiameter", "mm", coordinate=True),
    Variable("percent_phase_field_of_view", SCAN, "float64", "DICOM PercentPhaseFieldOfView", "percent"),
    Variable("mr_acquisition_type", SCAN, "string", "DICOM MRAcquisitionType: 2D or 3D"),
    Variable("scanning_sequence", SCAN, "string", "DICOM ScanningSequence"),
    Variable("sequence_variant", SCAN, "string", "DICOM SequenceVariant"),
    Variable("patient_position", SCAN, "string", "DICOM PatientPosition"),
    Variable("bits_stored", SCAN, "float64", "DICOM BitsStored"),
    Variable("photometric_interpretation", SCAN, "string", "DICOM PhotometricInterpretation"),
    Variable("transfer_syntax", SCAN, "string", "how the source encoded the pixels"),
]

#: One entry for each scan, or for each of its slices, rows and columns.
SCAN_TABLES: tuple[Variable, ...] = (*_PROVENANCE, *_GEOMETRY, *_EVIDENCE, *_ACQUISITION)
COORDINATES = tuple(v.name for v in SCAN_TABLES if v.coordinate)
ACQUISITION_NAMES = frozenset(v.name for v in _ACQUISITION)


def voxel_variables(
    image_dtype: str, *, rated: bool = False, labels: Sequence[str] = (TUMOR,)
) -> tuple[Variable, Variable]:
    """Return `image` and `mask`; the image is int16, int32 if a header needs it, or float32."""
    dims = (*SCAN, *AXES)
    floats = np.dtype(image_dtype).kind == "f"
    return (
        Variable(
            "image",
            dims,
            image_dtype,
            "values of images of floats, or resampled ones; NaN outside each scan"
            if floats
            else "stored DICOM values, lossless; padding outside",
            # NaN is no valid JSON, and needs no attribute to be read as missing
            attributes={} if floats else {"_FillValue": PADDING[image_dtype]},
        ),
        Variable(
            "mask",
            (*SCAN, "rater", *AXES) if rated else dims,
            "uint8",
            "tumor outline" if tuple(labels) == (TUMOR,) else "outlined structures",
            attributes=flag_attributes(labels),
        ),
    )


#: Attribute of `session`: names of the visits in their order, a JSON list, where it was declared.
VISIT_ORDER = "order"
#: Whose visit a row is, in a cohort whose layout has sessions; else a patient is a subject.
VISIT: tuple[Variable, ...] = (
    Variable("subject", ("patient",), "string", "person, who may have several visits; the unit of statistics"),
    Variable("session", ("patient",), "string", "visit of the subject, as its folder is named"),
)

#: Index coordinates.
INDEXES: tuple[Variable, ...] = (
    Variable(
        "patient",
        ("patient",),
        "string",
        "patient, as its folder is named; of several visits each is a row, such as 001_ses-02",
    ),
    Variable("sequence", ("sequence",), "string", "MR sequence"),
    Variable("axis", ("axis",), "string", "voxel axis, slowest first"),
)

RATER = Variable("rater", ("rater",), "string", "who outlined the mask")

#: Measurements, and the groups of their results.
MEASURES = ("morphology", "agreement", "score")

#: Names that a column of a table cannot take.
RESERVED = frozenset(v.name for v in (*SCAN_TABLES, *INDEXES, *VISIT, *voxel_variables("int16"))) | {
    *AXES,
    *("rater", "affine_row", "affine_column"),
    *("y_mm", "x_mm"),  # what the accessor calls positions along y and x
    *MEASURES,  # groups beside the variables
    *("review", "training"),
}
