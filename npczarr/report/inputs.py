"""The inputs of a report, read once: tables, results beside them, and scores of every scan."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from npczarr.errors import ParameterError, unknown_label
from npczarr.model.label_set import TUMOR, flag_names
from npczarr.model.options import redacted
from npczarr.model.progress import OnProgress
from npczarr.model.schema import SCAN, STORED
from npczarr.report.blocks import Absent
from npczarr.report.flags import quality
from npczarr.report.quality import findings, score_table
from npczarr.report.scored_scans import ScoredScan, score_scans
from npczarr.report.table_text import many
from npczarr.runner import Runner
from npczarr.store.cohort import StoredCohort
from npczarr.store.info import info
from npczarr.store.location import locate
from npczarr.store.measured import changed_scans, is_held, on_scans
from npczarr.store.open import open_store
from npczarr.store.review import review_table
from npczarr.store.watch import read_together


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A result on the scans of its store.

    Attributes
    ----------
    result
        The numbers; NaN for scans that were not measured as they are now.
    changed
        Number of scans that changed since they were measured.
    command
        Command that measures them again.
    """

    result: xr.Dataset
    changed: int
    command: str


@dataclass(frozen=True, slots=True, eq=False)
class ReportInputs:
    """The inputs of a report.

    Attributes
    ----------
    name, about, dataset
        The store as it was given, its description by :func:`npczarr.info`, and the cohort. Its `mask_voxels` and
        `mask_touches_end_slice` are those of the label: NaN where its mask could not be read.
    label
        Label of the masks that the report is on; "" where the store has one alone.
    morphology, agreement
        Results, or what to do to have them; NaN for scans that changed since they were measured.
    changed
        By result, how many scans changed since, and the command that measures them again; empty where none did.
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
    changed: Mapping[str, Absent]
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
    location = locate(store, storage_options)
    with read_together(location):
        about = info(store, storage_options=storage_options)
        dataset = open_store(store, storage_options=storage_options)
        label, number = _chosen(dataset, label)
        # first: a wrong path is an error at once
        agreement = _agreement(store, about, reliability, label, storage_options)
        morphology = _morphology(store, about, dataset, label, storage_options)
        cohort = StoredCohort(location)
    with runner:
        scored = score_scans(cohort, runner, label=number, on_progress=on_progress)
    dataset = _with_extents(dataset, scored) if label else dataset
    flagged = quality(morphology.result) if isinstance(morphology, Measured) else None
    return ReportInputs(
        redacted(str(store)),
        about,
        dataset,
        label,
        _result(morphology),
        _result(agreement),
        _describe_changes({"morphology": morphology, "agreement": agreement}),
        review_table(location),
        scored,
        score_table(scored),
        findings(dataset, scored, flagged, label=label),
    )


def _with_extents(dataset: xr.Dataset, scored: Mapping[tuple[str, str], ScoredScan]) -> xr.Dataset:
    """Put the extent of one label in the place of that of all labels, which the conversion found."""
    masked = np.isin(dataset["mask_status"].transpose(*SCAN).values.astype(object), STORED)
    voxels, ends = (np.where(masked, np.nan, 0.0) for _ in range(2))
    for (p, patient), (s, sequence) in product(*(enumerate(dataset[dim].values) for dim in SCAN)):
        seen = scored.get((str(patient), str(sequence)))
        if seen is not None and seen.mask_voxels is not None:
            voxels[p, s], ends[p, s] = seen.mask_voxels, float(bool(seen.touches_end_slice))
    return dataset.assign(mask_voxels=(SCAN, voxels), mask_touches_end_slice=(SCAN, ends))


def _morphology(
    store: str | Path,
    about: Mapping[str, Any],
    dataset: xr.Dataset,
    label: str,
    storage_options: Mapping[str, Any] | None,
) -> Measured | Absent:
    """Read what was measured of the masks as they are now."""
    command = f"npczarr morphology {shlex.quote(redacted(str(store)))}"
    if "morphology" in about["damaged"]:
        return Absent("The morphology in this store is damaged, or was half written.", command)
    if "morphology" not in about["results"]:
        return Absent("The tumors of this store were not measured.", command)
    found = _held(
        open_store(store, group="morphology", storage_options=storage_options), dataset, "morphology", command
    )
    if isinstance(found, Measured) and "rater" in found.result.dims:  # of raters, the first one's outlines are shown
        found = replace(found, result=found.result.isel(rater=0, drop=True))
    return _of_label(found, label)


def _agreement(
    store: str | Path,
    about: Mapping[str, Any],
    reliability: str | Path | None,
    label: str,
    storage_options: Mapping[str, Any] | None,
) -> Measured | Absent:
    """Read how the raters agree: of their own store, or of this one where it is theirs.

    Raises
    ------
    ParameterError
        If the store that is named as the raters' holds no masks of two raters.
    """
    raters = store if reliability is None else reliability
    named = shlex.quote(redacted(str(raters)))
    dataset = open_store(raters, storage_options=storage_options)
    several = dataset.sizes.get("rater", 0) > 1
    if reliability is not None and not several:
        raise ParameterError(
            f"{redacted(str(reliability))}: expected a store of several raters' masks, found one of a single rater's; "
            "convert the raters' files first (npczarr convert inner_reliability.zip reliability.zarr)"
        )
    if several:
        of_raters = about if reliability is None else info(raters, storage_options=storage_options)
        command = f"npczarr agreement {named}"
        if "agreement" in of_raters["damaged"]:
            return Absent("The agreement in this store is damaged, or was half written.", command)
        if "agreement" not in of_raters["results"]:
            return Absent("The raters of this store were not compared.", command)
        found = open_store(raters, group="agreement", storage_options=storage_options)
        return _of_label(_held(found, dataset, "agreement", command), label)
    return Absent(
        "No store of raters was given.",
        "npczarr convert inner_reliability.zip reliability.zarr && npczarr agreement reliability.zarr && "
        f"npczarr report {named} --reliability reliability.zarr",
    )


def _held(result: xr.Dataset, dataset: xr.Dataset, name: str, command: str) -> Measured | Absent:
    """Lay a stored result on the scans of its store; NaN for those that changed since they were measured."""
    if not is_held(result, dataset):
        return Absent(f"The {name} in this store does not say which scans it was measured on.", command)
    return Measured(on_scans(result.load(), dataset), int(changed_scans(result, dataset).sum()), command)


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


def _result(found: Measured | Absent) -> xr.Dataset | Absent:
    return found.result if isinstance(found, Measured) else found


def _describe_changes(results: Mapping[str, Measured | Absent]) -> dict[str, Absent]:
    """Say of each result how many scans changed since they were measured."""
    changed = {name: found for name, found in results.items() if isinstance(found, Measured) and found.changed}
    return {
        name: Absent(
            f"{many(found.changed, 'scan', 'scans')} changed since the {name} was measured; old values are not shown.",
            found.command,
        )
        for name, found in changed.items()
    }


def _of_label(found: Measured | Absent, label: str) -> Measured | Absent:
    """Return what was measured of a label; a store of raters that has one alone may call it otherwise."""
    if isinstance(found, Absent) or "label" not in found.result.dims:
        return found
    known = [str(name) for name in found.result["label"].values]
    if label and label not in known:
        return Absent(f"The label {label} was not measured; {', '.join(known)} was.", found.command)
    return replace(found, result=found.result.isel(label=known.index(label) if label else 0, drop=True))


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
