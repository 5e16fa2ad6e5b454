"""Results beside what they measure: sub-groups on the store's own patients and sequences."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xxhash
import zarr
from numpy.typing import NDArray

from npczarr.errors import AbsentChunkError, NpczarrError, StoreError
from npczarr.model.derived import command_of
from npczarr.model.label_set import flag_names
from npczarr.model.results import AGREEMENT, MORPHOLOGY, VERSION
from npczarr.model.schema import SCAN, TEXT, Variable
from npczarr.model.training import TRAINING
from npczarr.store.create import add_table
from npczarr.store.hierarchy import arrays_of, dims_of, labels, open_group, read_tables, tables_at
from npczarr.store.lease import lease_is_held
from npczarr.store.location import Location, delete, delete_below, get, keys_below, put
from npczarr.store.storage_errors import first_line
from npczarr.store.zarr_library import consolidate, no_user_warnings

if TYPE_CHECKING:
    import xarray as xr

#: Groups that hold results: numbers of scans as they were when they were measured.
RESULTS = ("morphology", "agreement", "score")
INPUT_DIGEST = "input_digest"
#: Attribute of every result, written after its arrays.
WRITTEN_BY = "npczarr_version"
#: Tables on which they depend.
INPUTS = ("mask_digest", "shape", "spacing")


class StoredTable(NamedTuple):
    """An array of a result: the names of its dimensions, its values and its attributes."""

    dims: tuple[str, ...]
    values: NDArray[Any]
    attrs: Mapping[str, Any]


class StoredResult(NamedTuple):
    """A result: its tables by name, and its attributes. Read without xarray, which takes longer to import."""

    tables: Mapping[str, StoredTable]
    attributes: Mapping[str, Any]

    def as_dataset(self) -> xr.Dataset:
        """Return it as a Dataset."""
        import xarray as xr

        return xr.Dataset({name: tuple(table) for name, table in self.tables.items()}, attrs=self.attributes)


class ReadResult(NamedTuple):
    """A result, or None where there is none that can be used, and what is wrong with the one that is there."""

    result: StoredResult | None
    damage: str = ""


def read_result(root: zarr.Group, path: str) -> ReadResult:
    """Read a stored result; one that is damaged or was half written is none, for it is measured again.

    Raises
    ------
    StoreError
        If the path is that of an array, or the storage fails.
    """
    try:
        group = root.get(path)
        if isinstance(group, zarr.Group):
            found = _read(group)
            # the attributes are written last, and then its name in the consolidated metadata
            whole = WRITTEN_BY in found.attributes and _is_as_listed(root, path, found)
            return ReadResult(found) if whole else ReadResult(None, _damage(path))
        if group is None:
            return ReadResult(None, _damage(path) if path in _listed(root) else "")
    except AbsentChunkError:
        return ReadResult(None, _damage(path))
    except NpczarrError:
        raise
    except Exception as error:  # codecs and metadata name damage in a dozen ways
        return ReadResult(None, _damage(path, f" ({type(error).__name__}: {first_line(error)})"))
    raise StoreError(f"{path} is an array of the store, not a result; choose another name")


def _read(group: zarr.Group) -> StoredResult:
    arrays = dict(arrays_of(group))
    values = read_tables(arrays)
    sizes: dict[str, int] = {}
    for name, one in arrays.items():
        for dim, n in zip(dims_of(one), one.shape, strict=True):
            if sizes.setdefault(dim, n) != n:
                raise ValueError(f"{name} has {n} along {dim}, other arrays {sizes[dim]}")
    tables = {name: StoredTable(dims_of(one), values[name], one.attrs.asdict()) for name, one in arrays.items()}
    return StoredResult(tables, group.attrs.asdict())


def _is_as_listed(root: zarr.Group, path: str, found: StoredResult) -> bool:
    """Whether the consolidated metadata list a result, and no array of it that is not there; so if there are none."""
    listed = _listed(root)
    names = {name.rpartition("/")[2] for name, one in listed.items() if _is_array_of(path, name, one)}
    return not listed or (path in listed and names <= found.tables.keys())


def _listed(root: zarr.Group) -> dict[str, Any]:
    """Read the consolidated metadata, by which most readers open a store: what they say of each member, by path."""
    return _members(json.loads(get(root.store, "zarr.json") or b"{}"))


def _members(about: Mapping[str, Any]) -> dict[str, Any]:
    return (about.get("consolidated_metadata") or {}).get("metadata") or {}


def _is_array_of(path: str, name: str, listed: Mapping[str, Any]) -> bool:
    return name.rpartition("/")[0] == path and listed.get("node_type") == "array"


def _damage(path: str, cause: str = "") -> str:
    return f"the result {path} is damaged, or was half written{cause}"


def say_damage(store: str, damage: str) -> None:
    """Say in one line that a result of a store cannot be used and is made anew; nothing where there is no damage."""
    if damage:
        logging.getLogger("npczarr").warning("%s: %s; it is measured anew", store, damage)


def result_paths(root: zarr.Group) -> list[str]:
    """List the paths of all results, also of damaged ones: ``morphology``, of one label ``morphology/<label>``."""
    listed = _listed(root)
    groups = {path for path, one in listed.items() if one.get("node_type") == "group"}
    paths = []
    for measure in RESULTS:
        own, below = _present(root, measure)
        below |= {path for path in groups if path.rpartition("/")[0] == measure}
        own = own or any(_is_array_of(measure, path, one) for path, one in listed.items())
        if own or (measure in groups and not below):  # else it only holds those of labels, or the scores
            paths.append(measure)
        paths += sorted(below)
    return paths


def _present(root: zarr.Group, measure: str) -> tuple[bool, set[str]]:
    """Whether the group of a measure holds anything of its own, and the paths of the groups in it."""
    try:
        with no_user_warnings():
            group = root.get(measure)
            if not isinstance(group, zarr.Group):
                return False, set()
            own = bool(group.attrs.asdict()) or any(True for _ in group.array_keys())
            return own, {f"{measure}/{name}" for name in group.group_keys()}
    except NpczarrError:
        raise
    except Exception:  # damaged metadata
        return True, set()


def damaged_results(root: zarr.Group) -> dict[str, str]:
    """Say of each result that cannot be used what is wrong with it and what to do, by path.

    Parameters
    ----------
    root
        The store, in which absent chunks are an error.
    """
    paths = [*result_paths(root), *([TRAINING] if TRAINING in root or TRAINING in _listed(root) else [])]
    damage = {path: read_result(root, path).damage for path in paths}
    return {path: f"{one}; `{_command_of(path)}` measures it anew" for path, one in damage.items() if one}


def _command_of(path: str) -> str:
    measure, _, label = path.partition("/")
    return f"{command_of(measure)} --label {label}" if label and measure != "score" else command_of(path)


def read_kept(location: Location, measure: str, path: str, chosen: Mapping[str, Any]) -> StoredResult | None:
    """Read a stored result of which every scan is as it was measured, with these arguments; None of any other.

    A scan that is pending was not measured. None, too, where a lease is there: whoever measures has it to end.

    Parameters
    ----------
    location, path
        The store, and the path of the result in it.
    measure, chosen
        ``"morphology"`` or ``"agreement"`` of all labels, and its arguments.
    """
    root = open_group(location.open(read_only=True), location.shown, mode="r")
    if lease_is_held(root.store):
        return None
    found = read_result(root, path).result
    measured_as = MORPHOLOGY if measure == "morphology" else AGREEMENT
    needed = {INPUT_DIGEST, *SCAN, *(variable.name for variable in measured_as)}
    if found is None or not needed <= found.tables.keys():
        return None
    names = list(flag_names(tables_at(root, ["mask"])["mask"].attrs.asdict()))
    expected = {"measure": measure, "npczarr_results": VERSION, "labels": names if len(names) > 1 else None}
    if measure == "morphology":
        expected["method"] = chosen["method"]
    else:
        expected |= {"raters": labels(root, "rater") if "rater" in root else [], "tolerance_mm": chosen["tolerance"]}
    if any(found.attributes.get(name) != value for name, value in expected.items()):
        return None
    if any(found.tables[dim].values.tolist() != labels(root, dim) for dim in SCAN):
        return None
    now = read_tables(tables_at(root, [*INPUTS, "status"]))
    digests = input_digests(now)
    if (now["status"] == "pending").any():
        return None
    measured = found.tables[INPUT_DIGEST]
    if measured.dims != SCAN or measured.values.shape != digests.shape or not (measured.values == digests).all():
        return None
    return found


def write_result(root: zarr.Group, path: str, result: xr.Dataset, attributes: Mapping[str, Any]) -> None:
    """Write a result as a group, in place of an earlier one; `patient` and `sequence` are the store's.

    The earlier one is first taken out of the consolidated metadata: no kill leaves a part of either that counts.
    """
    _unlist(root, path)
    _delete(root, path)
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


def _unlist(root: zarr.Group, path: str) -> None:
    """Take a result out of the consolidated metadata, by one write; not those of labels below it."""
    about = json.loads(get(root.store, "zarr.json") or b"{}")
    listed = _members(about)
    kept = {name: one for name, one in listed.items() if name != path and not _is_array_of(path, name, one)}
    if len(kept) < len(listed):
        about["consolidated_metadata"]["metadata"] = kept
        put(root.store, "zarr.json", json.dumps(about, indent=2).encode())


def _delete(root: zarr.Group, path: str) -> None:
    """Delete a result, or what is left of one, but for those of labels below it.

    Its own metadata come last, by which it is named as half written.
    """
    keys = [key.removeprefix(f"{path}/") for key in keys_below(root.store, path)]
    for name in sorted({key.partition("/")[0] for key in keys if "/" in key}):
        if not _is_group(root, f"{path}/{name}"):
            delete_below(root.store, f"{path}/{name}")
    for key in sorted((key for key in keys if "/" not in key), key="zarr.json".__eq__):
        delete(root.store, f"{path}/{key}")


def _is_group(root: zarr.Group, path: str) -> bool:
    try:
        about: Any = json.loads(get(root.store, f"{path}/zarr.json") or b"{}")
        return bool(about.get("node_type") == "group")
    except (ValueError, AttributeError):  # damaged metadata
        return False


def input_digests(tables: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Digest of what each scan's numbers depend on: its mask, and the size of its voxels."""
    masks, shapes, spacings = (tables[name] for name in INPUTS)
    digests = np.empty(masks.shape, dtype=TEXT)
    for at in np.ndindex(*masks.shape):
        content = f"{masks[at]} {(shapes[at].tolist(), spacings[at].tolist())}"
        digests[at] = xxhash.xxh3_128_hexdigest(content.encode())
    return digests
