import json
import shutil
import warnings

import dask
import numpy as np
import pytest
import SimpleITK as sitk
import xarray as xr

import npczarr as npc
from npczarr.errors import ParameterError, StoreError
from npczarr.kernels.resample import resample as resample_array
from npczarr.model.geometry import Grid
from tests.stores import comparable


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantom") / "cohort"
    npc.make_cohort(out, patients=3, workers=0)
    shutil.rmtree(out / "primary_data/data/MRI-Segments/003/T1WI")
    (out / "primary_data/data/MRI-Segments/002/ROI-T2.nii").unlink()
    return out


@pytest.fixture(scope="module")
def store(cohort, tmp_path_factory):
    url = tmp_path_factory.mktemp("store") / "cohort.zarr"
    npc.convert(cohort / "primary_data", url, workers=0)
    return url


def never(graph, keys, **kwargs):
    raise AssertionError("computed before it was asked for")


REQUESTS = [
    {"spacing": (2, 1, 1)},
    {"shape": (None, 64, 64), "method": "area", "normalize": "percentile"},
    {"like": "CE-T1WI", "method": "cubic"},
    {"spacing": (2, 1, 1), "window": (30, 40, 50), "normalize": "zscore"},
    {"window": (30, 40, 50), "center": "volume", "method": "nearest", "mask_method": "nearest"},
    {"bounds": (None, (-60, 60), (-60, 60))},
    {"like": "T1WI", "spacing": (3, 1, 1), "window": (30, 40, 50), "normalize": "zscore"},
]


def test_nothing_is_computed_before_it_is_asked_for(store):
    with dask.config.set(scheduler=never):
        ds = npc.open(store)
        for request in REQUESTS:
            lazy = npc.resample(ds, **request)
        npc.morphology(lazy)
        with pytest.raises(AssertionError, match="before it was asked"):
            lazy.compute()


@pytest.mark.slow
@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_a_store_holds_what_the_lazy_dataset_says(store, tmp_path, request_):
    lazy = npc.resample(npc.open(store), **request_).compute()
    result = npc.resample_store(store, tmp_path / "out.zarr", workers=0, **request_)
    written = npc.open(tmp_path / "out.zarr").compute()
    for name in lazy.variables:
        if name != "row_digest":  # of a row that was written
            xr.testing.assert_equal(written[name].variable, lazy[name].variable)
    assert not lazy.row_digest.values.any()
    assert set(written.variables) == set(lazy.variables)
    assert set(written.coords) == set(lazy.coords)
    assert npc.validate(tmp_path / "out.zarr", workers=0) == ()
    assert json.loads(written.attrs["resampling"]) == json.loads(lazy.attrs["resampling"])
    assert result.status.sel(patient="003", sequence="T1WI") == "missing"
    assert written.t_stage.values.tolist() == npc.open(store).t_stage.values.tolist()
    again = npc.resample_store(store, tmp_path / "out.zarr", workers=0, **request_)
    assert set(again.action.values.ravel()) == {"kept"}


@pytest.mark.slow
def test_each_scan_is_the_array_function_on_its_grid(store):
    ds = npc.open(store)
    new = npc.resample(ds, spacing=(2, 1, 1))
    for patient, sequence in (("001", "T1WI"), ("002", "CE-T1WI")):
        scan, found = ds.npc.scan(patient, sequence), new.npc.scan(patient, sequence)
        own = Grid(scan.image.shape, scan.affine.values)
        target = Grid(found.image.shape, found.affine.values)
        np.testing.assert_allclose(found.spacing, (2, 1, 1))
        np.testing.assert_array_equal(found.image, resample_array(scan.image.values, own, target))
        for axis, positions in zip("zyx", target.axis_positions_mm(), strict=True):
            np.testing.assert_allclose(found[axis], positions)


@pytest.mark.slow
@pytest.mark.parametrize("request_", [REQUESTS[0], REQUESTS[3]], ids=str)
def test_any_selection_chunking_and_scheduler_gives_the_same(store, request_):
    whole = npc.resample(npc.open(store), **request_).compute(scheduler="sync")
    fast, plain = npc.open(store), xr.open_zarr(store)
    for ds in (
        plain,
        fast.sel(sequence="T2WI"),
        fast.sel(patient="002"),
        plain.sel(patient="002", sequence="CE-T1WI"),
        fast.isel(patient=[2, 0]),
        fast.chunk(patient=2, sequence=3),
        fast.load(),
    ):
        for scheduler in ("sync", "threads"):
            found = npc.resample(ds, **request_).compute(scheduler=scheduler)
            expected = whole.sel({dim: ds[dim] for dim in ("patient", "sequence")})
            z, y, x = (found.sizes[axis] for axis in "zyx")
            np.testing.assert_array_equal(found.mask, expected.mask[..., :z, :y, :x])
            np.testing.assert_array_equal(found.image, expected.image[..., :z, :y, :x])
            np.testing.assert_array_equal(found.rescale_slope, expected.rescale_slope[..., :z])
            np.testing.assert_array_equal(found.affine, expected.affine)


@pytest.mark.slow
def test_like_puts_the_same_point_at_the_same_voxel(store):
    ds = npc.open(store)
    new = npc.resample(ds, like="T2WI")
    for patient in ("001", "002"):
        t1, t2 = new.npc.scan(patient, "T1WI"), ds.npc.scan(patient, "T2WI")
        np.testing.assert_array_equal(t1.affine, t2.affine)
        np.testing.assert_array_equal(new.npc.scan(patient, "T2WI").image, t2.image)
        found, expected = t1.image.values, _by_itk(ds.npc.scan(patient, "T1WI"), t2)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * 4096)


def _by_itk(moving, fixed):
    def image(scan, values):
        affine = scan.affine.values
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        made = sitk.GetImageFromArray(values)
        made.SetSpacing(spacing.tolist())
        made.SetOrigin(affine[:3, 3].tolist())
        made.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
        return made

    reference = image(fixed, np.zeros(fixed.image.shape, np.uint8))
    source = image(moving, moving.image.values)
    found = sitk.Resample(source, reference, sitk.Transform(), sitk.sitkLinear, -1e6, sitk.sitkFloat32)
    values = sitk.GetArrayFromImage(found)
    return np.where(values == -1e6, np.nan, values)


def test_a_window_holds_the_tumor_in_its_middle(store):
    new = npc.resample(npc.open(store), spacing=(1, 1, 1), window=(80, 90, 100)).compute()
    assert new.image.shape[2:] == (80, 90, 100)
    for patient, sequence in (("001", "T1WI"), ("003", "T2WI")):
        tumor = np.argwhere(new.mask.sel(patient=patient, sequence=sequence).values)
        middle = (tumor.min(axis=0) + tumor.max(axis=0)) / 2
        assert np.abs(middle - (39.5, 44.5, 49.5)).max() <= 3  # the box ends at voxel borders
    alone = new.sel(patient="002", sequence="T2WI")  # no mask
    assert alone.status == "warning"
    assert "about the middle of the volume" in str(alone.message.values)


def test_windows_of_aligned_sequences_are_one_box(store):
    ds = npc.open(store)
    new = npc.resample(ds, like="CE-T1WI", spacing=(3, 1, 1), window=(60, 80, 80)).compute()
    for patient in ("001", "002"):
        first = new.sel(patient=patient, sequence="CE-T1WI")
        for sequence in ("T1WI", "T2WI"):
            np.testing.assert_array_equal(new.affine.sel(patient=patient, sequence=sequence), first.affine)
        alone = npc.resample(ds.sel(sequence="CE-T1WI"), spacing=(3, 1, 1), window=(60, 80, 80)).sel(patient=patient)
        np.testing.assert_array_equal(alone.mask, first.mask)
    chunked = npc.resample(ds.chunk(patient=2, sequence=3), like="CE-T1WI", spacing=(3, 1, 1), window=(60, 80, 80))
    np.testing.assert_array_equal(chunked.mask, new.mask)


@pytest.mark.slow
@pytest.mark.parametrize("normalize", ["zscore", "percentile"])
def test_normalized_numbers_lead_back_to_real_values(store, normalize):
    ds = npc.open(store)
    plain = npc.resample(ds, spacing=(2, 1, 1)).compute()
    new = npc.resample(ds, spacing=(2, 1, 1), normalize=normalize).compute()
    back = new.image * new.rescale_slope + new.rescale_intercept
    real = plain.image * plain.rescale_slope + plain.rescale_intercept
    np.testing.assert_allclose(back, real, atol=0.01)
    scan = ds.npc.scan("001", "T1WI").image.values
    one = npc.resample(ds, normalize=normalize).npc.scan("001", "T1WI").image.values
    if normalize == "zscore":
        np.testing.assert_allclose(one, (scan - scan.mean()) / scan.std(), atol=1e-4)
    else:
        low, high = np.percentile(scan, (1, 99))
        np.testing.assert_allclose(one, (scan - low) / (high - low), atol=1e-5)


def test_slices_of_different_rescaling_are_mixed_as_real_values(store):
    ds = npc.open(store).sel(patient=["001"], sequence=["T1WI"]).load()
    depth = int(ds["shape"][0, 0, 0])
    ds["rescale_slope"][0, 0, :depth] = np.arange(1, depth + 1)
    new = npc.resample(ds, spacing=(1, None, None)).npc.scan("001", "T1WI")
    assert (new.rescale_slope == 1).all()
    scan = ds.npc.scan("001", "T1WI", real=True)
    own, target = Grid(scan.image.shape, scan.affine.values), Grid(new.image.shape, new.affine.values)
    np.testing.assert_allclose(new.image, resample_array(scan.image.values.astype(np.float32), own, target))


@pytest.mark.slow
def test_the_result_is_measured_scored_and_written_like_a_store(store, tmp_path):
    ds = npc.open(store)
    new = npc.resample(ds, spacing=(2, 1, 1))
    before, after = npc.morphology(ds).compute(), npc.morphology(new).compute()
    np.testing.assert_allclose(after.volume, before.volume, rtol=0.15)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new.to_zarr(tmp_path / "lazy.zarr", consolidated=False)
        back = npc.open(tmp_path / "lazy.zarr")
    np.testing.assert_array_equal(npc.morphology(back).compute().volume, after.volume)
    assert back.image.encoding["shards"] is None
    npc.resample_store(store, tmp_path / "out.zarr", spacing=(2, 1, 1), workers=0)
    scored = npc.score(npc.open(tmp_path / "out.zarr"), tmp_path / "out.zarr").compute()
    assert (scored.dice.fillna(1) == 1).all()
    measured, failures = npc.measure_store(tmp_path / "out.zarr", "morphology")
    np.testing.assert_array_equal(measured.volume, after.volume)
    assert failures == ()


@pytest.mark.slow
def test_raters_are_resampled_too(cohort, tmp_path):
    npc.convert(cohort / "inner_reliability.zip", tmp_path / "raters.zarr", workers=0)
    npc.resample_store(tmp_path / "raters.zarr", tmp_path / "out.zarr", shape=(None, 48, 48), workers=0)
    assert npc.validate(tmp_path / "out.zarr", workers=0) == ()
    written, lazy = (
        npc.open(tmp_path / "out.zarr"),
        npc.resample(npc.open(tmp_path / "raters.zarr"), shape=(None, 48, 48)),
    )
    assert written.mask.dims == ("patient", "sequence", "rater", "z", "y", "x")
    np.testing.assert_array_equal(written.mask, lazy.mask)
    assert float(npc.agreement(lazy).dice.mean()) > 0.5
    with pytest.raises(ParameterError, match="select a rater"):
        npc.resample(npc.open(tmp_path / "raters.zarr"), window=(10, 10, 10))
    one = npc.open(tmp_path / "raters.zarr").isel(rater=0)
    assert npc.resample(one, window=(10, 10, 10)).mask.shape[2:] != one.mask.shape[2:]


@pytest.mark.slow
def test_what_cannot_be_resampled_is_named_and_the_rest_goes_on(store, tmp_path):
    like = npc.resample_store(store, tmp_path / "like.zarr", like="T1WI", workers=0)
    assert like.status.sel(patient="003", sequence="T2WI") == "refused"
    assert "no T1WI to lay it on" in str(like.message.sel(patient="003", sequence="T2WI").values)
    assert (like.status.sel(patient=["001", "002"]) == "ok").sum() >= 5
    unknown = npc.open(store).load()
    unknown["spacing"][0, 0, 0] = np.nan
    lazy = npc.resample(unknown, spacing=(1, None, None))
    assert "voxel size along z is not known" in str(lazy.message[0, 0].values)
    assert (lazy["shape"][0, 0] == 0).all()
    in_plane = npc.resample(unknown, spacing=(None, 1, 1))
    assert in_plane.status[0, 0] == "ok"
    assert np.isnan(in_plane.spacing[0, 0, 0])
    cut = npc.resample_store(store, tmp_path / "cut.zarr", window=(6, 5, 5), workers=0)
    assert "of the tumor is outside the new grid" in str(cut.message.sel(patient="001", sequence="T1WI").values)


@pytest.mark.slow
def test_a_damaged_scan_is_named_and_the_rest_goes_on(store, tmp_path):
    copy = tmp_path / "copy.zarr"
    shutil.copytree(store, copy)
    shard = copy / "image/c/0/1/0/0/0"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    result = npc.resample_store(copy, tmp_path / "out.zarr", spacing=(2, 1, 1), workers=0)
    assert result.status.sel(patient="001", sequence="T2WI") == "refused"
    assert "damaged" in str(result.message.sel(patient="001", sequence="T2WI").values)
    assert (result.status.sel(patient="002") == "ok").sum() >= 2
    assert npc.validate(tmp_path / "out.zarr", workers=0) == ()


@pytest.mark.slow
def test_changed_scans_and_other_requests(store, cohort, tmp_path):
    copy, out = tmp_path / "copy.zarr", tmp_path / "out.zarr"
    shutil.copytree(store, copy)
    npc.resample_store(copy, out, spacing=(2, 1, 1), workers=0)
    source = tmp_path / "primary_data"
    shutil.copytree(cohort / "primary_data", source)
    (source / "data/MRI-Segments/001/ROI-T1.nii").unlink()
    npc.convert(source, copy, workers=0, rewrite=["001/T1WI"])
    again = npc.resample_store(copy, out, spacing=(2, 1, 1), workers=0)
    assert again.action.sel(patient="001", sequence="T1WI") == "replaced"
    assert (again.action == "replaced").sum() == 1
    with pytest.raises(StoreError, match=r"resampled as .*name another store"):
        npc.resample_store(copy, out, spacing=(1, 1, 1), workers=0)
    with pytest.raises(StoreError, match="not resampled"):
        npc.resample_store(copy, store, spacing=(1, 1, 1), workers=0)
    with pytest.raises(ParameterError, match="into itself"):
        npc.resample_store(copy, copy, spacing=(1, 1, 1))
    with pytest.raises(StoreError, match="resampled cohort"):
        npc.convert(source, out, workers=0)


def test_errors_say_what_there_is(store):
    ds = npc.open(store)
    with pytest.raises(ParameterError, match=r"no sequence 'FLAIR'.*T1WI, T2WI, CE-T1WI"):
        npc.resample(ds, like="FLAIR")
    with pytest.raises(ParameterError, match=r"no scan of the Dataset can be resampled.*hold nothing"):
        npc.resample(ds, bounds=((9000, 9001), None, None))
    with pytest.raises(ParameterError, match="no image and no mask"):
        npc.resample(ds.drop_vars(["image", "mask"]), spacing=(1, 1, 1))


@pytest.mark.slow
def test_killed_and_run_again_on_two_processes_it_is_the_same(store, tmp_path):
    npc.resample_store(store, tmp_path / "a.zarr", spacing=(2, 1, 1), workers=2)
    taken = []

    def stop(progress):
        taken.append(progress.done)
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        npc.resample_store(store, tmp_path / "b.zarr", spacing=(2, 1, 1), workers=0, on_progress=stop)
    again = npc.resample_store(store, tmp_path / "b.zarr", spacing=(2, 1, 1), workers=0)
    assert (again.action == "kept").sum() >= 3
    first, second = (comparable(npc.open(tmp_path / name).compute()) for name in ("a.zarr", "b.zarr"))
    xr.testing.assert_identical(first, second)
