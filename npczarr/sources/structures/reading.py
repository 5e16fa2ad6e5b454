"""Open a DICOM object of structures, within bounds, and name damage without any text of the file."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from npczarr.errors import SourceError
from npczarr.model.geometry import Floats
from npczarr.model.limits import GB, Limits
from npczarr.sources.decompression import check_dataset
from npczarr.sources.headers import quiet

FARTHEST_MM = 1e6  # beyond a kilometer numbers are damaged, and their squares may overflow
_ITEM = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # item tag, little and big endian
_ITEM_BYTES = 4000  # pydicom's objects for one item of a sequence, about
_UNDEFINED = 0xFFFFFFFF


def parse(content: bytes, sop_classes: Collection[str], what: str, limits: Limits) -> Dataset:
    """Parse a DICOM file and check its SOP class.

    Raises
    ------
    SourceError
        If it is no DICOM file, is of another SOP class, is truncated, or would take too much memory.
    """
    check_dataset(content, limits)
    _check_items(_inflated(content, limits), limits)
    # force: old files lack the preamble; whatever then has no SOP class is another kind of file
    dataset = pydicom.dcmread(BytesIO(content), force=True)
    found = UID(str(dataset.get("SOPClassUID", "")))
    if found not in sop_classes:
        # the name only where the standard knows the class: another value is text of the file
        kind = found.name if found and found.name != found else "an object of no known SOP class"
        raise SourceError(f"expected {what}, found {kind}; check which file is meant")
    _check_whole(dataset)
    return dataset


@contextmanager
def damage(what: str) -> Iterator[None]:
    """Turn whatever pydicom raises on a damaged file into an error without its text, which may hold header values."""
    try:
        with quiet():
            yield
    except SourceError:
        raise
    except (Exception, RecursionError) as error:
        raise SourceError(f"{what} is damaged ({type(error).__name__}); copy it again from its origin") from error


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Items of a sequence; none where the field is absent or is no sequence."""
    value = dataset.get(keyword)
    return list(value) if isinstance(value, pydicom.Sequence) else []


def text(dataset: Dataset, keyword: str) -> str:
    """Value of a field as text; the first of several."""
    value: Any = dataset.get(keyword)
    if value is not None and not isinstance(value, str) and hasattr(value, "__getitem__"):
        value = value[0] if len(value) else None
    return "" if value is None else str(value).strip()


def whole(dataset: Dataset, keyword: str, what: str, *, default: int | None = None) -> int:
    """Value of a field as a whole number.

    Raises
    ------
    SourceError
        If it is absent, with no default, or no whole number.
    """
    value: Any = dataset.get(keyword)
    if value in (None, "") and default is not None:
        return default
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise SourceError(f"{what} has no usable {keyword} in its header; export it again") from error


def numbers(dataset: Dataset, keyword: str, count: int) -> Floats | None:
    """(count,) values of a field in mm or direction cosines; None where they are not so many finite numbers."""
    try:
        values = np.array([float(value) for value in dataset[keyword].value], dtype=np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    usable = values.shape == (count,) and np.isfinite(values).all() and np.abs(values).max() <= FARTHEST_MM
    return values if usable else None


def _inflated(content: bytes, limits: Limits) -> bytes:
    """Return the dataset of a deflated file as it is unpacked, and any other content as it is."""
    if DeflatedExplicitVRLittleEndian.encode() not in content[132:1024]:
        return content
    if content[132:140] != b"\x02\x00\x00\x00UL\x04\x00":
        raise SourceError("a deflated DICOM file without the length of its header; export it again")
    start = 144 + int.from_bytes(content[140:144], "little")
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[start:], int(limits.scan_gb * GB))


def _check_items(content: bytes, limits: Limits) -> None:
    """Refuse a file whose sequences have so many items that parsing them takes more memory than a scan may."""
    found = sum(content.count(tag) for tag in _ITEM)
    if found * _ITEM_BYTES > limits.scan_gb * GB:
        raise SourceError(
            f"{found} items in the sequences of the file, more than fit the limit of {limits.scan_gb:g} GB; where that "
            "is real, raise limits.scan_gb in the configuration"
        )


def _check_whole(dataset: Dataset) -> None:
    """Refuse a file that ends inside its last field: pydicom returns what there is of it."""
    last = dataset.get_item(max(dataset.keys())) if len(dataset) else None
    if isinstance(last, RawDataElement) and last.length != _UNDEFINED and len(last.value or b"") < last.length:
        raise SourceError(
            f"the file ends inside its last field, after {len(last.value or b'')} of {last.length} bytes; copy it again"
        )
