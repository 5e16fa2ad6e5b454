"""The voxels of every scan, read once: quality scores, a thumbnail, and the extent of a label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npczarr.kernels.scan import real_values
from npczarr.model.progress import Meter, OnProgress
from npczarr.model.slice_view import SliceView
from npczarr.report.scores import Scores, score_image
from npczarr.report.thumbnail import Thumbnail, thumbnail
from npczarr.runner import Runner
from npczarr.store.cohort import StoredCohort
from npczarr.store.scans import StoredScan


@dataclass(frozen=True, slots=True)
class ScoredScan:
    """What the voxels of a scan show, or the problem that hindered it.

    Parameters
    ----------
    scores, thumbnail
        Scores and a picture of its image; None where it has no image.
    problem
        Why the scan could not be read; "" where it was.
    mask_voxels, touches_end_slice
        Voxels of the label that is outlined, and whether one lies on the first or the last slice; None where there is
        no mask, or it was not read.
    """

    scores: Scores | None = None
    thumbnail: Thumbnail | None = None
    problem: str = ""
    mask_voxels: int | None = None
    touches_end_slice: bool | None = None


@dataclass(frozen=True, slots=True)
class _Task:
    """A scan to be scored, and the label whose voxels count; None: every label's."""

    scan: StoredScan
    label: int | None


def score_scans(
    cohort: StoredCohort, runner: Runner, *, label: int | None = None, on_progress: OnProgress | None = None
) -> dict[tuple[str, str], ScoredScan]:
    """Score every scan of a store that has an image; where a label is chosen, also look at masks without an image.

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
    scans = [scan for scan in cohort if scan.has_image or (label is not None and scan.has_mask)]
    found = {}
    tasks = [_Task(scan, label) for scan in scans]
    outcomes = runner.run(_score, tasks, name=lambda task: f"score-{task.scan.patient}-{task.scan.sequence}")
    meter = Meter(on_progress, len(scans), "scans")
    for task, outcome in outcomes:
        seen = ScoredScan(problem=str(outcome)) if isinstance(outcome, BaseException) else outcome
        found[task.scan.patient, task.scan.sequence] = seen
        meter.add(counts={"failed" if seen.problem else "seen": 1})
    return {(scan.patient, scan.sequence): found[scan.patient, scan.sequence] for scan in scans}


def _score(task: _Task) -> ScoredScan:
    """Score one scan; of several raters' masks the first counts."""
    scan = task.scan
    mask = scan.mask() if scan.has_mask else None
    if mask is not None and scan.raters:
        mask = mask[0]
    if mask is not None and task.label is not None:
        mask = (mask == task.label).astype(np.uint8)
    extent = (None, None) if mask is None else (int(np.count_nonzero(mask)), bool(mask[[0, -1]].any()))
    if not scan.has_image:
        return ScoredScan(None, None, "", *extent)
    image = real_values(scan.known_image(), scan.slope, scan.intercept)  # stored numbers may count from anywhere
    outside = ~np.isfinite(image)
    image[outside] = 0  # a resampled scan has no value there: as where a scanner has blanked the air
    scores = score_image(image, mask)
    image[outside] = image.min()  # in the picture it is black
    assert scan.grid is not None, "a scan with an image has a grid"
    view = SliceView(scan.grid.affine, scan.grid.axis_positions_mm(), scan.spacing_zyx_mm)
    return ScoredScan(scores, thumbnail(image, mask, view), "", *extent)
