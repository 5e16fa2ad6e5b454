"""The voxels of every scan, read once: quality scores and a thumbnail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npczarr.model.progress import Meter, OnProgress
from npczarr.report.scores import Scores, score_image
from npczarr.report.slice_view import SliceView
from npczarr.report.thumbnail import Thumbnail, thumbnail
from npczarr.runner import Runner
from npczarr.store.cohort import StoredCohort
from npczarr.store.scans import StoredScan


@dataclass(frozen=True, slots=True)
class ScoredScan:
    """Scores and a picture of a scan, or the problem that hindered them."""

    scores: Scores | None
    thumbnail: Thumbnail | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Task:
    """A scan to be scored, and the label whose voxels count; None: every label's."""

    scan: StoredScan
    label: int | None


def score_scans(
    cohort: StoredCohort, runner: Runner, *, label: int | None = None, on_progress: OnProgress | None = None
) -> dict[tuple[str, str], ScoredScan]:
    """Score every scan of a store that has an image.

    Parameters
    ----------
    cohort
        The store.
    runner
        Runs the tasks.
    label
        Number of the label that is outlined; None for all of them together.
    on_progress
        Called when the scans to score are known, and after each.

    Returns
    -------
    dict
        By patient and sequence, in the store's order. A scan that cannot be read has its problem there, and stops no
        other.
    """
    scans = [scan for scan in cohort if scan.has_image]
    found = {}
    tasks = [_Task(scan, label) for scan in scans]
    outcomes = runner.run(_score, tasks, name=lambda task: f"score-{task.scan.patient}-{task.scan.sequence}")
    meter = Meter(on_progress, len(scans), "scans")
    for task, outcome in outcomes:
        seen = ScoredScan(None, problem=str(outcome)) if isinstance(outcome, BaseException) else outcome
        found[task.scan.patient, task.scan.sequence] = seen
        meter.add(counts={"failed" if seen.scores is None else "seen": 1})
    return {(scan.patient, scan.sequence): found[scan.patient, scan.sequence] for scan in scans}


def _score(task: _Task) -> ScoredScan:
    """Score one scan; of several raters' masks the first counts."""
    scan = task.scan
    image = np.nan_to_num(scan.image(), copy=False)  # a resampled scan may have no value there
    mask = scan.mask() if scan.has_mask else None
    if mask is not None and scan.raters:
        mask = mask[0]
    if mask is not None and task.label is not None:
        mask = (mask == task.label).astype(np.uint8)
    assert scan.grid is not None, "a scan with an image has a grid"
    view = SliceView(scan.grid.affine, scan.grid.axis_positions_mm(), scan.spacing_zyx_mm)
    return ScoredScan(score_image(image, mask), thumbnail(image, mask, view))
