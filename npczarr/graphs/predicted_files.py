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
from npczarr.graphs.changed_datasets import check_whole, scan_labels
from npczarr.model.cohort import ScanFiles
from npczarr.model.geometry import AXES, Grid
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

    The dimensions of the Dataset are in the order of a store. A scan is given the file of its own patient and sequence,
    whichever dimensions tell them.

    Raises
    ------
    ParameterError
        If the Dataset does not say of which patient and sequence a scan is.
    """
    reference = dataset["mask"]
    lead = reference.dims[:-3]
    sizes = {dim: dataset.sizes[dim] for dim in lead}
    labels = scan_labels(dataset, lead)
    known = dataset.reset_coords()[[name for name in ("shape", "affine", *_IDENTITY) if name in dataset]].compute()
    files = np.empty(tuple(sizes.values()), dtype=object)
    identities = _identities(known, sizes)
    for at in np.ndindex(*files.shape):
        key = str(labels[SCAN[0]][at]), str(labels[SCAN[1]][at])
        if (found := scans.get(key)) is not None:
            identity = None if identities is None else StoredIdentity(*key, *(str(one[at]) for one in identities))
            files[at] = PredictedScan(found, identity)
    there = xr.DataArray(files != np.array(None), dims=lead)
    check_whole(known["shape"].transpose(..., "axis").values, dataset.sizes)
    blocks = _blocks(known, files, source, sizes, tuple(dataset.sizes[axis] for axis in AXES))
    return xr.DataArray(blocks, dims=reference.dims), there


def _blocks(
    known: xr.Dataset, files: NDArray[Any], source: Source, sizes: Mapping[Any, int], extent_zyx: tuple[int, ...]
) -> da.Array:
    """Build the array of predicted masks (…, z, y, x), one block a scan."""
    shape = known["shape"].variable.set_dims({**sizes, "axis": 3}).values
    affine = known["affine"].variable.set_dims({**sizes, "affine_row": 4, "affine_column": 4}).values
    grids = np.concatenate([shape, affine.reshape(*files.shape, 16)], axis=-1, dtype=np.float64)
    letters = tuple(range(files.ndim))
    blocks: da.Array = da.blockwise(
        _predicted,
        (*letters, 100, 101, 102),
        da.from_array(files, chunks=1),
        letters,
        da.from_array(grids, chunks=(*(1 for _ in files.shape), -1)),
        (*letters, 103),
        new_axes=dict(zip((100, 101, 102), extent_zyx, strict=True)),
        concatenate=True,
        dtype=np.uint8,
        meta=np.empty((0,) * (files.ndim + 3), dtype=np.uint8),
        source=source,
        salt=str(known.attrs.get(SALT, "")),
        extent_zyx=extent_zyx,
    )
    return blocks


def _identities(dataset: xr.Dataset, sizes: Mapping[Any, int]) -> list[NDArray[Any]] | None:
    """Digests by which DICOM masks are known to be of a scan, on the scans; None where the Dataset has none."""
    if SALT not in dataset.attrs or any(name not in dataset for name in _IDENTITY):
        return None
    return [dataset[name].variable.set_dims(sizes).values for name in _IDENTITY]


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
