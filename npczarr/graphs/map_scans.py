"""A kernel over every scan of a Dataset, lazily: masks in, one row of numbers for each scan out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.model.geometry import AXES
from npczarr.model.schema import Variable

Row = NDArray[np.float64]
#: Masks of one scan (z, y, x) each, and its spacing (z, y, x) in mm, to one number for each entry of the registry.
Kernel = Callable[..., Row]


def map_scans(
    kernel: Kernel,
    masks: Sequence[xr.DataArray],
    geometry: xr.DataArray,
    registry: Sequence[Variable],
    **parameters: Any,  # noqa: ANN401
) -> xr.Dataset:
    """Build the lazy Dataset of ``kernel(*masks, spacing, **parameters)`` for every scan.

    Parameters
    ----------
    kernel
        A function of an importable module.
    masks
        On any dimensions before z, y, x; the same for all.
    geometry
        What :func:`scan_geometry` gives.
    registry
        The variables that a row of the kernel holds, in order; those on `axis` take three places.
    """
    voxels = [whole_scans(mask.transpose(..., *AXES)) for mask in masks]
    lead = voxels[0].dims[:-3]
    for axis in lead:
        if axis not in geometry.dims:
            geometry = geometry.expand_dims({axis: voxels[0].sizes[axis]})
    chunks = dict(zip(lead, voxels[0].data.chunks[:-3], strict=True))
    table = geometry.transpose(*lead, "geometry").chunk({**chunks, "geometry": -1})
    letters = tuple(range(len(lead)))
    width = sum(3 if "axis" in variable.dims else 1 for variable in registry)
    arguments: list[Any] = []
    for mask in voxels:
        arguments += [mask.data, (*letters, 100, 101, 102)]
    numbers = da.blockwise(
        _rows_of_block,
        (*letters, 104),
        *arguments,
        table.data,
        (*letters, 103),
        new_axes={104: width},
        concatenate=None,  # blocks are whole along z, y, x: joining one would copy it
        dtype=np.float64,
        meta=np.empty((0,) * (len(lead) + 1)),
        kernel=kernel,
        width=width,
        parameters=parameters,
    ).rechunk(-1)  # a few numbers a scan: in one piece, each variable is one cut instead of one for each scan
    return _as_dataset(numbers, lead, registry, _labels(masks[0], lead))


def scan_geometry(dataset: xr.Dataset, there: xr.DataArray | None = None) -> xr.DataArray:
    """Shape and spacing of every scan, and whether it is to be measured: on its own dimensions and `geometry`.

    Parameters
    ----------
    dataset
        A cohort or a selection of it; a scan without a mask is not measured.
    there
        Further scans not to be measured, where False.

    Raises
    ------
    ParameterError
        If the Dataset lacks what a cohort store has.
    """
    for name in ("shape", "spacing"):
        if name not in dataset:
            raise ParameterError(f"the Dataset has no {name!r}; open it with npczarr.open or xr.open_zarr from a store")
    parts = [dataset[name].astype(np.float64).rename(axis="geometry") for name in ("shape", "spacing")]
    if "mask_status" in dataset:
        has_mask = (dataset["mask_status"] == "ok") | (dataset["mask_status"] == "warning")
    else:
        has_mask = parts[0].isel(geometry=0, drop=True) > 0
    has_mask = has_mask if there is None else has_mask & there
    parts.append(has_mask.astype(np.float64).expand_dims("geometry", -1))
    bare = [part.reset_coords(drop=True).drop_vars("geometry", errors="ignore") for part in parts]
    joined: xr.DataArray = xr.concat(bare, dim="geometry", join="override", coords="minimal", compat="override")
    return joined


def _rows_of_block(
    *blocks: Any,  # noqa: ANN401 - nested lists of blocks, as Dask contracts dimensions
    kernel: Kernel,
    width: int,
    parameters: dict[str, Any],
) -> Row:
    masks, table = [block[0][0][0] for block in blocks[:-1]], blocks[-1][0]
    rows = np.full((*table.shape[:-1], width), np.nan)
    for at in np.ndindex(*table.shape[:-1]):
        z, y, x, *spacing, there = table[at]
        if there and min(z, y, x) > 0:
            window = (slice(int(z)), slice(int(y)), slice(int(x)))
            rows[at] = kernel(*(mask[at][window] for mask in masks), spacing, **parameters)
    return rows


def whole_scans(mask: xr.DataArray) -> xr.DataArray:
    """Give a mask Dask chunks of whole scans: its own, or one scan each."""
    if mask.chunks is None:
        return mask.chunk({dim: -1 if dim in AXES else 1 for dim in mask.dims})
    return mask.chunk(dict.fromkeys(AXES, -1))


def _labels(mask: xr.DataArray, lead: Sequence[Any]) -> dict[Any, Any]:
    return {name: mask[name].variable for name in ("patient", "sequence", "rater", *lead) if name in mask.coords}


def _as_dataset(
    numbers: da.Array, lead: Sequence[Any], registry: Sequence[Variable], labels: dict[Any, Any]
) -> xr.Dataset:
    variables: dict[str, xr.Variable] = {}
    at = 0
    for variable in registry:
        attributes = variable.all_attributes()
        if "axis" in variable.dims:
            variables[variable.name] = xr.Variable((*lead, "axis"), numbers[..., at : at + 3], attributes)
            at += 3
        else:
            variables[variable.name] = xr.Variable(lead, numbers[..., at], attributes)
            at += 1
    coordinates = labels | ({"axis": list(AXES)} if any("axis" in v.dims for v in registry) else {})
    return xr.Dataset(variables, coords=coordinates)
