"""What scout makes of the names of NIfTI files, and that its configuration converts them."""

import tomllib

import nibabel
import numpy as np
import pytest

import npczarr as npc
from npczarr.model.cohort import File
from npczarr.sources.config import load_config
from npczarr.sources.discover import discover
from npczarr.sources.files import open_source
from npczarr.sources.name_parts import put_fields
from npczarr.sources.scout_nifti import scout_nifti
from tests.builders import blob, nifti_image, noise, oblique_grid

LAYOUTS = {
    "folders": (["p1/t1.nii", "p1/t2.nii", "p2/t1.nii", "p1/mask.nii"], 3, 2),
    "begins": (["P-1/P-1_t1.nii.gz", "P-1/P-1_seg.nii.gz", "P-2/P-2_t1.nii.gz", "P-2/P-2_seg.nii.gz"], 2, 2),
    "each masked": (["p1/t1.nii", "p1/t2.nii", "p1/t1_mask.nii", "p2/t1.nii", "p2/t2.nii", "p2/t2_mask.nii"], 4, 2),
    "inner": (["p1/images/t1.nii", "p1/masks/t1.nii", "p2/images/t1.nii", "p2/masks/t1.nii"], 2, 2),
    "nnU-Net": (
        [f"d/images{part}_000{c}.nii.gz" for part in ("Tr/a_1", "Ts/b_2") for c in (0, 1)] + ["d/labelsTr/a_1.nii.gz"],
        4,
        2,
    ),
    "one channel": (
        ["imagesTr/a_001_0000.nii", "labelsTr/a_001.nii", "imagesTr/a_2_0000.nii", "labelsTr/a_2.nii"],
        2,
        2,
    ),
    "Decathlon": (["imagesTr/la_003.nii.gz", "labelsTr/la_003.nii.gz", "imagesTs/la_005.nii.gz"], 2, 1),
    "four digits": (
        ["imagesTr/c_0001.nii", "imagesTr/c_0002.nii", "labelsTr/c_0001.nii", "labelsTr/c_0002.nii"],
        2,
        2,
    ),
    "beside": (["images/X1.nii.gz", "images/X2.nii.gz", "masks/X1_mask.nii.gz", "masks/X2_mask.nii.gz"], 2, 2),
    "CT and PT": (
        [f"imagesTr/{p}__{s}.nii.gz" for p in ("CHUM-001", "CHUS-002") for s in ("CT", "PT")]
        + ["labelsTr/CHUM-001.nii.gz", "labelsTr/CHUS-002.nii.gz"],
        4,
        4,
    ),
    "flat sequences": (
        [f"{p}_{s}.nii" for p in ("npc_1", "npc_2") for s in ("T1", "CE_T1")]
        + ["npc_1_mask_CE_T1.nii", "npc_2_T1_roi.nii"],
        4,
        2,
    ),
    "flat": (["X_1.nii.gz", "X_1_mask.nii.gz", "X_2.nii.gz", "X_2_mask.nii.gz"], 2, 2),
    "by sequence": (["T1/a.nii", "T1/b.nii", "T2/a.nii", "T2/b.nii", "masks/a.nii", "masks/b.nii"], 4, 4),
    "parts": (["train/a1.nii", "train/a2.nii", "test/b1.nii", "train_labels/a1.nii", "train_labels/a2.nii"], 3, 2),
    "called tumor": (["images/tumor_1.nii", "images/tumor_2.nii", "masks/tumor_1.nii", "masks/tumor_2.nii"], 2, 2),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scout_reads_the_patterns_of_nifti_names(tmp_path, layout):
    paths, scans, masked = LAYOUTS[layout]
    for path in paths:
        (tmp_path / "c" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "c" / path).write_bytes(b"x")
    found = npc.scout(tmp_path / "c")
    assert (found.layout, found.scans, found.not_taken) == ("NIfTI", scans, ())
    (tmp_path / "a.toml").write_text(found.toml, encoding="utf-8")
    cohort = discover(open_source(tmp_path / "c"), load_config(tmp_path / "a.toml"))
    assert len(cohort.scans) == scans
    assert all(len(scan.images) == 1 for scan in cohort.scans.values())
    assert sum(len(scan.masks) == 1 for scan in cohort.scans.values()) == masked
    assert (cohort.strays, cohort.guesses) == ((), ())


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["Decathlon", "nnU-Net", "CT and PT", "flat sequences", "flat", "each masked"])
def test_what_scout_writes_converts(tmp_path, layout):
    paths, scans, masked = LAYOUTS[layout]
    grid = oblique_grid((4, 6, 8))
    for i, path in enumerate(paths):
        (tmp_path / "c" / path).parent.mkdir(parents=True, exist_ok=True)
        drawn = "label" in path or "mask" in path or "roi" in path
        voxels = nifti_image(blob(grid), grid) if drawn else nifti_image(noise(grid, seed=i), grid, dtype="int16")
        nibabel.save(voxels, tmp_path / "c" / path)
    (tmp_path / "a.toml").write_text(npc.scout(tmp_path / "c").toml, encoding="utf-8")
    result = npc.convert(tmp_path / "c", tmp_path / "a.zarr", config=tmp_path / "a.toml", workers=0)
    assert int(result["status"].isin(["ok", "warning"]).sum()) == scans, result["message"].values
    assert int((result["mask_status"] == "ok").sum()) == masked, result["message"].values
    assert result.attrs["strays"] == []
    masks = npc.open(tmp_path / "a.zarr")["mask"].sum(["z", "y", "x"]).values
    assert np.count_nonzero(masks == blob(grid).sum()) == masked


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["siteA/x1.nii", "siteA/x2.nii", "siteB/y1.nii", "siteB/y2.nii"], "are the folders the patients"),
        (["T1/a.nii", "T2/b.nii", "T1/c.nii"], "are these the patients"),
        (["i/c_0000.nii", "i/c_0001.nii"], "taken for channels of one patient"),
        (["i/a_1.nii", "i/a_2.nii", "i/b_1.nii", "i/b_2.nii"], "taken for patients, not for visits"),
        (["i/a_pre.nii", "i/a_post.nii", "i/b_pre.nii", "i/b_post.nii"], "post, pre may be visits"),
        (["i/a.nii", "i/b.nii", "masks/1.nii"], "hold no name of a patient"),
        (["i/a.nii", "i/b.nii", "i/a_seg1.nii", "i/a_tumor.nii", "i/a_gtv.nii"], "scans have several masks"),
        (["x/images/a.nii", "x/images/b.nii", "y/imagesTs/a.nii"], "patient a is in two places"),
    ],
)
def test_what_names_leave_open_is_said(paths, words):
    found = scout_nifti([File(path, 1, "") for path in paths])
    assert any(words in remark for remark in found.remarks), found.remarks
    assert any("# NOT SURE: " in line and words in line for line in found.toml.splitlines())
    tomllib.loads(found.toml)


def test_the_longest_name_between_separators_is_the_field():
    assert put_fields("p1_ce_t1_mask", {"p1", "p"}, ("T1", "CE_T1")) == "{patient}_{sequence}_mask"
    assert put_fields("mask-p10", {"p1"}, ()) == "mask-p10"
    assert put_fields("", {"p1"}, ("T1",)) == ""
