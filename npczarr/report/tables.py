"""The tables of a cohort's paper, from any store: MRI parameters, tumor size, scanners, clinical stages, agreement.

Each takes Datasets as a store gives them, reads no voxels, and returns a DataFrame to be read: cells are text such as
"12.0 (8.6-16.4)", or counts. ``table.attrs["notes"]`` lists, in sentences, what is missing or does
not add up; ``table.attrs["title"]`` is the title. Where the store holds the paper's cohort, the paper's figures follow
in the next columns (:mod:`npczarr.report.published`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr

from npczarr.report.agreement_table import agreement
from npczarr.report.clinical import clinical_columns, clinical_stages
from npczarr.report.published import with_published
from npczarr.report.table_text import (
    Floats,
    at_first_visits,
    counts,
    describe_changes,
    describe_visits,
    first_visits,
    known,
    labels,
    make_table,
    many,
    median_and_range,
    numbers,
    of_one,
    scans_there,
    texts,
    two,
    up_to_two,
    whole,
)
from npczarr.store.measured import held_to
from npczarr.store.subjects import subjects_of

__all__ = ["agreement", "clinical_columns", "clinical_stages", "mri_parameters", "scanners", "tumor_size"]

_HEADER_SPACING = "Spacing between slices, mm (header)"
_SPACING_TOLERANCE = 0.01  # relative; the design's limit for irregular slices
#: By metric: how the paper calls it, with its unit, and how many of the store's units that is.
_SIZES = {
    "volume": ("Volume, cm³", 1000),
    "surface_area": ("Surface area, cm²", 100),
    "max_diameter": ("Max diameter, cm", 10),
    "surface_regularity": ("Surface regularity", 1),
}
_NAMED = 5  # patients that a note names


def mri_parameters(dataset: xr.Dataset) -> pd.DataFrame:
    """Table 1: parameters of the scans, "median (min-max)" for each sequence, and the number of scans behind them.

    Parameters that headers often have wrong have two rows: the header field, and the value measured from the slice
    positions and the matrix.

    Parameters
    ----------
    dataset
        A cohort, or a selection of it.

    Returns
    -------
    pandas.DataFrame
        A row for each parameter; a column for each sequence, and `n`: number of scans with the parameter, one number
        where it is the same for every sequence.
    """
    title = "MRI parameters, median (min-max)"
    there, sequences = scans_there(dataset), labels(dataset, "sequence")
    if not there.any():
        return make_table(
            {}, "parameter", title, ["The store holds no scan; `npczarr convert SOURCE STORE` adds scans."]
        )
    notes = [f"{sequence}: no scan in the store." for i, sequence in enumerate(sequences) if not there[:, i].any()]
    rows = {}
    for name, values_of, write in _PARAMETERS:
        values = values_of(dataset)
        complete = there & np.isfinite(values).all(axis=2)
        cells = {
            sequence: median_and_range(values[complete[:, i], i], write, area=name.startswith("Field"))
            for i, sequence in enumerate(sequences)
        }
        rows[name] = cells | {"n": counts(complete.sum(axis=0))}
        if lacking := int((there & ~complete).sum()):
            notes.append(f"{name}: {lacking} of {there.sum()} scans have no value.")
    table = make_table(rows, "parameter", title, notes + _spacing_note(dataset))
    return with_published(table, "mri_parameters", dataset)


def _spacing_note(dataset: xr.Dataset) -> list[str]:
    header, measured = _header("spacing_between_slices")(dataset), _between_slices(dataset)
    both = np.isfinite(header) & np.isfinite(measured) & (measured > 0)
    differ = int((both & (np.abs(header - measured) > _SPACING_TOLERANCE * measured)).sum())
    if not differ:
        return []
    which = f"{differ} of {both.sum()} scans differ by more than 1 %"
    return [f"{_HEADER_SPACING}: {which} from the distance of their slice positions."]


def _header(name: str) -> Callable[[xr.Dataset], Floats]:
    return lambda dataset: numbers(dataset, name)


def _between_slices(dataset: xr.Dataset) -> Floats:
    return numbers(dataset, "spacing")[..., :1]


def _pixels(dataset: xr.Dataset) -> Floats:
    return numbers(dataset, "spacing")[..., -2:]


def _matrix(dataset: xr.Dataset) -> Floats:
    return numbers(dataset, "shape")[..., -2:]


def _extent(dataset: xr.Dataset) -> Floats:
    return _matrix(dataset) * _pixels(dataset)


_PARAMETERS: tuple[tuple[str, Callable[[xr.Dataset], Floats], Callable[[float], str]], ...] = (
    ("Echo time, ms", _header("echo_time"), up_to_two),
    ("Repetition time, ms", _header("repetition_time"), up_to_two),
    (_HEADER_SPACING, _header("spacing_between_slices"), up_to_two),
    ("Spacing between slices, mm (measured)", _between_slices, up_to_two),
    ("Slice thickness, mm", _header("slice_thickness"), up_to_two),
    ("Pixel spacing, mm", _pixels, up_to_two),
    ("Field of view, mm (header)", _header("field_of_view"), whole),
    ("Field of view, mm (measured)", _extent, whole),
    ("Flip angle, degrees", _header("flip_angle"), up_to_two),
    ("Matrix size", _matrix, whole),
)


def tumor_size(dataset: xr.Dataset, morphology: xr.Dataset | None) -> pd.DataFrame:
    """Table 2: size of the tumors, "median (min-max)" for each sequence, and the number of tumors behind them.

    Parameters
    ----------
    dataset
        A cohort, or a selection of it.
    morphology
        The store's `morphology`, of one label and rater; None where it is not there yet. Of it count the patients and
        sequences of `dataset`, without scans that changed since they were measured.

    Raises
    ------
    ParameterError
        If the result is of several labels or raters.
    """
    title = "Tumor size, median (min-max)"
    found = [] if morphology is None else [name for name in _SIZES if name in morphology]
    if morphology is None or not found:
        return make_table({}, "measure", title, ["No tumor is measured yet: `npczarr morphology STORE` does it."])
    morphology = of_one(morphology)
    notes = describe_visits(dataset) + describe_changes(morphology, dataset)
    morphology = held_to(morphology, dataset)
    morphology, dataset = at_first_visits(morphology, dataset), first_visits(dataset)
    sequences = labels(morphology, "sequence")
    rows = {}
    for name in found:
        label, unit = _SIZES[name]
        values = numbers(morphology, name)[..., 0] / unit
        cells = {s: median_and_range(known(values[:, i])[:, None], two) for i, s in enumerate(sequences)}
        rows[label] = cells | {"n": counts(np.isfinite(values).sum(axis=0))}
    notes += [
        f"{_SIZES[name][0]}: not in the store's `morphology`; measure again." for name in _SIZES if name not in found
    ]
    notes += _uncounted(dataset, morphology, found[0])
    return with_published(make_table(rows, "measure", title, notes), "tumor_size", dataset)


def _uncounted(dataset: xr.Dataset, morphology: xr.Dataset, measured: str) -> list[str]:
    """Count masks without tumor and scans without a measured mask, for each sequence."""
    notes = []
    there = dict(zip(labels(dataset, "sequence"), scans_there(dataset).sum(axis=0), strict=True))
    voxels = numbers(morphology, "voxel_count" if "voxel_count" in morphology else measured)[..., 0]
    for i, sequence in enumerate(labels(morphology, "sequence")):
        empty = int((voxels[:, i] == 0).sum())
        unmeasured = int(there.get(sequence, 0) - np.isfinite(voxels[:, i]).sum())
        if empty:
            notes.append(f"{sequence}: {many(empty, 'mask holds', 'masks hold')} no tumor; nothing of it counts here.")
        if unmeasured > 0:
            notes.append(f"{sequence}: {many(unmeasured, 'scan has', 'scans have')} no mask that was measured.")
    return notes


def scanners(dataset: xr.Dataset) -> pd.DataFrame:
    """Table 3: patients and scans of each scanner model.

    A patient who was scanned on several counts for each of them; the notes name these patients.

    Returns
    -------
    pandas.DataFrame
        A row for each model, "not stated" last; columns `manufacturer`, `field strength, T`, `patients`, `scans`.
    """
    title = "Scanners"
    there, model = scans_there(dataset), texts(dataset, "scanner_model")
    if not (there & (model != "")).any():
        return make_table({}, "scanner", title, ["No scan in the store names its scanner; headers of DICOM series do."])
    model[model == ""] = "not stated"
    subjects = np.array(subjects_of(dataset), dtype=object)
    maker, field = texts(dataset, "manufacturer"), texts(dataset, "magnetic_field_strength")
    rows = {}
    for label in sorted({*model[there]}, key=lambda label: (label == "not stated", label.lower())):
        its = there & (model == label)
        rows[label] = {
            "manufacturer": ", ".join(sorted({*maker[its]} - {""})),
            "field strength, T": ", ".join(sorted({*field[its]} - {""})),
            "patients": len({*subjects[its.any(axis=1)]}),
            "scans": int(its.sum()),
        }
    of_patients = {subject: {*model[subjects == subject][there[subjects == subject]]} for subject in subjects}
    several = [f"{label}: {', '.join(sorted(models))}" for label, models in of_patients.items() if len(models) > 1]
    notes = []
    if several:
        who = "; ".join(several[:_NAMED]) + ("; …" if len(several) > _NAMED else "")
        notes.append(
            f"{many(len(several), 'patient was', 'patients were')} scanned on several scanners, counted for each: the "
            f"column adds up to more than the {sum(map(bool, of_patients.values()))} patients ({who})."
        )
    if without := sum(not models for models in of_patients.values()):
        notes.append(f"{many(without, 'patient has', 'patients have')} no scan in the store.")
    return with_published(make_table(rows, "scanner", title, notes), "scanners", dataset)
