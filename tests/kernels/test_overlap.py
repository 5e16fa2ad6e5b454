import math

import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose

from npczarr.errors import ParameterError
from npczarr.kernels.agreement import compare
from npczarr.kernels.overlap import overlap

from .plain import law, pairs, spacings

RATIOS = ("dice", "jaccard", "precision", "sensitivity", "volume_similarity")


@law
@given(pairs())
def test_counts_and_ratios_equal_plain_sums(pair):
    a, b = pair
    voxels = overlap(a, b)
    assert (voxels.both, voxels.only_a) == ((a & b).sum(), (a & ~b).sum())
    assert (voxels.only_b, voxels.neither) == ((~a & b).sum(), (~a & ~b).sum())
    assert_allclose(voxels.dice, 2 * (a & b).sum() / (a.sum() + b.sum()))
    assert_allclose(voxels.jaccard, (a & b).sum() / (a | b).sum())
    assert_allclose(voxels.precision, (a & b).sum() / b.sum())
    assert_allclose(voxels.sensitivity, (a & b).sum() / a.sum())
    assert_allclose(voxels.volume_similarity, 1 - abs(int(a.sum()) - int(b.sum())) / (a.sum() + b.sum()))


@law
@given(pairs(), spacings)
def test_swapping_the_masks_swaps_precision_and_sensitivity(pair, spacing):
    one = compare(*pair, spacing, tolerance_mm=1)
    other = compare(*pair[::-1], spacing, tolerance_mm=1)
    for name in ("dice", "jaccard", "volume_similarity", "hd_mm", "hd95_mm", "assd_mm", "surface_dice"):
        assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-14)
    assert (one.precision, one.sensitivity) == (other.sensitivity, other.precision)
    assert (one.voxels_a, one.surface_overlap_a) == (other.voxels_b, other.surface_overlap_b)
    assert one.average_a_to_b_mm == other.average_b_to_a_mm


@law
@given(pairs(), spacings)
def test_a_window_around_the_tumor_changes_nothing(pair, spacing):
    a, b = (np.pad(mask, 2) for mask in pair)
    window = np.s_[1:-1, 2:-2, 1:]
    assert compare(a, b, spacing, tolerance_mm=1, window=window) == compare(a, b, spacing, tolerance_mm=1)


def test_values_above_one_count_once():
    a, b = np.zeros((2, 2, 3, 4), np.uint8)
    a[0, 0], b[0, 0, :2] = 1, 2  # bits that do not meet
    assert overlap(a, b).both == 2


def test_one_empty_mask_gives_zero_and_two_give_nan():
    empty, voxel = np.zeros((2, 3, 4, 5), bool)
    voxel[1, 1, 1] = True
    for a, b in ((empty, voxel), (voxel, empty)):
        result = compare(a, b, (1, 1, 1), tolerance_mm=1)
        assert [getattr(result, name) for name in RATIOS] == [0.0] * 5
        assert result.hd_mm == result.hd95_mm == result.assd_mm == math.inf
    result = compare(empty, empty, (1, 1, 1), tolerance_mm=1)
    assert (result.voxels_a, result.voxels_b) == (0, 0)
    assert all(math.isnan(getattr(result, name)) for name in (*RATIOS, "hd_mm", "assd_mm", "surface_dice"))


def test_whole_volumes_of_tumor_agree():
    result = compare(np.ones((3, 4, 5), bool), np.ones((3, 4, 5), np.int8), (5.5, 0.4, 0.4), tolerance_mm=0)
    assert result.dice == result.jaccard == result.surface_dice == 1
    assert result.hd_mm == 0


def test_unequal_shapes_are_refused():
    with pytest.raises(ParameterError, match="resample one onto the grid of the other"):
        overlap(np.ones((2, 2, 2), bool), np.ones((2, 2, 1), bool))
