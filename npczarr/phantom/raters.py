"""The reliability set: the same tumors outlined by two raters."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np

from npczarr.model.geometry import Grid
from npczarr.phantom.nifti import MASK_NAMES, Storage, mask_file
from npczarr.phantom.place import coarser
from npczarr.phantom.plan import PatientPlan, Size
from npczarr.phantom.tumor import Lumps, Tumor

RATED = 30  # patients, the first of the cohort
_MATRIX = {"small": 64, "medium": 128, "full": 256}
_FOLDER = ".outlines"  # where workers leave the masks until they are packed: thirty patients do not fit in memory


def leave_outlines(out: Path, plan: PatientPlan, number: int, tumor: Tumor, grid: Grid, size: Size, seed: int) -> None:
    """Outline the tumor of a patient's scan as two raters would, on a coarser grid of the same field of view."""
    scan = plan.scans[number]
    coarse = coarser(grid, _MATRIX[size])
    for rater in (1, 2):
        rng = np.random.default_rng([seed, 4, plan.index, number, rater])
        mask = tumor.outline(coarse, scan.tumor_cm3 * rng.uniform(0.92, 1.08), Lumps.draw(rng, 0.06))
        path = out / _FOLDER / f"rater{rater}" / plan.label / MASK_NAMES[scan.sequence]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mask_file(mask, coarse, Storage.draw(rng), rng))


def pack_outlines(out: Path) -> None:
    """Move the outlines into `inner_reliability.zip`."""
    folder = out / _FOLDER
    with zipfile.ZipFile(out / "inner_reliability.zip", "w") as archive:
        for path in sorted(folder.rglob("*.nii")):
            # a fixed date: the same cohort is the same bytes
            member = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (2025, 1, 1, 0, 0, 0))
            archive.writestr(member, path.read_bytes(), zipfile.ZIP_DEFLATED, compresslevel=1)
    shutil.rmtree(folder)
