"""What a person wants to know of a store at a glance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.abc.store import Store

from npczarr.errors import StoreError
from npczarr.model.cohort import subject_of
from npczarr.model.label_set import TUMOR, flag_names
from npczarr.model.layout import Layout, padding_remark
from npczarr.model.schema import ACQUISITION_NAMES, SCAN_TABLES, STORED
from npczarr.store.contents import Contents
from npczarr.store.hierarchy import array, groups_of, open_group
from npczarr.store.holder import LEASE_KEY, died_here, holder, parse, token_of
from npczarr.store.lease import HEARTBEAT_KEY
from npczarr.store.location import Location, get, locate
from npczarr.store.measured import count_changed
from npczarr.store.open import open_location
from npczarr.store.results import damaged_results
from npczarr.store.seal import read_seal, seal_of
from npczarr.store.selection import select_patients
from npczarr.store.storage_errors import translate_damage

_MEASURED = ("echo_time", "repetition_time", "flip_angle", "slice_thickness", "spacing_between_slices", "field_of_view")
_SILENCE = timedelta(minutes=2)  # of a writer, which is heard of every half minute while it runs


def info(
    store: str | Path, *, where: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Describe a store.

    Parameters
    ----------
    store
        Folder or URL.
    where
        Which patients, as for :func:`npczarr.open`.
    storage_options
        Options of the file system; credentials belong in the environment.

    Returns
    -------
    dict
        Valid JSON: subjects, and their visits in `patients`; labels of the masks; scans by status for each sequence,
        ranges (median, min, max) of spacing in mm, shape and acquisition for each sequence, subjects by scanner,
        clinical columns, results, the seal (equal for two stores that hold the same) and whether it is that of what was
        written, or who is writing now, the cost of padding where it is much, and problems by scan. `changed` counts the
        scans that changed since a result was measured, by result; `damaged` says of each result that is damaged or was
        half written what is wrong with it and what to do. Of a selection nothing else is read, so there is no
        `changed`, no `damaged` and no seal; `selected_by` says whether the catalog chose, or why tables were read.

    Raises
    ------
    StoreError
        If there is no store.
    """
    location = locate(store, storage_options)
    with translate_damage(location.shown):
        if where is None:
            root = _open_root(location)
            dataset = open_location(location)
            damaged = damaged_results(open_group(location.open(read_only=True), location.shown, mode="r"))
            changed = {path: count for path, count in count_changed(root, dataset, damaged).items() if count}
            about = _described(dataset, location, root)
            about["results"] = [name for name in about["results"] if name not in damaged]
            return {**about, "changed": changed, "damaged": damaged, **_sealed(root)}
        found = select_patients(location, where)
        dataset = open_location(location, patients=found.patients)
        return {**_described(dataset, location, _open_root(location)), "selected_by": found.by}


def _open_root(location: Location) -> zarr.Group:
    return open_group(location.open(read_only=True), location.shown, mode="r", whole=False)


def _described(dataset: xr.Dataset, location: Location, root: zarr.Group) -> dict[str, Any]:
    image = dataset["image"]
    stored = np.isin(dataset["status"].values.astype(object), STORED)
    return {
        "store": location.shown,
        "schema": dataset.attrs["npczarr_schema"],
        "patients": dataset.sizes["patient"],
        "subjects": len({subject_of(str(label)) for label in dataset["patient"].values}),
        "labels": list(flag_names(dataset["mask"].attrs)) or [TUMOR],
        "sequences": [str(label) for label in dataset["sequence"].values],
        "scans": {str(s): _counts(dataset["status"].sel(sequence=s)) for s in dataset["sequence"].values},
        "masks": {str(s): _counts(dataset["mask_status"].sel(sequence=s)) for s in dataset["sequence"].values},
        "array": {"shape": list(image.shape), "dtype": image.encoding["dtype"].name},
        "voxel_bytes": _voxel_bytes(dataset),
        "ranges": {str(s): _ranges(dataset.sel(sequence=s)) for s in dataset["sequence"].values},
        "scanners": _scanners(dataset, stored),
        "clinical": _clinical(dataset),
        "padding": _padding(dataset, root),
        "results": sorted(name for name, _ in groups_of(root)),
        "problems": _problems(dataset),
    }


def _padding(dataset: xr.Dataset, root: zarr.Group) -> str:
    """Say how far padding inflates the scans, where it is much."""
    image = array(root, "image")
    (z, y, x), (depth, rows, columns) = image.shape[-3:], image.chunks[-3:]
    layout = Layout((z, y, x), (depth, rows, columns), (depth, rows, columns))
    shapes = [(int(a), int(b), int(c)) for a, b, c in dataset["shape"].values.reshape(-1, 3)]
    return padding_remark(shapes, layout)


def _sealed(root: zarr.Group) -> dict[str, str]:
    """Return the seal of what the store holds now, and whether it is that of what npczarr wrote."""
    state = _writer(root.store)
    sealed, now = read_seal(root.store), seal_of(Contents(root))
    if not state and sealed is not None and not sealed.changed and not sealed.differences(now):
        state = "as npczarr wrote it"
    state = state or _writer(root.store)  # who began while it was read
    if not state and sealed is None:
        state = "not sealed: another program wrote this store, or a run of npczarr was interrupted"
    return {"seal": now.digest, "sealed": state or "changed since npczarr sealed it; npczarr validate names what"}


def _writer(store: Store) -> str:
    """Say who holds the lease of a store; "" if nobody does, or a process of this machine that no longer runs."""
    try:
        lease = get(store, LEASE_KEY)
        beat = parse(None if lease is None else get(store, HEARTBEAT_KEY))
    except StoreError:  # a bucket without the right to list refuses what is absent
        return ""
    if lease is None or died_here(lease):
        return ""
    last = beat.get("time") if beat.get("token") == token_of(lease) else parse(lease).get("since")
    if _is_recent(last):
        return f"being written by {holder(lease)}; npczarr seals it at the end"
    return f"not sealed: held by {holder(lease)}, last heard of at {last}; if it died, run it again with --break-lock"


def _is_recent(time: object) -> bool:
    """Whether a lease or heartbeat says a time after which its writer cannot be called silent yet."""
    try:
        return datetime.now(UTC) - datetime.fromisoformat(str(time)) < _SILENCE
    except (ValueError, TypeError):  # no time, or one without a zone
        return False


def _voxel_bytes(dataset: xr.Dataset) -> int:
    """Bytes of the scans and masks without padding; a store of raters holds a mask each and no images."""
    voxels = int(dataset["shape"].prod("axis").sum())
    if "rater" in dataset.dims:
        return voxels * dataset.sizes["rater"]
    return voxels * (int(dataset["image"].encoding["dtype"].itemsize) + 1)


def _counts(values: xr.DataArray) -> dict[str, int]:
    return dict(sorted(Counter(str(value) or "pending" for value in values.values).items()))


def _ranges(dataset: xr.Dataset) -> dict[str, list[float]]:
    """Median, minimum and maximum over the scans that have a value."""
    columns = {f"spacing_{a}": dataset["spacing"].sel(axis=a).values for a in dataset["axis"].values}
    columns |= {f"shape_{a}": dataset["shape"].sel(axis=a).values.astype(float) for a in dataset["axis"].values}
    columns |= {name: dataset[name].values for name in _MEASURED}
    ranges = {}
    for name, values in columns.items():
        known = values[np.isfinite(values) & (values != 0)]
        if len(known):
            ranges[name] = [float(f(known)) for f in (np.median, np.min, np.max)]
    return ranges


def _scanners(dataset: xr.Dataset, stored: np.ndarray[Any, Any]) -> dict[str, int]:
    """Subjects by scanner; a subject on two scanners counts for both."""
    models = dataset["scanner_model"].values.astype(object)
    seen = {
        (subject_of(str(label)), str(model))
        for label, row, there in zip(dataset["patient"].values, models, stored, strict=True)
        for model in row[there]
        if model
    }
    return dict(Counter(model for _, model in sorted(seen)).most_common())


def _clinical(dataset: xr.Dataset) -> dict[str, str]:
    """Columns of tables and where they come from."""
    own = {variable.name for variable in SCAN_TABLES} | ACQUISITION_NAMES
    found = (name for name in dataset.variables if name not in own and "source_table" in dataset[name].attrs)
    return {
        str(n): f"{dataset[n].attrs['source_table']}: {dataset[n].attrs['source_column']}"
        for n in sorted(found, key=str)
    }


def _problems(dataset: xr.Dataset) -> list[dict[str, str]]:
    problems = []
    for patient in dataset["patient"].values:
        for sequence in dataset["sequence"].values:
            one = dataset.sel(patient=patient, sequence=sequence)
            status = str(one["status"].values)
            if status != "ok":
                problems.append(
                    {
                        "patient": str(patient),
                        "sequence": str(sequence),
                        "status": status,
                        "message": str(one["message"].values),
                    }
                )
    return problems
