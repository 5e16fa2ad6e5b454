"""Predicted masks laid on the scans of a cohort, from files in the source's layout or from another store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import NpczarrError, ParameterError, SourceError, unknown_label
from npczarr.graphs.convert_scan import source_digest
from npczarr.model.cohort import File, ScanFiles
from npczarr.model.geometry import AXES, Grid
from npczarr.model.label_set import TUMOR, Labels, flag_names, labels_of_store, renumbered
from npczarr.model.options import redacted
from npczarr.model.schema import SCAN
from npczarr.sources.config import load_config
from npczarr.sources.files import Source, open_source
from npczarr.sources.mask_files import sort_masks
from npczarr.sources.masks import read_mask
from npczarr.store.location import get, locate
from npczarr.store.open import open_location

_SAME_GRID_MM = 1e-3


class Predictions:
    """Predicted masks of a store, to be read scan by scan.

    Parameters
    ----------
    store
        Folder or URL of the cohort.
    predictions, config
        As of :func:`npczarr.score`.
    storage_options, source_options
        Options of the store's and of the predictions' file system.

    Raises
    ------
    SourceError
        If there are no predictions, or none of a scan of the store.
    ParameterError
        If the store holds the masks of several raters, or the predictions are a store of other scans or labels.
    """

    def __init__(
        self,
        store: str | Path,
        predictions: str | Path,
        *,
        config: str | Path | None = None,
        storage_options: Mapping[str, Any] | None = None,
        source_options: Mapping[str, Any] | None = None,
    ) -> None:
        location = locate(store, storage_options)
        dataset = open_location(location)
        if "rater" in dataset.dims:
            raise ParameterError(f"{location.shown}: holds the masks of raters; predictions are shown beside one mask")
        mask, there, _ = read_predictions(dataset, predictions, config=config, storage_options=source_options)
        self._mask = mask.transpose(*SCAN, *AXES)
        self._shape = np.asarray(dataset["shape"].transpose(*SCAN, ...).values)
        stored = (self._shape > 0).all(axis=-1)
        #: Index of patient and sequence of every scan that has a prediction.
        self.places = tuple((int(p), int(s)) for p, s in np.argwhere(there.transpose(*SCAN).values & stored))
        if not self.places:
            raise SourceError(
                f"{redacted(str(predictions))}: none of the predicted masks is of a patient and sequence in "
                f"{location.shown}; name their folders as the store's patients"
            )
        #: What the predictions are called: the last part of their address.
        self.name = redacted(str(predictions)).rstrip("/").rpartition("/")[2] or "predictions"

    def mask(self, place: tuple[int, int]) -> NDArray[np.uint8]:
        """Read the prediction of a scan, (z, y, x) numbers of labels on the scan's grid.

        Raises
        ------
        SourceError
            If its file cannot be read or does not fit the scan.
        """
        z, y, x = (slice(int(n)) for n in self._shape[place])
        part = self._mask.isel(dict(zip(SCAN, place, strict=True)))[z, y, x]
        return np.ascontiguousarray(part.compute(scheduler="synchronous").values, dtype=np.uint8)


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
    found = sort_masks(source.files(), rules, _labels(dataset, SCAN[1]))
    labels = labels_of_predictions(rules.labels, dataset, place.shown)
    scans = {key: replace(scan, labels=labels) for key, scan in found.scans.items()}
    if not scans:
        raise SourceError(
            f"{redacted(str(predictions))}: no predicted mask found; expected them named as in the source, "
            "patient/ROI-T1.nii, or a TOML file (config) that says how they are named"
        )
    mask, there = _of_files(dataset, source, scans)
    return mask, there, "".join(source_digest(scan) for scan in scans.values())


def unmatched_predictions(
    dataset: xr.Dataset,
    predictions: str | Path,
    *,
    config: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> dict[tuple[str, str], str]:
    """Return why predicted masks are of no scan of a cohort, by their patient and sequence; empty for a store.

    Parameters and errors are those of :func:`score`.
    """
    if get(locate(predictions, storage_options).open(read_only=True), "zarr.json") is not None:
        return {}
    rules = load_config(config)
    source = open_source(predictions, storage_options, rules.limits)
    patients, sequences = (_labels(dataset, dim) for dim in SCAN)
    found = sort_masks(source.files(), rules, sequences)
    hint = "name it as an export does, or describe the names in a TOML file (config)"
    reasons = {
        key: f"prediction {path.rpartition('/')[2]}: its name stands for none of {', '.join(sequences)}; {hint}"
        for path, key in found.unnamed.items()
    }
    for key in found.scans:
        if key[0] not in patients or key[1] not in sequences:
            reasons[key] = "prediction: no such patient and sequence in the store"
    return reasons


def _labels(dataset: xr.Dataset, dim: str) -> list[str]:
    return [str(label) for label in np.atleast_1d(dataset[dim].values)]


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
