"""What a store says of itself: attributes of its root that need no program of ours to be understood."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import zarr

from npczarr.model.schema import INDEXES, SCAN_TABLES, SCHEMA_ATTRIBUTE, SCHEMA_VERSION, Variable, voxel_variables
from npczarr.store.location import get, put
from npczarr.store.zarr_library import consolidate

SALT = "npczarr_salt"
_PAGE = (
    "A cohort of medical image scans. Every array has named dimensions; `patient` and `sequence` label the first "
    "two. `image` (patient, sequence, z, y, x) holds the stored DICOM values of each scan, lossless; real value = "
    "rescale_slope * value + rescale_intercept, for each slice. `mask`, on the same dimensions, holds 0 for "
    "background and a number for each label, named by its attribute flag_meanings. Scans differ in size: scan (p, "
    "s) is [0:shape[p, s, 0], 0:shape[p, s, 1], 0:shape[p, s, 2]] of its place, and what is outside is padding, "
    "the attribute _FillValue of `image` (NaN where it is float32), or 0 in `mask`. `status` (patient, sequence) "
    'is "ok" or "warning" where a scan is stored, with the reason in `message`; else "refused", "missing" or '
    '"pending", and its voxels do not count. `mask_status` says the same of the mask. A chunk that meets the box '
    "of a stored scan is always written: one that is absent is damage, not background. image_digest and "
    "mask_digest are XXH3-128 of the scan's own voxels in C order, little endian, in the type of the array. "
    "`affine` (patient, sequence, 4, 4) takes voxel indices (x, y, z, 1), in this order, to patient coordinates "
    "in mm. `spacing` is the distance between voxel centers along z, y, x, `z_mm` their position along the slice "
    "normal. The other arrays on (patient, sequence) are from the DICOM headers, those on (patient) from clinical "
    "tables; their attributes name units and source. Groups beside the arrays, such as morphology, are results on "
    "the same patients and sequences."
)
_COORDINATE_SPACE = (
    "patient coordinates as DICOM defines them (LPS): x to the patient's left, y to the back, z to the head, in mm; "
    "voxel centers at whole indices"
)


def root_attributes(image_dtype: str, *, rated: bool, of: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a new store.

    They are text and numbers, no objects: netCDF files that xarray writes of a scan can hold nothing else.

    Parameters
    ----------
    image_dtype, rated
        Type of `image`; whether the store holds the masks of several raters.
    of
        Attributes that tell this cohort from others, such as `title`, `license` and `references`.
    """
    return {
        "title": "imaging cohort",
        "Conventions": "CF-1.11",
        **of,
        "description": _PAGE,
        "coordinate_space": _COORDINATE_SPACE,
        "json_schema": json.dumps(json_schema(image_dtype, rated=rated), separators=(",", ":")),
        "npczarr_version": version("npczarr"),
        SALT: secrets.token_hex(16),
    }


def uid_digest(uid: str, salt: str) -> str:
    """Digest of a UID: equal for equal UIDs in one store; "" for "".

    The salt is in the store. Whoever can guess a UID, as one that is made from the PatientID, finds it again by its
    digest; UIDs of a copy that npczarr deidentify made are random numbers, which nobody can guess.
    """
    return hashlib.blake2b(uid.encode(), key=bytes.fromhex(salt), digest_size=16).hexdigest() if uid else ""


def json_schema(image_dtype: str, *, rated: bool) -> dict[str, Any]:
    """JSON Schema of the store's root ``zarr.json`` with its consolidated metadata."""
    variables = (*voxel_variables(image_dtype, rated=rated), *INDEXES, *SCAN_TABLES)
    arrays = {variable.name: _array_schema(variable) for variable in variables}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"npczarr cohort store, schema version {SCHEMA_VERSION}",
        "type": "object",
        "required": ["zarr_format", "node_type", "attributes", "consolidated_metadata"],
        "properties": {
            "zarr_format": {"const": 3},
            "node_type": {"const": "group"},
            "attributes": {
                "type": "object",
                "required": [SCHEMA_ATTRIBUTE],
                "properties": {SCHEMA_ATTRIBUTE: {"const": SCHEMA_VERSION}},
            },
            "consolidated_metadata": {
                "type": "object",
                "required": ["metadata"],
                "properties": {"metadata": {"type": "object", "required": sorted(arrays), "properties": arrays}},
            },
        },
    }


def _array_schema(variable: Variable) -> dict[str, Any]:
    return {
        "required": ["data_type", "dimension_names"],
        "properties": {
            "data_type": {"const": variable.dtype},
            "dimension_names": {"const": list(variable.dims)},
            "attributes": {
                "type": "object",
                "properties": {"units": {"const": variable.units}} if variable.units else {},
            },
        },
    }


def add_history(root: zarr.Group, command: str, options: Mapping[str, Any]) -> None:
    """Add a line for a run that changed the store, as CF writes its attribute `history`: newest last.

    Parameters
    ----------
    command
        Such as ``"convert"``.
    options
        Options of the run, as far as they change what is stored; no paths, which may name people.
    """
    said = " ".join(f"{name}={value}" for name, value in options.items() if value not in (None, False, ()))
    line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} npczarr {version('npczarr')}: {command} {said}".rstrip()
    # in one write: zarr-python would write the root without its consolidated metadata first
    described = json.loads(get(root.store, "zarr.json") or b"{}")
    before = described["attributes"].get("history")
    described["attributes"]["history"] = f"{before}\n{line}" if before else line
    put(root.store, "zarr.json", json.dumps(described, indent=2).encode())
    if not described.get("consolidated_metadata"):  # a run of another program left none
        consolidate(root)
