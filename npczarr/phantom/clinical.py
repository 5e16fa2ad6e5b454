"""The clinical course of 277 patients: Table 4 of the dataset's paper, cell for cell where it adds up.

The columns of Table 4 add up to 278 patients, so one cannot exist. It is taken from stage 4a, whose N row adds up to
95 for 94 patients and is in doubt anyway: the plan has 93 in stage 4a, and in that column only, one fewer of male (75),
non-keratinized (89), T4 (75), M0 (92), EBV negative (57) and VCA positive (74), and two fewer of N3 (28). Every other
cell is the paper's. Ages and months of survival have the published median, minimum and maximum, and mean and standard
deviation within 0.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from npczarr.phantom.deal import spread

_PATHOLOGY = ("Basaloid squamous", "Keratinized squamous", "Non-keratinized squamous")
_SIGNS = ("negative", "positive")
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


@dataclass(frozen=True, slots=True)
class _Stage:
    """One column of Table 4: counts in the paper's order.

    age: median, minimum, maximum, and the two exponents of `spread` that give the published mean and SD. died: how
    many, first and last month, exponent of the rise between them.
    """

    name: str
    patients: int
    female: int
    age: tuple[float, float, float, float, float]
    pathology: tuple[int, int, int]
    t: tuple[int, int, int, int, int]
    n: tuple[int, int, int, int]
    m0: int
    ebv_negative: int
    vca_negative: int
    died: tuple[int, int, int, float]


_STAGES = (
    _Stage("1", 5, 1, (45, 44, 70, 0.1, 1.2), (0, 1, 4), (0, 5, 0, 0, 0), (4, 1, 0, 0), 5, 5, 4, (1, 0, 0, 1)),
    _Stage("2", 26, 10, (48.5, 27, 80, 1.5, 2), (0, 2, 24), (0, 8, 18, 0, 0), (6, 20, 0, 0), 26, 21, 6,
           (6, 0, 59, 4.8)),
    _Stage("3", 140, 41, (50, 22, 91, 2.9, 3.7), (0, 5, 135), (0, 2, 41, 97, 0), (10, 31, 99, 0), 140, 109, 45,
           (21, 0, 59, 4.5)),
    _Stage("4a", 93, 18, (49, 20, 74, 2.3, 1.6), (0, 4, 89), (0, 0, 3, 15, 75), (5, 31, 29, 28), 92, 57, 19,
           (38, 0, 59, 1.4)),
    # the median of stage 4b is 18 months: its deaths are spread around that, and one patient lives
    _Stage("4b", 13, 4, (59, 36, 71, 2.5, 1.2), (1, 0, 12), (1, 0, 2, 4, 6), (0, 1, 4, 8), 0, 7, 3, (13, 5, 60, 0)),
)  # fmt: skip

STAGES: tuple[tuple[str, int], ...] = tuple((stage.name, stage.patients) for stage in _STAGES)


def stage_courses(rng: np.random.Generator) -> dict[str, list[Clinical]]:
    """Courses of the 277 patients by stage, each column shuffled on its own."""
    return {stage.name: _courses(stage, rng) for stage in _STAGES}


def _courses(stage: _Stage, rng: np.random.Generator) -> list[Clinical]:
    def shuffled(names: Sequence[str], counts: Sequence[int]) -> list[str]:
        return [str(name) for name in rng.permutation(np.repeat(names, counts))]

    count = stage.patients
    median, low, high, below, above = stage.age
    columns = (
        shuffled(("F", "M"), (stage.female, count - stage.female)),
        rng.permutation(_whole(spread(median, low, high, count, below=below, above=above), median)).tolist(),
        shuffled(_PATHOLOGY, stage.pathology),
        shuffled([f"T{i}" for i in range(5)], stage.t),
        shuffled([f"N{i}" for i in range(4)], stage.n),
        shuffled(("M0", "M1"), (stage.m0, count - stage.m0)),
        [stage.name] * count,
        shuffled(_SIGNS, (stage.ebv_negative, count - stage.ebv_negative)),
        shuffled(_SIGNS, (stage.vca_negative, count - stage.vca_negative)),
        rng.permutation(_survival(stage)).tolist(),
    )
    return [Clinical(*row) for row in zip(*columns, strict=True)]


def _survival(stage: _Stage) -> NDArray[np.int64]:
    died, first, last, rise = stage.died
    if died == stage.patients:
        return _whole(spread(18, first, last, died, below=1.8, above=2.7), 18)
    months = np.full(stage.patients, float(_FOLLOW_UP_MONTHS))
    months[:died] = first + (last - first) * np.linspace(0, 1, died) ** rise
    return _whole(months, _FOLLOW_UP_MONTHS)


def _whole(values: NDArray[np.float64], median: float) -> NDArray[np.int64]:
    """Round to integers, in rising order, with the median kept when it lies between two of them."""
    rounded = np.floor(values + 0.5).astype(np.int64)
    if len(rounded) % 2 == 0:
        middle = len(rounded) // 2
        rounded[middle - 1 : middle + 1] = np.floor(median), np.ceil(median)
    return rounded
