"""A dataset of nnU-Net: what it holds, what is refused, and how its predictions come back."""

import json
import shutil

import nibabel
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.errors import ParameterError, UnknownLabelError
from npczarr.export.nnunet_parts import folds_of, parts_by_patient
from npczarr.model.geometry import RAS_TO_LPS
from npczarr.model.schema import Variable
from npczarr.store.create import add_columns
from npczarr.store.hierarchy import open_group
from npczarr.store.location import locate

pytestmark = pytest.mark.slow  # exports a cohort, many times


@pytest.fixture(scope="module")
def aligned(store, tmp_path_factory):
    url = tmp_path_factory.mktemp("nnunet") / "aligned.zarr"
    npc.resample_store(store, url, like="T1WI", spacing=(4, 3, 3), purpose="training", workers=0)
    npc.split(url, name="fold", folds=3)
    return url


@pytest.fixture(scope="module")
def undivided(aligned, tmp_path_factory):
    """The same patients, one sequence of each, without a column that divides them."""
    url = tmp_path_factory.mktemp("nnunet") / "undivided.zarr"
    npc.open(aligned).sel(sequence=["T1WI"]).drop_vars("fold").to_zarr(url, consolidated=False)
    return url


def add(url, **columns):
    """Give a store columns of text."""
    variables = {
        name: (Variable(name, ("patient",), "string", name), np.array(values, dtype=object))
        for name, values in columns.items()
    }
    add_columns(open_group(locate(url, None).open(), str(url)), variables)
    return url


def with_columns(url, copy, **columns):
    return add(shutil.copytree(url, copy), **columns)


def export(url, out, **options):
    """Export for nnU-Net; what became of each patient."""
    found = npc.export_scans(url, out, format="nnunet", workers=0, **options)
    return {one.patient: one.status for one in found}


def cases(out):
    """The cases of each folder, by their labels, after all that describes them was held against it."""
    found = {name: sorted(path.name[:-7] for path in (out / f"labels{name}").glob("*")) for name in ("Tr", "Ts")}
    for name, patients in found.items():
        assert {path.name[:-12] for path in (out / f"images{name}").glob("*")} == set(patients)
    assert json.loads((out / "dataset.json").read_text())["numTraining"] == len(found["Tr"])
    assert all(sorted(fold["train"] + fold["val"]) == found["Tr"] for fold in folds(out))
    return found


def folds(out):
    path = out / "splits_final.json"
    return json.loads(path.read_text()) if path.exists() else []


def files(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def cohort_of(patients, **columns):
    """A cohort without scans."""
    return xr.Dataset({name: ("patient", values) for name, values in columns.items()}, {"patient": patients})


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


def test_visits_of_a_subject_stay_together_where_a_column_names_test_patients_only(undivided, tmp_path):
    subjects = ["A", "A", "B"]
    url = with_columns(undivided, tmp_path / "s.zarr", subject=subjects, split=["train"] * 3)
    export(url, tmp_path / "out")
    assert cases(tmp_path / "out") == {"Tr": ["001", "002", "003"], "Ts": []}
    assert sorted(fold["val"] for fold in folds(tmp_path / "out")) == [["001", "002"], ["003"]]


def test_folds_by_subject_are_of_those_who_are_not_for_testing():
    rows = [f"{subject}_ses-{visit}" for subject in "ABCD" for visit in (1, 2)]
    cohort = cohort_of(rows, split=["train"] * 6 + ["test"] * 2)
    found = folds_of(cohort, rows[:6], parts_by_patient(cohort, rows))
    assert sorted(fold["val"] for fold in found) == [rows[:2], rows[2:4], rows[4:6]]
    single = cohort_of(rows[::2], split=["train", "train", "train", "test"])
    assert folds_of(single, rows[:6:2], parts_by_patient(single, rows[::2])) == []  # nnU-Net makes them
    held_out = cohort_of(rows, split=["train"] * 4 + ["val"] * 2 + ["test"] * 2)
    assert folds_of(held_out, rows[:6], parts_by_patient(held_out, rows)) == [{"train": rows[:4], "val": rows[4:6]}]


def test_test_patients_of_either_column_are_apart_and_folds_are_those_of_fold(undivided, tmp_path):
    url = with_columns(undivided, tmp_path / "s.zarr", fold=["0", "1", "1"], split=["train", "val", "test"])
    export(url, tmp_path / "out")
    assert cases(tmp_path / "out") == {"Tr": ["001", "002"], "Ts": ["003"]}
    assert folds(tmp_path / "out") == [{"train": ["002"], "val": ["001"]}, {"train": ["001"], "val": ["002"]}]


def test_columns_together():
    rows = list("abcd")
    both = cohort_of(rows, fold=["0", "1", "test", ""], split=["train", "test", "train", "val"])
    assert parts_by_patient(both, rows) == {"a": "0", "b": "test", "c": "test", "d": ""}
    says_nothing = cohort_of(rows, fold=["0", "0", "0", "1"], split=["train", "val", "val", "test"])
    assert parts_by_patient(says_nothing, rows) == {"a": "train", "b": "val", "c": "val", "d": "test"}
    visits = ["A_ses-1", "A_ses-2", "B"]
    tested = cohort_of(visits, fold=["0", "test", "1"], split=["test", "", "train"])
    assert parts_by_patient(tested, visits) == {"A_ses-1": "test", "A_ses-2": "test", "B": "train"}
    parted = cohort_of(visits, fold=["0", "0", "1"], split=["train", "test", "train"])
    with pytest.raises(ParameterError, match=r"columns 'fold' and 'split' part the visits .* 'test'"):
        parts_by_patient(parted, visits)
    with pytest.raises(ParameterError, match=r"'split' parts the visits .*A_ses-1 is 'train', A_ses-2 'test'"):
        parts_by_patient(parted.drop_vars("fold"), visits)


@pytest.mark.parametrize(
    ("column", "words", "expected"),
    [
        ("split", ["Train", "Test", "VAL"], ["train", "test", "val"]),
        ("Split", ["training", "testing", "validation"], ["train", "test", "val"]),
        ("split", ["training set", "TEST", "valid"], ["train", "test", "val"]),
        ("split", ["train", "hold-out", " Held out "], ["train", "test", "test"]),
        ("split", ["Train", "Holdout", ""], ["train", "test", "train"]),
        ("split", ["0", "Fold 1", "test set"], ["0", "1", "test"]),
        ("split", [1.0, 2.0, np.nan], ["1", "2", ""]),
        ("fold", ["Site A", "contest", "Testing"], ["Site A", "contest", "test"]),
    ],
)
def test_words_for_training_and_testing_count_in_any_form(column, words, expected):
    rows = ["a", "b", "c"]
    assert list(parts_by_patient(cohort_of(rows, **{column: words}), rows).values()) == expected


@pytest.mark.parametrize(
    ("column", "word"),
    [("split", "tset"), ("split", "测试"), ("split", "-1"), ("fold", "external test"), ("Fold", "test 1")],
)
def test_words_that_may_mean_a_test_set_are_refused(column, word):
    rows = ["a", "b", "c"]
    cohort = cohort_of(rows, **{column: ["train", "train", word]})
    with pytest.raises(ParameterError, match=f"{column!r} says {word!r} of c.*test, testing, holdout"):
        parts_by_patient(cohort, rows)
    assert parts_by_patient(cohort, rows[:2]) == {"a": "train", "b": "train"}


def test_nothing_is_written_where_a_word_is_refused(undivided, tmp_path):
    url = with_columns(undivided, tmp_path / "s.zarr", split=["Train", "TEST", "external"])
    with pytest.raises(ParameterError, match="'external' of 003"):
        export(url, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export(url, tmp_path / "out", patients=["001", "002"])
    assert cases(tmp_path / "out") == {"Tr": ["001"], "Ts": ["002"]}


@pytest.mark.parametrize("values", [[0.5, 1.5, 2], [True, True, False], [[1, 1], [2, 2], [3, 3]]])
def test_a_column_of_other_values_is_refused(values):
    rows = ["a", "b", "c"]
    dims = ("patient", "sequence")[: np.ndim(values)]
    with pytest.raises(ParameterError, match="'split' would tell who is for testing"):
        parts_by_patient(cohort_of(rows).assign(split=(dims, values)), rows)


def test_a_second_export_leaves_the_cases_of_the_second(undivided, tmp_path):
    url, out = with_columns(undivided, tmp_path / "s.zarr", split=["0", "1", "test"]), tmp_path / "out"
    assert set(export(url, out).values()) == {"written"}
    assert cases(out) == {"Tr": ["001", "002"], "Ts": ["003"]}
    assert len(folds(out)) == 2
    before = files(out)
    assert set(export(url, out).values()) == {"kept"}
    assert files(out) == before
    add(url, split=["test", "train", "train"])
    assert export(url, out) == {"001": "written", "002": "kept", "003": "written"}
    assert cases(out) == {"Tr": ["002", "003"], "Ts": ["001"]}
    assert not folds(out)
    export(url, tmp_path / "fresh")
    assert files(out) == files(tmp_path / "fresh")


def test_cases_that_the_store_has_no_more_are_deleted(undivided, tmp_path):
    out = tmp_path / "out"
    export(undivided, out)
    fewer = tmp_path / "fewer.zarr"
    npc.open(undivided).sel(patient=["001", "002"]).to_zarr(fewer, consolidated=False)
    masks = npc.open(fewer).mask_status.load()
    masks.loc["002"] = "missing"
    masks.to_dataset().drop_vars(masks.coords).to_zarr(fewer, mode="r+", consolidated=False)
    assert export(fewer, out) == {"001": "kept", "002": "failed"}
    assert cases(out) == {"Tr": ["001"], "Ts": []}
    other = tmp_path / "other.zarr"
    npc.open(undivided).sel(patient=["003"]).to_zarr(other, consolidated=False)
    with pytest.raises(ParameterError, match="another cohort"):
        export(other, out)
    assert cases(out) == {"Tr": ["001"], "Ts": []}


def test_a_changed_mask_is_written_again(undivided, tmp_path):
    url, out = shutil.copytree(undivided, tmp_path / "s.zarr"), tmp_path / "out"
    export(url, out)
    edited = tmp_path / "edited"
    edited.mkdir()
    file = nibabel.load(out / "labelsTr/002.nii.gz")
    values = 1 - np.asarray(file.dataobj)
    nibabel.save(nibabel.Nifti1Image(values, file.affine, file.header), edited / "002.nii.gz")
    npc.import_masks(url, edited, config=out / "predictions.toml", workers=0)
    assert export(url, out) == {"001": "kept", "002": "written", "003": "kept"}
    np.testing.assert_array_equal(np.asarray(nibabel.load(out / "labelsTr/002.nii.gz").dataobj), values)


def test_patients_may_be_added_and_none_left_out(undivided, tmp_path):
    out = tmp_path / "out"
    export(undivided, out, patients=["002"])
    assert export(undivided, out, patients=["001", "002"]) == {"001": "written", "002": "kept"}
    assert cases(out) == {"Tr": ["001", "002"], "Ts": []}
    before = files(out)
    with pytest.raises(ParameterError, match="leave out, the first 001"):
        export(undivided, out, patients=["002", "003"])
    with pytest.raises(UnknownLabelError, match=r"'2'.*did you mean '002'"):
        export(undivided, out, patients=["2"])
    assert files(out) == before
    assert export(undivided, out) == {"001": "kept", "002": "kept", "003": "written"}


def test_a_folder_of_something_else_is_refused_and_left_as_it_is(aligned, undivided, tmp_path):
    out = tmp_path / "out"
    (out / "imagesTr").mkdir(parents=True)
    (out / "imagesTr/mine_0000.nii.gz").write_bytes(b"mine")
    with pytest.raises(ParameterError, match="holds no earlier export"):
        export(undivided, out)
    assert files(out) == {"imagesTr/mine_0000.nii.gz": b"mine"}
    out = tmp_path / "Dataset501_NPC"
    export(undivided, out)
    (out / "notes.txt").write_text("precious")
    assert set(export(undivided, out).values()) == {"kept"}
    for name in ("imagesTr/mine_0000.nii.gz", "splits_final.json"):
        (out / name).write_bytes(b"mine")
        before = files(out)
        with pytest.raises(ParameterError, match=f"no export wrote .*{name}"):
            export(undivided, out)
        assert files(out) == before
        (out / name).unlink()
    with pytest.raises(ParameterError, match="holds an export as"):
        export(aligned, out)


def test_a_run_that_was_killed_is_completed(undivided, tmp_path):
    url, out, killed = (
        with_columns(undivided, tmp_path / "s.zarr", split=["0", "1", "test"]),
        *map(tmp_path.joinpath, ("out", "killed")),
    )

    def copy(progress):
        if progress.done == 2:
            shutil.copytree(out, killed)  # no more than this is there when a process is killed

    export(url, out, on_progress=copy)
    (killed / "imagesTs").mkdir(exist_ok=True)
    (killed / "imagesTs/.0123abcd-003_0000.nii.gz").write_bytes(b"half")
    assert not (killed / "dataset.json").exists()
    export(url, killed)
    assert files(killed) == files(out)
    add(url, split=["test", "1", "0"])
    shutil.rmtree(killed)
    export(url, out, on_progress=lambda progress: progress.done == 1 and shutil.copytree(out, killed))
    assert not (killed / "dataset.json").exists()
    export(url, killed)
    assert cases(killed) == {"Tr": ["002", "003"], "Ts": ["001"]}
    assert files(killed) == files(out)


def test_a_case_that_cannot_be_read_leaves_no_files(undivided, tmp_path):
    url = shutil.copytree(undivided, tmp_path / "s.zarr")
    chunks = [path for path in (url / "mask/c/1").rglob("*") if path.is_file()]
    for path in chunks:
        path.write_bytes(b"damaged")
    assert chunks
    assert export(url, tmp_path / "out") == {"001": "written", "002": "failed", "003": "written"}
    assert cases(tmp_path / "out") == {"Tr": ["001", "003"], "Ts": []}


def test_a_test_patient_needs_no_mask(undivided, tmp_path):
    url = tmp_path / "s.zarr"
    ds = npc.open(undivided).load()
    ds.mask_status.loc[["002", "003"]] = "missing"
    ds.to_zarr(url, consolidated=False)
    add(url, split=["train", "train", "test"])
    found = {one.patient: one for one in npc.export_scans(url, tmp_path / "out", format="nnunet", workers=0)}
    assert {patient: one.status for patient, one in found.items()} == {
        "001": "written", "002": "failed", "003": "written",
    }  # fmt: skip
    assert found["002"].message == "T1WI has no mask: missing"
    assert found["003"].message == "T1WI has no mask: missing; images for testing, without a label"
    assert found["003"].files == ("imagesTs/003_0000.nii.gz",)
    assert {path for path in files(tmp_path / "out") if "/" in path} == {
        "imagesTr/001_0000.nii.gz", "labelsTr/001.nii.gz", "imagesTs/003_0000.nii.gz",
    }  # fmt: skip
