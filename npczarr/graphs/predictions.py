"""Predicted masks laid on the scans of a cohort, from files in the source's layout or from another store."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import ParameterError, SourceError
from npczarr.graphs.changed_datasets import check_voxels, scan_labels, whole_texts
from npczarr.graphs.convert_scan import source_digest
from npczarr.graphs.label_dim import names_in
from npczarr.graphs.map_scans import in_order
from npczarr.graphs.predicted_files import lay_files
from npczarr.graphs.predicted_masks import PredictedMasks, no_messages
from npczarr.graphs.predicted_stores import lay_store, unmatched_in_store
from npczarr.model.geometry import AXES
from npczarr.model.label_set import TUMOR, Labels, labels_of_store, renumbered
from npczarr.model.options import redacted
from npczarr.model.schema import SCAN
from npczarr.sources.config import load_config
from npczarr.sources.files import open_source
from npczarr.sources.mask_files import sort_masks
from npczarr.store.location import get, locate
from npczarr.store.open import open_location
from npczarr.store.origin import cohort_behind

_NOT_THERE = "prediction: no such patient and sequence in the store"


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
        found = read_predictions(dataset, predictions, config=config, storage_options=source_options)
        self._mask = found.mask.transpose(*SCAN, *AXES)
        self._messages = found.messages.transpose(*SCAN)
        self._shape = np.asarray(dataset["shape"].transpose(*SCAN, ...).values)
        stored = (self._shape > 0).all(axis=-1)
        #: Index of patient and sequence of every scan that has a prediction.
        self.places = tuple((int(p), int(s)) for p, s in np.argwhere(found.there.transpose(*SCAN).values & stored))
        if not self.places:
            raise SourceError(
                f"{redacted(str(predictions))}: none of the predicted masks is of a patient and sequence in "
                f"{location.shown}; name their folders as the store's patients"
            )
        #: Why predicted masks are of no scan of the store, by their patient and sequence.
        self.unmatched = unmatched_predictions(dataset, predictions, config=config, storage_options=source_options)
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

    def message(self, place: tuple[int, int]) -> str:
        """Say what must be known of the prediction of a scan before it is trusted, as a score says it; "" for nothing.

        Raises
        ------
        SourceError
            If its file cannot be read or does not fit the scan.
        """
        part = self._messages.isel(dict(zip(SCAN, place, strict=True)))
        return str(part.compute(scheduler="synchronous").item())


def read_predictions(
    dataset: xr.Dataset,
    predictions: str | Path,
    *,
    config: str | Path | None,
    storage_options: Mapping[str, Any] | None,
) -> PredictedMasks:
    """Lay predicted masks on a cohort's arrays, lazily.

    Parameters and errors are those of :func:`score`.
    """
    check_voxels(dataset, "mask")
    if "rater" in dataset["mask"].dims:
        raise ParameterError("the masks are of several raters; select one, as in dataset.sel(rater=...)")
    for name in ("shape", "affine"):
        if name not in dataset.variables:
            raise ParameterError(f"the Dataset has no {name!r}; open it with npczarr.open or xr.open_zarr from a store")
    dataset = whole_texts(in_order(dataset))
    mask = dataset["mask"]
    if 0 in mask.shape:
        none = xr.DataArray(np.zeros(mask.shape, dtype=np.uint8), dims=mask.dims)
        there = none.any(AXES)
        return PredictedMasks(none, there, no_messages(there), "")
    place = locate(predictions, storage_options)
    if get(place.open(read_only=True), "zarr.json") is not None:
        masks, there, digest = lay_store(dataset, open_location(place), place.shown)
        return PredictedMasks(masks, there, no_messages(there), digest)
    rules = load_config(config)
    source = open_source(predictions, storage_options, rules.limits)
    found = sort_masks(source.files(), rules, _labels(dataset, SCAN[1]), _stored(dataset))
    labels = labels_of_predictions(rules.labels, dataset, place.shown)
    scans = {key: replace(scan, labels=labels) for key, scan in found.scans.items()}
    if not scans and not found.of_nobody:
        raise SourceError(
            f"{redacted(str(predictions))}: no predicted mask found; expected them named as in the source, "
            "patient/ROI-T1.nii, or a TOML file (config) that says how they are named"
        )
    return PredictedMasks(
        *lay_files(dataset, source, scans), digest="".join(source_digest(scan) for scan in scans.values())
    )


def unmatched_predictions(
    dataset: xr.Dataset,
    predictions: str | Path,
    *,
    config: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> dict[tuple[str, str], str]:
    """Return why predicted masks are of no scan of a cohort, by patient and sequence, "" where their names tell none.

    Parameters and errors are those of :func:`score`.
    """
    place = locate(predictions, storage_options)
    if get(place.open(read_only=True), "zarr.json") is not None:
        return dict.fromkeys(unmatched_in_store(dataset, open_location(place)), _NOT_THERE)
    rules = load_config(config)
    source = open_source(predictions, storage_options, rules.limits)
    patients, sequences = (_labels(dataset, dim) for dim in SCAN)
    found = sort_masks(source.files(), rules, sequences, _stored(dataset))
    hint = "name it as an export does, or describe the names in a TOML file (config)"
    reasons = {
        key: f"prediction {path.rpartition('/')[2]}: its name stands for none of {', '.join(sequences)}; {hint}"
        for path, key in found.unnamed.items()
    }
    for path, patient in found.of_nobody.items():
        reasons[patient, ""] = f"prediction {path.rpartition('/')[2]}: no scan of this patient in the store"
    for key in found.scans:
        if key[0] not in patients or key[1] not in sequences:
            reasons[key] = _NOT_THERE
    return reasons


def warn_of_unmatched(
    dataset: xr.Dataset,
    predictions: str | Path,
    *,
    config: str | Path | None,
    storage_options: Mapping[str, Any] | None,
) -> None:
    """Warn of predictions that are of no scan of a whole store; a selection of its scans leaves others out."""
    if cohort_behind(dataset, ("mask",)) is None:
        return
    found = unmatched_predictions(dataset, predictions, config=config, storage_options=storage_options)
    if found:
        key, reason = min(found.items())
        first = "/".join(filter(None, key))
        warnings.warn(
            f"{len(found)} predicted masks are of no scan of the store, the first {first}: {reason}",
            UserWarning,
            stacklevel=5,
        )


def _labels(dataset: xr.Dataset, dim: str) -> list[str]:
    if dim not in dataset.coords:
        raise ParameterError(f"the Dataset has no coordinate {dim!r}, which tells of what each mask is")
    return [str(label) for label in dict.fromkeys(dataset[dim].values.ravel())]


def _stored(dataset: xr.Dataset) -> set[tuple[str, str]]:
    """Patient and sequence of every scan that has voxels."""
    dataset = in_order(dataset)
    lead = dataset["mask"].dims[:-3]
    labels = scan_labels(dataset, lead)
    sizes = {dim: dataset.sizes[dim] for dim in lead}
    shape = dataset["shape"].variable.set_dims({**sizes, "axis": len(AXES)}).values
    has_voxels = (shape > 0).all(axis=-1)
    patients, sequences = (labels[dim][has_voxels] for dim in SCAN)
    return set(zip(patients, sequences, strict=True))


def labels_of_predictions(declared: Labels, dataset: xr.Dataset, url: str) -> Labels:
    """Labels by which predictions are read: those that are declared for them, else the cohort's own.

    Raises
    ------
    ParameterError
        If one is declared that the cohort does not have.
    """
    names = tuple(names_in(dataset["mask"].attrs, dataset["mask"].dtype) if "mask" in dataset else ()) or (TUMOR,)
    return renumbered(declared, names, where=f"the cohort that {url} predicts") if declared else labels_of_store(names)
