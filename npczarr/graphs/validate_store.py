"""Validation of a whole store, scan by scan, and against its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.graphs.repair_store import accept, repair_store
from npczarr.model.cohort import ScanFiles
from npczarr.model.imported import mask_before
from npczarr.model.progress import Meter, OnProgress
from npczarr.model.schema import RESAMPLING, SCAN_TABLES, STORED
from npczarr.runner import Idle, Runner
from npczarr.sources.config import load_config
from npczarr.sources.discover import discover
from npczarr.sources.files import Source, open_source
from npczarr.sources.images import read_image
from npczarr.sources.masks import read_scan_mask
from npczarr.sources.raters import read_raters
from npczarr.store.chunks import digest
from npczarr.store.cohort import StoredCohort
from npczarr.store.describe import SALT, uid_digest
from npczarr.store.hierarchy import array, labels, open_group
from npczarr.store.lease import lease_is_held
from npczarr.store.location import Location, locate
from npczarr.store.scans import StoredScan
from npczarr.store.storage_errors import translate_damage
from npczarr.store.validate import (
    CLAIMS,
    Finding,
    check_catalog,
    check_consolidated,
    check_rows,
    check_scan,
    check_schema_of,
    check_seal,
    check_tables,
)
from npczarr.store.whole import is_written_whole

_SMALL_VOXELS = 50_000_000  # read back in about the time that two processes take to start


@dataclass(frozen=True, slots=True, eq=False)
class CheckTask:
    """One scan to check: where it is, what its row says, and its files where the source is to be read."""

    scan: StoredScan
    claims: Mapping[str, Any]
    whole: bool
    salt: str = field(default="", repr=False)
    source: Source | None = field(default=None, repr=False)
    files: ScanFiles | None = None


def validate(
    store: str | Path,
    *,
    against: str | Path | None = None,
    repair: bool = False,
    seal: bool = False,
    config: str | Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    source_options: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Finding, ...]:
    """Check a store: schema, metadata as readers see them, the seal, digests of every voxel, masks, coordinates.

    Parameters
    ----------
    store
        Folder or URL of the store.
    against
        The source it was made from: every scan is read again and compared, voxel for voxel. The source of an
        imported mask must still have the mask that was replaced.
    repair
        Write again from the source what is damaged, put labels and attributes back, then check once more. A scan
        that is written again loses a mask that was imported, which is a finding; damaged results are deleted.
    seal
        Accept the store as it is: what another program changed or added is no finding any more.
    config
        TOML file that describes the source.
    workers, scheduler, on_progress
        As in :func:`npczarr.convert`; a small store is checked in this process unless workers are asked for.
    storage_options, source_options
        Options of the store's and of the source's file system; credentials belong in the environment.

    Returns
    -------
    tuple of Finding
        What is wrong, and after a repair what still is; empty where all is well.

    Raises
    ------
    StoreError, SourceError
        If there is no store, or no source, to be read.
    ParameterError
        If a repair has no source, or is to be sealed at once; or a resampled cohort is to be held against a source.
    """
    if repair and (against is None or seal):
        raise ParameterError("a repair needs the source (against=…, --against), and is sealed by itself")
    location = locate(store, storage_options)
    if against is not None:
        _refuse_resampled(location)
    if seal:
        accept(location)
    reading = _Reading(config, workers, scheduler, source_options, on_progress)
    found = _check(location, None if repair else against, reading)
    if not (repair and found and against is not None):
        return found
    given_up = repair_store(
        location,
        against,
        [(finding.patient, finding.sequence) for finding in found if finding.patient],
        config=config,
        workers=workers,
        scheduler=scheduler,
        source_options=source_options,
        on_progress=on_progress,
    )
    left = _check(location, against, reading)
    problem = "repaired, and its mask is the source's, which is not the one that the store held: import that again"
    return (*left, *(Finding(patient, sequence, problem) for patient, sequence in given_up))


def _refuse_resampled(location: Location) -> None:
    """Refuse to hold resampled voxels against a source: all differ, and a repair would give up the whole store."""
    with translate_damage(location.shown):
        root = open_group(location.open(read_only=True), location.shown, mode="r", whole=False)
    if RESAMPLING in root.attrs:
        raise ParameterError(
            f"{location.shown}: a resampled cohort, whose voxels are those of no source; validate it alone, and make "
            "it again by npczarr resample where it is damaged"
        )


@dataclass(frozen=True, slots=True)
class _Reading:
    """How a store and its source are read."""

    config: str | Path | None
    workers: int | None
    scheduler: str | None
    source_options: Mapping[str, Any] | None
    on_progress: OnProgress | None


def _check(location: Location, against: str | Path | None, reading: _Reading) -> tuple[Finding, ...]:
    """Read everything back and return what is wrong."""
    with translate_damage(location.shown):
        root = open_group(location.open(read_only=True), location.shown, mode="r", whole=False)
        findings = check_schema_of(root) or check_tables(root, results=False)
        if findings:
            return tuple(findings)
        findings += check_consolidated(root) + check_tables(root, results=True)
        findings += check_seal(root, held=lease_is_held(root.store)) + check_catalog(root)
        source, scans = _open_source(against, reading)
        places = [
            ((p, s), (patient, sequence))
            for p, patient in enumerate(labels(root, "patient"))
            for s, sequence in enumerate(labels(root, "sequence"))
        ]
        known = {key for _, key in places}
        findings += [
            Finding(*key, "in the source but not in the store; convert again") for key in scans if key not in known
        ]
        tables = {variable.name: array(root, variable.name)[...] for variable in SCAN_TABLES}
        findings += check_rows(root, tables)
        stored = StoredCohort(location, root)
        attributes = root.attrs.asdict()
        whole, salt = is_written_whole(attributes), str(attributes.get(SALT, ""))
        tasks = [
            CheckTask(
                stored.at(at, check=False),
                {name: tables[name][at] for name in CLAIMS},
                whole=whole,
                salt=salt,
                source=source,
                files=scans.get(key),
            )
            for at, key in places
        ]
        small = int(tables["shape"].prod(axis=-1).sum()) < _SMALL_VOXELS and source is None
        findings += _check_scans(tasks, reading, "here" if small else "processes")
        order = {label: i for i, label in enumerate(labels(root, "patient"))}
        return tuple(sorted(findings, key=lambda f: (order.get(f.patient, -1), f.sequence, f.problem)))


def _open_source(
    against: str | Path | None, reading: _Reading
) -> tuple[Source | None, Mapping[tuple[str, str], ScanFiles]]:
    """Open the source to compare with, and list its scans; nothing where there is none."""
    if against is None:
        return None, {}
    rules = load_config(reading.config)
    source = open_source(against, reading.source_options, rules.limits)
    return source, discover(source, rules).scans


def _check_scans(tasks: list[CheckTask], reading: _Reading, idle: Idle) -> list[Finding]:
    """Read every scan back."""
    findings = []
    with Runner(reading.workers, reading.scheduler, idle=idle) as runner:
        outcomes = runner.run(check_task, tasks, name=lambda task: f"validate-{task.scan.patient}-{task.scan.sequence}")
        meter = Meter(reading.on_progress, len(tasks), "scans")
        for task, outcome in outcomes:
            problems = [f"cannot be checked: {outcome}"] if isinstance(outcome, BaseException) else outcome
            findings += [Finding(task.scan.patient, task.scan.sequence, problem) for problem in problems]
            meter.add(counts={"damaged" if problems else "sound": 1})
    return findings


def check_task(task: CheckTask) -> list[str]:
    """Return what is wrong with one scan."""
    problems = list(check_scan(task.scan, task.claims, whole=task.whole))
    if task.source is not None:
        problems += _compare(task, task.source)
    return problems


def _compare(task: CheckTask, source: Source) -> list[str]:
    """Read a scan from its source again and compare digests."""
    stored = str(task.claims["status"]) in STORED
    files = task.files
    if files is None or not (files.images or files.raters):
        return ["stored, but not in the source"] if stored else []
    if files.raters:
        return _compare_rated(task, source, files)
    held = str(task.claims["series_digest"])
    try:
        scan = read_image(source, files, held=(lambda uid: uid_digest(uid, task.salt) == held) if held else None)
    except Exception as error:
        return [f"stored, but the source cannot be read: {error}"] if stored else []
    dtype, extent = np.dtype(task.scan.image_array.dtype), task.scan.image_array.shape[-3:]
    if not stored:  # rightly refused where it is the store that has no room for it
        fits = np.can_cast(scan.image.dtype, dtype) and all(
            n <= size for n, size in zip(scan.grid.shape_zyx, extent, strict=True)
        )
        return [f"{task.claims['status']}, but the source can be read; convert again"] if fits else []
    if held and uid_digest(scan.series_uid, task.salt) != held:
        return ["the source has another series than the store; convert again with --replace, or check the folder"]
    problems = []
    if all(digest(scan.image.astype(one)) != task.claims["image_digest"] for one in _exact(scan.image, dtype)):
        problems.append("image differs from the source")
    try:
        found = read_scan_mask(source, files, scan)
        mask = "" if isinstance(found, str) else digest(found.mask)
    except Exception:
        mask = ""
    before = mask_before(str(task.claims["message"]))  # of an imported mask, what the source gave
    if mask not in (task.claims["mask_digest"], before):
        problems.append("mask differs from the source" if before is None else _other_than_replaced(mask))
    return problems


def _other_than_replaced(mask: str) -> str:
    what = "mask is neither the one that was imported nor the one that it replaced" if mask else "mask is gone"
    return f"a mask was imported, and since then the source's {what}; convert, and import again if it is still meant"


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
