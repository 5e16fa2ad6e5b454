"""What selecting and computing with xarray may have done to a cohort's Dataset, before anything is measured of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.model.geometry import AXES, Grid
from npczarr.model.schema import EXTENT, SCAN, TEXT
from npczarr.store.axis_order import in_axis_order

_OPEN = "open it with npczarr.open or xr.open_zarr from a store"
_FIRST = "take the scan of the whole cohort first, then select in it"
_SAME_PLACE_MM = 1e-3


def check_voxels(dataset: xr.Dataset, *names: str) -> None:
    """Check that a Dataset has these arrays of voxels, and each scan still in its place in them.

    Scans begin at the first voxel of their place, and their tables describe them whole; xarray selects voxels and
    leaves the tables as they are. Voxels along y and x that were turned round are not noticed here, but where a mask is
    measured that then lies outside its scan; nor are those of a Dataset whose `shape` does not say the size of the
    arrays.

    Parameters
    ----------
    dataset
        A cohort, a selection of it or one scan.
    names
        The arrays that are wanted, ``"image"`` or ``"mask"`` or both.

    Raises
    ------
    ParameterError
        If one is not there or has other dimensions, the Dataset was cut, padded, turned round or coarsened along z, y
        or x, or its tables lack one of these axes.
    """
    if not isinstance(dataset, xr.Dataset):
        raise ParameterError(
            f"expected a Dataset of a cohort, got {type(dataset).__name__}; open a store with npczarr.open"
        )
    for name in names:
        if name not in dataset.variables:
            raise ParameterError(f"the Dataset has no {name!r}; {_OPEN}")
        absent = [axis for axis in AXES if axis not in dataset[name].dims]
        if absent:
            raise ParameterError(
                f"{name}: expected the dimensions z, y and x, found {', '.join(map(str, dataset[name].dims))}; {_OPEN} "
                "and keep the names of its dimensions"
            )
    if "shape" not in dataset.variables:
        return  # who needs it names it
    dataset = in_axis_order(dataset)
    _check_positions(dataset)
    for axis, size in _sizes_of_store(dataset):
        if dataset.sizes[axis] != size:
            _refuse_other_size(dataset, axis, size)
    if dataset["shape"].chunks is None:
        check_whole(dataset["shape"].transpose(..., "axis").values, dataset.sizes)
    if slices_turned(dataset):
        raise ParameterError(f"the Dataset was turned round or cut along z; {_FIRST}")


def check_whole(shapes: NDArray[Any], sizes: Mapping[Any, int]) -> None:
    """Check that scans of these shapes (…, 3) fit into the sizes of a Dataset, if it has z, y and x.

    Raises
    ------
    ParameterError
        If one does not: the Dataset was cut.
    """
    largest = shapes.reshape(-1, len(AXES)).max(axis=0, initial=0)
    for axis, n in zip(AXES, largest, strict=True):
        if sizes.get(axis, n) < n:
            raise ParameterError(f"the Dataset was cut along {axis}: {sizes[axis]} voxels, and scans of {n}; {_FIRST}")


def slices_turned(dataset: xr.Dataset) -> bool:
    """Whether the positions of a scan's slices do not begin at the first, or fall; False where they are not in memory.

    They rise in every store. In a Dask array they may depend on voxels, which nothing is to be read of yet.
    """
    positions = dataset.variables.get("z_mm")
    if positions is None or "z" not in positions.dims or positions.chunks is not None or positions.sizes["z"] < 2:
        return False
    values = positions.transpose(..., "z").values
    late = np.isnan(values[..., 0]) & np.isfinite(values).any(axis=-1)
    return bool((late | (values[..., 1] < values[..., 0])).any())


def check_dims(dataset: xr.Dataset) -> None:
    """Check that scans are on `patient` and `sequence`, or on one of them, or one scan alone.

    Raises
    ------
    ParameterError
        If a Dataset was stacked, given other dimensions, or has another sequence for each patient.
    """
    for name in (name for name in ("image", "mask", "shape") if name in dataset.variables):
        others = [dim for dim in dataset[name].dims if dim not in (*SCAN, "rater", "axis", *AXES)]
        if others:
            raise ParameterError(
                f"{name}: expected scans on the dimensions patient and sequence, found {', '.join(map(str, others))}; "
                "select in patient and sequence alone, or undo what made it (unstack, isel)"
            )
    for dim in SCAN:
        if dim in dataset.coords and dataset[dim].dims not in ((), (dim,)):
            raise ParameterError(
                f"expected one {dim}, or each along the dimension {dim!r}, found {dim} on "
                f"{', '.join(map(str, dataset[dim].dims))}; take one {dim} after the other, as in .sel({dim}=...)"
            )


def whole_texts(dataset: xr.Dataset) -> xr.Dataset:
    """Make texts of one scan alone, in Dask arrays, such that xarray can compute them.

    What Dask selects of an array of text is a text, which is no array.
    """
    loose = {
        name: variable.copy(data=variable.data.map_blocks(_as_text, dtype=TEXT, meta=np.array("", dtype=TEXT)))
        for name, variable in dataset.variables.items()
        if variable.ndim == 0 and variable.chunks is not None and variable.dtype.kind == "T"
    }
    return dataset.assign({name: one for name, one in loose.items() if name not in dataset.coords}).assign_coords(
        {name: one for name, one in loose.items() if name in dataset.coords}
    )


def _as_text(text: Any) -> NDArray[Any]:  # noqa: ANN401 - text, or an array of one
    return np.asarray(text, dtype=TEXT)


def scan_labels(dataset: xr.Dataset, lead: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """Return the patient and the sequence of every scan, each an array of text on the dimensions `lead`.

    Parameters
    ----------
    dataset
        A cohort, or any selection of it: one sequence for all patients, or another for each.
    lead
        Dimensions of the masks before z, y, x.

    Raises
    ------
    ParameterError
        If the Dataset does not say of which patient and sequence each scan is.
    """
    sizes = {dim: dataset.sizes[dim] for dim in lead}
    found = {}
    for name in SCAN:
        if name not in dataset.coords or not set(dataset[name].dims) <= set(lead):
            dims = f" on {', '.join(map(str, dataset[name].dims))}" if name in dataset.coords else ""
            raise ParameterError(
                f"expected to be told the {name} of each scan, by a coordinate {name!r} on {_dims(lead)}; found "
                f"{'one' + dims if dims else 'none'}; select with sel or isel, which keep it"
            )
        values = dataset[name].variable.set_dims(sizes).values.astype(object)
        found[name] = np.vectorize(str, otypes=[object])(values) if values.size else values
    return found


def _dims(lead: Sequence[Any]) -> str:
    return ", ".join(map(str, lead)) or "no dimension"


def _sizes_of_store(dataset: xr.Dataset) -> list[tuple[str, int]]:
    """Sizes of the store's arrays by axis, where `shape` says them."""
    said = np.ravel(np.asarray(dataset["shape"].attrs.get(EXTENT, ())))
    if len(said) != len(AXES) or said.dtype.kind not in "iu":
        return []
    return [(axis, int(n)) for axis, n in zip(AXES, said, strict=True) if axis in dataset.dims]


def _refuse_other_size(dataset: xr.Dataset, axis: str, of_store: int) -> None:
    """Refuse a Dataset of another size than its store, unless it is of one scan, or of several stores."""
    size = dataset.sizes[axis]
    along = AXES.index(axis)
    shape = dataset["shape"].transpose("axis", ...).values[along]
    scans = shape[shape > 0]
    if scans.size == 0 or scans.max() == size or (size > of_store and scans.max() > of_store):
        return  # without the padding behind its scans, or joined with a larger store to whose size this one was padded
    done = "cut" if size < of_store else "padded"
    raise ParameterError(f"the Dataset was {done} along {axis}: {size} voxels, and {of_store} in its store; {_FIRST}")


def _check_positions(dataset: xr.Dataset) -> None:
    """Check that the coordinates of one scan, as ``ds.npc.scan`` gives it, are those of its grid."""
    if dataset["shape"].dims != ("axis",) or "affine" not in dataset.variables:
        return
    placed = [axis for axis in AXES if axis in dataset.coords and dataset[axis].attrs.get("units") in ("mm", "1")]
    if not placed:
        return
    z, y, x = (int(n) for n in dataset["shape"].values)
    if min(z, y, x) <= 0:
        return
    grid = Grid((z, y, x), dataset["affine"].transpose("affine_row", "affine_column").values)
    for axis, expected in zip(AXES, grid.axis_positions_mm(), strict=True):
        if axis not in placed:
            continue
        found = dataset[axis].values
        if len(found) != len(expected) or np.abs(found - expected).max() > _SAME_PLACE_MM:
            raise ParameterError(
                f"the scan was cut, coarsened or turned round along {axis}; take it whole, or give its mask to "
                "npczarr.measure_mask or npczarr.compare_masks, which take its coordinates"
            )
