"""Outlines in a cleaned copy: found by `convert` as in the source, under names that tell nobody."""

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest

import npczarr as npc
from npczarr.model.cohort import File
from npczarr.model.limits import Limits
from npczarr.privacy.audit import audit
from npczarr.privacy.clean import clean_dicom
from npczarr.privacy.deidentify import deidentify
from npczarr.privacy.names import Names, plan
from npczarr.privacy.record import Record
from npczarr.sources.config import SourceConfig
from tests.builders import write_cohort
from tests.sources.structures.build import (
    SECRET,
    box,
    contour_item,
    rtstruct_dataset,
    save,
    seg_dataset,
    straight_grid,
    to_mm,
)

KEY = b"a secret of many bytes"
LAYOUT = """
[layout]
images = "{{patient}}/{{sequence}}/**"
structures = ["{{patient}}/{folder}/**"]
[sequences]
T1WI = {{ folder = "T1WI", mask = "T1" }}
[labels]
tumor = "GTV*"
"""


@pytest.fixture
def source(tmp_path):
    """Return a function that makes a cohort with outlines of the T1WI in a folder of each patient."""

    def make(folder):
        root = tmp_path / "source"
        scans = write_cohort(root, patients=("001", "002"))
        for p, patient in enumerate(("001", "002")):
            grid = scans[patient, "T1WI"][2]
            contours = [contour_item(to_mm(grid, box(2, 2, 6, 5), z)) for z in range(grid.shape_zyx[0])]
            dataset = rtstruct_dataset({"GTV Zimmermann": contours}, series=f"1.2.{p}.0")
            for path in (root / "data/MRI-Segments" / patient).glob("*.nii"):
                os.remove(path)
            place = root / "data/MRI-Segments" / patient / folder
            place.mkdir()
            (place / "plan.dcm").write_bytes(save(dataset))
        return root

    return make


def outlined(source: Path, store: Path, config: Path | None) -> np.ndarray:
    npc.convert(source, store, config=config, workers=0)
    return npc.open(store).mask.sel(sequence="T1WI").values > 0


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "declared"), [("plan", True), ("RTSTRUCT", True), ("RTSTRUCT", False)])
def test_convert_finds_the_outlines_of_a_copy_as_those_of_its_source(source, tmp_path, folder, declared):
    cohort, config = source(folder), None
    if declared:
        config = tmp_path / "layout.toml"
        config.write_text(LAYOUT.format(folder=folder))
    before = outlined(cohort, tmp_path / "before.zarr", config)
    assert before.sum() > 100
    done = deidentify(cohort, tmp_path / "out", config=config, workers=0)
    assert not done.failed
    assert {path.parent.name for path in (tmp_path / "out").rglob("00001.dcm")} >= {folder}
    np.testing.assert_array_equal(outlined(tmp_path / "out", tmp_path / "after.zarr", config), before)
    assert audit(tmp_path / "out", workers=0).clean


def segments(*labels):
    grid = straight_grid((1, 8, 8))
    frames = [(n, 0, np.ones(grid.shape_zyx[1:], bool)) for n in range(1, len(labels) + 1)]
    dataset = seg_dataset(grid, frames, labels=labels)
    dataset.ContentLabel, dataset.ContentDescription = "ZIMMERMANN", "seen by Zimmermann"
    for one in dataset.SegmentSequence:
        one.SegmentAlgorithmName = "drawn by Zimmermann"
    return save(dataset)


@pytest.mark.parametrize(
    ("rois", "kept"),
    [
        ((), ["tumour", "Tumor", "Segment 3", "Segment 4", "Segment 5"]),
        (("geschwulst", "node*"), ["tumour", "Tumor", "Geschwulst", "node", "node"]),
    ],
)
def test_labels_of_segments_are_treated_as_names_of_structures(tmp_path, rois, kept):
    labels = ("tumour", "Tumor Zimmermann 14.3.1962", "Geschwulst", "Node Doe R", "Node_Miller")
    cleaned = clean_dicom(segments(*labels), KEY, "001", Limits(), rois)
    assert not any(word in cleaned for word in (b"immermann", b"IMMERMANN", b"1962", b"Miller", b"Doe"))
    (tmp_path / "001").mkdir()
    (tmp_path / "001" / "1.dcm").write_bytes(cleaned)
    found = pydicom.dcmread(tmp_path / "001" / "1.dcm")
    assert [one.SegmentLabel for one in found.SegmentSequence] == kept
    assert SECRET not in str(found)
    found = {one.name for one in audit(tmp_path, workers=0).findings}
    assert found == ({"SegmentLabel"} if rois else set())  # the audit does not know what was declared


@pytest.mark.parametrize("strict", [False, True])
def test_folders_of_outlines_keep_their_names_in_the_folder_of_a_patient_with_images(strict):
    paths = ["A/001/T1WI/1.dcm", "A/001/RTSTRUCT/x.dcm", "A/001/plan.dcm", "A/Doe/SEG/x.dcm"]
    names = Names(SourceConfig(), strict=strict, record=Record(KEY))
    copies, ignored = plan([File(path, 0, "") for path in paths], (), names)
    of_patient = {copy.path: copy.target for copy in copies if copy.patient == "001"}
    assert of_patient == {
        "A/001/T1WI/1.dcm": "folder-001/001/T1WI/00001.dcm",
        "A/001/RTSTRUCT/x.dcm": "folder-001/001/RTSTRUCT/00001.dcm",
        "A/001/plan.dcm": "folder-001/001/00001.dcm",
    }
    assert list(ignored) == (["A/Doe/SEG/x.dcm"] if strict else [])
    assert not any("Doe" in copy.target for copy in copies)
