"""A description of a packed store for data hubs, in Croissant 1.0 (docs.mlcommons.org/croissant)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import zarr

from npczarr.model.schema import STORED
from npczarr.store.hierarchy import array, arrays_of, dims_of, labels

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_FIELDS = {
    "name": "name of the array",
    "dimensions": "names of its dimensions, slowest first",
    "shape": "its length along each",
    "type": "Zarr data type",
    "units": "units of its values",
    "meaning": "what its values mean",
}


def describe(root: zarr.Group, *, file: str, size: int, sha256: str, url: str = "") -> dict[str, Any]:
    """Describe a packed store.

    Parameters
    ----------
    root
        The store.
    file, size, sha256
        Name of the zip file, its size in bytes, and its digest.
    url
        Where it is published; its name, if that is not known.

    Returns
    -------
    dict
        JSON-LD. The record set `arrays` holds one record for each array of the store.
    """
    attributes = root.attrs.asdict()
    found: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": str(attributes.get("title", "imaging cohort")),
        "description": f"{_counts(root)}\n\n{attributes.get('description', '')}",
        "url": url or file,
        "version": "1.0.0",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "store",
                "name": "store",
                "description": 'one Zarr v3 hierarchy, uncompressed zip: xarray.open_zarr("zip::' + file + '")',
                "contentUrl": url or file,
                "contentSize": f"{size} B",
                "encodingFormat": "application/zip",
                "sha256": sha256,
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "arrays",
                "name": "arrays",
                "description": "the arrays of the store",
                "key": {"@id": "arrays/name"},
                "field": [_field(name, meaning) for name, meaning in _FIELDS.items()],
                "data": [_record(name, one) for name, one in sorted(arrays_of(root))],
            }
        ],
    }
    license_, references = (str(attributes.get(name, "")) for name in ("license", "references"))
    return found | ({"license": license_} if license_ else {}) | ({"citeAs": references} if references else {})


def _counts(root: zarr.Group) -> str:
    stored = int(np.isin(array(root, "status")[...].astype(object), STORED).sum())
    sequences = labels(root, "sequence")
    return f"{len(labels(root, 'patient'))} patients, {stored} scans ({', '.join(sequences)})."


def _field(name: str, meaning: str) -> dict[str, Any]:
    identifier = f"arrays/{name}"
    return {
        "@type": "cr:Field",
        "@id": identifier,
        "name": identifier,
        "description": meaning,
        "dataType": "sc:Text",
    }


def _record(name: str, found: Any) -> dict[str, str]:  # noqa: ANN401 - a zarr array
    values = {
        "name": name,
        "dimensions": " ".join(dims_of(found)),
        "shape": json.dumps([int(n) for n in found.shape]),
        "type": "string" if found.dtype.kind in "TOU" else str(found.dtype),
        "units": str(found.attrs.get("units", "")),
        "meaning": str(found.attrs.get("long_name", "")),
    }
    return {f"arrays/{key}": value for key, value in values.items()}
