"""Which identifiers of a DICOM object are those of a stored scan, of whose identifiers a store keeps digests alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pydicom.uid import generate_uid

from npczarr.sources.structures.masks import StructureObject
from npczarr.sources.structures.records import ImageUids, StructureSet

_ANOTHER = "another"  # no UID: it is like none that an object names


@dataclass(frozen=True, slots=True)
class StoredIdentity:
    """What a store says of a scan: its labels, digests of its voxels and identifiers, and SliceThickness in mm."""

    patient: str
    sequence: str
    image_digest: str
    series_digest: str = field(repr=False)
    frame_digest: str = field(repr=False)
    slice_thickness_mm: float = math.nan


def image_of(
    scan: StoredIdentity, digest_uid: Callable[[str], str], objects: Iterable[StructureObject]
) -> ImageUids | None:
    """Find the identifiers of a scan among those that objects name.

    Parameters
    ----------
    scan
        The scan that they should outline.
    digest_uid
        Digest of a UID, as the store makes it.
    objects
        RTSTRUCT or SEG, of the scan's source or of an export.

    Returns
    -------
    ImageUids
        Its series and frame of reference, or others where the objects name none of them; and its SliceThickness. None
        where the scan has no frame of reference, as NIfTI images have none, and the objects do not name its series:
        then nothing says.
    """
    made = made_series_uid(scan.patient, scan.sequence, scan.image_digest)
    series, frames = set[str](), set[str]()
    for one in objects:
        series |= set(one.series_uids)
        frames |= set(one.frame_of_reference_uids if isinstance(one, StructureSet) else (one.frame_of_reference_uid,))
    if made in series:
        return ImageUids(made, slice_thickness_mm=scan.slice_thickness_mm)
    own = next((uid for uid in sorted(series) if uid and digest_uid(uid) == scan.series_digest), "")
    frame = next((uid for uid in sorted(frames) if uid and digest_uid(uid) == scan.frame_digest), "")
    if not own and not scan.frame_digest:
        return None
    frame = frame or (_ANOTHER if scan.frame_digest else "")
    return ImageUids(own or _ANOTHER, frame, slice_thickness_mm=scan.slice_thickness_mm)


def made_series_uid(patient: str, sequence: str, image_digest: str) -> str:
    """SeriesInstanceUID of an export, for an image whose own is not known."""
    return made_uid("series", patient, sequence, image_digest)


def made_uid(*parts: str) -> str:
    """UID that is always the same for the same parts."""
    return generate_uid(entropy_srcs=["npczarr", *parts])
