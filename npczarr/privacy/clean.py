"""One DICOM or NIfTI file, in and out as bytes, without what identifies its patient."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import struct
import sys
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from io import BytesIO
from typing import TYPE_CHECKING

from npczarr.errors import SourceError
from npczarr.model.identifiers import tells_who
from npczarr.model.limits import Limits
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
from npczarr.sources.decompression import check_dataset, unpack_gzip
from npczarr.sources.nifti_file import file_size, silent
from npczarr.sources.structures.names import is_plain_name

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

_NIFTI = {348: ((4, 28), (148, 80), (228, 24), (328, 16)), 540: ((240, 80), (320, 24), (508, 16))}
_REQUIRED = ("DeviceSerialNumber", "MetaboliteMapDescription")  # of type 1 in enhanced objects, PS3.3 C.7.5.2, C.8.13.5
_INDEX = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage
_DEEPEST = 8  # a fault in writing takes pydicom time that doubles with each
_KEPT_META = frozenset((0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010))


def read_dicom(content: bytes, limits: Limits, *, stop_before_pixels: bool = False) -> Dataset | None:
    """Parse a DICOM file, with or without the preamble that old ones lack; None where it is none.

    An index of a medium (DICOMDIR) is none either: it is of nothing but names.

    Raises
    ------
    SourceError
        If it is damaged, or would unpack to more than the limits allow.
    """
    import pydicom
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    check_dataset(content, limits)
    whole = content[128:132] == b"DICM"
    try:
        dataset = pydicom.dcmread(BytesIO(content), force=not whole, stop_before_pixels=stop_before_pixels)
        if whole and dataset.file_meta.get("MediaStorageSOPClassUID") == _INDEX:
            return None
        if not whole and "SOPClassUID" not in dataset:
            return None
        for _ in dataset.file_meta:
            pass
        _parse(dataset, _DEEPEST)
    except SourceError:
        raise
    except Exception as error:  # pydicom names damage in a dozen ways
        if not whole:
            return None
        raise SourceError(f"a damaged DICOM file ({type(error).__name__}); copy it again or leave it out") from error
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
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
    """Clean a DICOM file by the Basic Profile; pixels and their encoding stay as they are.

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
        If it is damaged, or says that its pixels hold an annotation.
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
    structures = dataset.get("StructureSetROISequence") or []
    names = [_kept_name(str(one.get("ROIName", "")), rois, words) for one in structures]
    _clean_level(dataset, key, enhanced=enhanced)
    for one, name in zip(structures, names, strict=True):
        one.ROIName = name
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
    if any(tells_who(str(value), words) for value in values):
        cleaned = [DUMMIES[element.VR] if tells_who(str(value), words) else value for value in values]
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


def clean_nifti(content: bytes, limits: Limits, *, packed: bool) -> bytes:
    """Clear the text fields and extensions of a NIfTI file, and what lies behind its voxels; the rest stays as it is.

    The fields, by `nifti1.h` and `nifti2.h`: data_type, db_name, descrip, aux_file and intent_name.

    Raises
    ------
    SourceError
        If it is no single-file NIfTI, or is damaged.
    """
    try:
        data = bytearray(unpack_gzip(content, lambda _: sys.maxsize, limits, limits.clock()) if packed else content)
        size, start = _whole_layout(data)
        del data[file_size(bytes(data[:540])) :]
    except SourceError:
        raise
    except Exception as error:  # gzip, zlib, struct and nibabel name damage in a dozen ways
        raise SourceError(f"a damaged NIfTI file ({type(error).__name__}); copy it again or leave it out") from error
    for offset, length in _NIFTI[size]:
        data[offset : offset + length] = bytes(length)
    data[size:start] = bytes(start - size)  # the flag of extensions and the extensions: zeros say there are none
    return gzip.compress(bytes(data), mtime=0) if packed else bytes(data)


def _whole_layout(data: bytes | bytearray) -> tuple[int, int]:
    size, start = nifti_layout(data)
    if start > len(data):
        raise ValueError("the voxels lie outside the file")
    return size, start


def nifti_layout(head: bytes | bytearray) -> tuple[int, int]:
    """Return the header's size and where the voxels begin, from a file's first 540 bytes.

    Raises
    ------
    ValueError
        If it is no single-file NIfTI-1 or NIfTI-2.
    """
    for order in "<>":
        (size,) = struct.unpack_from(order + "i", head)
        if size in _NIFTI:
            start = int(struct.unpack_from(order + ("f" if size == 348 else "q"), head, 108 if size == 348 else 168)[0])
            if start < size:
                raise ValueError("the voxels lie inside the header")
            return size, start
    raise ValueError("not a NIfTI header")


def nifti_text(data: bytes) -> list[str]:
    """Name the filled text fields of a NIfTI file."""
    names = {348: ("db_name", "descrip", "aux_file", "intent_name"), 540: ("descrip", "aux_file", "intent_name")}
    size, start = _whole_layout(data)
    fields = zip(names[size], _NIFTI[size], strict=True)
    found = [name for name, (offset, length) in fields if data[offset : offset + length].strip(b"\0 ")]
    return found + (["extension"] if data[size:start].strip(b"\0") else [])


def gzip_name(data: bytes) -> str:
    """Return the name that a gzip file says it had before it was packed, or "" (RFC 1952, section 2.3)."""
    if data[:2] != b"\x1f\x8b" or len(data) < 12 or not data[3] & 8:
        return ""
    start = 12 + int.from_bytes(data[10:12], "little") if data[3] & 4 else 10
    return data[start : start + 1000].partition(b"\0")[0].decode("latin-1")
