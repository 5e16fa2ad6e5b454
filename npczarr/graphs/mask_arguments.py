"""One mask as a person gives it, an array or a DataArray, as voxels and their size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from npczarr.errors import ParameterError
from npczarr.graphs.label_dim import label_voxels
from npczarr.model.geometry import AXES
from npczarr.model.per_axis import PerAxis, per_axis

_EQUAL = 1e-3  # relative: headers and papers round voxel sizes to 0.1 %
_SAME_GRID_MM = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class MaskArgument:
    """A mask, and what is known of its grid.

    Parameters
    ----------
    voxels
        As they were given, (z, y, x) if they have named dimensions.
    spacing_zyx_mm
        Voxel size; None where nothing tells it.
    positions_mm
        Positions of the voxel centers by axis; absent where they are not known.
    attributes
        Attributes of a DataArray, which may name its labels.
    """

    voxels: NDArray[Any]
    spacing_zyx_mm: tuple[float | None, ...]
    positions_mm: Mapping[str, NDArray[np.float64]]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def read_mask_argument(mask: ArrayLike | xr.DataArray, name: str = "mask") -> MaskArgument:
    """Read voxels and their grid off an argument.

    Raises
    ------
    ParameterError
        If a DataArray has other dimensions than z, y and x, or coordinates that are not positions in mm.
    """
    if not isinstance(mask, xr.DataArray):
        return MaskArgument(np.asarray(mask), (None, None, None), {})
    if set(mask.dims) != set(AXES):
        others = ", ".join(str(dim) for dim in mask.dims if dim not in AXES)
        raise ParameterError(
            f"{name}: expected a DataArray on z, y and x, found {tuple(mask.dims)}; "
            + (f"select one along {others}, as in mask.isel({others.split(', ')[0]}=0)" if others else "keep all three")
            + ", or give .values with spacing="
        )
    ordered = mask.transpose(*AXES)
    found = {axis: _positions(ordered, axis, name) for axis in AXES if axis in ordered.coords}
    positions = {axis: along for axis, along in found.items() if along is not None}
    spacing = tuple(_spacing_along(axis, positions.get(axis), ordered, name) for axis in AXES)
    return MaskArgument(np.asarray(ordered.values), spacing, positions, mask.attrs)


def agreed_spacing(given: PerAxis[float] | None, *masks: tuple[str, MaskArgument]) -> tuple[float, float, float]:
    """Return the voxel size on which the argument `spacing` and all DataArrays agree.

    Raises
    ------
    ParameterError
        If they disagree by more than 0.1 %, or the size along an axis is not known.
    """
    explicit = per_axis("spacing", given, whole=True)
    if explicit is not None and len(explicit) != 3:
        raise ParameterError(f"spacing: expected three numbers of mm for z, y and x, got {given!r}")
    found = []
    for i, axis in enumerate(AXES):
        sizes = [] if explicit is None else [("spacing", _length(explicit[i], given))]
        sizes += [
            (f"the DataArray {name}", _length(size, size))
            for name, mask in masks
            if (size := mask.spacing_zyx_mm[i]) is not None
        ]
        if not sizes:
            raise ParameterError(
                f"spacing: the voxel size along {axis} is not known; give spacing= in mm for z, y and x, or a "
                "DataArray of ds.npc.scan"
            )
        source, first = sizes[0]
        for other, size in sizes[1:]:
            if abs(size - first) > _EQUAL * first:
                raise ParameterError(
                    f"spacing along {axis}: {source} says {first:g} mm, {other} says {size:g} mm; "
                    "leave out what is wrong"
                )
        found.append(first)
    z, y, x = found
    return z, y, x


def check_same_grid(a: MaskArgument, b: MaskArgument) -> None:
    """Check that two DataArrays are on one grid, as far as their coordinates tell.

    Raises
    ------
    ParameterError
        If they are not.
    """
    advice = "resample one onto the grid of the other, as npczarr.resample(ds, like=...) does"
    if a.voxels.shape != b.voxels.shape:
        raise ParameterError(f"a and b: expected one shape, found {a.voxels.shape} and {b.voxels.shape}; {advice}")
    for axis in AXES:
        if axis in a.positions_mm and axis in b.positions_mm:
            off = np.abs(a.positions_mm[axis] - b.positions_mm[axis]).max(initial=0)
            if off > _SAME_GRID_MM:
                raise ParameterError(f"a and b: their voxels along {axis} are up to {off:.3g} mm apart; {advice}")


def label_pair(a: MaskArgument, b: MaskArgument, label: str | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the voxels of a label in two masks; the labels of one that names none are those of the other.

    Raises
    ------
    ParameterError
        If one has no such label or values that are none, or several labels and none is chosen.
    """
    voxels = []
    for name, one, other in (("a", a, b), ("b", b, a)):
        bare = not one.attributes
        if bare and other.attributes and one.voxels.dtype.kind == "b":  # the label already
            voxels.append(one.voxels)
        else:
            voxels.append(label_voxels(one.voxels, other.attributes if bare else one.attributes, label, name))
    return voxels[0], voxels[1]


def _positions(mask: xr.DataArray, axis: str, name: str) -> NDArray[np.float64] | None:
    """Positions in mm along one axis; None where the coordinate counts voxels, whose size is not known."""
    coordinate = mask.coords[axis]
    units = coordinate.attrs.get("units")
    if units == "1":
        return None
    if units != "mm" or coordinate.dtype.kind not in "iuf":
        raise ParameterError(
            f"{name}: expected positions along {axis} with the attribute units='mm', found {coordinate.dtype} and "
            f"units {units!r}; drop the coordinate (mask.drop_vars({axis!r})) and give spacing=, or set its units"
        )
    return np.asarray(coordinate.values, dtype=np.float64)


def _spacing_along(axis: str, positions: NDArray[np.float64] | None, mask: xr.DataArray, name: str) -> float | None:
    """Voxel size along one axis, by its positions; of a single slice, or without positions, by `spacing`."""
    if positions is None or len(positions) < 2:
        return _only_spacing(axis, mask)
    steps = np.diff(positions)
    step = float(steps.mean())
    if not np.isfinite(step) or step == 0 or np.abs(steps - step).max() > _EQUAL * abs(step):
        raise ParameterError(
            f"{name}: expected evenly spaced positions along {axis}, found steps from {steps.min():g} to "
            f"{steps.max():g} mm; resample it to one voxel size"
        )
    return abs(step)


def _only_spacing(axis: str, mask: xr.DataArray) -> float | None:
    """Voxel size by the scalar `spacing`; None along other axes than the one that it was selected of."""
    of = mask.coords.get("axis")
    if "spacing" not in mask.coords or (of is not None and str(of.values) != axis):
        return None
    return float(mask.coords["spacing"])


def _length(value: Any, given: Any) -> float:  # noqa: ANN401 - whatever the user gave
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not np.isfinite(value) or value <= 0:
        raise ParameterError(f"spacing: expected finite lengths in mm above 0 for z, y and x, got {given!r}")
    return float(value)
