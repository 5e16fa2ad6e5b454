"""The seal of a store: digests by which a change of another program, or damage, is known and named.

Voxels have digests of their own, one for each scan. A row's digest covers all that the tables say of one scan. The seal
covers every table, label, attribute and result, and through the digests in the tables the voxels too. Digests are of
values, so a copy that another program encoded anew has the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import xxhash
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from npczarr.errors import StoreError
from npczarr.model.records import Row
from npczarr.model.schema import ROW_DIGEST, SCAN_TABLES, STORED, Variable
from npczarr.store.contents import Contents, contents_of
from npczarr.store.hierarchy import dims_of, dtype_of
from npczarr.store.location import delete, get, get_all, keys_below, names_in, put
from npczarr.store.storage_errors import translate_damage

#: The object below an array that holds the seal; at this place no program takes it for a member of a group.
SEAL_KEY = "status/seal.json"
ROOT = "attributes of the store"
#: A part that no copy by xarray keeps, so the digest of the whole leaves it out.
DECODING = "coordinates and fill values"
_OF_XARRAY = ("_FillValue", "coordinates")
_AT_ONCE = 16  # tables read at a time
_VOXELS = ("image", "mask")
_STATUS = ("status/c/", "status/zarr.json")  # what else is below it changes with every run
_SIZES = {"axis": 3, "affine_row": 4, "affine_column": 4}
_OF_A_ROW = tuple(variable for variable in SCAN_TABLES if variable.name != ROW_DIGEST)


@dataclass(frozen=True, slots=True)
class Seal:
    """Digests of the parts of a store, by path.

    Parameters
    ----------
    parts
        Digest of each array, of the attributes of each group, of coordinates and fill values; "" of what could not
        be read.
    changed
        Parts that another program changed between two runs of npczarr, and that nobody has accepted since.
    """

    parts: Mapping[str, str]
    changed: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """One digest of everything: two copies with the same one hold the same."""
        parts = sorted((name, part) for name, part in self.parts.items() if name != DECODING)
        return blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()

    def differences(self, other: Seal) -> list[str]:
        """List the parts that differ."""
        names = {**self.parts, **other.parts}
        return [name for name in names if self.parts.get(name) != other.parts.get(name)]


def read_seal(store: Store) -> Seal | None:
    """Read the seal of a store; None where there is none, or none that can be read."""
    try:
        found = json.loads(get(store, SEAL_KEY) or b"null")
        parts = {str(name): str(part) for name, part in found["parts"].items()}
        return Seal(parts, tuple(str(name) for name in found["changed"]))
    except (StoreError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_seal(store: Store, seal: Seal) -> None:
    """Write the seal of a store."""
    content = {"seal": seal.digest, "algorithm": "BLAKE2b-128", "changed": seal.changed, "parts": dict(seal.parts)}
    put(store, SEAL_KEY, json.dumps(content, indent=1).encode())


def remove_seal(store: Store) -> None:
    """Delete the seal, where what is in the store is not known."""
    delete(store, SEAL_KEY)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What stands in the place of a seal that a run could not write at its end.

    Parameters
    ----------
    state
        Digest of the objects that the run left, by which a later run knows that nobody has changed them since.
    changed
        Parts that another program had changed before that run.
    """

    state: str
    changed: tuple[str, ...]


def read_unfinished(store: Store) -> Unfinished | None:
    """Read what stands in the place of the seal; None where nothing does, or nothing that can be read."""
    try:
        found = json.loads(get(store, SEAL_KEY) or b"null")
        return Unfinished(str(found["unfinished"]), tuple(str(name) for name in found["changed"]))
    except (StoreError, ValueError, KeyError, TypeError):
        return None


def write_unfinished(store: Store, unfinished: Unfinished) -> None:
    """Write it in the place of the seal; whoever reads a seal finds none."""
    content = {"unfinished": unfinished.state, "changed": unfinished.changed}
    put(store, SEAL_KEY, json.dumps(content, indent=1).encode())


def state_of(store: Store) -> str:
    """Digest of the objects of a store as they are, without the voxels, and without those that Zarr does not know.

    It needs no metadata that can be understood, so it also serves for a store that was left half written.
    """
    keys = []
    for name in names_in(store):
        if name == "zarr.json":
            keys.append(name)
        else:
            keys += [f"{name}/zarr.json"] if name in _VOXELS else keys_below(store, name)
    of_zarr = sorted(key for key in keys if not key.startswith("status/") or key.startswith(_STATUS))
    found = zip(of_zarr, get_all(store, of_zarr), strict=True)
    return _digest(
        json.dumps([(key, None if held is None else xxhash.xxh3_128_hexdigest(held)) for key, held in found])
    )


def compute_seal(store: Store) -> Seal | None:
    """Compute the seal of what a store holds now; None where there is no store, or one that is being created.

    Raises
    ------
    StoreError
        If its metadata cannot be read.
    """
    with translate_damage(str(store)):
        contents = contents_of(store)
        return None if contents is None else seal_of(contents)


def seal_of(contents: Contents) -> Seal:
    """Compute the seal of an open store."""
    contents.load(path for path in contents.arrays if path not in _VOXELS)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        digests = pool.map(lambda path: _digest_of_array(path, contents), contents.arrays)
        parts = dict(zip(contents.arrays, digests, strict=True))
    # labels of a result that are those of the store: xarray leaves them out of a copy of the whole tree
    inherited = [path for path, part in parts.items() if "/" in path and parts.get(path.rpartition("/")[2]) == part]
    for path in inherited:
        del parts[path]
    attributes = contents.root.attrs.asdict()
    parts["history"] = _digest(str(attributes.pop("history", "")))
    parts[ROOT] = _digest(_canonical(attributes))
    for path, found in contents.members.items():
        if isinstance(found, zarr.Group):
            parts[f"attributes of {path}"] = _digest(_canonical(found.attrs.asdict()))
    decoding = {path: _decoding(path, found) for path, found in {"": contents.root, **contents.members}.items()}
    parts[DECODING] = _digest(json.dumps(decoding, sort_keys=True))
    return Seal(parts)


def with_digest(row: Row) -> Row:
    """Return a row that holds its own digest."""
    return replace(row, values={**row.values, ROW_DIGEST: digest_row(row.patient, row.sequence, row.values)})


def digest_row(patient: str, sequence: str, values: Mapping[str, Any]) -> str:
    """XXH3-128 of all that the tables say of one scan; of tables along z, of its own slices.

    Parameters
    ----------
    patient, sequence
        Its labels.
    values
        Entries by variable name of the schema; one that is absent holds its fill value.
    """
    sizes = {**_SIZES, "z": int(np.asarray(values.get("shape", 0)).flat[0])}
    hasher = xxhash.xxh3_128(json.dumps([patient, sequence]).encode())
    for variable in _OF_A_ROW:
        hasher.update(f"\n{variable.name}=".encode())
        hasher.update(_entry(variable, values.get(variable.name), sizes))
    return hasher.hexdigest()


def status_before(patient: str, sequence: str, values: Mapping[str, Any]) -> str:
    """Return the status that a row had before it was marked pending, by its digest; else the one that it has."""
    candidates = (str(values["status"]), *STORED)
    known = (
        one for one in candidates if digest_row(patient, sequence, {**values, "status": one}) == values[ROW_DIGEST]
    )
    return next(known, candidates[0])


def _entry(variable: Variable, value: Any, sizes: Mapping[str, int]) -> bytes:  # noqa: ANN401 - a scalar or an array
    if variable.dtype == "string":
        return json.dumps("" if value is None else str(value)).encode()
    shape = tuple(sizes[dim] for dim in variable.dims[2:])
    filled = np.full(shape, variable.fill, dtype=variable.dtype)
    if value is not None:
        found = np.asarray(value)[tuple(slice(n) for n in shape)]
        filled[tuple(slice(n) for n in found.shape)] = found
    return _plain_bytes(filled)


def _decoding(path: str, found: Any) -> dict[str, Any]:  # noqa: ANN401 - a zarr array or group
    """Return the attributes that no other part holds."""
    attributes: dict[str, Any] = found.attrs.asdict()
    return attributes if _is_label(path, found) else {name: attributes.get(name) for name in _OF_XARRAY}


def _is_label(path: str, found: Any) -> bool:  # noqa: ANN401 - a zarr array or group
    return not isinstance(found, zarr.Group) and dims_of(found) == (path.rpartition("/")[2],)


def _digest_of_array(path: str, contents: Contents) -> str:
    """Digest of an array's values, or for voxels, which have digests of their own, of its description alone."""
    found = contents.members[path]
    # of labels the values alone: those of a result are the store's, in other words
    attributes = {} if _is_label(path, found) else found.attrs.asdict()
    described = [dtype_of(found), dims_of(found), found.shape, _canonical(attributes)]
    if path in _VOXELS:
        return _digest(json.dumps(described))
    try:
        values = contents.table(path)
    except Exception:  # codecs name damage in a dozen ways
        return ""
    content = blake2b(json.dumps(described).encode(), digest_size=16)
    content.update(json.dumps(values.tolist()).encode() if values.dtype.kind in "OTU" else _plain_bytes(values))
    return content.hexdigest()


def _canonical(attributes: Mapping[str, Any]) -> str:
    """Write attributes in one form, without those by which xarray describes its own encoding."""
    return json.dumps({k: v for k, v in attributes.items() if k not in _OF_XARRAY}, sort_keys=True)


def _plain_bytes(values: NDArray[Any]) -> bytes:
    """Return the bytes of numbers in one form: little endian, one kind of NaN."""
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), np.nan, values)
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()
