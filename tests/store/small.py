"""Stores of small chunks, and what tests do to them."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import npczarr as npc
from npczarr.errors import StoreError
from npczarr.model.layout import Layout
from npczarr.store.create import create
from npczarr.store.describe import root_attributes
from npczarr.store.location import locate

SEQUENCES = ("CE-T1WI", "T1WI", "T2WI")
#: Chunks of which a scan of 4 to 6 slices of 8 x 9 voxels has several along each axis, the last ones in part.
LAYOUT = Layout((6, 8, 9), (2, 5, 4), (3, 5, 4))


def make_small(source: Path, url: Path, *, layout: Layout = LAYOUT, patients=(), **options) -> Path:
    """Convert a cohort into a store whose chunks are smaller than the layout rule would make them."""
    create(locate(url).open(), patients, (), layout, root_attributes(layout.dtype, rated=False, of={}))
    npc.convert(source, url, workers=0, **options)
    return url


def part(source: Path, folder: Path, *patients: str) -> Path:
    """Copy some patients of a source, with their time stamps."""
    chosen = {"001", "002", "003"} - set(patients)
    return shutil.copytree(source, folder, ignore=lambda _, names: chosen & set(names))


def objects(store: Path, name: str) -> list[str]:
    """Keys of the chunks of an array."""
    return sorted(str(p.relative_to(store)) for p in (store / name / "c").rglob("*") if p.is_file())


def snapshot(store: Path) -> dict[str, bytes]:
    """Every object of a store."""
    return {str(p.relative_to(store)): p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()}


def metadata(store: Path, name: str) -> dict:
    """The metadata of an array, or of the root where the name is empty."""
    return json.loads((store / name / "zarr.json").read_text())


def by_xarray(dataset, url, **options) -> Path:
    """Write a Dataset as anyone would, without npczarr; that zarr and xarray warn of their own writing is not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.to_zarr(url, **{"zarr_format": 3, **options})
    return url


def outcome(act):
    """What an act gives, and None; or None, and the error of the store."""
    try:
        return act(), None
    except StoreError as error:
        return None, error


def places(dataset):
    """Index and labels of every scan."""
    return [
        ((p, s), str(patient), str(sequence))
        for p, patient in enumerate(dataset.patient.values)
        for s, sequence in enumerate(dataset.sequence.values)
    ]
