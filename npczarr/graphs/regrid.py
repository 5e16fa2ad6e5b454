"""Which grid each scan of a cohort takes when it is resampled; decided from the tables, before a voxel is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import NpczarrError, ParameterError
from npczarr.model.geometry import AXES, Grid, Shape
from npczarr.model.resampling import Resampling
from npczarr.model.schema import SCAN, STORED


@dataclass(frozen=True, slots=True, eq=False)
class ScanPlan:
    """What is to be done with one scan.

    Parameters
    ----------
    own, reference
        Its grid, and that of the sequence on whose grid it is laid.
    shape_zyx
        Of the grid it takes; where that depends on the tumour, its place does, but not its shape.
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
        raise ParameterError(f"no sequence {request.like!r} to resample like; the Dataset has {', '.join(sequences)}")
    like = None if request.like is None else sequences.index(request.like)
    plans = np.empty((whole.sizes["patient"], whole.sizes["sequence"]), dtype=object)
    for p, s in np.ndindex(*plans.shape):
        reference = None if like is None else whole.isel(patient=p, sequence=like)
        plans[p, s] = _plan_scan(whole.isel(patient=p, sequence=s), reference, request)
    # np.asarray: one scan alone is an array of no dimension
    return np.asarray(plans[tuple(slice(None) if dim in dataset.dims else 0 for dim in SCAN)], dtype=object)


def extent_of(plans: NDArray[Any]) -> Shape:
    """Return the size along z, y, x that holds every scan.

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
    z, y, x = (max(shape[axis] for shape in shapes) for axis in range(3))
    return z, y, x


_TABLES = ("shape", "spacing", "affine", "status", "mask_status", "mask_voxels", "image_digest")


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
    tumour = "mask_voxels" not in placed or int(placed["mask_voxels"]) > 0
    remark = "" if tumour or not request.needs_tumour else "no tumour: the window is about the middle of the volume"
    has_image = "image_digest" not in scan or bool(scan["image_digest"].item())
    z, y, x = known
    return ScanPlan(own, base, shape, (z, y, x), has_image, has_mask, remark=remark)


def _grid_of(scan: xr.Dataset) -> Grid | None:
    z, y, x = (int(n) for n in scan["shape"].values)
    return Grid((z, y, x), scan["affine"].values) if min(z, y, x) > 0 else None


def _known(scan: xr.Dataset) -> tuple[bool, ...]:
    return tuple(bool(known) for known in np.isfinite(scan["spacing"].values))
