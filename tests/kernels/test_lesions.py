import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import ndimage

from npczarr.errors import ParameterError
from npczarr.kernels.agreement import compare
from npczarr.kernels.lesions import match_lesions
from npczarr.kernels.masks import bounding_box
from npczarr.kernels.runs import find_pieces

from .plain import law, masks, pairs

TOUCHING = np.ones((3, 3, 3))  # a face, an edge or a corner


def plainly(a, b, iou):
    """TP, FP, FN and the Dice of each match, written out: all pairs, the best first, each lesion once."""
    of_a, n_a = ndimage.label(a, TOUCHING)
    of_b, n_b = ndimage.label(b, TOUCHING)
    scored = []
    for i in range(1, n_a + 1):
        for j in range(1, n_b + 1):
            one, other = of_a == i, of_b == j
            both = (one & other).sum()
            if both and both / (one | other).sum() >= iou:
                scored.append((both / (one | other).sum(), i, j, 2 * both / (one.sum() + other.sum())))
    dice, used_a, used_b = [], set(), set()
    for _, i, j, value in sorted(scored, key=lambda pair: -pair[0]):
        if i not in used_a and j not in used_b:
            used_a.add(i)
            used_b.add(j)
            dice.append(value)
    return len(dice), n_b - len(dice), n_a - len(dice), sorted(dice)


@law
@given(masks())
def test_pieces_are_those_of_scipy_in_the_order_of_their_first_voxels(mask):
    expected, count = ndimage.label(mask, TOUCHING)
    # the numbers of scipy follow the first voxels too
    firsts = [np.argwhere(expected == n)[0].tolist() for n in range(1, count + 1)]
    for voxels in (mask.view(np.uint8), np.asfortranarray(mask.view(np.uint8))):
        for window in (bounding_box(voxels), tuple(slice(0, n) for n in mask.shape)):
            pieces = find_pieces(voxels, window)
            assert pieces.first_zyx.tolist() == firsts
            assert_array_equal(pieces.voxels, np.bincount(expected.ravel(), minlength=count + 1)[1:])
            assert (pieces.stops - pieces.starts).sum() == mask.sum()


@law
@given(pairs(), st.sampled_from([0.1, 0.3, 0.5, 0.7, 1.0]))
def test_matches_are_those_of_a_plain_search(pair, iou):
    a, b = pair
    found = match_lesions(a, b, iou=iou)
    tp, fp, fn, dice = plainly(a, b, iou)
    if iou >= 0.5:  # above, each lesion has one partner at most; below, equal scores may be settled either way
        assert (found.true_positives, found.false_positives, found.false_negatives) == (tp, fp, fn)
        np.testing.assert_allclose(sorted(found.dice_of_matches), dice)
        np.testing.assert_allclose(found.f1, 2 * tp / (2 * tp + fp + fn))
    assert len(set(found.match_a.tolist())) == len(set(found.match_b.tolist())) == found.true_positives


@law
@given(pairs())
def test_swapping_the_masks_swaps_what_is_missed_and_what_is_extra(pair):
    one, other = match_lesions(*pair), match_lesions(*pair[::-1])
    assert (one.true_positives, one.f1, one.dice) == pytest.approx((other.true_positives, other.f1, other.dice))
    assert (one.false_positives, one.false_negatives) == (other.false_negatives, other.false_positives)
    assert match_lesions(pair[0], pair[0]).f1 == match_lesions(pair[0], pair[0]).dice == 1.0


@law
@given(pairs())
def test_background_around_moves_the_places_alone(pair):
    near, far = match_lesions(*pair), match_lesions(*(np.pad(mask, ((3, 1), (0, 2), (2, 0))) for mask in pair))
    assert_array_equal(far.first_a_zyx - near.first_a_zyx, np.tile([3, 0, 2], (len(near.voxels_a), 1)))
    assert all(pair[0][tuple(at)] for at in near.first_a_zyx)
    assert all(pair[1][tuple(at)] for at in near.first_b_zyx)
    assert_array_equal(far.voxels_both, near.voxels_both)


def test_many_lesions_are_counted_as_few_are():
    rng = np.random.default_rng(0)
    a = np.zeros((30, 120, 120), bool)
    a[::2, ::2, ::2] = rng.random((15, 60, 60)) < 0.8
    b = a & (rng.random(a.shape) < 0.5)
    found = match_lesions(a, b)
    assert len(found.voxels_a) * len(found.voxels_b) > 1_000_000
    assert (found.true_positives, found.false_positives) == (b.sum(), 0)
    assert found.false_negatives == a.sum() - b.sum()
    assert found.dice == 1.0


def test_empty_masks():
    empty, full = np.zeros((3, 4, 5), bool), np.ones((3, 4, 5), bool)
    both = match_lesions(empty, empty)
    assert (both.true_positives, both.false_positives, both.false_negatives) == (0, 0, 0)
    assert math.isnan(both.f1)
    assert math.isnan(both.dice)
    one = match_lesions(full, empty)
    assert (one.false_positives, one.false_negatives, one.f1, one.dice) == (0, 1, 0.0, 0.0)


@pytest.mark.parametrize("iou", [0, -1, 1.1, math.nan, True, "x"])
def test_a_threshold_that_means_nothing_is_refused(iou):
    with pytest.raises(ParameterError, match="above 0 and up to 1"):
        match_lesions(np.ones((1, 1, 1)) > 0, np.ones((1, 1, 1)) > 0, iou=iou)


def test_the_record_of_agreement_holds_the_counts():
    a, b = np.zeros((2, 5, 9, 9), np.uint8)
    a[1, 1:4, 1:4], a[3, 6, 6] = 1, 1
    b[1, 1:4, 1:3], b[3, 1, 1], b[3, 8, 8] = 1, 1, 1
    found = compare(a, b, (1, 1, 1), tolerance_mm=1)
    assert (found.lesions_a, found.lesions_b, found.lesion_tp, found.lesion_fp, found.lesion_fn) == (2, 3, 1, 2, 1)
    assert found.lesion_f1 == pytest.approx(2 / 5)
    assert found.lesion_dice == pytest.approx(12 / 15)
