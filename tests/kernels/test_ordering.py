import numpy as np
import pytest
from numpy.testing import assert_array_equal

from npczarr.kernels.ordering import _MOST_DISTANCES, _number, by_distance


def plain(distance, area):
    order = np.argsort(distance, kind="stable")
    return distance[order], area[order], np.cumsum(area[order])


def elements(n, different):
    rng = np.random.default_rng(n + different)
    return rng.choice(np.sqrt(rng.random(different)) * 30, n), rng.random(n)


@pytest.mark.parametrize(
    ("n", "different"), [(0, 1), (1, 1), (5000, 1), (5000, 40), (5000, 700), (9000, 4096), (50000, 5000), (6000, 6000)]
)
def test_equals_a_stable_sort(n, different):
    distance, area = elements(n, different)
    for found, expected in zip(by_distance(distance, area), plain(distance, area), strict=True):
        assert_array_equal(found, expected)


def test_infinite_distances_and_those_of_rounding_stay_apart():
    distance = np.array([np.inf, 0.3, 0.1 + 0.2, np.inf, 0.0, 0.3])
    area = np.arange(6.0)
    for found, expected in zip(by_distance(distance, area), plain(distance, area), strict=True):
        assert_array_equal(found, expected)


def test_as_many_as_are_counted_are_counted():
    most = np.arange(_MOST_DISTANCES, dtype=float)
    assert_array_equal(_number(most)[0], np.arange(_MOST_DISTANCES))
    assert _number(np.append(most, 0.5))[0].size == 0


def test_values_whose_places_collide_are_told_apart():
    # every value that leads to one slot of the table
    values = np.arange(1, 1_000_000, dtype=float)
    slots = (values.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(50)
    colliding = values[slots == slots.max()]
    assert colliding.size > 50  # of 16384 slots, in the last of which the search wraps around
    found, _, _ = by_distance(colliding[::-1].copy(), np.ones(colliding.size))
    assert_array_equal(found, colliding)
