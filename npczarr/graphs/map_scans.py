"""A kernel over every scan of a Dataset, lazily: masks in, one row of numbers for each scan out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.graphs.batches import in_batches
from npczarr.graphs.changed_datasets import whole_texts
from npczarr.graphs.label_dim import check_named, names_in, only
from npczarr.model.geometry import AXES
from npczarr.model.results import MESSAGE
from npczarr.model.schema import SCAN, STORED, Variable
from npczarr.store.axis_order import in_axis_order

_LAST = ("affine_row", "affine_column", "axis", *AXES)
Row = NDArray[np.float64]
#: Masks of one scan (z, y, x) each, and its spacing (z, y, x) in mm, to one number for each entry of the registry.
Kernel = Callable[..., Row]


def map_scans(
    kernel: Kernel,
    masks: Sequence[xr.DataArray],
    geometry: xr.DataArray,
    registry: Sequence[Variable],
    *,
    name: str,
    labels: Sequence[int | None] = (None,),
    readings: Sequence[tuple[int, ...]] | None = None,
    messages: xr.DataArray | None = None,
    **parameters: Any,  # noqa: ANN401
) -> xr.Dataset:
    """Build the lazy Dataset of ``kernel(*masks, spacing, **parameters)`` for every scan.

    Small scans are measured many to a Dask task; each mask is read once for all labels and readings.

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
    name
        Name of the tasks.
    labels
        Numbers of the labels to measure, one after the other; None for whatever is above 0.
    readings
        Which of the masks the kernel takes together, by their numbers; by default all of them.
    messages
        What is said of each scan as its masks are read, on the dimensions before z, y, x; None if nothing is.

    Returns
    -------
    xarray.Dataset
        On `pair` (the readings), `label`, and the dimensions of the masks before z, y, x; with the messages as
        `message` on the latter.
    """
    lead = masks[0].transpose(..., *AXES).dims[:-3]
    several = any(number is not None for number in labels)
    voxels = [whole_scans(mask.transpose(*lead, *AXES)) for mask in masks]
    for axis in lead:
        if axis not in geometry.dims:
            geometry = geometry.expand_dims({axis: voxels[0].sizes[axis]})
    rows = _Rows(
        partial(kernel, **parameters) if parameters else kernel,
        tuple(labels),
        tuple(names_in(masks[0].attrs, masks[0].dtype).values()) if several else (),
        tuple(readings or [tuple(range(len(masks)))]),
        sum(3 if "axis" in variable.dims else 1 for variable in registry),
    )
    table = geometry.transpose(*lead, "geometry").data
    texts = None if messages is None else messages.transpose(*lead).data
    numbers, said = in_batches(rows, [mask.data for mask in voxels], table, rows.shape, name=name, texts=texts)
    result = _as_dataset(numbers, ("pair", "label", *lead), registry, _labels(masks[0], lead))
    return result if said is None else result.assign({MESSAGE.name: (lead, said, MESSAGE.all_attributes())})


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is done with a block of scans.

    Parameters
    ----------
    kernel
        A kernel, with its parameters.
    labels, readings
        As for :func:`map_scans`.
    known
        Numbers of all labels of the masks; empty where whatever is above 0 is measured.
    width
        Numbers in a row.
    """

    kernel: Kernel
    labels: tuple[int | None, ...]
    known: tuple[int, ...]
    readings: tuple[tuple[int, ...], ...]
    width: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """What there is for each scan: readings, labels, numbers."""
        return len(self.readings), len(self.labels), self.width

    def __call__(self, table: NDArray[np.float64], *masks: NDArray[Any]) -> NDArray[np.float64]:
        """Return (…, reading, label, number) of a block of masks (…, z, y, x), whose geometry a table (…, 7) holds."""
        rows = np.full((*table.shape[:-1], *self.shape), np.nan)
        for at in np.ndindex(*table.shape[:-1]):
            z, y, x, *spacing, there = table[at]
            if not there or min(z, y, x) <= 0:
                continue
            window = (*at, slice(int(z)), slice(int(y)), slice(int(x)))
            whole = [mask[window] for mask in masks]
            self._check(whole, (z, y, x))
            if any(_reaches_beyond(mask[at], whole[0].shape) for mask in masks):
                raise ParameterError(
                    f"a scan of {z:g} x {y:g} x {x:g} voxels (z, y, x) has voxels of its mask outside of them: the "
                    "Dataset was turned round or moved; take the scan of the whole cohort first, then select in it"
                )
            for i, number in enumerate(self.labels):
                voxels = [only(mask, number) for mask in whole]
                for j, reading in enumerate(self.readings):
                    rows[(*at, j, i)] = self.kernel(*(voxels[k] for k in reading), spacing)
        return rows

    def _check(self, masks: list[NDArray[Any]], shape_zyx: tuple[float, float, float]) -> None:
        """Refuse scans that are not whole, and values that are no label."""
        for mask in masks:
            if mask.shape != shape_zyx:
                sizes = " x ".join(f"{n:g}" for n in shape_zyx)
                raise ParameterError(
                    f"a scan of {sizes} voxels (z, y, x) has {' x '.join(map(str, mask.shape))} of them here: the "
                    "Dataset was cut; take the scan of the whole cohort first, then select in it"
                )
            if self.known:
                check_named(mask, self.known)


def _reaches_beyond(mask: NDArray[Any], shape: tuple[int, ...]) -> bool:
    """Whether a mask with its padding (z, y, x) holds something beyond a scan of this shape."""
    z, y, x = shape
    return any(part.max(initial=0) > 0 for part in (mask[z:], mask[:z, y:], mask[:z, :y, x:]))


def scan_geometry(dataset: xr.Dataset, there: xr.DataArray | None = None) -> xr.DataArray:
    """Shape and spacing of every scan, and whether it is to be measured: on its own dimensions and `geometry`.

    Along `geometry` are the shape and the spacing in mm, each along z, y and x, whatever the order of `axis` is.

    Parameters
    ----------
    dataset
        A cohort or a selection of it; a scan without a mask is not measured.
    there
        Further scans not to be measured, where False.

    Raises
    ------
    ParameterError
        If the Dataset lacks what a cohort store has, or one of the three axes.
    """
    for name in ("shape", "spacing"):
        if name not in dataset:
            raise ParameterError(f"the Dataset has no {name!r}; open it with npczarr.open or xr.open_zarr from a store")
    dataset = in_axis_order(dataset)
    parts = [dataset[name].astype(np.float64).rename(axis="geometry") for name in ("shape", "spacing")]
    has_mask = masks_there(dataset)
    if has_mask is None:
        has_mask = parts[0].isel(geometry=0, drop=True) > 0
    has_mask = has_mask if there is None else has_mask & there
    parts.append(has_mask.astype(np.float64).expand_dims("geometry", -1))
    bare = [part.reset_coords(drop=True).drop_vars("geometry", errors="ignore") for part in parts]
    joined: xr.DataArray = xr.concat(bare, dim="geometry", join="override", coords="minimal", compat="override")
    return joined


def masks_there(dataset: xr.Dataset) -> xr.DataArray | None:
    """Where there is a whole mask, by what became of it or by its digest; None, with a warning, where nothing tells.

    Warns
    -----
    UserWarning
        If the Dataset has neither: masks that are not there would count as empty.
    """
    dataset = whole_texts(dataset[[name for name in ("status", "mask_status", "mask_digest") if name in dataset]])
    whole = dataset["status"] != "pending" if "status" in dataset else True
    if "mask_status" in dataset:
        return ((dataset["mask_status"] == STORED[0]) | (dataset["mask_status"] == STORED[1])) & whole
    if "mask_digest" in dataset:
        return (dataset["mask_digest"] != "") & whole
    warnings.warn(
        "the Dataset has neither mask_status nor mask_digest, so that scans without a mask count as scans with an "
        "empty one; keep mask_status beside mask",
        UserWarning,
        stacklevel=4,
    )
    return None


def in_order(dataset: xr.Dataset) -> xr.Dataset:
    """Give every variable its dimensions in the order of a store, and its values along `axis` in the order z, y, x.

    A Dataset may have been transposed.

    Raises
    ------
    ParameterError
        If one of the three axes is not there.
    """
    return in_axis_order(dataset).transpose(*SCAN, "rater", ..., *_LAST, missing_dims="ignore")


def whole_scans(voxels: xr.DataArray) -> xr.DataArray:
    """Give voxels Dask chunks of whole scans: their own, or one scan each; without coordinates, which are cut too."""
    voxels = voxels.reset_coords(drop=True)
    if voxels.chunks is None:
        return voxels.chunk({dim: -1 if dim in AXES else 1 for dim in voxels.dims})
    return voxels.chunk(dict.fromkeys(AXES, -1))


def _labels(mask: xr.DataArray, lead: Sequence[Any]) -> dict[Any, Any]:
    return {name: mask[name].variable for name in ("patient", "sequence", "rater", *lead) if name in mask.coords}


def _as_dataset(
    numbers: da.Array, dims: tuple[Any, ...], registry: Sequence[Variable], labels: dict[Any, Any]
) -> xr.Dataset:
    """Cut rows (…, pair, label, number) into variables on (pair, label, …)."""
    numbers = da.moveaxis(numbers, (-3, -2), (0, 1))
    variables: dict[str, xr.Variable] = {}
    at = 0
    for variable in registry:
        attributes = variable.all_attributes()
        if "axis" in variable.dims:
            variables[variable.name] = xr.Variable((*dims, "axis"), numbers[..., at : at + 3], attributes)
            at += 3
        else:
            variables[variable.name] = xr.Variable(dims, numbers[..., at], attributes)
            at += 1
    coordinates = labels | ({"axis": list(AXES)} if any("axis" in v.dims for v in registry) else {})
    return xr.Dataset(variables, coords=coordinates)
