"""A store knows its cohort: what it takes, what it refuses, and what it leaves alone."""

import errno
import re
import shutil

import nibabel
import numpy as np
import pydicom
import pytest
import xarray as xr
from zarr.storage import LocalStore

import npczarr as npc
from npczarr.errors import StoreError
from npczarr.store.describe import SALT, uid_digest
from tests.builders import blob, nifti_image, noise, oblique_grid, write_cohort, write_series
from tests.store.small import make_small, objects, part, snapshot
from tests.stores import comparable

SERIES = "data/MRI-Segments"


def another(folder, patients=("001", "002", "003"), base=7):
    """A cohort of the same labels whose series are others."""
    for p, patient in enumerate(patients):
        for s, (sequence, mask) in enumerate((("T1WI", "T1"), ("T2WI", "T2"), ("CE-T1WI", "CE-T1"))):
            grid = oblique_grid((4, 8, 9), seed=100 + 10 * p + s)
            place = folder / SERIES / patient
            write_series(place / sequence, noise(grid, seed=500 + 10 * p + s), grid, series=f"9.{base}.{p}.{s}")
            nibabel.save(nifti_image(blob(grid), grid), place / f"ROI-{mask}.nii")
    return folder


@pytest.mark.slow
def test_digests_hide_uids_and_tell_them_apart(pristine, tmp_path, source):
    ds = npc.open(pristine)
    digests = ds.series_digest.values
    assert len(set(digests.ravel())) == 9
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in digests.ravel())
    assert digests[1, 2] == uid_digest("1.2.1.2", ds.attrs[SALT])
    content = b"".join(snapshot(pristine).values())
    assert b"1.2.1.2" not in content
    make_small(source, tmp_path / "b.zarr")
    assert not set(npc.open(tmp_path / "b.zarr").series_digest.values.ravel()) & set(digests.ravel())
    assert uid_digest("", "00") == ""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_source_again_changes_no_object(source, copy, workers):
    before = snapshot(copy)
    stamps = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()}
    result = npc.convert(source, copy, workers=workers)
    assert (result.action == "kept").all()
    assert snapshot(copy) == before
    assert stamps == {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()}


def test_another_cohort_is_refused_with_the_count_and_the_first_label_and_changes_nothing(copy, tmp_path):
    stranger = another(tmp_path / "other", ("002", "003", "009"))
    before = snapshot(copy)
    with pytest.raises(StoreError, match=r"6 of 9 scans have labels that the store holds, the first 002/.*--replace"):
        npc.convert(stranger, copy, workers=0)
    assert snapshot(copy) == before


@pytest.mark.slow
def test_another_cohort_takes_the_place_of_all_of_it_with_replace(copy, tmp_path):
    stranger = another(tmp_path / "other", ("002", "003"))
    shutil.rmtree(stranger / SERIES / "003/T2WI")
    (stranger / SERIES / "003/ROI-T2.nii").unlink()
    result = npc.convert(stranger, copy, workers=0, replace=True)
    assert result.action.values.tolist() == [["replaced"] * 3, ["replaced", "none", "replaced"]]
    assert npc.open(copy).status.sel(patient="003", sequence="T2WI") == "missing"
    assert not [key for key in objects(copy, "image") if key.startswith("image/c/2/1/")]
    assert npc.validate(copy, workers=0) == ()


@pytest.mark.slow
def test_a_cohort_that_shares_a_series_is_no_stranger_and_its_others_are_declined(source, copy, tmp_path):
    mixed = another(tmp_path / "other", ("001", "002"))
    shutil.rmtree(mixed / SERIES / "001/T1WI")
    shutil.copytree(source / SERIES / "001/T1WI", mixed / SERIES / "001/T1WI")
    shutil.copy2(source / SERIES / "001/ROI-T1.nii", mixed / SERIES / "001/ROI-T1.nii")
    voxels = {key: content for key, content in snapshot(copy).items() if key.startswith(("image/c", "mask/c"))}
    held = npc.open(copy).status.load()
    result = npc.convert(mixed, copy, workers=0)
    assert (result.status == "refused").sum() == 5
    assert "another series" in str(result.message.sel(patient="002", sequence="T2WI").values)
    assert result.action.sel(patient="001", sequence="T1WI") == "kept"
    xr.testing.assert_equal(npc.open(copy).status.load(), held)
    assert voxels.items() <= snapshot(copy).items()
    assert npc.validate(copy, workers=0) == ()


@pytest.mark.slow
def test_a_source_of_new_labels_is_appended_and_one_of_known_series_elsewhere_is_kept(source, copy, tmp_path, truth):
    npc.convert(another(tmp_path / "new", ("004",)), copy, workers=0)
    moved = shutil.copytree(source, tmp_path / "moved")
    result = npc.convert(moved, copy, workers=0)
    assert (result.action.sel(patient=["001", "002", "003"]) == "kept").all()
    dataset = npc.open(copy)
    assert dataset.patient.values.tolist() == ["001", "002", "003", "004"]
    xr.testing.assert_equal(dataset.image.isel(patient=slice(3)).load(), truth.image)


@pytest.mark.slow
def test_a_series_that_vanished_is_cleared_where_it_is_asked_for_though_its_mask_stayed(source, copy, tmp_path):
    less = part(source, tmp_path / "less", "001", "002", "003")
    shutil.rmtree(less / SERIES / "002/T1WI")
    result = npc.convert(less, copy, rewrite=["002/T1WI"], workers=0)
    gone = result.sel(patient="002", sequence="T1WI")
    assert (gone.status, gone.action, gone.message) == ("missing", "none", "a mask but no images")
    for name in ("image", "mask"):
        assert not [key for key in objects(copy, name) if key.startswith(f"{name}/c/1/0/")]
    assert (result.action == "kept").sum() == 8
    assert npc.validate(copy, workers=0, against=less) == ()
    assert np.isnan(npc.open(copy).image.sel(patient="002", sequence="T1WI")).all()


def test_a_source_that_holds_a_part_of_the_cohort_clears_nothing(source, copy, tmp_path):
    before = snapshot(copy)
    npc.convert(part(source, tmp_path / "part", "002"), copy, workers=0)
    after = snapshot(copy)
    assert {k: v for k, v in after.items() if "/c/" in k} == {k: v for k, v in before.items() if "/c/" in k}


@pytest.mark.slow
def test_frames_of_reference_that_differ_are_a_warning_and_like_says_so(tmp_path):
    write_cohort(tmp_path / "s", patients=("001",))
    for sequence, frame in (("T1WI", "1.5.1"), ("T2WI", "1.5.1"), ("CE-T1WI", "1.5.2")):
        for path in (tmp_path / "s" / SERIES / "001" / sequence).glob("*.dcm"):
            image = pydicom.dcmread(path)
            image.FrameOfReferenceUID = frame
            image.save_as(path)
    npc.convert(tmp_path / "s", tmp_path / "a.zarr", workers=0)
    ds = npc.open(tmp_path / "a.zarr")
    first = str(ds.sequence.values[0])
    differ = np.array(["another frame of reference than" in str(m) for m in ds.message.values[0]])
    frames = ds.frame_digest.values[0]
    assert differ.tolist() == [frame != frames[0] for frame in frames]
    assert differ.sum() in (1, 2)
    assert (ds.status.values[0][differ] == "warning").all()
    assert f"than {first}" in "".join(map(str, ds.message.values[0]))
    result = npc.resample_store(tmp_path / "a.zarr", tmp_path / "r.zarr", like="T1WI", workers=0)
    said = {str(s): "another frame of reference: they may not be aligned" in str(m.values)
            for s, m in zip(result.sequence.values, result.message.isel(patient=0), strict=True)}  # fmt: skip
    assert said == {"T1WI": False, "T2WI": False, "CE-T1WI": True}
    again = npc.convert(tmp_path / "s", tmp_path / "a.zarr", workers=0)
    assert (again.action == "kept").all()


@pytest.mark.slow
def test_scans_of_another_study_are_a_warning_unless_they_share_a_frame_of_reference(tmp_path):
    patients = ("001", "002", "003")
    write_cohort(tmp_path / "s", patients=patients)

    def number(patient, sequence, study, frame):
        for path in (tmp_path / "s" / SERIES / patient / sequence).glob("*.dcm"):
            image = pydicom.dcmread(path)
            image.StudyInstanceUID = study
            if frame:
                image.FrameOfReferenceUID = frame
            else:
                del image.FrameOfReferenceUID
            image.save_as(path)

    for patient in patients:
        for sequence in ("T1WI", "T2WI", "CE-T1WI"):
            number(patient, sequence, f"1.6.{patient.strip('0')}", f"1.5.{patient.strip('0')}")
    number("001", "T2WI", "1.6.9", "1.5.9")  # a later visit
    number("002", "T2WI", "1.6.9", "1.5.2")  # numbered anew, in one session
    number("003", "T2WI", "1.6.9", None)
    npc.convert(tmp_path / "s", tmp_path / "a.zarr", workers=0)
    ds = npc.open(tmp_path / "a.zarr").sel(sequence="T2WI")
    first = str(npc.open(tmp_path / "a.zarr").sequence.values[0])
    text = f"another study than {first}: they may be of different visits"
    assert [text in str(m) for m in ds.message.values] == [True, False, True]
    assert ds.status.values.tolist() == ["warning", "ok", "warning"]
    assert npc.validate(tmp_path / "a.zarr", workers=0) == ()
    number("001", "T2WI", "1.6.1", "1.5.1")  # mended
    npc.convert(tmp_path / "s", tmp_path / "a.zarr", workers=0)
    assert npc.open(tmp_path / "a.zarr").sel(patient="001", sequence="T2WI").message == ""


@pytest.mark.slow
def test_results_grow_with_the_cohort(source, tmp_path):
    url = make_small(part(source, tmp_path / "part", "001", "003"), tmp_path / "a.zarr")
    first, _ = npc.measure_store(url, "morphology")
    npc.convert(source, url, workers=0)
    tree = xr.open_datatree(url, engine="zarr")
    assert tree["morphology"].patient.values.tolist() == ["001", "003", "002"]
    assert np.isnan(tree["morphology"].volume.sel(patient="002")).all()
    xr.testing.assert_equal(tree["morphology"].volume.isel(patient=slice(2)).load(), first.volume)
    again, failures = npc.measure_store(url, "morphology")
    assert not failures
    assert np.isfinite(again.volume).all()
    xr.testing.assert_equal(xr.open_datatree(url, engine="zarr")["morphology"].volume.load(), again.volume)
    assert npc.validate(url, workers=0) == ()


@pytest.mark.slow
def test_a_store_that_may_not_be_written_is_measured_and_nothing_is_kept(source, copy, monkeypatch):
    expected, _ = npc.measure_store(copy, "morphology")
    shutil.rmtree(copy / "morphology")
    before = snapshot(copy)

    async def refuse(self, key, value):
        raise PermissionError(errno.EACCES, "Permission denied")

    # root, who runs many tests, may write what nobody else may
    monkeypatch.setattr(LocalStore, "set", refuse)
    monkeypatch.setattr(LocalStore, "set_if_not_exists", refuse)
    found, failures = npc.measure_store(copy, "morphology")
    for act in (
        lambda: npc.convert(source, copy, workers=0),
        lambda: npc.resample_store(copy, copy.parent / "r.zarr", spacing=(2, 2, 2), workers=0),
    ):
        with pytest.raises(StoreError, match="check the permissions of the folder"):
            act()
    assert (found.attrs["kept"], expected.attrs["kept"]) == (0, 1)
    assert not failures
    xr.testing.assert_equal(found.volume, expected.volume)
    assert snapshot(copy) == before


@pytest.mark.slow
def test_a_store_made_anew_at_the_same_place_is_read_as_it_is_now(source, tmp_path):
    """In one process, whatever it remembers of the first."""
    url = tmp_path / "a.zarr"
    make_small(part(source, tmp_path / "one", "001", "003"), url)
    first = npc.open(url)
    held = first.image.load()
    stale = npc.open(url)
    shutil.rmtree(url)
    make_small(another(tmp_path / "other", ("001", "003")), url)
    second = npc.open(url)
    assert not np.array_equal(second.image.load(), held)
    assert npc.validate(url, workers=0) == ()
    with pytest.raises(StoreError, match=r"open the store again|absent"):
        stale.image.load()
    with pytest.raises(StoreError):
        stale.npc.scan("001", "T1WI").load()
    xr.testing.assert_equal(first.image, held)


@pytest.mark.slow
def test_readers_of_a_store_that_grows_go_on_with_what_they_opened(source, tmp_path, truth):
    url = tmp_path / "a.zarr"
    make_small(part(source, tmp_path / "one", "001"), url)
    before, plain = npc.open(url), xr.open_zarr(url)
    grown = part(source, tmp_path / "two", "001", "002", "003")
    npc.convert(grown, url, workers=0)
    after = npc.open(url)
    assert before.sizes["patient"] == plain.sizes["patient"] == 1
    for sequence in truth.sequence.values:
        for dataset in (before, plain, after):
            scan = dataset.npc.scan("001", sequence).load()
            expected = truth.sel(patient="001", sequence=sequence)
            depth = scan.sizes["z"]
            np.testing.assert_array_equal(scan.image, expected.image[:depth])
            np.testing.assert_array_equal(scan.mask, expected.mask[:depth])
    assert comparable(after.load()).image.equals(comparable(truth).image)
