"""Results held to the scans as they are now: numbers of a scan that changed since it was measured are not shown."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray

from npczarr.model.schema import SCAN
from npczarr.store.axis_order import in_axis_order
from npczarr.store.hierarchy import dims_of, read_tables
from npczarr.store.results import INPUT_DIGEST, INPUTS, input_digests, result_paths

_SPREAD = ("axis", "rater", "pair", "label")  # dimensions of results besides the scans


def results_of(root: zarr.Group) -> Iterator[tuple[str, zarr.Group]]:
    """Give every result of a store with its path, such as ``score/<name>``."""
    for path in result_paths(root):
        group = root.get(path)
        if isinstance(group, zarr.Group):
            yield path, group


def count_changed(root: zarr.Group, dataset: xr.Dataset, damaged: Collection[str] = ()) -> dict[str, int]:
    """Count the scans that changed since they were measured, for each result of a store; only tables are read.

    Parameters
    ----------
    root, dataset
        The store, and its cohort.
    damaged
        Paths of results that cannot be used, of which nothing is counted.
    """
    counts = {}
    for path, group in results_of(root):
        if path in damaged:
            continue
        needed = {name: group.get(name) for name in (INPUT_DIGEST, *SCAN)}
        if all(isinstance(one, zarr.Array) for one in needed.values()):
            tables = read_tables(needed)
            digests = (dims_of(needed[INPUT_DIGEST]), tables[INPUT_DIGEST])
            found = xr.Dataset({INPUT_DIGEST: digests}, coords={dim: tables[dim] for dim in SCAN})
            counts[path] = int(changed_scans(found, dataset).sum())
    return counts


def is_held(result: xr.Dataset, dataset: xr.Dataset) -> bool:
    """Whether a result says which scans it measured, and the cohort which scans it has; both name their scans."""
    named = all(dim in one.coords for one in (result, dataset) for dim in SCAN)
    return named and INPUT_DIGEST in result and all(name in dataset.variables for name in INPUTS)


def changed_scans(result: xr.Dataset, dataset: xr.Dataset) -> NDArray[np.bool_]:
    """Say which scans of a cohort changed since they were measured; a scan that was never measured did not.

    Parameters
    ----------
    result, dataset
        A stored result, and a cohort or a selection of it; :func:`is_held` is true of them.

    Returns
    -------
    numpy.ndarray
        On (patient, sequence) of the cohort.
    """
    result, dataset = _on_scan_dims(result, [INPUT_DIGEST]), inputs_of(dataset)
    measured = _measured(result, dataset)
    changed: NDArray[np.bool_] = (measured != "") & (measured != _digests(dataset))
    return changed


def on_scans(result: xr.Dataset, dataset: xr.Dataset, now: NDArray[Any] | None = None) -> xr.Dataset:
    """Lay a result on the scans of a cohort; NaN, and no text, for those that were not measured as they are now.

    Parameters
    ----------
    result, dataset
        As for :func:`changed_scans`.
    now
        Digests of the cohort's scans, (patient, sequence), where they are known already.
    """
    result, dataset = _on_scan_dims(result, [str(name) for name in result.data_vars]), inputs_of(dataset)
    measured = _measured(result, dataset)
    now = _digests(dataset) if now is None else np.asarray(now, dtype=object)
    places = np.ix_(*_places(result, dataset))
    variables = {}
    for name, variable in result.data_vars.items():
        if name != INPUT_DIGEST and variable.dtype.kind in "fTO" and set(SCAN) <= set(variable.dims):
            ordered = variable.variable.transpose(*SCAN, ...)
            values = ordered.values[places].copy()
            values[measured != now] = np.nan if variable.dtype.kind == "f" else ""
            kept = tuple(str(dim) for dim in variable.dims)
            variables[name] = xr.Variable(ordered.dims, values, ordered.attrs).transpose(*kept)
    coords = {dim: result[dim].variable for dim in _SPREAD if dim in result.coords}
    coords |= {dim: dataset[dim].variable for dim in SCAN}
    return xr.Dataset(variables, coords=coords, attrs=result.attrs)


def held_to(result: xr.Dataset, dataset: xr.Dataset) -> xr.Dataset:
    """Lay a result on the patients and sequences of a cohort, as :func:`on_scans` does where it says what it measured.

    A result that does not, as one that was never stored, keeps the numbers of all its scans, and stays lazy. Where
    result or cohort does not name its patients or its sequences, these stay the result's.
    """
    if is_held(result, dataset):
        return on_scans(result, dataset)
    for dim in SCAN:
        if dim in result.coords and dim in dataset.coords:
            result = result if dim in result.dims else result.expand_dims(dim)
            result = result.assign_coords({dim: _labels(result, dim)}).reindex({dim: _labels(dataset, dim)})
    return result


def inputs_of(dataset: xr.Dataset) -> xr.Dataset:
    """Load what the results of a cohort depend on, on (patient, sequence, …), along `axis` in the order z, y, x.

    Raises
    ------
    ParameterError
        If one of the three axes is not there.
    """
    return _on_scan_dims(in_axis_order(dataset[list(INPUTS)]), INPUTS).transpose(*SCAN, ...).compute()


def _on_scan_dims(dataset: xr.Dataset, names: Collection[str]) -> xr.Dataset:
    """Keep some variables; a patient or sequence that was selected by a number is a dimension again."""
    kept = dataset.reset_coords()
    kept = kept.drop_vars([name for name in kept.variables if name not in (*names, *SCAN, *_SPREAD)])
    kept = kept.set_coords([dim for dim in (*SCAN, *_SPREAD) if dim in kept.data_vars])
    return kept.expand_dims([dim for dim in SCAN if dim not in kept.dims])


def _measured(result: xr.Dataset, dataset: xr.Dataset) -> NDArray[Any]:
    """Digest of each scan of the cohort when it was measured; "" if it was not."""
    rows, columns = _places(result, dataset)
    stored = np.asarray(result[INPUT_DIGEST].transpose(*SCAN).values, dtype=object)[np.ix_(rows, columns)]
    known = (rows >= 0)[:, np.newaxis] & (columns >= 0)
    return np.where(known, stored, "")


def _digests(dataset: xr.Dataset) -> NDArray[Any]:
    """Digest of each scan of the cohort now."""
    return np.asarray(input_digests({name: dataset[name].values for name in INPUTS}), dtype=object)


def _places(result: xr.Dataset, dataset: xr.Dataset) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where the patients and the sequences of the cohort are in the result; -1 if they are not."""
    rows, columns = (pd.Index(_labels(result, dim)).get_indexer(pd.Index(_labels(dataset, dim))) for dim in SCAN)
    return rows, columns


def _labels(dataset: xr.Dataset, dim: str) -> list[str]:
    return [str(label) for label in np.atleast_1d(dataset[dim].values)]
