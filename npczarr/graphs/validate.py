"""Validation of a whole store, scan by scan, and against its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from npczarr.graphs.run import Runner
from npczarr.model.cohort import ScanFiles
from npczarr.model.schema import STORED
from npczarr.sources.config import load_config
from npczarr.sources.dicom import read_scan
from npczarr.sources.discover import discover
from npczarr.sources.files import Source, open_source
from npczarr.sources.nifti import read_mask
from npczarr.sources.raters import read_raters
from npczarr.store.access import Location, locate
from npczarr.store.create import array, labels, open_group
from npczarr.store.faults import usable
from npczarr.store.shards import digest
from npczarr.store.validate import CLAIMS, Finding, check_scan, check_schema_of, check_tables

_SMALL_VOXELS = 50_000_000  # read back in about the time that two processes take to start


@dataclass(frozen=True, slots=True, eq=False)
class CheckTask:
    """One scan to check: where it is, what the catalogue says of it, and its files where the source is to be read."""

    target: Location
    patient: str
    sequence: str
    place: tuple[int, int]
    claims: Mapping[str, Any]
    source: Source | None = field(default=None, repr=False)
    files: ScanFiles | None = None


def validate(
    store: str | Path,
    *,
    against: str | Path | None = None,
    config: str | Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    source_options: Mapping[str, Any] | None = None,
    store_options: Mapping[str, Any] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Finding, ...]:
    """Check a store: schema, digests of every voxel, masks, coordinates.

    Parameters
    ----------
    store
        Folder or URL of the store.
    against
        The source it was made from: every scan is read again and compared, voxel for voxel.
    config
        TOML file that describes the source.
    workers, scheduler
        As in :func:`npczarr.convert`.
    source_options, store_options
        fsspec options; credentials belong in the environment.
    on_progress
        Called after each scan with the number done and the total.

    Returns
    -------
    tuple of Finding
        What is wrong; empty where all is well.

    Raises
    ------
    StoreError, SourceError
        If there is no store, or no source, to be read.
    """
    location = locate(store, dict(store_options or {}))
    with usable(location.url):
        root = open_group(location.open(read_only=True), location.url, mode="r")
        findings = check_schema_of(root) or check_tables(root)
        if findings:
            return tuple(findings)
        source = cohort = None
        if against is not None:
            source = open_source(against, dict(source_options or {}), load_config(config).limits)
            cohort = discover(source, load_config(config))
            known = {(p, s) for p in labels(root, "patient") for s in labels(root, "sequence")}
            strange = [key for key in cohort.scans if key not in known]
            findings += [Finding(*key, "in the source but not in the store; convert again") for key in strange]
        tables = {name: array(root, name)[...] for name in CLAIMS}
        tasks = [
            CheckTask(
                location,
                patient,
                sequence,
                (p, s),
                {name: values[p, s] for name, values in tables.items()},
                source,
                None if cohort is None else cohort.scans.get((patient, sequence)),
            )
            for p, patient in enumerate(labels(root, "patient"))
            for s, sequence in enumerate(labels(root, "sequence"))
        ]
        voxels = int(tables["shape"].prod(axis=-1).sum())
        with Runner(workers, scheduler, small=voxels < _SMALL_VOXELS and source is None) as runner:
            outcomes = runner.run(check_task, tasks, name=lambda task: f"validate-{task.patient}-{task.sequence}")
            for done, (task, outcome) in enumerate(outcomes, 1):
                problems = [f"cannot be checked: {outcome}"] if isinstance(outcome, BaseException) else outcome
                findings += [Finding(task.patient, task.sequence, problem) for problem in problems]
                if on_progress is not None:
                    on_progress(done, len(tasks))
        order = {label: i for i, label in enumerate(labels(root, "patient"))}
        return tuple(sorted(findings, key=lambda f: (order.get(f.patient, -1), f.sequence, f.problem)))


def check_task(task: CheckTask) -> list[str]:
    """Return what is wrong with one scan."""
    root = open_group(task.target.open(read_only=True), task.target.url, mode="r")
    problems = list(check_scan(root, task.target, task.place, task.claims))
    if task.source is not None:
        problems += _compare(task)
    return problems


def _compare(task: CheckTask) -> list[str]:
    """Read a scan from its source again and compare digests."""
    stored = str(task.claims["status"]) in STORED
    if task.files is None or not (task.files.images or task.files.raters) or task.source is None:
        return ["stored, but not in the source"] if stored else []
    if task.files.raters:
        return _compare_rated(task, task.source, task.files)
    try:
        scan = read_scan(task.source, task.files.images, masks=task.files.masks, where=task.files.where)
    except Exception as error:
        return [f"stored, but the source cannot be read: {error}"] if stored else []
    image = array(zarr.open_group(task.target.open(read_only=True), mode="r"), "image")
    if not stored:  # rightly refused where it is the store that has no room for it
        fits = np.can_cast(scan.image.dtype, image.dtype) and all(
            n <= extent for n, extent in zip(scan.grid.shape_zyx, image.shape[-3:], strict=True)
        )
        return [f"{task.claims['status']}, but the source can be read; convert again"] if fits else []
    problems = []
    if digest(scan.image.astype(image.dtype)) != task.claims["image_digest"]:
        problems.append("image differs from the source")
    try:
        mask = digest(read_mask(task.source, task.files.masks, scan.grid).mask) if task.files.masks else ""
    except Exception:
        mask = ""
    if mask != task.claims["mask_digest"]:
        problems.append("mask differs from the source")
    return problems


def _compare_rated(task: CheckTask, source: Source, files: ScanFiles) -> list[str]:
    raters = labels(zarr.open_group(task.target.open(read_only=True), mode="r"), "rater")
    try:
        masks, *_ = read_raters(source, files, raters)
    except Exception as error:
        return [f"the source cannot be read: {error}"] if task.claims["mask_digest"] else []
    return [] if digest(masks) == task.claims["mask_digest"] else ["masks differ from the source"]
