"""The variables that a resampling makes anew, as Dask arrays of one block a scan."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.graphs.resample_blocks import (
    FACTS,
    SPATIAL,
    facts_block,
    image_block,
    mask_block,
    table_block,
    table_of,
    width_of,
)
from npczarr.model.geometry import AXES
from npczarr.model.layout import Layout
from npczarr.model.resampling import Resampling
from npczarr.model.schema import SCAN_TABLES
from npczarr.store.zarr_library import image_codecs, table_codecs

TEXT = np.dtypes.StringDType()


class ResampledVariables:
    """The variables that a resampling makes anew, each a block of one scan."""

    def __init__(
        self,
        dataset: xr.Dataset,
        plans: NDArray[Any],
        voxels: dict[str, xr.DataArray],
        request: Resampling,
        layout: Layout,
    ) -> None:
        self._dataset = dataset
        self._source = voxels
        self._request = request
        self._layout = layout
        self._extent = layout.extent_zyx
        self._lead = next(iter(voxels.values())).dims[:-3]
        scans = [dim for dim in self._lead if dim in ("patient", "sequence")]
        self._plans = xr.DataArray(plans, dims=scans)
        self._scans = scans
        self._rescale = [dataset[name].transpose(*scans, "z") for name in ("rescale_slope", "rescale_intercept")]
        self._tumor = _tumors(voxels["mask"], request) if request.needs_tumor else None

    def voxels(self, name: str) -> xr.DataArray:
        """Build the lazy array of `image` or `mask`."""
        source = self._source[name]
        lead = source.dims[:-3]
        z, y, x = self._extent
        blocks = da.blockwise(
            image_block if name == "image" else mask_block,
            (*lead, "Z", "Y", "X"),
            *self._inputs(name),
            new_axes={"Z": z, "Y": y, "X": x},
            concatenate=True,
            dtype=np.float32 if name == "image" else np.uint8,
            meta=np.empty((0,) * source.ndim, np.float32 if name == "image" else np.uint8),
            request=self._request,
            extent=self._extent,
        )
        result = xr.DataArray(blocks, dims=source.dims, attrs=source.attrs)
        result.encoding = {
            "chunks": (*(1 for _ in lead), *self._layout.chunk_zyx(name)),
            "compressors": image_codecs("lz4") if name == "image" else table_codecs(),
            "fill_value": np.nan if name == "image" else 0,
        }
        return result

    def tables(self) -> dict[str, xr.Variable]:
        """Build the variables that say where the voxels lie; lazy only where they depend on voxels."""
        width = width_of(self._extent)
        if self._request.needs_tumor or self._request.normalize:
            image_needed = self._request.normalize is not None and "image" in self._source
            flat = da.blockwise(
                table_block,
                (*self._scans, "W"),
                *self._inputs("image" if image_needed else "mask"),
                new_axes={"W": width},
                concatenate=True,
                dtype=np.float64,
                meta=np.empty((0,) * (len(self._scans) + 1)),
                request=self._request,
                extent=self._extent,
            )
        else:
            flat = np.empty((*self._plans.shape, width))
            for at in np.ndindex(*self._plans.shape):
                slope, intercept = (r.values[at] for r in self._rescale)
                plan: Any = self._plans.values[at]
                flat[at] = table_of(plan, None, None, slope, intercept, self._request, self._extent)
        return self._cut(flat if isinstance(flat, np.ndarray) else flat.rechunk(-1))

    def facts(self, made: dict[str, xr.DataArray]) -> dict[str, xr.Variable]:
        """Build what is known of a scan only once it is resampled, and its status and message."""
        chunks = dict(zip(self._lead, next(iter(self._source.values())).data.chunks, strict=False))
        scans = tuple(chunks[dim] for dim in self._scans)
        said = [self._texts(name, scans) for name in ("status", "mask_status", "message")]
        inputs: list[Any] = [self._block_of_plans(scans), tuple(self._scans) if scans else None]
        for texts in said:
            inputs += [texts, tuple(self._scans)]
        names = tuple(made)
        for name in names:
            inputs += [made[name].data, (*made[name].dims[:-3], *(f"{name}{axis}" for axis in AXES))]
        if "mask" in names and self._request.may_cut:
            source = self._source["mask"]
            inputs += [source.data, (*source.dims[:-3], *"zyx")]
            if self._tumor is not None:
                inputs += [self._tumor.chunk(chunks).data, (*self._tumor.dims[:-3], "tz", "ty", "tx")]
        flat = da.blockwise(
            facts_block,
            (*self._scans, "F"),
            *inputs,
            new_axes={"F": len(FACTS)},
            concatenate=True,
            dtype=object,
            meta=np.empty((0,) * (len(self._scans) + 1), dtype=object),
            request=self._request,
            names=names,
        ).rechunk(-1)
        described = {v.name: v for v in SCAN_TABLES}
        variables: dict[str, xr.Variable] = {}
        for i, name in enumerate(FACTS):
            dtype = TEXT if described[name].dtype == "string" else np.dtype(described[name].dtype)
            values = flat[..., i].map_blocks(_cast, dtype=dtype, to=dtype)
            variables[name] = xr.Variable(self._scans, values, described[name].all_attributes())
        return {name: v for name, v in variables.items() if name in self._dataset.variables}

    def _texts(self, name: str, scans: tuple[Any, ...]) -> Any:  # noqa: ANN401 - a Dask array
        dataset = self._dataset
        values = dataset[name].transpose(*self._scans).values if name in dataset else np.full(self._plans.shape, "")
        return da.from_array(np.asarray(values, dtype=object), chunks=scans)

    def _block_of_plans(self, scans: tuple[Any, ...]) -> Any:  # noqa: ANN401 - a Dask array, or one plan
        return da.from_array(self._plans.values, chunks=scans) if scans else self._plans.item()

    def _inputs(self, name: str) -> list[Any]:
        """Plans, voxels and rescaling of the source as blockwise takes them; tumors too where grids need them."""
        source = self._source[name] if name in self._source else next(iter(self._source.values()))
        chunks = dict(zip(source.dims[:-3], source.data.chunks[:-3], strict=True))
        scans = tuple(chunks[dim] for dim in self._scans)
        inputs: list[Any] = [
            self._block_of_plans(scans),
            tuple(self._scans) if scans else None,
            source.data,
            (*source.dims[:-3], *"zyx"),
        ]
        for table in self._rescale:
            inputs += [da.asarray(table.data).rechunk((*scans, -1)), (*self._scans, "z")]
        if self._tumor is not None:
            inputs += [self._tumor.chunk(chunks).data, (*self._tumor.dims[:-3], *"zyx")]
        return inputs

    def _cut(self, flat: Any) -> dict[str, xr.Variable]:  # noqa: ANN401 - NumPy or Dask
        described = {v.name: v for v in SCAN_TABLES}
        dims: dict[str, tuple[str, ...]] = dict.fromkeys(("shape", "spacing"), ("axis",))
        dims |= {"affine": ("affine_row", "affine_column"), "rescale_slope": ("z",), "rescale_intercept": ("z",)}
        dims["z_mm"] = ("z",)
        sizes = dict(zip(AXES, self._extent, strict=True)) | {"axis": 3, "affine_row": 4, "affine_column": 4}
        variables, start = {}, 0
        for name in SPATIAL:
            shape = tuple(sizes[dim] for dim in dims[name])
            stop = start + int(np.prod(shape))
            values = flat[..., start:stop].reshape(*flat.shape[:-1], *shape)
            values = values.astype(np.int32) if name == "shape" else values
            variables[name] = xr.Variable((*self._scans, *dims[name]), values, described[name].all_attributes())
            start = stop
        return variables


def _tumors(mask: xr.DataArray, request: Resampling) -> xr.DataArray:
    """Return the mask by which each scan's window is placed: its own, or that of the sequence it is laid on."""
    if request.like is None or "sequence" not in mask.dims:
        return mask
    return mask.sel(sequence=request.like, drop=True).broadcast_like(mask).transpose(*mask.dims)


def _cast(block: Any, *, to: Any) -> NDArray[Any]:  # noqa: ANN401 - an array of objects, or one object; a dtype
    return np.asarray(block, dtype=object).astype(to)
