"""Where a scan is in a Dataset, by its labels: on dimensions of their own, or on any others after a selection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import ParameterError, unknown_label
from npczarr.model.schema import SCAN
from npczarr.store.entries import DatasetTables, Entries, digest_known

Place = dict[str, int]
#: Tables by which a scan is known.
_KNOWN_BY = ("image_digest", "mask_digest", "status", "mask_status", "shape", "affine", "rater")


def place_of(dataset: xr.Dataset, tables: DatasetTables, patient: object, sequence: object) -> Place:
    """Return the index of a scan along each dimension on which its two labels lie.

    Parameters
    ----------
    dataset, tables
        A cohort or a selection of it, and its tables.
    patient, sequence
        Labels; a number finds a label that is a number.

    Raises
    ------
    UnknownLabelError
        If there is no such patient or sequence, or the patient has no such sequence.
    ParameterError
        If several scans that are not the same have these labels, or the Dataset has no labels.
    """
    patients, sequences = (_labels(dataset, dim) for dim in SCAN)
    for dim, labels, label in zip(SCAN, (patients, sequences), (patient, sequence), strict=True):
        if not (labels.texts == str(label)).any():
            raise unknown_label(dim, label, labels.unique(), where="the Dataset")
    found = [first | second for first in patients.places(patient) for second in sequences.places(sequence, first)]
    if not found:
        known = sequences_of(dataset, patient)
        raise unknown_label("sequence", sequence, known, where=f"the Dataset for patient {str(patient)!r}")
    if len(found) > 1:
        _check_same([tables.entries(place, _KNOWN_BY) for place in found], f"{patient}/{sequence}")
    return found[0]


def patients_of(dataset: xr.Dataset) -> list[str]:
    """Return the labels of the patients in a Dataset, each once.

    Raises
    ------
    ParameterError
        If it has none.
    """
    return _labels(dataset, "patient").unique()


def sequences_of(dataset: xr.Dataset, patient: object) -> list[str]:
    """Return the labels of the sequences that a Dataset has of a patient, each once.

    Raises
    ------
    UnknownLabelError
        If there is no such patient.
    ParameterError
        If it has no labels.
    """
    patients, sequences = (_labels(dataset, dim) for dim in SCAN)
    places = patients.places(patient)
    if not places:
        raise unknown_label("patient", patient, patients.unique(), where="the Dataset")
    return list(dict.fromkeys(label for place in places for label in sequences.unique(place)))


@dataclass(frozen=True, slots=True, eq=False)
class _Labels:
    """The labels of patients or sequences, and the dimensions on which they lie; none for a single label."""

    dims: tuple[str, ...]
    texts: NDArray[Any]

    def places(self, label: object, within: Mapping[str, int] | None = None) -> list[Place]:
        """Return every place of a label, along the dimensions that `within` does not fix already."""
        within = within or {}
        free = [dim for dim in self.dims if dim not in within]
        matches = np.argwhere(self._at(within) == str(label))
        return [dict(zip(free, (int(i) for i in match), strict=True)) for match in matches]

    def unique(self, within: Mapping[str, int] | None = None) -> list[str]:
        """Return the labels, each once, at the places that `within` leaves."""
        return list(dict.fromkeys(self._at(within or {}).ravel().tolist()))

    def _at(self, within: Mapping[str, int]) -> NDArray[Any]:
        return np.asarray(self.texts[tuple(within.get(dim, slice(None)) for dim in self.dims)])


def _labels(dataset: xr.Dataset, dim: str) -> _Labels:
    if dim not in dataset.coords:
        raise ParameterError(f"the Dataset has no {dim} coordinate; is it opened from a cohort store?")
    variable = dataset.variables[dim]
    texts = np.asarray(variable.values)
    if texts.dtype.kind not in "TU":
        texts = np.array([str(value) for value in texts.ravel()], dtype=np.str_).reshape(texts.shape)
    return _Labels(tuple(str(one) for one in variable.dims), texts)


def _check_same(scans: list[Entries], label: str) -> None:
    """Refuse labels that several scans have, unless these are one scan several times.

    Raises
    ------
    ParameterError
        If voxels or geometry differ, or nothing tells.
    """
    first, *others = (_identity(entries) for entries in scans)
    if first is None or any(other != first for other in others):
        raise ParameterError(
            f"{label}: {len(scans)} scans of the Dataset have these labels, and they are not known to be the same; "
            "select one by its number, as in ds.isel(patient=[0]), or give each patient a label of its own before "
            "Datasets are joined, as in ds.assign_coords(patient=['B-' + str(p) for p in ds.patient.values])"
        )


def _identity(entries: Entries) -> tuple[Any, ...] | None:
    """Digests and geometry of a scan, by which it is known; None where its digests are not known."""
    digests = [digest_known(entries, name) for name in ("image", "mask")]
    if None in digests or "shape" not in entries or "affine" not in entries:
        return None
    return *digests, entries["shape"].values.tolist(), entries["affine"].values.tobytes()
