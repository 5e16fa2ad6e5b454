"""The plan of a cohort before any file: scanner, parameters, tumor and clinical course of each patient.

Tables 1 to 4 of the dataset's paper (doi 10.1038/s41597-025-05815-x). The plan is always that of 277 patients, in an
order whose every beginning is a fair sample, so patient k is the same in a cohort of any size; past 277, another 277
follow.

Table 1 gives pixel spacing, field of view and matrix size, of which two give the third, save for the widest pixel of
T1WI (0.55 mm) and the narrowest of CE-T1WI (0.40 mm): no field of view and matrix in the table give those. One scan
each has such a pixel, as of an image padded to a square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from npczarr.model.published import MRI_PARAMETERS, PATIENTS, SEQUENCES, TUMOR_SIZE
from npczarr.model.published import SCANNERS as PATIENTS_OF
from npczarr.phantom.clinical import STAGES, Clinical, stage_courses
from npczarr.phantom.deal import deal, spread

Size = Literal["small", "medium", "full"]
SIZES: tuple[str, ...] = get_args(Size)


@dataclass(frozen=True, slots=True)
class Scanner:
    """One of the six scanners of Table 3, and how it writes its headers.

    Parameters
    ----------
    signed
        16-bit signed pixels, as GE writes; 12-bit unsigned otherwise.
    gap_in_header
        Whether SpacingBetweenSlices holds the gap between slices, not the distance of their centers.
    implicit
        Whether value representations are left out (implicit VR little endian).
    """

    model: str
    manufacturer: str
    field_strength_t: float
    signed: bool = True
    gap_in_header: bool = False
    implicit: bool = False


SCANNERS = (
    Scanner("Achieva", "Philips Medical Systems", 3.0, signed=False),
    Scanner("DISCOVERY MR750w", "GE MEDICAL SYSTEMS", 3.0),
    Scanner("MAGNETOM IMPACT", "SIEMENS", 1.5, signed=False, gap_in_header=True),
    Scanner("OPTIMA MR360", "GE MEDICAL SYSTEMS", 1.5),
    Scanner("SIGNA EXCITE", "GE MEDICAL SYSTEMS", 1.5, implicit=True),
    Scanner("Signa HDxt", "GE MEDICAL SYSTEMS", 1.5, implicit=True),
)


@dataclass(frozen=True, slots=True)
class ScanPlan:
    """One series: the scanner's settings, and the volume of the tumor.

    slice_spacing_mm is the true distance between slice centers, header_spacing_mm the value of SpacingBetweenSlices.
    """

    sequence: str
    matrix: int
    slices: int
    echo_time_ms: float
    repetition_time_ms: float
    flip_angle_deg: float
    thickness_mm: float
    slice_spacing_mm: float
    header_spacing_mm: float
    pixel_spacing_mm: float
    field_of_view_mm: float
    tumor_cm3: float


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


#: (matrix, field of view in mm) with their counts, for each sequence.
_MATRICES: tuple[tuple[tuple[tuple[int, int], int], ...], ...] = (
    (((512, 220), 160), ((512, 230), 60), ((512, 240), 30), ((512, 250), 9), ((640, 243), 13), ((640, 250), 5)),
    (((512, 220), 130), ((512, 225), 60), ((512, 230), 40), ((512, 240), 17), ((512, 250), 9), ((640, 243), 20),
     ((256, 250), 1)),
    (((512, 220), 100), ((480, 220), 45), ((512, 230), 80), ((512, 240), 35), ((512, 250), 10), ((432, 220), 5),
     ((432, 238), 1), ((640, 250), 1)),
)  # fmt: skip

#: (thickness, gap) in mm with their counts. Fewer than 46 lie below 5.5 mm together: with the 93 patients whose header
#: holds the gap, they stay below the half, and the median of the header is 5.5.
_SLICES = (
    ((5.0, 0.5), 184), ((5.0, 1.0), 25), ((6.0, 0.6), 20), ((4.5, 0.5), 15), ((6.0, 1.0), 12), ((4.0, 1.0), 10),
    ((4.0, 0.5), 10), ((6.2, 0.8), 1),
)  # fmt: skip

#: Pixel spacing in mm of one scan of a kind, by sequence: what the kind itself cannot give.
_PADDED: dict[int, tuple[tuple[float, tuple[int, int]], ...]] = {0: ((0.55, (512, 250)),), 2: ((0.4, (640, 250)),)}

_DEPTHS = {"small": (12, 16), "medium": (18, 23), "full": (25, 35)}
#: By how much a matrix is smaller than the published one.
_SHRINK = {"small": 8, "medium": 2, "full": 1}


def plan_cohort(patients: int, size: Size, seed: int) -> tuple[PatientPlan, ...]:
    """Plan a cohort; the same arguments give the same plan, and more patients begin with the same ones."""
    blocks = -(-patients // PATIENTS)
    return tuple(plan for block in range(blocks) for plan in _plan_block(block, size, seed))[:patients]


def _plan_block(block: int, size: Size, seed: int) -> list[PatientPlan]:
    rng = np.random.default_rng([seed, 0, block])
    courses = stage_courses(rng)
    clinical = [courses[stage].pop() for stage in deal(STAGES, rng)]
    scanners = deal([(scanner, PATIENTS_OF[scanner.model]) for scanner in SCANNERS], rng)
    # larger tumors have higher T stages, as they do in patients
    bulk = [int(course.t[1]) + rng.normal(0, 1.2) for course in clinical]
    order = np.argsort(bulk, kind="stable")
    scans = [_plan_scans(sequence, scanners, order, size, rng) for sequence in range(len(SEQUENCES))]
    return [
        PatientPlan(block * PATIENTS + i + 1, scanners[i], tuple(column[i] for column in scans), clinical[i])
        for i in range(PATIENTS)
    ]


def _plan_scans(
    number: int, scanners: list[Scanner], by_bulk: NDArray[np.intp], size: Size, rng: np.random.Generator
) -> list[ScanPlan]:
    """Plan one sequence of every patient, each column shuffled on its own."""
    echo, repetition, flip = (
        rng.permutation(spread(*MRI_PARAMETERS[name][number], PATIENTS))
        for name in ("echo_time", "repetition_time", "flip_angle")
    )
    volume = np.empty(PATIENTS)
    volume[by_bulk] = spread(*TUMOR_SIZE["volume"][number], PATIENTS, below=1.4)
    slices = deal(_SLICES, rng)
    matrices = deal(_MATRICES[number], rng)
    pixels = [field_of_view / matrix for matrix, field_of_view in matrices]
    for wanted, kind in _PADDED.get(number, ()):
        pixels[matrices.index(kind)] = wanted
    depths = rng.integers(*_DEPTHS[size], PATIENTS)
    scans = []
    for i, scanner in enumerate(scanners):
        (matrix, field_of_view), (thickness, gap) = matrices[i], slices[i]
        spacing = round(thickness + gap, 2)
        stored = matrix // _SHRINK[size]
        scans.append(
            ScanPlan(
                SEQUENCES[number],
                stored,
                int(depths[i]),
                round(float(echo[i]), 2),
                round(float(repetition[i]), 2),
                float(np.rint(flip[i])),
                thickness,
                spacing,
                gap if scanner.gap_in_header else spacing,
                round(pixels[i] * matrix / stored, 6),
                float(field_of_view),
                round(float(volume[i]), 4),
            )
        )
    return scans
