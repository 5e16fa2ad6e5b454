"""A measure for each label of the masks: along `label`, or of the one that is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import ParameterError, unknown_label
from npczarr.model.label_set import flag_names

LABEL = "label"
#: One label, several, or None for all.
LabelChoice = str | Sequence[str] | None


def with_labels(
    mask: xr.DataArray, label: LabelChoice, measure: Callable[[list[int | None]], xr.Dataset]
) -> xr.Dataset:
    """Measure the labels of a cohort's masks.

    Parameters
    ----------
    mask
        Masks whose attributes name their labels, as CF writes them.
    label
        Label to measure, or several; None for all.
    measure
        Returns the lazy result, on `label`, of labels by their numbers in the masks; None is whatever is above 0.

    Returns
    -------
    xarray.Dataset
        On `label` where several labels are measured. Masks with one label only have no such dimension.

    Raises
    ------
    ParameterError
        If the masks have no such label.
    """
    chosen = chosen_labels(mask, label)
    result = measure([number for _, number in chosen])
    names = [str(name) for name, _ in chosen if name is not None]
    if len(chosen) == 1 and (label is None or isinstance(label, str)):
        return result.isel({LABEL: 0}).assign_attrs({"labels": names} if names else {})
    return result.assign_coords({LABEL: np.array(names, dtype=str)}).assign_attrs(labels=names)


def chosen_labels(mask: xr.DataArray, label: LabelChoice) -> list[tuple[str | None, int | None]]:
    """Return names and numbers of the labels to measure; None and None where whatever is above 0 is meant.

    Raises
    ------
    ParameterError
        If the masks have no such label.
    """
    names = flag_names(mask.attrs)
    if label is None:
        return list(names.items()) if len(names) > 1 else [(None, None)]
    wanted = [label] if isinstance(label, str) else list(label)
    if not wanted or len(set(wanted)) != len(wanted):
        raise ParameterError(f"label: expected a label or a list of different labels, got {label!r}")
    return [(one, _number(names, one)) for one in wanted]


def only(mask: NDArray[Any], number: int | None) -> NDArray[Any]:
    """Voxels of one label; all that are above 0, given None."""
    return mask if number is None else np.equal(mask, number)


def number_of(attributes: Mapping[str, Any], label: str | None, name: str = "mask") -> int | None:
    """Return the number of a label in one mask; None where whatever is above 0 is meant.

    Raises
    ------
    ParameterError
        If the mask has no such label, or several and none is chosen.
    """
    names = flag_names(attributes)
    if label is not None:
        return _number(names, label)
    if len(names) > 1:
        raise ParameterError(f"{name}: holds {len(names)} labels ({', '.join(names)}); choose one with label=")
    return None


def _number(names: Mapping[str, int], label: str) -> int:
    if label not in names:
        raise unknown_label(LABEL, label, names, where="the masks")
    return names[label]
