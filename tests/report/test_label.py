"""A report of one label of several: every number of the glance and of quality is of that label."""

import nibabel
import numpy as np
import pytest

import npczarr as npc
from npczarr.report.cohort_section import glance_blocks
from npczarr.report.contents import Contents
from npczarr.report.inputs import read_inputs
from npczarr.report.quality_section import quality_blocks

CONFIG = """
[layout]
images = "{patient}/{patient}_{sequence}.nii.gz"
masks = "{patient}/{patient}_seg.nii.gz"
[labels]
tumor = 1
node = 2
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Tumor on the first slice of P1 and P2, a node inside P1, none in P2; not measured."""
    root = tmp_path_factory.mktemp("label")
    for i, patient in enumerate(("P1", "P2")):
        mask = np.zeros((20, 20, 10), np.uint8)
        mask[3:8, 3:8, :5] = 1
        if patient == "P1":
            mask[12:17, 12:17, 5:8] = 2
        image = np.random.default_rng(i).integers(0, 99, mask.shape).astype(np.int16)
        (root / "data" / patient).mkdir(parents=True)
        for name, voxels in (("t1", image), ("seg", mask)):
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), root / f"data/{patient}/{patient}_{name}.nii.gz")
    (root / "c.toml").write_text(CONFIG)
    npc.convert(root / "data", root / "c.zarr", config=root / "c.toml", workers=0)
    return root / "c.zarr"


def of(inputs, problem):
    found = inputs.findings
    return found[found["problem"] == problem]


def tiles(inputs):
    return next(dict(block.pairs) for block in glance_blocks(inputs, Contents()) if hasattr(block, "pairs"))


def test_glance_and_quality_are_of_the_label(store):
    node, tumor = (read_inputs(store, label=label, workers=0) for label in ("node", "tumor"))
    assert (tiles(node)["outlines of node"], tiles(tumor)["outlines of tumor"]) == ("1", "2")
    assert of(node, "end slice").empty
    assert of(tumor, "end slice")["patient"].tolist() == ["P1", "P2"]
    assert of(tumor, "end slice")["reason"].str.startswith("tumor on the first or last slice").all()
    (empty,) = of(node, "empty mask").itertuples()
    assert (empty.patient, empty.reason) == ("P2", "the mask holds no node")
    assert "0 voxels of node" in empty.evidence
    assert of(tumor, "empty mask").empty
    assert all("125 voxels of tumor" in text for text in of(tumor, "end slice")["evidence"])


def test_the_coverage_counts_the_label_and_says_what_is_of_all(store):
    inputs = read_inputs(store, label="node", workers=0)
    blocks = quality_blocks(inputs, Contents())
    (table,) = (block for block in blocks if getattr(block, "caption", "").startswith("Coverage"))
    assert table.caption == "Coverage: where node lies in its volumes"
    heads, counts = ([cell.text for cell in line] for line in (table.head[0], table.rows[0]))
    found = dict(zip(heads, counts, strict=True))
    assert found["masks"] == "2"
    assert found["empty"] == "1"
    assert found["at the first or last slice"] == "0"
    assert "partly outside the image, all labels" in found
