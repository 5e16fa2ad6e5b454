"""Mean and median of a metric over patients, with percentile-bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from npczarr.errors import ParameterError

#: There is no interval of fewer: one of 95 % holds the true mean in 49 % of samples of two subjects, in 73 % of three.
LEAST_SUBJECTS = 5


@dataclass(frozen=True, slots=True)
class Summary:
    """What is reported of one metric.

    Attributes
    ----------
    n, n_empty
        Values used, and values left out because they are NaN (pairs of masks that are both empty).
    mean, mean_low, mean_high
        The mean and its interval; NaN without values, the interval also below five subjects.
    median, median_low, median_high
        The median and its interval; NaN without values, the interval also below five subjects.
    """

    n: int
    n_empty: int
    mean: float
    mean_low: float
    mean_high: float
    median: float
    median_low: float
    median_high: float


def summarise(
    values: ArrayLike,
    *,
    subjects: Sequence[str] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Summary:
    """Summarise a vector: mean and median, each with its percentile-bootstrap interval.

    There is no interval of fewer than five subjects with a value: it would be far too narrow, and of one have no width.

    Parameters
    ----------
    values
        One number per patient. NaN is counted and left out. Infinite values count: a distance to an empty mask makes
        the mean infinite, while the median may stay finite.
    subjects
        Who each value is of, where some have several visits: then subjects are drawn, each with all its values.
    level
        Share of resampled means or medians that the interval holds.
    resamples
        How many times as many values as there are, drawn with replacement, are taken.
    seed
        Seed of the random generator: the same values, level and seed give the same interval.

    Raises
    ------
    ParameterError
        If values is not a vector, level not between 0 and 1, resamples not above 0, or subjects are not as many as
        values.

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
    if subjects is not None and len(subjects) != vector.size:
        raise ParameterError(
            f"subjects: expected one for each of the {vector.size} values, found {len(subjects)}; repeat a subject who "
            "has several values"
        )
    kept = vector[~np.isnan(vector)]
    n_empty = vector.size - kept.size
    if kept.size == 0:
        return Summary(0, n_empty, *[math.nan] * 6)
    of_subject = np.arange(kept.size)
    if subjects is not None:
        _, of_subject = np.unique(np.asarray(subjects, dtype=str)[~np.isnan(vector)], return_inverse=True)
    mean, median = float(kept.mean()), float(np.median(kept))
    if of_subject.max() + 1 < LEAST_SUBJECTS:
        return Summary(kept.size, n_empty, mean, math.nan, math.nan, median, math.nan, math.nan)
    tails = ((1 - level) / 2, (1 + level) / 2)
    # inverted_cdf takes one of the resampled values: interpolating would turn infinite ones into NaN
    (mean_low, mean_high), (median_low, median_high) = (
        map(float, np.quantile(drawn, tails, method="inverted_cdf"))
        for drawn in _resample(kept, of_subject, resamples, seed)
    )
    return Summary(kept.size, n_empty, mean, mean_low, mean_high, median, median_low, median_high)


def _resample(
    kept: NDArray[np.float64], of_subject: NDArray[np.intp], resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and medians (resamples,) of as many subjects as there are, drawn with replacement."""
    rng = np.random.default_rng(seed)
    one_each = int(of_subject.max()) + 1 == kept.size
    means, medians = np.empty(resamples), np.empty(resamples)
    block = max(1, 1_000_000 // kept.size)  # draws held at once: tens of megabytes at most
    for start in range(0, resamples, block):
        rows = slice(start, min(start + block, resamples))
        if one_each:
            draws = kept[rng.integers(kept.size, size=(rows.stop - start, kept.size))]
            means[rows], medians[rows] = draws.mean(axis=1), np.median(draws, axis=1)
        else:
            means[rows], medians[rows] = _draw_subjects(kept, of_subject, rng, rows.stop - start)
    return means, medians


def _draw_subjects(
    values: NDArray[np.float64], of_subject: NDArray[np.intp], rng: np.random.Generator, draws: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and medians (draws,) of subjects drawn with replacement, each with all its values."""
    subjects = int(of_subject.max()) + 1
    drawn = rng.integers(subjects, size=(draws, subjects))
    counts = np.bincount(of_subject)
    totals = np.array([values[of_subject == subject].sum() for subject in range(subjects)])
    means = totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    times = np.zeros((draws, subjects), dtype=np.intp)
    np.add.at(times, (np.arange(draws)[:, np.newaxis], drawn), 1)
    order = values.argsort()
    reached = times[:, of_subject[order]].cumsum(axis=1)  # how many drawn values are this large or smaller
    total = reached[:, -1:]
    lower, upper = (values[order][(reached > rank).argmax(axis=1)] for rank in ((total - 1) // 2, total // 2))
    return means, np.where(lower == upper, lower, (lower + upper) / 2)
