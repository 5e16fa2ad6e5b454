"""A model's masks against the store's, as a lazy Dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import xxhash
from numpy.typing import NDArray

from npczarr.errors import NpczarrError, ParameterError, SourceError, unknown_label
from npczarr.graphs.convert_scan import source_digest
from npczarr.graphs.label_dim import LabelChoice
from npczarr.graphs.measure import TOLERANCE_MM, compare_scans
from npczarr.model.cohort import File, ScanFiles
from npczarr.model.geometry import AXES, Grid
from npczarr.model.label_set import TUMOR, Labels, flag_names, labels_of_store, renumbered
from npczarr.model.options import redacted
from npczarr.model.schema import SCAN
from npczarr.sources.config import load_config
from npczarr.sources.discover import sort_files
from npczarr.sources.files import Source, open_source
from npczarr.sources.masks import read_mask
from npczarr.store.location import get, locate
from npczarr.store.open import open_location

_SAME_GRID_MM = 1e-3


def score(
    dataset: xr.Dataset,
    predictions: str | Path,
    *,
    tolerance: float = TOLERANCE_MM,
    config: str | Path | None = None,
    label: LabelChoice = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Compare predicted masks with a cohort's own; lazy.

    Parameters
    ----------
    dataset
        A cohort opened from a store, or any selection of it: the reference.
    predictions
        Folder, zip or URL of masks in the source's layout, NIfTI in any orientation (their affine places them), SEG or
        RTSTRUCT; or another store with the same scans. Their labels are the store's own numbers and names, unless the
        configuration declares others.
    tolerance
        In mm, for `surface_dice`.
    config
        TOML file that describes the layout of the predictions, and their labels.
    label
        As for :func:`npczarr.morphology`.
    storage_options
        Options of the predictions' file system.

    Returns
    -------
    xarray.Dataset
        As :func:`npczarr.agreement`, on (patient, sequence); NaN where there is no prediction or no reference.

    Raises
    ------
    SourceError
        If there are no predictions; on computing, if one cannot be read or does not fit its scan.
    ParameterError
        If the predictions are a store of other scans or labels, or the cohort has no such label.
    """
    mask, there, digest = read_predictions(dataset, predictions, config=config, storage_options=storage_options)
    result = compare_scans(dataset, mask, there, tolerance, label)
    predicted = xxhash.xxh3_128_hexdigest(digest.encode())
    return result.assign_attrs(
        measure="score", tolerance_mm=tolerance, predictions_digest=predicted, predicted_scans=int(there.sum())
    )


def read_predictions(
    dataset: xr.Dataset,
    predictions: str | Path,
    *,
    config: str | Path | None,
    storage_options: Mapping[str, Any] | None,
) -> tuple[xr.DataArray, xr.DataArray, str]:
    """Lay predicted masks on a cohort's arrays, lazily; where there are any, and the digest of their files.

    Parameters and errors are those of :func:`score`.
    """
    place = locate(predictions, storage_options)
    if get(place.open(read_only=True), "zarr.json") is not None:
        return _of_store(dataset, open_location(place), place.shown)
    rules = load_config(config)
    source = open_source(predictions, storage_options, rules.limits)
    found = sort_files(source.files(), rules)
    labels = labels_of_predictions(rules.labels, dataset, place.shown)
    scans = {key: replace(scan, labels=labels) for key, scan in found.scans.items() if scan.masks}
    if not scans:
        raise SourceError(
            f"{redacted(str(predictions))}: no predicted mask found; expected them named as in the source, "
            "patient/ROI-T1.nii, or a TOML file (config) that says how they are named"
        )
    mask, there = _of_files(dataset, source, scans)
    return mask, there, "".join(source_digest(scan) for scan in scans.values())


def labels_of_predictions(declared: Labels, dataset: xr.Dataset, url: str) -> Labels:
    """Labels by which predictions are read: those that are declared for them, else the cohort's own.

    Raises
    ------
    ParameterError
        If one is declared that the cohort does not have.
    """
    mask = dataset["mask"].attrs if "mask" in dataset else {}
    names = tuple(flag_names(mask)) or (TUMOR,)
    return renumbered(declared, names, where=f"the cohort that {url} predicts") if declared else labels_of_store(names)


def _of_store(dataset: xr.Dataset, other: xr.Dataset, url: str) -> tuple[xr.DataArray, xr.DataArray, str]:
    """Lay the masks of another store on the cohort's arrays; scans must have the same grid."""
    labels = {dim: dataset[dim].values for dim in SCAN}
    for dim in SCAN:
        known = {str(label) for label in other[dim].values}
        absent = [str(label) for label in np.atleast_1d(labels[dim]) if str(label) not in known]
        if absent:
            raise unknown_label(dim, absent[0], other[dim].values, where=f"the store of predictions {url}")
    own, others = (flag_names(one["mask"].attrs) for one in (dataset, other))
    if own != others:
        raise ParameterError(
            f"{url}: its labels are {', '.join(others) or 'not named'}, those of the cohort "
            f"{', '.join(own) or 'not named'}; score masks of the same labels"
        )
    other = other.sel(labels)
    there = (other["mask_status"] == "ok") | (other["mask_status"] == "warning")
    same = (other["shape"] == dataset["shape"]).all("axis") & (
        abs(other["affine"] - dataset["affine"]).max(("affine_row", "affine_column")) < _SAME_GRID_MM
    )
    wrong = there & ~same
    if bool(wrong.any()):
        first = wrong.isel(dict(zip(wrong.dims, np.argwhere(wrong.values)[0], strict=True)))
        label = "/".join(str(first[dim].values) for dim in SCAN)
        raise ParameterError(f"{url}: predictions on another grid than the scan, first {label}; resample them onto it")
    mask = other["mask"].isel({axis: slice(dataset.sizes[axis]) for axis in AXES})
    mask = mask.pad({a: (0, dataset.sizes[a] - mask.sizes[a]) for a in AXES}, constant_values=0)
    return (
        mask.reset_coords(drop=True),
        there.reset_coords(drop=True),
        "".join(map(str, np.ravel(other["mask_digest"]))),
    )


def _of_files(
    dataset: xr.Dataset, source: Source, scans: Mapping[tuple[str, str], ScanFiles]
) -> tuple[xr.DataArray, xr.DataArray]:
    """Build the lazy array of predicted masks, one block a scan, read and placed when it is computed."""
    reference = dataset["mask"].transpose(..., *AXES)
    lead = reference.dims[:-3]
    patients, sequences = (np.atleast_1d(dataset[dim].values) for dim in SCAN)
    files = np.empty((len(patients), len(sequences)), dtype=object)
    for i, patient in enumerate(patients):
        for j, sequence in enumerate(sequences):
            files[i, j] = scans.get((str(patient), str(sequence)))
    listed = xr.DataArray(files, dims=SCAN).isel({dim: 0 for dim in SCAN if dim not in lead})
    there = xr.DataArray(listed.values != np.array(None), dims=lead)
    flat = dataset["affine"].reset_coords(drop=True).stack(grid=("affine_row", "affine_column"))
    shape = dataset["shape"].reset_coords(drop=True).astype(float).rename(axis="grid")
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
        extent_zyx=reference.shape[-3:],
    )
    return xr.DataArray(blocks, dims=reference.dims), there


def _bare(values: xr.DataArray) -> xr.DataArray:
    return values.drop_vars([name for name in values.coords if name not in ("patient", "sequence")])


def _predicted(
    files: NDArray[Any], grids: NDArray[np.float64], *, source: Source, extent_zyx: tuple[int, ...]
) -> NDArray[np.uint8]:
    files = np.asarray(files, dtype=object)
    result = np.zeros((*files.shape, *extent_zyx), dtype=np.uint8)
    for at in np.ndindex(*files.shape):
        scan: Any = files[at]
        if scan is not None:
            z, y, x = (int(n) for n in grids[at][:3])
            if min(z, y, x) > 0:
                result[at][:z, :y, :x] = _read(source, scan, Grid((z, y, x), grids[at][3:].reshape(4, 4)))
    return result


def _read(source: Source, scan: ScanFiles, grid: Grid) -> NDArray[np.uint8]:
    files: tuple[File, ...] = scan.masks
    try:
        return read_mask(source, files, grid, scan.labels).mask
    except NpczarrError as error:
        raise SourceError(f"{scan.patient}/{scan.sequence}: prediction: {error}") from error
