"""Mean and median of a metric over patients, with percentile-bootstrap intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from npczarr.errors import ParameterError


@dataclass(frozen=True, slots=True)
class Summary:
    """What is reported of one metric.

    Attributes
    ----------
    n, n_empty
        Values used, and values left out because they are NaN (pairs of masks that are both empty).
    mean, mean_low, mean_high
        The mean and its interval; NaN without values.
    median, median_low, median_high
        The median and its interval; NaN without values.
    """

    n: int
    n_empty: int
    mean: float
    mean_low: float
    mean_high: float
    median: float
    median_low: float
    median_high: float


def summarise(values: ArrayLike, *, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Summary:
    """Summarise a vector: mean and median, each with its percentile-bootstrap interval.

    Parameters
    ----------
    values
        One number per patient. NaN is counted and left out. Infinite values count: a distance to an empty mask makes
        the mean infinite, while the median may stay finite.
    level
        Share of resampled means or medians that the interval holds.
    resamples
        How many times as many values as there are, drawn with replacement, are taken.
    seed
        Seed of the random generator: the same values, level and seed give the same interval.

    Raises
    ------
    ParameterError
        If values is not a vector, level not between 0 and 1, or resamples not above 0.

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or not 0 < level < 1 or resamples < 1:
        raise ParameterError(
            f"expected a vector of values, 0 < level < 1 and resamples > 0, "
            f"found shape {vector.shape}, level {level!r} and resamples {resamples!r}"
        )
    kept = vector[~np.isnan(vector)]
    n_empty = vector.size - kept.size
    if kept.size == 0:
        return Summary(0, n_empty, *[math.nan] * 6)
    rng = np.random.default_rng(seed)
    means, medians = np.empty(resamples), np.empty(resamples)
    block = max(1, 1_000_000 // kept.size)  # draws held at once: tens of megabytes at most
    for start in range(0, resamples, block):
        rows = slice(start, min(start + block, resamples))
        draws = kept[rng.integers(kept.size, size=(rows.stop - start, kept.size))]
        means[rows], medians[rows] = draws.mean(axis=1), np.median(draws, axis=1)
    tails = ((1 - level) / 2, (1 + level) / 2)
    # inverted_cdf takes one of the resampled values: interpolating would turn infinite ones into NaN
    mean_low, mean_high = np.quantile(means, tails, method="inverted_cdf")
    median_low, median_high = np.quantile(medians, tails, method="inverted_cdf")
    mean, median = float(kept.mean()), float(np.median(kept))
    return Summary(
        kept.size, n_empty, mean, float(mean_low), float(mean_high), median, float(median_low), float(median_high)
    )
