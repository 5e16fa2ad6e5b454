"""The variables that a resampling makes anew, as Dask arrays of one block a scan."""

from __future__ import annotations

import pickle
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.layers import ArrayBlockwiseDep
from numpy.typing import NDArray

from npczarr.graphs.resample_blocks import (
    FACTS,
    PLACED,
    ScanInputs,
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
from npczarr.model.schema import EXTENT, SCAN_TABLES, TEXT
from npczarr.store.zarr_library import image_codecs, table_codecs


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
        self._source = voxels = _same_chunks(voxels)
        self._request = request
        self._layout = layout
        self._extent = layout.extent_zyx
        self._lead = next(iter(voxels.values())).dims[:-3]
        scans = [dim for dim in self._lead if dim in ("patient", "sequence")]
        self._plans = plans
        self._scans = scans
        # on the scans: rescaling along z too, then status and message
        self._tables = [dataset[name].transpose(*scans, "z").values for name in ("rescale_slope", "rescale_intercept")]
        self._tables += [self._texts(name) for name in ("status", "message")]
        self._tumor = _tumors(voxels["mask"], request) if request.needs_tumor else None

        of = [voxels[name].data.name for name in voxels]
        self._token = tokenize(of, request.described(), self._extent, *self._tables, pickle.dumps(plans.tolist()))

    def _named(self, tasks: str) -> str:
        return f"{tasks}-{self._token}"

    def voxels(self, name: str) -> xr.DataArray:
        """Build the lazy array of `image` or `mask`."""
        source = self._source[name]
        # the axes of the source with other lengths, for Dask joins reading and resampling only without a contraction
        blocks = da.blockwise(
            image_block if name == "image" else mask_block,
            source.dims,
            *self._inputs(name),
            name=self._named(f"resample-{name}"),
            adjust_chunks=dict(zip(AXES, self._extent, strict=True)),
            align_arrays=False,
            dtype=np.float32 if name == "image" else np.uint8,
            meta=np.empty((0,) * source.ndim, np.float32 if name == "image" else np.uint8),
            request=self._request,
            extent=self._extent,
        )
        result = xr.DataArray(blocks, dims=source.dims, attrs=source.attrs)
        result.encoding = {
            "chunks": (*(1 for _ in source.dims[:-3]), *self._layout.chunk_zyx(name)),
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
                name=self._named("place-resampled"),
                new_axes={"W": width},
                align_arrays=False,
                concatenate=True,
                dtype=np.float64,
                meta=np.empty((0,) * (len(self._scans) + 1)),
                request=self._request,
                extent=self._extent,
            )
        else:
            flat = np.empty((*self._plans.shape, width))
            for at in np.ndindex(*self._plans.shape):
                slope, intercept = (table[at] for table in self._tables[:2])
                plan: Any = self._plans[at]
                flat[at] = table_of(plan, None, None, slope, intercept, self._request, self._extent)
        return self._planned() | self._cut(flat if isinstance(flat, np.ndarray) else flat.rechunk(-1))

    def _planned(self) -> dict[str, xr.Variable]:
        """Shape and voxel size of the new grids, which depend on no voxels."""
        described = {v.name: v for v in SCAN_TABLES}
        values = {"shape": np.zeros((*self._plans.shape, 3), np.int32), "spacing": np.empty((*self._plans.shape, 3))}
        for at in np.ndindex(*self._plans.shape):
            plan: Any = self._plans[at]
            values["shape"][at], values["spacing"][at] = plan.shape_zyx, plan.spacing_zyx_mm
        said = {"shape": {EXTENT: [int(n) for n in self._extent]}, "spacing": {}}
        return {
            n: xr.Variable((*self._scans, "axis"), v, described[n].all_attributes() | said[n])
            for n, v in values.items()
        }

    def _texts(self, name: str) -> NDArray[Any]:
        found = self._dataset.get(name)
        values = np.full(self._plans.shape, "") if found is None else found.transpose(*self._scans).values
        return np.asarray(values, dtype=object)

    def facts(self, made: dict[str, xr.DataArray]) -> dict[str, xr.Variable]:
        """Build what is known of a scan only once it is resampled, and its status and message."""
        names = tuple(made)
        source = next(iter(self._source.values()))
        inputs = self._known(source)
        for name in names:
            inputs += [made[name].data, (*made[name].dims[:-3], *(f"{name}{axis}" for axis in AXES))]
        if "mask" in names and self._request.may_cut:
            outlines = self._source["mask"]
            inputs += [outlines.data, (*outlines.dims[:-3], *"zyx")]
            inputs += self._placing(source, ("tz", "ty", "tx"))
        flat = da.blockwise(
            facts_block,
            (*self._scans, "F"),
            *inputs,
            name=self._named("describe-resampled"),
            new_axes={"F": len(FACTS)},
            align_arrays=False,
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

    def _inputs(self, name: str) -> list[Any]:
        """Give what is known of the scans, their voxels, and tumors where grids need them, as blockwise takes them."""
        source = self._source[name] if name in self._source else next(iter(self._source.values()))
        return [*self._known(source), source.data, (*source.dims[:-3], *"zyx"), *self._placing(source, tuple("zyx"))]

    def _known(self, source: xr.DataArray) -> list[Any]:
        """Give what is known of the scans of each block without their voxels: no tasks, a value of each."""
        chunks = tuple(_chunks(source)[dim] for dim in self._scans)
        if not chunks:
            return [ScanInputs(self._plans, *self._tables), None]
        ends = [np.cumsum(sizes).tolist() for sizes in chunks]
        values = np.empty([len(sizes) for sizes in chunks], dtype=object)
        for at in np.ndindex(*values.shape):
            place = tuple(slice(end[i] - sizes[i], end[i]) for i, end, sizes in zip(at, ends, chunks, strict=True))
            values[at] = ScanInputs(self._plans[place], *(table[place] for table in self._tables))
        return [_ScanValues(chunks, values, self._token), tuple(self._scans)]

    def _placing(self, source: xr.DataArray, axes: tuple[str, ...]) -> list[Any]:
        """Give the masks by which windows are placed, in the chunks of the source, as blockwise takes them."""
        if self._tumor is None:
            return []
        return [self._tumor.chunk(_chunks(source)).data, (*self._tumor.dims[:-3], *axes)]

    def _cut(self, flat: Any) -> dict[str, xr.Variable]:  # noqa: ANN401 - NumPy or Dask
        described = {v.name: v for v in SCAN_TABLES}
        dims: dict[str, tuple[str, ...]] = {
            "affine": ("affine_row", "affine_column"),
            "rescale_slope": ("z",),
            "rescale_intercept": ("z",),
        }
        dims["z_mm"] = ("z",)
        sizes = dict(zip(AXES, self._extent, strict=True)) | {"affine_row": 4, "affine_column": 4}
        variables, start = {}, 0
        for name in PLACED:
            shape = tuple(sizes[dim] for dim in dims[name])
            stop = start + int(np.prod(shape))
            values = flat[..., start:stop].reshape(*flat.shape[:-1], *shape)
            variables[name] = xr.Variable((*self._scans, *dims[name]), values, described[name].all_attributes())
            start = stop
        return variables


class _ScanValues(ArrayBlockwiseDep):
    """A value for each block of scans, which becomes part of its task."""

    def __init__(self, chunks: tuple[tuple[int, ...], ...], values: NDArray[Any], token: str) -> None:
        super().__init__(chunks)
        self.values = values
        self.token = token

    def __getitem__(self, idx: tuple[int, ...]) -> Any:  # noqa: ANN401 - ScanInputs
        return self.values[idx]

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return "npczarr-scan-values", self.chunks, self.token


def _same_chunks(voxels: dict[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """Give all voxels blocks of the same scans: those of the first."""
    wanted = _chunks(next(iter(voxels.values())))
    return {n: one.chunk({dim: wanted[dim] for dim in one.dims if dim in wanted}) for n, one in voxels.items()}


def _chunks(voxels: xr.DataArray) -> dict[Any, tuple[int, ...]]:
    """Sizes of the chunks along the axes before z, y, x."""
    return dict(zip(voxels.dims[:-3], voxels.data.chunks[:-3], strict=True))


def _tumors(mask: xr.DataArray, request: Resampling) -> xr.DataArray:
    """Return the mask by which each scan's window is placed: its own, or that of the sequence it is laid on."""
    if request.like is None or "sequence" not in mask.dims:
        return mask
    return mask.sel(sequence=request.like, drop=True).broadcast_like(mask).transpose(*mask.dims)


def _cast(block: Any, *, to: Any) -> NDArray[Any]:  # noqa: ANN401 - an array of objects, or one object; a dtype
    return np.asarray(block, dtype=object).astype(to)
