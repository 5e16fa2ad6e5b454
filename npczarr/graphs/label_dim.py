"""A measure for each label of the masks: along `label`, or of the one that is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import ParameterError, unknown_label
from npczarr.model.label_set import check_mask_type, flag_names

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
    """Return names and numbers of the labels to measure; without a number whatever is above 0 is meant.

    Raises
    ------
    ParameterError
        If the masks have no such label, or hold neither booleans nor integers.
    """
    check_mask_type(mask.dtype)
    names = names_in(mask.attrs, mask.dtype)
    if label is None:
        return list(names.items()) if len(names) > 1 else [(None, None)]
    wanted = [label] if isinstance(label, str) else list(label)
    if not wanted or len(set(wanted)) != len(wanted):
        raise ParameterError(f"label: expected a label or a list of different labels, got {label!r}")
    return [(one, _number(names, one, mask.attrs)) for one in wanted]


def names_in(attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> dict[str, int]:
    """Return the numbers of a mask's labels by name.

    Booleans hold one structure, whatever the attributes say: xarray keeps those of ``mask`` in ``mask == 2``.
    """
    names = flag_names(attributes)
    return {} if dtype.kind == "b" and len(names) > 1 else names


def only(mask: NDArray[Any], number: int | None) -> NDArray[Any]:
    """Voxels of one label; all that are above 0, given None."""
    return mask if number is None else np.equal(mask, number)


def check_named(mask: NDArray[Any], numbers: Sequence[int], name: str = "mask") -> None:
    """Check that a mask holds no values but 0 and the numbers of its labels.

    Raises
    ------
    ParameterError
        If it does: nothing says of which structure such voxels are.
    """
    if mask.dtype.kind == "b" or mask.size == 0:
        return
    gaps = len(set(numbers)) < max(numbers)
    if mask.min() >= 0 and mask.max() <= max(numbers) and not gaps:
        return
    unknown = sorted(set(np.unique(mask).tolist()) - {0, *numbers})
    if unknown:
        raise ParameterError(
            f"{name}: holds the value {unknown[0]}, which none of its labels has ({', '.join(map(str, numbers))}); of "
            "a mask of one structure, give booleans, as in mask > 0"
        )


def label_voxels(
    voxels: NDArray[Any], attributes: Mapping[str, Any], label: str | None, name: str = "mask"
) -> NDArray[Any]:
    """Return one mask's voxels of a label; given None, all that are above 0.

    Raises
    ------
    ParameterError
        If the mask has no such label or values that are none, or several labels and none is chosen.
    """
    check_mask_type(voxels.dtype, name)
    names = names_in(attributes, voxels.dtype)
    if label is None and len(names) > 1:
        raise ParameterError(f"{name}: holds {len(names)} labels ({', '.join(names)}); choose one with label=")
    number = None if label is None else _number(names, label, attributes)
    if number is not None:
        check_named(voxels, list(names.values()), name)
    return only(voxels, number)


def _number(names: Mapping[str, int], label: str, attributes: Mapping[str, Any]) -> int | None:
    """Return the number of a label; None for the only one, which whatever is above 0 belongs to."""
    if not names and label in flag_names(attributes):
        raise ParameterError(f"label {label!r}: the masks hold booleans, and so no labels; leave label out")
    if label not in names:
        raise unknown_label(LABEL, label, names, where="the masks")
    return names[label] if len(names) > 1 else None
