"""What became of each scan of a run that writes to a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from npczarr.model.imported import mask_before
from npczarr.model.records import Row
from npczarr.model.schema import SCAN, STORED
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
        Those that it wrote, or declined to.
    before, now
        The tables of :data:`REMEMBERED` before the run; `status`, `message` and `mask_status` after it.

    Returns
    -------
    xarray.Dataset
        On (patient, sequence): `status`, `message`, `mask_status`, `action` (written, replaced, kept or none),
        `seconds`, `source_bytes`; in the attributes `masks_gone` and `imports_gone`.
    """
    keys = [[(patient, sequence) for sequence in sequences] for patient in patients]
    text = np.dtypes.StringDType()

    def table(value: Callable[[Key], Any], dtype: Any) -> tuple[tuple[str, ...], Any]:  # noqa: ANN401 - a dtype
        return SCAN, np.array([[value(key) for key in line] for line in keys], dtype=dtype)

    found = {name: dict(now[name]) for name in ("status", "message", "mask_status")}
    for key, row in rows.items():
        if row.declined:
            found["status"][key], found["message"][key] = "refused", row.declined
    variables = {name: table(values.__getitem__, text) for name, values in found.items()}
    variables["action"] = table(lambda key: _action(rows.get(key), str(before["status"][key])), text)
    variables["seconds"] = table(lambda key: rows[key].seconds if key in rows else 0.0, np.float64)
    variables["source_bytes"] = table(lambda key: rows[key].source_bytes if key in rows else 0, np.int64)
    names = {"patient": np.array(patients, text), "sequence": np.array(sequences, text)}
    return xr.Dataset(variables, coords=names, attrs=_gone(rows, before))


def changed(result: xr.Dataset) -> bool:
    """Whether a run has written anything."""
    return bool((result["action"] != "kept").any())


def _action(row: Row | None, before: str) -> str:
    if row is None:
        return "kept"
    if row.declined or row.values["status"] not in STORED:
        return "none"
    return "replaced" if before in STORED else "written"


def _gone(rows: Mapping[Key, Row], before: Tables) -> dict[str, list[str]]:
    """Name the scans that have no mask any more, and those that have lost an imported one."""
    masks, imports = [], []
    for key, values in ((key, row.values) for key, row in rows.items() if not row.declined):
        if before["mask_status"][key] in STORED and values["mask_status"] not in STORED:
            masks.append("/".join(key))
        imported = _is_imported(before["message"][key]) and not _is_imported(values["message"])
        if imported and values.get("mask_digest", "") != before["mask_digest"][key]:
            imports.append("/".join(key))
    return {"masks_gone": masks, "imports_gone": imports}


def _is_imported(message: Any) -> bool:  # noqa: ANN401 - a string of NumPy or of Python
    return mask_before(str(message)) is not None
