"""The clinical course of 277 patients: Table 4 of the dataset's paper, cell for cell where it adds up.

The stages of Table 4 add up to 278 patients, one too many. That patient is taken from stage 4a, whose N categories add
up to 95 for 94 patients: `_TOO_MANY` lists the cells of that stage that differ. Every other cell is the paper's. Ages
and months of survival have the published median, minimum and maximum, and mean and standard deviation within 0.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from npczarr.model import published
from npczarr.phantom.deal import spread

_SEX = {"female": "F", "male": "M"}
_FOLLOW_UP_MONTHS = 60


@dataclass(frozen=True, slots=True)
class Clinical:
    """One row of the clinical table."""

    sex: str
    age: int
    pathology: str
    t: str
    n: str
    m: str
    stage: str
    ebv: str
    vca: str
    survival_months: int

    @property
    def died(self) -> bool:
        """Whether death was observed: follow-up ends at 60 months."""
        return self.survival_months < _FOLLOW_UP_MONTHS


#: The patient too many: by how much stage 4a has fewer here than in the paper.
_TOO_MANY = {
    ("sex", "male"): 1,
    ("pathology", "Non-keratinized squamous"): 1,
    ("t_stage", "T4"): 1,
    ("n_stage", "N3"): 2,
    ("m_stage", "M0"): 1,
    ("ebv", "negative"): 1,
    ("vca", "positive"): 1,
}


@dataclass(frozen=True, slots=True)
class _Shape:
    """Distributions in a stage, which the paper does not publish: chosen to give the published means and deviations.

    Parameters
    ----------
    age
        The two exponents of `spread`.
    died
        Number of deaths, first and last month, exponent of the rise between them.
    """

    age: tuple[float, float]
    died: tuple[int, int, int, float]


_SHAPES = {
    "1": _Shape((0.1, 1.2), (1, 0, 0, 1)),
    "2": _Shape((1.5, 2), (6, 0, 59, 4.8)),
    "3": _Shape((2.9, 3.7), (21, 0, 59, 4.5)),
    "4a": _Shape((2.3, 1.6), (38, 0, 59, 1.4)),
    # the median of stage 4b is 18 months: its deaths are spread around that, and one patient lives
    "4b": _Shape((2.5, 1.2), (13, 5, 60, 0)),
}

STAGES: tuple[tuple[str, int], ...] = tuple(
    (stage, count - (stage == "4a")) for stage, count in published.STAGES.items()
)


def stage_courses(rng: np.random.Generator) -> dict[str, list[Clinical]]:
    """Courses of the 277 patients by stage, each column shuffled on its own."""
    return {stage: _courses(number, stage, count, rng) for number, (stage, count) in enumerate(STAGES)}


def _courses(number: int, stage: str, count: int, rng: np.random.Generator) -> list[Clinical]:
    def shuffled(variable: str) -> list[str]:
        categories = published.STAGE_COUNTS[variable]
        names = [_SEX.get(name, name) for name in categories]
        counts = [
            of_stages[number] - (stage == "4a") * _TOO_MANY.get((variable, name), 0)
            for name, of_stages in categories.items()
        ]
        return [str(name) for name in rng.permutation(np.repeat(names, counts))]

    ages = published.AGE[number]
    below, above = _SHAPES[stage].age
    columns = (
        shuffled("sex"),
        rng.permutation(
            _whole(spread(ages.median, ages.low, ages.high, count, below=below, above=above), ages.median)
        ).tolist(),
        *(shuffled(variable) for variable in ("pathology", "t_stage", "n_stage", "m_stage")),
        [stage] * count,
        *(shuffled(variable) for variable in ("ebv", "vca")),
        rng.permutation(_survival(stage, count, published.SURVIVAL[number].median)).tolist(),
    )
    return [Clinical(*row) for row in zip(*columns, strict=True)]


def _survival(stage: str, count: int, median: float) -> NDArray[np.int64]:
    died, first, last, rise = _SHAPES[stage].died
    if died == count:
        return _whole(spread(median, first, last, died, below=1.8, above=2.7), median)
    months = np.full(count, float(_FOLLOW_UP_MONTHS))
    months[:died] = first + (last - first) * np.linspace(0, 1, died) ** rise
    return _whole(months, _FOLLOW_UP_MONTHS)


def _whole(values: NDArray[np.float64], median: float) -> NDArray[np.int64]:
    """Round to integers, in rising order, with the median kept when it lies between two of them."""
    rounded = np.floor(values + 0.5).astype(np.int64)
    if len(rounded) % 2 == 0:
        middle = len(rounded) // 2
        rounded[middle - 1 : middle + 1] = np.floor(median), np.ceil(median)
    return rounded
