"""Values of a store as text for the tables of a report: columns read, numbers and counts formatted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.model.schema import SCAN
from npczarr.report.digits import fixed
from npczarr.store.axis_order import in_axis_order
from npczarr.store.measured import changed_scans, is_held
from npczarr.store.subjects import subjects_of, unordered_visits, visit_places

Floats = NDArray[np.float64]
_EXAMPLES = 5
_SEVERAL = ("label", "rater", "pair")  # dimensions of a result, of which a table or figure shows one label
_ALIKE = 1e-3  # relative: by less, rows and columns do not differ


def labels(dataset: xr.Dataset, dim: str) -> list[str]:
    """Labels along `patient` or `sequence`, one where one was selected."""
    if dim in dataset.variables or dim in dataset.dims:
        return [str(label) for label in np.atleast_1d(dataset[dim].values)]
    return [dim]


def numbers(dataset: xr.Dataset, name: str) -> Floats:
    """Values of a variable as (patient, sequence, 1 or z, y, x); NaN where the store has none.

    Raises
    ------
    ParameterError
        If its values along `axis` are not those of z, y and x.
    """
    if name not in dataset.variables:
        return np.full((*_sizes(dataset), 1), np.nan)
    values = _whole(in_axis_order(dataset[[name]]), name, SCAN).astype(np.float64)
    return values if values.ndim > len(SCAN) else values[..., None]


def of_one(result: xr.Dataset, *shown: str) -> xr.Dataset:
    """Return a result of one label and one rater without these dimensions.

    Parameters
    ----------
    result
        What :func:`npczarr.morphology`, :func:`npczarr.agreement` or :func:`npczarr.score` gives.
    shown
        Dimensions that are shown whole, such as `pair`.

    Raises
    ------
    ParameterError
        If it is of several labels, raters or pairs of raters.
    """
    for dim in (dim for dim in _SEVERAL if dim in result.dims and dim not in shown):
        found = labels(result, dim)
        if len(found) != 1:
            raise ParameterError(
                f"dimension {dim!r} of the result: expected one {dim}, found {len(found)} ({some(found)}); select one "
                f"first, as in result.sel({dim}={found[0] if found else '…'!r})"
            )
        result = result.isel({dim: 0}, drop=True)
    return result


def texts(dataset: xr.Dataset, name: str, dims: tuple[str, ...] = SCAN) -> NDArray[np.object_]:
    """Values of a variable on these dims as text; "" where the store has none."""
    if name not in dataset.variables:
        return np.full(_sizes(dataset)[: len(dims)], "", dtype=object)
    values = _whole(dataset, name, dims)
    written = [
        "" if value != value else f"{value:.15g}" if isinstance(value, float) else str(value) for value in values.flat
    ]
    return np.array(written, dtype=object).reshape(values.shape)


def is_of_patients(dataset: xr.Dataset, name: str) -> bool:
    """Whether a variable has one value a patient; a clinical table by sequence gives one a scan."""
    return {*dataset[name].dims} <= {"patient"}


def first_visits(dataset: xr.Dataset) -> xr.Dataset:
    """Keep the first visit of each subject, in the store where their order is not known: none is counted twice."""
    if "patient" not in dataset.dims:
        return dataset
    first: dict[str, int] = {}
    places = visit_places(dataset)
    for i in sorted(range(len(places)), key=lambda i: (places[i], i)):
        first.setdefault(subjects_of(dataset)[i], i)
    return dataset if len(first) == dataset.sizes["patient"] else dataset.isel(patient=sorted(first.values()))


def at_first_visits(result: xr.Dataset, dataset: xr.Dataset) -> xr.Dataset:
    """Keep of a result what was measured at the first visit of each subject."""
    if "patient" not in result.dims or len(first := labels(first_visits(dataset), "patient")) == len(
        labels(dataset, "patient")
    ):
        return result
    return result.isel(patient=[i for i, label in enumerate(labels(result, "patient")) if label in first])


def describe_visits(dataset: xr.Dataset) -> list[str]:
    """Say which visit of each subject counts, where there are several."""
    visits, subjects = len(labels(dataset, "patient")), len({*subjects_of(dataset)})
    if visits == subjects:
        return []
    note = f"{subjects} patients with {visits} visits together: each is counted once, at the first visit."
    unordered = unordered_visits(dataset)
    return [note, f"Of some the first one in the store counts: {unordered}."] if unordered else [note]


def describe_changes(morphology: xr.Dataset, dataset: xr.Dataset) -> list[str]:
    """Say how many scans changed since they were measured."""
    count = int(changed_scans(morphology, dataset).sum()) if is_held(morphology, dataset) else 0
    if not count:
        return []
    return [
        f"{many(count, 'scan', 'scans')} changed since measured, left out: `npczarr morphology STORE` measures again."
    ]


def count_people(dataset: xr.Dataset) -> str:
    """Write how many patients there are, and visits where they came several times."""
    visits, subjects = len(labels(dataset, "patient")), len({*subjects_of(dataset)})
    counted = many(subjects, "patient", "patients")
    return counted if visits == subjects else f"{counted}, {visits} visits"


def scans_there(dataset: xr.Dataset) -> NDArray[np.bool_]:
    """(patient, sequence): whether the store holds the scan."""
    return np.asarray((np.nan_to_num(numbers(dataset, "shape")) > 0).all(axis=2))


def _sizes(dataset: xr.Dataset) -> tuple[int, int]:
    return len(labels(dataset, "patient")), len(labels(dataset, "sequence"))


def _whole(dataset: xr.Dataset, name: str, dims: tuple[str, ...]) -> NDArray[Any]:
    """Values with these dims first, also of a Dataset from which one patient or sequence was selected."""
    variable = dataset[name].variable
    values: NDArray[Any] = variable.set_dims((*dims, *(dim for dim in variable.dims if dim not in dims))).values
    return values


def known(values: Floats) -> Floats:
    """Values without NaN."""
    return values[~np.isnan(values)]


def median_and_range(values: Floats, write: Callable[[float], str], *, area: bool = False) -> str:
    """Write "median (min-max)", "" of no values.

    Parameters
    ----------
    values
        (scan, 1), or (scan, rows and columns), whose medians stand side by side where rows and columns differ.
    area
        Whether to write both in any case, as in 220x220.
    """
    if not len(values):
        return ""
    medians = [write(float(median)) for median in np.median(values, axis=0)]
    square = np.allclose(values[:, 0], values[:, -1], rtol=_ALIKE)
    middle = "x".join([medians[0], medians[-1]]) if area or not square else medians[0]
    return f"{middle} ({write(float(values.min()))}-{write(float(values.max()))})"


def up_to_two(number: float) -> str:
    """As the paper writes parameters: two decimals at most, one at least."""
    return str(round(number, 2))


def one(number: float) -> str:
    """One decimal, two significant digits at least: of distances in mm."""
    return fixed(number, 1)


def three(number: float) -> str:
    """Three decimals, two significant digits at least."""
    return fixed(number, 3)


def two(number: float) -> str:
    """Two decimals, two significant digits at least."""
    return fixed(number, 2)


def whole(number: float) -> str:
    """No decimals."""
    return f"{number:.0f}"


def three_digits(number: float) -> str:
    """As the paper writes means: three significant digits, more where the whole number has more."""
    written = f"{number:#.3g}"
    return f"{number:.0f}" if not number or abs(float(written)) >= 100 else written  # not "100." of 99.96


def in_full(number: float) -> str:
    """Every digit of the whole number and two decimals at most; below 1, two significant digits."""
    return f"{number:.2f}".rstrip("0").rstrip(".") if abs(number) >= 1 else f"{number:.2g}"


def many(count: int, one: str, more: str) -> str:
    """Write a count with its noun and verb."""
    return f"{count} {one if count == 1 else more}"


def some(values: Sequence[Any]) -> str:
    """List the first few values."""
    shown = ", ".join(str(value) for value in values[:_EXAMPLES])
    return shown + (", …" if len(values) > _EXAMPLES else "")


def counts(values: Iterable[int]) -> str:
    """Write counts of several columns: one number where all are the same."""
    listed = [str(value) for value in values]
    return listed[0] if len(set(listed)) == 1 else " / ".join(listed)


def make_table(
    rows: Mapping[Any, Mapping[str, Any]], index: str | Sequence[str], title: str, notes: Iterable[str]
) -> pd.DataFrame:
    """Make a DataFrame with its title and notes; a table without rows needs a note that says why."""
    table = pd.DataFrame.from_dict(dict(rows), orient="index")
    if rows and not isinstance(index, str):
        table.index = pd.MultiIndex.from_tuples(list(rows), names=list(index))
    elif isinstance(index, str):
        table.index.name = index
    table.attrs = {"title": title, "notes": list(notes)}
    return table
