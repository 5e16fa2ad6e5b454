"""Small stores to report on: a plain cohort, its raters, one with every kind of problem, and a bare one."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

import npczarr as npc

#: A patient whose folder name would run as a script, close an attribute, or be read as mathematics.
HOSTILE = '"><img src=x onerror="document.title=1"><script>document.title=2<!--$\\frac{$'


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("report") / "cohort"
    npc.make_cohort(out, patients=6, workers=0)
    return out


@pytest.fixture(scope="session")
def store(source) -> Path:
    """Six patients, measured."""
    made = source.parent / "npc.zarr"
    npc.convert(source / "primary_data", made, workers=0)
    npc.measure_store(made, "morphology")
    return made


@pytest.fixture(scope="session")
def raters(source) -> Path:
    made = source.parent / "raters.zarr"
    npc.convert(source / "inner_reliability.zip", made, workers=0)
    npc.measure_store(made, "agreement")
    return made


@pytest.fixture(scope="session")
def troubled(source) -> Path:
    """A cohort in which a scan is refused, one missing, masks empty or at the last slice, and names are hostile."""
    copy = source.parent / "troubled"
    shutil.copytree(source / "primary_data", copy)
    patients = copy / "data/MRI-Segments"
    shutil.rmtree(patients / "001/T2WI")
    (patients / "001/ROI-T2.nii").unlink()
    series = sorted((patients / "002/T1WI").glob("*.dcm"))
    series[len(series) // 2].unlink()
    _edit(patients / "003/ROI-T1.nii", lambda mask: np.zeros_like(mask))
    _edit(patients / "004/ROI-CE-T1.nii", _through)
    (patients / "006").rename(patients / HOSTILE)
    table = copy / "info_diagnoses.csv"
    stage = "<script>document.title=3</script>"
    table.write_text(table.read_text(encoding="utf-8").replace("4b", stage), encoding="utf-8")
    made = source.parent / "troubled.zarr"
    npc.convert(copy, made, workers=0)
    npc.measure_store(made, "morphology")
    return made


@pytest.fixture(scope="session")
def bare(source) -> Path:
    """One patient, one sequence, no mask, no table, nothing measured."""
    copy = source.parent / "bare"
    shutil.copytree(source / "primary_data/data/MRI-Segments/001/T1WI", copy / "001/T1WI")
    config = source.parent / "bare.toml"
    config.write_text('[sequences]\nT1WI = { folder = "T1WI", mask = "T1" }\n')
    made = source.parent / "bare.zarr"
    npc.convert(copy, made, workers=0, config=config)
    return made


def _edit(path: Path, change) -> None:
    image = nibabel.load(path)
    changed = change(np.asarray(image.dataobj))
    nibabel.Nifti1Image(changed.astype(np.uint8), None, image.header).to_filename(path)


def _through(mask: np.ndarray) -> np.ndarray:
    """Tumor from the first slice to the last."""
    middle = mask.any(axis=2)
    return np.repeat(middle[..., None], mask.shape[2], axis=2)
