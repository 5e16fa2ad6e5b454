"""A cohort on other voxel grids, as a lazy Dataset with the store's own variables."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.graphs.map_scans import whole_scans
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
from npczarr.graphs.resample_plan import plan_cohort, plan_digest, resampled_attributes
from npczarr.model.geometry import AXES
from npczarr.model.layout import Layout, plan_layout
from npczarr.model.per_axis import PerAxis
from npczarr.model.resampling import Center, MaskMethod, Method, Normalization, Resampling, make_resampling
from npczarr.model.schema import SCAN_TABLES, STORED
from npczarr.store.zarr_library import image_codecs, table_codecs

TEXT = np.dtypes.StringDType()


def resample(
    dataset: xr.Dataset,
    *,
    spacing: PerAxis[float] | None = None,
    shape: PerAxis[int] | None = None,
    like: str | None = None,
    window: PerAxis[float] | None = None,
    center: Center = "tumor",
    bounds: PerAxis[tuple[float, float]] | None = None,
    method: Method = "linear",
    mask_method: MaskMethod = "linear",
    normalize: Normalization | None = None,
) -> xr.Dataset:
    """Resample every scan, image and mask; lazy.

    Grids keep their axes and their middle, as ITK compares them; ``like`` takes the grid of another sequence, in
    scanner coordinates. Asked for together, spacing and shape are applied first, then window or bounds.
    `spacing`, `shape` and `window` are one number for all axes, three along z, y, x, or a mapping such as
    ``{"y": 1, "x": 1}``.

    Parameters
    ----------
    dataset
        A cohort opened from a store, or any selection of it.
    spacing
        Voxel size in mm; None, or an axis left out, keeps it. The field of view is kept, rounded up to whole voxels.
    shape
        Voxels; None, or an axis left out, keeps it. With a spacing too, the field of view follows.
    like
        Sequence on whose grid the patient's others are laid.
    window
        Size in mm, along all axes, of a box to cut out, of the same shape for scans of the same spacing.
    center
        Middle of the box: ``"tumor"`` (of its bounding box; the volume's where there is none) or ``"volume"``.
    bounds
        First and last position along z, y, x in mm, in the coordinates `z_mm`, `y_mm`, `x_mm`; None keeps an axis.
    method
        Of images: ``"linear"``, ``"cubic"`` (B-spline), ``"nearest"`` or ``"area"`` (average, against aliasing).
    mask_method
        Of masks: ``"linear"`` (tumor where 0.5 or more) or ``"nearest"``.
    normalize
        ``"zscore"`` (mean 0, standard deviation 1 over the scan) or ``"percentile"`` (its 1st to 0, its 99th to 1).
        `rescale_slope` and `rescale_intercept` lead back to real values.

    Returns
    -------
    xarray.Dataset
        The store's variables on the new grids: `image` float32, NaN outside the scan; `mask` uint8. What depends on
        voxels not read yet (digests, tumor voxels) is lazy. A scan that cannot be resampled has `status`
        ``"refused"`` and the reason in `message`. Written with ``to_zarr``, it is a store like any other.

    Raises
    ------
    ParameterError
        If an argument is wrong, or the Dataset lacks what a cohort store has.
    """
    request = make_resampling(
        spacing=spacing, shape=shape, like=like, window=window, center=center, bounds=bounds, method=method,
        mask_method=mask_method, normalize=normalize,
    )  # fmt: skip
    if "image" not in dataset and "mask" not in dataset:
        raise ParameterError("the Dataset has no image and no mask; open it with npczarr.open or xr.open_zarr")
    if request.needs_tumor and ("mask" not in dataset or "rater" in dataset["mask"].dims):
        raise ParameterError("a window around the tumor needs one mask a scan: select a rater, or take center='volume'")
    plans = plan_cohort(dataset, request)
    layout = layout_of(plans)
    voxels = {name: whole_scans(dataset[name].transpose(..., *AXES)) for name in ("image", "mask") if name in dataset}
    spatial = _Spatial(dataset, plans, voxels, request, layout)
    made = {name: spatial.voxels(name) for name in voxels}
    kept = dataset.drop_vars([n for n in (*voxels, *SPATIAL, *AXES) if n in dataset.variables])
    result = kept.assign(made).assign_coords(spatial.tables())
    result = result.assign(spatial.facts(made)).assign(_digests(dataset, plans, request))
    result = result.reset_coords([name for name in ("rescale_slope", "rescale_intercept") if name in result.coords])
    result = result.assign_attrs(resampled_attributes(dataset.attrs, request, rated="rater" in dataset.dims))
    # results beside the source are of its scans, not of these
    result.encoding = {key: value for key, value in dataset.encoding.items() if key != "source"}
    return result


def layout_of(plans: NDArray[Any], codec: str = "lz4") -> Layout:
    """Lay out a resampled cohort.

    Raises
    ------
    ParameterError
        If no scan can be resampled.
    """
    plans = np.asarray(plans, dtype=object)
    shapes = [plan.shape_zyx for plan in plans.ravel() if not plan.problem]
    if not shapes:
        first = plans.ravel()[0].problem if plans.size else "there is none"
        raise ParameterError(f"no scan of the Dataset can be resampled; the first: {first}")
    return plan_layout(shapes, dtype="float32", codec=codec)


class _Spatial:
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
        if not self._request.may_cut:  # then all but the voxels themselves is known now
            variables |= _statuses(self._dataset, self._plans.values)
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


def _statuses(dataset: xr.Dataset, plans: NDArray[Any]) -> dict[str, xr.Variable]:
    """Say which scans are refused now, and what must be known of the others."""
    names = [name for name in ("status", "mask_status", "message") if name in dataset.variables]
    found = {name: dataset[name].variable.load() for name in names}
    values = {name: variable.values.astype(object) for name, variable in found.items()}
    for at in np.ndindex(*plans.shape):
        plan: Any = plans[at]
        if plan.problem and values["status"][at] in STORED:
            values["message"][at] = plan.problem
        elif plan.remark:
            values["status"][at] = "warning"
            values["message"][at] = "; ".join(part for part in (plan.remark, str(values["message"][at])) if part)
        for name in names[:-1]:
            if plan.problem and values[name][at] in STORED:
                values[name][at] = "refused"
    return {n: xr.Variable(v.dims, np.asarray(values[n], dtype=TEXT), v.attrs) for n, v in found.items()}


def _digests(dataset: xr.Dataset, plans: NDArray[Any], request: Resampling) -> dict[str, xr.Variable]:
    """Digest of all that each scan is made from, as a store of the result keeps it."""
    if "source_digest" not in dataset:
        return {}
    found = dataset["source_digest"].variable
    sequences = [str(label) for label in np.atleast_1d(dataset["sequence"].values)]
    like = None if request.like is None else sequences.index(request.like)
    names = ("image_digest", "mask_digest", "status", "message", "mask_status", "rescale_slope", "rescale_intercept")
    tables = {name: dataset[name].transpose(*found.dims, ...).values for name in names}
    values = np.empty(plans.shape, dtype=object)
    for at in np.ndindex(*plans.shape):
        of_like = None if like is None or "sequence" not in found.dims else tables["mask_digest"][(*at[:-1], like)]
        plan: Any = plans[at]
        values[at] = plan_digest({name: table[at] for name, table in tables.items()}, plan, request, of_like)
    return {"source_digest": xr.Variable(found.dims, np.asarray(values, dtype=TEXT), found.attrs)}
