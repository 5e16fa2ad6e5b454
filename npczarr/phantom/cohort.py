"""A synthetic cohort in the published layout: planned first, then written patient by patient."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.model.geometry import Grid
from npczarr.model.options import check_local
from npczarr.model.progress import Meter, OnProgress
from npczarr.model.published import PATIENTS
from npczarr.outputs import expanded
from npczarr.phantom.anatomy import draw_series
from npczarr.phantom.dicom import series_files, slice_order
from npczarr.phantom.nifti import MASK_NAMES, Storage, mask_file
from npczarr.phantom.noise import NoisePool
from npczarr.phantom.place import place_head, place_scan
from npczarr.phantom.plan import SIZES, PatientPlan, ScanPlan, Size, plan_cohort
from npczarr.phantom.raters import RATED, leave_outlines, pack_outlines
from npczarr.phantom.tables import diagnoses, morphology, parameters
from npczarr.phantom.tumor import Lumps, Measures, Tumor, bounding_box, measure
from npczarr.runner import Runner

_FEW = 24  # small patients are written in about the time that two processes take to start
_CENTER_MM = (3.0, -10.0, 2.0)  # of a tumor, in head space: the roof of the nasopharynx


@dataclass(frozen=True, slots=True)
class CohortSummary:
    """Number of patients, files and bytes written."""

    patients: int
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Job:
    out: Path
    plan: PatientPlan
    size: Size
    seed: int
    rated: bool


@dataclass(slots=True)
class _Done:
    """Files, truth and measures of a patient; the one record that is filled step by step."""

    label: str
    written: int = 0
    truth: dict[str, dict[str, Any]] = field(default_factory=dict)
    measures: dict[str, Measures] = field(default_factory=dict)

    def write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.written += len(content)


def make_cohort(
    out: str | Path,
    *,
    patients: int = PATIENTS,
    size: Size = "small",
    seed: int = 0,
    workers: int | None = None,
    scheduler: str | None = None,
    reliability: bool = True,
    on_progress: OnProgress | None = None,
) -> CohortSummary:
    """Write a synthetic cohort; the same seed gives the same bytes with any number of workers.

    Parameters
    ----------
    out
        Folder to create: `primary_data` in the published layout, `inner_reliability.zip` with two raters' masks, and
        `truth.json` with the planned geometry and tumors.
    patients
        277 give the counts of the paper's tables; fewer are the first of these, a fair sample with every scanner and
        stage from six on.
    size
        ``"small"``: mostly 64 pixel matrices and about 14 slices; ``"medium"``: 256 and 20, which look like a scan;
        ``"full"``: 512 and 30, as published.
    seed
        Seed of the random generator.
    workers
        Local worker processes; 0 for this process. By default the active ``distributed.Client``, or one a core; this
        process for up to 24 small patients.
    scheduler
        Address of a running scheduler instead. All workers must see the same folder `out`.
    reliability
        Whether to write the raters' masks.
    on_progress
        Called with a :class:`npczarr.Progress` at the start, and after each patient.

    Returns
    -------
    CohortSummary
        Number of patients, files and bytes.

    Raises
    ------
    ParameterError
        If an argument makes no sense, or the folder is not empty.
    """
    target = _checked_target(out, patients, size, seed)
    plans = plan_cohort(patients, size, seed)
    jobs = [_Job(target, plan, size, seed, reliability and plan.index <= RATED) for plan in plans]
    done: dict[str, _Done] = {}
    with Runner(workers, scheduler, idle="here" if size == "small" and patients <= _FEW else "processes") as runner:
        target.mkdir(parents=True, exist_ok=True)
        meter = Meter(on_progress, patients, "patients")
        for job, one in runner.run(_write_patient, jobs, name=lambda job: f"phantom-{job.plan.label}"):
            if isinstance(one, BaseException):
                raise one
            done[job.plan.label] = one
            meter.add(bytes=one.written)
    if reliability:
        pack_outlines(target)
    _write_tables(target, plans, [done[plan.label] for plan in plans])
    sizes = [path.stat().st_size for path in target.rglob("*") if path.is_file()]
    return CohortSummary(patients, len(sizes), sum(sizes))


def _checked_target(out: str | Path, patients: int, size: str, seed: int) -> Path:
    """Return the folder to write, once the arguments make sense."""
    check_local(out)
    target = expanded(out).resolve()
    if patients < 1 or seed < 0 or size not in SIZES:
        raise ParameterError(
            f"expected one or more patients, size small, medium or full and a seed from 0 on, "
            f"got {patients}, {size!r}, {seed}"
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ParameterError(f"{target} is not an empty folder; choose another, nothing was written")
    return target


def _write_patient(job: _Job) -> _Done:
    folder = job.out / "primary_data/data/MRI-Segments" / job.plan.label
    rng = np.random.default_rng([job.seed, 2, job.plan.index])
    head = place_head(rng)
    tumor = Tumor.draw(rng, head.to_lps(_CENTER_MM) + rng.normal(0, 3, 3))
    done = _Done(job.plan.label)
    for number, scan in enumerate(job.plan.scans):
        rng = np.random.default_rng([job.seed, 3, job.plan.index, number])
        grid = place_scan(scan, head, rng)
        mask = tumor.outline(grid, scan.tumor_cm3, Lumps.draw(rng, 0.03))
        storage = Storage.draw(rng)
        order = slice_order(scan.slices, rng)
        images = draw_series(scan.sequence, head, grid, mask, _pool(job.seed), rng)
        done.write(folder / MASK_NAMES[scan.sequence], mask_file(mask, grid, storage, rng))
        for name, content in series_files(job.plan, scan, grid, order, images, seed=job.seed, rng=rng):
            done.write(folder / scan.sequence / name, content)
        done.measures[scan.sequence] = measure(mask, grid.spacing_zyx_mm)
        done.truth[scan.sequence] = _truth(job.plan, scan, grid, mask, storage, order)
        if job.rated:
            leave_outlines(job.out, job.plan, number, tumor, grid, job.size, job.seed)
    return done


def _truth(
    patient: PatientPlan,
    scan: ScanPlan,
    grid: Grid,
    mask: NDArray[np.uint8],
    storage: Storage,
    order: NDArray[np.intp],
) -> dict[str, Any]:
    box = bounding_box(mask)
    return {
        "scanner": patient.scanner.model,
        "matrix": scan.matrix,
        "slices": scan.slices,
        "shape_zyx": grid.shape_zyx,
        "spacing_zyx_mm": (scan.slice_spacing_mm, scan.pixel_spacing_mm, scan.pixel_spacing_mm),
        "affine": grid.affine.tolist(),
        "z_by_file_name": order.tolist(),
        "mask": asdict(storage),
        "tumor_voxels": int(mask.sum()),
        "tumor_box_zyx": [[span.start for span in box], [span.stop - 1 for span in box]],
    }


def _write_tables(target: Path, plans: Sequence[PatientPlan], done: Sequence[_Done]) -> None:
    primary = target / "primary_data"
    measures = {(one.label, sequence): size for one in done for sequence, size in one.measures.items()}
    texts = {
        primary / "info_diagnoses.csv": diagnoses(plans),
        primary / "meta_data.csv": parameters(plans),
        primary / "morphological_parameters.csv": morphology(measures),
        target / "truth.json": json.dumps({one.label: one.truth for one in done}, indent=1),
    }
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8", newline="\n")


@lru_cache(maxsize=1)
def _pool(seed: int) -> NoisePool:
    return NoisePool.draw(seed)
