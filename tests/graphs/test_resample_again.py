"""Stores that were resampled already, resampled again: what is outside the field of view stays unknown."""

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.report.scored_scans import score_scans
from npczarr.runner import Runner
from npczarr.store.cohort import StoredCohort
from npczarr.store.location import locate

PURPOSES = ("training", None)
pytestmark = pytest.mark.slow  # two stores more


@pytest.fixture(scope="module")
def made(store, tmp_path_factory):
    """The cohort on the grid of T1WI, by purpose: int16 with padding, float32 with NaN."""
    folder = tmp_path_factory.mktemp("again")
    found = {purpose: folder / f"{purpose}.zarr" for purpose in PURPOSES}
    for purpose, url in found.items():
        npc.resample_store(store, url, like="T1WI", spacing=(5, 3, 3), purpose=purpose, workers=0)
    return found


def real(dataset, sequence="T2WI", patient="001"):
    """Real values of a scan by the tables alone, NaN where there is none."""
    one = dataset[["image", "rescale_slope", "rescale_intercept", "shape"]].sel(patient=patient, sequence=sequence)
    one = one.load()
    z, y, x = (slice(int(n)) for n in one["shape"].values)
    return (one.image * one.rescale_slope + one.rescale_intercept).transpose("z", "y", "x").values[z, y, x]


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("method", ["nearest", "linear", "cubic", "area"])
@pytest.mark.parametrize("normalize", [None, "zscore", "percentile"])
def test_a_store_holds_what_the_lazy_dataset_says(made, tmp_path, purpose, method, normalize):
    request = {"spacing": (4, 4, 2.5), "method": method, "normalize": normalize}
    npc.resample_store(made[purpose], tmp_path / "out.zarr", workers=0, **request)
    written, lazy = npc.open(tmp_path / "out.zarr").compute(), npc.resample(npc.open(made[purpose]), **request)
    lazy = lazy.compute()
    for name in ("image", "mask", "image_digest", "rescale_slope", "rescale_intercept", "status", "message"):
        xr.testing.assert_equal(written[name].variable, lazy[name].variable)
    before, after = real(npc.open(made[purpose])), real(written)
    assert 0 < np.isnan(before).mean() < 1
    assert abs(np.isnan(after).mean() - np.isnan(before).mean()) < 0.2  # but the edge of the field of view
    beyond = 0.3 * np.nanmax(before) if method == "cubic" else 0.01
    assert np.nanmin(before) - beyond <= np.nanmin(after) <= np.nanmax(after) <= np.nanmax(before) + beyond


@pytest.mark.parametrize("normalize", ["zscore", "percentile"])
def test_the_known_voxels_are_normalized(made, normalize):
    for purpose in PURPOSES:
        found = npc.resample(npc.open(made[purpose]), normalize=normalize).compute()
        values = found.image.sel(patient="001", sequence="T2WI").values
        known = values[np.isfinite(values)]
        assert 0 < known.size < values.size
        if normalize == "zscore":
            np.testing.assert_allclose((known.mean(dtype=float), known.std(dtype=float)), (0, 1), atol=1e-4)
        else:
            np.testing.assert_allclose(np.percentile(known.astype(float), (1, 99)), (0, 1), atol=1e-4)


def test_the_command_line_gives_the_same(made, tmp_path):
    arguments = [str(made["training"]), str(tmp_path / "out.zarr"), "--spacing", "4,4,2.5", "--method", "cubic"]
    result = CliRunner().invoke(app, ["resample", *arguments, "--normalize", "zscore", "--workers", "0"])
    assert result.exit_code == 0, result.output
    lazy = npc.resample(npc.open(made["training"]), spacing=(4, 4, 2.5), method="cubic", normalize="zscore")
    xr.testing.assert_equal(npc.open(tmp_path / "out.zarr").image.variable.compute(), lazy.image.variable.compute())


def test_padding_that_xarray_did_not_decode_is_unknown_too(made):
    request = {"spacing": (4, 4, 2.5), "normalize": "zscore"}
    plain = xr.open_zarr(made["training"], mask_and_scale=False)
    assert plain.image.dtype == np.int16
    found, expected = (npc.resample(ds, **request).compute() for ds in (plain, npc.open(made["training"])))
    for name in ("image", "rescale_slope", "rescale_intercept"):
        np.testing.assert_array_equal(found[name].values, expected[name].values)


def test_a_stored_scan_has_no_value_where_there_is_padding(made):
    for purpose in PURPOSES:
        decoded = npc.open(made[purpose]).image
        for scan in StoredCohort(locate(made[purpose])):
            if not scan.has_image:
                continue
            expected = decoded.sel(patient=scan.patient, sequence=scan.sequence).values[scan.window]
            found = scan.known_image()
            np.testing.assert_array_equal(found, expected)
            window = slice(1, 4), slice(2, 9), slice(0, scan.shape_zyx[2])
            np.testing.assert_array_equal(scan.known_image(window), found[window])
            assert found.dtype == (scan.image().dtype if np.isfinite(found).all() else np.float32)


def test_an_image_of_which_nothing_is_left_is_said_to_be_so(store, tmp_path):
    ds = npc.open(store).sel(patient=["001"]).load()
    moved = ds.affine.values.copy()
    moved[0, list(ds.sequence.values).index("T2WI"), 0, 3] += 5000  # mm
    ds["affine"] = (ds.affine.dims, moved, ds.affine.attrs)
    said = "no voxel of the image has a known value on the new grid"
    gone = npc.resample(ds, like="T1WI").compute()
    one = gone.sel(patient="001", sequence="T2WI")
    assert np.isnan(one.image).all()
    assert said in str(one.message.values)
    assert one.status == "warning"
    assert said not in str(gone.message.sel(patient="001", sequence="T1WI").values)
    # again: not said twice, and slope and intercept stay numbers
    again = npc.resample(gone, spacing=(5, 2, 2), method="cubic", normalize="zscore").compute()
    one = again.sel(patient="001", sequence="T2WI")
    assert str(one.message.values).count(said) == 1
    depth = int(one["shape"][0])
    assert np.isfinite(one.rescale_slope[:depth] + one.rescale_intercept[:depth]).all()
    gone.to_zarr(tmp_path / "gone.zarr", consolidated=False)
    npc.resample_store(tmp_path / "gone.zarr", tmp_path / "out.zarr", spacing=(5, 2, 2), normalize="zscore", workers=0)
    written = npc.open(tmp_path / "out.zarr").sel(patient="001", sequence="T2WI")
    assert str(written.message.values).count(said) == 1


def test_where_a_new_grid_meets_no_known_voxel_it_is_said(made):
    # of a scan that is known on one slice alone, slices between have no value
    copy = npc.open(made[None]).sel(patient=["001"], sequence=["T2WI"]).load()
    copy.image[..., :2, :, :] = np.nan
    copy.image[..., 3:, :, :] = np.nan
    copy = copy.drop_vars(["image_digest", "row_digest"])
    found = npc.resample(copy, spacing=(4.9, None, None)).compute()
    said = "no voxel of the image has a known value on the new grid"
    assert np.isnan(found.image).all()
    assert said in str(found.message.values.item())


def test_scores_and_pictures_are_those_of_the_floats(made):
    found = {}
    for purpose, url in made.items():
        with Runner(0) as runner:
            found[purpose] = score_scans(StoredCohort(locate(url)), runner)
    for key, whole in found["training"].items():
        floats = found[None][key]
        for name in ("snr", "tumor_contrast", "ghosting", "uneven", "blank_slices"):
            np.testing.assert_allclose(getattr(whole.scores, name), getattr(floats.scores, name), rtol=0.02, atol=0.05)
        assert abs(len(whole.thumbnail.content) - len(floats.thumbnail.content)) < 0.05 * len(floats.thumbnail.content)
    assert any(np.isfinite(one.scores.snr) for one in found["training"].values())
