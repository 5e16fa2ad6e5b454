"""What a store of resampled scans takes over from its source when it is resampled again: labels and columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from npczarr.errors import StoreError
from npczarr.model.division import SPLIT
from npczarr.model.layout import Layout
from npczarr.model.schema import INDEXES, RATER, RESAMPLING, SCAN, SCAN_TABLES, Variable
from npczarr.store.create import Columns, add_columns, resize
from npczarr.store.hierarchy import arrays_of, labels, read_layout
from npczarr.store.lease import Lease

_OWN = {v.name for v in (*SCAN_TABLES, *INDEXES, RATER)} | {"image", "mask"}  # variables that are no columns


def take_over(
    root: zarr.Group, url: str, told: xr.Dataset, described: Mapping[str, Any], lease: Lease
) -> tuple[Layout, bool]:
    """Give a store the patients, sequences and columns of its source; its rows stay where they are.

    Parameters
    ----------
    root, url, lease
        The store, and the right to write it.
    told
        What :func:`told_of` returns of the source.
    described
        The resampling that is asked for.

    Returns
    -------
    tuple
        The layout of the store, and whether its columns changed.

    Raises
    ------
    StoreError
        If the store was resampled otherwise, or its source has lost patients or divides them otherwise.
    """
    _check_same(root, described, url)
    order = {dim: _grown_labels(root, told, dim, url) for dim in SCAN}
    columns = columns_of(told.sel({dim: list(names) for dim, names in order.items()}))
    _check_splits(root, columns, url)
    layout = _grown(root, url, order, lease)
    with lease.writing():
        return layout, add_columns(root, {**columns, **_gone(root, columns)})


def told_of(dataset: xr.Dataset) -> xr.Dataset:
    """Return the labels and columns of a cohort, in memory."""
    return dataset.drop_vars([name for name in dataset.variables if name in _OWN and name not in SCAN]).load()


def columns_of(dataset: xr.Dataset) -> dict[str, tuple[Variable, NDArray[Any]]]:
    """Return the columns of clinical tables, whole."""
    columns = {}
    for name in (str(n) for n in dataset.variables if str(n) not in _OWN):
        found = dataset[name]
        attributes = {key: value for key, value in found.attrs.items() if key not in ("long_name", "units")}
        dtype = "float64" if found.dtype.kind == "f" else "string"
        dims = tuple(str(dim) for dim in found.dims)
        variable = Variable(name, dims, dtype, found.attrs.get("long_name", name), found.attrs.get("units"), attributes)
        columns[name] = (variable, np.asarray(found.values))
    return columns


def _check_same(root: zarr.Group, described: Mapping[str, Any], url: str) -> None:
    there = root.attrs.asdict().get(RESAMPLING)
    if there != json.dumps(described):
        raise StoreError(
            f"{url}: holds a cohort {f'resampled as {there}' if there else 'that was not resampled'}, asked for is "
            f"{json.dumps(described)}; name another store"
        )


def _grown_labels(root: zarr.Group, dataset: xr.Dataset, dim: str, url: str) -> tuple[str, ...]:
    """Return the labels that a store is to have: its own where they are, then those that only its source has.

    Raises
    ------
    StoreError
        If its source has lost some of them: their scans would stay, made from nothing.
    """
    held, coming = [label for label in labels(root, dim) if label], [str(label) for label in dataset[dim].values]
    if lost := [label for label in held if label not in coming]:
        raise StoreError(
            f"{url}: holds {len(lost)} {dim}{'s'[: len(lost) > 1]} that the store to be resampled has not, the first "
            f"{lost[0]}; name another store"
        )
    return (*held, *(label for label in coming if label not in held))


def _check_splits(root: zarr.Group, columns: Columns, url: str) -> None:
    """Refuse to give patients another part of a split than the store has given them: models were trained by it.

    Raises
    ------
    StoreError
        If the source divides them otherwise.
    """
    for name, (variable, values) in columns.items():
        known: Any = root.get(name)
        if known is None or SPLIT not in {**variable.attributes, **known.attrs.asdict()}:
            continue
        pairs = zip(labels(root, "patient"), known[...], values, strict=False)
        other = [patient for patient, here, there in pairs if here and str(here) != str(there)]
        if other:
            raise StoreError(
                f"{url}: its column {name!r} divides the patients otherwise than that of the store to be resampled, in "
                f"{len(other)}, the first {other[0]}; models trained by one may not be tested by the other: name "
                "another store"
            )


def _grown(root: zarr.Group, url: str, order: Mapping[str, tuple[str, ...]], lease: Lease) -> Layout:
    """Give an existing store more patients and sequences; return its layout."""
    layout = read_layout(root, url)
    patients, sequences = (order[dim] for dim in SCAN)
    with lease.writing():
        resize(root, patients=patients, sequences=sequences, extent_zyx=layout.extent_zyx, check=lease.check)
    return layout


def _gone(root: zarr.Group, columns: Columns) -> dict[str, None]:
    """Name the columns of a store that its source no longer has, but for divisions of its own."""
    others = [(name, found.attrs) for name, found in arrays_of(root) if name not in _OWN and name not in columns]
    return dict.fromkeys(name for name, attributes in others if SPLIT not in attributes)
