"""Predicted masks in files, laid on the scans of a cohort: read and placed when they are computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import NpczarrError, SourceError
from npczarr.model.cohort import ScanFiles
from npczarr.model.geometry import Grid
from npczarr.model.schema import SCAN
from npczarr.sources.files import Source
from npczarr.sources.masks import read_mask
from npczarr.sources.structures.drawn_on import StoredIdentity, image_of
from npczarr.sources.structures.masks import is_structure, read_object
from npczarr.sources.structures.records import ImageUids
from npczarr.store.describe import SALT, uid_digest

_IDENTITY = ("image_digest", "series_digest", "frame_digest")


@dataclass(frozen=True, slots=True)
class PredictedScan:
    """Files of one predicted mask, and what the store says of the identity of its scan; None where it says nothing."""

    files: ScanFiles
    identity: StoredIdentity | None


def lay_files(
    dataset: xr.Dataset, source: Source, scans: Mapping[tuple[str, str], ScanFiles]
) -> tuple[xr.DataArray, xr.DataArray]:
    """Build the lazy array of predicted masks, one block a scan, read and placed when it is computed.

    The dimensions of the Dataset are in the order of a store.
    """
    reference = dataset["mask"]
    lead = reference.dims[:-3]
    known = dataset.reset_coords()[[name for name in ("shape", "affine", *_IDENTITY) if name in dataset]].compute()
    patients, sequences = (np.atleast_1d(dataset[dim].values) for dim in SCAN)
    files = np.empty((len(patients), len(sequences)), dtype=object)
    for i, patient in enumerate(patients):
        for j, sequence in enumerate(sequences):
            found = scans.get((str(patient), str(sequence)))
            files[i, j] = None if found is None else PredictedScan(found, _identity(known, found))
    listed = xr.DataArray(files, dims=SCAN).isel({dim: 0 for dim in SCAN if dim not in lead})
    there = xr.DataArray(listed.values != np.array(None), dims=lead)
    flat = known["affine"].stack(grid=("affine_row", "affine_column"))
    shape = known["shape"].astype(float).rename(axis="grid")
    grids = xr.concat([_bare(shape), _bare(flat)], dim="grid").transpose(*lead, "grid")
    letters = tuple(range(len(lead)))
    blocks = da.blockwise(
        _predicted,
        (*letters, 100, 101, 102),
        da.from_array(np.asarray(listed.values, dtype=object), chunks=1),
        letters,
        da.asarray(grids.data).rechunk((*(1 for _ in lead), -1)),
        (*letters, 103),
        new_axes=dict(zip((100, 101, 102), reference.shape[-3:], strict=True)),
        concatenate=True,
        dtype=np.uint8,
        meta=np.empty((0,) * reference.ndim, dtype=np.uint8),
        source=source,
        salt=str(dataset.attrs.get(SALT, "")),
        extent_zyx=reference.shape[-3:],
    )
    return xr.DataArray(blocks, dims=reference.dims), there


def _identity(dataset: xr.Dataset, files: ScanFiles) -> StoredIdentity | None:
    if SALT not in dataset.attrs or any(name not in dataset for name in _IDENTITY):
        return None
    key = (files.patient, files.sequence)
    place = {dim: label for dim, label in zip(SCAN, key, strict=True) if dim in dataset.dims}
    return StoredIdentity(*key, *(str(dataset[name].sel(place).values) for name in _IDENTITY))


def _bare(values: xr.DataArray) -> xr.DataArray:
    return values.drop_vars([name for name in values.coords if name not in ("patient", "sequence")])


def _predicted(
    files: NDArray[Any], grids: NDArray[np.float64], *, source: Source, salt: str, extent_zyx: tuple[int, ...]
) -> NDArray[np.uint8]:
    files = np.asarray(files, dtype=object)
    result = np.zeros((*files.shape, *extent_zyx), dtype=np.uint8)
    for at in np.ndindex(*files.shape):
        scan: Any = files[at]
        if scan is not None:
            z, y, x = (int(n) for n in grids[at][:3])
            if min(z, y, x) > 0:
                result[at][:z, :y, :x] = _read(source, scan, salt, Grid((z, y, x), grids[at][3:].reshape(4, 4)))
    return result


def _read(source: Source, scan: PredictedScan, salt: str, grid: Grid) -> NDArray[np.uint8]:
    files = scan.files
    try:
        return read_mask(source, files.masks, grid, files.labels, image=_image(source, scan, salt)).mask
    except NpczarrError as error:
        raise SourceError(f"{files.patient}/{files.sequence}: prediction: {error}") from error


def _image(source: Source, scan: PredictedScan, salt: str) -> ImageUids | None:
    """Find the identifiers of the scan among those that DICOM masks name; None for NIfTI, which names none."""
    if scan.identity is None:
        return None
    contents = source.read([file.path for file in scan.files.masks])
    objects = [read_object(c, source.limits) for c in contents if isinstance(c, bytes) and is_structure(c)]
    return image_of(scan.identity, partial(uid_digest, salt=salt), objects) if objects else None
