"""The allow-list: which fields of a DICOM header enter the store, and how they are read.

Nothing else of a header can reach it: no names, dates, UIDs or private tags.
"""

from __future__ import annotations

import re
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID

from npczarr.model.records import Value

#: Variable of the schema by DICOM keyword.
ACQUISITION = {
    "Modality": "modality",
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
#: The same in enhanced objects, where the name differs.
ENHANCED = {
    "EffectiveEchoTime": "echo_time",
    "InversionTimes": "inversion_time",
    "RFEchoTrainLength": "echo_train_length",
}
_TEXT = {
    "modality", "manufacturer", "scanner_model", "mr_acquisition_type", "scanning_sequence", "sequence_variant",
    "patient_position", "photometric_interpretation",
}  # fmt: skip


def acquisition(dataset: Dataset) -> dict[str, Value]:
    """Fields of the allow-list by variable of the schema; enhanced objects hold some of them in functional groups."""
    places = [dataset]
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in (dataset.get(name) or [])[:1]:
            places += [element.value[0] for element in group if element.VR == "SQ" and len(element.value)]
    values: dict[str, Value] = {}
    for keyword, variable in (*ACQUISITION.items(), *ENHANCED.items()):
        place = next((place for place in places if keyword in place), None)
        if place is None or variable in values:
            continue
        values[variable] = _text(place[keyword].value) if variable in _TEXT else number(place, keyword)
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    values["transfer_syntax"] = UID(str(syntax)).name if syntax else "Implicit VR Little Endian"
    return values


def number(dataset: Dataset, keyword: str) -> float:
    """First value of a header field as a float, NaN where it has none."""
    try:
        value = dataset[keyword].value
        return float(value if isinstance(value, str | int | float) else value[0])
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        return float("nan")


def _text(value: Any) -> str:  # noqa: ANN401 - whatever pydicom decoded
    parts = [value] if isinstance(value, str) else list(value or [])
    return re.sub(r"\s+", " ", " ".join(str(part) for part in parts)).strip()
