"""The tables of a cohort as one tidy DataFrame: one row a scan, with the results that are beside the store."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr

from npczarr.errors import MissingStoreError, NpczarrError, ParameterError, StoreError
from npczarr.graphs.visits import add_volume_changes
from npczarr.model.clinical import CLINICAL
from npczarr.model.geometry import AXES
from npczarr.model.schema import ACQUISITION_NAMES, SCAN, SCAN_TABLES, voxel_variables
from npczarr.store.cohort import open_consolidated
from npczarr.store.hierarchy import open_group, read_tables, tables_at
from npczarr.store.location import Location, exists, locate
from npczarr.store.measured import inputs_of, on_scans
from npczarr.store.open import open_location
from npczarr.store.results import INPUTS, damaged_results, input_digests
from npczarr.store.review import review_table
from npczarr.store.storage_errors import translate_damage
from npczarr.store.subjects import subjects_of, unordered_visits, visit_places

_FIRST = ("status", "message", "mask_status", "shape", "spacing")
#: What says nothing to a person, or is a matrix or a list for each scan.
_LEFT_OUT = {v.name for v in voxel_variables("int16")} | {
    *("affine", "z_mm", "rescale_slope", "rescale_intercept"),
    *(v.name for v in SCAN_TABLES if v.name.endswith("_digest")),
}
#: By these a mark of a reviewer knows what was seen.
_SEEN = ("image_digest", "mask_digest")
#: Texts in which nothing is said, not: not known.
_WORDS = frozenset({*SCAN, "status", "message", "mask_status"})
_SPREAD = ("axis", "rater", "pair", "label")  # dimensions that become columns
_ACQUISITION = tuple(v.name for v in SCAN_TABLES if v.name in ACQUISITION_NAMES)
_ORDER = tuple(
    dict.fromkeys(
        ("subject", "session", *_FIRST, *(f.name for f in CLINICAL), *_ACQUISITION, *(v.name for v in SCAN_TABLES))
    )
)


def scan_table(dataset: xr.Dataset, *, results: bool = True) -> pd.DataFrame:
    """Put everything that is known of each scan into one row; no voxels are read.

    Parameters
    ----------
    dataset
        A cohort opened from a store, or any selection of it.
    results
        Also read the results that are kept beside the store.

    Returns
    -------
    pandas.DataFrame
        `patient`, `sequence`, `status`, `message`, `mask_status`; `shape_z` … and `spacing_z` … (mm); acquisition and
        clinical values by name; results as ``morphology.volume``, ``agreement.dice``, ``score/<name>.dice``, of several
        raters or labels ``morphology.volume.<rater>``, ``morphology.volume.<label>``; what reviewers decided as
        ``review.decision``, ``review.reason`` …. A result is NaN, and a decision None, for a scan that changed after
        it. Of several visits each row also has the change since the subject's visit before:
        ``morphology.volume_change`` (mm3) and ``morphology.volume_change_percent``, NaN where nothing tells the order
        of the visits. Text that is not known is None; ``attrs["units"]`` gives the unit of each column that has one.

    Raises
    ------
    ParameterError
        If the Dataset lacks what a cohort store has.

    Warns
    -----
    UserWarning
        If there may be results or marks of a review that cannot be read, or the order of visits is not known.
    """
    for name in (*SCAN, "status"):
        if name not in dataset.variables:
            raise ParameterError(f"the Dataset has no {name!r}; open it with npczarr.open or xr.open_zarr from a store")
    tables = _on_scans(dataset)
    labels = {dim: [str(label) for label in tables[dim].values] for dim in SCAN}
    columns: dict[str, Any] = {
        "patient": np.repeat(labels["patient"], len(labels["sequence"])).tolist(),
        "sequence": labels["sequence"] * len(labels["patient"]),
    }
    units: dict[str, str] = {}
    names = [name for name in _ORDER if name in tables]
    names += [str(name) for name in tables.variables if name not in (*names, *tables.dims, *SCAN)]
    _add_columns(columns, units, tables, names, prefix="")
    if results:
        for group, found in _results(dataset):
            _add_columns(columns, units, found, [str(name) for name in found.data_vars], prefix=f"{group}.")
        if add_volume_changes(columns, units, *_visits(tables)) and (unordered := unordered_visits(tables)):
            warnings.warn(f"no change of volume where {unordered}", stacklevel=3)
    frame = pd.DataFrame(columns)
    frame.attrs["units"] = units
    return frame


def _on_scans(dataset: xr.Dataset, names: Collection[str] | None = None) -> xr.Dataset:
    """Load tables, each on (patient, sequence, …); what was selected by a number is a dimension again.

    Parameters
    ----------
    dataset
        A cohort or a selection of it.
    names
        Names of the tables; by default all that are shown.

    Raises
    ------
    ParameterError
        If patients or sequences lie along another dimension.
    """
    for dim in SCAN:
        if (along := dataset.variables[dim].dims) not in ((), (dim,)):
            raise ParameterError(
                f"{dim!r} lies along {', '.join(map(str, along))}, and the table needs patients and sequences along "
                "dimensions of their own; take it of the Dataset as it was opened, and select rows of it"
            )
    kept = []
    for name, variable in dataset.variables.items():
        dims = set(variable.dims)
        wanted = name not in _LEFT_OUT if names is None else name in (*names, *SCAN)
        if wanted and dims <= {*SCAN, *_SPREAD}:
            kept.append(name)
    tables = dataset[[name for name in kept if name not in dataset.dims]].reset_coords()
    tables = tables.drop_vars([name for name in tables.coords if name not in (*SCAN, *_SPREAD)])
    tables = tables.set_coords([dim for dim in SCAN if dim in tables.data_vars])
    # loaded first: Dask gives text of one scan without dimensions as a plain string
    return tables.compute().expand_dims([dim for dim in SCAN if dim not in tables.dims])


def _visits(tables: xr.Dataset) -> tuple[list[str], list[int]]:
    """Subject of each row of the table, and the place of its visit."""
    subjects = [subject for subject in subjects_of(tables) for _ in range(tables.sizes["sequence"])]
    return subjects, np.repeat(visit_places(tables), tables.sizes["sequence"]).tolist()


def _add_columns(
    columns: dict[str, Any], units: dict[str, str], tables: xr.Dataset, names: list[str], *, prefix: str
) -> None:
    """Add the columns of tables: one each, or one for each axis, rater or pair of raters."""
    sizes = {dim: tables.sizes[dim] for dim in SCAN}
    for name in names:
        variable = tables[name]
        spread = sorted((str(dim) for dim in variable.dims if dim not in SCAN), key=_SPREAD.index)
        whole = variable.variable.set_dims({**sizes, **{dim: variable.sizes[dim] for dim in spread}})
        values = whole.transpose(*SCAN, *spread).values
        for at in np.ndindex(*(variable.sizes[dim] for dim in spread)):
            column = prefix + name + "".join(_suffix(variable, dim, i) for dim, i in zip(spread, at, strict=True))
            columns[column] = _column(values[(..., *at)].ravel(), missing="" if name in _WORDS else None)
            if "units" in variable.attrs and variable.attrs["units"] != "1":
                units[column] = str(variable.attrs["units"])


def _suffix(variable: xr.DataArray, dim: str, i: int) -> str:
    if dim == "axis":
        return f"_{AXES[i] if 'axis' not in variable.coords else variable['axis'].values[i]}"
    return f".{variable[dim].values[i] if dim in variable.coords else i}"


def _column(values: np.ndarray[Any, Any], *, missing: str | None) -> Any:  # noqa: ANN401 - an array or a list
    if values.dtype.kind in "biufc":
        return values
    return pd.Series([str(value) if value is not None and value != "" else missing for value in values], dtype=object)


def _results(dataset: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Give the results beside the store that a Dataset was opened from, on its scans."""
    source = dataset.encoding.get("source")
    if not isinstance(source, str) or any(name not in dataset.variables for name in INPUTS):
        return
    if "://" not in source and not Path(source).is_dir() and not source.lower().endswith(".zip"):
        return  # a file, such as netCDF: nothing is beside it
    location = locate(source, dataset.encoding.get("storage_options"))
    inputs = inputs_of(dataset[list(INPUTS)].compute())
    digests = input_digests({name: inputs[name].values for name in INPUTS})
    try:
        for group in _groups(location):
            found = _sound(location, group)
            if found is not None and "input_digest" in found:
                yield group, on_scans(found, inputs, digests)
        if (marks := _marks(location, dataset)) is not None:
            yield "review", marks
    except MissingStoreError:
        return  # opened from something that is no cohort store: nothing is beside it
    except NpczarrError as error:
        warnings.warn(
            f"{location.shown}: results beside the store cannot be read, and are not in the table ({error}); open it "
            "with npczarr.open and the right storage_options",
            stacklevel=4,
        )


def _sound(location: Location, group: str) -> xr.Dataset | None:
    """Read a result; None, with a warning that says what mends it, where it is damaged or was half written."""
    try:
        return open_location(location, group=group).load()
    except StoreError:
        root = open_group(location.open(read_only=True), location.shown, mode="r")
        damage = damaged_results(root).get(group)
        if damage is None:
            raise
        warnings.warn(f"{location.shown}: {damage}; it is not in the table", stacklevel=6)
        return None


def _marks(location: Location, dataset: xr.Dataset) -> xr.Dataset | None:
    """Return the marks of reviewers on the scans of a Dataset; "" for a scan that is not the one that was seen."""
    marks = review_table(location)
    if marks is None or any(name not in dataset.variables for name in _SEEN):
        return None
    for problem in marks.attrs["problems"]:
        warnings.warn(problem, stacklevel=5)
    now = _on_scans(dataset, _SEEN)
    labels = {dim: [str(label) for label in now[dim].values] for dim in SCAN}
    stored = read_tables(tables_at(open_consolidated(location), [*_SEEN, *SCAN]))
    digests = xr.Dataset({name: (SCAN, stored[name].astype(object)) for name in _SEEN}, {d: stored[d] for d in SCAN})
    same = np.ones([len(labels[dim]) for dim in SCAN], dtype=bool)
    for name, seen in digests.reindex(labels, fill_value="").items():
        same &= seen.values == now[name].variable.transpose(*SCAN).values.astype(object)
    return marks.reindex(labels, fill_value="").where(xr.Variable(SCAN, same), "")


def _groups(location: Location) -> list[str]:
    with translate_damage(location.shown):
        root = open_consolidated(location)
        # one that was half written is not among the consolidated metadata
        names = [one for one in ("morphology", "agreement") if one in root or exists(root.store, f"{one}/zarr.json")]
        scores = root.get("score")
        if isinstance(scores, zarr.Group):
            names += [f"score/{name}" for name in sorted(scores.group_keys())]
        return names
