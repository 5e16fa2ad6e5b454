"""A model's masks against the store's, as a lazy Dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr
import xxhash

from npczarr.graphs.label_dim import LabelChoice
from npczarr.graphs.measure import compare_scans
from npczarr.graphs.predictions import read_predictions
from npczarr.model.results import TOLERANCE_MM


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
        In mm, for `surface_dice`, as for :func:`npczarr.agreement`.
    config
        TOML file that describes the layout of the predictions, and their labels.
    label
        As for :func:`npczarr.morphology`.
    storage_options
        Options of the predictions' file system.

    Returns
    -------
    xarray.Dataset
        As :func:`npczarr.agreement`, on (patient, sequence); NaN where there is no prediction or no reference. What
        must be known of a prediction before its numbers are trusted is in `message`, as :func:`npczarr.import_masks`
        says it of the same file: values that no label names, a guessed threshold, another grid; "" where there is
        nothing, and of predictions in a store, which says it itself.
        Predictions of other scans are left out; :func:`npczarr.measure_store`, which sees the whole cohort, names them.

    Raises
    ------
    SourceError
        If there are no predictions; on computing, if one cannot be read or does not fit its scan.
    ParameterError
        If the predictions are a store of other scans or labels, or the cohort has no such label.
    """
    predicted = read_predictions(dataset, predictions, config=config, storage_options=storage_options)
    return compare_scans(dataset, predicted, tolerance, label).assign_attrs(
        measure="score",
        tolerance_mm=tolerance,
        predictions_digest=xxhash.xxh3_128_hexdigest(predicted.digest.encode()),
        predicted_scans=int(predicted.there.sum()),
    )
