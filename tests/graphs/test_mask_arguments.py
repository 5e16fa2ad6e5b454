"""One mask as an array or a DataArray: its voxel size, and whether two are on one grid."""

import numpy as np
import pytest
import xarray as xr

import npczarr as npc

SPACING = (5.5, 0.43, 0.44)


@pytest.fixture(scope="module")
def voxels():
    return np.random.default_rng(0).random((4, 6, 7)) > 0.5


def on_grid(voxels, spacing=SPACING, units="mm", **coords):
    """A mask as ds.npc.scan gives it."""
    positions = {
        axis: (axis, -3 + step * np.arange(n), {"units": units})
        for axis, step, n in zip("zyx", spacing, voxels.shape, strict=True)
    }
    return xr.DataArray(voxels, dims=("z", "y", "x"), coords=positions | coords)


def test_a_scan_tells_its_voxel_size(store):
    ds = npc.open(store)
    a, b = (ds.npc.scan("001", sequence) for sequence in ("T1WI", "T2WI"))
    spacing = a.spacing.values
    assert npc.measure_mask(a.mask) == npc.measure_mask(a.mask.values, spacing=spacing)
    assert npc.measure_mask(a.mask.transpose("x", "z", "y")) == npc.measure_mask(a.mask)
    moved = a.mask.copy(data=np.roll(a.mask.values, 1, axis=2))
    assert npc.compare_masks(a.mask, moved) == npc.compare_masks(a.mask.values, moved.values, spacing=spacing)
    assert npc.compare_masks(a.mask, moved.values) == npc.compare_masks(a.mask, moved)
    with pytest.raises(npc.ParameterError, match="resample one onto the grid"):
        npc.compare_masks(a.mask, b.mask)


@pytest.mark.parametrize("way", [{"z": 2, "y": 2, "x": 2}, 2, 2.0, [2, 2, 2], np.full(3, 2.0), np.float32(2)])
def test_a_voxel_size_is_written_as_one_likes(voxels, way):
    assert npc.measure_mask(voxels, spacing=way) == npc.measure_mask(voxels, spacing=(2.0, 2.0, 2.0))


def test_a_selection_is_measured_by_its_positions(voxels):
    thinned = on_grid(voxels).isel(y=slice(None, None, 2), x=slice(None, None, -1))
    expected = npc.measure_mask(thinned.values, spacing=(5.5, 0.86, 0.44))
    found = npc.measure_mask(thinned)
    np.testing.assert_allclose(found["volume"], expected["volume"])
    one_slice = on_grid(voxels).isel(z=[1])
    with pytest.raises(npc.ParameterError, match="along z is not known"):
        npc.measure_mask(one_slice)
    assert npc.measure_mask(one_slice, spacing=SPACING)["voxel_count"] == voxels[1].sum()


def test_a_scalar_coordinate_spacing_counts_where_there_are_no_positions(voxels):
    mask = xr.DataArray(voxels, dims=("z", "y", "x"), coords={"spacing": 1.5})
    assert npc.measure_mask(mask) == npc.measure_mask(voxels, spacing=1.5)


def test_a_voxel_size_that_was_rounded_agrees_and_another_is_refused(voxels):
    mask = on_grid(voxels, (5.5, 0.4297, 0.4297))
    assert npc.measure_mask(mask, spacing=(5.5, 0.43, 0.43)) == npc.measure_mask(voxels, spacing=(5.5, 0.43, 0.43))
    with pytest.raises(npc.ParameterError, match=r"along z: spacing says 5 mm, the DataArray mask says 5\.5 mm"):
        npc.measure_mask(mask, spacing=(5.0, 0.43, 0.43))
    with pytest.raises(npc.ParameterError, match="apart"):
        npc.compare_masks(mask, on_grid(voxels))


def test_voxels_of_unknown_size_are_not_measured_in_mm(voxels):
    mask = on_grid(voxels, (1, 1, 1), units="1")
    with pytest.raises(npc.ParameterError, match="not known"):
        npc.measure_mask(mask)
    assert npc.measure_mask(mask, spacing=SPACING) == npc.measure_mask(voxels, spacing=SPACING)


@pytest.mark.parametrize(
    ("spacing", "said"),
    [
        (None, "along z is not known"), ((1, 2), "three numbers"), ("1", "got '1'"), ({"z": 1}, "none along y, x"),
        ({"z": 1, "y": 1, "t": 1}, "got 't'"), ((1, 0, 1), "above 0"), (True, "got True"),
        (object(), "expected one value"),
        ((1, None, 1), "above 0"), (float("inf"), "finite"),
    ],
)  # fmt: skip
def test_wrong_voxel_sizes_are_refused(voxels, spacing, said):
    for call in (npc.measure_mask, lambda mask, **more: npc.compare_masks(mask, mask, **more)):
        with pytest.raises(npc.ParameterError, match=said):
            call(voxels, spacing=spacing)


def test_wrong_data_arrays_are_refused(voxels):
    mask = on_grid(voxels)
    for wrong, said in (
        (mask.expand_dims(rater=["a"]), "select one along rater"),
        (mask.isel(z=0), "keep all three"),
        (mask.rename(x="i"), "select one along i"),
        (on_grid(voxels, units="cm"), "units 'cm'"),
        (mask.drop_attrs(), "units None"),
        (mask.isel(y=[0, 1, 4]), "evenly spaced positions along y"),
        (mask.astype(float), "booleans or integers"),
    ):
        with pytest.raises(npc.ParameterError, match=said):
            npc.measure_mask(wrong)


def test_measures_of_a_store_take_their_own_arguments_only(store):
    for measure, given, said in (
        ("volume", {}, "morphology, agreement, score"),
        ("morphology", {"tolerance": 1.0}, "tolerance is no argument of morphology, which takes method"),
        ("agreement", {"predictions": "p"}, "takes tolerance"),
        ("score", {"method": "lewiner", "predictions": "p"}, "takes predictions, tolerance, config"),
        ("score", {}, "predictions: expected"),
    ):
        with pytest.raises(npc.ParameterError, match=said):
            npc.measure_store(store, measure, **given)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("short", "long"),
    [
        ({"spacing": 2.0}, {"spacing": (2.0, 2.0, 2.0)}),
        ({"spacing": {"y": 2, "x": 2}}, {"spacing": (None, 2, 2)}),
        ({"shape": 16}, {"shape": (16, 16, 16)}),
        ({"shape": {"z": 8}}, {"shape": (8, None, None)}),
        ({"window": 40}, {"window": (40, 40, 40)}),
        ({"window": {"x": 50, "z": 30, "y": 40}}, {"window": (30, 40, 50)}),
        ({"bounds": {"z": [-20, 20]}}, {"bounds": ((-20, 20), None, None)}),
    ],
)
def test_resampling_takes_scalars_and_mappings(store, short, long):
    ds = npc.open(store).sel(patient="001")
    assert npc.resample(ds, **short).attrs["resampling"] == npc.resample(ds, **long).attrs["resampling"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [
        {"spacing": {"t": 1}}, {"spacing": True}, {"shape": 16.5}, {"window": {"z": 10}}, {"bounds": 5},
        {"bounds": "abc"},
        {"spacing": object()}, {"method": []}, {"center": None, "window": 10}, {"normalize": 3},
    ],
)  # fmt: skip
def test_wrong_resamplings_are_errors_of_ours(store, wrong):
    with pytest.raises(npc.ParameterError):
        npc.resample(npc.open(store), **wrong)
