"""Validation of a whole store, scan by scan, and against its source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from npczarr.errors import ParameterError
from npczarr.graphs.repair_store import accept, repair_store
from npczarr.graphs.validate_scan import Checked, CheckTask, check_task
from npczarr.model.cohort import ScanFiles
from npczarr.model.progress import Meter, OnProgress
from npczarr.model.schema import RESAMPLING, SCAN_TABLES
from npczarr.runner import Idle, Runner
from npczarr.sources.config import load_config
from npczarr.sources.discover import discover
from npczarr.sources.files import Source, open_source
from npczarr.store.cohort import StoredCohort
from npczarr.store.describe import SALT
from npczarr.store.hierarchy import array, labels, open_group
from npczarr.store.lease import lease_is_held
from npczarr.store.location import Location, locate
from npczarr.store.storage_errors import translate_damage
from npczarr.store.validate import (
    CLAIMS,
    Finding,
    check_catalog,
    check_consolidated,
    check_interrupted,
    check_rows,
    check_schema_of,
    check_seal,
    check_tables,
)
from npczarr.store.whole import is_written_whole

_SMALL_VOXELS = 50_000_000  # read back in about the time that two processes take to start


class Findings(tuple[Finding, ...]):
    """What is wrong with a store; empty where all is well.

    Parameters
    ----------
    found
        The problems.
    imported
        Scans, ``"003/T1WI"``, whose mask was imported and is not the source's, which has the one that it replaced.
    """

    imported: tuple[str, ...]

    def __new__(cls, found: Iterable[Finding] = (), imported: Iterable[str] = ()) -> Self:
        """Hold the problems, as a tuple."""
        self = super().__new__(cls, found)
        self.imported = tuple(imported)
        return self


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
) -> Findings:
    """Check a store: schema, metadata as readers see them, the seal, digests of every voxel, masks, coordinates.

    Parameters
    ----------
    store
        Folder or URL of the store.
    against
        The source it was made from: every scan is read again and compared, voxel for voxel. The source of an
        imported mask must still have the mask that was replaced; such scans are named in `imported` of the result.
    repair
        Write again from the source what is damaged, put labels and attributes back, then check once more. A mask that
        was imported stays if it is whole itself; if it is lost, that is a finding. Damaged results are deleted.
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
    Findings
        What is wrong, and after a repair what still is; an empty tuple where all is well.

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
    return Findings([*left, *(Finding(patient, sequence, problem) for patient, sequence in given_up)], left.imported)


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


def _check(location: Location, against: str | Path | None, reading: _Reading) -> Findings:
    """Read everything back and return what is wrong."""
    with translate_damage(location.shown):
        root = open_group(location.open(read_only=True), location.shown, mode="r", whole=False)
        findings = check_schema_of(root) or check_tables(root, results=False)
        interrupted = check_interrupted(root)
        if findings:
            return Findings(interrupted or findings)
        damaged = check_tables(root, results=True)
        findings += interrupted + check_consolidated(root) + damaged
        findings += check_seal(root, held=lease_is_held(root.store))
        findings += [] if damaged else check_catalog(root)  # which reads the same tables
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
        of_scans, imported = _check_scans(tasks, reading, "here" if small else "processes")
        order = {label: i for i, label in enumerate(labels(root, "patient"))}
        ordered = sorted([*findings, *of_scans], key=lambda f: (order.get(f.patient, -1), f.sequence, f.problem))
        return Findings(ordered, [task.scan.label for task in tasks if task.scan.label in imported])


def _open_source(
    against: str | Path | None, reading: _Reading
) -> tuple[Source | None, Mapping[tuple[str, str], ScanFiles]]:
    """Open the source to compare with, and list its scans; nothing where there is none."""
    if against is None:
        return None, {}
    rules = load_config(reading.config)
    source = open_source(against, reading.source_options, rules.limits)
    return source, discover(source, rules).scans


def _check_scans(tasks: list[CheckTask], reading: _Reading, idle: Idle) -> tuple[list[Finding], set[str]]:
    """Read every scan back; return what is wrong, and the scans whose mask is an imported one."""
    findings, imported = [], set()
    with Runner(reading.workers, reading.scheduler, idle=idle) as runner:
        outcomes = runner.run(check_task, tasks, name=lambda task: f"validate-{task.scan.patient}-{task.scan.sequence}")
        meter = Meter(reading.on_progress, len(tasks), "scans")
        for task, outcome in outcomes:
            checked = outcome if isinstance(outcome, Checked) else Checked([f"cannot be checked: {outcome}"])
            findings += [Finding(task.scan.patient, task.scan.sequence, problem) for problem in checked.problems]
            imported |= {task.scan.label} if checked.imported else set()
            meter.add(counts={"damaged" if checked.problems else "sound": 1})
    return findings, imported
