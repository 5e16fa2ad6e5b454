"""Which grid each scan of a cohort takes when it is resampled; decided from the tables, before a voxel is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
import xxhash
from numpy.typing import NDArray

from npczarr.errors import NpczarrError, ParameterError, unknown_label
from npczarr.model.geometry import AXES, Grid, Shape
from npczarr.model.resampling import Resampling
from npczarr.model.schema import RESAMPLING, SCAN, SCHEMA_ATTRIBUTE, STORED
from npczarr.store.describe import json_schema


@dataclass(frozen=True, slots=True, eq=False)
class ScanPlan:
    """What is to be done with one scan.

    Parameters
    ----------
    own, reference
        Its grid, and that of the sequence on whose grid it is laid.
    shape_zyx
        Shape of the grid it takes; where that depends on the tumor, its place does, but not its shape.
    known_zyx
        Along which axes the voxel size is known.
    has_image, has_mask
        What there is of it.
    problem
        Why it cannot be resampled; then nothing else counts.
    remark
        What must be known of the result.
    """

    own: Grid | None
    reference: Grid | None = None
    shape_zyx: Shape = (0, 0, 0)
    known_zyx: tuple[bool, bool, bool] = (True, True, True)
    has_image: bool = True
    has_mask: bool = True
    problem: str = ""
    remark: str = ""


def plan_cohort(dataset: xr.Dataset, request: Resampling) -> NDArray[Any]:
    """Return the plan of every scan, (patient, sequence) with either dropped where the Dataset has it dropped.

    Raises
    ------
    ParameterError
        If the Dataset lacks what a cohort store has, or the sequence to lay the others on.
    """
    for name in (*SCAN, "shape", "spacing", "affine", "status"):
        if name not in dataset.variables:
            raise ParameterError(f"the Dataset has no {name!r}; open it with npczarr.open or xr.open_zarr from a store")
    whole = dataset[[name for name in _TABLES if name in dataset.variables]].reset_coords()
    whole = whole.set_coords([dim for dim in SCAN if dim not in whole.dims])
    whole = whole.expand_dims([dim for dim in SCAN if dim not in whole.dims]).transpose(*SCAN, ...).load()
    sequences = [str(label) for label in np.atleast_1d(whole["sequence"].values)]
    if request.like is not None and request.like not in sequences:
        raise unknown_label("sequence", request.like, sequences, where="the Dataset to resample like")
    like = None if request.like is None else sequences.index(request.like)
    plans = np.empty((whole.sizes["patient"], whole.sizes["sequence"]), dtype=object)
    for p, s in np.ndindex(*plans.shape):
        reference = None if like is None else whole.isel(patient=p, sequence=like)
        plans[p, s] = _plan_scan(whole.isel(patient=p, sequence=s), reference, request)
    # np.asarray: one scan alone is an array of no dimension
    return np.asarray(plans[tuple(slice(None) if dim in dataset.dims else 0 for dim in SCAN)], dtype=object)


def plan_digest(entries: Mapping[str, Any], plan: ScanPlan, request: Resampling, of_like: Any = None) -> str:  # noqa: ANN401
    """Digest of all that a resampled scan is made from.

    Parameters
    ----------
    entries
        Entries of the scan's row: digests, statuses, message and rescaling.
    of_like
        Digest of the mask of the sequence on whose grid it is laid.
    """
    voxels = [str(entries[n]) for n in ("image_digest", "mask_digest", "status", "message", "mask_status")]
    voxels += [] if of_like is None else [str(of_like)]
    grids = [g.affine.tolist() + list(g.shape_zyx) for g in (plan.own, plan.reference) if g is not None]
    depth = 0 if plan.own is None else plan.own.shape_zyx[0]
    rescale = [np.asarray(entries[n])[:depth].tobytes() for n in ("rescale_slope", "rescale_intercept")]
    return str(xxhash.xxh3_128_hexdigest(repr((voxels, grids, rescale, request.described())).encode()))


def resampled_attributes(
    attributes: Mapping[str, Any], request: Resampling, *, rated: bool, dtype: str = "float32"
) -> dict[str, Any]:
    """Attributes of a resampled cohort: those of its source, and what was asked for."""
    kept = {key: value for key, value in attributes.items() if key not in (SCHEMA_ATTRIBUTE, "coordinates", "history")}
    schema = json.dumps(json_schema(dtype, rated=rated), separators=(",", ":"))
    return {**kept, "json_schema": schema, RESAMPLING: json.dumps(request.described())}


_TABLES = ("shape", "spacing", "affine", "status", "mask_status", "mask_voxels", "image_digest", "frame_digest")


def _plan_scan(scan: xr.Dataset, reference: xr.Dataset | None, request: Resampling) -> ScanPlan:
    own = _grid_of(scan)
    if own is None:
        return ScanPlan(None, problem="not in the store that is resampled")
    known = _known(scan)
    base = None
    if reference is not None:
        base = _grid_of(reference)
        if base is None:
            return ScanPlan(None, problem=f"there is no {request.like} to lay it on: {reference['status'].item()}")
        known = tuple(a and b for a, b in zip(known, _known(reference), strict=True))
    needs = [
        part is not None or request.like is not None or request.window is not None
        for part in (request.spacing or (None,) * 3)
    ]
    for axis, is_known, needed in zip(AXES, known, needs, strict=True):
        if needed and not is_known:
            return ScanPlan(None, problem=f"its voxel size along {axis} is not known, so it cannot be resampled")
    try:
        shape = request.grid(own, base).shape_zyx
    except NpczarrError as error:
        return ScanPlan(None, problem=str(error))
    has_mask = "mask_status" not in scan or scan["mask_status"].item() in STORED
    placed = scan if reference is None else reference
    tumor = "mask_voxels" not in placed or int(placed["mask_voxels"]) > 0
    remarks = [] if tumor or not request.needs_tumor else ["no tumor: the window is about the middle of the volume"]
    if reference is not None and _other_frame(scan, reference):
        remarks.append(
            f"laid on the grid of {request.like}, which has another frame of reference: they may not be aligned"
        )
    has_image = "image_digest" not in scan or bool(scan["image_digest"].item())
    z, y, x = known
    return ScanPlan(own, base, shape, (z, y, x), has_image, has_mask, remark="; ".join(remarks))


def _grid_of(scan: xr.Dataset) -> Grid | None:
    z, y, x = (int(n) for n in scan["shape"].values)
    return Grid((z, y, x), scan["affine"].values) if min(z, y, x) > 0 else None


def _other_frame(scan: xr.Dataset, reference: xr.Dataset) -> bool:
    """Whether two scans name different frames of reference."""
    if "frame_digest" not in scan:
        return False
    own, other = str(scan["frame_digest"].item()), str(reference["frame_digest"].item())
    return bool(own and other and own != other)


def _known(scan: xr.Dataset) -> tuple[bool, ...]:
    return tuple(bool(known) for known in np.isfinite(scan["spacing"].values))
