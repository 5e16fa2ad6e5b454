import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from npczarr.errors import ParameterError
from npczarr.kernels.bootstrap import summarise


def test_counts_mean_and_median():
    result = summarise([0.5, math.nan, 0.7, 0.9, 0.6, 0.8])
    assert (result.n, result.n_empty) == (5, 1)
    assert_allclose((result.mean, result.median), (0.7, 0.7))
    assert 0.5 <= result.mean_low < result.mean < result.mean_high <= 0.9
    assert 0.5 <= result.median_low < result.median < result.median_high <= 0.9


def test_interval_of_a_mean_nears_the_normal_one():
    values = np.random.default_rng(1).normal(10, 2, 400)
    result = summarise(values)
    half = 1.96 * values.std() / math.sqrt(400)
    assert_allclose((result.mean_low, result.mean_high), (values.mean() - half, values.mean() + half), atol=0.03)


def test_intervals_hold_the_true_value_about_as_often_as_they_say():
    rng = np.random.default_rng(2)
    results = [summarise(rng.normal(0, 1, 60), resamples=400) for _ in range(200)]
    assert 0.88 <= np.mean([r.mean_low <= 0 <= r.mean_high for r in results]) <= 0.99
    assert 0.88 <= np.mean([r.median_low <= 0 <= r.median_high for r in results]) <= 0.99


def test_same_seed_same_interval():
    values = np.random.default_rng(3).random(30)
    assert summarise(values) == summarise(values)
    assert summarise(values) != summarise(values, seed=1)


def test_infinite_distances_count():
    result = summarise([1.0, 2.0, 3.0, 4.0, math.inf])
    assert result.mean == result.mean_high == math.inf
    assert result.median == 3.0
    assert not math.isnan(result.mean_low)


def test_few_values():
    none = summarise([math.nan, math.nan])
    assert (none.n, none.n_empty) == (0, 2)
    assert math.isnan(none.mean)
    assert math.isnan(none.median_high)
    assert summarise([]).n == 0


@pytest.mark.parametrize("values", [range(1, n + 1) for n in range(1, 6)])
def test_fewer_than_five_subjects_have_no_interval(values):
    """Subjects, not values: ten visits of two patients are two, and one whose value is NaN is none."""
    visits = summarise(np.repeat(values, 5), subjects=np.repeat([f"s{i}" for i in values], 5).tolist())
    for found in (summarise([*values, math.nan]), visits):
        assert found.mean == found.median == np.mean(values)
        limits = (found.mean_low, found.mean_high, found.median_low, found.median_high)
        assert np.isfinite(limits).all() if len(values) == 5 else np.isnan(limits).all()


def test_subjects_are_as_many_as_values():
    with pytest.raises(ParameterError, match=r"subjects: expected one for each of the 3 values, found 2; repeat"):
        summarise([1.0, 2.0, 3.0], subjects=["a", "b"])
    with pytest.raises(ParameterError, match="found 4"):
        summarise([1.0, math.nan, 3.0], subjects=["a", "b", "c", "d"])


@pytest.mark.parametrize("wrong", [{"level": 1.0}, {"level": 0.0}, {"resamples": 0}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ParameterError, match="expected a vector"):
        summarise([1.0], **wrong)
    with pytest.raises(ParameterError, match="found shape"):
        summarise([[1.0]])


def test_subjects_are_drawn_whole():
    """Copies of each value under one subject leave the intervals as they are; as subjects of their own they narrow."""
    values = np.random.default_rng(3).normal(size=40)
    who = [f"s{i}" for i in range(40)]
    once = summarise(values, subjects=who)
    assert once == summarise(values)
    twice = summarise(np.repeat(values, 2), subjects=np.repeat(who, 2).tolist())
    as_others = summarise(np.repeat(values, 2))
    assert twice.mean == pytest.approx(once.mean)
    width, narrower = ((found.mean_high - found.mean_low) for found in (twice, as_others))
    assert width == pytest.approx(once.mean_high - once.mean_low, rel=0.1)
    assert narrower < 0.85 * width


def test_the_median_of_drawn_subjects_is_that_of_their_values():
    values = np.array([1.0, 2, 3, 4, 5, 6, 7, np.inf])
    subjects = ["a", "a", "b", "c", "c", "c", "d", "e"]
    found = summarise(values, subjects=subjects, resamples=500)
    rng = np.random.default_rng(0)
    parts = [[1.0, 2], [3], [4, 5, 6], [7], [np.inf]]
    medians = [np.median(np.concatenate([parts[i] for i in rng.integers(5, size=5)])) for _ in range(500)]
    low, high = np.quantile(medians, (0.025, 0.975), method="inverted_cdf")
    assert (found.median_low, found.median_high) == (low, high)
