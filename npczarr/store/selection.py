"""Which patients of a store a selection in words chooses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import ParameterError, unknown_label
from npczarr.model.schema import SCAN
from npczarr.model.where import names_in, select


def chosen_patients(dataset: xr.Dataset, where: str, sequences: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Return the numbers of the patients whom a selection chooses; only the tables that it names are read.

    Parameters
    ----------
    dataset
        A cohort opened from a store.
    where
        Such as ``"t_stage in ('T3', 'T4') and status == 'ok'"``. What differs between sequences must hold for all.
    sequences
        Labels of those that count; by default all.

    Raises
    ------
    ParameterError
        If it is no selection, names a column that is not there, or speaks of sequences.
    """
    counted = [i for i, label in enumerate(dataset["sequence"].values) if sequences is None or str(label) in sequences]
    shape = (dataset.sizes[SCAN[0]], len(counted))
    known = [str(n) for n, v in dataset.variables.items() if v.dims in ((SCAN[0],), SCAN)]
    columns = {}
    for name in names_in(where):
        if name == SCAN[1]:
            raise ParameterError(
                f"where: {where!r} speaks of {name}, and where chooses patients; select sequences of what is opened, "
                "such as ds.sel(sequence=['T1WI']), or by the parameter sequences"
            )
        if name not in known:
            raise unknown_label("column", name, known)
        found = dataset[name].variable
        values = np.asarray(found.values)
        values = values[..., counted] if SCAN[1] in found.dims else values[:, None]
        if values.dtype.kind not in "biuf":  # text is compared as Python compares it
            values = values.astype(object).astype(str)
        columns[name] = np.broadcast_to(values, shape)
    rows: NDArray[np.bool_] = np.broadcast_to(select(where, columns), shape)
    return np.flatnonzero(rows.all(axis=1))
