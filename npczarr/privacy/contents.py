"""What in the content of a DICOM or NIfTI file, a table or a JSON sidecar could identify someone."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from npczarr.errors import SourceError
from npczarr.model.clinical import PATIENT_ALIASES, plain
from npczarr.model.identifiers import identifies_by_name, is_date, is_plain_label, tells_who
from npczarr.model.limits import Limits
from npczarr.privacy.clean import burned_in
from npczarr.privacy.nifti import gzip_texts, nifti_text
from npczarr.privacy.pixels import overlay_bits
from npczarr.privacy.profile import identifies, is_cleaned, is_kept_text, is_taken_out, is_typed, words_of
from npczarr.sources.column_values import are_spreadsheet_days
from npczarr.sources.csv_files import parse_csv
from npczarr.sources.decompression import unpack_gzip

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

#: By kind and name of what was found: one value of it.
Found = dict[tuple[str, str], str]

_ABOUT = ("BodyPartExamined", "StudyDescription", "SeriesDescription", "ProtocolName", "RequestedProcedureDescription")
_OUTLINES = re.compile(r"roi|mask|label|seg|lesion|tumou?r", re.IGNORECASE)  # no image, by the name of the file
_HEAD = re.compile(r"head|brain|skull|face|neck|nasoph|orbit|sinus|\bH&N\b|\bHN\b", re.IGNORECASE)
#: An e-mail address, or a telephone number as people write them: with a 0 or + before it, seven digits or more.
_CONTACT = re.compile(r"[\w.+-]@\w[\w-]*\.\w|(?<![\w.+])(?:\+|0)\d(?:[ ()/-]*\d){6,}(?![\w.])")


def find_in_dicom(path: str, dataset: Dataset) -> Found:
    """Find what the profile would not let stand in a file of DICOM, and texts that it does."""
    found: Found = {}
    folders = frozenset([*path.split("/"), "unknown"])
    words = words_of(dataset, folders)
    for element in dataset.iterall():
        if element.tag.is_private:
            found["private", element.private_creator or "no creator"] = str(element.tag)
        elif identifies(element, dataset, folders):
            found[_kind(element.VR), element.keyword or str(element.tag)] = str(element.value)
        elif is_kept_text(element) and (kind := _kind_of_text(element, words)):
            found[kind, element.keyword] = str(element.value)
    meta = dataset.file_meta
    found |= {
        ("attribute", tag): str(meta[tag].value)
        for tag in ("SourceApplicationEntityTitle", "SendingApplicationEntityTitle", "PrivateInformation")
        if tag in meta
    }
    if not is_cleaned(dataset) and any(dataset.preamble or b""):
        found["attribute", "preamble"] = ""
    found |= _in_pixels(dataset)
    for part in re.split(r"[\^ ,_]+", str(dataset.get("PatientName", ""))):
        if len(part) > 2 and not is_cleaned(dataset) and part.lower() in path.lower():
            found["path", "PatientName"] = part
    if "Rows" in dataset and (shown := _may_show_a_face(dataset)):
        found["face", shown] = ""
    return found


def _in_pixels(dataset: Dataset) -> Found:
    """Find what a header says that the pixels show or hold beside the image."""
    found: Found = {}
    if burned_in(dataset):
        found["burned in", "annotation in the pixels"] = str(dataset.get("BurnedInAnnotation", "not told"))
    if overlay_bits(dataset):
        found["burned in", "overlay in unused bits of the pixels"] = ""
    return found


def _kind_of_text(element: DataElement, words: Collection[str]) -> str:
    """Say what a text that stays is: one that tells who the patient is, one that may, or "" for a plain code."""
    if tells_who(str(element.value), words):
        return "kept text"
    return "text" if is_typed(element) else ""


def find_in_nifti(name: str, content: bytes, limits: Limits) -> Found:
    """Find text in the header of a NIfTI file, behind its voxels and in the header of its packing."""
    try:
        packed = name.endswith(".gz")
        data = unpack_gzip(content, lambda _: sys.maxsize, limits, limits.clock()) if packed else content
        found = {("nifti", text): "" for text in nifti_text(data)}
        if not _OUTLINES.search(name):
            found["face", "NIfTI image, which does not say which part of the body it shows"] = ""
        packed_as, comment = gzip_texts(content)
        found |= {("nifti", "comment in the gzip header"): comment} if comment else {}
        return found | ({("path", "name in the gzip header"): packed_as} if packed_as.lower() not in name else {})
    except SourceError:
        raise
    except Exception as error:  # damage of gzip, zlib, struct
        raise SourceError(f"a damaged NIfTI file ({type(error).__name__}), not looked at") from error


def find_in_table(content: bytes) -> Found:
    """Find columns that tell by their name who the patients are, one value of each; and entries that may tell."""
    rows = parse_csv(content)
    found: Found = {}
    for column in rows[0] if rows else ():
        filled = [row[column] for row in rows if row[column]]
        if filled and identifies_by_name(column):
            found["column", column] = filled[0]
        elif telling := _first_telling(column, filled):
            found["text", f"entries of the column {_shown(column)}"] = telling
        elif plain(column) in PATIENT_ALIASES and not all(map(is_plain_label, filled)):
            found["text", f"labels of patients in the column {_shown(column)}"] = filled[0]
    return found


def _first_telling(column: str, entries: list[str]) -> str:
    """Return the first entry of a column that may tell who someone is, or ""; days of a spreadsheet do together."""
    if are_spreadsheet_days(column, entries):
        return entries[0]
    return next((entry for entry in entries if _may_tell(entry)), "")


def find_in_json(content: bytes) -> Found:
    """Find entries of a JSON sidecar, such as dcm2niix writes, that the profile takes out of a DICOM header."""
    try:
        pairs = list(_pairs(json.loads(content)))
    except ValueError as error:
        raise SourceError("damaged JSON, not looked at") from error
    except RecursionError as error:
        raise SourceError("JSON nested too deep, not looked at") from error
    found: Found = {}
    for key, value in pairs:
        filled = key and value not in ("", None, [], {})
        if filled and (identifies_by_name(key) or is_taken_out(key)):
            found["sidecar", key] = str(value)
        elif isinstance(value, str) and _may_tell(value):
            found["text", f"values of the entry {_shown(key)}"] = value
        elif _may_tell(key):
            found["text", "names of entries of JSON"] = key
    return found


def _pairs(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - parsed JSON
    """Every entry of parsed JSON by its name; those of a list are called as the list."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield name, one
            yield from _pairs(one, name)
    elif isinstance(value, list):
        for one in value:
            yield key, one
            yield from _pairs(one, key)


def _may_tell(text: str) -> bool:
    return tells_who(text, ()) or is_date(text) or _CONTACT.search(text) is not None


def _shown(name: str) -> str:
    """Return the name of a column or entry, unless it may tell itself: the first row of a table need not be names."""
    return "of a name that may tell too" if _may_tell(name) else repr(name)


def _may_show_a_face(dataset: Dataset) -> str:
    """Say why a face may be reconstructed from an image: its header says so, or says nothing of what it shows."""
    about = " ".join(str(dataset.get(keyword, "")) for keyword in _ABOUT)
    if _HEAD.search(about):
        return "image of a head or neck"
    silent = not str(dataset.get("BodyPartExamined", "")).strip()
    return "image whose header does not say which part of the body it shows" if silent else ""


def _kind(vr: str) -> str:
    return {"DA": "date", "DT": "date", "TM": "date", "UI": "uid"}.get(vr, "attribute")
