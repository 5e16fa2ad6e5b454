"""Whose scans the rows of a store are: statistics, splits and training take the subject as their unit."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.model.cohort import subject_of

_MOST_PARTS = 10  # of a column of numbers that divides a cohort


def subjects_of(dataset: xr.Dataset) -> list[str]:
    """Return the subject of each patient label: what the column `subject` says, else what the label says."""
    patients = [str(label) for label in np.atleast_1d(dataset["patient"].values)]
    given = [""] * len(patients)
    if "subject" in dataset and dataset["subject"].dims == ("patient",):
        given = [str(value) for value in dataset["subject"].values]
    return [subject or subject_of(patient) for subject, patient in zip(given, patients, strict=True)]


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
