"""Make a store's arrays and make room in them; only metadata and small tables, no voxels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from npczarr.errors import StoreError
from npczarr.model.geometry import AXES, Shape
from npczarr.model.label_set import TUMOR
from npczarr.model.layout import Layout, table_chunks
from npczarr.model.options import redacted
from npczarr.model.schema import (
    COORDINATES,
    EXTENT,
    INDEXES,
    RATER,
    SCAN_TABLES,
    SCHEMA_ATTRIBUTE,
    SCHEMA_VERSION,
    TEXT,
    Variable,
    voxel_variables,
)
from npczarr.store.hierarchy import (
    CREATING,
    RESIZING,
    array,
    arrays_of,
    dimension_sizes,
    dims_of,
    dtype_of,
)
from npczarr.store.location import delete, delete_below, exists, get, names_in, put
from npczarr.store.sizes import is_labelled, is_sized, resize_array, resize_results, set_extent
from npczarr.store.storage_errors import translate_damage
from npczarr.store.table_chunks import write_rows
from npczarr.store.whole import absent_allowed
from npczarr.store.zarr_library import WRITE_ALL_CHUNKS, consolidate, image_codecs, table_codecs

_OLD = {".zarray", ".zattrs", ".zgroup"}
_OF_LEASE = {"status"}  # the folder of a lease, which comes before anything else
_FIXED = {"axis": 3, "affine_row": 4, "affine_column": 4}
#: Columns of clinical tables by name: what describes each, and its values over the patients.
Columns = Mapping[str, tuple[Variable, NDArray[Any]]]


def check_place(store: Store, url: str) -> None:
    """Refuse a folder that holds something else than a store, which its arrays would be mixed with.

    Raises
    ------
    StoreError
        If it does.
    """
    names = set(names_in(store))
    others = sorted(names - _OF_LEASE)
    if others and not names & {"zarr.json", *_OLD}:  # of data in the old format there is more to say
        raise StoreError(
            f"{url}: is not empty and holds no store ({others[0]} is in it); name a new folder for the store"
        )


def is_new(store: Store) -> bool:
    """Whether there is no store yet, or one whose creation was interrupted before it held anything."""
    content = get(store, "zarr.json")
    if content is None:
        old = [name for name in sorted(_OLD) if exists(store, name)]
        if old:
            raise StoreError(
                f"{redacted(str(store))}: holds {old[0]}, data in the old Zarr format; convert into another folder"
            )
        return True
    with translate_damage(str(store)):
        return CREATING in json.loads(content).get("attributes", {})


def create(
    store: Store,
    patients: Sequence[str],
    sequences: Sequence[str],
    layout: Layout,
    attributes: Mapping[str, Any],
    raters: Sequence[str] = (),
    mask_labels: Sequence[str] = (TUMOR,),
    columns: Columns | None = None,
) -> None:
    """Create a store without scans: every one is pending until its row says otherwise.

    Parameters
    ----------
    store, patients, sequences, layout, attributes, raters, mask_labels
        Where it is, what it is to hold, and attributes of its root.
    columns
        Columns of clinical tables, over all patients.
    """
    voxels = voxel_variables(layout.dtype, rated=bool(raters), labels=mask_labels)
    indexes = (*INDEXES, RATER) if raters else INDEXES
    columns = columns or {}
    made = sorted({variable.name for variable in (*voxels, *indexes, *SCAN_TABLES)} | columns.keys())
    root = zarr.open_group(store, mode="a", use_consolidated=False, attributes={CREATING: made})
    # what an interrupted creation left; not the whole folder, one of them holds the lease
    there: Any = root.attrs.asdict().get(CREATING)
    left = [name for name in there if isinstance(name, str)] if isinstance(there, list) else []
    for name in {*made, *left}.intersection(names_in(store)):
        delete(store, f"{name}/zarr.json")
        delete_below(store, f"{name}/c")
    root.attrs.put({CREATING: made})
    sizes = _FIXED | dict(zip(AXES, layout.extent_zyx, strict=True))
    sizes |= {"patient": len(patients), "sequence": len(sequences), "rater": len(raters)}
    for variable in voxels:
        root.create_array(
            variable.name,
            shape=tuple(sizes[dim] for dim in variable.dims),
            chunks=(*(1 for _ in variable.dims[:-3]), *layout.chunk_zyx(variable.name)),
            dtype=variable.dtype,
            fill_value=variable.fill,
            compressors=image_codecs(layout.codec) if variable.name == "image" else table_codecs(),
            dimension_names=variable.dims,
            attributes=variable.all_attributes(),
        )
    names: dict[str, Any] = {"patient": patients, "sequence": sequences, "axis": AXES, "rater": raters}
    pending = np.full((len(patients), len(sequences)), "pending", dtype=TEXT)
    tables = [
        *((variable, np.array(names[variable.name], dtype=TEXT)) for variable in indexes),
        *((variable, pending if variable.name == "status" else None) for variable in SCAN_TABLES),
        *columns.values(),
    ]
    write_rows([_make_table(root, variable, sizes, values) for variable, values in tables])
    root.attrs.put({SCHEMA_ATTRIBUTE: SCHEMA_VERSION, "coordinates": " ".join(COORDINATES), **attributes})
    consolidate(root)


def add_table(
    root: zarr.Group, variable: Variable, sizes: Mapping[str, int], values: NDArray[Any] | None = None
) -> None:
    """Create the array of one table and write all of it, by default fill values: an absent chunk then means damage."""
    write_rows([_make_table(root, variable, sizes, values)])


def _make_table(
    root: zarr.Group, variable: Variable, sizes: Mapping[str, int], values: NDArray[Any] | None
) -> tuple[Any, NDArray[Any]]:
    """Create the array of one table; return it, and what to write to it."""
    shape = tuple(sizes[dim] for dim in variable.dims)
    extent = {EXTENT: [sizes[axis] for axis in AXES]} if variable.name == "shape" else {}
    made = root.create_array(
        variable.name,
        shape=shape,
        chunks=table_chunks(variable.dims, shape),
        dtype=variable.dtype,
        fill_value=variable.fill,
        compressors=table_codecs(),
        dimension_names=variable.dims,
        attributes=variable.all_attributes() | extent,
        config=WRITE_ALL_CHUNKS,
    )
    kind: Any = TEXT if variable.dtype == "string" else variable.dtype
    return made, np.full(shape, variable.fill, dtype=kind) if values is None else values.astype(kind)


def add_columns(root: zarr.Group, columns: Mapping[str, tuple[Variable, NDArray[Any]] | None]) -> bool:
    """Write the columns of clinical tables, whole; a column whose type changed is made anew, and None deletes one.

    Whatever step it is interrupted at, the same call completes it.

    Returns
    -------
    bool
        Whether anything changed.
    """
    left = get(root.store, RESIZING)
    own = left is None or (left != b"" and set(json.loads(left)) <= columns.keys())  # not of an interrupted resize
    changed, marked = left is not None and own, not own
    for name, column in columns.items():
        known: Any = root.get(name)
        if (known is None) if column is None else (known is not None and _is_same(known, *column)):
            continue
        if not marked:  # until the end a column may lack chunks: the next resize then writes all tables again
            put(root.store, RESIZING, json.dumps(sorted(columns)).encode())
        changed = marked = True
        if column is None or (known is not None and not _is_alike(known, column[0])):
            del root[name]
            known = None
        if column is not None:
            _write_column(root, known, *column)
    if changed:
        consolidate(root)
    if changed and own:
        delete(root.store, RESIZING)
    return changed


def _write_column(root: zarr.Group, known: Any, variable: Variable, values: NDArray[Any]) -> None:  # noqa: ANN401
    if known is None:
        add_table(root, variable, dimension_sizes(root), values)
    else:
        array(root, variable.name)[...] = values.astype(TEXT) if variable.dtype == "string" else values


def resize(
    root: zarr.Group,
    *,
    patients: Sequence[str],
    sequences: Sequence[str],
    extent_zyx: Shape,
    check: Callable[[], object] = bool,
) -> bool:
    """Give the store these labels (the old ones first, then those to append) and voxel arrays of this extent.

    Stored scans stay in place. Whatever step it is interrupted at, the same call completes it.

    Parameters
    ----------
    root, patients, sequences, extent_zyx
        The store, and what it is to hold.
    check
        Called before each array is changed; it raises an error where another writer has taken over.

    Returns
    -------
    bool
        Whether anything changed.
    """
    before = dimension_sizes(root)
    sizes = before | dict(zip(AXES, extent_zyx, strict=True))
    sizes |= {"patient": len(patients), "sequence": len(sequences)}
    interrupted = exists(root.store, RESIZING)
    names = {"patient": list(patients), "sequence": list(sequences)}
    if not interrupted and is_sized(root, sizes) and all(is_labelled(root, dim, names[dim]) for dim in names):
        return False
    put(root.store, RESIZING, b"")
    with absent_allowed(root.store):
        for name, found in arrays_of(root):
            check()
            resize_array(found, tuple(sizes[dim] for dim in dims_of(found)), voxels=name in ("image", "mask"))
        check()
        set_extent(root, before, sizes, interrupted=interrupted)
        status = array(root, "status")
        values = status[...]
        values[values == ""] = "pending"
        status[...] = values
        for dim, wanted in names.items():
            check()
            array(root, dim)[:] = np.array(wanted, dtype=TEXT)
        check()
        resize_results(root, names)
    check()
    consolidate(root)
    delete(root.store, RESIZING)
    return True


def _is_same(found: Any, variable: Variable, values: NDArray[Any]) -> bool:  # noqa: ANN401 - a zarr array
    """Whether an array is this column already."""
    coming = values.astype(TEXT) if variable.dtype == "string" else values
    return _is_alike(found, variable) and _same_values(found[...], coming)


def _is_alike(found: Any, variable: Variable) -> bool:  # noqa: ANN401 - a zarr array
    """Whether an array has the type, dimensions and attributes of a variable."""
    added_by_xarray = ("_FillValue", "coordinates")  # on its copies
    there = {key: value for key, value in found.attrs.asdict().items() if key not in added_by_xarray}
    return bool(
        dtype_of(found) == variable.dtype
        and tuple(dims_of(found)) == variable.dims
        and there == variable.all_attributes()
    )


def _same_values(there: NDArray[Any], coming: NDArray[Any]) -> bool:
    if there.shape != coming.shape:
        return False
    return bool(np.array_equal(there, coming, equal_nan=coming.dtype.kind == "f"))
