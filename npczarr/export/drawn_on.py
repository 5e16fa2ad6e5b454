"""Which identifiers of a DICOM object are those of a stored scan, of whose identifiers a store keeps digests alone."""

from __future__ import annotations

from collections.abc import Iterable

from npczarr.export.dicom_header import made_series_uid
from npczarr.sources.structures.masks import StructureObject
from npczarr.sources.structures.records import ImageUids, StructureSet
from npczarr.store.describe import uid_digest
from npczarr.store.scans import StoredScan

_ANOTHER = "another"  # no UID: it is like none that an object names


def image_of(scan: StoredScan, series_digest: str, salt: str, objects: Iterable[StructureObject]) -> ImageUids | None:
    """Find the identifiers of a scan among those that objects name.

    Parameters
    ----------
    scan
        The scan that they should outline.
    series_digest, salt
        Digest of its SeriesInstanceUID, and the salt of the store.
    objects
        RTSTRUCT or SEG, of the scan's source or of an export.

    Returns
    -------
    ImageUids
        Its series and frame of reference, or another one where the objects name none of them. None where the scan has
        no frame of reference, as NIfTI images have none, and the objects do not name its series: then nothing says.
    """
    made = made_series_uid(scan.patient, scan.sequence, scan.image_digest)
    series, frames = set[str](), set[str]()
    for one in objects:
        series |= set(one.series_uids)
        frames |= set(one.frame_of_reference_uids if isinstance(one, StructureSet) else (one.frame_of_reference_uid,))
    if made in series:
        return ImageUids(made)
    own = next((uid for uid in sorted(series) if uid and uid_digest(uid, salt) == series_digest), "")
    frame = next((uid for uid in sorted(frames) if uid and uid_digest(uid, salt) == scan.frame_digest), "")
    if not own and not scan.frame_digest:
        return None
    return ImageUids(own or _ANOTHER, frame or (_ANOTHER if scan.frame_digest else ""))
