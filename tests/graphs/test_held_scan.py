"""What a store holds whole is never given up because its source has got worse, and the run says so by name."""

import os
import shutil

import nibabel
import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.export.back import import_masks
from npczarr.graphs import store_writer
from npczarr.model.imported import GONE
from npczarr.store.hierarchy import open_group
from npczarr.store.location import locate
from npczarr.store.rows import Rows
from tests.builders import write_cohort
from tests.store.small import snapshot

pytestmark = pytest.mark.slow  # converts cohorts again

SERIES = "data/MRI-Segments/001"
KEY = ("001", "T1WI")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A source of two patients, and its store with a mask that was imported for 001/T1WI."""
    root = tmp_path_factory.mktemp("held")
    write_cohort(root / "source", patients=("001", "002"))
    npc.convert(root / "source", root / "a.zarr", workers=0)
    image = nibabel.load(root / "source" / SERIES / "ROI-T1.nii")
    voxels = np.asarray(image.dataobj).copy()
    voxels[..., np.flatnonzero(voxels.any((0, 1)))[0]] = 0
    (root / "edited/001").mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine), root / "edited/001/ROI-T1.nii")
    (one,) = import_masks(root / "a.zarr", root / "edited")
    assert one.status == "replaced"
    return root


@pytest.fixture
def source(made, tmp_path):
    return shutil.copytree(made / "source", tmp_path / "source")


@pytest.fixture
def store(made, tmp_path):
    return shutil.copytree(made / "a.zarr", tmp_path / "a.zarr")


def content(store):
    """Every object but the one that says when tables may have changed."""
    return {key: value for key, value in snapshot(store).items() if key != "status/epoch"}


def slices(source, sequence="T1WI"):
    """Files of a series, in the order of their positions."""
    paths = (source / SERIES / sequence).glob("*.dcm")
    return sorted(paths, key=lambda path: pydicom.dcmread(path).ImagePositionPatient[2])


def cut(source):
    path = slices(source)[1]
    path.write_bytes(path.read_bytes()[:-30])


def no_images(source):
    shutil.rmtree(source / SERIES / "T1WI")


def no_files(source):
    no_images(source)
    (source / SERIES / "ROI-T1.nii").unlink()


def hole(source):
    slices(source)[1].unlink()


def too_large(source):
    for path in slices(source):
        one = pydicom.dcmread(path)
        one.Rows, one.Columns, one.PixelData = 60000, 1, bytes(2 * 60000)
        one.save_as(path)


def no_mask(source):
    (source / SERIES / "ROI-T1.nii").unlink()


def bad_mask(source):
    (source / SERIES / "ROI-T1.nii").write_bytes(b"no mask")


def fewer_slices(source):
    slices(source)[-1].unlink()


WORSE = {
    cut: "the source cannot be used now (file",
    no_images: "the source has a mask but no images now",
    no_files: "the source has no files now",
    hole: "the source cannot be used now (",
    too_large: "over the limit of 10000",
    no_mask: "the source has no mask that can be used now (no mask)",
    bad_mask: "the source has no mask that can be used now (mask refused: the mask is not a whole NIfTI file",
    fewer_slices: "the source had 4 slices and has 3 now, which are as they were",
}


@pytest.mark.parametrize("worsen", WORSE)
def test_a_source_that_got_worse_takes_nothing_and_the_scan_is_named(source, store, worsen, tmp_path):
    whole = shutil.copytree(source, tmp_path / "whole")
    before = content(store)
    worsen(source)
    for _ in range(2):  # the next run tries again
        result = npc.convert(source, store, workers=0)
        one = result.sel(patient="001", sequence="T1WI")
        assert (str(one.action.values), str(one.status.values)) == ("kept", "warning")
        message = str(one.message.values)
        assert message.startswith("kept as it is stored: ")
        assert WORSE[worsen] in message
        assert (
            "restore the source and convert again, or take what it has and remove what it has not with --rewrite"
            in message
        )
        assert result.attrs["source_worse"] == ["001/T1WI"]
        assert result.attrs["masks_gone"] == []
        assert (result.status.values.ravel()[1:] == "ok").all()
        assert content(store) == before
    found = CliRunner().invoke(app, ["convert", str(source), str(store), "--workers", "0"])
    assert found.exit_code == 1
    assert "001/T1WI  kept as it is stored" in found.stdout
    assert npc.validate(store, workers=0) == ()
    assert [(one.patient, one.sequence) for one in npc.validate(store, against=source, workers=0)][:1] == [KEY]
    shutil.rmtree(source)
    shutil.copytree(whole, source)
    assert npc.convert(source, store, workers=0).attrs["source_worse"] == []
    assert content(store) == before
    assert npc.validate(store, against=source, workers=0).imported == ("001/T1WI",)


@pytest.mark.parametrize("asked", ["001/T1WI", "001"])
def test_who_asks_for_what_the_source_has_gets_it(source, store, asked):
    cut(source)
    result = npc.convert(source, store, rewrite=[asked], workers=0)
    one = result.sel(patient="001", sequence="T1WI")
    assert (str(one.action.values), str(one.status.values)) == ("none", "refused")
    assert str(one.message.values).startswith(f"{GONE}: the source has none that can be used; file")
    assert not [key for key in snapshot(store) if key.startswith(("image/c/0/0/", "mask/c/0/0/"))]
    assert npc.validate(store, workers=0) == ()


def test_a_scan_of_which_there_is_no_file_can_be_given_up(source, store):
    no_files(source)
    result = npc.convert(source, store, rewrite=["001/T1WI"], workers=0)
    assert result.status.sel(patient="001", sequence="T1WI") == "missing"
    assert npc.validate(store, workers=0) == ()


def test_a_sequence_that_is_gone_for_all_is_named(source, store):
    for folder in (source / "data/MRI-Segments").iterdir():
        shutil.rmtree(folder / "T2WI")
        (folder / "ROI-T2.nii").unlink()
    result = npc.convert(source, store, workers=0)
    said = "the store holds 2 scans of sequences that this source does not have, and keeps them: 001/T2WI, 002/T2WI"
    assert said in result.attrs["remarks"] or result.attrs["source_worse"] == ["001/T2WI", "002/T2WI"]
    assert (npc.open(store).status == "ok").all()


def test_a_source_of_other_scans_of_a_patient_has_lost_none(source, store):
    npc.convert(source, store, workers=0)
    fresh = shutil.copytree(source, source.parent / "fresh")
    shutil.rmtree(fresh / "data/MRI-Segments/002")
    for name in ("T1WI", "CE-T1WI"):
        shutil.move(fresh / SERIES / name, fresh.parent / name)
    for name in ("ROI-T1.nii", "ROI-CE-T1.nii"):
        (fresh / SERIES / name).unlink()
    other = source.parent / "b.zarr"
    npc.convert(fresh, other, workers=0)
    shutil.rmtree(fresh / SERIES / "T2WI")
    (fresh / SERIES / "ROI-T2.nii").unlink()
    shutil.move(fresh.parent / "T1WI", fresh / SERIES / "T1WI")
    result = npc.convert(fresh, other, workers=0)
    assert result.attrs["source_worse"] == []
    assert result.attrs["remarks"] == []


def test_a_shorter_scan_of_other_voxels_is_a_change_that_is_said(source, store):
    slices(source)[-1].unlink()
    for path in slices(source):
        one = pydicom.dcmread(path)
        one.PixelData = bytes([one.PixelData[0] ^ 1]) + one.PixelData[1:]
        one.save_as(path)
    result = npc.convert(source, store, workers=0)
    one = result.sel(patient="001", sequence="T1WI")
    assert (str(one.action.values), str(one.status.values)) == ("replaced", "warning")
    assert "had 4 slices, now 3: check the series for missing files" in str(one.message.values)
    assert npc.validate(store, against=source, workers=0) == ()


def test_a_run_that_was_killed_before_it_wrote_takes_nothing_either(source, store):
    before = content(store)
    cut(source)
    Rows(open_group(locate(store).open(), str(store))).mark_pending([KEY])
    result = npc.convert(source, store, workers=0)
    assert result.attrs["source_worse"] == ["001/T1WI"]
    assert content(store) == before


@pytest.mark.parametrize("name", ["image", "mask"])
def test_what_a_killed_run_has_left_whole_stays_pending(source, store, name):
    whole = shutil.copytree(source, source.parent / "whole")
    before = npc.open(store).sel(patient="001", sequence="T1WI").load()
    cut(source)
    Rows(open_group(locate(store).open(), str(store))).mark_pending([KEY])
    damaged = next(path for path in (store / name / "c/0/0").rglob("*") if path.is_file())
    damaged.write_bytes(b"half")
    result = npc.convert(source, store, workers=0)
    one = result.sel(patient="001", sequence="T1WI")
    assert (str(one.action.values), str(one.status.values)) == ("kept", "pending")
    assert str(one.message.values).startswith("kept as an interrupted run left it: ")
    found = [one.problem for one in npc.validate(store, against=source, workers=0)]
    assert any("the source cannot be read: file" in problem for problem in found)
    npc.convert(whole, store, workers=0)
    after = npc.open(store).sel(patient="001", sequence="T1WI").load()
    np.testing.assert_array_equal(after.image, before.image)
    assert np.array_equal(after.mask, before.mask) == (name == "image")
    assert npc.validate(store, workers=0) == ()


def test_what_a_killed_run_has_left_of_nothing_is_refused(source, store):
    cut(source)
    Rows(open_group(locate(store).open(), str(store))).mark_pending([KEY])
    for name in ("image", "mask"):
        next(path for path in (store / name / "c/0/0").rglob("*") if path.is_file()).write_bytes(b"half")
    result = npc.convert(source, store, workers=0)
    assert result.status.sel(patient="001", sequence="T1WI") == "refused"
    assert npc.validate(store, workers=0) == ()


def test_an_image_that_was_left_in_part_is_mended_though_its_mask_is_gone_from_the_source(source, store):
    before = content(store)
    no_mask(source)
    Rows(open_group(locate(store).open(), str(store))).mark_pending([KEY])
    next(path for path in (store / "image/c/0/0").rglob("*") if path.is_file()).write_bytes(b"half")
    assert npc.convert(source, store, workers=0).attrs["source_worse"] == ["001/T1WI"]
    assert content(store) == before


def test_a_worker_that_dies_of_a_scan_takes_nothing(source, store, monkeypatch):
    before = content(store)
    for path in slices(source):
        os.utime(path, ns=(1, 1))
    monkeypatch.setattr(store_writer, "_row_of", lambda key, work, _: store_writer._refusal(key, work, "it died"))
    result = npc.convert(source, store, workers=0)
    assert "it died" in str(result.message.sel(patient="001", sequence="T1WI").values)
    assert content(store) == before


def test_a_repair_takes_nothing_that_its_source_no_longer_has(source, store):
    mask = npc.open(store).mask.sel(patient="001", sequence="T1WI").load()
    whole = shutil.copytree(source, source.parent / "whole")
    cut(source)
    next(path for path in (store / "image/c/0/0").rglob("*") if path.is_file()).write_bytes(b"half")
    found = npc.validate(store, against=source, repair=True, workers=0)
    assert any("the source cannot be read" in one.problem for one in found)
    found = npc.validate(store, against=whole, repair=True, workers=0)
    assert (found, found.imported) == ((), ("001/T1WI",))
    np.testing.assert_array_equal(npc.open(store).mask.sel(patient="001", sequence="T1WI"), mask)


def test_numbers_of_a_scan_that_stays_hold(source, store):
    npc.measure_store(store, "morphology")
    before = content(store)
    cut(source)
    npc.convert(source, store, workers=0)
    assert content(store) == before
    assert npc.info(store)["changed"] == {}


def test_a_source_none_of_which_can_be_read_is_no_other_cohort(source, store):
    before = content(store)
    for path in source.rglob("*.dcm"):
        path.write_bytes(path.read_bytes()[:100])
    result = npc.convert(source, store, workers=0)
    assert len(result.attrs["source_worse"]) == 6
    assert content(store) == before


def test_masks_of_raters_stay_too(cohort, raters, tmp_path):
    store = shutil.copytree(raters, tmp_path / "r.zarr")
    shutil.unpack_archive(cohort / "inner_reliability.zip", tmp_path / "source")
    npc.convert(tmp_path / "source", store, workers=0)
    before = content(store)
    spoiled = sorted(path for path in (tmp_path / "source").rglob("*") if ".nii" in path.name)[0]
    spoiled.write_bytes(b"no mask")
    result = npc.convert(tmp_path / "source", store, workers=0)
    assert len(result.attrs["source_worse"]) == 1
    assert content(store) == before
