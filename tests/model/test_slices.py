import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from npczarr.errors import GeometryError
from npczarr.model.slices import stack_slices
from tests.builders import oblique_grid

law = settings(deadline=None, max_examples=60)


def headers(grid):
    """What the headers of the slices of a grid say, as keyword arguments."""
    n, rows, columns = grid.shape_zyx
    first, step = grid.affine[:3, 3], grid.affine[:3, 2]
    row, column = grid.directions[:, 0], grid.directions[:, 1]
    return {
        "positions_mm": first + np.arange(n)[:, None] * step,
        "orientations": np.tile([*row, *column], (n, 1)),
        "rows": rows,
        "columns": columns,
        "pixel_spacings_mm": np.tile(grid.spacing_zyx_mm[1:], (n, 1)),
    }


def take(given_headers, which):
    """The same with only those slices, in that order."""
    per_slice = ("positions_mm", "orientations", "pixel_spacings_mm")
    return {key: value[which] if key in per_slice else value for key, value in given_headers.items()}


@pytest.fixture
def grid():
    return oblique_grid((10, 20, 30), seed=4, spacing_zyx_mm=(5.5, 0.43, 0.5))


@law
@given(st.integers(0, 10_000), st.integers(3, 40), st.floats(0.3, 9), st.randoms(use_true_random=False))
def test_any_shuffle_of_an_oblique_stack_gives_its_grid(seed, n, spacing_mm, random):
    true = oblique_grid((n, 7, 8), seed, (spacing_mm, 0.4, 0.6))
    shuffle = np.array(random.sample(range(n), n))
    stack = stack_slices(**take(headers(true), shuffle))
    assert_array_equal(shuffle[stack.order], np.arange(n))
    assert_allclose(stack.grid.affine, true.affine, atol=1e-9)
    assert stack.grid.shape_zyx == true.shape_zyx
    assert stack.warnings == ()


def test_z_grows_along_the_normal_of_the_image_plane(grid):
    affine = stack_slices(**take(headers(grid), np.arange(10)[::-1])).grid.affine
    assert np.linalg.det(affine[:3, :3]) > 0


def refused(given_headers, words, **more):
    with pytest.raises(GeometryError, match=words):
        stack_slices(**given_headers | more)


def test_a_missing_slice_is_named_with_its_gap_and_place(grid):
    there = [0, 1, 2, 4, 5, 6, 7, 8, 9]
    height = headers(grid)["positions_mm"][2] @ grid.directions[:, 2]
    refused(
        take(headers(grid), there), rf"1 slice\(s\) missing: gap of 11\.000 mm after .* {height:.2f} mm.* 5\.500 mm"
    )


def test_many_missing_slices_are_counted(grid):
    refused(take(headers(grid), [0, 1, 4, 5, 9]), r"5 slice\(s\) missing")
    refused(take(headers(grid), [0, 2, 4, 5, 7, 9]), r"4 slice\(s\) missing")


def test_two_slices_at_one_position(grid):
    refused(take(headers(grid), [0, 1, 2, 3, 3, 4]), "2 or more slices at one position")
    refused(take(headers(grid), [0, 0, 1, 1, 2, 2]), "4 or more slices at one position .*time points, echoes or copies")
    refused(take(headers(grid), [0, 0]), "at one position")


def test_irregular_spacing(grid):
    uneven = headers(grid)
    uneven["positions_mm"][5:] += 0.2 * grid.affine[:3, 2]
    refused(uneven, r"irregularly spaced: gap of 6\.600 mm.*expected 5\.500 mm")


def test_spacing_within_one_percent_is_regular(grid):
    wobbling = headers(grid)
    wobbling["positions_mm"][4] += 0.007 * grid.affine[:3, 2]  # one gap 0.7 % too wide, the next as much too narrow
    assert_allclose(stack_slices(**wobbling).grid.spacing_zyx_mm[0], 5.5, rtol=0.002)


def test_two_orientations(grid):
    mixed = headers(grid)
    mixed["orientations"][5:] = np.roll(mixed["orientations"][5:], 3, axis=1)
    refused(mixed, "2 orientations.*expected one")


def test_orientation_that_is_none(grid):
    skew = headers(grid)
    skew["orientations"][:, 3:] = skew["orientations"][:, :3]
    refused(skew, "not two perpendicular unit vectors")
    refused(headers(grid) | {"orientations": np.full((10, 6), np.nan)}, "not a finite number")


def test_several_pixel_spacings(grid):
    mixed = headers(grid)
    mixed["pixel_spacings_mm"][3] = 0.9
    refused(mixed, r"several pixel spacings.*0\.43.*0\.9")


def test_shear_is_refused_beyond_one_percent_and_a_warning_below(grid):
    def sheared(shear):
        tilted = headers(grid)
        tilted["positions_mm"] += np.arange(10)[:, None] * shear * 5.5 * grid.directions[:, 1]
        return tilted

    refused(sheared(0.2), r"do not stack along their normal: shear 0\.19")
    stack = stack_slices(**sheared(0.005))
    assert stack.warnings == ("slices stack 5.0e-03 off their normal (shear)",)
    assert_allclose(stack.grid.affine[:3, 2], grid.affine[:3, 2] + 0.005 * 5.5 * grid.directions[:, 1])
    assert stack_slices(**sheared(0.0005)).warnings == ()


def test_one_slice_that_jumped_in_its_plane(grid):
    jumped = headers(grid)
    jumped["positions_mm"][4] += 3 * grid.directions[:, 0]
    refused(jumped, r"3\.00 mm off a straight line, more than half a pixel \(0\.43 mm\)")


def test_32_slightly_different_direction_cosines_are_one_orientation():
    true = oblique_grid((32, 9, 9), seed=2, spacing_zyx_mm=(5.5, 0.5, 0.5))
    rounded = headers(true)
    rounded["orientations"] += np.random.default_rng(0).uniform(-3e-6, 3e-6, (32, 6))
    assert len(np.unique(rounded["orientations"], axis=0)) == 32
    stack = stack_slices(**rounded)
    assert stack.warnings == ()
    assert_allclose(stack.grid.affine, true.affine, atol=1e-4)


def test_direction_cosines_that_differ_visibly_are_a_warning(grid):
    off = headers(grid)
    off["orientations"][4, 0] += 0.004
    (warning,) = stack_slices(**off).warnings
    assert "vary by 4.0e-03" in warning


@pytest.mark.parametrize(
    ("thickness", "between", "spacing", "words", "known"),
    [
        (4.0, None, 4.0, "4 mm is the header's SliceThickness", True),
        (4.0, 5.0, 4.0, "SliceThickness", True),
        (None, 5.0, 5.0, "SpacingBetweenSlices", True),
        (0.0, 5.0, 5.0, "SpacingBetweenSlices", True),
        (None, None, 1.0, "not known", False),
    ],
)
def test_a_single_slice_takes_its_spacing_from_the_header(grid, thickness, between, spacing, words, known):
    stack = stack_slices(**take(headers(grid), [3]), header_thickness_mm=thickness, header_spacing_mm=between)
    assert stack.grid.spacing_zyx_mm[0] == pytest.approx(spacing)
    assert stack.z_spacing_known == known
    assert words in stack.warnings[0]


def test_two_slices_need_the_header_to_confirm_their_distance(grid):
    two = take(headers(grid), [3, 4])
    refused(two, r"2 slices 5\.500 mm apart, and neither .* too few slices")
    refused(two, "too few slices", header_thickness_mm=2.0, header_spacing_mm=1.0)
    refused(take(headers(grid), [3, 5]), r"2 slices 11\.000 mm apart", header_thickness_mm=5.0, header_spacing_mm=5.5)
    assert stack_slices(**two, header_spacing_mm=5.5).warnings == ()
    assert stack_slices(**two, header_thickness_mm=5.0).warnings == ()
