"""A damaged store made whole again: what its source still has is written again, and labels are put back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from npczarr.errors import StoreError
from npczarr.graphs.convert import convert
from npczarr.model.cohort import Cohort
from npczarr.model.derived import is_derived
from npczarr.model.imported import GONE
from npczarr.model.progress import OnProgress
from npczarr.model.schema import INDEXES, ROW_DIGEST, SCAN_TABLES, STORED, TEXT
from npczarr.sources.config import load_config
from npczarr.sources.discover import discover
from npczarr.sources.files import open_source
from npczarr.store.cohort import StoredCohort
from npczarr.store.create import add_table
from npczarr.store.hierarchy import RESIZING, array, arrays_of, dimension_sizes, open_group
from npczarr.store.lease import Lease, hold_lease
from npczarr.store.location import Location, delete, delete_below, keys_below, put
from npczarr.store.metadata import DECODED
from npczarr.store.rows import Key, Rows
from npczarr.store.seal import digest_row, status_before
from npczarr.store.validate import check_tables
from npczarr.store.zarr_library import consolidate


def repair_store(
    location: Location,
    source: str | Path,
    damaged: Collection[Key],
    *,
    config: str | Path | None,
    workers: int | None,
    scheduler: str | None,
    source_options: Mapping[str, Any] | None,
    on_progress: OnProgress | None,
) -> list[Key]:
    """Put metadata and labels back, and write damaged scans, rows and columns again from the source.

    Parameters
    ----------
    location, source
        The store, and what it was made from.
    damaged
        Patient and sequence of the scans whose voxels are to be written again.
    config, workers, scheduler, source_options, on_progress
        As for :func:`npczarr.convert`.

    Returns
    -------
    list of (patient, sequence)
        Scans that have lost the mask that the store held, such as an imported one.

    Raises
    ------
    StoreError
        If its voxel arrays are gone.
    """
    rules = load_config(config)
    cohort = discover(open_source(source, source_options, rules.limits), rules)
    store = location.open()
    with hold_lease(store, location.shown) as lease:
        held = _prepare(open_group(store, location.shown, whole=False), location, lease, damaged, cohort)
    result = convert(
        source,
        location.url,
        config=config,
        workers=workers,
        scheduler=scheduler,
        storage_options=dict(location.options),
        source_options=source_options,
        on_progress=on_progress,
    )
    now = Rows(open_group(location.open(read_only=True), location.shown, mode="r")).read("mask_digest")
    keys = product(cohort.patients, cohort.sequences)
    outcomes = zip(keys, result.action.values.flat, result.message.values.flat, strict=True)
    told = [key for key, action, message in outcomes if action != "kept" and GONE in message]
    return list(dict.fromkeys([*(key for key, mask in held.items() if now.get(key) != mask), *told]))


def accept(location: Location) -> None:
    """Seal a store as it is; rows that another program wrote or changed get digests of what they say."""
    store = location.open()
    with hold_lease(store, location.shown) as lease:
        root = open_group(store, location.shown, whole=False)
        rows = Rows(root, lease)
        status = rows.read("status")
        rows.amend({key: {} for key in _strange_rows(root, rows) if status[key] != "pending"})
        lease.accept()


def _prepare(
    root: zarr.Group, location: Location, lease: Lease, damaged: Collection[Key], cohort: Cohort
) -> dict[Key, str]:
    """Make a store fit to be converted into: metadata and labels as they were, damaged scans pending.

    Returns the digests of those masks of damaged scans that are whole.
    """
    missing = [name for name in ("image", "mask") if name not in root]
    if missing:
        raise StoreError(f"{location.shown}: {missing[0]} is gone, which nothing can repair; convert into a new store")
    with lease.writing():
        _restore_metadata(root)
        _restore_tables(root)
        _drop_damaged_results(root)
        _restore_labels(root, cohort)
        consolidate(root)
    rows = Rows(root, lease)
    blank = _strange_rows(root, rows)
    pending = dict.fromkeys([*(key for key in damaged if key[0] in rows.patients), *blank])
    held = _whole_masks(StoredCohort(location, root), rows, pending)
    rows.mark_pending(list(pending))
    # a row that is not as it was written says nothing reliable of its series
    rows.set_texts({name: dict.fromkeys(blank, "") for name in ("series_digest", "source_digest")})
    return held


def _whole_masks(cohort: StoredCohort, rows: Rows, scans: Collection[Key]) -> dict[Key, str]:
    """Digests of the masks that are as their digest says, whatever else is damaged; the others are not known."""
    digests, held = rows.read("mask_digest"), {}
    for key in scans:
        with suppress(Exception):  # damage shows in any way
            if digests[key] and cohort.scan(*key).mask().size:
                held[key] = str(digests[key])
    return held


def _restore_metadata(root: zarr.Group) -> None:
    """Give known arrays their attributes, and those that are gone their place."""
    sizes = dimension_sizes(root)
    there = dict(arrays_of(root))
    for variable in (*SCAN_TABLES, *INDEXES):
        found = there.get(variable.name)
        if found is None:
            add_table(root, variable, sizes)
            continue
        kept = {key: value for key, value in found.attrs.asdict().items() if key not in (*DECODED, "units")}
        if {**kept, **variable.all_attributes()} != found.attrs.asdict():
            found.attrs.put({**kept, **variable.all_attributes()})
    for name in ("image", "mask"):
        kept = {key: value for key, value in there[name].attrs.asdict().items() if key not in (*DECODED, "units")}
        if kept != there[name].attrs.asdict():
            there[name].attrs.put(kept)


def _restore_tables(root: zarr.Group) -> None:
    """Delete chunks of tables that cannot be read, and write all tables whole; what was lost is filled."""
    named = {finding.problem.partition(":")[0] for finding in check_tables(root, results=False)}
    if not named:
        return
    put(root.store, RESIZING, b"")
    for name in named:
        table = array(root, name)
        try:
            table[...]
        except Exception:  # codecs name damage in a dozen ways
            for key in keys_below(root.store, f"{name}/c"):
                _delete_if_damaged(root, name, key)
        table[...] = table[...]
    status = array(root, "status")
    values = status[...]
    values[values == ""] = "pending"
    status[...] = values
    delete(root.store, RESIZING)


def _delete_if_damaged(root: zarr.Group, name: str, key: str) -> None:
    table = array(root, name)
    at = tuple(int(i) for i in key.removeprefix(f"{name}/c/").split("/"))
    box = tuple(slice(i * chunk, (i + 1) * chunk) for i, chunk in zip(at, table.chunks, strict=True))
    try:
        table[box]
    except Exception:
        delete(root.store, key)


def _drop_damaged_results(root: zarr.Group) -> None:
    """Delete results that cannot be read whole: they are measured again from the masks."""
    paths = {finding.problem.partition(":")[0] for finding in check_tables(root, results=True)}
    # of what is no result, such as a review, nothing can be made again
    for group in sorted({path.rpartition("/")[0] for path in paths if is_derived(path)}):
        delete_below(root.store, group)


def _restore_labels(root: zarr.Group, cohort: Cohort) -> None:
    """Give each row the labels that its digest was made with, where the store or the source knows them."""
    found = {dim: [str(label) for label in array(root, dim)[...]] for dim in ("patient", "sequence")}
    known = {dim: list(dict.fromkeys([*found[dim], *labels_])) for dim, labels_ in (
        ("patient", cohort.patients), ("sequence", cohort.sequences))}  # fmt: skip
    tables = {variable.name: array(root, variable.name)[...] for variable in SCAN_TABLES}
    restored = {dim: list(there) for dim, there in found.items()}
    for p, s in np.ndindex(len(found["patient"]), len(found["sequence"])):
        row = {name: values[p, s] for name, values in tables.items()}
        if row["status"] == "pending" or not row[ROW_DIGEST]:
            continue
        pairs = [(restored["patient"][p], restored["sequence"][s]), *product(known["patient"], known["sequence"])]
        owner = next((pair for pair in pairs if digest_row(*pair, row) == row[ROW_DIGEST]), None)
        if owner is not None:
            restored["patient"][p], restored["sequence"][s] = owner
    for dim, there in restored.items():
        if there != found[dim] and len(set(there)) == len(there):
            array(root, dim)[...] = np.array(there, dtype=TEXT)


def _strange_rows(root: zarr.Group, rows: Rows) -> list[Key]:
    """List the rows that do not match their digest, or that have none though their scan is stored."""
    tables = {variable.name: array(root, variable.name)[...] for variable in SCAN_TABLES}
    strange = []
    for key in ((patient, sequence) for patient in rows.patients for sequence in rows.sequences):
        row = {name: values[rows.place(key)] for name, values in tables.items()}
        known = str(row[ROW_DIGEST])
        before = status_before(*key, row)  # what an interrupted run left pending is as it was written, but for that
        if (known or row["status"] in STORED) and digest_row(*key, {**row, "status": before}) != known:
            strange.append(key)
    return strange
