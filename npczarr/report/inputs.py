"""The inputs of a report, read once: tables, results beside them, and scores of every scan."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from npczarr.errors import unknown_label
from npczarr.model.label_set import TUMOR, flag_names
from npczarr.model.options import redacted
from npczarr.model.progress import OnProgress
from npczarr.report.blocks import Absent
from npczarr.report.flags import quality
from npczarr.report.quality import findings, score_table
from npczarr.report.scored_scans import ScoredScan, score_scans
from npczarr.runner import Runner
from npczarr.store.cohort import StoredCohort
from npczarr.store.info import info
from npczarr.store.location import locate
from npczarr.store.open import open_store
from npczarr.store.review import review_table


@dataclass(frozen=True, slots=True, eq=False)
class ReportInputs:
    """The inputs of a report.

    Attributes
    ----------
    name, about, dataset
        The store as it was given, its description by :func:`npczarr.info`, and the cohort.
    label
        Label of the masks that the report is on; "" where the store has one alone.
    morphology, agreement
        Results, or what to do to have them.
    review
        Decisions on the scans; None where nobody has reviewed them.
    scored, scores, findings
        Scores and picture of each scan, the scores as a table, and the scans to look at again.
    """

    name: str
    about: Mapping[str, Any]
    dataset: xr.Dataset
    label: str
    morphology: xr.Dataset | Absent
    agreement: xr.Dataset | Absent
    review: xr.Dataset | None
    scored: Mapping[tuple[str, str], ScoredScan]
    scores: pd.DataFrame
    findings: pd.DataFrame


def read_inputs(
    store: str | Path,
    *,
    label: str | None = None,
    reliability: str | Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> ReportInputs:
    """Read what a report needs; the parameters are those of :func:`npczarr.report.page.write_report`."""
    runner = Runner(workers, scheduler, idle="threads")  # they read a small cohort before processes would have started
    about = info(store, storage_options=storage_options)
    dataset = open_store(store, storage_options=storage_options)
    label, number = _chosen(dataset, label)
    named = shlex.quote(redacted(str(store)))
    morphology: xr.Dataset | Absent = Absent(
        "The tumors of this store were not measured.", f"npczarr morphology {named}"
    )
    if "morphology" in about["results"]:
        morphology = open_store(store, group="morphology", storage_options=storage_options)
        if "rater" in morphology.dims:  # a store of raters, shown by the first one's outlines
            morphology = morphology.isel(rater=0, drop=True)
        morphology = _of_label(morphology, label, f"npczarr morphology {named}")
    agreement = _agreement(store, about, reliability, label, storage_options)  # first: a wrong path is an error at once
    location = locate(store, storage_options)
    with runner:
        cohort = StoredCohort(location)
        scored = score_scans(cohort, runner, label=number, on_progress=on_progress)
    flagged = quality(morphology) if isinstance(morphology, xr.Dataset) else None
    return ReportInputs(
        redacted(str(store)),
        about,
        dataset,
        label,
        morphology,
        agreement,
        review_table(location),
        scored,
        score_table(scored),
        findings(dataset, scored, flagged),
    )


def _agreement(
    store: str | Path,
    about: Mapping[str, Any],
    reliability: str | Path | None,
    label: str,
    storage_options: Mapping[str, Any] | None,
) -> xr.Dataset | Absent:
    """Read how the raters agree: of their own store, or of this one where it is theirs."""
    raters = store if reliability is None else reliability
    if "agreement" in (about if reliability is None else info(raters, storage_options=storage_options))["results"]:
        found = open_store(raters, group="agreement", storage_options=storage_options)
        return _of_label(found, label, f"npczarr agreement {shlex.quote(redacted(str(raters)))}")
    named = shlex.quote(redacted(str(raters)))
    if reliability is not None or "rater" in open_store(raters, storage_options=storage_options).dims:
        return Absent("The raters of this store were not compared.", f"npczarr agreement {named}")
    return Absent(
        "No store of raters was given.",
        "npczarr convert inner_reliability.zip reliability.zarr && npczarr agreement reliability.zarr && "
        f"npczarr report {named} --reliability reliability.zarr",
    )


def _chosen(dataset: xr.Dataset, label: str | None) -> tuple[str, int | None]:
    """Return the label that the report is on and its number, by default the first; "" and None where it has one alone.

    Raises
    ------
    UnknownLabelError
        If the masks have no such label.
    """
    names = flag_names(dataset["mask"].attrs) if "mask" in dataset else {}
    if label is not None and label not in (names or {TUMOR: 1}):
        raise unknown_label("label", label, names or [TUMOR])
    if len(names) < 2:
        return "", None
    chosen = label or min(names, key=lambda name: names[name])
    return chosen, names[chosen]


def _of_label(result: xr.Dataset, label: str, command: str) -> xr.Dataset | Absent:
    """Return what was measured of a label; a store of raters that has one alone may call it otherwise."""
    if "label" not in result.dims:
        return result
    known = [str(name) for name in result["label"].values]
    if not label:
        return result.isel(label=0, drop=True)
    if label not in known:
        return Absent(f"The label {label} was not measured; {', '.join(known)} was.", command)
    return result.isel(label=known.index(label), drop=True)


def stored(dataset: xr.Dataset) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether each scan is stored."""
    return np.isin(dataset["status"].transpose("patient", "sequence").values.astype(object), ("ok", "warning"))


#: What the page of a synthetic cohort says at its head.
SYNTHETIC = "Synthetic cohort: images and numbers are made by a program, and no patient is behind them."


def is_synthetic(dataset: xr.Dataset) -> bool:
    """Whether a scan of the cohort says in its ImageType that it is synthetic, as those of `npczarr phantom` do."""
    return "image_type" in dataset and any(
        "SYNTHETIC" in str(words).split("\\") for words in dataset["image_type"].values.flat
    )
