"""Who gets which scanner, parameters, tumour and clinical course: the published tables as a plan, before any file.

Tables 1 to 4 of the dataset's paper (doi 10.1038/s41597-025-05815-x). Each quantity is a list with the published
median, minimum and maximum, shuffled by the seed. Pixel spacing is not drawn: it is field of view / matrix size.

The columns of Table 4 add up to 278 patients. The plan has 277 by taking one patient from stage 4a (93 of 94), and
there one each from male, non-keratinized, T4, M0, EBV negative and VCA positive; its N row adds up to 95, so N3 gives
two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Size = Literal["small", "full"]
T = TypeVar("T")
Floats = NDArray[np.float64]
SEQUENCES = ("T1WI", "T2WI", "CE-T1WI")
PATIENTS = 277


@dataclass(frozen=True, slots=True)
class Scanner:
    """One of the six scanners of Table 3, and how it writes its headers.

    Parameters
    ----------
    patients
        Of 277.
    signed
        16-bit signed pixels, as GE writes; 12-bit unsigned otherwise.
    gap_in_header
        Whether SpacingBetweenSlices holds the gap between slices, not the distance of their centres.
    """

    model: str
    manufacturer: str
    field_strength_t: float
    patients: int
    signed: bool
    gap_in_header: bool
    implicit: bool


SCANNERS = (
    Scanner("Achieva", "Philips Medical Systems", 3.0, 146, False, False, False),
    Scanner("DISCOVERY MR750w", "GE MEDICAL SYSTEMS", 3.0, 12, True, False, False),
    Scanner("MAGNETOM IMPACT", "SIEMENS", 1.5, 93, False, True, False),
    Scanner("OPTIMA MR360", "GE MEDICAL SYSTEMS", 1.5, 5, True, False, False),
    Scanner("SIGNA EXCITE", "GE MEDICAL SYSTEMS", 1.5, 1, True, False, True),
    Scanner("Signa HDxt", "GE MEDICAL SYSTEMS", 1.5, 20, True, False, True),
)

# median, minimum, maximum by sequence: Table 1 and Table 2
_ECHO_TIME_MS = ((12.0, 8.6, 16.4), (80.0, 66.46, 123.09), (12.0, 1.67, 16.4))
_REPETITION_TIME_MS = ((570.88, 366.67, 2283.34), (3192.87, 2500.0, 7633.34), (632.0, 330.0, 1100.0))
_FLIP_ANGLE = ((90.0, 65.0, 142.0), (90.0, 90.0, 180.0), (90.0, 80.0, 142.0))
_THICKNESS_MM = (5.0, 4.0, 6.2)
_FIELD_OF_VIEW_MM = (220.0, 220.0, 250.0)
_RARE_MATRIX = (512, 256, 432)
_VOLUME_CM3 = ((8.60, 0.68, 70.34), (8.67, 0.40, 73.12), (9.42, 0.61, 84.24))


@dataclass(frozen=True, slots=True)
class ScanPlan:
    """One series: what its scanner was set to, and how large its tumour is."""

    sequence: str
    matrix: int
    slices: int
    echo_time_ms: float
    repetition_time_ms: float
    flip_angle_deg: float
    thickness_mm: float
    gap_mm: float
    field_of_view_mm: float
    tumour_cm3: float


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


@dataclass(frozen=True, slots=True)
class PatientPlan:
    """One patient: index from 1, scanner, the three series, the clinical course."""

    index: int
    scanner: Scanner
    scans: tuple[ScanPlan, ...]
    clinical: Clinical

    @property
    def label(self) -> str:
        """Name of the patient's folder."""
        return f"{self.index:03d}"


def plan_cohort(patients: int, size: Size, seed: int) -> tuple[PatientPlan, ...]:
    """Plan a cohort; the same arguments give the same plan."""
    rng = np.random.default_rng([seed, 0])
    clinical = _clinical(rng, patients)
    scanners = _spread_counts([(scanner, scanner.patients) for scanner in SCANNERS], patients, rng)
    columns = [_scans(sequence, patients, size, rng) for sequence in range(3)]
    # larger tumours have higher T stages, as they do in patients
    order = np.argsort([float(c.t[1]) + noise for c, noise in zip(clinical, rng.normal(0, 1.2, patients), strict=True)])
    volumes = np.empty((3, patients))
    for sequence in range(3):
        volumes[sequence, order] = spread(*_VOLUME_CM3[sequence], patients)
    return tuple(
        PatientPlan(
            i + 1,
            scanners[i],
            tuple(_scan_plan(columns[s][i], volumes[s, i], s) for s in range(3)),
            clinical[i],
        )
        for i in range(patients)
    )


def spread(median: float, low: float, high: float, count: int) -> Floats:
    """Values in rising order with this median, and this minimum and maximum where there are at least three."""
    if count < 3:
        return np.full(count, median)
    u = np.linspace(0, 1, count)
    values = np.where(
        u <= 0.5, low + (median - low) * (2 * u) ** 0.7, median + (high - median) * np.clip(2 * u - 1, 0, 1) ** 3
    )
    values[[(count - 1) // 2, count // 2]] = median
    return values


def _scans(sequence: int, patients: int, size: Size, rng: np.random.Generator) -> list[tuple[float, ...]]:
    """Parameters of one sequence for every patient, each column shuffled on its own."""
    settings = (_ECHO_TIME_MS[sequence], _REPETITION_TIME_MS[sequence], _FLIP_ANGLE[sequence], _THICKNESS_MM)
    echo, repetition, flip, thickness = (rng.permutation(spread(*s, patients)).round(2) for s in settings)
    fov = rng.permutation(spread(*_FIELD_OF_VIEW_MM, patients)).round(0)
    gap = rng.permutation(spread(0.5, 0.4, 0.8, patients)).round(1)
    kinds: Sequence[tuple[int, int]] = [(512, 255), (640, 20), (_RARE_MATRIX[sequence], 2)]
    matrix = np.array(_spread_counts(kinds, patients, rng))
    if size == "small":
        matrix = matrix * 80 // 512
    depth = rng.integers(24, 35, patients) if size == "full" else rng.integers(14, 17, patients)
    fov = np.where(matrix >= matrix.max(initial=0), np.maximum(fov, 220), fov)
    return list(zip(matrix, depth, echo, repetition, flip, thickness, gap, fov, strict=True))


def _scan_plan(values: tuple[float, ...], tumour_cm3: float, sequence: int) -> ScanPlan:
    matrix, depth, *rest = values
    echo, repetition, flip, thickness, gap, fov = (float(value) for value in rest)
    return ScanPlan(
        SEQUENCES[sequence], int(matrix), int(depth), echo, repetition, flip, thickness, gap, fov, float(tumour_cm3)
    )


def _spread_counts(kinds: Sequence[tuple[T, int]], patients: int, rng: np.random.Generator) -> list[T]:
    """Deal out kinds in proportion to their counts, one of each first; shuffled."""
    ranked = sorted(
        ((0.0 if i == 0 else (i + 0.5) / count, -count, k) for k, (_, count) in enumerate(kinds) for i in range(count))
    )
    chosen = [ranked[i % len(ranked)][2] for i in range(patients)]
    return [kinds[chosen[i]][0] for i in rng.permutation(patients)]


#: Table 4 by stage: patients, female, age (median, min, max), then counts of pathology, T0-4, N0-3, M0-1, EBV-, VCA-,
#: and survival in months (mean, median, min).
_STAGES: tuple[Any, ...] = (
    ("1", 5, 1, (45, 44, 70), (0, 1, 4), (0, 5, 0, 0, 0), (4, 1, 0, 0), 5, 5, 4, (48.0, 60, 0)),
    ("2", 26, 10, (48.5, 27, 80), (0, 2, 24), (0, 8, 18, 0, 0), (6, 20, 0, 0), 26, 21, 6, (49.7, 60, 0)),
    ("3", 140, 41, (50, 22, 91), (0, 5, 135), (0, 2, 41, 97, 0), (10, 31, 99, 0), 140, 109, 45, (52.8, 60, 0)),
    ("4a", 93, 18, (49, 20, 74), (0, 4, 89), (0, 0, 3, 15, 75), (5, 31, 29, 28), 92, 57, 19, (45.7, 60, 0)),
    ("4b", 13, 4, (59, 36, 71), (1, 0, 12), (1, 0, 2, 4, 6), (0, 1, 4, 8), 0, 7, 3, (22.2, 18, 5)),
)  # fmt: skip
_PATHOLOGY = ("Basaloid squamous", "Keratinized squamous", "Non-keratinized squamous")


def _clinical(rng: np.random.Generator, patients: int) -> list[Clinical]:
    rows = {stage[0]: _stage_rows(rng, *stage) for stage in _STAGES}
    order = _spread_counts([(stage[0], stage[1]) for stage in _STAGES], patients, rng)
    given = dict.fromkeys(rows, 0)
    clinical = []
    for stage in order:
        clinical.append(rows[stage][given[stage] % len(rows[stage])])
        given[stage] += 1
    return clinical


def _stage_rows(
    rng: np.random.Generator,
    stage: str,
    count: int,
    female: int,
    age: tuple[float, float, float],
    pathology: tuple[int, ...],
    t: tuple[int, ...],
    n: tuple[int, ...],
    m0: int,
    ebv_negative: int,
    vca_negative: int,
    survival: tuple[float, float, float],
) -> list[Clinical]:
    """Rows of one stage whose counts are Table 4's, each column shuffled on its own."""

    def deal(names: Sequence[str], counts: Sequence[int]) -> list[str]:
        return list(rng.permutation(np.repeat(names, counts)))

    signs = ("negative", "positive")
    columns = (
        deal(("F", "M"), (female, count - female)),
        rng.permutation(np.floor(spread(*age, count) + 0.5)).astype(int).tolist(),
        deal(_PATHOLOGY, pathology),
        deal([f"T{i}" for i in range(5)], t),
        deal([f"N{i}" for i in range(4)], n),
        deal(("M0", "M1"), (m0, count - m0)),
        [stage] * count,
        deal(signs, (ebv_negative, count - ebv_negative)),
        deal(signs, (vca_negative, count - vca_negative)),
        rng.permutation(_survival(*survival, count)).tolist(),
    )
    return [Clinical(*row) for row in zip(*columns, strict=True)]


def _survival(mean: float, median: float, low: float, count: int) -> NDArray[np.int64]:
    """Months to death or to the end of follow-up at 60, with this minimum and median and about this mean."""
    if median < 60:
        return spread(median, low, 60, count).round().astype(np.int64)
    died_mean = (low + 59) / 2
    died = int(np.clip(round(count * (60 - mean) / (60 - died_mean)), 1, (count - 1) // 2))
    died_at = np.linspace(low, 59, died) if died > 1 else np.array([low])
    return np.concatenate([died_at, np.full(count - died, 60)]).round().astype(np.int64)
