from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npczarr.sources.structures import polygons
from npczarr.sources.structures.polygons import UNITS, canonical, count_crossings, fill, snap

SHAPE = (9, 11)
# halves and wholes, so that edges often run through voxel centers, and some points outside the grid
coordinate = st.integers(-4, 26).map(lambda n: n * UNITS // 2)
polygon = st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=12).map(
    lambda p: np.array(p, dtype=np.int64)
)


def filled(points: np.ndarray, shape=SHAPE) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    window, inside = fill(points, shape)
    mask[window] = inside
    return mask


def plain_fill(points: np.ndarray, shape=SHAPE) -> np.ndarray:
    """One voxel at a time: count the edges on the ray to smaller x, in exact fractions."""
    mask = np.zeros(shape, dtype=bool)
    for y, x in np.ndindex(*shape):
        py, px = y * UNITS, x * UNITS
        for (ax, ay), (bx, by) in zip(points.tolist(), np.roll(points, -1, axis=0).tolist(), strict=True):
            if (ay <= py) != (by <= py):
                mask[y, x] ^= ax + Fraction((py - ay) * (bx - ax), by - ay) <= px
    return mask


@given(polygon)
def test_filling_equals_the_plain_rule(points):
    np.testing.assert_array_equal(filled(points), plain_fill(points))


@given(polygon, st.integers(0, 11))
def test_where_a_polygon_begins_and_which_way_it_runs_make_no_difference(points, start):
    moved = np.roll(points, -start, axis=0)
    for other in (moved, moved[::-1]):
        np.testing.assert_array_equal(filled(points), filled(other))
    assert count_crossings(points) == count_crossings(moved[::-1])


@given(st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=8, unique=True), st.integers(0, 7))
def test_a_repeated_polygon_has_the_same_key(points, start):
    points = np.array(points)
    assert canonical(points) == canonical(np.roll(points[::-1], start, axis=0))


@given(st.lists(st.tuples(coordinate, coordinate), min_size=4, max_size=10), st.data())
def test_two_parts_cut_along_an_edge_share_no_voxel_and_lose_none(points, data):
    points = np.array(points, dtype=np.int64)
    cut = data.draw(st.integers(2, len(points) - 2))
    one, other = points[: cut + 1], np.vstack([points[cut:], points[:1]])
    np.testing.assert_array_equal(filled(one) ^ filled(other), filled(points))


@given(polygon, st.integers(-5, 5), st.integers(-5, 5))
def test_the_grid_is_a_window_on_an_endless_one(points, x, y):
    wide = filled(points + np.array([20, 20]) * UNITS, (60, 60))
    moved = filled(points + np.array([x, y]) * UNITS)
    np.testing.assert_array_equal(moved, wide[20 - y : 20 - y + SHAPE[0], 20 - x : 20 - x + SHAPE[1]])


def test_small_pieces_of_work_give_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    points = rng.integers(-UNITS, 12 * UNITS, (300, 2))
    whole, crossings = filled(points), count_crossings(points)
    monkeypatch.setattr(polygons, "_AT_ONCE", 7)
    np.testing.assert_array_equal(filled(points), whole)
    assert count_crossings(points) == crossings > 1000


def test_a_channel_to_a_hole_encloses_nothing():
    outer, inner = [(1, 1), (9, 1), (9, 7), (1, 7)], [(3, 3), (3, 5), (6, 5), (6, 3)]
    keyhole = snap(np.array([*outer, outer[0], *inner, inner[0]], dtype=float))
    separate = filled(snap(np.array(outer, dtype=float))) ^ filled(snap(np.array(inner, dtype=float)))
    np.testing.assert_array_equal(filled(keyhole), separate)
    assert count_crossings(keyhole) == 0


@pytest.mark.parametrize(
    ("points", "crossings"),
    [
        ([(0, 0), (4, 0), (4, 4), (0, 4)], 0),
        ([(0, 0), (4, 4), (4, 0), (0, 4)], 1),
        ([(0, 0), (4, 4), (8, 0), (8, 4), (4, 0), (0, 4)], 2),
        ([(0, 3), (6, 3), (1, 6), (3, 0), (5, 6)], 5),
    ],
)
def test_crossings_are_counted(points, crossings):
    points = np.array(points) * UNITS
    assert count_crossings(points) == crossings


def plain_crossings(points: np.ndarray) -> int:
    def side(a, b, c):
        return np.sign(int((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])))

    edges = [*zip(points.tolist(), np.roll(points, -1, axis=0).tolist(), strict=True)]
    return sum(
        side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
        for i, (a, b) in enumerate(edges)
        for c, d in edges[:i]
    )


@given(polygon)
def test_crossings_equal_a_look_at_every_pair(points):
    assert count_crossings(points) == plain_crossings(points)


def test_too_many_pairs_are_not_looked_at(monkeypatch):
    monkeypatch.setattr(polygons, "_MOST_PAIRS", 10)
    assert count_crossings(np.random.default_rng(0).integers(0, 9 * UNITS, (40, 2))) is None


def test_snapping_drops_repeated_points_and_the_closing_one():
    points = snap(np.array([(0, 0), (0.0001, 0), (2, 0), (2, 3), (0, 0)], dtype=float))
    np.testing.assert_array_equal(points, np.array([(2, 0), (2, 3), (0, 0)]) * UNITS)
