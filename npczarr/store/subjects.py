"""Whose scans the rows of a store are: statistics, splits and training take the subject as their unit."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.model.cohort import subject_of
from npczarr.model.schema import VISIT_ORDER
from npczarr.model.visit_order import VISIT_TIME, describe_unordered, places_of_visits

_MOST_PARTS = 10  # of a column of numbers that divides a cohort


def subjects_of(dataset: xr.Dataset) -> list[str]:
    """Return the subject of each patient label: what the column `subject` says, else what the label says."""
    patients = _labels(dataset)
    given = _texts(dataset, "subject") or [""] * len(patients)
    return [subject or subject_of(patient) for subject, patient in zip(given, patients, strict=True)]


def visit_places(dataset: xr.Dataset) -> list[int]:
    """Return the place of each patient label among the visits of its subject, from 0; -1 where nothing tells it."""
    patients = _labels(dataset)
    sessions = _texts(dataset, "session") or [patient.partition("_ses-")[2] for patient in patients]
    declared = json.loads(dataset["session"].attrs.get(VISIT_ORDER, "[]")) if "session" in dataset else []
    return places_of_visits(subjects_of(dataset), sessions, declared=declared, times=_texts(dataset, VISIT_TIME))


def unordered_visits(dataset: xr.Dataset) -> str:
    """Say which subjects have visits whose order nothing tells, and what to do; "" where there is none."""
    return describe_unordered(_labels(dataset), subjects_of(dataset), visit_places(dataset))


def _labels(dataset: xr.Dataset) -> list[str]:
    if "patient" not in dataset.variables and "patient" not in dataset.dims:  # one was selected, without its label
        return ["patient"]
    return [str(label) for label in np.atleast_1d(dataset["patient"].values)]


def _texts(dataset: xr.Dataset, name: str) -> list[str]:
    """Values of a column of text by patient; none where there is no such column."""
    if name not in dataset or dataset[name].dims not in (("patient",), ()) or dataset[name].dtype.kind in "biuf":
        return []
    return [str(value) for value in np.atleast_1d(dataset[name].values)]


def parts_of(dataset: xr.Dataset, name: str) -> list[str] | None:
    """Return what a column says of each patient, where it can divide a cohort: text, or a few whole numbers.

    Returns
    -------
    list of str or None
        "" where nothing is said; None of another column.
    """
    if name not in dataset or dataset[name].dims != ("patient",):
        return None
    values = dataset[name].values
    if values.dtype.kind in "biuf":
        return _numbered(values.astype(float))
    return [str(value) for value in values]


def _numbered(values: NDArray[np.float64]) -> list[str] | None:
    known = np.unique(values[~np.isnan(values)])
    if len(known) > _MOST_PARTS or not (np.isfinite(known) & (known == np.round(known))).all():
        return None
    return ["" if np.isnan(value) else f"{value:.0f}" for value in values]
