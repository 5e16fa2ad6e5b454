"""Make a store's arrays and make room in them; only metadata and small tables, no voxels."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.sync import sync
from zarr.errors import ZarrUserWarning

from npczarr.errors import StoreError
from npczarr.model.geometry import AXES, Shape
from npczarr.model.layout import Layout
from npczarr.model.schema import (
    INDEXES,
    RATER,
    SCAN_TABLES,
    SCHEMA_ATTRIBUTE,
    SCHEMA_VERSION,
    Variable,
    voxel_variables,
)
from npczarr.store.access import delete, get
from npczarr.store.faults import usable
from npczarr.store.shards import compressors

_CREATING = "npczarr_creating"  # an attribute of the root until its arrays are all there
_TABLE_CHUNK_BYTES = 2**20
_FIXED = {"axis": 3, "affine_row": 4, "affine_column": 4}


def is_new(store: Store) -> bool:
    """Whether there is no store yet, or one whose creation was interrupted before it held anything."""
    content = get(store, "zarr.json")
    if content is None:
        old = [name for name in (".zgroup", ".zarray", ".zattrs") if get(store, name) is not None]
        if old:
            raise StoreError(f"{store}: holds {old[0]}, data in the old Zarr format; convert into another folder")
        return True
    with usable(str(store)):
        return _CREATING in json.loads(content).get("attributes", {})


def create(
    store: Store,
    patients: Sequence[str],
    sequences: Sequence[str],
    layout: Layout,
    attributes: Mapping[str, Any],
    raters: Sequence[str] = (),
) -> None:
    """Create an empty store: every scan is pending until its row says otherwise."""
    voxels = voxel_variables(layout.dtype, rated=bool(raters))
    indexes = (*INDEXES, RATER) if raters else INDEXES
    root = zarr.open_group(store, mode="a", use_consolidated=False)
    root.attrs.put({_CREATING: True})
    for variable in (*voxels, *indexes, *SCAN_TABLES):
        # what an interrupted creation left; not the whole folder, one of them holds the lease
        delete(store, f"{variable.name}/zarr.json")
        sync(store.delete_dir(f"{variable.name}/c"))
    sizes = _FIXED | dict(zip(AXES, layout.extent_zyx, strict=True))
    sizes |= {"patient": len(patients), "sequence": len(sequences), "rater": len(raters)}
    for variable in voxels:
        lead = (1,) * (len(variable.dims) - 3)
        root.create_array(
            variable.name,
            shape=tuple(sizes[dim] for dim in variable.dims),
            chunks=(*lead, *layout.chunk_zyx),
            shards=(*lead, *layout.shard_zyx),
            dtype=variable.dtype,
            fill_value=variable.fill,
            compressors=compressors(layout.codec),
            dimension_names=variable.dims,
            attributes=variable.all_attributes(),
        )
    for variable in (*indexes, *SCAN_TABLES):
        add_table(root, variable, sizes)
    names = {"patient": patients, "sequence": sequences, "axis": AXES, "rater": raters}
    for variable in indexes:
        array(root, variable.name)[:] = np.array(names[variable.name], dtype=np.dtypes.StringDType())
    array(root, "status")[:] = "pending"
    root.attrs.put({SCHEMA_ATTRIBUTE: SCHEMA_VERSION, **attributes})
    consolidate(root)


def add_table(root: zarr.Group, variable: Variable, sizes: Mapping[str, int]) -> None:
    """Create the array of one table, its chunks about 1 MiB along `patient`."""
    shape = tuple(sizes[dim] for dim in variable.dims)
    itemsize = 16 if variable.dtype == "string" else np.dtype(variable.dtype).itemsize
    chunks = list(shape)
    if variable.dims[0] == "patient":
        row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * itemsize
        chunks[0] = int(np.clip(2 ** int(np.log2(_TABLE_CHUNK_BYTES / row_bytes)), 16, 4096))
    root.create_array(
        variable.name,
        shape=shape,
        chunks=tuple(max(1, n) for n in chunks),
        dtype=variable.dtype,
        fill_value=variable.fill,
        compressors=[ZstdCodec(level=3), Crc32cCodec()],
        dimension_names=variable.dims,
        attributes=variable.all_attributes(),
    )


def add_columns(root: zarr.Group, columns: Mapping[str, tuple[Variable, NDArray[Any]]]) -> None:
    """Write the columns of clinical tables, whole; a column whose type changed is made anew."""
    sizes = dimension_sizes(root)
    for name, (variable, values) in columns.items():
        known = root.get(name)
        if known is None or _kind(known) != variable.dtype or known.attrs.asdict() != variable.all_attributes():
            if known is not None:
                del root[name]
            add_table(root, variable, sizes)
        array(root, name)[...] = values.astype(np.dtypes.StringDType()) if variable.dtype == "string" else values
    consolidate(root)


def resize(root: zarr.Group, *, patients: Sequence[str], sequences: Sequence[str], extent_zyx: Shape) -> None:
    """Give the store these labels (the old ones first, then those to append) and voxel arrays of this extent.

    Stored scans stay in place. Whatever step it is interrupted at, the same call completes it.
    """
    sizes = dimension_sizes(root) | dict(zip(AXES, extent_zyx, strict=True))
    sizes |= {"patient": len(patients), "sequence": len(sequences)}
    for _, found in arrays_of(root):
        shape = tuple(sizes[dim] for dim in dims_of(found))
        if shape != found.shape:
            found.resize(shape)
    status = array(root, "status")
    values = status[...]
    values[values == ""] = "pending"
    status[...] = values
    for name, labels in (("patient", patients), ("sequence", sequences)):
        array(root, name)[:] = np.array(labels, dtype=np.dtypes.StringDType())
    _resize_results(root, patients, sequences)
    consolidate(root)


def _resize_results(group: zarr.Group, patients: Sequence[str], sequences: Sequence[str]) -> None:
    """Give results the labels of the store, so that the tree stays aligned; what is new is NaN until it is measured."""
    for _, result in groups_of(group):
        for name, found in arrays_of(result):
            lengths = {"patient": len(patients), "sequence": len(sequences)}
            shape = tuple(lengths.get(dim, n) for dim, n in zip(dims_of(found), found.shape, strict=True))
            if shape != found.shape:
                found.resize(shape)
            if name in lengths:
                found[:] = np.array(patients if name == "patient" else sequences, dtype=np.dtypes.StringDType())
        _resize_results(result, patients, sequences)


def labels(root: zarr.Group, dim: str) -> list[str]:
    """Return the labels of `patient` or `sequence`; an interrupted :func:`resize` leaves empty ones, which are free."""
    return [str(label) for label in array(root, dim)[:] if label]


def consolidate(root: zarr.Group) -> None:
    """Write the metadata of every array into the root, so that opening takes one request; this is the last step."""
    voxels = {variable.name for variable in voxel_variables("int16")}
    tables = sorted(name for name, found in arrays_of(root) if name not in voxels and name not in dims_of(found))
    root.attrs["coordinates"] = " ".join(tables)
    with warnings.catch_warnings():
        # a convention that zarr-python, xarray and others share; the Zarr v3 text does not mention it yet
        warnings.simplefilter("ignore", ZarrUserWarning)
        zarr.consolidate_metadata(root.store, path=root.path)


def open_group(store: Store, url: str, *, mode: Literal["r", "r+"] = "r+") -> zarr.Group:
    """Open the root of a store, past its consolidated metadata, which an interrupted run may have left behind.

    Raises
    ------
    StoreError
        If what lies there is not a store of this schema.
    """
    with usable(url):
        try:
            root = zarr.open_group(store, mode=mode, use_consolidated=False, zarr_format=3)
        except FileNotFoundError as error:
            raise StoreError(f"{url}: no store here; check the path, or make one with npczarr convert") from error
        check_schema(root.attrs.asdict(), url)
        return root


def check_schema(attributes: Mapping[str, Any], url: str) -> None:
    """Refuse what is not a store of a schema version that this program knows.

    Raises
    ------
    StoreError
        If it is another Zarr hierarchy, or was written by a newer version.
    """
    version = attributes.get(SCHEMA_ATTRIBUTE)
    if _CREATING in attributes:
        raise StoreError(f"{url}: its creation was interrupted before it held anything; convert again to complete it")
    if type(version) is not int or version < 1:  # True is an int as well
        raise StoreError(
            f"{url}: a Zarr group but no cohort store (no attribute {SCHEMA_ATTRIBUTE!r}); give one that npczarr wrote"
        )
    if version > SCHEMA_VERSION:
        raise StoreError(f"{url}: schema version {version}, this program knows up to {SCHEMA_VERSION}; upgrade npczarr")


def dimension_sizes(root: zarr.Group) -> dict[str, int]:
    """Size of each dimension, from the largest array that has it: an interrupted resize leaves some behind."""
    sizes: dict[str, int] = {}
    for _, found in arrays_of(root):
        for dim, n in zip(dims_of(found), found.shape, strict=True):
            sizes[dim] = max(sizes.get(dim, 0), n)
    return sizes


def read_layout(root: zarr.Group) -> Layout:
    """Return the layout of an existing store."""
    image = array(root, "image")
    codec = image.compressors[0].cname.value
    (_, _, *extent), (_, _, *chunk), (_, _, *shard) = image.shape, image.chunks, image.shards
    return Layout(tuple(extent), tuple(chunk), tuple(shard), image.dtype.name, codec)


def arrays_of(group: zarr.Group) -> list[tuple[str, Any]]:
    """List the arrays of a group; folders that an interrupted run left without metadata are passed over."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZarrUserWarning)
        return list(group.arrays())


def groups_of(group: zarr.Group) -> list[tuple[str, zarr.Group]]:
    """List the groups of a group, as :func:`arrays_of` does its arrays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZarrUserWarning)
        return list(group.groups())


def array(root: zarr.Group, name: str) -> Any:  # noqa: ANN401 - zarr's array types are generic over formats
    """Return one array of the store."""
    return root[name]


def dims_of(found: Any) -> tuple[str, ...]:  # noqa: ANN401 - a zarr array
    """Return the names of an array's dimensions."""
    names: tuple[str, ...] = found.metadata.dimension_names
    return names


def _kind(found: Any) -> str:  # noqa: ANN401 - a zarr array
    return "string" if found.dtype.kind == "T" else found.dtype.name
