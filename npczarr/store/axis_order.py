"""The order of the dimension `axis`, along which tables hold a value for z, y and x: people select and reorder it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from npczarr.errors import ParameterError
from npczarr.model.geometry import AXES
from npczarr.model.results import Table

if TYPE_CHECKING:
    import xarray as xr

AXIS = "axis"
IN_ORDER = [0, 1, 2]
_NEEDED = ("shape", "spacing")  # along `axis` in every store


def in_axis_order(dataset: xr.Dataset) -> xr.Dataset:
    """Return a Dataset whose tables along `axis` are in the order z, y, x, as its labels say.

    Parameters
    ----------
    dataset
        A cohort, a selection of it, one scan or a result. Without a coordinate `axis` the order is that of a store.

    Raises
    ------
    ParameterError
        If its tables lack one of the three axes.
    """
    sizes = {name: dataset[name].sizes for name in _NEEDED if name in dataset.variables}
    if not sizes and AXIS in dataset.dims:
        sizes = {"the Dataset": dataset.sizes}
    places = IN_ORDER
    for name, found in sizes.items():
        places = axis_places(dataset.variables, found, where=name)
    return dataset if places == IN_ORDER else dataset.isel({AXIS: places})


def axis_places(variables: Mapping[Any, Table], sizes: Mapping[Any, int], *, where: str) -> list[int]:
    """Return where z, y and x are along `axis`.

    Parameters
    ----------
    variables
        Variables by name, among them `axis` with the labels. Without them the order is z, y, x, as in a store.
    sizes
        Sizes by dimension.
    where
        What has these dimensions, for messages.

    Raises
    ------
    ParameterError
        If one of the three is not there.
    """
    labels = _labels(variables) if AXIS in variables else list(AXES)
    if AXIS not in sizes or sizes[AXIS] != len(AXES) or sorted(labels) != sorted(AXES):
        found = ", ".join(labels) if AXIS in variables else f"{sizes.get(AXIS, 0)} without a name"
        raise ParameterError(
            f"{where}: expected values for the axes z, y and x along the dimension 'axis', found {found}; leave 'axis' "
            "whole, and select in it at the end"
        )
    return [labels.index(axis) for axis in AXES]


def _labels(variables: Mapping[Any, Table]) -> Sequence[str]:
    return [str(label) for label in np.atleast_1d(variables[AXIS].values)]
