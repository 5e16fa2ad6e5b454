"""Predicted masks in files, laid on the scans of a cohort: read and placed when they are computed."""

from __future__ import annotations

import math
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
from npczarr.model.labels import NoDeclaredLabelError
from npczarr.model.records import Mask
from npczarr.model.schema import SCAN
from npczarr.sources.files import Source
from npczarr.sources.masks import read_mask
from npczarr.sources.structures.drawn_on import StoredIdentity, image_of
from npczarr.sources.structures.masks import is_structure, read_object
from npczarr.sources.structures.records import ImageUids
from npczarr.store.describe import SALT, uid_digest

_IDENTITY = ("image_digest", "series_digest", "frame_digest")
_THICKNESS = "slice_thickness"


@dataclass(frozen=True, slots=True)
class PredictedScan:
    """Files of one predicted mask, and what the store says of the identity of its scan; None where it says nothing."""

    files: ScanFiles
    identity: StoredIdentity | None


def lay_files(
    dataset: xr.Dataset, source: Source, scans: Mapping[tuple[str, str], ScanFiles]
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Build the lazy array of predicted masks, one block a scan, read and placed when it is computed.

    The dimensions of the Dataset are in the order of a store. A scan is given the file of its own patient and sequence,
    whichever dimensions tell them.

    Returns
    -------
    tuple
        Masks, where there are any, and what must be known of each: see
        :class:`npczarr.graphs.predicted_masks.PredictedMasks`.

    Raises
    ------
    ParameterError
        If the Dataset does not say of which patient and sequence a scan is.
    """
    reference = dataset["mask"]
    lead = reference.dims[:-3]
    sizes = {dim: dataset.sizes[dim] for dim in lead}
    labels = scan_labels(dataset, lead)
    names = ("shape", "affine", *_IDENTITY, _THICKNESS)
    known = dataset.reset_coords()[[name for name in names if name in dataset.variables]].compute()
    files = np.empty(tuple(sizes.values()), dtype=object)
    identities = _identities(known, sizes)
    for at in np.ndindex(*files.shape):
        key = str(labels[SCAN[0]][at]), str(labels[SCAN[1]][at])
        if (found := scans.get(key)) is not None:
            files[at] = PredictedScan(found, None if identities is None else _identity(key, identities, at))
    there = xr.DataArray(files != np.array(None), dims=lead)
    check_whole(known["shape"].transpose(..., "axis").values, dataset.sizes)
    read = _reads(known, files, source, sizes)
    voxels = _voxels(read, tuple(dataset.sizes[axis] for axis in AXES))
    return xr.DataArray(voxels, dims=reference.dims), there, xr.DataArray(_said(read), dims=lead)


def _reads(known: xr.Dataset, files: NDArray[Any], source: Source, sizes: Mapping[Any, int]) -> da.Array:
    """Build the array of masks (…) as they are read, each a :class:`Mask` or None, one block a scan."""
    shape = known["shape"].variable.set_dims({**sizes, "axis": 3}).values
    affine = known["affine"].variable.set_dims({**sizes, "affine_row": 4, "affine_column": 4}).values
    grids = np.concatenate([shape, affine.reshape(*files.shape, 16)], axis=-1, dtype=np.float64)
    letters = tuple(range(files.ndim))
    read: da.Array = da.blockwise(
        _predicted,
        letters,
        da.from_array(files, chunks=1),
        letters,
        da.from_array(grids, chunks=(*(1 for _ in files.shape), -1)),
        (*letters, 103),
        concatenate=True,
        dtype=object,
        meta=np.empty((0,) * files.ndim, dtype=object),
        source=source,
        salt=str(known.attrs.get(SALT, "")),
    )
    return read


def _said(read: da.Array) -> da.Array:
    """Build the array of messages (…), one block a scan."""
    letters, none = tuple(range(read.ndim)), np.empty((0,) * read.ndim, dtype=object)
    said: da.Array = da.blockwise(_messages, letters, read, letters, dtype=object, meta=none)
    return said


def _voxels(read: da.Array, extent_zyx: tuple[int, ...]) -> da.Array:
    """Build the array of predicted masks (…, z, y, x), one block a scan."""
    letters = tuple(range(read.ndim))
    voxels: da.Array = da.blockwise(
        _padded,
        (*letters, 100, 101, 102),
        read,
        letters,
        new_axes=dict(zip((100, 101, 102), extent_zyx, strict=True)),
        dtype=np.uint8,
        meta=np.empty((0,) * (read.ndim + 3), dtype=np.uint8),
        extent_zyx=extent_zyx,
    )
    return voxels


def _identities(dataset: xr.Dataset, sizes: Mapping[Any, int]) -> dict[str, NDArray[Any]] | None:
    """Digests by which DICOM masks are known to be of a scan, on the scans; None where the Dataset has none."""
    if SALT not in dataset.attrs or any(name not in dataset for name in _IDENTITY):
        return None
    names = (*_IDENTITY, _THICKNESS) if _THICKNESS in dataset else _IDENTITY
    return {name: dataset[name].variable.set_dims(sizes).values for name in names}


def _identity(key: tuple[str, str], tables: Mapping[str, NDArray[Any]], at: tuple[int, ...]) -> StoredIdentity:
    thickness = float(tables[_THICKNESS][at]) if _THICKNESS in tables else math.nan
    image, series, frame = (str(tables[name][at]) for name in _IDENTITY)
    return StoredIdentity(*key, image, series, frame, thickness)


def _predicted(files: NDArray[Any], grids: NDArray[np.float64], *, source: Source, salt: str) -> NDArray[Any]:
    files = np.asarray(files, dtype=object)
    result = np.empty(files.shape, dtype=object)
    for at in np.ndindex(*files.shape):
        scan: Any = files[at]
        if scan is not None:
            z, y, x = (int(n) for n in grids[at][:3])
            if min(z, y, x) > 0:
                result[at] = _read(source, scan, salt, Grid((z, y, x), grids[at][3:].reshape(4, 4)))
    return result


def _padded(read: NDArray[Any], *, extent_zyx: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the voxels (…, z, y, x) of what was read, 0 where there is nothing."""
    read = np.asarray(read, dtype=object)
    result = np.zeros((*read.shape, *extent_zyx), dtype=np.uint8)
    for at in np.ndindex(*read.shape):
        found: Any = read[at]
        if found is not None:
            z, y, x = found.mask.shape
            result[at][:z, :y, :x] = found.mask
    return result


def _messages(read: NDArray[Any]) -> NDArray[Any]:
    """Say what must be known of each mask that was read."""
    read = np.asarray(read, dtype=object)
    result = np.full(read.shape, "", dtype=object)
    for at in np.ndindex(*read.shape):
        found: Any = read[at]
        if found is not None:
            result[at] = "; ".join(found.warnings)
    return result


def _read(source: Source, scan: PredictedScan, salt: str, grid: Grid) -> Mask:
    files = scan.files
    try:
        return read_mask(source, files.masks, grid, files.labels, image=_image(source, scan, salt))
    except NoDeclaredLabelError as error:  # a model may have found nothing but what is not asked for
        return Mask(np.zeros(grid.shape_zyx, dtype=np.uint8), warnings=(f"{error}. It counts as empty",))
    except NpczarrError as error:
        raise SourceError(f"{files.patient}/{files.sequence}: prediction: {error}") from error


def _image(source: Source, scan: PredictedScan, salt: str) -> ImageUids | None:
    """Find the identifiers of the scan among those that DICOM masks name; None for NIfTI, which names none."""
    if scan.identity is None:
        return None
    contents = source.read([file.path for file in scan.files.masks])
    objects = [read_object(c, source.limits) for c in contents if isinstance(c, bytes) and is_structure(c)]
    return image_of(scan.identity, partial(uid_digest, salt=salt), objects) if objects else None
