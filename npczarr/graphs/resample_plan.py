"""Which grid each scan of a cohort takes when it is resampled; decided from the tables, before a voxel is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
import xxhash
from numpy.typing import NDArray

from npczarr.errors import NpczarrError, ParameterError, unknown_label
from npczarr.graphs.changed_datasets import check_whole
from npczarr.model.geometry import AXES, Floats, Grid, Shape
from npczarr.model.resampling import Resampling
from npczarr.model.schema import RESAMPLING, SCAN, SCHEMA_ATTRIBUTE, STATUSES, STORED
from npczarr.store.describe import json_schema


@dataclass(frozen=True, slots=True, eq=False)
class ScanPlan:
    """What is to be done with one scan.

    Parameters
    ----------
    own, reference
        Its grid, and that of the sequence on whose grid it is laid.
    target
        The grid it takes; where that depends on the tumor, of the same shape and spacing, but in another place.
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
    target: Grid | None = None
    known_zyx: tuple[bool, bool, bool] = (True, True, True)
    has_image: bool = True
    has_mask: bool = True
    problem: str = ""
    remark: str = ""

    @property
    def shape_zyx(self) -> Shape:
        """Shape of the grid it takes."""
        return (0, 0, 0) if self.target is None else self.target.shape_zyx

    @property
    def spacing_zyx_mm(self) -> Floats:
        """(3,) voxel size of the grid it takes, NaN where it is not known."""
        return np.where(self.known_zyx, np.nan if self.target is None else self.target.spacing_zyx_mm, np.nan)


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
    like = _place_of(request.like, [str(label) for label in np.atleast_1d(whole["sequence"].values)])
    tables = {name: whole[name].values for name in _TABLES if name in whole}
    check_whole(tables["shape"], dataset.sizes)
    plans = np.empty((whole.sizes["patient"], whole.sizes["sequence"]), dtype=object)
    for p, s in np.ndindex(*plans.shape):
        reference = None if like is None else {name: values[p, like] for name, values in tables.items()}
        plans[p, s] = _plan_scan({name: values[p, s] for name, values in tables.items()}, reference, request)
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


#: Tables by which scans are planned, and the entries of one scan in them.
_TABLES = ("shape", "spacing", "affine", "status", "mask_status", "mask_voxels", "image_digest", "frame_digest")
_Entries = Mapping[str, Any]


def _place_of(like: str | None, sequences: Sequence[str]) -> int | None:
    """Return the place of the sequence on whose grid the others are laid; None where none is asked for."""
    if like is None:
        return None
    if like not in sequences:
        raise unknown_label("sequence", like, sequences, where="the Dataset to resample like")
    if sequences.count(like) > 1:
        raise ParameterError(f"like={like!r}: the Dataset has this sequence more than once; select it once")
    return sequences.index(like)


def _plan_scan(scan: _Entries, reference: _Entries | None, request: Resampling) -> ScanPlan:
    own = _grid_of(scan)
    if own is None:
        return ScanPlan(None, problem=_why_absent(scan))
    known = _known(scan)
    base = None
    if reference is not None:
        base = _grid_of(reference)
        if base is None:
            return ScanPlan(None, problem=f"there is no {request.like} to lay it on: {reference['status']}")
        known = tuple(a and b for a, b in zip(known, _known(reference), strict=True))
    if axis := _unknown_axis(known, request):
        return ScanPlan(None, problem=f"its voxel size along {axis} is not known, so it cannot be resampled")
    try:
        grid = request.grid(own, base)
    except NpczarrError as error:
        return ScanPlan(None, problem=str(error))
    has_mask = "mask_status" not in scan or str(scan["mask_status"]) in STORED
    has_image = "image_digest" not in scan or bool(str(scan["image_digest"]))
    z, y, x = known
    return ScanPlan(
        own, base, grid, (z, y, x), has_image, has_mask, remark="; ".join(_remarks(scan, reference, request))
    )


def _why_absent(scan: _Entries) -> str:
    where = "in the store that is resampled"
    return f"pending {where}: {STATUSES['pending']}" if _is_pending(scan) else f"not {where}"


def _is_pending(scan: _Entries) -> bool:
    return str(scan.get("status", "")) == "pending"


def _unknown_axis(known: Sequence[bool], request: Resampling) -> str:
    """Return the first axis along which the voxel size is needed and not known; "" where there is none."""
    anyhow = request.like is not None or request.window is not None
    parts = request.spacing or (None,) * 3
    needs = zip(AXES, known, parts, strict=True)
    return next((axis for axis, is_known, part in needs if not is_known and (anyhow or part is not None)), "")


def _remarks(scan: _Entries, reference: _Entries | None, request: Resampling) -> list[str]:
    """Say what a scan that is resampled lacks."""
    placed = scan if reference is None else reference
    tumor = "mask_voxels" not in placed or int(placed["mask_voxels"]) > 0
    remarks = [] if tumor or not request.needs_tumor else ["no tumor: the window is about the middle of the volume"]
    if reference is not None and _other_frame(scan, reference):
        remarks.append(
            f"laid on the grid of {request.like}, which has another frame of reference: they may not be aligned"
        )
    return remarks


def _grid_of(scan: _Entries) -> Grid | None:
    if _is_pending(scan):
        return None
    z, y, x = (int(n) for n in scan["shape"])
    return Grid((z, y, x), scan["affine"]) if min(z, y, x) > 0 else None


def _other_frame(scan: _Entries, reference: _Entries) -> bool:
    """Whether two scans name different frames of reference."""
    if "frame_digest" not in scan:
        return False
    own, other = str(scan["frame_digest"]), str(reference["frame_digest"])
    return bool(own and other and own != other)


def _known(scan: _Entries) -> tuple[bool, ...]:
    return tuple(bool(known) for known in np.isfinite(scan["spacing"]))
