"""The figures of the dataset's paper (:mod:`npczarr.model.published`), set beside those of a store with its cohort."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from npczarr.errors import ParameterError
from npczarr.model import published
from npczarr.model.published import PATIENTS, SEQUENCES, Range
from npczarr.report.table_text import labels, three_digits, two, up_to_two, whole

Table = Literal["mri_parameters", "tumor_size", "scanners", "clinical_stages"]

STAGES = tuple(published.STAGES)
#: Behind a figure of the paper that the store's differs from.
DIFFERS = " ≠"


def _ranges(ranges: Sequence[Range], write: Callable[[float], str], *, area: bool = False) -> tuple[str, ...]:
    """Write "median (min-max)" of each sequence, as the paper does."""
    return tuple(f"{'x'.join([write(one.median)] * (1 + area))} ({write(one.low)}-{write(one.high)})" for one in ranges)


#: Table 1 by row of the report. Of spacing between slices and field of view the paper gives what headers say.
MRI_PARAMETERS: dict[Hashable, tuple[str, ...]] = {
    label: _ranges(published.MRI_PARAMETERS[name], write, area=name == "field_of_view")
    for name, label, write in (
        ("echo_time", "Echo time, ms", up_to_two),
        ("repetition_time", "Repetition time, ms", up_to_two),
        ("spacing_between_slices", "Spacing between slices, mm (header)", up_to_two),
        ("slice_thickness", "Slice thickness, mm", up_to_two),
        ("pixel_spacing", "Pixel spacing, mm", up_to_two),
        ("field_of_view", "Field of view, mm (header)", whole),
        ("flip_angle", "Flip angle, degrees", up_to_two),
        ("matrix", "Matrix size", whole),
    )
}

#: Table 2 by row of the report.
TUMOR_SIZE: dict[Hashable, tuple[str, ...]] = {
    label: _ranges(published.TUMOR_SIZE[name], two)
    for name, label in (
        ("volume", "Volume, cm³"),
        ("surface_area", "Surface area, cm²"),
        ("max_diameter", "Max diameter, cm"),
        ("surface_regularity", "Surface regularity"),
    )
}

#: Table 3, patients of each scanner.
SCANNERS: dict[Hashable, tuple[int, ...]] = {model: (count,) for model, count in published.SCANNERS.items()}


def _of_stages() -> dict[tuple[str, str], tuple[Any, ...]]:
    """Return Table 4 by row of the report: patients of each clinical stage, and numbers as text."""
    rows: dict[tuple[str, str], tuple[Any, ...]] = {("N", ""): tuple(published.STAGES.values())}
    for name, label in CHARACTERISTICS.items():
        rows |= {(label, value): counts for value, counts in published.STAGE_COUNTS.get(name, {}).items()}
        if ages := {"age": published.AGE, "overall_survival": published.SURVIVAL}.get(name):
            rows[label, "mean (SD)"] = tuple(
                f"{three_digits(one.mean)} ({three_digits(one.deviation)})" for one in ages
            )
            rows[label, "median [min, max]"] = tuple(f"{one.median:g} [{one.low:g}, {one.high:g}]" for one in ages)
    return rows


#: Characteristics of Table 4 in the paper's order, by variable of the store.
CHARACTERISTICS = {
    "sex": "Sex",
    "age": "Age, years",
    "pathology": "Pathology",
    "t_stage": "T stage",
    "n_stage": "N stage",
    "m_stage": "M stage",
    "ebv": "EBV DNA",
    "vca": "VCA IgA",
    "overall_survival": "Overall survival, months",
}
#: Table 4 by row of the report.
CLINICAL_STAGES = _of_stages()

_TABLES: dict[str, tuple[tuple[str, ...], Mapping[Any, tuple[Any, ...]]]] = {
    "mri_parameters": (SEQUENCES, MRI_PARAMETERS),
    "tumor_size": (SEQUENCES, TUMOR_SIZE),
    "scanners": (("patients",), SCANNERS),
    "clinical_stages": (STAGES, CLINICAL_STAGES),
}


def is_published_cohort(dataset: xr.Dataset) -> bool:
    """Whether a store holds 277 patients and the three sequences, as the paper's cohort does.

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
    for column in columns:
        if column in table:
            printed = {row: figure[columns.index(column)] for row, figure in figures.items()}
            different += [(row, column) for row in _insert_beside(beside, column, printed)]
    beside.attrs = {**table.attrs, "different": different}
    notes = _comparison(table, columns, len(figures), len(different))
    beside.attrs["notes"] = [*table.attrs.get("notes", []), *notes, *published_doubts(name)]
    return beside


def _comparison(table: pd.DataFrame, columns: Sequence[str], rows: int, different: int) -> list[str]:
    """Say how many cells were compared and differ, and which columns only the paper has."""
    lacking = [column for column in columns if column not in table]
    compared = (len(columns) - len(lacking)) * rows
    notes = [f"{different} of {compared} cells differ from the paper's, marked{DIFFERS}."]
    if not different:
        notes = [f"All {compared} cells are as in the paper."]
    if lacking:
        notes.append(f"In the paper and not here: {', '.join(lacking)}.")
    return notes


def _insert_beside(table: pd.DataFrame, column: str, printed: Mapping[Hashable, Any]) -> list[Hashable]:
    """Insert the paper's column after the store's; returns the rows in which they differ."""
    own = table[column].to_dict()
    different = [row for row, figure in printed.items() if _numbers(own[row]) != _numbers(figure)]
    marks = dict.fromkeys(different, DIFFERS)
    cells = [f"{printed.get(row, '')}{marks.get(row, '')}" for row in table.index]
    table.insert([*table.columns].index(column) + 1, f"{column}, paper", cells)
    return different


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
    doubts = []
    total = sum(published.STAGES.values())
    if total != PATIENTS:
        doubts.append(f"The paper's stages add up to {total} patients, for {PATIENTS}.")
    for variable, categories in published.STAGE_COUNTS.items():
        sums = np.sum([*categories.values()], axis=0)
        doubts += [
            f"The paper's {CHARACTERISTICS[variable]} of stage {stage} adds up to {found}, for {expected} patients."
            for (stage, expected), found in zip(published.STAGES.items(), sums, strict=True)
            if found != expected
        ]
    return doubts
