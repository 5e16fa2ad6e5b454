"""Digests by which a mark of a review knows the scan that was seen: its voxels, and where they lie in the patient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import xxhash
import zarr
from numpy.typing import NDArray

from npczarr.model.review import Key
from npczarr.store.hierarchy import labels, read_tables, tables_at

#: Tables on which the picture of a scan depends. Numbers of results depend on less: see `npczarr.store.results.INPUTS`.
_SEEN = ("image_digest", "mask_digest", "shape", "spacing", "affine")


def input_digests(root: zarr.Group, scans: Iterable[Key]) -> dict[Key, str]:
    """Digest of voxels and geometry of scans, as the store holds them now; web/src/seen.ts computes the same.

    Parameters
    ----------
    root
        The store.
    scans
        Patient and sequence of each scan; those that the store does not have are left out.
    """
    places = [{label: number for number, label in enumerate(labels(root, dim))} for dim in ("patient", "sequence")]
    known = {
        (patient, sequence): (places[0][patient], places[1][sequence])
        for patient, sequence in scans
        if patient in places[0] and sequence in places[1]
    }
    if not known:
        return {}
    tables = read_tables(tables_at(root, _SEEN))
    return {key: _digest(*(tables[name][place] for name in _SEEN)) for key, place in known.items()}


def _digest(image_digest: str, mask_digest: str, *geometry: NDArray[Any]) -> str:
    """Digest of the entries of one scan; shape (3,), spacing (3,) and affine (4, 4) as numbers that Python writes."""
    numbers = tuple(table.ravel().tolist() for table in geometry)
    return str(xxhash.xxh3_128_hexdigest(f"{image_digest} {mask_digest} {numbers}".encode()))
