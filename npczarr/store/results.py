"""Results beside what they measure: sub-groups on the store's own patients and sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
import xxhash
import zarr
from numpy.typing import NDArray

from npczarr.errors import StoreError
from npczarr.model.schema import Variable
from npczarr.store.create import add_table
from npczarr.store.hierarchy import arrays_of, dims_of
from npczarr.store.location import delete_below
from npczarr.store.zarr_library import consolidate

#: Groups that hold results: numbers of scans as they were when they were measured.
RESULTS = ("morphology", "agreement", "score")
INPUT_DIGEST = "input_digest"
#: Tables on which they depend.
INPUTS = ("mask_digest", "shape", "spacing")


def read_result(root: zarr.Group, path: str) -> xr.Dataset | None:
    """Read a stored result, or None where there is none."""
    group = root.get(path)
    if group is None:
        return None
    if not isinstance(group, zarr.Group):
        raise StoreError(f"{path} is an array of the store, not a result; choose another name")
    variables = {name: (dims_of(found), found[...], found.attrs.asdict()) for name, found in arrays_of(group)}
    return xr.Dataset(variables, attrs=group.attrs.asdict())


def write_result(root: zarr.Group, path: str, result: xr.Dataset, attributes: Mapping[str, Any]) -> None:
    """Write a result as a group, in place of an earlier one; `patient` and `sequence` are the store's."""
    delete_below(root.store, path)  # also what is left of one whose own metadata are gone
    group = root.require_group(path)
    for name, variable in result.variables.items():
        string = variable.dtype.kind in "OUT"
        entry = Variable(
            str(name),
            tuple(str(dim) for dim in variable.dims),
            "string" if string else variable.dtype.name,
            str(variable.attrs.get("long_name", name)),
            variable.attrs.get("units"),
        )
        add_table(group, entry, {str(dim): n for dim, n in result.sizes.items()}, np.asarray(variable.values))
    group.attrs.put(dict(attributes))
    consolidate(root)


def input_digests(tables: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Digest of what each scan's numbers depend on: its mask, and the size of its voxels."""
    masks, shapes, spacings = (tables[name] for name in INPUTS)
    digests = np.empty(masks.shape, dtype=np.dtypes.StringDType())
    for at in np.ndindex(*masks.shape):
        content = f"{masks[at]} {(shapes[at].tolist(), spacings[at].tolist())}"
        digests[at] = xxhash.xxh3_128_hexdigest(content.encode())
    return digests
