"""A report shows no number of a mask that is no longer there, and says what to measure again."""

import shutil

import nibabel
import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.errors import ParameterError
from npczarr.report import figures, tables
from npczarr.report.page import write_report
from npczarr.report.table_text import labels
from npczarr.store.measured import changed_scans, held_to
from npczarr.store.zarr_library import consolidate

pytestmark = pytest.mark.slow  # measures cohorts again

CHANGED = ("001", "T1WI")


@pytest.fixture(scope="module")
def changed(source, store, tmp_path_factory):
    """The measured cohort, after one of its masks was replaced by a smaller one."""
    folder = tmp_path_factory.mktemp("changed")
    shutil.copytree(source / "primary_data", folder / "source")
    path = folder / "source/data/MRI-Segments/001/ROI-T1.nii"
    image = nibabel.load(path)
    mask = np.asarray(image.dataobj).copy()
    mask.ravel()[np.flatnonzero(mask)[::2]] = 0
    nibabel.Nifti1Image(mask.astype(np.uint8), None, image.header).to_filename(path)
    shutil.copytree(store, folder / "npc.zarr")
    npc.convert(folder / "source", folder / "npc.zarr", workers=0)
    return folder / "npc.zarr"


def test_results_are_held_to_the_scans_as_the_table_holds_them(changed, store):
    dataset, stored = npc.open(changed), npc.open(changed, group="morphology").load()
    held = held_to(stored, dataset)
    frame = dataset.npc.table().set_index(["patient", "sequence"])
    for name in ("volume", "voxel_count", "max_diameter"):
        flat = held[name].to_series()
        np.testing.assert_array_equal(flat.to_numpy(), frame.loc[flat.index, f"morphology.{name}"].to_numpy())
        assert list(flat.index[flat.isna()]) == [CHANGED]
    assert list(held.volume.dims) == list(stored.volume.dims)
    unchanged = npc.open(store, group="morphology").load()
    np.testing.assert_array_equal(held_to(unchanged, npc.open(store)).volume, unchanged.volume)


@pytest.mark.parametrize("select", [{"patient": "001"}, {"sequence": "T1WI"}, {"patient": ["002", "001"]}, {}])
def test_a_selection_is_held_to_its_own_scans(changed, select):
    dataset, stored = npc.open(changed).sel(select), npc.open(changed, group="morphology").load()
    found = held_to(stored, dataset)
    assert labels(found, "patient") == labels(dataset, "patient")
    assert int(changed_scans(stored, dataset).sum()) == 1
    assert np.isnan(found.volume.sel(patient="001", sequence="T1WI"))


def test_tables_and_figures_leave_out_what_changed(changed, monkeypatch):
    dataset, stored = npc.open(changed), npc.open(changed, group="morphology").load()
    table = tables.tumor_size(dataset, stored)
    assert table.loc["Volume, cm³", "n"] == "5 / 6 / 6"
    assert any("1 scan changed since measured" in note for note in table.attrs["notes"])
    drawn = []
    monkeypatch.setattr("npczarr.report.volumes.box", lambda axes, at, values, *_, **__: drawn.extend(values))
    figures.volume_by_stage(dataset, stored)
    assert len(drawn) == 17


def test_info_counts_scans_that_changed(changed, store):
    assert npc.info(store)["changed"] == {}
    about = npc.info(changed)
    assert about["results"] == ["morphology"]
    assert about["changed"] == {"morphology": 1}
    said = " ".join(CliRunner().invoke(app, ["info", str(changed)]).output.split())
    assert "morphology: 1 scan changed since measured; `npczarr morphology STORE` measures again" in said


def test_the_page_shows_no_number_of_a_mask_that_changed(changed, tmp_path):
    page = write_report(changed, tmp_path / "r.html", tables=tmp_path / "t", workers=0).read_text("utf-8")
    assert page.count("1 scan changed since the morphology was measured") == 2
    assert f"npczarr morphology {changed}" in page
    rows = (tmp_path / "t/tumors_by_patient.csv").read_text("utf-8-sig").splitlines()
    place = [name.strip('"') for name in rows[0].replace(", ", "; ").split(",")].index("Volume; cm³ T1WI")
    assert [row.split(",")[0] for row in rows[1:] if row.split(",")[place] == ""] == ["001"]
    npc.measure_store(changed_copy := _copy(changed, tmp_path), "morphology")
    page = write_report(changed_copy, tmp_path / "r.html", workers=0).read_text("utf-8")
    assert "changed since" not in page


def test_a_result_of_other_patients_shows_nothing(store, tmp_path):
    """As after a conversion of another cohort with --replace: no number is taken from a scan of another name."""
    dataset = npc.open(store)
    stored = npc.open(store, group="morphology").load()
    others = stored.assign_coords(patient=[f"1{label}" for label in stored.patient.values])
    found = held_to(others, dataset)
    assert labels(found, "patient") == labels(dataset, "patient")
    assert np.isnan(found.volume).all()
    assert not changed_scans(others, dataset).any()


def test_agreement_of_masks_that_changed_is_left_out(store, raters, tmp_path):
    copy = _copy(raters, tmp_path)
    digests = zarr.open_group(copy)["agreement/input_digest"]
    digests[0, 0] = "of an earlier mask"
    page = write_report(store, tmp_path / "r.html", reliability=copy, workers=0).read_text("utf-8")
    assert page.count("1 scan changed since the agreement was measured") == 2
    assert f"npczarr agreement {copy}" in page


def test_a_result_that_names_no_masks_is_not_shown(store, tmp_path):
    copy = _copy(store, tmp_path)
    shutil.rmtree(copy / "morphology/input_digest")
    consolidate(zarr.open_group(copy))
    page = write_report(copy, tmp_path / "r.html", workers=0).read_text("utf-8")
    assert "does not say which scans it was measured on" in page
    assert "Max diameter, cm" not in page


def test_a_store_of_no_raters_is_refused_as_that_of_raters(store, tmp_path):
    with pytest.raises(ParameterError, match=r"npc\.zarr: expected a store of several raters' masks"):
        write_report(store, tmp_path / "r.html", reliability=store, workers=0)
    assert not (tmp_path / "r.html").exists()


def _copy(store, folder):
    return shutil.copytree(store, folder / store.name)
