"""What the metadata of a store say, held against the schema and against what readers see of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import zarr

from npczarr.model.derived import command_of, is_derived
from npczarr.model.records import PADDING
from npczarr.model.schema import INDEXES, RATER, SCAN_TABLES, Variable, voxel_variables
from npczarr.store.hierarchy import arrays_of, dims_of, dtype_of, labels, members_below
from npczarr.store.location import get

#: Attributes by which xarray changes values as it reads them; npczarr writes none of them.
DECODED = (
    "scale_factor",
    "add_offset",
    "missing_value",
    "valid_range",
    "valid_min",
    "valid_max",
    "_Unsigned",
    "dtype",
)


def schema_problems(root: zarr.Group) -> Iterator[str]:
    """Hold arrays, dimensions, types and units against the schema."""
    there = dict(arrays_of(root))
    image = there.get("image")
    image_dtype = image.dtype.name if image is not None and image.dtype.name in PADDING else "int16"
    rated = "rater" in there
    sizes: dict[str, int] = {}
    found_any = False
    for variable in (*voxel_variables(image_dtype, rated=rated), *INDEXES, *((RATER,) if rated else ()), *SCAN_TABLES):
        for problem in _variable_problems(variable, there.get(variable.name), sizes):
            found_any = True
            yield problem
    if not found_any:
        yield from (
            f"the labels of {dim} are not {sizes.get(dim)} different names"
            for dim in ("patient", "sequence")
            if dim in there and len(set(labels(root, dim))) != sizes.get(dim)
        )


def _variable_problems(variable: Variable, found: Any, sizes: dict[str, int]) -> Iterator[str]:  # noqa: ANN401
    name = variable.name
    if found is None:
        yield f"no array {name!r}"
        return
    dtype = dtype_of(found)
    if (dtype, dims_of(found)) != (variable.dtype, variable.dims):
        yield f"{name}: {dtype} on {dims_of(found)}, expected {variable.dtype} on {variable.dims}"
        return
    attributes = found.attrs.asdict()
    decoded = [key for key in DECODED if key in attributes]
    if decoded:
        yield f"{name}: its attribute {decoded[0]} changes its values as they are read; remove it"
    if attributes.get("units") != variable.units:
        yield f"{name}: units {attributes.get('units')!r}, expected {variable.units!r}"
    for dim, n in zip(variable.dims, found.shape, strict=True):
        if sizes.setdefault(dim, n) != n:
            yield f"{name}: {n} along {dim}, other arrays {sizes[dim]}; convert again to resume"


def consolidated_problems(root: zarr.Group) -> Iterator[str]:
    """Hold the copy of all metadata in the root, which is what most readers see, against the metadata of each array."""
    described = json.loads(get(root.store, "zarr.json") or b"{}").get("consolidated_metadata")
    if described is None:
        return
    listed: Mapping[str, Any] = described["metadata"]
    there = [path for path, _ in members_below(root)]
    for path in sorted({*there, *listed}):
        own = get(root.store, f"{path}/zarr.json")
        mend = f"run `{command_of(path)}` again" if is_derived(path) else "validate with --repair"
        if own is None:
            yield f"{path}: listed in the consolidated metadata, but there is none; {mend}"
        elif path not in listed:
            yield f"{path}: absent from the consolidated metadata, so most readers miss it; {mend}"
        elif _plain(json.loads(own)) != _plain(listed[path]):
            yield f"{path}: the consolidated metadata, which most readers see, differ from its own; {mend}"


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is empty, which programs may write or not."""
    kept = {key: value for key, value in metadata.items() if key != "consolidated_metadata"}
    return {key: value for key, value in kept.items() if value not in (None, [], {})}
