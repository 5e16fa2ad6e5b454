"""Measures a store in batches of patients and keeps the result; a scan that cannot be read costs no other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import dask
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import NpczarrError, ReadOnlyError, SourceError, StoreError
from npczarr.graphs.measure import agreement, morphology
from npczarr.model.progress import Meter, OnProgress
from npczarr.model.results import VERSION, Failure
from npczarr.model.schema import SCAN, STATUSES, TEXT
from npczarr.runner import Runner, active_client
from npczarr.store.hierarchy import open_group
from npczarr.store.lease import Lease, end_interrupted, hold_lease
from npczarr.store.location import Location
from npczarr.store.open import open_location
from npczarr.store.results import (
    INPUTS,
    WRITTEN_BY,
    StoredResult,
    input_digests,
    read_result,
    say_damage,
    write_result,
)
from npczarr.store.watch import stamp_of

_BATCH = 64  # patients to a task: opening the store for each costs as much as measuring thirty scans


@dataclass(frozen=True, slots=True)
class MeasureTask:
    """A batch of patients to measure; on threads of one process, or one scan after another on one of many workers."""

    target: Location
    measure: str
    patients: tuple[str, ...]
    parameters: tuple[tuple[str, Any], ...]
    threads: bool


def measure_and_keep(
    location: Location,
    measure: str,
    path: str,
    chosen: Mapping[str, Any],
    *,
    workers: int | None,
    scheduler: str | None,
    break_lock: bool,
    on_progress: OnProgress | None,
) -> tuple[xr.Dataset, tuple[Failure, ...]]:
    """Measure what is not as it was measured, and keep the result under a path of the store.

    The parameters are those of :func:`npczarr.graphs.measure_store.measure_store`, which has chosen the arguments of
    the measure.
    """
    stamp = stamp_of(location)
    plan = _plan(location, measure, chosen)
    # a store that is measured already needs no lease, nor its seal, unless a run was killed at its end
    root = open_group(location.open(read_only=True), location.shown, mode="r")
    result, todo = _already_measured(read_result(root, path).result, plan)
    if not todo:
        end_interrupted(location, break_lock=break_lock)
        Meter(on_progress, 0, "patients", {"kept": len(plan.patients)})
        return result.assign(input_digest=(SCAN, plan.digests)).assign_attrs(plan.provenance, kept=1), plan.missed
    threads = workers is None and scheduler is None and active_client() is None
    with (
        _lease_if_writable(location, break_lock=break_lock) as lease,
        Runner(workers, scheduler, idle="here" if threads else "processes") as runner,
    ):
        root = open_group(location.open(read_only=lease is None), location.shown, mode="r" if lease is None else "r+")
        if stamp_of(location) != stamp:  # another writer has ended since
            stamp, plan = stamp_of(location), _plan(location, measure, chosen)
        kept = read_result(root, path)
        say_damage(location.shown, kept.damage)
        result, todo = _already_measured(kept.result, plan)
        batches = [tuple(todo[i : i + _BATCH]) for i in range(0, len(todo), _BATCH)]
        meter = Meter(on_progress, len(todo), "patients", {"kept": len(plan.patients) - len(todo)})
        parameters = tuple(sorted(chosen.items()))
        tasks = [MeasureTask(location, measure, batch, parameters, threads) for batch in batches]
        failures = _measure_all(runner, tasks, result, plan, meter)
        result["input_digest"] = (SCAN, plan.digests)
        if lease is None and stamp_of(location) != stamp:
            raise StoreError(f"{location.shown}: changed while it was measured; measure it again once nobody writes it")
        if todo and lease is not None:
            without = [*failures, *(one for one in plan.pending if one.patient in todo)]
            with lease.writing():
                write_result(
                    root, path, _stored_form(result, without), {**plan.provenance, WRITTEN_BY: version("npczarr")}
                )
    return result.assign_attrs(plan.provenance, kept=int(lease is not None)), (*failures, *plan.missed)


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What there is to measure, as the store is now.

    Parameters
    ----------
    template
        The result, not computed.
    digests
        Digest by scan, made from what its numbers depend on.
    pending, missed
        Scans of which there is nothing yet; and these with the predictions that are of no scan.
    """

    template: xr.Dataset
    digests: NDArray[Any]
    pending: tuple[Failure, ...]
    missed: tuple[Failure, ...]

    @property
    def patients(self) -> list[str]:
        """Labels of the patients."""
        return [str(label) for label in self.template["patient"].values]

    @property
    def provenance(self) -> dict[str, Any]:
        """What a result says of how it was made."""
        return {**self.template.attrs, "npczarr_results": VERSION}


def _plan(location: Location, measure: str, chosen: Mapping[str, Any]) -> _Plan:
    """Say what there is to measure; wrong parameters are an error now, not the failure of every scan later."""
    dataset = open_location(location)
    template = function_of(measure)(dataset, **chosen)
    if template.attrs.get("predicted_scans") == 0:
        raise SourceError(
            f"none of the predicted masks is of a patient and sequence in {location.shown}; name their folders as the "
            "store's patients"
        )
    pending = _pending(dataset)
    digests = input_digests({name: dataset[name].values for name in INPUTS})
    return _Plan(template, digests, tuple(pending), (*_unmatched(dataset, measure, chosen), *pending))


def _unmatched(dataset: xr.Dataset, measure: str, chosen: Mapping[str, Any]) -> list[Failure]:
    """Name the predictions that no scan of the store is compared with."""
    if measure != "score":
        return []
    from npczarr.graphs.predictions import unmatched_predictions

    given = {name: chosen.get(name) for name in ("config", "storage_options")}
    reasons = unmatched_predictions(dataset, chosen["predictions"], **given)
    return [Failure(*key, problem) for key, problem in sorted(reasons.items())]


def _pending(dataset: xr.Dataset) -> list[Failure]:
    """Name the scans of which there is nothing yet."""
    problem = f"pending: {STATUSES['pending']}"
    status = dataset["status"].transpose(*SCAN)
    labels = [dataset[dim].values for dim in SCAN]
    return [Failure(str(labels[0][p]), str(labels[1][s]), problem) for p, s in np.argwhere(status.values == "pending")]


def function_of(measure: str) -> Callable[..., xr.Dataset]:
    """Return the function of a measure, such as :func:`npczarr.morphology`."""
    if measure == "score":
        from npczarr.graphs.score import score  # which imports every reader of files

        return score
    return morphology if measure == "morphology" else agreement


def _measure_all(
    runner: Runner,
    tasks: list[MeasureTask],
    result: xr.Dataset,
    plan: _Plan,
    meter: Meter,
) -> list[Failure]:
    """Measure batches of patients into the result; where a batch ends in an error, again patient by patient."""
    failures: list[Failure] = []
    again: list[MeasureTask] = []
    rows = {patient: i for i, patient in enumerate(plan.patients)}
    for task, outcome in runner.run(measure_batch, tasks, name=lambda task: f"{task.measure}-{task.patients[0]}"):
        if isinstance(outcome, NpczarrError) or not isinstance(outcome, Exception | tuple):
            raise outcome
        if isinstance(outcome, Exception) and len(task.patients) > 1:
            again += [replace(task, patients=(patient,)) for patient in task.patients]
            continue
        if isinstance(outcome, Exception):
            failed = _failures_of(task, plan.template, outcome)
        else:
            found, failed = outcome
            _fill(result, [rows[patient] for patient in task.patients], found)
        failures += failed
        missed = len({failure.patient for failure in failed})
        meter.add(len(task.patients), counts={"measured": len(task.patients) - missed, "failed": missed})
    return failures + (_measure_all(runner, again, result, plan, meter) if again else [])


@contextmanager
def _lease_if_writable(location: Location, *, break_lock: bool) -> Iterator[Lease | None]:
    """Hold the lease of a store; None where this process may not write to it, and so cannot disturb a writer."""
    with ExitStack() as stack:
        try:
            lease = stack.enter_context(hold_lease(location.open(), location.shown, break_lock=break_lock))
        except ReadOnlyError:
            lease = None
        yield lease


def measure_batch(task: MeasureTask) -> tuple[xr.Dataset, list[Failure]]:
    """Measure a batch of patients; where one scan cannot be read, the others are measured all the same."""
    dataset = _chosen(open_location(task.target), task.patients)
    measure, parameters = function_of(task.measure), dict(task.parameters)
    with dask.config.set(scheduler="threads" if task.threads else "sync"):
        try:
            return measure(dataset, **parameters).compute(), []
        except NpczarrError:
            return _one_by_one(dataset, lambda scan: measure(scan, **parameters))


def _chosen(dataset: xr.Dataset, patients: tuple[str, ...]) -> xr.Dataset:
    """Select patients; as a slice where they follow one another, for Dask copies what a list selects."""
    rows = {str(label): i for i, label in enumerate(dataset["patient"].values)}
    chosen = [rows[patient] for patient in patients]
    if chosen == list(range(chosen[0], chosen[0] + len(chosen))):
        return dataset.isel(patient=slice(chosen[0], chosen[0] + len(chosen)))
    return dataset.isel(patient=chosen)


def _nothing(template: xr.Dataset) -> xr.Dataset:
    """Return a result of which nothing is known yet: NaN everywhere, texts empty, `patient` first."""
    ordered = template.transpose("patient", "sequence", ...)
    empty = {}
    for name, variable in ordered.data_vars.items():
        values = np.full(variable.shape, np.nan) if variable.dtype.kind == "f" else np.full(variable.shape, "", TEXT)
        empty[name] = (variable.dims, values, variable.attrs)
    return ordered.assign(empty)


def _fill(result: xr.Dataset, rows: list[int], found: xr.Dataset) -> None:
    """Write what is known of some patients into the result."""
    for name, variable in result.data_vars.items():
        variable.values[rows] = found[name].transpose(*variable.dims).values


def _failures_of(task: MeasureTask, template: xr.Dataset, error: Exception) -> list[Failure]:
    """Name the scans of a patient whose task ended in an error, more than once."""
    problem = f"could not be measured: {type(error).__name__}: {error}"
    return [Failure(task.patients[0], str(label), problem) for label in template["sequence"].values]


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
                scans.append(_nothing(lazy).compute())
        lines.append(xr.concat(scans, dim="sequence", data_vars="minimal"))
    return xr.concat(lines, dim="patient", data_vars="minimal"), failures


def _already_measured(found: StoredResult | None, plan: _Plan) -> tuple[xr.Dataset, list[str]]:
    """Take over what the store says of patients whose scans are as they were measured, and name the others."""
    result, patients = _nothing(plan.template), plan.patients
    if found is None or any(found.attributes.get(key) != value for key, value in plan.provenance.items()):
        return result, patients
    stored = found.as_dataset()
    complete = {"input_digest", *result.data_vars} <= set(stored.variables)
    if not complete or stored.sizes["sequence"] != result.sizes["sequence"]:
        return result, patients
    rows = {str(label): i for i, label in enumerate(stored["patient"].values)}
    measured = stored["input_digest"].transpose(*SCAN).values
    valid = [i for i, p in enumerate(patients) if p in rows and (measured[rows[p]] == plan.digests[i]).all()]
    _fill(result, valid, stored.isel(patient=[rows[patients[i]] for i in valid]))
    known = set(valid)
    return result, [patient for i, patient in enumerate(patients) if i not in known]


def _stored_form(result: xr.Dataset, failures: Collection[Failure]) -> xr.Dataset:
    """Leave scans that failed, or were pending, without a digest, so that the next run tries them again."""
    digests = result["input_digest"].copy(deep=True)
    for failure in failures:
        digests.loc[{"patient": failure.patient, "sequence": failure.sequence}] = ""
    return result.assign(input_digest=digests)
