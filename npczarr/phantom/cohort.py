"""A synthetic cohort in the published layout: planned first, then written patient by patient."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from npczarr.errors import ParameterError
from npczarr.phantom.anatomy import NoisePool, draw_tumour
from npczarr.phantom.plan import PATIENTS, PatientPlan, Size, plan_cohort
from npczarr.phantom.series import Placement, dicom_files, nifti_mask, place
from npczarr.phantom.tables import diagnoses, morphology, parameters

_MASK_NAMES = {"T1WI": "ROI-T1.nii", "T2WI": "ROI-T2.nii", "CE-T1WI": "ROI-CE-T1.nii"}
_RATED = 30  # patients outlined by two raters
_POOL_PIXELS = 640 * 640


@dataclass(frozen=True, slots=True)
class CohortSummary:
    """What was written."""

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


@dataclass(frozen=True, slots=True)
class _Done:
    label: str
    files: int
    written: int
    truth: dict[str, dict[str, Any]]
    raters: dict[str, bytes]


def make_cohort(
    out: str | Path,
    *,
    patients: int = PATIENTS,
    size: Size = "small",
    seed: int = 0,
    workers: int | None = None,
    reliability: bool = True,
    on_progress: Callable[[int, int, int], None] | None = None,
) -> CohortSummary:
    """Write a synthetic cohort; the same arguments give the same bytes, whatever the workers.

    Parameters
    ----------
    out
        Folder to create: `primary_data` in the published layout, `inner_reliability.zip` with two raters' masks, and
        `truth.json` with what was planted.
    patients
        277 give the counts of the paper's tables.
    size
        ``"small"``: 80 pixel matrices, tens of MB for all patients; ``"full"``: mostly 512, about 13 GB.
    seed
        Of everything random.
    workers
        Processes; 0 for this one, by default one a core.
    reliability
        Whether to write the raters' masks.
    on_progress
        Called with patients done, patients in all, and bytes written.

    Raises
    ------
    ParameterError
        If an argument makes no sense, or the folder is not empty.
    """
    target = Path(out).expanduser().resolve()
    if patients < 1 or size not in ("small", "full"):
        raise ParameterError(f"expected one or more patients of size small or full, got {patients} of size {size!r}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ParameterError(f"{target} is not an empty folder; choose another, nothing was written")
    plans = plan_cohort(patients, size, seed)
    jobs = [_Job(target, plan, size, seed, reliability and plan.index <= _RATED) for plan in plans]
    files = written = 0
    truth: dict[str, Any] = {}
    raters: dict[str, bytes] = {}
    for count, done in enumerate(_run(jobs, os.cpu_count() or 1 if workers is None else workers), 1):
        files, written = files + done.files, written + done.written
        truth[done.label] = done.truth
        raters |= done.raters
        if on_progress is not None:
            on_progress(count, patients, written)
    primary = target / "primary_data"
    volumes = {(p, s): entry["volume_cm3"] for p, scans in truth.items() for s, entry in scans.items()}
    texts = {
        primary / "info_diagnoses.csv": diagnoses(plans),
        primary / "meta_data.csv": parameters(plans),
        primary / "morphological_parameters.csv": morphology(plans, volumes),
        target / "truth.json": json.dumps(truth, indent=1),
    }
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    if reliability:
        _write_zip(target / "inner_reliability.zip", raters)
    return CohortSummary(patients, files + len(texts) + reliability, written)


def _run(jobs: list[_Job], workers: int) -> Iterator[_Done]:
    if workers == 0:
        yield from map(_write_patient, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_write_patient, jobs)


def _write_patient(job: _Job) -> _Done:
    folder = job.out / "primary_data/data/MRI-Segments" / job.plan.label
    files = written = 0
    truth: dict[str, dict[str, Any]] = {}
    raters: dict[str, bytes] = {}
    for number, scan in enumerate(job.plan.scans):
        rng = np.random.default_rng([job.seed, 2, job.plan.index, number])
        placement = place(scan, rng)
        # one seed for the three sequences: they show one tumour
        shape_seed = (job.seed, 3, job.plan.index)
        tumour = draw_tumour(placement.shape_zyx, placement.spacing_zyx_mm, scan.tumour_cm3, shape_seed)
        content, storage = nifti_mask(tumour, placement, rng)
        outputs = {folder / _MASK_NAMES[scan.sequence]: content}
        (folder / scan.sequence).mkdir(parents=True)
        for name, data in dicom_files(job.plan, scan, placement, tumour, _pool(job.seed), rng):
            outputs[folder / scan.sequence / name] = data
        for path, data in outputs.items():
            path.write_bytes(data)
        files += len(outputs)
        written += sum(len(data) for data in outputs.values())
        voxels = np.argwhere(tumour)
        truth[scan.sequence] = {
            "scanner": job.plan.scanner.model,
            "shape_zyx": placement.shape_zyx,
            "spacing_zyx_mm": placement.spacing_zyx_mm,
            "affine": placement.affine.tolist(),
            "mask": storage,
            "tumour_voxels": len(voxels),
            "tumour_box_zyx": [voxels.min(axis=0).tolist(), voxels.max(axis=0).tolist()],
            "volume_cm3": len(voxels) * float(np.prod(placement.spacing_zyx_mm)) / 1000,
        }
        if job.rated:
            raters |= _rate(job, scan.sequence, scan.tumour_cm3, placement)
    return _Done(job.plan.label, files, written, truth, raters)


def _rate(job: _Job, sequence: str, volume_cm3: float, placement: Placement) -> dict[str, bytes]:
    """Outline the tumour again as two raters would, on a coarser grid of the same field of view."""
    depth, rows, _ = placement.shape_zyx
    matrix = 256 if job.size == "full" else 64
    affine = placement.affine.copy()
    affine[:3, :2] *= rows / matrix
    affine[:3, 3] += (affine[:3, 0] + affine[:3, 1] - placement.affine[:3, 0] - placement.affine[:3, 1]) / 2
    step = placement.spacing_zyx_mm[1] * rows / matrix
    coarse = Placement(affine, (placement.spacing_zyx_mm[0], step, step), (depth, matrix, matrix))
    outlines = {}
    for rater in (1, 2):
        rng = np.random.default_rng([job.seed, 4, job.plan.index, len(sequence), rater])
        tumour = draw_tumour(
            coarse.shape_zyx,
            coarse.spacing_zyx_mm,
            volume_cm3 * rng.uniform(0.9, 1.1),
            (job.seed, 3, job.plan.index),
            roughness=0.28 * rng.uniform(0.8, 1.2),
        )
        content, _ = nifti_mask(tumour, coarse, rng)
        outlines[f"rater{rater}/{job.plan.label}/{_MASK_NAMES[sequence]}"] = content
    return outlines


@lru_cache(maxsize=1)
def _pool(seed: int) -> NoisePool:
    return NoisePool.draw(seed, _POOL_PIXELS)


def _write_zip(path: Path, members: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(members):  # a fixed date: the same cohort is the same bytes
            archive.writestr(zipfile.ZipInfo(name, (2025, 1, 1, 0, 0, 0)), members[name], zipfile.ZIP_DEFLATED)
    path.write_bytes(buffer.getvalue())
