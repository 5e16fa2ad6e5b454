"""The columns of a source's tables on their way into a store: which are taken, and spread over its patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from npczarr.model.cohort import Cohort
from npczarr.model.identifiers import identifies_by_name
from npczarr.model.schema import Variable
from npczarr.sources.tables import Tables
from npczarr.store.hierarchy import array, labels


def without_identities(tables: Tables, keep: Collection[str]) -> Tables:
    """Leave out the columns whose names say that they tell who the patients are, and say so."""
    kept = {name.casefold() for name in keep}
    columns, warnings = {}, list(tables.warnings)
    for name, (variable, values) in tables.columns.items():
        column = str(variable.attributes.get("source_column", name))
        if identifies_by_name(column) and not {name.casefold(), column.casefold()} & kept:
            warnings.append(
                f"column {column!r}: left out, for it may tell who the patients are; take it with --keep {column!r}"
            )
        else:
            columns[name] = variable, values
    return Tables(columns, tuple(warnings))


def over_store(root: zarr.Group, cohort: Cohort, tables: Tables) -> dict[str, tuple[Variable, NDArray[Any]]]:
    """Spread a source's columns over all patients of the store; what the store holds of others is kept."""
    patients, sequences = labels(root, "patient"), labels(root, "sequence")
    rows = {label: i for i, label in enumerate(patients)}
    at = [rows[label] for label in cohort.patients], [sequences.index(label) for label in cohort.sequences]
    spread = {}
    for name, (variable, values) in tables.columns.items():
        shape = (len(patients), len(sequences))[: values.ndim]
        full: NDArray[Any] = np.full(shape, np.nan) if variable.dtype == "float64" else np.full(shape, "", dtype=object)
        if name in root:
            old = array(root, name)[...]
            if old.dtype.kind == "T" and variable.dtype == "float64":
                variable, values = dataclasses.replace(variable, dtype="string"), _as_text(values)
            full = (
                old.astype(object) if old.dtype.kind == "T" else (_as_text(old) if variable.dtype == "string" else old)
            )
        full[np.ix_(*at[: values.ndim])] = values
        spread[name] = (variable, full)
    return spread


def _as_text(values: NDArray[Any]) -> NDArray[Any]:
    texts = ["" if np.isnan(value) else f"{value:g}" for value in values.ravel()]
    return np.array(texts, dtype=object).reshape(values.shape)
