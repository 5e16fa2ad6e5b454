import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
import zipfile

import numpy as np
import pytest
import xarray as xr
import zarr

import npczarr as npc
from npczarr.model.schema import COORDINATES
from npczarr.store.holder import LEASE_KEY
from npczarr.store.lease import hold_lease
from npczarr.store.location import locate
from tests.stores import comparable


@pytest.fixture(scope="module")
def source(cohort):
    return cohort / "primary_data"


def same(a, b):
    """Whether two stores hold the same, and both are valid."""
    first, second = npc.open(a), npc.open(b)
    first, second = (comparable(ds.sortby("patient").compute()) for ds in (first, second))
    xr.testing.assert_identical(first, second)
    assert npc.validate(a, workers=0) == npc.validate(b, workers=0) == ()


def part(source, tmp_path, *patients):
    """A source with some of the patients, the same files to the time stamp."""
    copy = tmp_path / "-".join(patients) / "primary_data"
    shutil.copytree(source, copy, ignore=lambda folder, names: set(names) & ({"001", "002", "003"} - set(patients)))
    return copy


def test_the_store_is_what_was_planted(cohort, store):
    truth = json.loads((cohort / "truth.json").read_text())
    ds = npc.open(store)
    assert list(ds.patient.values) == list(truth)
    for patient, scans in truth.items():
        for sequence, planted in scans.items():
            scan = ds.npc.scan(patient, sequence)
            assert scan.image.shape == tuple(planted["shape_zyx"])
            np.testing.assert_allclose(scan.affine, planted["affine"], atol=1e-3)
            np.testing.assert_allclose(scan.spacing, planted["spacing_zyx_mm"], rtol=1e-5)
            tumor = np.argwhere(scan.mask.values)
            assert len(tumor) == planted["tumor_voxels"] == scan.mask_voxels
            assert [tumor.min(axis=0).tolist(), tumor.max(axis=0).tolist()] == planted["tumor_box_zyx"]
            assert scan.scanner_model == planted["scanner"]
    assert (ds.status == "ok").all()


def test_plain_xarray_opens_it_without_warnings(store):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds = xr.open_zarr(store)
        tree = xr.open_datatree(store, engine="zarr")
        ds.load()
    assert set(ds.coords) == {"patient", "sequence", "axis", *COORDINATES}
    assert {"image", "mask", "t_stage", "overall_survival", "manufacturer", "message"} <= set(ds.data_vars)
    assert ds.spacing.attrs["units"] == "mm"
    assert tree["image"].shape == ds.image.shape
    inside = np.isfinite(ds.image).sum(("z", "y", "x"))
    assert (inside == ds["shape"].prod("axis")).all()


def test_labels_and_stages_select(store):
    ds = xr.open_zarr(store)
    one = ds.sel(patient="002", sequence="CE-T1WI")
    assert one.image.ndim == 3
    stage = ds.t_stage.load()
    chosen = ds.isel(patient=np.flatnonzero(stage == stage[0]))
    assert (chosen.t_stage == stage[0]).all()


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_store(source, store, tmp_path):
    for workers in (1, 4):  # two are tests/test_runner.py's
        npc.convert(source, tmp_path / f"{workers}.zarr", workers=workers)
        same(store, tmp_path / f"{workers}.zarr")


@pytest.mark.slow
def test_zip_read_in_place_gives_the_same_voxels(source, store, tmp_path):
    archive = tmp_path / "primary_data.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(source.rglob("*")):
            target.write(path, path.relative_to(source.parent))
        target.writestr("__MACOSX/primary_data/data/MRI-Segments/001/T1WI/._00001.dcm", b"resource fork")
    result = npc.convert(archive, tmp_path / "zip.zarr", workers=0)
    assert result.attrs["strays"] == []
    a, b = npc.open(store).drop_vars("source_digest"), npc.open(tmp_path / "zip.zarr").drop_vars("source_digest")
    xr.testing.assert_identical(comparable(a.compute()), comparable(b.compute()))


@pytest.mark.slow
def test_appended_patients_equal_a_store_written_at_once(source, store, tmp_path):
    npc.convert(part(source, tmp_path, "001", "003"), tmp_path / "grown.zarr", workers=0)
    result = npc.convert(part(source, tmp_path, "002"), tmp_path / "grown.zarr", workers=0)
    assert (result.action == "written").all()
    assert list(npc.open(tmp_path / "grown.zarr").patient.values) == ["001", "003", "002"]
    npc.convert(source, tmp_path / "grown.zarr", workers=0)
    same(store, tmp_path / "grown.zarr")


@pytest.mark.slow
def test_a_second_run_keeps_everything(source, store, tmp_path):
    shutil.copytree(store, tmp_path / "s.zarr")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "s.zarr/image").rglob("*") if p.is_file()}
    result = npc.convert(source, tmp_path / "s.zarr", workers=0)
    assert (result.action == "kept").all()
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "s.zarr/image").rglob("*") if p.is_file()}


@pytest.mark.slow
def test_a_changed_scan_is_replaced_and_no_other(source, tmp_path):
    copy = part(source, tmp_path, "001", "002")
    npc.convert(copy, tmp_path / "s.zarr", workers=0)
    folder = copy / "data/MRI-Segments/002/T2WI"
    depth = len(list(folder.glob("*.dcm")))
    shutil.rmtree(folder)
    shutil.copytree(copy / "data/MRI-Segments/001/T2WI", folder)
    (copy / "data/MRI-Segments/002/ROI-T2.nii").write_bytes((copy / "data/MRI-Segments/001/ROI-T2.nii").read_bytes())
    result = npc.convert(copy, tmp_path / "s.zarr", workers=0)
    refused = result.sel(patient="002", sequence="T2WI")
    assert (refused.status, refused.action) == ("refused", "none")
    assert "another series" in str(refused.message.values)
    assert npc.open(tmp_path / "s.zarr").status.sel(patient="002", sequence="T2WI") == "ok"
    assert npc.validate(tmp_path / "s.zarr", workers=0) == ()
    result = npc.convert(copy, tmp_path / "s.zarr", workers=0, replace=True)
    assert result.action.sel(patient="002", sequence="T2WI") == "replaced"
    assert (result.action == "kept").sum() == 5
    ds = npc.open(tmp_path / "s.zarr")
    first, second = (ds.sel(patient=patient, sequence="T2WI").image for patient in ("001", "002"))
    differ = ["patient", "status"]  # the new scan is in another frame of reference than its neighbors
    xr.testing.assert_equal(first.drop_vars(differ), second.drop_vars(differ))
    assert second.status == "warning"
    assert depth > 0
    assert npc.validate(tmp_path / "s.zarr", workers=0, against=copy) == ()


@pytest.mark.slow
def test_a_larger_scan_makes_the_arrays_grow(source, tmp_path):
    sizes = {
        p: npc.convert(part(source, tmp_path, p), tmp_path / f"{p}.zarr", workers=0) for p in ("001", "002", "003")
    }
    assert len(sizes) == 3
    extents = {p: tuple(npc.open(tmp_path / f"{p}.zarr").image.shape[2:]) for p in sizes}
    order = sorted(extents, key=lambda p: extents[p])
    grown = tmp_path / "grown.zarr"
    for patient in order:
        npc.convert(part(source, tmp_path / "again", patient), grown, workers=0)
        shutil.rmtree(tmp_path / "again")
    ds = npc.open(grown)
    assert tuple(ds.image.shape[2:]) == tuple(np.max(list(extents.values()), axis=0))
    assert npc.validate(grown, workers=0) == ()
    for patient in order:
        alone = npc.open(tmp_path / f"{patient}.zarr")
        assert (alone.image_digest.sel(patient=patient) == ds.image_digest.sel(patient=patient)).all()


@pytest.mark.slow
def test_one_bad_scan_stops_no_other(source, tmp_path):
    copy = part(source, tmp_path, "001", "002")
    slices = sorted((copy / "data/MRI-Segments/001/T2WI").glob("*.dcm"))
    slices[3].write_bytes(slices[3].read_bytes()[:2000])
    (copy / "data/MRI-Segments/002/ROI-T1.nii").write_bytes(b"not a mask")
    shutil.rmtree(copy / "data/MRI-Segments/002/CE-T1WI")
    result = npc.convert(copy, tmp_path / "s.zarr", workers=0)
    assert result.status.sel(patient="001").values.tolist() == ["ok", "refused", "ok"]
    assert result.status.sel(patient="002").values.tolist() == ["warning", "ok", "missing"]
    assert result.mask_status.sel(patient="002", sequence="T1WI") == "refused"
    assert slices[3].name in str(result.message.sel(patient="001", sequence="T2WI").values)
    assert npc.validate(tmp_path / "s.zarr", workers=0) == ()
    assert np.isnan(npc.open(tmp_path / "s.zarr").sel(patient="001", sequence="T2WI").image).all()


@pytest.mark.slow
def test_a_scan_that_turns_bad_leaves_no_old_voxels_where_the_source_is_asked_for(source, tmp_path):
    copy = part(source, tmp_path, "001")
    npc.convert(copy, tmp_path / "s.zarr", workers=0)
    sorted((copy / "data/MRI-Segments/001/T1WI").glob("*.dcm"))[4].write_bytes(b"")
    result = npc.convert(copy, tmp_path / "s.zarr", rewrite=["001"], workers=0)
    assert result.status.sel(patient="001", sequence="T1WI") == "refused"
    assert not (tmp_path / "s.zarr/image/c/0/0/0/0/0").exists()
    assert npc.validate(tmp_path / "s.zarr", workers=0, against=copy) == ()


@pytest.mark.slow
def test_real_cohort_equals_pydicom(real_data, tmp_path):
    import nibabel
    import pydicom

    source = real_data / "real_cohort/primary_data"
    archive = shutil.make_archive(str(tmp_path / "real"), "zip", source)
    result = npc.convert(source, tmp_path / "real.zarr", workers=0)
    npc.convert(archive, tmp_path / "zip.zarr", workers=0)
    assert (result.status.sel(sequence="T1WI") == "warning").all()  # their ImageType says DERIVED
    assert (result.mask_status.sel(sequence="T1WI") == "ok").all()
    assert (result.status.sel(sequence=["T2WI", "CE-T1WI"]) == "missing").all()
    assert "RT structure set of this series beside the mask, not used" in str(
        result.message.sel(patient="001", sequence="T1WI").values
    )
    ds, zipped = npc.open(tmp_path / "real.zarr"), npc.open(tmp_path / "zip.zarr")
    assert (ds.image_digest == zipped.image_digest).all()
    assert (ds.mask_digest == zipped.mask_digest).all()
    for patient in ds.patient.values:
        folder = source / "data/MRI-Segments" / str(patient)
        slices = [pydicom.dcmread(path) for path in (folder / "T1WI").glob("*.dcm")]
        slices = sorted((s for s in slices if "PixelData" in s), key=lambda s: s.ImagePositionPatient[2])
        scan = ds.npc.scan(patient, "T1WI")
        np.testing.assert_array_equal(scan.image, [s.pixel_array for s in slices])
        np.testing.assert_allclose(scan.z, [s.ImagePositionPatient[2] for s in slices], atol=1e-3)
        # by closest canonical orientation, RAS, independently of our own placement: LPS is both its flips
        mask = nibabel.as_closest_canonical(nibabel.load(folder / "ROI-T1.nii"))
        np.testing.assert_array_equal(scan.mask, np.round(mask.get_fdata())[::-1, ::-1].T > 0)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.4, 1.2, 2.5])
def test_killed_at_any_moment_and_run_again(source, store, tmp_path, delay):
    url = tmp_path / "killed.zarr"
    code = (
        "import sys, npczarr as npc\n"
        "if __name__ == '__main__':\n"
        "    import time\n"
        "    npc.convert(sys.argv[1], sys.argv[2], workers=0, on_progress=lambda p: time.sleep(0.1))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(source), str(url)], start_new_session=True)
    deadline = time.monotonic() + 60
    while not (url / "zarr.json").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(delay * 0.3)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if (url / "status/zarr.json").exists():
        half = zarr.open_group(url, mode="r", use_consolidated=False)
        digests = npc.open(store).image_digest
        for place in np.ndindex(half["status"].shape):
            if half["status"][place] == "ok":
                assert half["image_digest"][place] == digests.values[place]
    npc.convert(source, url, workers=0)
    same(store, url)


@pytest.mark.slow
def test_a_second_writer_is_refused_until_the_lock_is_broken(source, store, tmp_path):
    url = tmp_path / "s.zarr"
    shutil.copytree(store, url)
    opened = locate(url).open()
    with hold_lease(opened, str(url)) as lease:
        with pytest.raises(npc.LeaseError, match=rf"process {os.getpid()} on .* since 20.*--break-lock"):
            npc.convert(source, url, workers=0)
        npc.convert(source, url, workers=0, break_lock=True)
        with pytest.raises(npc.LeaseError, match="taken over"):
            lease.check()
    assert not (url / LEASE_KEY).exists()
    same(store, url)


@pytest.mark.slow
def test_a_lease_left_by_a_dead_process_is_taken_over(source, store, tmp_path):
    url = tmp_path / "s.zarr"
    shutil.copytree(store, url)
    code = (
        "import os, sys\nfrom npczarr.store.location import locate\nfrom npczarr.store.lease import hold_lease\n"
        "held = hold_lease(locate(sys.argv[1]).open(), 'x')\nheld.__enter__()\nos._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(url)], check=False)
    assert (url / LEASE_KEY).exists()
    npc.convert(source, url, workers=0)
    assert not (url / LEASE_KEY).exists()


@pytest.mark.slow
def test_every_flipped_byte_is_found(source, tmp_path):
    rng = np.random.default_rng(0)
    url = tmp_path / "s.zarr"
    npc.convert(part(source, tmp_path, "001"), url, workers=0)
    sequences = npc.open(url).sequence.values
    assert npc.validate(url, workers=0) == ()
    for name in ("image", "mask"):
        for _ in range(6):
            chunk = rng.choice(sorted(p for p in (url / name / "c").rglob("*") if p.is_file()))
            content = bytearray(chunk.read_bytes())
            place, bit = int(rng.integers(len(content))), 1 << int(rng.integers(8))
            content[place] ^= bit
            chunk.write_bytes(content)
            _, sequence = chunk.relative_to(url / name / "c").parts[:2]
            found = {(f.patient, f.sequence) for f in npc.validate(url, workers=0)}
            assert found == {("001", str(sequences[int(sequence)]))}
            content[place] ^= bit
            chunk.write_bytes(content)
    assert npc.validate(url, workers=0) == ()


@pytest.mark.slow
def test_validate_against_the_source_sees_what_changed(source, store, tmp_path):
    copy = part(source, tmp_path, "001", "002", "003")
    assert npc.validate(store, workers=0, against=copy) == ()
    file = sorted((copy / "data/MRI-Segments/003/T1WI").glob("*.dcm"))[2]
    content = bytearray(file.read_bytes())
    content[-101] ^= 1
    file.write_bytes(content)
    (found,) = npc.validate(store, workers=0, against=copy)
    assert (found.patient, found.sequence, found.problem) == ("003", "T1WI", "image differs from the source")


@pytest.mark.slow
def test_rewrite_mends_a_damaged_scan(source, store, tmp_path):
    url = tmp_path / "s.zarr"
    shutil.copytree(store, url)
    (url / "image/c/1/2/0/0/0").write_bytes(b"gone")
    assert [(f.patient, f.sequence) for f in npc.validate(url, workers=0)] == [("002", "CE-T1WI")]
    result = npc.convert(source, url, workers=0, rewrite=["002/CE-T1WI"])
    assert (result.action == "replaced").sum() == 1
    same(store, url)
    with pytest.raises(npc.ParameterError, match="no such patient"):
        npc.convert(source, url, workers=0, rewrite=["999"])
    with pytest.raises(npc.ParameterError, match=r"rewrite: expected a list, got '002'; write \['002'\]"):
        npc.convert(source, url, workers=0, rewrite="002")
    for name in ("patients", "sequences"):
        with pytest.raises(npc.ParameterError, match=f"{name}: expected a list, got '002'"):
            npc.export_scans(url, tmp_path / "out", format="nifti", **{name: "002"})


def test_what_is_no_cohort_store_is_refused(source, tmp_path):
    zarr.create_group(tmp_path / "other.zarr")
    for use in (
        lambda u: npc.open(u),
        lambda u: npc.convert(source, u, workers=0),
        lambda u: npc.validate(u, workers=0),
    ):
        with pytest.raises(npc.StoreError, match="no cohort store"):
            use(tmp_path / "other.zarr")
    zarr.create_group(tmp_path / "new.zarr", attributes={"npczarr_schema": 99})
    with pytest.raises(npc.StoreError, match=r"99.*upgrade"):
        npc.open(tmp_path / "new.zarr")
    with pytest.raises(npc.StoreError, match="no store here"):
        npc.open(tmp_path / "nowhere.zarr")


def test_scan_of_the_accessor_keeps_stored_integers_and_gives_real_values(store):
    plain, fast = xr.open_zarr(store), npc.open(store)
    for ds in (plain, fast, fast.sel(sequence="T1WI"), fast.sel(patient="001")):
        scan = ds.npc.scan("001", "T1WI")
        assert scan.image.dtype == np.int16
        assert scan.z.attrs["units"] == "mm"
        assert (np.diff(scan.z) > 0).all()
        real = ds.npc.scan("001", "T1WI", real=True)
        np.testing.assert_allclose(real.image, scan.image * scan.rescale_slope + scan.rescale_intercept)
    with pytest.raises(npc.ParameterError, match="no patient '9'"):
        plain.npc.scan("9", "T1WI")


@pytest.mark.slow
def test_int32_where_a_header_needs_it(real_data, tmp_path):
    toml = tmp_path / "layout.toml"
    toml.write_text('[layout]\nimages = "{sequence}/anatomical/{patient}/*"\nmasks = []\n')
    result = npc.convert(real_data / "dicom_variety", tmp_path / "s.zarr", config=toml, workers=0)
    ds = npc.open(tmp_path / "s.zarr")
    assert ds.image.encoding["dtype"] == np.int32
    good = result.status.sel(patient="001").drop_sel(sequence="generic")
    assert (good == "warning").all()  # no masks
    assert npc.validate(tmp_path / "s.zarr", workers=0) == ()


def test_a_folder_that_holds_something_else_is_refused(cohort, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(
        npc.StoreError, match=r"is not empty and holds no store \(notes.txt is in it\); name a new folder"
    ):
        npc.convert(cohort / "primary_data", tmp_path, workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_masks_that_are_given_up_are_named(cohort, tmp_path):
    source, store = tmp_path / "source", tmp_path / "a.zarr"
    shutil.copytree(cohort / "primary_data", source)
    assert npc.convert(source, store, workers=0).attrs["masks_gone"] == []
    lost = sorted(source.rglob("ROI-T1.nii*"))[0]
    patient = next(part for part in lost.parts if part.isdigit())
    lost.unlink()
    again = npc.convert(source, store, rewrite=[f"{patient}/T1WI"], workers=0)
    assert again.attrs["masks_gone"] == [f"{patient}/T1WI"]
    assert npc.convert(source, store, workers=0).attrs["masks_gone"] == []


@pytest.mark.slow
def test_a_source_of_masks_alone_is_refused_and_empties_no_store(cohort, tmp_path):
    source, store = tmp_path / "source", tmp_path / "a.zarr"
    shutil.copytree(cohort / "primary_data", source)
    npc.convert(source, store, workers=0)
    for folder in source.rglob("*T1WI"):
        shutil.rmtree(folder)
    for folder in source.rglob("T2WI"):
        shutil.rmtree(folder)
    for target in (store, tmp_path / "new.zarr"):
        with pytest.raises(npc.SourceError, match="masks of 9 scans and no images"):
            npc.convert(source, target, workers=0)
    assert not (tmp_path / "new.zarr").exists()
    assert npc.validate(store, against=cohort / "primary_data", workers=0) == ()


def test_data_in_the_old_format_are_named_for_what_they_are(cohort, tmp_path):
    zarr.create_array(tmp_path / "old" / "image", data=np.zeros(2), zarr_format=2)
    zarr.open_group(tmp_path / "old", mode="a", zarr_format=2)
    with pytest.raises(npc.StoreError, match=r"holds \.z\w+, data in the old Zarr format; convert into another"):
        npc.convert(cohort / "primary_data", tmp_path / "old", workers=0)
