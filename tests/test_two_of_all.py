"""Two labels, visits and raters, and four sequences, taken through everything: none is dropped or merged."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.errors import ParameterError
from npczarr.model.review import Mark
from npczarr.model.schema import Variable
from npczarr.store.create import add_columns
from npczarr.store.hierarchy import open_group
from npczarr.store.location import locate
from npczarr.store.review import Review
from tests.two_of_all import RATERS, SEQUENCES, VISITS, grid_of, outline, write_raters, write_visits

pytestmark = pytest.mark.slow

ROWS = [f"{subject}_ses-{visit}" for visit in ("baseline", "month6") for subject in VISITS if visit in VISITS[subject]]
LABELS = ["tumor", "node"]


def run(*arguments, code=0):
    """Run a command; what it printed."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The source, its store, to which the second visits were appended, and the store of the raters."""
    root = tmp_path_factory.mktemp("all")
    for visits in (("baseline",), ("month6",)):
        write_visits(root / "source", visits)
        run("convert", root / "source", root / "npc.zarr", "--config", root / "source/layout.toml", "--workers", 0)
    write_raters(root / "rated")
    run("convert", root / "rated", root / "raters.zarr", "--config", root / "rated/layout.toml", "--workers", 0)
    run("export", root / "npc.zarr", root / "nifti", "--format", "nifti", "--workers", 0)
    run("resample", root / "npc.zarr", root / "training.zarr", "--like", "T1WI", "--for", "training", "--workers", 0)
    return root


@pytest.fixture
def config(root):
    return root / "source/layout.toml"


def expected(row, sequence):
    """Mask of a scan with the labels' own numbers."""
    subject, _, visit = row.partition("_ses-")
    return np.minimum(outline(grid_of(subject, visit, sequence), visit=visit), 2)


def scans(dataset):
    """Every mask of a store without its padding."""
    for row in ROWS:
        for sequence in SEQUENCES:
            yield row, sequence, dataset.npc.scan(row, sequence).mask


def test_every_visit_sequence_and_label_is_in_the_store(root, config):
    ds = npc.open(root / "npc.zarr")
    assert [str(row) for row in ds.patient.values] == ROWS
    assert [str(sequence) for sequence in ds.sequence.values] == list(SEQUENCES)
    assert (ds.status == "ok").all()
    assert (ds.mask_status == "ok").all()
    for row, sequence, mask in scans(ds):
        np.testing.assert_array_equal(mask, expected(row, sequence), err_msg=f"{row}/{sequence}")
    about = json.loads(run("info", root / "npc.zarr", "--json"))
    assert (about["patients"], about["subjects"], about["labels"]) == (len(ROWS), len(VISITS), LABELS)
    assert about["scanners"] == {"Model 1": len(VISITS)}
    assert f"{len(VISITS)} patients, {len(ROWS)} visits" in run("info", root / "npc.zarr")
    assert not npc.validate(root / "npc.zarr", against=root / "source", config=config, workers=0)
    table = ds.npc.table()
    assert len(table) == len(ROWS) * len(SEQUENCES)
    assert table.groupby("subject").age.nunique().eq(1).all()
    assert table.age.notna().all()
    assert len(ds.npc.plot(ROWS[-1]).axes) >= len(SEQUENCES)


def test_scout_sees_visits_and_its_file_converts_them(root, tmp_path):
    found = npc.scout(root / "source")
    assert (found.layout, found.patients, found.scans) == ("visits", len(ROWS), len(ROWS) * len(SEQUENCES))
    (tmp_path / "scouted.toml").write_text(found.toml + "\n[labels]\ntumor = 1\nnode = [2, 3]\n")
    status = npc.convert(root / "source", tmp_path / "a.zarr", config=tmp_path / "scouted.toml", workers=0).status
    assert (status == "ok").all()
    assert status.shape == (len(ROWS), len(SEQUENCES))
    with pytest.raises(npc.SourceError, match="name of a visit"):
        npc.convert(root / "source", tmp_path / "b.zarr", workers=0)


def test_damage_is_named_and_a_resampled_store_is_not_held_against_a_source(root, config, tmp_path):
    copy = tmp_path / "npc.zarr"
    shutil.copytree(root / "npc.zarr", copy)
    with xr.open_zarr(copy) as ds:
        region = {"patient": slice(3, 4), "sequence": slice(3, 4)}
        nothing = xr.zeros_like(ds.mask.isel(region)).load().drop_vars(ds.coords, errors="ignore")
        nothing.to_dataset().to_zarr(copy, region=region | {a: slice(None) for a in "zyx"}, write_empty_chunks=True)
    assert {(one.patient, one.sequence) for one in npc.validate(copy) if one.patient} == {(ROWS[-1], "DWI")}
    with pytest.raises(ParameterError, match="resampled cohort"):
        npc.validate(root / "training.zarr", against=root / "source", config=config, repair=True)
    assert not npc.validate(root / "training.zarr")


def test_measures_are_of_each_label_visit_and_sequence(root):
    run("morphology", root / "npc.zarr", "--workers", 0, "--csv", root / "tumors.csv")
    rows = pd.read_csv(root / "tumors.csv")
    assert list(zip(rows.subject, rows.session, strict=True)) == [tuple(row.split("_ses-")) for row in rows.patient]
    found = npc.open(root / "npc.zarr", group="morphology")
    assert list(found.label.values) == LABELS
    for row in ROWS:
        for sequence in SEQUENCES:
            counts = found.voxel_count.sel(patient=row, sequence=sequence).values
            np.testing.assert_array_equal(counts, [(expected(row, sequence) == n).sum() for n in (1, 2)])
    table = npc.open(root / "npc.zarr").npc.table().set_index(["subject", "session", "sequence"])
    change = table["morphology.volume_change.node"]
    assert (change.xs("month6", level="session") < 0).all()
    assert change.xs("baseline", level="session").isna().all()


def test_visits_whose_order_nothing_tells_have_no_change_and_their_first_one_is_not_made_up(root, tmp_path):
    for subject in VISITS:
        for old, new in (("baseline", "pre"), ("month6", "post")):
            if old in VISITS[subject]:
                shutil.copytree(root / "source/images" / subject / old, tmp_path / "source/images" / subject / new)
    layout = (root / "source/layout.toml").read_text()
    told = layout.replace("[sequences]", '[sessions]\norder = ["pre", "post"]\n\n[sequences]')
    for name, text, warned in (("unknown", layout, 1), ("told", told, 0)):
        (tmp_path / f"{name}.toml").write_text(text)
        store = tmp_path / f"{name}.zarr"
        done = npc.convert(tmp_path / "source", store, config=tmp_path / f"{name}.toml", workers=0)
        assert sum("nothing tells the order of the visits of 1 subject" in w for w in done.table_warnings) == warned
        npc.measure_store(store, "morphology", workers=0)
    with pytest.warns(UserWarning, match=r"no change of volume where .*N1_ses-post, N1_ses-pre.*\[sessions\] order"):
        table = npc.open(tmp_path / "unknown.zarr").npc.table()
    assert not [name for name in table if "change" in name]
    table = npc.open(tmp_path / "told.zarr").npc.table().set_index(["subject", "session", "sequence"])
    assert (table["morphology.volume_change.node"].xs("post", level="session") < 0).all()
    assert table["morphology.volume_change.node"].xs("pre", level="session").isna().all()
    for name in ("unknown", "told"):
        page = tmp_path / f"{name}.html"
        run("report", tmp_path / f"{name}.zarr", "-o", page, "--workers", 0)
        assert "3 patients, 4 visits" in page.read_text()
        assert ("nothing tells the order of the visits" in page.read_text()) is (name == "unknown")


def test_raters_keep_visits_and_labels_and_their_interval_is_over_subjects(root):
    ds = npc.open(root / "raters.zarr")
    rated = ["N1_ses-baseline", "N1_ses-month6", "N2_ses-baseline"]
    assert [str(row) for row in ds.patient.values] == rated
    assert [str(r) for r in ds.rater.values] == list(RATERS)
    assert list(ds.subject.values) == ["N1", "N1", "N2"]
    assert (ds.mask.max(("z", "y", "x")) == 2).all()
    rows = json.loads(run("agreement", root / "raters.zarr", "--workers", 0, "--json"))["summary"]
    assert {row["sequence"] for row in rows} == {f"{s} {label}" for s in ("T1WI", "T2WI") for label in LABELS}
    assert {row["n"] for row in rows} == {3}
    exported = npc.export_scans(root / "raters.zarr", root / "rated-nifti", format="nifti", workers=0)
    assert {(one.rater, one.patient) for one in exported if one.files} == {(r, row) for r in RATERS for row in rated}


def test_masks_that_went_out_come_back_whole(root):
    result, failures = npc.measure_store(root / "npc.zarr", "score", predictions=root / "nifti")
    assert not failures
    assert result.dice.sizes == {"patient": len(ROWS), "sequence": len(SEQUENCES), "label": len(LABELS)}
    assert (result.dice == 1).all()
    found = npc.import_masks(root / "npc.zarr", root / "nifti")
    assert len(found) == len(ROWS) * len(SEQUENCES)
    assert {one.status for one in found} == {"kept"}


def test_predictions_that_fit_no_scan_are_named(root, tmp_path):
    shutil.copytree(root / "nifti", tmp_path / "unet")
    mask = tmp_path / "unet" / ROWS[0] / "ROI-T1.nii.gz"
    shutil.copy(mask, mask.with_name("ROI-FLAIR.nii.gz"))
    (tmp_path / "unet/N9").mkdir()
    shutil.copy(mask, tmp_path / "unet/N9")
    _, failures = npc.measure_store(root / "npc.zarr", "score", predictions=tmp_path / "unet")
    assert {(one.patient, one.sequence) for one in failures} == {(ROWS[0], "FLAIR"), ("N9", "T1WI")}
    refused = [one for one in npc.import_masks(root / "npc.zarr", tmp_path / "unet") if one.status == "refused"]
    assert {(one.patient, one.sequence) for one in refused} == {(ROWS[0], "FLAIR"), ("N9", "T1WI")}
    lesions = npc.lesions(npc.open(root / "npc.zarr"), root / "nifti")
    assert list(lesions.columns[:3]) == ["patient", "subject", "session"]
    pieces = lesions.groupby(["patient", "sequence", "label"]).size()
    assert (pieces.xs("tumor", level="label") == 1).all()
    assert (pieces.xs("node", level="label") == 2).all()
    assert len(pieces) == len(ROWS) * len(SEQUENCES) * len(LABELS)


def test_training_keeps_labels_and_never_parts_the_visits_of_a_subject(root):
    training = root / "training.zarr"
    for row in ROWS:
        masks = {s: npc.open(training).npc.scan(row, s).mask.values for s in SEQUENCES}
        np.testing.assert_array_equal(masks["T1WI"], expected(row, "T1WI"))
        assert all(set(np.unique(mask)) == {0, 1, 2} for mask in masks.values())
    parts = npc.split(training, name="part", shares={"train": 0.5, "val": 0.5})
    assert all(parts.groupby(parts.index.str.partition("_ses-").get_level_values(0)).nunique() == 1)
    batch = next(iter(npc.patches(training, size=(6, 32, 32), batch_size=2, where="part == 'train'", seed=1)))
    assert batch.images.shape == batch.masks.shape == (2, len(SEQUENCES), 6, 32, 32)
    assert set(np.unique(batch.masks)) == {0, 1, 2}
    assert {parts[patient] for patient in batch.patients} == {"train"}
    with pytest.raises(ParameterError, match="where chooses patients"):
        npc.open(training, where="sequence == 'DWI'")
    assert npc.open(training, where="subject == 'N1'").sizes["patient"] == 2


def test_nnunet_gets_folds_by_subject(root, tmp_path):
    run("export", root / "training.zarr", tmp_path, "--format", "nnunet", "--workers", 0)
    described = json.loads((tmp_path / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "tumor": 1, "node": 2}
    assert list(described["channel_names"].values()) == list(SEQUENCES)
    assert described["numTraining"] == len(ROWS)
    folds = json.loads((tmp_path / "splits_final.json").read_text())
    assert sorted(row for fold in folds for row in fold["val"]) == sorted(ROWS)
    for fold in folds:
        train, val = ({row.partition("_ses-")[0] for row in fold[part]} for part in ("train", "val"))
        assert train
        assert val
        assert not train & val


def test_a_column_that_parts_the_visits_of_a_subject_is_not_taken_without_a_word(root, tmp_path):
    copy = shutil.copytree(root / "training.zarr", tmp_path / "npc.zarr")
    named = np.array(["train", "test", "train", "test"], dtype=object)
    columns = {"fold": ("float64", np.array([0.0, 1, 0, 1])), "cohort": ("string", named)}
    variables = {name: (Variable(name, ("patient",), kind, name), values) for name, (kind, values) in columns.items()}
    add_columns(open_group(locate(copy, None).open(), str(copy)), variables)
    parted = r"parts the visits of 1 subject \(N1_ses-baseline is 'train', N1_ses-month6 'test'\)"
    with pytest.warns(UserWarning, match=f"'cohort' {parted}"):
        npc.patches(copy, size=8, where="cohort == 'train'")
    npc.patches(copy, size=8, where="session == 'baseline'")  # said so
    with pytest.raises(ParameterError, match=r"'fold' parts the visits of 1 subject \(N1_ses-baseline is '0'"):
        npc.export_scans(copy, tmp_path / "out", format="nnunet", workers=0)
    npc.export_scans(copy, tmp_path / "out", format="nnunet", patients=ROWS[:3], workers=0)
    assert len(json.loads((tmp_path / "out/splits_final.json").read_text())) == 2


def test_report_review_and_pack_hold_every_visit(root, tmp_path):
    Review(locate(root / "npc.zarr")).keep([Mark(ROWS[-1], "DWI", "exclude", "artifact")])
    run("report", root / "npc.zarr", "-o", tmp_path / "report.html", "--workers", 0)
    page = (tmp_path / "report.html").read_text()
    assert all(name in page for name in (*ROWS, *SEQUENCES))
    packed = npc.pack(root / "npc.zarr", tmp_path / "npc.zarr.zip")
    xr.testing.assert_equal(npc.open(packed.path).mask.compute(), npc.open(root / "npc.zarr").mask.compute())
    assert not npc.validate(root / "npc.zarr")


def test_a_cleaned_copy_keeps_visits_sequences_and_labels_without_their_dates(root, tmp_path):
    dated = tmp_path / "dated"
    shutil.copytree(root / "source", dated)
    for subject in VISITS:
        (dated / "images" / subject / "baseline").rename(dated / "images" / subject / "2019-03-04")
    config = dated / "layout.toml"
    done = npc.deidentify(dated, tmp_path / "clean", config=config, tables=["clinical.csv"], workers=0)
    assert not done.failed
    assert list(done.not_copied) == ["layout.toml"]
    assert npc.audit(tmp_path / "clean", workers=0).clean
    assert not [path for path in (tmp_path / "clean").rglob("*") if "2019" in path.name]
    npc.convert(tmp_path / "clean", tmp_path / "clean.zarr", config=config, workers=0)
    ds = npc.open(tmp_path / "clean.zarr")
    assert (ds.status == "ok").all()
    assert (ds.mask_status == "ok").all()
    assert ds.age.notnull().all()
    # a date and "month6" have no order: numbers would make one up
    rows = [f"{row.partition('_')[0]}_ses-visit-{'b' if row.endswith('6') else 'a'}" for row in ROWS]
    for row, clean in zip(ROWS, rows, strict=True):
        for sequence in SEQUENCES:
            np.testing.assert_array_equal(ds.npc.scan(clean, sequence).mask, expected(row, sequence))
