"""A measure over a whole store, kept beside the scans and not computed twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

from npczarr.graphs.label_dim import LabelChoice
from npczarr.graphs.measure_arguments import arguments_of, result_path
from npczarr.graphs.measure_batches import measure_and_keep
from npczarr.model.progress import OnProgress
from npczarr.model.results import Failure
from npczarr.store.location import locate

if TYPE_CHECKING:
    from npczarr.kernels.patterns import Method

Measure = Literal["morphology", "agreement", "score"]


def measure_store(
    store: str | Path,
    measure: Measure,
    *,
    method: Method | None = None,
    tolerance: float | None = None,
    predictions: str | Path | None = None,
    config: str | Path | None = None,
    label: LabelChoice = None,
    name: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    break_lock: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    source_options: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[xr.Dataset, tuple[Failure, ...]]:
    """Measure every scan of a store and keep the result as a sub-group of it.

    Scans whose masks and parameters are those of the stored result are not measured again. Of a store that this process
    may not write to, the result is returned and not kept; its attribute `kept` says which.

    Parameters
    ----------
    store
        Folder or URL.
    measure
        ``"morphology"``, ``"agreement"`` or ``"score"``.
    method
        Case table of morphology, as for :func:`npczarr.morphology`.
    tolerance
        Tolerance of agreement and score, in mm, as for :func:`npczarr.agreement`.
    predictions, config
        Predicted masks and their layout, of score, as for :func:`npczarr.score`.
    label
        Label to measure, or several; by default all, along `label` where the masks have two or more.
    name
        Name of the result. A score is kept as ``score/<name>``, by default named as the folder of the predictions;
        the other measures under their own names, or as ``<measure>/<name>``. A label that is chosen is part of the
        name.
    workers
        Local worker processes; by default the active ``distributed.Client``, or threads of this process, which take a
        few milliseconds a scan, less than starting processes.
    scheduler, break_lock, storage_options
        As in :func:`npczarr.convert`.
    source_options
        Options of the predictions' file system, of a score.
    on_progress
        Called with a :class:`npczarr.Progress` when the patients to measure are known, and after each batch of them.

    Returns
    -------
    tuple
        The whole result, in memory; and the scans that could not be measured (NaN in the result), with the predictions
        that are of no scan.

    Warns
    -----
    UserWarning
        If something must be known of predictions before their scores are trusted; `message` of the result says it of
        each scan.

    Raises
    ------
    NpczarrError
        If there is no store, another writer is at work, or an argument is wrong or does not belong to the measure.
    """
    given: dict[str, Any] = {"method": method, "tolerance": tolerance, "predictions": predictions, "config": config}
    given["label"] = label if label is None or isinstance(label, str) else list(label)
    chosen = arguments_of(measure, given, source_options)
    path = result_path(measure, name, chosen)
    location = locate(store, storage_options)
    result, failures = measure_and_keep(
        location,
        measure,
        path,
        chosen,
        workers=workers,
        scheduler=scheduler,
        break_lock=break_lock,
        on_progress=on_progress,
    )
    if measure == "score":
        from npczarr.graphs.predicted_masks import messages_of, warn_of_messages

        warn_of_messages(messages_of(result), stacklevel=2)
    return result, failures
