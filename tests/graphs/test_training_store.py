"""A store resampled for training: whole numbers close to the values, tiles, statistics and foreground."""

import shutil

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.errors import ParameterError, StoreError
from npczarr.kernels.scan import Intensities, as_integers
from npczarr.store.zarr_library import consolidate


@pytest.fixture(scope="module")
def made(store, tmp_path_factory):
    url = tmp_path_factory.mktemp("training") / "t.zarr"
    npc.resample_store(store, url, like="T1WI", spacing=(4, 2, 2), purpose="training", workers=0)
    return url


@example(np.array([[[1e-45, 0]]], np.float32))  # the smallest range that there is
@example(np.full((1, 1, 2), 0.5, np.float32))
@given(arrays(np.float32, (2, 3, 4), elements=st.floats(-1e6, 1e6, width=32) | st.just(np.nan)))
def test_whole_numbers_are_within_half_a_step(values):
    before = values.astype(np.float64)
    found, numbers = as_integers(values.copy(), Intensities(False, 0.0, 1.0, 2.0, 5.0))
    assert found.dtype == np.int16
    inside = np.isfinite(before)
    np.testing.assert_array_equal(found == -32768, ~inside)
    if inside.any():
        real = found[inside] * numbers.slope + numbers.intercept
        width = float(before[inside].max()) - float(before[inside].min())
        rounding = 1e-5 * float(np.abs(before[inside]).max())  # of float32 itself
        assert np.abs(real - (2.0 * before[inside] + 5)).max() <= 2 * (width / 65532 + rounding) + 1e-9
        assert numbers.slope / 2 <= 2 * max(width / 65532, 0.5) + 1e-9


@given(arrays(np.int16, (2, 3, 4), elements=st.integers(-2000, 30000)))
def test_whole_numbers_stay_what_they_are(values):
    found, numbers = as_integers(values.astype(np.float32), Intensities(False, 0.0, 1.0, 1.0, 0.0))
    np.testing.assert_array_equal(found * numbers.slope + numbers.intercept, values)


@pytest.mark.slow
def test_it_is_the_resampled_store_but_for_rounding(store, made):
    assert npc.validate(made, workers=0) == ()
    ds, exact = npc.open(made), npc.resample(npc.open(store), like="T1WI", spacing=(4, 2, 2)).compute()
    xr.testing.assert_equal(ds.mask.reset_coords(drop=True).compute(), exact.mask.reset_coords(drop=True))
    for patient in ("001", "003"):
        one, other = ds.npc.scan(patient, "T2WI"), exact.npc.scan(patient, "T2WI")
        slope, intercept = (one[f"rescale_{n}"].values[:, None, None] for n in ("slope", "intercept"))
        outside = one.image.values == -32768
        assert outside.any()
        np.testing.assert_array_equal(outside, np.isnan(other.image.values))
        real = np.where(outside, np.nan, one.image.values * slope + intercept)
        expected = other.image.values * other.rescale_slope.values[:, None, None]
        expected = expected + other.rescale_intercept.values[:, None, None]
        assert np.nanmax(np.abs(real - expected)) <= slope.max() / 2 + 1e-3
        assert slope.max() / 2 <= np.nanmax(expected) / 60000


def test_its_facts_are_those_of_its_voxels(made):
    facts, ds = npc.open(made, group="training"), npc.open(made)
    for sequence in ds.sequence.values:
        scan = ds.npc.scan("002", sequence)
        one = facts.sel(patient="002", sequence=sequence)
        inside = scan.image.values[scan.image.values != -32768].astype(float)
        tumor = scan.image.values[(scan.mask.values > 0) & (scan.image.values != -32768)]
        for name, value in {
            "mean": inside.mean(), "standard_deviation": inside.std(), "low": np.percentile(inside, 0.5),
            "high": np.percentile(inside, 99.5), "foreground_mean": tumor.mean(),
            "foreground_standard_deviation": tumor.std(),
        }.items():  # fmt: skip
            np.testing.assert_allclose(one[name], value, rtol=1e-9)
        points = one.foreground.values[one.foreground.values[:, 0] > 0]
        assert len(np.unique(points, axis=0)) == len(points) == min(256, int((scan.mask > 0).sum()))
        assert (scan.mask.values[tuple(points[:, 1:].T)] == points[:, 0]).all()


@pytest.mark.slow
def test_a_second_run_writes_nothing_and_a_changed_scan_again(store, made, tmp_path):
    copy, out = shutil.copytree(store, tmp_path / "s.zarr"), shutil.copytree(made, tmp_path / "t.zarr")
    asked = {"like": "T1WI", "spacing": (4, 2, 2), "purpose": "training", "workers": 0}
    before = {file: file.stat().st_mtime_ns for file in out.rglob("c/*") if file.is_file()}
    assert (npc.resample_store(copy, out, **asked).action == "kept").all()
    assert before == {file: file.stat().st_mtime_ns for file in before}
    with pytest.raises(npc.StoreError, match="asked for is"):
        npc.resample_store(copy, out, **{**asked, "purpose": None})
    runner = CliRunner()
    line = [
        "resample",
        str(copy),
        str(tmp_path / "new.zarr"),
        "--for",
        "training",
        "--spacing",
        "4,2,2",
        "--workers",
        "0",
    ]
    assert "like=" in str(runner.invoke(app, line).exception)
    assert runner.invoke(app, [*line, "--like", "T1WI", "--codec", "lz4"]).exit_code == 0
    assert npc.validate(tmp_path / "new.zarr", workers=0) == ()
    with pytest.raises(ParameterError, match="codec"):
        npc.resample_store(copy, tmp_path / "x.zarr", **asked, codec="gzip")
    assert npc.open(made).npc.table().shape[0] == 9


@pytest.fixture
def source_and_target(tmp_path):
    """A store without its first patient, and what was resampled of it; and a function that makes the store anew."""
    npc.make_cohort(tmp_path / "cohort", patients=4, reliability=False)
    primary = tmp_path / "cohort/primary_data"
    source, target = tmp_path / "source.zarr", tmp_path / "target.zarr"

    def convert_without(*patients):
        shutil.rmtree(source, ignore_errors=True)
        for patient in patients:
            (primary / "data/MRI-Segments" / patient).rename(tmp_path / patient)
        npc.convert(primary, source, workers=0)
        for patient in patients:
            (tmp_path / patient).rename(primary / "data/MRI-Segments" / patient)

    convert_without("001")
    npc.resample_store(source, target, like="T1WI", spacing=(4, 2, 2), purpose="training", workers=0)
    return source, target, convert_without


@pytest.mark.slow
def test_rows_stay_with_their_patients_where_the_source_has_another_order(source_and_target):
    source, target, convert_without = source_and_target
    asked = {"like": "T1WI", "spacing": (4, 2, 2)}
    before = npc.split(target, shares={"train": 0.5, "test": 0.5}, seed=1)
    convert_without()
    npc.resample_store(source, target, **asked, purpose="training", workers=0)
    ds, expected = npc.open(target), npc.resample(npc.open(source), **asked)
    assert ds.patient.values.tolist() == ["002", "003", "004", "001"]
    assert ds.split.to_series().to_dict() == {**before, "001": ""}
    assert npc.validate(target, workers=0) == ()
    assert npc.open(source).patient.values.tolist() == ["001", "002", "003", "004"]
    for patient in ("001", "004"):
        one, other = ds.npc.scan(patient, "T2WI"), expected.npc.scan(patient, "T2WI")
        np.testing.assert_array_equal(one.mask, other.mask)
        np.testing.assert_array_equal(one.affine, other.affine)
        assert str(one.t_stage.values) == str(other.t_stage.values)


@pytest.mark.slow
def test_a_source_that_has_lost_a_patient_is_refused(source_and_target):
    source, target, convert_without = source_and_target
    convert_without("001", "003")
    with pytest.raises(StoreError, match="holds 1 patient that the store to be resampled has not, the first 003"):
        npc.resample_store(source, target, like="T1WI", spacing=(4, 2, 2), purpose="training", workers=0)


@pytest.mark.slow
def test_a_split_is_not_replaced_by_that_of_the_source(source_and_target):
    source, target, _ = source_and_target
    asked = {"like": "T1WI", "spacing": (4, 2, 2), "purpose": "training", "workers": 0}
    here = npc.split(target, shares={"train": 0.34, "test": 0.66}, seed=1)
    assert not here.equals(npc.split(source, shares={"train": 0.67, "test": 0.33}, seed=1))
    with pytest.raises(StoreError, match="column 'split' divides the patients otherwise"):
        npc.resample_store(source, target, **asked)
    assert npc.open(target).split.to_series().to_dict() == here.to_dict()
    npc.split(source, shares={"train": 0.34, "test": 0.66}, seed=1, replace=True)
    npc.resample_store(source, target, **asked)
    assert npc.open(target).split.to_series().to_dict() == here.to_dict()


@pytest.mark.slow
def test_columns_that_the_source_no_longer_has_go(source_and_target):
    source, target, _ = source_and_target
    npc.split(target, shares={"train": 0.5, "test": 0.5})
    assert "t_stage" in npc.open(target)
    del zarr.open_group(source, mode="r+", use_consolidated=False)["t_stage"]
    consolidate(zarr.open_group(source, mode="r+", use_consolidated=False))
    npc.resample_store(source, target, like="T1WI", spacing=(4, 2, 2), purpose="training", workers=0)
    ds = npc.open(target)
    assert "t_stage" not in ds
    assert {"split", "age", "mask"} <= set(ds.variables)
