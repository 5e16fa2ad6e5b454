import math

import numpy as np
import pytest
import surface_distance as deepmind
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from surface_distance.lookup_tables import create_table_neighbour_code_to_surface_area

from npczarr.errors import ParameterError
from npczarr.kernels.surface import (
    TIE,
    _element_area,
    assd,
    average_distances,
    hausdorff,
    surface_dice,
    surface_distances,
    surface_overlaps,
)

from .plain import ball, law, masks, pairs, spacings

# the package imports from a name that SciPy is about to remove
pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")


def check_against_deepmind(a, b, spacing, tolerance):
    ours, theirs = surface_distances(a, b, spacing), deepmind.compute_surface_distances(a, b, spacing)
    same = {"rtol": 1e-10, "atol": 1e-12}
    assert_allclose(ours.a_to_b_mm, theirs["distances_gt_to_pred"], **same)
    assert_allclose(ours.b_to_a_mm, theirs["distances_pred_to_gt"], **same)
    assert_allclose(np.sort(ours.a_area_mm2), np.sort(theirs["surfel_areas_gt"]), **same)
    assert_allclose(np.sort(ours.b_area_mm2), np.sort(theirs["surfel_areas_pred"]), **same)
    for percent in (50, 95, 100):
        # where a percentile falls just on a step between two distances, rounding decides: either will do
        low, high = (deepmind.compute_robust_hausdorff(theirs, percent + nudge) for nudge in (-1e-9, 1e-9))
        found = hausdorff(ours, percent)
        assert low - 1e-10 <= found <= high + 1e-10
        if high - low < 1e-10:
            assert_allclose(found, deepmind.compute_robust_hausdorff(theirs, percent), **same)
    averages = deepmind.compute_average_surface_distance(theirs)
    assert_allclose(average_distances(ours), averages, **same)
    weights = theirs["surfel_areas_gt"].sum(), theirs["surfel_areas_pred"].sum()
    assert_allclose(assd(ours), np.average(averages, weights=weights), **same)
    # a tolerance that equals a distance to the last digit may fall either way: stay clear of that
    tolerance += 1e-9
    exact = tolerance * (1 + TIE)
    assert_allclose(
        surface_overlaps(ours, tolerance), deepmind.compute_surface_overlap_at_tolerance(theirs, exact), **same
    )
    assert_allclose(surface_dice(ours, tolerance), deepmind.compute_surface_dice_at_tolerance(theirs, exact), **same)


@law
@given(spacings)
def test_element_areas_equal_deepmind(spacing):
    assert_allclose(_element_area(spacing), create_table_neighbour_code_to_surface_area(spacing), rtol=1e-13)


@pytest.mark.slow
@law
@given(pairs(), spacings, st.floats(0, 10))
def test_equals_deepmind_on_random_masks(pair, spacing, tolerance):
    check_against_deepmind(*pair, spacing, tolerance)


@pytest.mark.parametrize("spacing", [(5.5, 0.43, 0.43), (1, 1, 1), (0.5, 3, 1)])
def test_equals_deepmind_on_tumors(spacing):
    shape = (14, 60, 70)
    size = np.array(shape) * spacing
    a = ball(shape, spacing, size * 0.3)
    b = ball(shape, spacing, size * (0.25, 0.33, 0.2), size * (0.1, 0, -0.1)) & ~ball(shape, spacing, size * 0.1)
    far = ball(shape, spacing, size * 0.05, size * 0.4)
    check_against_deepmind(a, b, spacing, 1.0)
    check_against_deepmind(a, far, spacing, 1.0)


def test_deepminds_worked_case():
    a, b = np.zeros((2, 100, 100, 100), bool)
    a[0:50], b[0:51] = True, True
    distances = surface_distances(a, b, (2, 1, 1))
    assert_allclose(average_distances(distances), (0.322, 0.339), atol=5e-4)
    assert hausdorff(distances) == 2.0
    assert hausdorff(distances, 95) == 2.0
    assert_allclose(surface_dice(distances, 1), 0.836, atol=5e-4)


@law
@given(pairs(), spacings)
def test_swapping_the_masks_swaps_the_directions(pair, spacing):
    a, b = pair
    one, other = surface_distances(a, b, spacing), surface_distances(b, a, spacing)
    assert hausdorff(one) == hausdorff(other)
    assert hausdorff(one, 95) == hausdorff(other, 95)
    assert average_distances(one) == average_distances(other)[::-1]
    assert_allclose(assd(one), assd(other), rtol=1e-14)
    assert_allclose(surface_dice(one, 1), surface_dice(other, 1), rtol=1e-14)


@law
@given(pairs(), spacings, st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_flips_swapped_axes_and_padding_change_nothing(pair, spacing, order, flips):
    turned = [np.pad(np.flip(mask, np.flatnonzero(flips)).transpose(order), ((1, 0), (0, 3), (2, 2))) for mask in pair]
    one = surface_distances(*pair, spacing)
    other = surface_distances(*turned, [spacing[axis] for axis in order])
    assert_allclose(one.a_to_b_mm, other.a_to_b_mm, rtol=1e-12)
    assert_allclose(one.b_to_a_mm, other.b_to_a_mm, rtol=1e-12)
    assert_allclose(assd(one), assd(other), rtol=1e-12, atol=1e-12)


@law
@given(masks(), spacings)
def test_a_mask_agrees_with_itself(mask, spacing):
    distances = surface_distances(mask, mask, spacing)
    assert hausdorff(distances) == assd(distances) == 0
    assert surface_dice(distances, 0) == 1
    assert surface_overlaps(distances, 0) == (1, 1)


def test_one_empty_mask_is_infinitely_far():
    empty, voxel = np.zeros((2, 3, 4, 5), bool)
    voxel[1, 1, 1] = True
    for a, b in ((empty, voxel), (voxel, empty)):
        distances = surface_distances(a, b, (1, 1, 1))
        assert distances.one_empty
        assert hausdorff(distances) == hausdorff(distances, 95) == assd(distances) == math.inf
        assert average_distances(distances) == (math.inf, math.inf)
        assert surface_overlaps(distances, 1) == (0, 0)
        assert surface_dice(distances, 1) == 0


def test_two_empty_masks_have_no_distance():
    distances = surface_distances(*np.zeros((2, 3, 4, 5), bool), (1, 1, 1))
    assert distances.both_empty
    values = [hausdorff(distances), assd(distances), surface_dice(distances, 1)]
    values += [*average_distances(distances), *surface_overlaps(distances, 1)]
    assert all(map(math.isnan, values))


def test_wrong_arguments_are_refused():
    mask = np.ones((2, 2, 2), bool)
    distances = surface_distances(mask, mask, (1, 1, 1))
    for tolerance in (-1, math.nan, math.inf):
        with pytest.raises(ParameterError, match="tolerance_mm"):
            surface_dice(distances, tolerance)
    with pytest.raises(ParameterError, match="percent"):
        hausdorff(distances, 101)
    with pytest.raises(ParameterError, match="expected one shape"):
        surface_distances(mask, mask[1:], (1, 1, 1))
    with pytest.raises(ParameterError, match="spacing_zyx_mm"):
        surface_distances(mask, mask, (1, 0, 1))


@pytest.mark.parametrize("spacing", [1.0, 1.0000000000000002, 1 + 1e-9, 1 - 1e-9, 3.0375000000000005])
def test_a_distance_that_ties_with_the_tolerance_counts_whatever_the_last_bit_of_the_spacing(spacing):
    a = np.zeros((12, 14, 12), np.uint8)
    a[2:8, 2:8, 2:8] = 1
    found = surface_distances(a, np.roll(a, 2, 1), (spacing,) * 3)
    nominal = 2 * round(spacing, 4)
    assert surface_dice(found, nominal) == 1
    assert surface_overlaps(found, nominal) == (1, 1)
    assert surface_dice(found, nominal * (1 - 2e-6)) < 0.9  # no wider than a millionth
