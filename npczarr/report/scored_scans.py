"""The voxels of every scan, read once: quality scores and a thumbnail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npczarr.report.images import thumbnail
from npczarr.report.scores import Scores, score_image
from npczarr.runner import Meter, OnProgress, Runner
from npczarr.store.cohort import StoredCohort
from npczarr.store.scans import StoredScan


@dataclass(frozen=True, slots=True)
class ScoredScan:
    """Scores and a WebP picture of a scan, or the problem that hindered them."""

    scores: Scores | None
    picture: bytes = b""
    problem: str = ""


def score_scans(
    cohort: StoredCohort, runner: Runner, *, on_progress: OnProgress | None = None
) -> dict[tuple[str, str], ScoredScan]:
    """ScoredScan at every scan of a store that has an image.

    Parameters
    ----------
    cohort
        The store.
    runner
        Runs the tasks.
    on_progress
        Called when the scans to look at are known, and after each.

    Returns
    -------
    dict
        By patient and sequence, in the store's order. A scan that cannot be read is there with its problem: the others
        are looked at all the same.
    """
    scans = [scan for scan in cohort if scan.has_image]
    found = {}
    outcomes = runner.run(score_scan, scans, name=lambda scan: f"score-{scan.patient}-{scan.sequence}")
    meter = Meter(on_progress, len(scans), "scans")
    for scan, outcome in outcomes:
        seen = ScoredScan(None, problem=str(outcome)) if isinstance(outcome, BaseException) else outcome
        found[scan.patient, scan.sequence] = seen
        meter.add(counts={"failed" if seen.scores is None else "seen": 1})
    return {(scan.patient, scan.sequence): found[scan.patient, scan.sequence] for scan in scans}


def score_scan(scan: StoredScan) -> ScoredScan:
    """ScoredScan at one scan; of several raters' masks at the first."""
    image = np.nan_to_num(scan.image(), copy=False)  # a resampled scan may have no value there
    mask = scan.mask() if scan.has_mask else None
    if mask is not None and scan.raters:
        mask = mask[0]
    z, y, x = np.nan_to_num(scan.spacing_zyx_mm, nan=1.0).tolist()
    return ScoredScan(score_image(image, mask), thumbnail(image, mask, (z, y, x)))
