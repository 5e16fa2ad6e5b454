"""Masks that were imported stay as long as the source is what it was when they were."""

import os
import shutil

import nibabel
import numpy as np
import pydicom
import pytest

import npczarr as npc
from npczarr.export.back import import_masks
from npczarr.model.imported import GONE, imports_in
from npczarr.store.hierarchy import open_group
from npczarr.store.location import locate
from npczarr.store.rows import Rows

pytestmark = pytest.mark.slow
ROI = "data/MRI-Segments/001/ROI-T1.nii"
SERIES = "data/MRI-Segments/001/T1WI"


def without_a_slice(path, out):
    """Save a mask without its first outlined slice."""
    image = nibabel.load(path)
    voxels = np.asarray(image.dataobj).copy()
    voxels[..., np.flatnonzero(voxels.any((0, 1)))[0]] = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine), out)


@pytest.fixture
def source(cohort, tmp_path):
    """A source of one patient."""
    found = shutil.copytree(cohort / "primary_data", tmp_path / "source")
    for patient in ("002", "003"):
        shutil.rmtree(found / "data/MRI-Segments" / patient)
    return found


@pytest.fixture
def edited(source, tmp_path):
    """A store into which a mask was imported."""
    npc.convert(source, tmp_path / "s.zarr", workers=0)
    without_a_slice(source / ROI, tmp_path / "edited/001/ROI-T1.nii")
    (one,) = import_masks(tmp_path / "s.zarr", tmp_path / "edited")
    assert one.status == "replaced"
    return tmp_path / "s.zarr"


def row(store, sequence="T1WI"):
    """What the store says of a scan, and its mask."""
    found = npc.open(store).sel(patient="001", sequence=sequence).drop_vars(["image", "source_digest", "row_digest"])
    return found.compute()


def is_kept(store, before):
    """Whether a scan has the imported mask still, and says of it what it said; else it says that it is gone."""
    after = row(store)
    kept = bool(after.equals(before))
    assert kept or str(after.message.values).startswith(GONE)
    return kept


def touched(source):
    for path in (source / SERIES).iterdir():
        os.utime(path, ns=(1, 1))
    return source


def test_a_copy_of_the_source_keeps_an_imported_mask_and_says_nothing(source, edited, tmp_path):
    before = row(edited)
    copy = shutil.copytree(source, tmp_path / "copy", copy_function=shutil.copyfile)
    result = npc.convert(copy, edited, workers=0)
    assert (result.action == "replaced").all()
    assert result.attrs["masks_gone"] == []
    assert str(result.status.sel(patient="001", sequence="T1WI").values) == "ok"
    assert is_kept(edited, before)
    assert (npc.convert(copy, edited, workers=0).action == "kept").all()
    found = npc.validate(edited, against=copy, workers=0)
    assert (found, found.imported) == ((), ("001/T1WI",))
    assert npc.validate(edited, workers=0).imported == ()


@pytest.mark.parametrize("asked", [{"replace": True}, {"rewrite": ["001"]}, {"rewrite": ["001/T1WI"]}])
def test_who_asks_for_the_mask_of_the_source_gets_it(source, edited, asked):
    before = row(edited)
    npc.convert(touched(source), edited, workers=0, **asked)
    assert not is_kept(edited, before)
    found = npc.validate(edited, against=source, workers=0)
    assert (found, found.imported) == ((), ())


def test_another_image_or_another_mask_of_the_source_takes_its_place(source, edited, tmp_path):
    before = row(edited)
    path = sorted((source / SERIES).iterdir())[0]
    old = path.read_bytes()
    path.write_bytes(old[:-1] + bytes([old[-1] ^ 1]))
    changed = shutil.copytree(edited, tmp_path / "image.zarr")
    npc.convert(source, changed, workers=0)
    assert not is_kept(changed, before)
    path.write_bytes(old)
    for one in (source / SERIES).iterdir():
        slice_ = pydicom.dcmread(one)
        slice_.ImagePositionPatient[0] += 40
        slice_.save_as(one)
    moved = shutil.copytree(edited, tmp_path / "grid.zarr")
    npc.convert(source, moved, workers=0)
    assert not is_kept(moved, before)


def test_a_mask_of_the_source_changed_to_the_imported_one_is_no_import_any_more(source, edited, tmp_path):
    imported = row(edited)
    shutil.copy(tmp_path / "edited/001/ROI-T1.nii", source / ROI)
    npc.convert(source, edited, workers=0)
    after = row(edited)
    assert after.mask.equals(imported.mask)
    assert (str(after.status.values), str(after.message.values)) == ("ok", "")
    without_a_slice(source / ROI, source / ROI)
    npc.convert(source, edited, workers=0)
    assert not imports_in(str(row(edited).message.values))


def test_a_mask_for_a_scan_without_one_stays_until_the_source_has_one(source, edited, tmp_path):
    path = source / "data/MRI-Segments/001/ROI-T2.nii"
    own = path.read_bytes()
    without_a_slice(path, tmp_path / "added/001/ROI-T2.nii")
    path.unlink()
    npc.convert(source, edited, rewrite=["001/T2WI"], workers=0)
    assert str(row(edited, "T2WI").mask_status.values) == "missing"
    import_masks(edited, tmp_path / "added")
    before = row(edited, "T2WI")
    shutil.copytree(source, tmp_path / "copy", copy_function=shutil.copyfile)
    npc.convert(tmp_path / "copy", edited, workers=0)
    assert row(edited, "T2WI").equals(before)
    path.write_bytes(b"no mask at all")
    npc.convert(source, edited, workers=0)
    assert row(edited, "T2WI").mask.equals(before.mask)
    path.write_bytes(own)
    npc.convert(source, edited, workers=0)
    assert str(row(edited, "T2WI").message.values).startswith(GONE)


def test_an_import_outlives_a_run_that_was_killed_but_not_damage(source, edited):
    before = row(edited)
    root = open_group(locate(edited).open(), str(edited))
    Rows(root).mark_pending([("001", "T1WI")])
    npc.convert(touched(source), edited, workers=0)
    assert is_kept(edited, before)
    assert npc.validate(edited, workers=0) == ()
    Rows(root).mark_pending([("001", "T1WI")])
    next(path for path in (edited / "mask/c/0/0").rglob("*") if path.is_file()).write_bytes(b"half")
    npc.convert(source, edited, workers=0)
    assert not is_kept(edited, before)
    assert npc.validate(edited, against=source, workers=0) == ()


def test_a_row_that_is_half_written_keeps_no_mask(source, edited):
    before = row(edited)
    rows = Rows(open_group(locate(edited).open(), str(edited)))
    rows.set_texts({"status": {("001", "T1WI"): "pending"}, "mask_affine_source": {("001", "T1WI"): "qform"}})
    npc.convert(touched(source), edited, workers=0)
    assert not is_kept(edited, before)


def test_what_the_source_says_anew_is_said_beside_the_import(source, edited):
    before = row(edited)
    for path in (source / SERIES).iterdir():
        slice_ = pydicom.dcmread(path)
        slice_.EchoTime = 11.5
        slice_.save_as(path)
    (source / SERIES / "notes.txt").write_text("nothing")
    npc.convert(source, edited, workers=0)
    after = row(edited)
    np.testing.assert_array_equal(after.mask, before.mask)
    assert float(after.echo_time) == 11.5
    first, *rest = str(after.message.values).split("; ")
    assert first == str(before.message.values)
    assert rest
