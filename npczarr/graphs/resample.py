"""A cohort on other voxel grids, as a lazy Dataset with the store's own variables."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.graphs.changed_datasets import check_dims, check_voxels, whole_texts
from npczarr.graphs.map_scans import in_order, whole_scans
from npczarr.graphs.resample_blocks import SPATIAL
from npczarr.graphs.resample_graph import ResampledVariables
from npczarr.graphs.resample_plan import plan_cohort, plan_digest, resampled_attributes
from npczarr.model.geometry import AXES
from npczarr.model.layout import Layout, plan_layout
from npczarr.model.per_axis import PerAxis
from npczarr.model.resampling import Center, MaskMethod, Method, Normalization, Resampling, make_resampling
from npczarr.model.schema import RESAMPLING, ROW_DIGEST, STORED, TEXT


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
        Positions rise with the voxels: of slices that go to the feet, z is the negative of the patient's.
    method
        How images are resampled: ``"linear"``, ``"cubic"`` (B-spline), ``"nearest"`` or ``"area"`` (average, against
        aliasing).
    mask_method
        How masks are resampled: ``"linear"`` (tumor where 0.5 or more) or ``"nearest"``.
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
    check_voxels(dataset, *(name for name in ("image", "mask") if name in dataset))
    if "image" not in dataset and "mask" not in dataset:
        raise ParameterError("the Dataset has no image and no mask; open it with npczarr.open or xr.open_zarr")
    if request.needs_tumor and ("mask" not in dataset or "rater" in dataset["mask"].dims):
        raise ParameterError("a window around the tumor needs one mask a scan: select a rater, or take center='volume'")
    check_dims(dataset)
    for name in ("rescale_slope", "rescale_intercept"):
        if name not in dataset.variables:
            raise ParameterError(f"the Dataset has no {name!r}; open it with npczarr.open or xr.open_zarr from a store")
    dataset = whole_texts(in_order(dataset))
    plans = plan_cohort(dataset, request)
    layout = layout_of(plans)
    voxels = {name: whole_scans(dataset[name]) for name in ("image", "mask") if name in dataset}
    spatial = ResampledVariables(dataset, plans, voxels, request, layout)
    made = {name: spatial.voxels(name) for name in voxels}
    kept = dataset.drop_vars([n for n in (*voxels, *SPATIAL, *AXES) if n in dataset.variables])
    result = kept.assign(made).assign_coords(spatial.tables())
    statuses = _statuses(dataset, plans)
    # status and message say what a grid leaves out of the tumor, and whether it leaves any known voxel
    if request.may_cut or RESAMPLING in dataset.attrs:
        statuses = {name: one for name, one in statuses.items() if name == "mask_status"}
    result = result.assign(spatial.facts(made) | statuses).assign(_digests(dataset, plans, request))
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


def _statuses(dataset: xr.Dataset, plans: NDArray[Any]) -> dict[str, xr.Variable]:
    """Say which scans are refused now, and what must be known of the others."""
    names = [name for name in ("status", "mask_status", "message") if name in dataset.variables]
    found = {name: dataset[name].variable.load() for name in names}
    values = {name: variable.values.astype(object) for name, variable in found.items()}
    said = values.get("message", np.full(plans.shape, "", dtype=object))
    for at in np.ndindex(*plans.shape):
        plan: Any = plans[at]
        if plan.problem and values["status"][at] in STORED:
            said[at] = plan.problem
        elif plan.remark:
            values["status"][at] = "warning"
            said[at] = "; ".join(part for part in (plan.remark, str(said[at])) if part)
        for name in ("status", "mask_status"):
            if plan.problem and name in found and values[name][at] in STORED:
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
    known = all(name in dataset for name in names)
    tables = {name: dataset[name].transpose(*found.dims, ...).values for name in names if known}
    values = np.full(plans.shape, "", dtype=object)
    for at in np.ndindex(*plans.shape) if known else ():
        of_like = None if like is None or "sequence" not in found.dims else tables["mask_digest"][(*at[:-1], like)]
        plan: Any = plans[at]
        values[at] = plan_digest({name: table[at] for name, table in tables.items()}, plan, request, of_like)
    digests = {"source_digest": xr.Variable(found.dims, np.asarray(values, dtype=TEXT), found.attrs)}
    if ROW_DIGEST in dataset:  # that of the source is of other values; whoever writes this Dataset seals nothing
        digests[ROW_DIGEST] = xr.Variable(found.dims, np.full(found.shape, "", TEXT), dataset[ROW_DIGEST].attrs)
    return digests
