"""Whether a source may be converted into a store that holds scans already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import zarr

from npczarr.errors import SourceError, StoreError
from npczarr.graphs.convert_scan import Peek, PeekTask, peek_scans, source_digest
from npczarr.model.cohort import Cohort, ScanFiles
from npczarr.model.imported import mask_before
from npczarr.model.label_set import Labels, label_names
from npczarr.model.schema import RESAMPLING, STORED
from npczarr.runner import Runner
from npczarr.sources.files import Source
from npczarr.store.describe import SALT
from npczarr.store.hierarchy import labels, mask_labels
from npczarr.store.rows import Key, Rows

_PEEK_BATCH = 32
_OF_NIFTI = ("sform", "qform")


def peeked(
    runner: Runner, source: Source, scans: Iterable[ScanFiles], salt: str = "00"
) -> Iterator[tuple[ScanFiles, Peek]]:
    """Look at the first header of each scan that has one, as the workers find them."""
    listed = [scan for scan in scans if scan.images or scan.raters]
    batches = [PeekTask(source, tuple(listed[i : i + _PEEK_BATCH]), salt) for i in range(0, len(listed), _PEEK_BATCH)]
    for batch, outcome in runner.run(peek_scans, batches, name=lambda batch: f"peek-{batch.scans[0].patient}"):
        if isinstance(outcome, BaseException):
            raise SourceError(f"{source.shown}: cannot be read by the workers: {outcome}") from outcome
        yield from zip(batch.scans, outcome, strict=True)


def check_kind(root: zarr.Group, cohort: Cohort, labels_of_masks: Labels, url: str) -> None:
    """Refuse to mix kinds: resampled scans, scans with raters' masks, masks of other raters or labels, in one store."""
    if RESAMPLING in root.attrs:
        raise StoreError(f"{url}: a resampled cohort, which takes no scans as they are; convert elsewhere")
    there = tuple(labels(root, "rater")) if "rater" in root else ()
    if there != cohort.raters:
        raise StoreError(
            f"{url}: the raters of the store are {', '.join(there) or 'none'}, those of the source "
            f"{', '.join(cohort.raters) or 'none'}; convert into another store"
        )
    stored, declared = mask_labels(root), label_names(labels_of_masks)
    if stored != declared:
        raise StoreError(
            f"{url}: the labels of the store are {', '.join(stored)}, those of the configuration "
            f"{', '.join(declared)}, in this order; give the configuration of the store, or convert into another "
            "store"
        )


def check_cohort(root: zarr.Group, cohort: Cohort, url: str, *, stranger: bool) -> None:
    """Refuse another cohort, and a source of which no mask is found though the store holds them.

    Raises
    ------
    StoreError
        If it is one.
    """
    if stranger:
        raise _other_cohort(root, cohort, url)
    lost = _lost_masks(root, cohort)
    if lost:
        raise StoreError(
            f"{url}: holds masks of {len(lost)} scans, the first {'/'.join(lost[0])}, and the source, as it is read, "
            "has none at all; give the configuration that it was converted with (--config), or have the masks removed "
            "with --replace (replace=True)"
        )


def _lost_masks(root: zarr.Group, cohort: Cohort) -> list[Key]:
    """List the scans that would lose a mask of the source, if none of its scans has one."""
    if any(scan.masks for scan in cohort.scans.values()):
        return []
    rows = Rows(root)
    status, placed, message, digests = (
        rows.read(name) for name in ("mask_status", "mask_affine_source", "message", "source_digest")
    )
    return [
        key
        for key, scan in cohort.scans.items()
        if status.get(key, "") in STORED
        and placed[key] in _OF_NIFTI  # outlines may lie among the images
        and mask_before(str(message[key])) != ""  # imported where the source had none
        and digests[key] != source_digest(scan)
    ]


def is_stranger(runner: Runner, root: zarr.Group, source: Source, cohort: Cohort) -> bool:
    """Whether labels of the source and the store collide, and none of these scans is one that the store knows."""
    colliding = _colliding(root, cohort)
    if not colliding:
        return False
    rows = Rows(root)
    digests = rows.read("source_digest")
    if any(source_digest(cohort.scans[key]) == digests[key] for key in colliding):
        return False
    known = rows.read("mask_digest" if cohort.raters else "series_digest")
    salt = str(root.attrs.asdict().get(SALT, ""))
    peeks = peeked(runner, source, (cohort.scans[key] for key in colliding), salt)
    # all are looked at, for a folder may hold several series: what its first file says is then no answer
    return not any(peek.identity and peek.identity == known[scan.patient, scan.sequence] for scan, peek in peeks)


def _colliding(root: zarr.Group, cohort: Cohort) -> list[Key]:
    """List scans that both have."""
    status = Rows(root).read("status")
    found = (key for key, files in cohort.scans.items() if files.images or files.raters)
    return [key for key in found if status.get(key, "") in STORED]


def _other_cohort(root: zarr.Group, cohort: Cohort, url: str) -> StoreError:
    colliding = _colliding(root, cohort)
    there = sum(bool(files.images or files.raters) for files in cohort.scans.values())
    return StoreError(
        f"{url}: {len(colliding)} of {there} scans have labels that the store holds, the first "
        f"{'/'.join(colliding[0])}, but none is of a series that it knows, so this seems to be another cohort; convert "
        "it into another store, or put it in place of what the store holds with --replace (replace=True)"
    )
