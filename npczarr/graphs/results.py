"""A measure over a whole store: in batches of patients, kept beside the scans, and not computed twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr
import xxhash
from numpy.typing import NDArray

from npczarr.errors import NpczarrError, ParameterError, SourceError
from npczarr.graphs.measure import TOLERANCE_MM, agreement, morphology
from npczarr.graphs.run import Runner, active_client
from npczarr.graphs.score import score
from npczarr.model.results import VERSION
from npczarr.model.schema import SCAN
from npczarr.store.access import Location, locate
from npczarr.store.create import open_group
from npczarr.store.lease import hold_lease
from npczarr.store.open import open_location
from npczarr.store.results import read_result, write_result

_BATCH = 12  # patients to a task: enough that scheduling does not count, few enough for the memory of one worker
MEASURES: Mapping[str, Callable[..., xr.Dataset]] = {"morphology": morphology, "agreement": agreement, "score": score}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "morphology": {"method": "lorensen"},
    "agreement": {"tolerance": TOLERANCE_MM},
    "score": {"tolerance": TOLERANCE_MM},
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A scan that could not be measured, and why."""

    patient: str
    sequence: str
    problem: str


@dataclass(frozen=True, slots=True)
class MeasureTask:
    """A batch of patients to measure; on threads of one process, or one scan after another on one of many workers."""

    target: Location
    measure: str
    patients: tuple[str, ...]
    parameters: tuple[tuple[str, Any], ...]
    threads: bool


def measure_store(
    store: str | Path,
    measure: str,
    *,
    name: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    break_lock: bool = False,
    store_options: Mapping[str, Any] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    **parameters: Any,  # noqa: ANN401 - of the measure
) -> tuple[xr.Dataset, tuple[Failure, ...]]:
    """Measure every scan of a store and keep the result as a sub-group of it.

    Scans whose masks and parameters are those of the stored result are not measured again.

    Parameters
    ----------
    store
        Folder or URL.
    measure
        ``"morphology"``, ``"agreement"`` or ``"score"``; the parameters are those of the function of that name.
    name
        Of the sub-group; by default the measure's. A score is kept as ``score/<name>``.
    workers
        Local worker processes; by default the active ``distributed.Client``, or threads of this process, which take a
        few milliseconds a scan, less than starting processes.
    scheduler, break_lock, store_options
        As in :func:`npczarr.convert`.
    on_progress
        Called with patients done and in all.

    Returns
    -------
    tuple
        The whole result, in memory, and the scans that could not be measured (NaN in the result).

    Raises
    ------
    NpczarrError
        If there is no store, another writer is at work, or a parameter is wrong.
    """
    chosen = {**DEFAULTS[measure], **parameters}
    path = measure if name is None else f"{measure}/{name}"
    if name is not None and not re.fullmatch(r"[\w.-]+", name):
        raise ParameterError(f"a name of letters, digits, . _ - expected for the result, got {name!r}")
    location = locate(store, dict(store_options or {}))
    dataset = open_location(location)
    # wrong parameters are an error now, not the failure of every scan later
    template = MEASURES[measure](dataset, **chosen)
    if template.attrs.get("predicted_scans") == 0:
        raise SourceError(
            f"none of the predicted masks is of a patient and sequence in {location.url}; name their folders as the "
            "store's patients"
        )
    opened = location.open()
    threads = workers is None and scheduler is None and active_client() is None
    with (
        hold_lease(opened, location.url, break_lock=break_lock),
        Runner(workers, scheduler, small=threads) as runner,
    ):
        root = open_group(opened, location.url)
        provenance = {**template.attrs, "npczarr_results": VERSION}
        digests = _input_digests(dataset)
        known = _still_valid(read_result(root, path), dataset, digests, provenance)
        patients = [str(label) for label in dataset["patient"].values]
        todo = [patient for patient in patients if patient not in known]
        queue = [tuple(todo[i : i + _BATCH]) for i in range(0, len(todo), _BATCH)]
        parts, failures = dict(known), []
        while queue:  # once, and again, patient by patient, where a batch ended in an error
            tasks = [MeasureTask(location, measure, batch, tuple(sorted(chosen.items())), threads) for batch in queue]
            queue = []
            for task, outcome in runner.run(measure_batch, tasks, name=lambda task: f"{measure}-{task.patients[0]}"):
                if isinstance(outcome, NpczarrError) or not isinstance(outcome, Exception | tuple):
                    raise outcome
                if isinstance(outcome, Exception) and len(task.patients) > 1:
                    queue += [(patient,) for patient in task.patients]
                    continue
                found, failed = _unknown(template, task, outcome) if isinstance(outcome, Exception) else outcome
                parts |= {str(label): found.sel(patient=[label]) for label in found["patient"].values}
                failures += failed
                if on_progress is not None:
                    on_progress(len(parts), len(patients))
        result = xr.concat([parts[patient] for patient in patients], dim="patient", data_vars="minimal")
        result = result[list(template.data_vars)].transpose("patient", "sequence", ...)
        result["input_digest"] = (SCAN, digests)
        if todo:
            written_by = {**provenance, "npczarr_version": version("npczarr")}
            write_result(root, path, _stored_form(result, failures), written_by)
    return result.assign_attrs(provenance), tuple(failures)


def measure_batch(task: MeasureTask) -> tuple[xr.Dataset, list[Failure]]:
    """Measure a batch of patients; where one scan cannot be read, the others are measured all the same."""
    dataset = open_location(task.target).sel(patient=list(task.patients))
    measure, parameters = MEASURES[task.measure], dict(task.parameters)
    with dask.config.set(scheduler="threads" if task.threads else "sync"):
        try:
            return measure(dataset, **parameters).compute(), []
        except NpczarrError:
            return _one_by_one(dataset, lambda scan: measure(scan, **parameters))


def _unknown(template: xr.Dataset, task: MeasureTask, error: Exception) -> tuple[xr.Dataset, list[Failure]]:
    """Return the result of a patient whose task ended in an error, more than once: nothing is known."""
    nothing = xr.full_like(template.sel(patient=list(task.patients)), np.nan).compute()
    problem = f"could not be measured: {type(error).__name__}: {error}"
    return nothing, [Failure(task.patients[0], str(label), problem) for label in template["sequence"].values]


def _one_by_one(dataset: xr.Dataset, measure: Callable[[xr.Dataset], xr.Dataset]) -> tuple[xr.Dataset, list[Failure]]:
    failures: list[Failure] = []
    lines = []
    for patient in dataset["patient"].values:
        scans = []
        for sequence in dataset["sequence"].values:
            lazy = measure(dataset.sel(patient=[patient], sequence=[sequence]))
            try:
                scans.append(lazy.compute())
            except NpczarrError as error:
                failures.append(Failure(str(patient), str(sequence), str(error)))
                scans.append(xr.full_like(lazy, np.nan).compute())
        lines.append(xr.concat(scans, dim="sequence", data_vars="minimal"))
    return xr.concat(lines, dim="patient", data_vars="minimal"), failures


def _input_digests(dataset: xr.Dataset) -> NDArray[Any]:
    """Digest of what each scan's numbers depend on: its mask, and the size of its voxels."""
    digests = np.empty(dataset["mask_digest"].shape, dtype=np.dtypes.StringDType())
    for at in np.ndindex(*digests.shape):
        mask = str(dataset["mask_digest"].values[at])
        geometry = dataset["shape"].values[at].tolist(), dataset["spacing"].values[at].tolist()
        digests[at] = xxhash.xxh3_128_hexdigest(f"{mask} {geometry}".encode())
    return digests


def _still_valid(
    stored: xr.Dataset | None, dataset: xr.Dataset, digests: NDArray[Any], provenance: Mapping[str, Any]
) -> dict[str, xr.Dataset]:
    """Patients of a stored result whose scans are still those that were measured, by label."""
    if stored is None or any(stored.attrs.get(key) != value for key, value in provenance.items()):
        return {}
    if "input_digest" not in stored or stored.sizes["sequence"] != dataset.sizes["sequence"]:
        return {}
    known = dict(_patients(stored))
    valid = {}
    for label, expected in zip(dataset["patient"].values, digests, strict=True):
        line = known.get(str(label))
        if line is not None and (line["input_digest"].values[0] == expected).all():
            valid[str(label)] = line.drop_vars("input_digest")
    return valid


def _patients(stored: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    labelled = stored.set_coords([name for name in ("patient", "sequence", "axis", "pair") if name in stored])
    for i, label in enumerate(labelled["patient"].values):
        yield str(label), labelled.isel(patient=slice(i, i + 1))


def _stored_form(result: xr.Dataset, failures: list[Failure]) -> xr.Dataset:
    """Leave scans that failed without a digest, so that the next run tries them again."""
    digests = result["input_digest"].copy(deep=True)
    for failure in failures:
        digests.loc[{"patient": failure.patient, "sequence": failure.sequence}] = ""
    return result.assign(input_digest=digests)
