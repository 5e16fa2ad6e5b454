"""A cohort with two of everything that a store may hold several of: labels, visits, raters; four sequences."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from pydicom.dataset import Dataset

from npczarr.model.geometry import Grid
from tests.builders import nifti_image, noise, write_series

SEQUENCES = {"T1WI": "T1", "T2WI": "T2", "CE-T1WI": "CE-T1", "DWI": "DWI"}
RATERS = ("anna", "bert")
#: Visits of each subject; the others came once.
VISITS = {"N1": ("baseline", "month6"), "N2": ("baseline",), "N3": ("baseline",)}
LAYOUT = """
[layout]
images = "images/{patient}/{session}/{sequence}/**"
masks = "images/{patient}/{session}/ROI-{mask}.nii*"
raters = "raters/{rater}/{patient}/{session}/ROI-{mask}.nii*"
tables = "clinical.csv"

[sequences]
T1WI = { folder = "T1WI", mask = "T1" }
T2WI = { folder = "T2WI", mask = "T2" }
CE-T1WI = { folder = "CE-T1WI", mask = "CE-T1" }
DWI = { folder = "DWI", mask = "DWI" }

[labels]
tumor = 1
node = [2, 3]
"""
CLINICAL = "ID,Age,Sex,T stage,OS,OS status\nN1,50,M,T1,30,0\nN2,61,F,T3,12,1\nN3,44,M,T4,25,1\n"


def grid_of(subject: str, visit: str, sequence: str) -> Grid:
    """Axial grid of one scan; DWI is coarser, and the second visit lies elsewhere."""
    number = list(VISITS).index(subject)
    spacing = (4.0, 2.0, 2.0) if sequence == "DWI" else (4.0, 1.0, 1.0)
    shape = (6 + number, 16, 18) if sequence == "DWI" else (6 + number, 32, 36)
    affine = np.diag([*spacing[::-1], 1.0])
    affine[:3, 3] = (-18, -16 + 3 * (visit == "month6"), 5 * number)
    return Grid(shape, affine)


def outline(grid: Grid, *, visit: str = "baseline", grown_mm: float = 0.0) -> np.ndarray:
    """(z, y, x) uint8: 1 tumor, 2 and 3 nodes on both sides, which touch no tumor; smaller at the second visit."""
    centers = grid.affine[:3, 3] + np.stack(np.indices(grid.shape_zyx)[::-1], -1) @ grid.affine[:3, :3].T
    middle = (grid.affine @ [*(np.array(grid.shape_zyx[::-1]) - 1) / 2, 1])[:3]
    shrunk = 1.5 if visit == "month6" else 0.0
    mask = np.zeros(grid.shape_zyx, np.uint8)
    for value, offset, radius in ((1, 0.0, 6.5), (2, -11.0, 4.5), (3, 12.0, 4.0)):
        distance = np.linalg.norm(centers - (middle + np.array([offset, 0.0, 0.0])), axis=-1)
        mask[distance < radius - shrunk + grown_mm] = value
    return mask


def write_visits(root: Path, visits: tuple[str, ...] = ("baseline", "month6")) -> None:
    """Write the images, masks and clinical table of some visits, and the file that describes the layout."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "layout.toml").write_text(LAYOUT, encoding="utf-8")
    (root / "clinical.csv").write_text(CLINICAL, encoding="utf-8")
    for number, (subject, seen) in enumerate(VISITS.items()):
        for visit in set(seen) & set(visits):
            folder = root / "images" / subject / visit
            for s, (sequence, mask_name) in enumerate(SEQUENCES.items()):
                grid = grid_of(subject, visit, sequence)
                series = f"1.2.{number}.{int(visit == 'month6')}.{s}"
                study = f"1.2.9.{number}.{visit == 'month6':d}"

                def name_study(dataset: Dataset, z: int, study: str = study) -> None:
                    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = study, f"{study}.1"

                pixels = noise(grid, seed=10 * number + s + 100 * (visit == "month6"))
                write_series(folder / sequence, pixels, grid, series=series, edit=name_study)
                nibabel.save(nifti_image(outline(grid, visit=visit), grid), folder / f"ROI-{mask_name}.nii")


def write_raters(root: Path) -> None:
    """Write the outlines of two raters: of N1 at both visits, of N2 at the first."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "layout.toml").write_text(LAYOUT, encoding="utf-8")
    for rater, grown in zip(RATERS, (0.0, 0.6), strict=True):
        for subject, visit in (("N1", "baseline"), ("N1", "month6"), ("N2", "baseline")):
            folder = root / "raters" / rater / subject / visit
            folder.mkdir(parents=True, exist_ok=True)
            for sequence in ("T1WI", "T2WI"):
                grid = grid_of(subject, visit, sequence)
                mask = outline(grid, visit=visit, grown_mm=grown)
                nibabel.save(nifti_image(mask, grid), folder / f"ROI-{SEQUENCES[sequence]}.nii")
