import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from npczarr.errors import GeometryError
from npczarr.model.slices import shared_positions, stack_slices
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
    refused(take(headers(grid), [0, 1, 3, 4, 6, 7, 9]), r"3 slice\(s\) missing")


def test_a_gap_smaller_than_the_rest_is_no_missing_slice(grid):
    with pytest.raises(GeometryError) as caught:
        stack_slices(**take(headers(grid), [0, 2, 4, 5, 7, 9]))
    assert "a gap of 5.500 mm after" in str(caught.value)
    assert "is smaller than the usual 11.000 mm" in str(caught.value)
    assert "missing" not in str(caught.value)


def test_slices_at_one_position_are_counted(grid):
    refused(take(headers(grid), [0, 1, 2, 3, 3, 4]), r"^2 slices at one position \(57\.80 mm along the normal\)")
    refused(
        take(headers(grid), [0, 0, 1, 1, 2, 2]),
        "^2 slices at one position .*and so at 3 of 3 positions.*time points, echoes or copies.*keep one of them",
    )
    refused(take(headers(grid), [0, 0]), "^2 slices at one position")
    refused(take(headers(grid), [0] * 36 + [1]), "^36 slices at one position")
    refused(take(headers(grid), [0, 0, 0, 1, 1, 2]), "^2 to 3 slices at one position .*so at 2 of 3 positions")
    refused(take(headers(grid), [0, 0]), "they differ", advice="they differ in EchoTime")


def test_one_slice_far_away_does_not_make_the_others_share_a_position(grid):
    far = headers(grid)
    far["positions_mm"][9] += 700 * grid.directions[:, 2]
    assert shared_positions(far["positions_mm"], far["orientations"]) == []
    refused(far, r"gap of 705\.500 mm|irregularly spaced")


@law
@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_shared_positions_are_found_whatever_the_order(counts, random):
    true = oblique_grid((len(counts), 5, 5), seed=len(counts))
    places = [z for z, count in enumerate(counts) for _ in range(count)]
    random.shuffle(places)
    given_headers = take(headers(true), places)
    groups = shared_positions(given_headers["positions_mm"], given_headers["orientations"])
    assert [{places[i] for i in group} for group in groups] == [{z} for z, count in enumerate(counts) if count > 1]
    assert [len(group) for group in groups] == [count for count in counts if count > 1]


def shifted(grid, by):
    """Headers whose slices lie off even steps, by these fractions of the spacing."""
    uneven = headers(grid)
    uneven["positions_mm"] += np.asarray(by)[:, None] * grid.affine[:3, 2]
    return uneven


@pytest.mark.parametrize("spacing_mm", [0.8, 5.5, 12.0])
@pytest.mark.parametrize("decimals", [1, 2])
def test_positions_that_a_header_rounds_are_regular(spacing_mm, decimals):
    """A real series has positions to 0.1 mm, with gaps of 6.96 and 7.07."""
    true = oblique_grid((30, 20, 30), seed=4, spacing_zyx_mm=(spacing_mm, 0.43, 0.5))
    rounded = headers(true)
    rounded["positions_mm"] = rounded["positions_mm"].round(decimals)
    stack = stack_slices(**rounded)
    assert stack.warnings == ()
    assert_allclose(stack.grid.spacing_zyx_mm[0], spacing_mm, atol=0.02)
    assert_allclose(stack.grid.affine @ [0, 0, 29, 1], true.affine @ [0, 0, 29, 1], atol=0.1)


def test_a_short_stack_of_thin_rounded_slices_is_no_shear():
    true = oblique_grid((3, 20, 30), seed=4, spacing_zyx_mm=(1.0, 0.43, 0.5))
    rounded = headers(true)
    rounded["positions_mm"] += 0.04 * np.array([1, 0, -1])[:, None] * true.directions[:, 0]
    assert stack_slices(**rounded).warnings == ()


def test_the_grid_follows_the_line_fitted_to_all_positions(grid):
    off = np.random.default_rng(0).uniform(-0.015, 0.015, 10)
    stack = stack_slices(**shifted(grid, off))
    slope, first = np.polyfit(np.arange(10), np.arange(10) + off, 1)
    assert_allclose(stack.grid.affine[:3, 2], slope * grid.affine[:3, 2])
    assert_allclose(stack.grid.affine[:3, 3], grid.affine[:3, 3] + first * grid.affine[:3, 2])


@pytest.mark.parametrize(
    ("off", "words"),
    [
        (0.017, ()),  # 0.09 mm
        (0.05, ("mm (5.0% of the spacing) off even steps",)),
        (0.09, ("mm (9.0% of the spacing) off even steps",)),
    ],
)
def test_uneven_slices_are_a_warning_with_its_figure_up_to_a_tenth(grid, off, words):
    by = np.zeros(10)
    by[[0, 3, 6, 9]] = off * np.array([1, -1, -1, 1])  # changes neither slope nor, much, the middle of the line
    by -= np.polyval(np.polyfit(np.arange(10), by, 1), np.arange(10))
    by *= off / np.abs(by).max()
    stack = stack_slices(**shifted(grid, by))
    assert len(stack.warnings) == len(words)
    assert all(word in warning for word, warning in zip(words, stack.warnings, strict=True))
    assert_allclose(stack.grid.affine, grid.affine, atol=1e-9)
    refused(shifted(grid, by * 0.11 / off), r"irregularly spaced: .*\(11\.0% of the spacing\).*expected 10%")


def test_irregular_spacing(grid):
    refused(shifted(grid, np.arange(10) >= 5) | {}, r"1 slice\(s\) missing: gap of 11\.000 mm")
    refused(shifted(grid, 0.5 * (np.arange(10) >= 5)), r"irregularly spaced.*is 8\.250 mm")


@law
@given(st.integers(3, 30), st.data())
def test_a_hole_is_always_refused_as_one(n, data):
    """Whatever the spacing, also where a whole slice is less than the rounding that is borne."""
    spacing_mm = data.draw(st.sampled_from([0.08, 0.3, 1.0, 5.5]))
    true = oblique_grid((n + 2, 7, 8), n, (spacing_mm, 0.4, 0.6))
    lost = data.draw(st.integers(1, n))
    there = [z for z in range(n + 2) if z != lost]
    refused(take(headers(true), there), r"1 slice\(s\) missing")


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
    refused(jumped, r"2\.69 mm off a straight line, more than half a pixel \(0\.43 mm\)")


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


@pytest.mark.parametrize(
    ("step", "between", "thickness", "words"),
    [
        (2, 5.5, 5.5, "positions are 11.000 mm apart and the header says 5.500 mm between slices: every second slice"),
        (2, 5.5, 5.0, "every second slice may be missing"),
        (
            3,
            5.5,
            None,
            "positions are 16.500 mm apart and the header says 5.500 mm between slices: 2 of every 3 slices",
        ),
        (1, 5.5, 5.0, ""),
        (2, None, 5.5, ""),  # slices are often thinner than they are apart
        (1, 0.5, 5.0, ""),  # the gap, as some scanners write it
        (1, 1.1, 4.4, ""),
        (1, 0.0, 5.0, ""),
        (1, 2.6, 5.0, ""),  # no whole multiple
        (1, 11.0, 5.0, ""),
    ],
)
def test_positions_a_multiple_of_the_headers_spacing_apart_are_a_warning(grid, step, between, thickness, words):
    part = take(headers(grid), np.arange(0, 10, step))
    warnings = stack_slices(**part, header_spacing_mm=between, header_thickness_mm=thickness).warnings
    assert [words in warning for warning in warnings] == [True] * bool(words), warnings


def test_two_slices_need_the_header_to_confirm_their_distance(grid):
    two = take(headers(grid), [3, 4])
    refused(two, r"2 slices 5\.500 mm apart, and neither .* too few slices")
    refused(two, "too few slices", header_thickness_mm=2.0, header_spacing_mm=1.0)
    refused(take(headers(grid), [3, 5]), r"2 slices 11\.000 mm apart", header_thickness_mm=5.0, header_spacing_mm=5.5)
    assert stack_slices(**two, header_spacing_mm=5.5).warnings == ()
    assert stack_slices(**two, header_thickness_mm=5.0).warnings == ()
