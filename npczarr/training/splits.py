"""Splits of a cohort by subject, kept as a column of its store."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from keyword import iskeyword
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import ParameterError, unknown_label
from npczarr.model.clinical import known_field
from npczarr.model.division import SPLIT, describe_parted, divide
from npczarr.model.schema import RESERVED, VISIT, Variable
from npczarr.model.where import names_in
from npczarr.store.create import add_columns
from npczarr.store.describe import add_history
from npczarr.store.hierarchy import open_group
from npczarr.store.lease import hold_lease
from npczarr.store.location import locate
from npczarr.store.open import open_location
from npczarr.store.subjects import parts_of, subjects_of
from npczarr.training.arguments import check_numbers

_DERIVED = re.compile(r"(shape|spacing)_[zyx]")  # made of tables where columns are chosen by
_MOST_VALUES = 10  # of a column of numbers; one with more is cut into four parts of equal size


def split(
    store: str | Path,
    *,
    name: str = "split",
    shares: Mapping[str, float] | None = None,
    folds: int | None = None,
    stratify: str | Sequence[str] = (),
    seed: int = 0,
    replace: bool = False,
    break_lock: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> pd.Series[str]:
    """Divide the subjects of a store into parts and keep the division as a column of it.

    Patients who share a value of the column `subject`, such as two visits of one person, stay together. Parts are then
    chosen by words: ``npc.patches(store, where="split == 'train'")``, or ``"fold != '0'"``.

    Asked for again in the same words, a division stays as it is, and patients who have joined the store since are
    divided among the parts that lack them; a new visit takes the part of its subject.

    Parameters
    ----------
    store
        Folder or URL.
    name
        Column that holds the part of each patient.
    shares
        Name and share of each part; by default 70 % ``train``, 15 % ``val``, 15 % ``test``.
    folds
        Number of parts of equal size, ``"0"``, ``"1"``, …; instead of shares.
    stratify
        Columns whose values each part has in the proportion of the cohort; numbers by their quartiles.
    seed
        Seed of the division.
    replace
        Make a division of this name anew, in which patients may change their parts; else one that was made in other
        words is kept and refused.
    break_lock
        Take over from a writer that no longer runs.
    storage_options
        Options of the file system; credentials belong in the environment.

    Returns
    -------
    pandas.Series
        Part by patient.

    Raises
    ------
    ParameterError
        If an argument is wrong, `name` is that of a clinical column such as ``age``, or the store has another column
        of this name.
    StoreError, LeaseError
        If the store cannot be read or written, or somebody else is writing it.

    Warns
    -----
    UserWarning
        If there are too few subjects for each part to have one.
    """
    _check_name(name)
    check_numbers(seed=seed)
    parts = _parts(shares, folds)
    columns = _columns(stratify)
    location = locate(store, storage_options)
    opened = location.open()
    open_group(location.open(read_only=True), location.shown, mode="r")  # what is not a store gets no lease
    with hold_lease(opened, location.shown, break_lock=break_lock) as lease:
        dataset = open_location(location, dask=False)
        patients = [str(label) for label in dataset["patient"].values]
        said = {"parts": {k: round(v, 6) for k, v in parts.items()}, "stratify": columns, "seed": seed}
        given = _given(dataset, name, said, location.shown, replace=replace)
        found = divide(subjects_of(dataset), _strata(dataset, columns), parts, seed, given)
        about = f"part of each patient, by subject; {', '.join(f'{k}: {v:g}' for k, v in parts.items())}"
        variable = Variable(name, ("patient",), "string", about, attributes={SPLIT: json.dumps(said)})
        root = open_group(opened, location.shown)
        with lease.writing():
            if add_columns(root, {name: (variable, np.array(found, dtype=object))}):
                add_history(root, "split", {"name": name, **said})
    if empty := [part for part in parts if part not in found]:
        subjects = len(set(subjects_of(dataset)))
        warnings.warn(
            f"{location.shown}: nobody is in {', '.join(empty)}; {subjects} subjects are too few for these parts",
            UserWarning,
            stacklevel=2,
        )
    return pd.Series(found, index=pd.Index(patients, name="patient"), name=name)


def _given(dataset: xr.Dataset, name: str, said: Mapping[str, Any], url: str, *, replace: bool) -> dict[str, str]:
    """Return the parts that subjects have in a division of this name, which was made in the same words.

    Raises
    ------
    ParameterError
        If the store has another column of this name, in whatever case, or another division that is not to be replaced,
        or one that parts the visits of a subject.
    """
    if name not in dataset.variables:
        if alike := [str(one) for one in dataset.variables if str(one).casefold() == name.casefold()]:
            raise ParameterError(f"{url}: {name!r} differs from the column {alike[0]!r} in case alone; name another")
        return {}
    made = dataset[name].attrs.get(SPLIT)
    if not made:
        raise ParameterError(f"{url}: {name!r} is another column; name another")
    if replace:
        return {}
    if json.loads(made) != said:
        raise ParameterError(
            f"{url}: {name!r} is a split that differs, made by {made}; name another, or make it anew (replace=True), "
            "which moves patients from part to part, so that no model trained before may be tested by it"
        )
    patients, subjects = [str(label) for label in dataset["patient"].values], subjects_of(dataset)
    parts = [str(part) for part in dataset[name].values]
    known = [i for i, part in enumerate(parts) if part]
    if parted := describe_parted(*([of[i] for i in known] for of in (patients, subjects, parts))):
        hint = "name another, or make it anew (replace=True)"
        raise ParameterError(f"{url}: {name!r} parts the visits of {parted}; {hint}")
    return {subjects[i]: parts[i] for i in known}


def warn_of_parted_subjects(dataset: xr.Dataset, where: str, chosen: Sequence[str]) -> None:
    """Warn where a selection takes some visits of a subject by a column that gives the others to another part.

    Parameters
    ----------
    dataset
        A cohort opened from a store.
    where, chosen
        The selection, and the patients whom it chooses.
    """
    patients, subjects = [str(label) for label in dataset["patient"].values], subjects_of(dataset)
    if len(set(subjects)) == len(subjects):
        return
    taken = set(chosen)
    inside, outside = (
        {subject for patient, subject in zip(patients, subjects, strict=True) if (patient in taken) is whether}
        for whether in (True, False)
    )
    for name in sorted(set(names_in(where)) - {"patient", *(variable.name for variable in VISIT)}):
        parts = parts_of(dataset, name)
        if parts is None:
            continue
        rows = [i for i, subject in enumerate(subjects) if subject in inside & outside]
        parted = describe_parted(*([values[i] for i in rows] for values in (patients, subjects, parts)))
        if parted:
            warnings.warn(
                f"where={where!r}: the column {name!r} parts the visits of {parted}; one visit of a person does not "
                "test what a model learned from another: npczarr.split makes a column that keeps them together",
                UserWarning,
                stacklevel=3,
            )


def _check_name(name: str) -> None:
    """Refuse a column that could not be chosen by, or that stands for something else."""
    if not isinstance(name, str) or not name.isidentifier() or iskeyword(name) or not name.isascii():
        raise ParameterError(f"name: expected a word of letters, digits and _, such as 'split', got {name!r}")
    if name in RESERVED or _DERIVED.fullmatch(name):
        raise ParameterError(f"name: {name!r} is a name of the store itself; take another, such as 'split'")
    if (field := known_field(name)) is not None:
        said = f"{name!r} is a name of a clinical column ({field.description}), for which the parts would be taken"
        raise ParameterError(f"name: {said}; take another, such as 'split'")


def _parts(shares: Mapping[str, float] | None, folds: int | None) -> dict[str, float]:
    if shares is not None and folds is not None:
        raise ParameterError("give either shares or folds, not both")
    if folds is not None:
        if not isinstance(folds, int) or folds < 2:
            raise ParameterError(f"folds must be a whole number of at least 2, got {folds!r}")
        return {str(i): 1 / folds for i in range(folds)}
    if shares is not None and not isinstance(shares, Mapping):
        raise ParameterError(f"shares: expected the share of each part, such as {{'train': 0.8}}, got {shares!r}")
    found = {"train": 0.7, "val": 0.15, "test": 0.15} if shares is None else dict(shares)
    _check_shares(found)
    return {part: float(share) for part, share in found.items()}


def _check_shares(found: Mapping[str, float]) -> None:
    if not all(isinstance(share, int | float | np.number) for share in found.values()):
        raise ParameterError(f"shares must be numbers, got {found}")
    if not all(isinstance(part, str) and part for part in found):
        raise ParameterError(f"shares: expected words as the names of parts, got {list(found)}")
    if not found or not all(share > 0 for share in found.values()) or abs(sum(found.values()) - 1) > 1e-6:
        raise ParameterError(f"shares must be positive and sum up to 1, got {found}")


def _columns(stratify: str | Sequence[str]) -> list[str]:
    columns = [stratify] if isinstance(stratify, str) else stratify
    if not isinstance(columns, Sequence) or not all(isinstance(column, str) for column in columns):
        raise ParameterError(f"stratify: expected the name of a column, or a list of names, got {stratify!r}")
    return list(columns)


def _strata(dataset: xr.Dataset, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the stratum of each patient."""
    known = [str(name) for name, variable in dataset.variables.items() if variable.dims == ("patient",)]
    values = []
    for name in columns:
        if name not in known:
            raise unknown_label("column", name, known)
        values.append(_categories(dataset[name].values))
    return list(zip(*values, strict=True)) if values else [()] * dataset.sizes["patient"]


def _categories(values: NDArray[Any]) -> list[str]:
    if values.dtype.kind not in "iuf" or len(np.unique(values[np.isfinite(values)])) <= _MOST_VALUES:
        return [str(value) for value in values]
    cuts = np.nanquantile(values, (0.25, 0.5, 0.75))
    return ["unknown" if np.isnan(value) else str(np.searchsorted(cuts, value)) for value in values]
