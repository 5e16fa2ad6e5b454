from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from npczarr.errors import GeometryError
from npczarr.model.alignment import align
from npczarr.model.geometry import Grid, covered_fraction, index_map
from tests.builders import noise, oblique_grid

law = settings(deadline=None, max_examples=40)
shapes = st.tuples(*[st.integers(1, 6)] * 3)
spacings = st.tuples(*[st.floats(0.2, 8)] * 3)
grids = st.builds(oblique_grid, shapes, st.integers(0, 10_000), spacings)
REORDERINGS = list(product(permutations(range(3)), product([False, True], repeat=3)))


def centers_mm(grid):
    """(z, y, x, 3) LPS of every voxel center, written out."""
    z, y, x = np.indices(grid.shape_zyx)
    return np.stack([x, y, z, np.ones_like(z)], axis=-1) @ grid.affine.T[:, :3]


def reordered(grid, axes, flips):
    """The same voxels with array axes permuted by ``axes``, then reversed by ``flips``: (grid, function on arrays)."""

    def move(array):
        return array.transpose(axes)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]

    index = np.stack(np.indices(grid.shape_zyx), axis=-1).transpose(*axes, 3)
    index = index[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    shape = index.shape[:3]
    affine = np.eye(4)
    affine[:3, 3] = (grid.affine @ [*index[0, 0, 0][::-1], 1])[:3]
    for axis in range(3):  # a column is the step to the next voxel; an axis of one voxel steps as its source axis does
        step = np.eye(3)[axes[axis]] * (-1 if flips[axis] else 1)
        affine[:3, 2 - axis] = grid.affine[:3, :3] @ step[::-1]
    return Grid(shape, affine), move


@law
@given(grids, st.data())
def test_crop_moves_the_affine_with_the_data(grid, data):
    starts = [data.draw(st.integers(0, n - 1)) for n in grid.shape_zyx]
    window = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, grid.shape_zyx, strict=True))
    cropped = grid.crop(window)
    assert_allclose(centers_mm(cropped), centers_mm(grid)[window], atol=1e-9)
    for part, whole, along in zip(cropped.axis_positions_mm(), grid.axis_positions_mm(), window, strict=True):
        assert_allclose(part, whole[along], atol=1e-9)


@law
@given(grids, st.data())
def test_the_grid_of_a_part_follows_its_positions(grid, data):
    window = tuple(
        slice(None, None, data.draw(st.sampled_from([1, 2, -1, -2]))) if data.draw(st.booleans()) else slice(n // 2, n)
        for n in grid.shape_zyx
    )
    part = grid.of_part([p[along] for p, along in zip(grid.axis_positions_mm(), window, strict=True)])
    assert_allclose(centers_mm(part), centers_mm(grid)[window], atol=1e-8)
    # an axis of one voxel keeps the size of its voxels
    thinned = [abs(along.step or 1) if n > 1 else 1 for along, n in zip(window, part.shape_zyx, strict=True)]
    assert_allclose(part.spacing_zyx_mm, grid.spacing_zyx_mm * thinned)


SHEARED = Grid(
    (12, 5, 6),
    np.array([[0.9, 0, 0, -20.3], [0, 0.7, 0.0285, -150.7], [0, 0, 3.0, -111.1], [0, 0, 0, 1]]),
)


@pytest.mark.parametrize("turn", [np.eye(4), np.diag([-1.0, 1, -1, 1]), oblique_grid((1, 1, 1)).affine])
@pytest.mark.parametrize(
    "window",
    [
        (slice(6, None), slice(None), slice(None)),
        (slice(None, None, -1), slice(1, None), slice(None)),
        (slice(3, None, 2), slice(None, None, -2), slice(2, 3)),
    ],
)
def test_the_grid_of_a_part_of_a_sheared_scan_lies_where_its_voxels_lie(turn, window):
    grid = Grid(SHEARED.shape_zyx, turn @ SHEARED.affine)
    part = grid.of_part([p[along] for p, along in zip(grid.axis_positions_mm(), window, strict=True)])
    found, expected = centers_mm(part), centers_mm(grid)[window]
    assert_allclose(found, expected, atol=1e-9)


def test_the_position_of_a_slice_is_that_of_its_plane():
    z, y, x = SHEARED.axis_positions_mm()
    assert_allclose(z, -111.1 + 3 * np.arange(12), atol=1e-9)  # the LPS coordinate, however far the origin is
    assert_allclose(y[0], -150.7)
    assert_allclose(x[0], -20.3)
    down = Grid(SHEARED.shape_zyx, SHEARED.affine @ np.diag([1.0, 1, -1, 1]))
    assert_allclose(down.axis_positions_mm()[0], 111.1 + 3 * np.arange(12), atol=1e-9)


def test_the_grid_of_a_part_needs_voxels_at_even_distances():
    grid = oblique_grid((4, 5, 6))
    z, y, x = grid.axis_positions_mm()
    assert grid.of_part((z, y, x)) is grid
    for bad in (z[[0, 1, 3]], z[:0]):
        with pytest.raises(GeometryError, match="z: expected voxels at even distances"):
            grid.of_part((bad, y, x))


def test_crop_counts_from_the_end_and_refuses_steps_and_nothing():
    grid = oblique_grid((4, 5, 6))
    assert grid.crop((slice(-2, None), slice(None), slice(0, -1))).shape_zyx == (2, 5, 5)
    for bad in (slice(2, 2), slice(3, 1), slice(0, 4, 2), slice(None, None, -1)):
        with pytest.raises(GeometryError, match="step 1 and not empty"):
            grid.crop((bad, slice(None), slice(None)))


@law
@given(grids)
def test_axis_positions_are_projections_of_the_voxel_centers(grid):
    centers = centers_mm(grid)
    for axis, positions in enumerate(grid.axis_positions_mm()):
        along = np.moveaxis(centers, axis, 0).reshape(grid.shape_zyx[axis], -1, 3)[:, 0]
        unit = grid.directions[:, 2 - axis]
        assert_allclose(np.diff(positions), np.full(len(positions) - 1, grid.spacing_zyx_mm[axis]), atol=1e-9)
        assert_allclose(positions, positions[0] + (along - along[0]) @ unit, atol=1e-9)


def test_positions_of_an_axial_scan_are_its_lps_coordinates():
    grid = Grid((2, 3, 4), np.array([[0.5, 0, 0, -10], [0, 0.7, 0, 20], [0, 0, 5.5, -30], [0, 0, 0, 1.0]]))
    z, y, x = grid.axis_positions_mm()
    assert_allclose(z, [-30, -24.5])
    assert_allclose(y, [20, 20.7, 21.4])
    assert_allclose(x, [-10, -9.5, -9, -8.5])
    assert_allclose(grid.spacing_zyx_mm, [5.5, 0.7, 0.5])


@pytest.mark.parametrize(("axes", "flips"), REORDERINGS)
def test_align_undoes_every_permutation_and_flip(axes, flips):
    target = oblique_grid((3, 4, 5), seed=sum(axes) + 7 * sum(flips))
    array = noise(target)
    source, move = reordered(target, axes, flips)
    found = align(source, target)
    assert_array_equal(found.apply(move(array)), array)
    assert found.error_mm < 1e-9


@law
@given(grids, st.sampled_from(REORDERINGS))
def test_align_places_every_voxel_where_world_coordinates_say(target, reordering):
    source, move = reordered(target, *reordering)
    where = move(np.arange(np.prod(target.shape_zyx)).reshape(target.shape_zyx))
    assert_allclose(centers_mm(source), move_points(move, centers_mm(target)), atol=1e-9)
    values = np.random.default_rng(0).permutation(where.size).reshape(where.shape)
    # by brute force: the value of the source voxel whose center is nearest to each center of the target
    distances = np.linalg.norm(centers_mm(target).reshape(-1, 1, 3) - centers_mm(source).reshape(1, -1, 3), axis=-1)
    expected = values.ravel()[distances.argmin(axis=1)].reshape(target.shape_zyx)
    assert_array_equal(align(source, target).apply(values), expected)


def move_points(move, points):
    return np.stack([move(points[..., i]) for i in range(3)], axis=-1)


def test_align_measures_a_known_offset():
    target = oblique_grid((5, 6, 7), spacing_zyx_mm=(5, 0.5, 0.8))
    affine = target.affine.copy()
    affine[:3, 3] += 2.0 * target.directions[:, 2] + 0.1 * target.directions[:, 0]
    found = align(Grid(target.shape_zyx, affine), target)
    assert found.error_mm == pytest.approx(np.hypot(2.0, 0.1))
    assert found.error_voxels == pytest.approx(0.4)


def test_align_measures_a_wrong_spacing_at_the_far_corner():
    target = oblique_grid((5, 6, 7), spacing_zyx_mm=(5, 1, 1))
    stretched = target.affine @ np.diag([1, 1, 1.1, 1])
    assert align(Grid(target.shape_zyx, stretched), target).error_mm == pytest.approx(4 * 0.5)


def test_align_needs_the_same_counts_along_the_same_axes():
    target = oblique_grid((3, 4, 5))
    assert align(oblique_grid((3, 5, 4)), target) is None


@law
@given(grids, grids)
def test_index_map_goes_through_the_same_point(a, b):
    index = np.array([1, 2, 3, 1.0])
    assert_allclose(b.affine @ index_map(a, b) @ index, a.affine @ index, atol=1e-6)


def test_covered_fraction_counts_voxel_centers_up_to_the_outer_faces():
    grid = Grid((4, 4, 4), np.eye(4))
    everywhere = np.argwhere(np.ones(grid.shape_zyx))

    def shifted(x_mm):
        affine = np.eye(4)
        affine[0, 3] = x_mm
        return covered_fraction(everywhere, Grid(grid.shape_zyx, affine), grid)

    assert shifted(0) == shifted(0.5) == shifted(-0.5) == 1
    assert shifted(0.6) == 0.75
    assert shifted(-2) == 0.5
    assert shifted(100) == 0
    assert np.isnan(covered_fraction(np.empty((0, 3), int), grid, grid))


@pytest.mark.parametrize(
    ("shape", "affine", "words"),
    [
        ((0, 1, 1), np.eye(4), "three positive counts"),
        ((1, 1), np.eye(4), "three positive counts"),
        ((1, 1, 1), np.eye(3), r"finite \(4, 4\)"),
        ((1, 1, 1), np.full((4, 4), np.nan), r"finite \(4, 4\)"),
        ((1, 1, 1), np.diag([1.0, 0, 1, 1]), "no empty column"),
        ((1, 1, 1), np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "one plane"),
    ],
)
def test_a_grid_that_is_none_is_refused(shape, affine, words):
    with pytest.raises(GeometryError, match=words):
        Grid(shape, affine)


def test_a_grid_does_not_change():
    affine = np.eye(4)
    grid = Grid((1, 2, 3), affine)
    affine[0, 0] = 9
    assert grid.affine[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 2
