"""The Basic Profile of DICOM PS3.15, table E.1-1, as dicom-anonymizer keeps it, and which values it lets stand."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from npczarr.errors import ParameterError
from npczarr.model.identifiers import identity_words
from npczarr.sources.acquisition import IDENTITIES
from npczarr.sources.structures.names import is_plain_name

try:
    from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table
except ModuleNotFoundError as missing:
    raise ParameterError(
        "audit and deidentify need dicom-anonymizer, which is not installed: pip install 'npczarr[privacy]'"
    ) from missing

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

METHOD = "npczarr: DICOM PS3.15 2026c Basic Profile"
UID_ROOT = "2.25."  # UIDs made from a UUID or another 128-bit number, PS3.5 B.2
STANDARD_UIDS = "1.2.840.10008."  # classes and syntaxes that DICOM itself registers

#: What stands in for a value that has to be there, by VR.
DUMMIES: dict[str, str | int | float] = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), "ANONYMIZED"),
    **dict.fromkeys(("DS", "IS"), "0"),
    **dict.fromkeys(("FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"), 0),
    "AS": "000Y",
    "DA": "19000101",
    "DT": "19000101000000",
    "TM": "000000",
    "UR": "http://anonymized.invalid",
}
_CODES = {
    "D": table.D_TAGS,
    "Z": table.Z_TAGS,
    "X": table.X_TAGS,
    "U": table.U_TAGS,
    "Z/D": table.Z_D_TAGS,
    "X/Z": table.X_Z_TAGS,
    "X/D": table.X_D_TAGS,
    "X/Z/D": table.X_Z_D_TAGS,
    "X/Z/U": table.X_Z_U_STAR_TAGS,
}
_SINGLE = {tag[0] << 16 | tag[1]: code for code, tags in _CODES.items() for tag in tags if len(tag) == 2}
# identities of classes and encodings, not of instances
_CLASSES = re.compile(
    r"(Class|Syntax|CodingScheme|ContextGroupExtensionCreator)\w*UID$|^ContextUID$|^MappingResourceUID$"
)
_NUMBERS = frozenset(("DS", "IS", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"))
#: What the table does not list and may hold anything that somebody typed, or a number or birthday of the patient.
_UNLISTED = {
    **dict.fromkeys(("PatientBirthDateInAlternativeCalendar", "PatientDeathDateInAlternativeCalendar"), "X"),
    **dict.fromkeys(("PlacerOrderNumberProcedure", "FillerOrderNumberProcedure"), "X"),
    **dict.fromkeys(("SegmentLabel", "SegmentAlgorithmName", "ContentLabel"), "D"),
    "ContentDescription": "Z",
}
#: Names of structures: kept where they are of words of the field, by which masks are found again.
_STRUCTURES = ("ROIName", "SegmentLabel")
#: Code strings that some scanners fill with whatever is typed.
_TYPED_CODES = ("ImageType", "ScanOptions", "ScanningSequence", "SequenceVariant", "BodyPartExamined")
_PATIENT = ("PatientID", "PatientName")


@cache
def action(tag: int, vr: str, keyword: str) -> str:
    """Return the code of table E.1-1 for an attribute, or ``"K"`` where it may stay.

    Goes past the table where it would let something through: private, retired curve and overlay groups and attributes
    that the dictionary does not know are removed, as are dates, names, prose and URLs that the table does not list.
    """
    group = tag >> 16
    if group % 2 or group & 0xFF00 in (0x5000, 0x6000) or not keyword:
        return "X"
    if tag in _SINGLE:
        return _SINGLE[tag]
    if keyword in _UNLISTED:
        return _UNLISTED[keyword]
    if vr == "UI" and not _CLASSES.search(keyword):
        return "U"
    return "X" if vr in ("AS", "DA", "DT", "TM", "PN", "LT", "ST", "UT", "UR", "UN") else "K"


def is_taken_out(keyword: str) -> bool:
    """Whether the profile would not let an attribute of DICOM stand, by its keyword; not so of other words."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    tag = tag_for_keyword(keyword)
    return tag is not None and action(int(tag), dictionary_VR(tag), keyword) != "K"


def identifies(element: DataElement, dataset: Dataset, folders: frozenset[str] = frozenset()) -> bool:
    """Whether an attribute is filled with what the profile would not let stand.

    Parameters
    ----------
    element
        Not private, and of any level of `dataset`, the dataset of its file.
    folders
        Parts of the file's path: in a de-identified file the name of a folder is the patient's identity.
    """
    code = action(int(element.tag), element.VR, element.keyword)
    if is_text_for_number(element):
        return True
    if code == "K" or element.VR == "SQ" or element.is_empty:
        return False
    values = [element.value] if element.VM == 1 else list(element.value)
    if code == "U" or element.VR == "UI":
        cleaned = is_cleaned(dataset)
        return not all(str(v).startswith(STANDARD_UIDS) or (cleaned and str(v).startswith(UID_ROOT)) for v in values)
    if not is_cleaned(dataset):
        return True
    if element.keyword in _PATIENT and str(element.value) in folders:
        return False
    if element.keyword in _STRUCTURES:
        return not is_plain_name(str(element.value))
    return any(not _is_dummy(element.VR, v) for v in values)


def is_kept_text(element: DataElement) -> bool:
    """Whether an attribute is a text or a code that the profile lets stand, and that may hold words of a patient."""
    kept = action(int(element.tag), element.VR, element.keyword) == "K"
    return kept and element.VR in ("CS", "LO", "SH", "UC") and not element.is_empty


def is_typed(element: DataElement) -> bool:
    """Whether somebody may have typed a text that stays, so that it may say anything: not so of most codes."""
    return element.VR != "CS" or element.keyword in _TYPED_CODES


def words_of(dataset: Dataset, folders: frozenset[str] = frozenset()) -> frozenset[str]:
    """Words of the patient's names and numbers, and of the people around; of a cleaned file those that came back.

    Parameters
    ----------
    dataset
        Header of a whole file.
    folders
        Parts of the file's path, as for :func:`identifies`.
    """
    found = (dataset[name] for name in IDENTITIES if name in dataset)
    return identity_words(element.value for element in found if identifies(element, dataset, folders))


def is_text_for_number(element: DataElement) -> bool:
    """Whether a field of numbers holds something else: damage, or what somebody wrote where there was room."""
    if element.VR not in _NUMBERS or element.is_empty:
        return False
    values = [element.value] if element.VM == 1 else list(element.value)
    return not all(isinstance(value, int | float) for value in values)


def is_cleaned(dataset: Dataset) -> bool:
    """Whether a header says that :func:`npczarr.privacy.deidentify.deidentify` wrote it."""
    return dataset.get("PatientIdentityRemoved") == "YES" and METHOD in str(dataset.get("DeidentificationMethod", ""))


def _is_dummy(vr: str, value: object) -> bool:
    if vr in ("OB", "OW", "OD", "OF", "OL", "OV", "UN"):
        return value == b"\0\0"
    dummy = DUMMIES.get(vr)
    return value == dummy or str(value) == str(dummy) or (dummy in (0, "0") and not value)
