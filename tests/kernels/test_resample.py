"""Resampling against ITK, SciPy and plain sums."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from npczarr.errors import ParameterError
from npczarr.kernels.resample import resample, resample_mask
from npczarr.model.geometry import Grid, index_map

from .plain import ball

ITK = {"linear": sitk.sitkLinear, "cubic": sitk.sitkBSpline, "nearest": sitk.sitkNearestNeighbor}
OUTSIDE = -1e6


def grid(shape, spacing, degrees=(0, 0, 0), origin=(0, 0, 0)):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ np.diag(spacing[::-1])
    affine[:3, 3] = origin
    return Grid(shape, affine)


def itk_image(array, on):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(on.spacing_zyx_mm[::-1].tolist())
    image.SetOrigin(on.affine[:3, 3].tolist())
    image.SetDirection(on.directions.ravel().tolist())
    return image


def by_itk(array, source, target, method):
    reference = itk_image(np.zeros(target.shape_zyx, np.uint8), target)
    image = itk_image(array, source)
    found = sitk.Resample(image, reference, sitk.Transform(), ITK[method], OUTSIDE, sitk.sitkFloat32)
    values = sitk.GetArrayFromImage(found)
    values[values == OUTSIDE] = np.nan
    return values


def scan(shape=(9, 40, 36), seed=0):
    return np.random.default_rng(seed).integers(0, 4096, shape).astype(np.int16)


SOURCE = grid((9, 40, 36), (5.5, 0.43, 0.47), origin=(-8, 4, 30))
OBLIQUE = grid((9, 40, 36), (5.5, 0.43, 0.47), (12, -7, 21), (3, -20, 11))
TARGETS = {
    "1 mm": (SOURCE, SOURCE.regrid(spacing=(1, 1, 1))),
    "coarser": (SOURCE, SOURCE.regrid(shape=(4, 15, 15))),
    "ten times finer": (SOURCE, SOURCE.regrid(spacing=(0.55, None, None))),
    "shifted, partly outside": (SOURCE, grid((12, 30, 30), (4, 0.7, 0.6), origin=(-14, 9, 21))),
    "flipped": (SOURCE, Grid((9, 30, 30), [[-0.5, 0, 0, 6], [0, -0.5, 0, 18], [0, 0, 5, 31], [0, 0, 0, 1]])),
    "oblique, same axes": (OBLIQUE, OBLIQUE.regrid(spacing=(2, 0.6, 0.6))),
    "rotated": (SOURCE, grid((14, 25, 27), (3, 0.7, 0.7), (9, 4, -13), (-9, 5, 31))),
    "rotated to rotated": (OBLIQUE, grid((14, 25, 27), (3, 0.7, 0.7), (20, 4, -13), (3, -18, 14))),
    "sagittal": (SOURCE, Grid((20, 24, 22), [[0, 0, 0.8, -8], [0.8, 0, 0, 4], [0, 2.1, 0, 30], [0, 0, 0, 1]])),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["linear", "cubic"])
@pytest.mark.parametrize("case", TARGETS)
def test_equal_to_itk(case, method):
    source, target = TARGETS[case]
    volume = scan()
    found, expected = resample(volume, source, target, method=method), by_itk(volume, source, target, method)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * 4096)  # at the border as well


@pytest.mark.parametrize("case", TARGETS)
def test_nearest_is_a_nearest_voxel_and_equal_to_itk_but_for_ties(case):
    source, target = TARGETS[case]
    volume = scan()
    found, expected = resample(volume, source, target, method="nearest"), by_itk(volume, source, target, "nearest")
    z, y, x = np.indices(target.shape_zyx)
    at = np.moveaxis(np.stack([x, y, z, np.ones_like(x)]), 0, -1) @ index_map(target, source).T
    tie = (np.abs(at[..., :3] % 1 - 0.5) < 1e-6).any(axis=-1)
    np.testing.assert_array_equal(found[~tie], expected[~tie])
    assert tie.mean() < 0.5


def test_half_way_is_the_higher_index():
    line = Grid((1, 1, 4), np.eye(4))
    half = Grid((1, 1, 3), np.array([[1, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    found = resample(np.arange(4, dtype=np.int16).reshape(1, 1, 4), line, half, method="nearest")
    assert found.ravel().tolist() == [1, 2, 3]


@pytest.mark.slow
def test_real_series_equal_to_itk(real_data):
    from npczarr.sources.config import load_config
    from npczarr.sources.dicom import read_scan
    from npczarr.sources.discover import discover
    from npczarr.sources.files import open_source

    source = open_source(real_data / "real_cohort/primary_data")
    cohort = discover(source, load_config(None))
    for files in [f for f in cohort.scans.values() if f.images]:
        real = read_scan(source, files.images)
        low = real.grid.regrid(spacing=(3, 1.5, 1.5))
        turned = Grid(low.shape_zyx, np.vstack([low.affine[:3] + [[0, 0.1, 0, 5]] * 3, low.affine[3:]]))
        span = float(np.ptp(real.image))
        for target in (low, turned):
            for method in ("linear", "cubic"):
                found = resample(real.image, real.grid, target, method=method)
                expected = by_itk(real.image, real.grid, target, method)
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * span)


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from(["nearest", "linear", "cubic", "area"]),
    st.booleans(),
    st.integers(0, 9),
)
def test_identity_is_the_identity(shape, method, oblique, seed):
    on = grid(shape, (5.5, 0.43, 0.47), (12, -7, 21) if oblique else (0, 0, 0), (3.3, -20.1, 11))
    volume = scan(shape, seed)
    np.testing.assert_array_equal(resample(volume, on, on, method=method), volume)
    np.testing.assert_array_equal(resample_mask(volume > 2048, on, on), volume > 2048)


@pytest.mark.parametrize("flips", [(1, 1, -1), (-1, 1, 1), (-1, -1, -1)])
@pytest.mark.parametrize("method", ["nearest", "linear", "cubic"])
def test_a_flipped_grid_gives_the_flipped_volume(flips, method):
    volume = scan((4, 6, 5))
    on = grid((4, 6, 5), (3, 1, 1))
    affine = on.affine @ np.diag([*flips[::-1], 1])
    affine[:3, 3] = on.affine[:3, :3] @ [(n - 1) * (f < 0) for n, f in zip((5, 6, 4), flips[::-1], strict=True)]
    found = resample(volume, on, Grid(on.shape_zyx, affine), method=method)
    np.testing.assert_array_equal(found, volume[:: flips[0], :: flips[1], :: flips[2]])


def test_cubic_equals_scipy_inside_and_at_the_border():
    volume = scan((7, 8, 9)).astype(np.float64)
    target = SOURCE.crop([slice(7), slice(8), slice(9)]).regrid(shape=(11, 13, 12))
    on = SOURCE.crop([slice(7), slice(8), slice(9)])
    at = [
        (np.arange(m) - (m - 1) / 2) * (n / m) + (n - 1) / 2
        for m, n in zip(target.shape_zyx, volume.shape, strict=True)
    ]
    expected = map_coordinates(volume, np.meshgrid(*at, indexing="ij"), order=3, mode="mirror")
    np.testing.assert_allclose(resample(volume, on, target, method="cubic"), expected, atol=0.01)


def test_area_is_the_mean_of_what_lies_in_a_voxel():
    volume = scan((6, 8, 12))
    on = grid((6, 8, 12), (2, 1, 1))
    found = resample(volume, on, on.regrid(shape=(6, 4, 3)), method="area")
    np.testing.assert_allclose(found, volume.reshape(6, 4, 2, 3, 4).mean(axis=(2, 4)), rtol=1e-6)
    uneven = resample(volume, on, on.regrid(shape=(6, 8, 5)), method="area")
    fine = np.repeat(volume, 5, axis=2).reshape(6, 8, 5, 12).mean(axis=-1)
    np.testing.assert_allclose(uneven, fine, rtol=1e-6)
    with pytest.raises(ParameterError, match="same axes"):
        resample(scan(), SOURCE, TARGETS["rotated"][1], method="area")


def test_there_and_back_within_interpolation_error():
    volume = gaussian_filter(np.random.default_rng(0).random((12, 48, 48)), 3) * 1e5
    on = grid(volume.shape, (4, 0.5, 0.5))
    fine = on.regrid(spacing=(1, 0.3, 0.3))
    for method, bound in (("linear", 0.05), ("cubic", 0.005)):
        forth = resample(volume, on, fine, method=method)
        back = resample(forth, fine, on, method=method)
        inner = (slice(2, -2), slice(4, -4), slice(4, -4))
        assert np.abs(back - volume)[inner].max() < bound * np.ptp(volume)


@pytest.mark.parametrize("spacing", [(5.5, 0.43, 0.43), (3.0, 0.9, 0.9), (20.0, 1.0, 1.0), (1, 1, 1)])
@pytest.mark.parametrize("target", [(1, 1, 1), (5.5, 0.86, 0.86), (2, 0.5, 0.5)])
def test_tumor_volume_is_kept(spacing, target):
    shape = tuple(int(np.ceil(70 / s)) for s in spacing)
    mask = ball(shape, spacing, (16, 13, 14))
    on = grid(shape, spacing)
    new = on.regrid(spacing=target)
    found = resample_mask(mask, on, new)
    before, after = mask.sum() * np.prod(spacing), found.sum() * np.prod(target)
    assert abs(after / before - 1) < (0.03 if spacing[0] < 10 else 0.08)  # thresholding rounds the edges


@pytest.mark.parametrize("case", TARGETS)
def test_a_mask_is_the_thresholded_interpolation(case):
    source, target = TARGETS[case]
    mask = ball(source.shape_zyx, source.spacing_zyx_mm, (14, 6, 5), (3, 1, -2))
    expected = by_itk(mask.astype(np.float32), source, target, "linear")
    found = resample_mask(mask, source, target)
    clear = np.abs(np.nan_to_num(expected) - 0.5) > 1e-4
    np.testing.assert_array_equal(found[clear], (np.nan_to_num(expected) >= 0.5)[clear])
    assert set(np.unique(found)) <= {0, 1}


def test_masks_at_the_edge_and_empty_ones():
    on = grid((4, 8, 8), (5, 1, 1))
    full = resample_mask(np.ones((4, 8, 8), np.uint8), on, on.regrid(spacing=(1, 0.5, 0.5)))
    assert full.all()
    assert not resample_mask(np.zeros((4, 8, 8), bool), on, on.regrid(spacing=(1, 1, 1))).any()
    away = grid((4, 8, 8), (5, 1, 1), origin=(500, 0, 0))
    assert not resample_mask(np.ones((4, 8, 8), bool), on, away).any()
    assert np.isnan(resample(np.ones((4, 8, 8)), on, away)).all()


@pytest.mark.parametrize("method", ["nearest", "linear", "cubic", "area"])
def test_one_slice_one_voxel_and_a_steep_anisotropy(method):
    one = grid((1, 6, 6), (5, 1, 1))
    values = scan((1, 6, 6))
    thick = resample(values, one, one.regrid(spacing=(1, None, None)), method=method)
    assert thick.shape == (5, 6, 6)
    np.testing.assert_allclose(thick, np.repeat(values, 5, axis=0), rtol=1e-6)
    voxel = grid((1, 1, 1), (5, 1, 1))
    np.testing.assert_array_equal(
        resample(np.full((1, 1, 1), 7), voxel, voxel.regrid(spacing=(1, 0.5, 0.5)), method=method), 7
    )
    steep = grid((3, 20, 20), (20, 1, 1))
    assert np.isfinite(resample(scan((3, 20, 20)), steep, steep.regrid(spacing=(1, 1, 1)), method=method)).all()


def test_wrong_arguments_are_named():
    with pytest.raises(ParameterError, match="nearest, linear, cubic, area"):
        resample(scan(), SOURCE, SOURCE, method="lanczos")
    with pytest.raises(ParameterError, match="does not lie on a grid"):
        resample(scan((2, 2, 2)), SOURCE, SOURCE)
    with pytest.raises(ParameterError, match="linear, nearest"):
        resample_mask(scan() > 0, SOURCE, SOURCE, method="cubic")
