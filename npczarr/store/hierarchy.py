"""The groups and arrays of an existing store: opening them, their labels, sizes and layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from npczarr.errors import MissingStoreError, StoreError
from npczarr.model.label_set import TUMOR, flag_names
from npczarr.model.layout import Layout
from npczarr.model.records import PADDING
from npczarr.model.schema import SCHEMA_ATTRIBUTE, SCHEMA_VERSION
from npczarr.store.holder import LEASE_KEY, died_here, holder
from npczarr.store.location import absence_reason, exists, get
from npczarr.store.objects import Objects
from npczarr.store.storage_errors import translate_damage
from npczarr.store.table_chunks import read_rows
from npczarr.store.whole import WholeArrays, is_written_whole
from npczarr.store.zarr_library import WRITE_ALL_CHUNKS, blosc_codec, metadata_of, no_user_warnings, settle

CREATING = "npczarr_creating"  # an attribute of the root, their names, until its arrays are all there
#: An object below an array while tables are resized: they may then lack chunks.
RESIZING = "status/resizing"
_AT_ONCE = 32  # requests in flight
#: Numbers of patients that are chosen, in order.
Chosen = NDArray[np.int64]
ZarrArray = Any  # zarr's array types are generic over formats


def open_group(store: Store, url: str, *, mode: Literal["r", "r+"] = "r+", whole: bool = True) -> zarr.Group:
    """Open the root of a store, past its consolidated metadata, which an interrupted run may have left behind.

    Tables that are written through it are written whole, also where they hold nothing but fill values.

    Parameters
    ----------
    store, url, mode
        The store, its name for messages, and whether it is to be written.
    whole
        Whether a chunk of a table that is absent is an error, unless another program wrote it or a resize was
        interrupted.

    Raises
    ------
    StoreError
        If what is there is not a store of this schema.
    """
    with translate_damage(url):
        try:
            guarded = store.guarded() if mode == "r+" and isinstance(store, Objects) else store
            tables = WholeArrays(guarded)
            root = zarr.open_group(tables, mode=mode, use_consolidated=False, zarr_format=3)
        except FileNotFoundError as error:
            raise MissingStoreError(f"{url}: {absence_reason(store)}") from error
        check_schema(root.attrs.asdict(), url, store)
        tables.whole = whole and is_written_whole(root.attrs.asdict()) and not exists(store, RESIZING)
        return root


def open_made(store: Store) -> zarr.Group | None:
    """Open the root of a store as its arrays describe themselves; None where there is none, or one being created."""
    try:
        root = zarr.open_group(store, mode="r", use_consolidated=False, zarr_format=3)
    except FileNotFoundError:
        return None
    return None if CREATING in root.attrs else root


def check_schema(attributes: Mapping[str, Any], url: str, store: Store) -> None:
    """Refuse what is not a store of the schema version that this program knows.

    Parameters
    ----------
    attributes, url
        Attributes of its root, and its name for messages.
    store
        The store, whose lease says who is creating it.

    Raises
    ------
    StoreError
        If it is another Zarr hierarchy, or of another version.
    """
    version = attributes.get(SCHEMA_ATTRIBUTE)
    if CREATING in attributes:
        raise StoreError(f"{url}: {_why_not_created(store)}")
    if type(version) is not int or version < 1:  # True is an int as well
        raise StoreError(
            f"{url}: a Zarr group but no cohort store (no attribute {SCHEMA_ATTRIBUTE!r}); give one that npczarr wrote"
        )
    if version > SCHEMA_VERSION:
        raise StoreError(f"{url}: schema version {version}, this program knows {SCHEMA_VERSION}; upgrade npczarr")
    if version < SCHEMA_VERSION:
        raise StoreError(
            f"{url}: schema version {version} of an unreleased npczarr, this program reads {SCHEMA_VERSION}; convert "
            "the source into a new store"
        )


def _why_not_created(store: Store) -> str:
    """Say whether a store without arrays is being created at this moment, or its creation was interrupted."""
    again = "run the convert or resample that began it again to complete it"
    lease = get(store, LEASE_KEY)
    if lease is None or died_here(lease):
        return f"its creation was interrupted before it held anything; {again}"
    return (
        f"it is being created by {holder(lease)}, and holds nothing yet; open it again in a moment, or if that process "
        f"no longer runs, {again}"
    )


def array(root: zarr.Group, name: str) -> ZarrArray:
    """Return one array of the store; what is written to it is written whole.

    Raises
    ------
    StoreError
        If there is none.
    """
    try:
        return _written_whole(root[name])
    except KeyError as error:
        raise StoreError(
            f"{root.store}: {name}/zarr.json is absent or may not be read; restore it from a copy, or convert into a "
            "new store"
        ) from error


def mask_labels(root: zarr.Group) -> tuple[str, ...]:
    """Labels of the store's masks, in the order of their numbers; tumor alone where it does not name them."""
    names = flag_names(array(root, "mask").attrs.asdict())
    ordered = tuple(sorted(names, key=lambda name: names[name]))
    return ordered if [names[name] for name in ordered] == list(range(1, len(ordered) + 1)) and ordered else (TUMOR,)


def arrays_of(group: zarr.Group) -> list[tuple[str, ZarrArray]]:
    """List the arrays of a group; folders that an interrupted run left without metadata are passed over."""
    return [(name, found) for name, found in _members_of(group) if not isinstance(found, zarr.Group)]


def groups_of(group: zarr.Group) -> list[tuple[str, zarr.Group]]:
    """List the groups of a group, as :func:`arrays_of` does its arrays."""
    return [(name, found) for name, found in _members_of(group) if isinstance(found, zarr.Group)]


def members_below(group: zarr.Group, path: str = "") -> list[tuple[str, Any]]:
    """List every array and group below a group, with its path: arrays first, then each group and what is below it."""
    members = _members_of(group)
    found = [(f"{path}{name}", one) for name, one in members if not isinstance(one, zarr.Group)]
    for name, below in members:
        if isinstance(below, zarr.Group):
            found += [(f"{path}{name}", below), *members_below(below, f"{path}{name}/")]
    return found


def _members_of(group: zarr.Group) -> list[tuple[str, Any]]:
    with no_user_warnings():
        try:
            return [(name, _written_whole(found)) for name, found in group.members()]
        except Exception:
            settle()
            raise


def _written_whole(found: ZarrArray) -> ZarrArray:
    return found.with_config(WRITE_ALL_CHUNKS) if isinstance(found, zarr.Array) else found


def tables_at(root: zarr.Group, paths: Sequence[str]) -> dict[str, ZarrArray]:
    """Open tables, by path.

    Raises
    ------
    StoreError
        If the store lacks one.
    """
    found = {path: root.get(path) for path in paths}
    absent = [path for path, table in found.items() if table is None]
    if absent:
        raise StoreError(f"{root.store}: no {', '.join(absent)} in it; convert into a new store")
    return found


def read_tables(tables: Mapping[str, ZarrArray], patients: Chosen | None = None) -> dict[str, NDArray[Any]]:
    """Read tables, all at once; whole, or of some patients."""
    if patients is None:
        return read_rows(tables)

    def read(found: ZarrArray) -> NDArray[Any]:
        if dims_of(found)[:1] != ("patient",):
            return np.asarray(found[...])
        return np.asarray(found.oindex[patients])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(tables, pool.map(read, tables.values()), strict=True))


def dims_of(found: ZarrArray) -> tuple[str, ...]:
    """Return the names of an array's dimensions."""
    names: tuple[str, ...] = found.metadata.dimension_names
    return names


def dtype_of(found: ZarrArray) -> str:
    """Return the type of an array as the schema names it."""
    return "string" if found.dtype.kind in "TO" else str(found.dtype.name)


def labels(root: zarr.Group, dim: str) -> list[str]:
    """Return the labels of a dimension; an interrupted resize leaves empty ones, which are free."""
    return [str(label) for label in array(root, dim)[:] if label]


def dimension_sizes(root: zarr.Group) -> dict[str, int]:
    """Size of each dimension, from the largest array that has it: an interrupted resize leaves some behind."""
    sizes: dict[str, int] = {}
    for _, found in arrays_of(root):
        for dim, n in zip(dims_of(found), found.shape, strict=True):
            sizes[dim] = max(sizes.get(dim, 0), n)
    return sizes


def read_layout(root: zarr.Group, url: str) -> Layout:
    """Return the layout of a store that scans are to be written to.

    Raises
    ------
    StoreError
        If another program has encoded it so that a scan cannot be written by itself.
    """
    image, mask = array(root, "image"), array(root, "mask")
    for name, found in (("image", image), ("mask", mask)):
        separator = metadata_of(found)["chunk_key_encoding"]
        alone = set(found.chunks[:-3]) == {1} and found.shards is None
        if not alone or _separator(separator) != "/":
            raise StoreError(
                f"{url}: {name} was encoded by another program (chunks {found.chunks}, shards {found.shards}), "
                "expected chunks of one scan each; it can be read, but to change it convert the source into a new store"
            )
    _check_values(root, image, url)
    extent, chunk, mask_chunk = (tuple(sizes[-3:]) for sizes in (image.shape, image.chunks, mask.chunks))
    return Layout(extent, chunk, mask_chunk, image.dtype.name, blosc_codec(image) or "lz4")


def _check_values(root: zarr.Group, image: ZarrArray, url: str) -> None:
    """Refuse to write to images of another type or padding: what is written now would not be what is there."""
    dtype = image.dtype.name
    expected = PADDING.get(dtype)
    there = image.attrs.asdict().get("_FillValue")
    if (dtype == "float32") != _declares_floats(root) or expected is None or (dtype != "float32" and there != expected):
        raise StoreError(
            f"{url}: image was encoded by another program ({dtype}, _FillValue {there}), expected int16 or int32 with "
            f"{PADDING['int16']} or {PADDING['int32']}, or float32 where the store was made so; it can be read, but to "
            "change it convert the source into a new store"
        )


def _declares_floats(root: zarr.Group) -> bool:
    """Whether the store was made with an image of float32, by its JSON Schema: no other array is of that type."""
    return '{"const":"float32"}' in str(root.attrs.get("json_schema"))


def _separator(encoding: Any) -> str:  # noqa: ANN401 - a mapping, or a name alone
    if isinstance(encoding, Mapping) and encoding.get("name") == "default":
        return str((encoding.get("configuration") or {}).get("separator", "/"))
    return "/" if encoding == "default" else "."
