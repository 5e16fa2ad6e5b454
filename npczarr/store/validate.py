"""Whether a store is what it says: its schema, and each scan's voxels, mask and coordinates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from npczarr.errors import GeometryError
from npczarr.model.geometry import AXES, Grid
from npczarr.model.records import PADDING
from npczarr.model.schema import INDEXES, RATER, SCAN_TABLES, STATUSES, STORED, voxel_variables
from npczarr.store.access import Location
from npczarr.store.create import arrays_of, dims_of, labels
from npczarr.store.shards import digest, is_padding
from npczarr.store.voxels import read_place

Values = Mapping[str, Any]
#: Entries of the catalogue that :func:`check_scan` holds against the voxels.
CLAIMS = (
    "status", "mask_status", "shape", "spacing", "affine", "z_mm", "y_mm", "x_mm", "image_digest", "mask_digest",
    "mask_voxels",
)  # fmt: skip
_LARGEST_TABLE = 4 * 10**9  # bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a store; of the whole of it where patient and sequence are empty."""

    patient: str
    sequence: str
    problem: str


def check_schema_of(root: zarr.Group) -> list[Finding]:
    """Hold arrays, dimensions and types against the schema."""
    problems: list[str] = []
    there = dict(arrays_of(root))
    image = there.get("image")
    image_dtype = image.dtype.name if image is not None and image.dtype.name in PADDING else "int16"
    sizes: dict[str, int] = {}
    rated = "rater" in there
    voxels = voxel_variables(image_dtype, rated=rated)
    for variable in (*voxels, *INDEXES, *((RATER,) if rated else ()), *SCAN_TABLES):
        found = there.get(variable.name)
        if found is None:
            problems.append(f"no array {variable.name!r}")
            continue
        dtype = "string" if found.dtype.kind == "T" else found.dtype.name
        if (dtype, dims_of(found)) != (variable.dtype, variable.dims):
            problems.append(
                f"{variable.name}: {dtype} on {dims_of(found)}, expected {variable.dtype} on {variable.dims}"
            )
            continue
        for dim, n in zip(variable.dims, found.shape, strict=True):
            if sizes.setdefault(dim, n) != n:
                problems.append(f"{variable.name}: {n} along {dim}, other arrays {sizes[dim]}; convert again to resume")
    if problems:
        return [Finding("", "", problem) for problem in problems]
    problems += [
        f"the labels of {dim} are not {sizes.get(dim)} different names"
        for dim in ("patient", "sequence")
        if dim in there and len(set(labels(root, dim))) != sizes.get(dim)
    ]
    return [Finding("", "", problem) for problem in problems]


def check_tables(root: zarr.Group) -> list[Finding]:
    """Read every array that is not voxels, whether anything else asks for it or not."""
    problems = []
    for name, table in arrays_of(root):
        if name in ("image", "mask"):
            continue
        if table.nbytes > _LARGEST_TABLE:
            problems.append(f"{name}: {table.shape} values, too many for a table of scans; convert into a new store")
            continue
        try:
            table[...]
        except Exception as error:  # codecs name damage in a dozen ways
            problems.append(f"{name}: cannot be read ({type(error).__name__}); convert into a new store")
    return [Finding("", "", problem) for problem in problems]


def check_scan(root: zarr.Group, location: Location, place: tuple[int, int], claims: Values) -> Iterator[str]:
    """Read a scan back and yield whatever contradicts the catalogue.

    Parameters
    ----------
    root, location
        The store, and where it lies.
    place
        Index of patient and sequence.
    claims
        What the catalogue says, by name as in :data:`CLAIMS`.
    """
    status = str(claims["status"])
    if status not in STATUSES:
        yield f"unknown status {status!r}"
        return
    if status == "pending":
        yield "not complete: an interrupted run left it; convert again"
        return
    try:
        image, mask = (read_place(root, location, name, place) for name in ("image", "mask"))
    except Exception as error:
        reason = "a checksum does not match" if "checksum" in str(error) else f"{type(error).__name__}: {error}"
        yield f"voxels cannot be read, {reason}; write the scan again (convert --rewrite)"
        return
    padding = PADDING[image.dtype.name]
    z, y, x = (int(n) for n in claims["shape"])
    if status in ("refused", "missing"):
        if not is_padding(image, padding).all() or mask.any():
            yield f"{status}, but there are voxels"
        return
    if min(z, y, x) < 1 or (z, y, x) > image.shape:
        yield f"shape {(z, y, x)} does not fit the arrays, {image.shape}"
        return
    yield from _check_voxels(image, mask, (slice(z), slice(y), slice(x)), padding, claims)
    yield from _check_geometry((z, y, x), claims)


def _check_voxels(
    image: NDArray[Any], mask: NDArray[Any], window: tuple[slice, ...], padding: float, claims: Values
) -> Iterator[str]:
    scan, outline = image[window], mask[..., window[0], window[1], window[2]]
    if not claims["image_digest"]:
        if not is_padding(image, padding).all():
            yield "voxels of an image that the catalogue does not know"
    elif not _padded(image, window, padding):
        yield "padding inside the scan, or voxels outside it"
    elif digest(scan) != claims["image_digest"]:
        yield "voxels of the image do not match their digest"
    if np.count_nonzero(mask) != np.count_nonzero(outline):
        yield "tumour outside the scan"
    if outline.max() > 1:
        yield f"mask holds {outline.max()}, expected 0 and 1"
    has_mask = claims["mask_status"] in STORED
    if has_mask and digest(outline) != claims["mask_digest"]:
        yield "voxels of the mask do not match their digest"
    if np.count_nonzero(outline) != claims["mask_voxels"]:
        yield f"{np.count_nonzero(outline)} voxels of tumour, the catalogue says {claims['mask_voxels']}"


def _padded(image: NDArray[Any], window: tuple[slice, ...], padding: float) -> bool:
    """Whether there is padding outside the scan, and none inside; a resampled scan has NaN where the source ended."""
    everywhere = np.count_nonzero(~is_padding(image, padding))
    inside = ~is_padding(image[window], padding)
    return bool(everywhere == np.count_nonzero(inside) and (inside.all() or np.isnan(padding)))


def _check_geometry(shape_zyx: tuple[int, int, int], claims: Values) -> Iterator[str]:
    try:
        grid = Grid(shape_zyx, claims["affine"])
    except GeometryError as error:
        yield str(error)
        return
    spacing = np.asarray(claims["spacing"], dtype=np.float64)
    known = np.isfinite(spacing)
    if not np.allclose(spacing[known], grid.spacing_zyx_mm[known], rtol=1e-9, atol=0):
        yield f"spacing {spacing.tolist()} mm contradicts the affine, {grid.spacing_zyx_mm.tolist()} mm"
    for axis, n, expected in zip(AXES, shape_zyx, grid.axis_positions_mm(), strict=True):
        found = np.asarray(claims[f"{axis}_mm"], dtype=np.float64)
        if not np.allclose(found[:n], expected, rtol=0, atol=1e-6) or np.isfinite(found[n:]).any():
            yield f"{axis}_mm contradicts the affine"
