"""What reading a prediction found reaches whoever asks for scores or lesions, once for each file that is read."""

import json
import shutil

import dask
import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.graphs import predicted_files

CONFIG = """
[layout]
images = "{patient}/{patient}_{sequence}.nii.gz"
masks = "{patient}/{patient}_seg.nii.gz"
"""
LABELS = "[labels]\ntumor = 1\nnode = 3\n"
UNNAMED = "values that no declared label names are taken for background: 3 (75 voxels)"


def outline():
    """Tumor of 75 voxels, and a node of 75 whose number is the source's."""
    mask = np.zeros((20, 20, 10), np.uint8)
    mask[3:8, 3:8, 2:5] = 1
    mask[12:17, 12:17, 5:8] = 3
    return mask


def cohort(root, labels):
    for i in range(3):
        image = np.random.default_rng(i).integers(0, 99, (20, 20, 10)).astype(np.int16)
        (root / f"data/P{i}").mkdir(parents=True)
        for name, voxels in (("t1", image), ("seg", outline())):
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), root / f"data/P{i}/P{i}_{name}.nii.gz")
    (root / "c.toml").write_text(CONFIG + labels)
    npc.convert(root / "data", root / "c.zarr", config=root / "c.toml", workers=0)
    return root / "c.zarr"


def predictions(folder, voxels, patients=("P0", "P1", "P2"), shift=0.0):
    affine = np.eye(4)
    affine[:3, 3] = shift
    for patient in patients:
        (folder / patient).mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(voxels, affine), folder / patient / "ROI-t1.nii.gz")
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return cohort(tmp_path_factory.mktemp("labels"), LABELS)


@pytest.fixture(scope="module")
def source_numbers(tmp_path_factory):
    """The numbers of the source, of which the store has none called 3; of two of three patients."""
    return predictions(tmp_path_factory.mktemp("predicted") / "model", outline(), ("P0", "P1"))


@pytest.fixture
def reads(monkeypatch):
    """Patients whose prediction is read."""
    found = []
    read = predicted_files._read

    def count(source, scan, *rest):
        found.append(scan.files.patient)
        return read(source, scan, *rest)

    monkeypatch.setattr(predicted_files, "_read", count)
    return found


def test_a_score_has_the_message_of_each_scan_and_reads_no_file_twice(store, source_numbers, reads):
    lazy = npc.score(npc.open(store), source_numbers)
    assert lazy.message.dims == ("patient", "sequence")
    assert reads == []
    with dask.config.set(scheduler="sync"):
        found = lazy.compute()
        assert found.message.values.ravel().tolist() == [UNNAMED, UNNAMED, ""]
        assert sorted(reads) == ["P0", "P1"]
        one = npc.score(npc.open(store).sel(patient="P1", sequence="t1"), source_numbers)
        assert one.message.compute().item() == UNNAMED
    assert (npc.score(npc.open(store), store).message.compute() == "").all()


def test_lesions_warn_once_and_read_no_file_twice(store, source_numbers, reads):
    with (
        dask.config.set(scheduler="sync"),
        pytest.warns(UserWarning, match=r"^2 predictions, the first P0/t1: values that no declared label"),
    ):
        found = npc.lesions(npc.open(store), source_numbers)
    assert found.attrs["messages"] == {"P0/t1": UNNAMED, "P1/t1": UNNAMED}
    assert sorted(reads) == ["P0", "P1"]
    assert (found[found["label"] == "node"]["found"] == "missed").all()


@pytest.mark.slow
def test_a_stored_score_keeps_its_messages(store, source_numbers, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    for workers in (0, None):  # then as it is kept
        with pytest.warns(UserWarning, match="2 predictions, the first P0/t1: values that no declared label"):
            result, failures = npc.measure_store(copy, "score", predictions=source_numbers, workers=workers)
        assert failures == ()
        assert result.message.values.ravel().tolist() == [UNNAMED, UNNAMED, ""]
    table = npc.open(copy).npc.table()
    assert table["score/model.message"].tolist() == [UNNAMED, UNNAMED, ""]


@pytest.mark.slow
def test_a_prediction_that_cannot_be_read_leaves_the_messages_of_the_others(store, source_numbers, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    model = shutil.copytree(source_numbers, tmp_path / "model")
    (model / "P0/ROI-t1.nii.gz").write_bytes(b"broken")
    with pytest.warns(UserWarning, match="^prediction P1/t1: values"):
        result, failures = npc.measure_store(copy, "score", predictions=model, workers=0)
    assert [failure.patient for failure in failures] == ["P0"]
    assert result.message.values.ravel().tolist() == ["", UNNAMED, ""]


@pytest.mark.slow
def test_the_command_counts_what_is_alike(store, source_numbers, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    done = CliRunner().invoke(app, ["score", str(copy), str(source_numbers), "--workers", "0"])
    assert done.exit_code == 0
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("warning"))
    assert line.startswith("warning 2 predictions, the first P0/t1: values that no declared label names")
    done = CliRunner().invoke(app, ["score", str(copy), str(source_numbers), "--workers", "0", "--json"])
    told = json.loads(done.stdout)["warnings"]
    assert told == [{"patient": p, "sequence": "t1", "message": UNNAMED} for p in ("P0", "P1")]


WRONG = {
    "values of no label": (np.uint8(255) * (outline() > 0), 0.0, LABELS, "no declared label names .* 255"),
    "negative values": (-(outline().astype(np.int16)), 0.0, LABELS, "no declared label names .* -3"),
    "another grid": (np.where(outline() == 3, 2, outline()), 0.45, LABELS, r"lies 0.78 mm \(0.45 voxel\) off"),
    "two labels of a store of one": (outline(), 0.0, "", "labels 1 .* and 3 .* merged to tumor"),
    "inverted": ((outline() == 0).astype(np.uint8), 0.0, "", "covers .* is the mask inverted"),
    "probabilities": (
        ((outline() > 0) * np.float32(0.7)).astype(np.float32), 0.0, "", "a probability map.*: tumor is above 0.5"
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_what_makes_numbers_wrong_is_said(name, tmp_path):
    voxels, shift, labels, words = WRONG[name]
    store = cohort(tmp_path, labels)
    with pytest.warns(UserWarning, match=words):
        npc.measure_store(store, "score", predictions=predictions(tmp_path / "model", voxels, shift=shift), workers=0)
