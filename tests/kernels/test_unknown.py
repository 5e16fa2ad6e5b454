"""Volumes with unknown voxels: what is unknown stays where it is, and what is known is as if it were alone."""

from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npczarr.kernels.resample import resample
from npczarr.kernels.scan import intensities
from npczarr.kernels.unknown import extended, known_values
from npczarr.model.geometry import Grid
from npczarr.model.resampling import METHODS, Resampling

from .plain import law, shapes

OWN = Grid((9, 30, 36), [[0.5, 0, 0, 3], [0, 0.6, 0, -4], [0, 0, 3, 7], [0, 0, 0, 1]])
KNOWN = (slice(2, 6), slice(3, 25), slice(8, 30))
TARGETS = {
    "finer in-plane": OWN.regrid(spacing=(3, 0.4, 0.3)),
    "finer along z": OWN.regrid(spacing=(1.1, None, None)),
    "coarser": OWN.regrid(spacing=(2, 0.9, 1.3)),
    "rotated": Grid((10, 20, 22), [[0.7, 0.1, 0, 3], [-0.1, 0.7, 0, -2], [0, 0, 2, 8], [0, 0, 0, 1]]),
}


def volume(known=KNOWN, seed=0):
    """(z, y, x) values, known in a part of it."""
    result = np.full(OWN.shape_zyx, np.nan, np.float32)
    result[known] = np.random.default_rng(seed).normal(1000, 300, result[known].shape)
    return result


def mirror_images(values, known, at):
    """All values that the rule may give an unknown voxel: of several nearest voxels any one may be taken."""
    places = np.argwhere(known)

    def mirrored(at, about):
        folded = [abs(2 * b - a) for a, b in zip(at, about, strict=True)]
        return tuple(max(0, 2 * (n - 1) - i) if i >= n else i for i, n in zip(folded, known.shape, strict=True))

    @cache
    def found(at, reflections):
        away = ((places - at) ** 2).sum(axis=1)
        result = set()
        for place in places[away == away.min()].tolist():
            other = mirrored(at, place)
            if known[other]:
                result.add(values[other])
            elif reflections == 1:
                result.add(values[tuple(place)])
            else:
                result |= found(other, reflections - 1)
        return result

    return found(at, 12)


@pytest.mark.slow
@law
@given(shapes, st.sampled_from([0.1, 0.4, 0.8]), st.integers(0, 2**32 - 1))
def test_an_unknown_voxel_is_the_mirror_image_about_the_nearest_known(shape, share, seed):
    rng = np.random.default_rng(seed)
    known = rng.random(shape) < share
    known[tuple(rng.integers(shape))] = True
    values = np.where(known, rng.normal(0, 1, shape), np.nan).astype(np.float32)
    filled = extended(values)
    np.testing.assert_array_equal(filled[known], values[known])
    for at in product(*map(range, shape)):
        if not known[at]:
            assert filled[at] in mirror_images(values, known, at)


def test_far_from_what_is_known_stands_its_mean():
    line = np.full((1, 1, 40), np.nan, np.float32)
    assert not extended(line).any()
    line[0, 0, :4] = 1, 2, 3, 6
    found = extended(line)[0, 0]
    np.testing.assert_array_equal(found[:10], [1, 2, 3, 6, 3, 2, 1, 2, 3, 6])
    np.testing.assert_array_equal(found[16:], 3)


@pytest.mark.parametrize("target", TARGETS)
def test_unknown_voxels_around_a_scan_change_no_spline(target):
    whole, alone = volume(), volume()[KNOWN]
    found = resample(whole, OWN, TARGETS[target], method="cubic")
    np.testing.assert_array_equal(np.isnan(found), np.isnan(resample(whole, OWN, TARGETS[target])))
    inside = np.isfinite(found)
    assert 0.1 < inside.mean() < 0.5
    expected = resample(alone, OWN.crop(KNOWN), TARGETS[target], method="cubic")
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_a_hole_stays_a_hole(target):
    everywhere = volume(known=...)
    pierced = everywhere.copy()
    pierced[4, 15, 18] = np.nan
    target = TARGETS[target]
    found, plain = (resample(one, OWN, target, method="cubic") for one in (pierced, everywhere))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(resample(pierced, OWN, target)))
    assert 0 < np.count_nonzero(np.isnan(found) & np.isfinite(plain)) < 200
    center = np.linalg.inv(target.affine) @ OWN.affine @ [18, 15, 4, 1]
    away_mm = np.abs(np.indices(found.shape).T - center[2::-1]).T * target.spacing_zyx_mm[:, None, None, None]
    far = (away_mm > 9 * OWN.spacing_zyx_mm.reshape(3, 1, 1, 1)).any(axis=0) & np.isfinite(found)
    np.testing.assert_allclose(found[far], plain[far], atol=0.05)  # of values that differ by 300


def test_known_voxels_keep_their_values():
    scattered = np.where(np.random.default_rng(1).random(OWN.shape_zyx) < 0.7, volume(known=...), np.nan)
    scattered = scattered.astype(np.float32)
    for method in METHODS:
        np.testing.assert_array_equal(resample(scattered, OWN, OWN, method=method), scattered)
    halved = Grid((9, 59, 71), OWN.affine @ np.diag([0.5, 0.5, 1, 1]))  # every second voxel is one of the volume
    for method in ("linear", "cubic"):
        np.testing.assert_allclose(resample(scattered, OWN, halved, method=method)[:, ::2, ::2], scattered, rtol=1e-4)


def test_a_voxel_of_no_weight_does_not_count():
    values = np.arange(8, dtype=np.float32).reshape(1, 1, 8)
    values[..., 4:] = np.nan
    own = Grid((1, 1, 8), np.eye(4))
    found = resample(values, own, own.regrid(shape=(1, 1, 4)), method="area")
    np.testing.assert_allclose(found[0, 0], [0.5, 2.5, np.nan, np.nan])


@pytest.mark.parametrize("method", METHODS)
def test_where_nothing_is_known_nothing_becomes_known(method):
    assert np.isnan(resample(volume(known=slice(0)), OWN, TARGETS["coarser"], method=method)).all()


@pytest.mark.parametrize("normalize", ["zscore", "percentile"])
def test_statistics_are_of_the_known_voxels(normalize):
    slope, intercept = np.full(9, 2.0), np.full(9, 5.0)
    request, whole = Resampling(normalize=normalize), volume()
    numbers = intensities(request, whole, slope, intercept)
    inside = whole[KNOWN].astype(np.float64)
    low, high = np.percentile(inside, (1, 99))
    expected = (inside.mean(), inside.std()) if normalize == "zscore" else (low, high - low)
    np.testing.assert_allclose((numbers.offset, numbers.scale), expected)
    np.testing.assert_allclose((numbers.slope, numbers.intercept), (2 * expected[1], 2 * expected[0] + 5))
    assert known_values(whole).size == inside.size
    nothing = intensities(request, np.full_like(whole, np.nan), slope, intercept)
    assert (nothing.offset, nothing.scale, nothing.slope, nothing.intercept) == (0, 1, 2, 5)


def test_statistics_do_not_depend_on_the_type_of_the_numbers():
    whole = np.random.default_rng(3).integers(-32768, 32767, (9, 70, 71)).astype(np.int16)
    ones, zeros = np.ones(9), np.zeros(9)
    for normalize in ("zscore", "percentile"):
        request = Resampling(normalize=normalize)
        assert len({intensities(request, whole.astype(t), ones, zeros) for t in (np.int16, np.int32, np.float32)}) == 1
