"""One scan of a store held against its row, and against its source: what a worker does, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.model.cohort import ScanFiles
from npczarr.model.imported import mask_before
from npczarr.model.records import Scan
from npczarr.model.schema import STORED
from npczarr.sources.files import Source
from npczarr.sources.images import read_image
from npczarr.sources.masks import read_scan_mask
from npczarr.sources.raters import read_raters
from npczarr.store.chunks import digest
from npczarr.store.describe import uid_digest
from npczarr.store.scans import StoredScan
from npczarr.store.validate import check_scan


@dataclass(frozen=True, slots=True, eq=False)
class CheckTask:
    """One scan to check: where it is, what its row says, and its files where the source is to be read."""

    scan: StoredScan
    claims: Mapping[str, Any]
    whole: bool
    salt: str = field(default="", repr=False)
    source: Source | None = field(default=None, repr=False)
    files: ScanFiles | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with one scan, and whether its mask was imported in place of the source's."""

    problems: list[str]
    imported: bool = False


def check_task(task: CheckTask) -> Checked:
    """Check one scan, and compare it with its source."""
    problems = list(check_scan(task.scan, task.claims, whole=task.whole))
    if task.source is None:
        return Checked(problems)
    compared = _compare(task, task.source)
    return Checked([*problems, *compared.problems], compared.imported)


def _compare(task: CheckTask, source: Source) -> Checked:
    """Read a scan from its source again and compare digests."""
    stored = str(task.claims["status"]) in STORED
    files = task.files
    if files is None or not (files.images or files.raters):
        return Checked(["stored, but not in the source"] if stored else [])
    if files.raters:
        return Checked(_compare_rated(task, source, files))
    held = str(task.claims["series_digest"])
    try:
        scan = read_image(source, files, held=(lambda uid: uid_digest(uid, task.salt) == held) if held else None)
    except Exception as error:
        left = "not complete, and the source cannot be read" if task.claims["status"] == "pending" else ""
        said = "stored, but the source cannot be read" if stored else left
        return Checked([f"{said}: {error}"] if said else [])
    if not stored:  # rightly refused where it is the store that has no room for it
        refused = f"{task.claims['status']}, but the source can be read; convert again"
        return Checked([refused] if _has_room(task, scan) else [])
    if held and uid_digest(scan.series_uid, task.salt) != held:
        return Checked([_OTHER_SERIES])
    of_mask = _compare_mask(task, source, scan)
    return Checked([*_compare_image(task, scan), *of_mask.problems], of_mask.imported)


_OTHER_SERIES = "the source has another series than the store; convert again with --replace, or check the folder"


def _has_room(task: CheckTask, scan: Scan) -> bool:
    """Whether a scan of the source fits the arrays of the store."""
    array = task.scan.image_array
    sizes = zip(scan.grid.shape_zyx, array.shape[-3:], strict=True)
    return np.can_cast(scan.image.dtype, np.dtype(array.dtype)) and all(n <= size for n, size in sizes)


def _compare_image(task: CheckTask, scan: Scan) -> list[str]:
    """Hold the stored image against the source's, by their digests."""
    types = _exact(scan.image, np.dtype(task.scan.image_array.dtype))
    if any(digest(scan.image.astype(one)) == task.claims["image_digest"] for one in types):
        return []
    depth, now = int(task.claims["shape"][0]), len(scan.image)
    return ["image differs from the source" + (f", which has {now} slices of {depth}" if now < depth else "")]


def _compare_mask(task: CheckTask, source: Source, scan: Scan) -> Checked:
    """Hold the stored mask against the source's; one that was imported, against the one that it replaced."""
    assert task.files is not None
    try:
        found = read_scan_mask(source, task.files, scan)
        mask, without = ("", found) if isinstance(found, str) else (digest(found.mask), "")
    except Exception as error:
        mask, without = "", str(error)
    before = mask_before(str(task.claims["message"]))  # of an imported mask, what the source gave
    if mask == task.claims["mask_digest"]:
        return Checked([])
    if mask == before:
        return Checked([], imported=True)
    if not mask:
        return Checked([f"stored with a mask, but the source has none that can be used: {without}"])
    if before is None:
        return Checked(["mask differs from the source"])
    return Checked(
        [
            "a mask was imported, and since then the source's mask is neither the one that was imported nor the one "
            "that it replaced; convert, and import again if it is still meant"
        ]
    )


def _exact(image: NDArray[Any], dtype: np.dtype[Any]) -> list[np.dtype[Any]]:
    """List the types in which a store may hold an image: its own, and int16 and int32 where a copy holds floats."""
    if image.dtype.kind == "f":
        return [dtype] if dtype.kind == "f" else []
    types: list[Any] = [dtype] if dtype.kind == "i" else [np.dtype("int16"), np.dtype("int32")]
    own = [dtype] if dtype == np.float32 and np.array_equal(image.astype(dtype), image) else []
    return own + [one for one in types if image.min() >= np.iinfo(one).min and image.max() <= np.iinfo(one).max]


def _compare_rated(task: CheckTask, source: Source, files: ScanFiles) -> list[str]:
    try:
        masks, *_ = read_raters(source, files, task.scan.raters)
    except Exception as error:
        return [f"the source cannot be read: {error}"] if task.claims["mask_digest"] else []
    return [] if digest(masks) == task.claims["mask_digest"] else ["masks differ from the source"]
