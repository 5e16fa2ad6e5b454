"""Values for each patient from published summaries: counts are dealt out, medians and ranges are spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


def deal(kinds: Sequence[tuple[T, int]], rng: np.random.Generator) -> list[T]:
    """Deal out each kind as often as its count says, so that every beginning of the list is a fair sample.

    The first cards are one of each kind: a cohort of six patients has them all.
    """
    places = [
        (-1.0 if i == 0 else (i + rng.random()) / count, float(rng.random()), kind)
        for kind, (_, count) in enumerate(kinds)
        for i in range(count)
    ]
    return [kinds[kind][0] for _, _, kind in sorted(places)]


def spread(
    median: float, low: float, high: float, count: int, *, below: float = 2.5, above: float = 3.0
) -> NDArray[np.float64]:
    """Spread values over a range, in rising order, with this median, minimum and maximum.

    Parameters
    ----------
    median, low, high
        The published summary.
    count
        Number of values, three or more.
    below, above
        Exponents: how closely the values below and above the median crowd around it.
    """
    u = np.linspace(-1, 1, count)
    values: NDArray[np.float64] = np.where(
        u < 0, median - (median - low) * np.abs(u) ** below, median + (high - median) * np.abs(u) ** above
    )
    values[[(count - 1) // 2, count // 2]] = median
    return values
