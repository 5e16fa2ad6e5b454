"""A dataset of nnU-Net: what it holds, what is refused, and how its predictions come back."""

import json
import shutil

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.errors import ParameterError
from npczarr.model.geometry import RAS_TO_LPS


@pytest.fixture(scope="module")
def aligned(store, tmp_path_factory):
    url = tmp_path_factory.mktemp("nnunet") / "aligned.zarr"
    npc.resample_store(store, url, like="T1WI", spacing=(4, 3, 3), purpose="training", workers=0)
    npc.split(url, name="fold", folds=3)
    return url


def test_it_holds_the_voxels_of_the_store(aligned, tmp_path):
    out = tmp_path / "Dataset501_NPC"
    found = npc.export_scans(aligned, out, format="nnunet", workers=0)
    assert [(one.patient, one.sequence, one.status) for one in found] == [
        (p, "T1WI", "written") for p in ("001", "002", "003")
    ]
    described = json.loads((out / "dataset.json").read_text())
    assert described == {
        "channel_names": {"0": "T1WI", "1": "T2WI", "2": "CE-T1WI"}, "labels": {"background": 0, "tumor": 1},
        "numTraining": 3, "file_ending": ".nii.gz",
    }  # fmt: skip
    ds = npc.open(aligned)
    for patient in ("001", "002", "003"):
        forms = []
        for channel, sequence in enumerate(ds.sequence.values):
            scan = ds.npc.scan(patient, sequence)
            file = nibabel.load(out / f"imagesTr/{patient}_{channel:04d}.nii.gz")
            real = scan.image.values * float(scan.rescale_slope[0]) + float(scan.rescale_intercept[0])
            inside = scan.image.values != -32768
            values = file.get_fdata().T
            np.testing.assert_allclose(values[inside], real[inside], rtol=1e-6, atol=1e-3)
            assert np.isfinite(values).all()
            assert (values[~inside] == values[inside].min()).all()
            np.testing.assert_allclose(file.affine, RAS_TO_LPS @ scan.affine.values, atol=1e-3)
            forms.append((file.shape, file.affine.tobytes()))
        label = nibabel.load(out / f"labelsTr/{patient}.nii.gz")
        np.testing.assert_array_equal(np.asarray(label.dataobj).T, ds.npc.scan(patient, "T1WI").mask)
        assert {*forms} == {(label.shape, label.affine.tobytes())}
    splits = json.loads((out / "splits_final.json").read_text())
    assert [sorted(one["train"] + one["val"]) for one in splits] == [["001", "002", "003"]] * 3
    assert sorted(p for one in splits for p in one["val"]) == ["001", "002", "003"]


@pytest.mark.slow
def test_predictions_come_back(aligned, tmp_path):
    copy, out = shutil.copytree(aligned, tmp_path / "copy.zarr"), tmp_path / "Dataset501_NPC"
    npc.export_scans(copy, out, format="nnunet", workers=0)
    predicted = tmp_path / "predicted"
    predicted.mkdir()
    file = nibabel.load(out / "labelsTr/002.nii.gz")
    values = np.asarray(file.dataobj).copy()
    values[tuple(np.argwhere(values)[0])] = 0
    nibabel.save(nibabel.Nifti1Image(values, file.affine, file.header), predicted / "002.nii.gz")
    score = npc.score(npc.open(copy), predicted, config=out / "predictions.toml").compute()
    dice = score.dice.sel(sequence="T1WI")
    assert 0.9 < float(dice.sel(patient="002")) < 1
    assert np.isfinite(score.dice).sum() == 1
    (one,) = npc.import_masks(copy, predicted, config=out / "predictions.toml", workers=0)
    assert (one.patient, one.sequence, one.status) == ("002", "T1WI", "replaced")
    assert npc.validate(copy, workers=0) == ()
    whole = {"size": (64, 200, 200), "where": "patient == '002'", "normalize": None}
    np.testing.assert_array_equal(  # facts that are kept are of the mask before: they are found anew
        npc.patches(copy, **whole)[0].masks[0, 0].sum(), (values > 0).sum()
    )


@pytest.mark.slow
def test_patients_for_testing_are_apart(store, tmp_path):
    npc.resample_store(store, tmp_path / "s.zarr", like="T1WI", spacing=(4, 3, 3), workers=0)
    part = npc.split(tmp_path / "s.zarr", shares={"train": 1 / 3, "val": 1 / 3, "test": 1 / 3}, seed=1)
    line = ["export", str(tmp_path / "s.zarr"), str(tmp_path / "out"), "--format", "nnunet", "--workers", "0"]
    assert CliRunner().invoke(app, line).exit_code == 0
    (test,) = part.index[part == "test"]
    assert (tmp_path / f"out/labelsTs/{test}.nii.gz").exists()
    assert len(list((tmp_path / "out/labelsTr").iterdir())) == 2
    (split,) = json.loads((tmp_path / "out/splits_final.json").read_text())
    assert split == {name: part.index[part == name].tolist() for name in ("train", "val")}
    assert json.loads((tmp_path / "out/dataset.json").read_text())["numTraining"] == 2


def test_what_nnunet_cannot_take_is_refused(store, tmp_path):
    with pytest.raises(ParameterError, match="--mask-of"):
        npc.export_scans(store, tmp_path / "a", format="nnunet")
    found = npc.export_scans(store, tmp_path / "b", format="nnunet", mask_of="T1WI", workers=0)
    assert {one.status for one in found} == {"failed"}
    assert all("lies on another grid than T1WI" in one.message for one in found)
    with pytest.raises(ParameterError, match="size"):
        npc.export_scans(store, tmp_path / "c", format="nnunet", size=32)
    one = npc.export_scans(store, tmp_path / "d", format="nnunet", sequences=["T2WI"], patients=["002"], workers=0)
    assert [(o.sequence, o.status) for o in one] == [("T2WI", "written")]
