"""What the paper of the dataset says of its cohort: Tables 1 to 4, as numbers.

"A dataset of primary nasopharyngeal carcinoma MRI with multi-modalities segmentation", Scientific Data 2025,
doi 10.1038/s41597-025-05815-x. Reports show these figures beside a store's; the synthetic cohort is made from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Range(NamedTuple):
    """Median, minimum and maximum."""

    median: float
    low: float
    high: float


class Ages(NamedTuple):
    """Mean and standard deviation, median, minimum and maximum: of ages in years, or of survival in months."""

    mean: float
    deviation: float
    median: float
    low: float
    high: float


PATIENTS = 277
SEQUENCES = ("T1WI", "T2WI", "CE-T1WI")

#: Table 1, by variable of the store, for each sequence. Spacing between slices is what headers say.
MRI_PARAMETERS: Mapping[str, tuple[Range, Range, Range]] = {
    "echo_time": (Range(12.0, 8.6, 16.4), Range(80.0, 66.46, 123.09), Range(12.0, 1.67, 16.4)),
    "repetition_time": (
        Range(570.88, 366.67, 2283.34), Range(3192.87, 2500.0, 7633.34), Range(632.0, 330.0, 1100.0),
    ),
    "spacing_between_slices": (Range(5.5, 0.5, 7.0),) * 3,
    "slice_thickness": (Range(5.0, 4.0, 6.2),) * 3,
    "pixel_spacing": (Range(0.43, 0.38, 0.55), Range(0.43, 0.38, 0.98), Range(0.45, 0.4, 0.55)),
    "field_of_view": (Range(220, 220, 250), Range(225, 220, 250), Range(220, 220, 250)),
    "flip_angle": (Range(90.0, 65.0, 142.0), Range(90.0, 90.0, 180.0), Range(90.0, 80.0, 142.0)),
    "matrix": (Range(512, 512, 640), Range(512, 256, 640), Range(512, 432, 640)),
}  # fmt: skip

#: Table 2, by measure, for each sequence: cm³, cm², cm, 1.
TUMOR_SIZE: Mapping[str, tuple[Range, Range, Range]] = {
    "volume": (Range(8.60, 0.68, 70.34), Range(8.67, 0.40, 73.12), Range(9.42, 0.61, 84.24)),
    "surface_area": (Range(38.03, 6.25, 198.49), Range(37.12, 4.55, 199.80), Range(40.35, 5.38, 230.52)),
    "max_diameter": (Range(4.51, 2.14, 9.96), Range(4.51, 1.73, 10.08), Range(4.70, 2.00, 10.15)),
    "surface_regularity": (Range(0.40, 0.23, 0.63), Range(0.40, 0.23, 0.62), Range(0.39, 0.23, 0.84)),
}

#: Table 3: patients of each scanner.
SCANNERS: Mapping[str, int] = {
    "Achieva": 146,
    "DISCOVERY MR750w": 12,
    "MAGNETOM IMPACT": 93,
    "OPTIMA MR360": 5,
    "SIGNA EXCITE": 1,
    "Signa HDxt": 20,
}

#: Table 4: patients of each clinical stage. They add up to 278, and N of stage 4a adds up to 95.
STAGES: Mapping[str, int] = {"1": 5, "2": 26, "3": 140, "4a": 94, "4b": 13}
#: Table 4, by clinical variable and category: patients of each stage.
STAGE_COUNTS: Mapping[str, Mapping[str, tuple[int, int, int, int, int]]] = {
    "sex": {"female": (1, 10, 41, 18, 4), "male": (4, 16, 99, 76, 9)},
    "pathology": {
        "Basaloid squamous": (0, 0, 0, 0, 1),
        "Keratinized squamous": (1, 2, 5, 4, 0),
        "Non-keratinized squamous": (4, 24, 135, 90, 12),
    },
    "t_stage": {
        "T0": (0, 0, 0, 0, 1),
        "T1": (5, 8, 2, 0, 0),
        "T2": (0, 18, 41, 3, 2),
        "T3": (0, 0, 97, 15, 4),
        "T4": (0, 0, 0, 76, 6),
    },
    "n_stage": {"N0": (4, 6, 10, 5, 0), "N1": (1, 20, 31, 31, 1), "N2": (0, 0, 99, 29, 4), "N3": (0, 0, 0, 30, 8)},
    "m_stage": {"M0": (5, 26, 140, 93, 0), "M1": (0, 0, 0, 1, 13)},
    "ebv": {"negative": (5, 21, 109, 58, 7), "positive": (0, 5, 31, 36, 6)},
    "vca": {"negative": (4, 6, 45, 19, 3), "positive": (1, 20, 95, 75, 10)},
}
#: Table 4: age in years, for each stage.
AGE: tuple[Ages, ...] = (
    Ages(51.8, 11.4, 45, 44, 70),
    Ages(49.7, 13.5, 48.5, 27, 80),
    Ages(50.8, 13.0, 50, 22, 91),
    Ages(49.5, 12.6, 49, 20, 74),
    Ages(58.0, 9.86, 59, 36, 71),
)
#: Table 4: overall survival in months, for each stage.
SURVIVAL: tuple[Ages, ...] = (
    Ages(48.0, 26.8, 60, 0, 60),
    Ages(49.7, 22.3, 60, 0, 60),
    Ages(52.8, 18.5, 60, 0, 60),
    Ages(45.7, 21.0, 60, 0, 60),
    Ages(22.2, 15.2, 18, 5, 60),
)
