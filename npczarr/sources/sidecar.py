"""The JSON sidecar of a NIfTI image, as BIDS and dcm2niix write it, as a DICOM header."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from npczarr.sources.acquisition import IDENTITIES
from npczarr.sources.headers import quiet

#: DICOM keyword by the name in a sidecar, where they differ.
_OTHER_NAMES = {
    "ManufacturersModelName": "ManufacturerModelName",
    "PercentPhaseFOV": "PercentPhaseFieldOfView",
    "ContrastBolusIngredient": "ContrastBolusAgent",
}
#: Times that BIDS gives in seconds and DICOM in milliseconds, with the longest that makes sense, in seconds.
_SECONDS = {"EchoTime": 2.0, "RepetitionTime": 60.0, "InversionTime": 20.0}
#: What is taken from a sidecar; of these, only the allow-list of acquisition enters a store, without words of the names
#: and numbers that are taken too.
_TAKEN = frozenset({
    "Modality", "ImageType", "Manufacturer", "ManufacturerModelName", "MagneticFieldStrength", "ImagingFrequency",
    "EchoTime", "RepetitionTime", "InversionTime", "FlipAngle", "EchoTrainLength", "NumberOfAverages",
    "PixelBandwidth", "SliceThickness", "SpacingBetweenSlices", "PercentPhaseFieldOfView", "MRAcquisitionType",
    "ScanningSequence", "SequenceVariant", "PatientPosition", "SeriesDescription", "ProtocolName", "SequenceName",
    "ContrastBolusAgent", "SeriesInstanceUID", "StudyInstanceUID", *IDENTITIES,
})  # fmt: skip
_NUMBERS = ("DS", "FD", "FL", "IS", "SS", "US")
_LONGEST = 500


def header_of(sidecar: Mapping[str, Any]) -> tuple[Dataset, list[str]]:
    """Return the fields of a sidecar as a DICOM header, and what could not be taken.

    Parameters
    ----------
    sidecar
        Values by name; names that are not known are passed over.
    """
    header, doubts = Dataset(), []
    for name, value in sidecar.items():
        keyword = _OTHER_NAMES.get(name, name)
        tag = tag_for_keyword(keyword)
        if keyword not in _TAKEN or tag is None:
            continue
        taken: list[Any] = _numbers(value) if dictionary_VR(tag) in _NUMBERS else _texts(value)
        if dictionary_VR(tag) in _NUMBERS and len(set(taken)) > 1:
            doubts.append(f"{name} has {len(taken)} values in the JSON sidecar, expected one; the first is taken")
            taken = taken[:1]
        if keyword in _SECONDS and taken:
            if taken[0] > _SECONDS[keyword]:
                doubts.append(
                    f"{name} {taken[0]:g} in the JSON sidecar, expected seconds (up to {_SECONDS[keyword]:g}); left out"
                )
                continue
            taken = [1000 * number for number in taken]
        if taken:
            with quiet():
                header.add_new(tag, dictionary_VR(tag), _written(taken, dictionary_VR(tag)))
    return header, doubts


def _written(values: list[Any], vr: str) -> Any:  # noqa: ANN401 - what pydicom takes
    parts: list[Any] = [f"{value:.10g}" for value in values] if vr in ("DS", "IS") else values
    return parts if len(parts) > 1 else parts[0]


def _numbers(value: Any) -> list[float]:  # noqa: ANN401 - parsed JSON
    found = value if isinstance(value, list) else [value]
    good = [v for v in found if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    return [float(v) for v in good] if len(good) == len(found) else []


def _texts(value: Any) -> list[str]:  # noqa: ANN401 - parsed JSON
    found = value if isinstance(value, list) else [value]
    # JSON may escape halves of letters (lone surrogates), which no text of a store can hold
    texts = [
        str(part)[:_LONGEST].encode(errors="replace").decode() for part in found if isinstance(part, str | int | float)
    ]
    # dcm2niix joins several values of one field by an underscore, which a header separates
    return [part for text in texts for part in text.split("\\")]
