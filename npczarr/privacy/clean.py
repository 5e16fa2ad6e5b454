"""One DICOM file, in and out as bytes, without what identifies its patient."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from io import BytesIO
from typing import TYPE_CHECKING

from npczarr.errors import SourceError
from npczarr.model.identifiers import tells_who
from npczarr.model.limits import Limits
from npczarr.privacy.pixels import PIXELS, clean_pixels
from npczarr.privacy.profile import (
    DUMMIES,
    METHOD,
    STANDARD_UIDS,
    UID_ROOT,
    action,
    is_kept_text,
    is_text_for_number,
    words_of,
)
from npczarr.sources.decompression import check_dataset
from npczarr.sources.nifti_file import silent
from npczarr.sources.structures.names import is_plain_name

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

_REQUIRED = ("DeviceSerialNumber", "MetaboliteMapDescription")  # of type 1 in enhanced objects, PS3.3 C.7.5.2, C.8.13.5
_INDEX = b"1.2.840.10008.1.3.10"  # Media Storage Directory Storage
_LARGE = 2**16  # bytes of a value that is read where it is looked at, and not before
_DEEPEST = 8  # a fault in writing takes pydicom time that doubles with each
_STRUCTURES = {"StructureSetROISequence": "ROIName", "SegmentSequence": "SegmentLabel"}
_KEPT_META = frozenset((0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010))


def read_dicom(content: bytes, limits: Limits, *, skip_pixels: bool = False) -> Dataset | None:
    """Parse a DICOM file, with or without the preamble that old ones lack; None where it is none.

    An index of a medium (DICOMDIR) is none either: it is of nothing but names. Pixels may be skipped, unread; what
    follows them is read all the same.

    Raises
    ------
    SourceError
        If it is damaged, or would unpack to more than the limits allow.
    """
    import pydicom
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    check_dataset(content, limits)
    if is_index(content):
        return None
    whole = content[128:132] == b"DICM"
    try:
        size = _LARGE if skip_pixels else None
        dataset = pydicom.dcmread(BytesIO(content), force=not whole, defer_size=size)
        if not whole and "SOPClassUID" not in dataset:
            return None
        for _ in dataset.file_meta:
            pass
        _parse(_without_pixels(dataset) if skip_pixels else dataset, _DEEPEST)
    except SourceError:
        raise
    except Exception as error:  # pydicom names damage in a dozen ways
        if not whole:
            return None
        raise SourceError(f"a damaged DICOM file ({type(error).__name__}); copy it again or leave it out") from error
    if not len(dataset):  # where an element has no end, pydicom gives nothing of what it read
        raise SourceError("a damaged DICOM file, in which an element has no end; copy it again or leave it out")
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def is_index(content: bytes) -> bool:
    """Whether a file is the index of a medium (DICOMDIR), by the class that its meta information begins with."""
    return content[128:132] == b"DICM" and _INDEX in content[132:332]


def _without_pixels(dataset: Dataset) -> Dataset:
    for keyword in PIXELS:
        if keyword in dataset:
            delattr(dataset, keyword)
    return dataset


def _parse(dataset: Dataset, deepest: int) -> None:
    """Parse what pydicom left for later; its own walk takes time that doubles with each level above damage."""
    for element in dataset:
        if element.VR == "SQ":
            if not deepest:
                raise SourceError(f"sequences nested in more than {_DEEPEST} levels; leave it out")
            for item in element.value:
                _parse(item, deepest - 1)


def clean_dicom(content: bytes, key: bytes, patient: str, limits: Limits, rois: Sequence[str] = ()) -> bytes | None:
    """Clean a DICOM file by the Basic Profile; the values of pixels and their encoding stay, and nothing beside them.

    See :func:`npczarr.privacy.pixels.clean_pixels`.

    Parameters
    ----------
    content
        The file.
    key
        The secret from which UIDs are made: equal ones become equal ones, also across files.
    patient
        The new PatientID and PatientName.
    limits
        What it may take.
    rois
        Names and patterns of structures that may be kept, beside those of words of the field.

    Returns
    -------
    bytes or None
        The new file, or None where it is no DICOM file.

    Raises
    ------
    SourceError
        If it is damaged, says that its pixels hold an annotation, or stores with them what cannot be told from them.
    """
    with silent("pydicom"):  # values that break a rule of DICOM: they pass as they are or go
        dataset = read_dicom(content, limits)
        if dataset is None:
            return None
        if burned_in(dataset):
            raise SourceError(
                "its pixels may show the patient's name (burned-in annotation, or a secondary capture); look at it, "
                "and leave it out or set BurnedInAnnotation to NO"
            )
        out = BytesIO()
        try:
            clean_pixels(dataset)
            clean_dataset(dataset, key, patient, rois)
            dataset.save_as(out, enforce_file_format=True)
        except SourceError:
            raise
        except Exception as error:  # pydicom names damage in a dozen ways
            raise SourceError(
                f"cannot be cleaned and written as DICOM ({type(error).__name__}); repair it or leave it out"
            ) from error
    return out.getvalue()


def burned_in(dataset: Dataset) -> bool:
    """Whether a header says, or its class makes likely, that text is drawn into the pixels."""
    secondary = str(dataset.get("SOPClassUID", "")).startswith("1.2.840.10008.5.1.4.1.1.7")
    return str(dataset.get("BurnedInAnnotation", "")).upper() == "YES" or (
        secondary and str(dataset.get("BurnedInAnnotation", "")).upper() != "NO"
    )


def clean_dataset(dataset: Dataset, key: bytes, patient: str, rois: Sequence[str] = ()) -> None:
    """Clean a dataset and its file meta information in place."""
    # in enhanced objects dates and names are of type 1: there, empty is not allowed and a dummy is
    enhanced = "SharedFunctionalGroupsSequence" in dataset or "PerFrameFunctionalGroupsSequence" in dataset
    words = words_of(dataset)
    structures = [(one, keyword) for sequence, keyword in _STRUCTURES.items() for one in dataset.get(sequence) or []]
    names = _kept_names([str(one.get(keyword, "")) for one, keyword in structures], rois, words)
    _clean_level(dataset, key, enhanced=enhanced)
    for position, ((one, keyword), name) in enumerate(zip(structures, names, strict=True), 1):
        unnamed = f"Segment {position}" if keyword == "SegmentLabel" else ""  # a segment must have a label
        setattr(one, keyword, name or unnamed)
    for element in dataset.iterall():
        if is_kept_text(element):
            _clean_text(element, words)
    dataset.PatientID = dataset.PatientName = patient
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = METHOD
    dataset.preamble = b"\0" * 128
    meta = dataset.file_meta
    for tag in list(meta.keys()):
        if int(tag) not in _KEPT_META:
            del meta[tag]
    if "SOPInstanceUID" in dataset:
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    elif "MediaStorageSOPInstanceUID" in meta:
        dataset.file_meta["MediaStorageSOPInstanceUID"].value = new_uid(str(meta.MediaStorageSOPInstanceUID), key)


def _kept_names(names: Sequence[str], rois: Sequence[str], words: Collection[str]) -> list[str]:
    """Return what is kept of the names of structures: of others their words of the field, if no two become one."""
    kept = [_kept_name(name, rois, words) for name in names]
    short = [known or _words_of_field(name, words) for known, name in zip(kept, names, strict=True)]
    counts = Counter(name.casefold() for name in short)
    return [known or (name if counts[name.casefold()] == 1 else "") for known, name in zip(kept, short, strict=True)]


def _words_of_field(name: str, words: Collection[str]) -> str:
    several = re.findall(r"[^\W\d_]{2,}", name)  # a single letter may be an initial
    return " ".join(word for word in several if is_plain_name(word) and not tells_who(word, words))


def _kept_name(name: str, rois: Sequence[str], words: Collection[str]) -> str:
    """Return what is kept of the name of a structure: words of the field, or what a pattern spells of it; else ""."""
    if tells_who(name, words):
        return ""
    if is_plain_name(name):
        return name
    for pattern in rois:
        if name.casefold() == pattern.casefold():
            return name
        if not set(pattern) & set("?[") and fnmatchcase(name.casefold(), pattern.casefold()):
            return pattern.replace("*", "")
    return ""


def _clean_text(element: DataElement, words: Collection[str]) -> None:
    """Replace the values of a text that hold a word of the patient's names or numbers, a date or a UID."""
    values = [element.value] if element.VM == 1 else list(element.value)
    cleaned = [DUMMIES[element.VR] if tells_who(str(value), words) else value for value in values]
    if cleaned != values:
        element.value = cleaned if len(cleaned) > 1 else cleaned[0]


def new_uid(uid: str, key: bytes) -> str:
    """Return a UID that only who holds the key can tie to the old one (HMAC-SHA-256, cut to 128 bits)."""
    if not uid or uid.startswith(STANDARD_UIDS):
        return uid
    return UID_ROOT + str(int.from_bytes(hmac.digest(key, uid.encode(), hashlib.sha256)[:16], "big"))


def _clean_level(dataset: Dataset, key: bytes, *, enhanced: bool) -> None:
    for tag in list(dataset.keys()):
        element = dataset[tag]
        code = action(int(tag), element.VR, element.keyword)
        if enhanced and element.keyword in _REQUIRED:
            code = "D"
        if code == "X" or (code == "X/D" and not enhanced):
            del dataset[tag]
        elif element.VR == "SQ":
            _clean_sequence(element, code, key, enhanced=enhanced)
        elif element.VR == "UI" and code != "K":
            several = list(element.value) if element.VM > 1 else []
            element.value = [new_uid(str(uid), key) for uid in several] or new_uid(str(element.value or ""), key)
        elif code in ("Z", "X/Z") or (code in ("Z/D", "X/Z/D") and not enhanced):
            element.value = None
        elif code != "K":
            _replace(element)
        elif is_text_for_number(element):
            raise SourceError(f"{element.keyword} holds text where a number belongs; repair the file or leave it out")


def _clean_sequence(element: DataElement, code: str, key: bytes, *, enhanced: bool) -> None:
    """Empty a sequence where the profile asks for it; clean the items of any other."""
    if code in ("Z", "X/Z"):
        element.value = []
    for item in element.value:
        _clean_level(item, key, enhanced=enhanced)


def _replace(element: DataElement) -> None:
    if not element.is_empty or element.keyword in _REQUIRED:
        element.value = DUMMIES.get(element.VR, b"\0\0")
