"""The allow-list: the DICOM header fields that enter the store, and how they are read.

Nothing else of a header can reach it: no names, dates, UIDs or private tags.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID

from npczarr.model.identifiers import identity_words, tells_who
from npczarr.model.records import Value
from npczarr.sources.fields import ENHANCED_NAMES, field_values, places_of
from npczarr.sources.image_types import known_words

#: Variable of the schema by DICOM keyword.
ACQUISITION = {
    "Modality": "modality",
    "ImageType": "image_type",  # only words of a vocabulary
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "scanner_model",
    "MagneticFieldStrength": "magnetic_field_strength",
    "ImagingFrequency": "imaging_frequency",
    "EchoTime": "echo_time",
    "RepetitionTime": "repetition_time",
    "InversionTime": "inversion_time",
    "FlipAngle": "flip_angle",
    "EchoTrainLength": "echo_train_length",
    "NumberOfAverages": "number_of_averages",
    "PixelBandwidth": "pixel_bandwidth",
    "SliceThickness": "slice_thickness",
    "SpacingBetweenSlices": "spacing_between_slices",
    "ReconstructionDiameter": "field_of_view",
    "PercentPhaseFieldOfView": "percent_phase_field_of_view",
    "MRAcquisitionType": "mr_acquisition_type",
    "ScanningSequence": "scanning_sequence",
    "SequenceVariant": "sequence_variant",
    "PatientPosition": "patient_position",
    "BitsStored": "bits_stored",
    "PhotometricInterpretation": "photometric_interpretation",
}
#: Fields whose words no text of the store may hold.
IDENTITIES = (
    "PatientName", "PatientID", "OtherPatientNames", "OtherPatientIDs", "PatientBirthName", "PatientMotherBirthName",
    "PatientTelephoneNumbers", "PatientAddress", "PatientBirthDate", "AccessionNumber", "AdmissionID", "StudyID",
    "ReferringPhysicianName", "RequestingPhysician", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy",
    "OperatorsName", "ResponsiblePerson",
)  # fmt: skip
_SHORTEST_STUDY_ID = 4  # shorter ones count the studies, or are words of scanners
_TEXT = {
    "modality", "manufacturer", "scanner_model", "mr_acquisition_type", "scanning_sequence", "sequence_variant",
    "patient_position", "photometric_interpretation",
}  # fmt: skip


def acquisition(dataset: Dataset, index: int = 0) -> dict[str, Value]:
    """Return the fields of the allow-list of one frame, by variable of the schema."""
    places = places_of(dataset, index)
    words = identity_words(_identities(dataset))
    values: dict[str, Value] = {}
    for keyword, variable in ACQUISITION.items():
        if variable == "image_type":
            if known := known_words(field_values(dataset, index, keyword)):
                values[variable] = known
            continue
        if (held := _held(places, keyword)) is not None:
            place, name = held
            values[variable] = _text(place[name].value, words) if variable in _TEXT else number(place, name)
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    values["transfer_syntax"] = UID(str(syntax)).name if syntax else "Implicit VR Little Endian"
    return values


def frame_number(dataset: Dataset, index: int, keyword: str) -> float:
    """Return the first value of a field of one frame as a float, NaN if it has none."""
    held = _held(places_of(dataset, index), keyword)
    return float("nan") if held is None else number(*held)


def _held(places: Sequence[Dataset], keyword: str) -> tuple[Dataset, str] | None:
    """Return the part of a header that has a field of a frame, and the keyword that the field has there."""
    for name in (keyword, ENHANCED_NAMES.get(keyword, keyword)):
        place = next((place for place in places if name in place), None)
        if place is not None:
            return place, name
    return None


def _identities(dataset: Dataset) -> Iterator[object]:
    for keyword in IDENTITIES:
        try:
            value = dataset.get(keyword, "")
            if keyword != "StudyID" or len(str(value)) >= _SHORTEST_STUDY_ID:
                yield value
        except Exception:  # damaged: pydicom names it in a dozen ways
            continue


def number(dataset: Dataset, keyword: str) -> float:
    """Return the first value of a header field as a float, NaN if it has none."""
    try:
        value: Any = dataset.get(keyword)
        return float(value if isinstance(value, str | int | float) else value[0])
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        return float("nan")


def _text(value: Any, words: Collection[str]) -> str:  # noqa: ANN401 - whatever pydicom decoded
    """Write a field as one line; "" where it holds a word of the patient's name or number, a date or a UID."""
    parts = [value] if isinstance(value, str) else list(value or [])
    text = re.sub(r"\s+", " ", " ".join(str(part) for part in parts)).strip()
    return "" if tells_who(text, words) else text
