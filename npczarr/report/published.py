"""The figures of the dataset's paper, set beside a store's where the store holds that cohort.

"A dataset of primary nasopharyngeal carcinoma MRI with multi-modalities segmentation", Scientific Data 2025,
doi 10.1038/s41597-025-05815-x, Tables 1 to 4.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from npczarr.errors import ParameterError
from npczarr.report.table_text import labels

Table = Literal["mri_parameters", "tumor_size", "scanners", "clinical_stages"]

PATIENTS = 277
SEQUENCES = ("T1WI", "T2WI", "CE-T1WI")
STAGES = ("1", "2", "3", "4a", "4b")
#: Behind a figure of the paper that the store's differs from.
DIFFERS = " ≠"

#: Table 1, median (min-max). Of spacing between slices and field of view the paper gives what headers say.
MRI_PARAMETERS: dict[Hashable, tuple[str, ...]] = {
    "Echo time, ms": ("12.0 (8.6-16.4)", "80.0 (66.46-123.09)", "12.0 (1.67-16.4)"),
    "Repetition time, ms": ("570.88 (366.67-2283.34)", "3192.87 (2500.0-7633.34)", "632.0 (330.0-1100.0)"),
    "Spacing between slices, mm (header)": ("5.5 (0.5-7.0)", "5.5 (0.5-7.0)", "5.5 (0.5-7.0)"),
    "Slice thickness, mm": ("5.0 (4.0-6.2)", "5.0 (4.0-6.2)", "5.0 (4.0-6.2)"),
    "Pixel spacing, mm": ("0.43 (0.38-0.55)", "0.43 (0.38-0.98)", "0.45 (0.4-0.55)"),
    "Field of view, mm (header)": ("220x220 (220-250)", "225x225 (220-250)", "220x220 (220-250)"),
    "Flip angle, degrees": ("90.0 (65.0-142.0)", "90.0 (90.0-180.0)", "90.0 (80.0-142.0)"),
    "Matrix size": ("512 (512-640)", "512 (256-640)", "512 (432-640)"),
}

#: Table 2, median (min-max).
TUMOR_SIZE: dict[Hashable, tuple[str, ...]] = {
    "Volume, cm³": ("8.60 (0.68-70.34)", "8.67 (0.40-73.12)", "9.42 (0.61-84.24)"),
    "Surface area, cm²": ("38.03 (6.25-198.49)", "37.12 (4.55-199.80)", "40.35 (5.38-230.52)"),
    "Max diameter, cm": ("4.51 (2.14-9.96)", "4.51 (1.73-10.08)", "4.70 (2.00-10.15)"),
    "Surface regularity": ("0.40 (0.23-0.63)", "0.40 (0.23-0.62)", "0.39 (0.23-0.84)"),
}

#: Table 3, patients of each scanner.
SCANNERS: dict[Hashable, tuple[int, ...]] = {
    "Achieva": (146,),
    "DISCOVERY MR750w": (12,),
    "MAGNETOM IMPACT": (93,),
    "OPTIMA MR360": (5,),
    "SIGNA EXCITE": (1,),
    "Signa HDxt": (20,),
}

#: Table 4, patients of each clinical stage.
CLINICAL_STAGES: dict[tuple[str, str], tuple[int, ...] | tuple[str, ...]] = {
    ("N", ""): (5, 26, 140, 94, 13),
    ("Sex", "female"): (1, 10, 41, 18, 4),
    ("Sex", "male"): (4, 16, 99, 76, 9),
    ("Age, years", "mean (SD)"): ("51.8 (11.4)", "49.7 (13.5)", "50.8 (13.0)", "49.5 (12.6)", "58.0 (9.86)"),
    ("Age, years", "median [min, max]"): ("45 [44, 70]", "48.5 [27, 80]", "50 [22, 91]", "49 [20, 74]", "59 [36, 71]"),
    ("Pathology", "Basaloid squamous"): (0, 0, 0, 0, 1),
    ("Pathology", "Keratinized squamous"): (1, 2, 5, 4, 0),
    ("Pathology", "Non-keratinized squamous"): (4, 24, 135, 90, 12),
    ("T stage", "T0"): (0, 0, 0, 0, 1),
    ("T stage", "T1"): (5, 8, 2, 0, 0),
    ("T stage", "T2"): (0, 18, 41, 3, 2),
    ("T stage", "T3"): (0, 0, 97, 15, 4),
    ("T stage", "T4"): (0, 0, 0, 76, 6),
    ("N stage", "N0"): (4, 6, 10, 5, 0),
    ("N stage", "N1"): (1, 20, 31, 31, 1),
    ("N stage", "N2"): (0, 0, 99, 29, 4),
    ("N stage", "N3"): (0, 0, 0, 30, 8),
    ("M stage", "M0"): (5, 26, 140, 93, 0),
    ("M stage", "M1"): (0, 0, 0, 1, 13),
    ("EBV DNA", "negative"): (5, 21, 109, 58, 7),
    ("EBV DNA", "positive"): (0, 5, 31, 36, 6),
    ("VCA IgA", "negative"): (4, 6, 45, 19, 3),
    ("VCA IgA", "positive"): (1, 20, 95, 75, 10),
    ("Overall survival, months", "mean (SD)"): (
        "48.0 (26.8)", "49.7 (22.3)", "52.8 (18.5)", "45.7 (21.0)", "22.2 (15.2)",
    ),
    ("Overall survival, months", "median [min, max]"): (
        "60 [0, 60]", "60 [0, 60]", "60 [0, 60]", "60 [0, 60]", "18 [5, 60]",
    ),
}  # fmt: skip

_TABLES: dict[str, tuple[tuple[str, ...], Mapping[Any, tuple[Any, ...]]]] = {
    "mri_parameters": (SEQUENCES, MRI_PARAMETERS),
    "tumor_size": (SEQUENCES, TUMOR_SIZE),
    "scanners": (("patients",), SCANNERS),
    "clinical_stages": (STAGES, CLINICAL_STAGES),
}


def is_published_cohort(dataset: xr.Dataset) -> bool:
    """Tell whether a store holds the paper's cohort: its 277 patients and three sequences, no more and no fewer.

    The synthetic cohort of that size passes as well: it is made to give the same tables.
    """
    return len(labels(dataset, "patient")) == PATIENTS and {*labels(dataset, "sequence")} == {*SEQUENCES}


def with_published(table: pd.DataFrame, name: Table, dataset: xr.Dataset) -> pd.DataFrame:
    """Set the paper's figures beside a table's, if the store holds the paper's cohort.

    Parameters
    ----------
    table
        As :mod:`npczarr.report.tables` makes it.
    name
        ``"mri_parameters"``, ``"tumor_size"``, ``"scanners"`` or ``"clinical_stages"``.
    dataset
        The cohort that the table shows; the table of another than the paper's comes back as it is.

    Returns
    -------
    pandas.DataFrame
        After each column of which the paper has figures one more, "…, paper": the figure as printed, " ≠" behind it
        where the store's differs, "" where the paper has none. Rows that the paper alone has follow the store's; what
        the store does not count is 0 there. The notes say how many cells differ, and where the paper's own counts do
        not add up; `attrs["different"]` lists the cells.

    Raises
    ------
    ParameterError
        If there is no table of that name.
    """
    if name not in _TABLES:
        raise ParameterError(f"the paper has no table {name!r}; there are {', '.join(_TABLES)}")
    if table.empty or not is_published_cohort(dataset):
        return table
    columns, figures = _TABLES[name]
    beside = _with_rows(table, figures)
    different: list[tuple[Hashable, str]] = []
    shared = [column for column in columns if column in table]
    for column in shared:
        printed = {row: figure[columns.index(column)] for row, figure in figures.items()}
        own = beside[column].to_dict()
        apart = {row for row, figure in printed.items() if _numbers(own[row]) != _numbers(figure)}
        different += [(row, column) for row in printed if row in apart]
        cells = [f"{printed.get(row, '')}{DIFFERS if row in apart else ''}" for row in beside.index]
        beside.insert([*beside.columns].index(column) + 1, f"{column}, paper", cells)
    compared = len(shared) * len(figures)
    said = [f"{len(different)} of {compared} cells differ from the paper's, marked{DIFFERS}."]
    if not different:
        said = [f"All {compared} cells are as in the paper."]
    if len(shared) < len(columns):
        said.append(f"In the paper and not here: {', '.join(column for column in columns if column not in table)}.")
    beside.attrs = {**table.attrs, "different": different}
    beside.attrs["notes"] = [*table.attrs.get("notes", []), *said, *published_doubts(name)]
    return beside


def _with_rows(table: pd.DataFrame, figures: Mapping[Any, tuple[Any, ...]]) -> pd.DataFrame:
    """Return the table with the paper's rows as well, each behind the store's of the same characteristic."""

    def group(row: Hashable) -> Hashable:
        return row[0] if isinstance(row, tuple) else ""

    groups = [*dict.fromkeys(map(group, [*table.index, *figures]))]
    rows = sorted(dict.fromkeys([*table.index, *figures]), key=lambda row: groups.index(group(row)))
    several = isinstance(table.index, pd.MultiIndex)
    index = pd.MultiIndex.from_tuples(rows) if several else pd.Index(rows)
    beside = table.astype(object).reindex(index.set_names(table.index.names))
    beside = beside.where(beside.notna(), "")
    there = {group(row) for row in table.index}
    none = [row not in table.index and isinstance(figures[row][0], int) and group(row) in there for row in rows]
    beside[np.array(none)] = 0
    return beside


def _numbers(cell: object) -> tuple[float, ...]:
    """Return the numbers of a cell, to be compared: "220x220 (220-250)" is (220, 220, 250)."""
    found = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", str(cell))]
    square = re.match(r"([\d.]+)x\1 ", str(cell))
    return tuple(found[1:] if square else found)


def published_doubts(name: Table) -> list[str]:
    """Say in words which counts of a table in the paper do not add up.

    >>> published_doubts("clinical_stages")[0]
    "The paper's stages add up to 278 patients, for 277."
    """
    if name == "scanners":
        total = sum(count for (count,) in SCANNERS.values())
        return [] if total == PATIENTS else [f"The paper's scanners add up to {total} patients, for {PATIENTS}."]
    if name != "clinical_stages":
        return []
    sums: dict[str, list[int]] = {}
    for (characteristic, _), figures in CLINICAL_STAGES.items():
        if isinstance(figures[0], int):
            sums[characteristic] = [a + int(b) for a, b in zip(sums.get(characteristic, [0] * 5), figures, strict=True)]
    patients = sums.pop("N")
    doubts = [f"The paper's stages add up to {sum(patients)} patients, for {PATIENTS}."]
    doubts = [] if sum(patients) == PATIENTS else doubts
    return doubts + [
        f"The paper's {characteristic} of stage {stage} adds up to {found}, for {expected} patients."
        for characteristic, totals in sums.items()
        for stage, found, expected in zip(STAGES, totals, patients, strict=True)
        if found != expected
    ]
