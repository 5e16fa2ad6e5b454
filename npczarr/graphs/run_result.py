"""What became of each scan of a run that writes to a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from npczarr.model.imported import imports_in, say_gone
from npczarr.model.records import Row
from npczarr.model.schema import SCAN, STORED, TEXT
from npczarr.sources.same_person import who_share
from npczarr.store.rows import Key

#: Tables of which a run remembers what they held before it.
REMEMBERED = ("status", "mask_status", "mask_digest", "message")
Tables = Mapping[str, Mapping[Key, Any]]


def run_result(
    patients: Sequence[str], sequences: Sequence[str], rows: Mapping[Key, Row], before: Tables, now: Tables
) -> xr.Dataset:
    """Tell what became of each scan.

    Parameters
    ----------
    patients, sequences
        Labels of the scans that the run was asked to write or to keep.
    rows
        Those that it wrote, or declined to, or kept though their source has got worse.
    before, now
        The tables of :data:`REMEMBERED` before the run; `status`, `message` and `mask_status` after it.

    Returns
    -------
    xarray.Dataset
        On (patient, sequence): `status`, `message`, `mask_status`, `action` (written, replaced, kept or none),
        `seconds`, `source_bytes`; in the attributes `masks_gone`, `source_worse`, `named` (patients whose label is
        the name in their headers) and `same_number` (those who share a PatientID, one tuple each).
    """
    keys = [[(patient, sequence) for sequence in sequences] for patient in patients]

    def table(value: Callable[[Key], Any], dtype: Any) -> tuple[tuple[str, ...], Any]:  # noqa: ANN401 - a dtype
        return SCAN, np.array([[value(key) for key in line] for line in keys], dtype=dtype)

    found = {name: dict(now[name]) for name in ("status", "message", "mask_status")}
    for key, row in rows.items():
        if row.declined:
            found["status"][key], found["message"][key] = "refused", row.declined
        elif row.kept:
            found["status"][key] = "warning" if row.values["status"] in STORED else row.values["status"]
            found["message"][key] = "; ".join(part for part in (row.kept, str(found["message"][key])) if part)
    variables = {name: table(values.__getitem__, TEXT) for name, values in found.items()}
    variables["action"] = table(lambda key: _action(rows.get(key), str(before["status"][key])), TEXT)
    variables["seconds"] = table(lambda key: rows[key].seconds if key in rows else 0.0, np.float64)
    variables["source_bytes"] = table(lambda key: rows[key].source_bytes if key in rows else 0, np.int64)
    names = {"patient": np.array(patients, TEXT), "sequence": np.array(sequences, TEXT)}
    worse = ["/".join(key) for key, row in rows.items() if row.kept]
    named = sorted({row.patient for row in rows.values() if row.named})
    same_number = who_share((row.patient, row.person) for row in rows.values())
    attributes = {"masks_gone": _masks_gone(rows, before), "source_worse": worse, "named": named}
    return xr.Dataset(variables, coords=names, attrs={**attributes, "same_number": same_number})


def changed(result: xr.Dataset) -> bool:
    """Whether a run has written anything."""
    return bool((result["action"] != "kept").any())


def _action(row: Row | None, before: str) -> str:
    if row is None or row.kept:
        return "kept"
    if row.declined or row.values["status"] not in STORED:
        return "none"
    return "replaced" if before in STORED else "written"


def _masks_gone(rows: Mapping[Key, Row], before: Tables) -> list[str]:
    """Name the scans that had a mask and have none any more."""
    written = {key: row.values["mask_status"] for key, row in rows.items() if row.is_written}
    return ["/".join(key) for key, now in written.items() if before["mask_status"][key] in STORED and now not in STORED]


def with_lost_import(row: Row, before: Tables) -> Row:
    """Say in a row that a mask that was imported is gone; as it is where none was, or the new one is the same."""
    if not row.is_written:
        return row
    key, message = (row.patient, row.sequence), str(row.values["message"])
    lost = imports_in(str(before["message"][key])) - imports_in(message)
    if not lost or row.values.get("mask_digest", "") == before["mask_digest"][key]:
        return row
    words = say_gone(str(row.values["mask_status"]))
    status = "warning" if row.values["status"] == "ok" else row.values["status"]
    told = {"status": status, "message": "; ".join(part for part in (words, message) if part)}
    return replace(row, values={**row.values, **told})
