"""A dataset as nnU-Net (version 2) reads it: a case a patient, a channel a sequence, one mask.

``dataset.json``, ``imagesTr/<case>_0000.nii.gz``, ``labelsTr/<case>.nii.gz``, and ``imagesTs`` and ``labelsTs`` of the
patients for testing; beside them what nnU-Net takes later (``splits_final.json``, to be put into its folder of
preprocessed data) and what npczarr takes to read the predictions (``predictions.toml``).

Run again, it writes the cases that have changed in the store and deletes those that the store no longer has: the folder
then holds the cases of this export and no others. More patients may be chosen than before, but not fewer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from npczarr.errors import ParameterError, unknown_label
from npczarr.export.manifest import Manifest
from npczarr.export.nnunet_case import ENDING, Case, CaseTask, write_case
from npczarr.export.nnunet_folder import begin, check_folder, describe, drop
from npczarr.export.nnunet_parts import TEST, folds_of, parts_by_patient
from npczarr.model.progress import Meter, OnProgress
from npczarr.model.schema import RESAMPLING
from npczarr.outputs import expanded
from npczarr.runner import Runner
from npczarr.store.cohort import StoredCohort
from npczarr.store.location import Location
from npczarr.store.open import open_location
from npczarr.store.watch import read_together


def export_cases(
    location: Location,
    out: Path,
    *,
    patients: Sequence[str] | None,
    sequences: Sequence[str] | None,
    mask_of: str | None,
    runner: Runner,
    on_progress: OnProgress | None,
) -> tuple[tuple[Case, ...], str]:
    """Write a dataset for nnU-Net; one bad patient does not stop the rest.

    Parameters
    ----------
    location, out
        The store, and a folder such as ``nnUNet_raw/Dataset501_NPC``: new, empty, or of an earlier export of the same
        sequences and mask.
    patients, sequences
        Labels; None means all. Patients whom the folder holds already must be among them.
    mask_of
        Sequence whose mask is the label; by default the one on whose grid the store was resampled, or the only one.
    runner, on_progress
        Where it runs, and who hears of it.

    Returns
    -------
    tuple
        The cases in the store's order, and the sequence whose mask is the label.

    Raises
    ------
    ParameterError
        If an argument or the folder cannot be used, another run is writing there, or the store does not say plainly who
        is for testing.
    """
    with read_together(location):
        dataset, cohort = open_location(location, dask=False), StoredCohort(location)
    known = cohort.labels["patient"]
    chosen = _chosen(known, patients)
    channels = tuple(cohort.labels["sequence"] if sequences is None else sequences)
    labelled, labels = _mask_of(dataset, channels, mask_of), _labels(dataset)
    parts = parts_by_patient(dataset, chosen)
    folder = expanded(out).resolve()
    tasks = [
        CaseTask(
            tuple(cohort.scan(patient, sequence) for sequence in channels),
            cohort.scan(patient, labelled),
            str(folder),
            parts[patient] == TEST,
        )
        for patient in chosen
    ]
    kind = {"format": "nnunet", "sequences": list(channels), "mask_of": labelled}
    with Manifest.open(folder, kind) as manifest:
        check_folder(manifest, chosen=chosen, known=known)
        cases = _write(tasks, manifest, runner, on_progress)
        training = [patient for patient in chosen if cases[patient].files and parts[patient] != TEST]
        _describe(manifest, channels, labelled, labels, training, folds_of(dataset, training, parts))
    return tuple(cases[patient] for patient in chosen), labelled


def _chosen(known: Sequence[str], patients: Sequence[str] | None) -> tuple[str, ...]:
    """Patients to export, in the store's order."""
    wanted = dict.fromkeys(known if patients is None else patients)
    there = set(known)
    unknown = [patient for patient in wanted if patient not in there]
    if unknown:
        raise unknown_label("patient", unknown[0], known)
    return tuple(patient for patient in known if patient in wanted)


def _mask_of(dataset: xr.Dataset, channels: Sequence[str], mask_of: str | None) -> str:
    known = [str(label) for label in dataset["sequence"].values]
    like = json.loads(dataset.attrs.get(RESAMPLING, "{}")).get("like")
    chosen = mask_of or like or (channels[0] if len(channels) == 1 else None)
    if chosen is None:
        raise ParameterError(
            "nnU-Net takes one mask a patient, the store has one a sequence: name the sequence whose mask it is "
            "(--mask-of)"
        )
    if chosen not in known:
        raise unknown_label("sequence", chosen, known)
    return str(chosen)


def _labels(dataset: xr.Dataset) -> dict[str, int]:
    """Return the numbers of the labels by name.

    Raises
    ------
    ParameterError
        If they do not follow one another from 0, as nnU-Net demands.
    """
    names = str(dataset["mask"].attrs.get("flag_meanings", "background tumor")).split()
    numbers = [int(n) for n in np.atleast_1d(dataset["mask"].attrs.get("flag_values", [0, 1]))]
    if numbers != list(range(len(names))):
        raise ParameterError(f"nnU-Net needs labels 0, 1, 2, …, the store has {numbers}; convert it with other numbers")
    return dict(zip(["background", *names[1:]], numbers, strict=True))


def _write(
    tasks: Sequence[CaseTask], manifest: Manifest, runner: Runner, on_progress: OnProgress | None
) -> dict[str, Case]:
    """Write the cases that the folder does not hold as they are; delete those that cannot be written."""
    cases, waiting = {}, []
    for task in tasks:
        case = _case_without_work(task, manifest)
        if case is None:
            waiting.append(task)
        else:
            cases[task.patient] = case
    kept = {patient for patient, case in cases.items() if case.files}
    begin(manifest, {task.patient: task.files for task in waiting}, kept)
    meter = Meter(on_progress, len(waiting), "patients", Counter(case.status for case in cases.values()))
    try:
        for task, outcome in runner.run(write_case, waiting, name=lambda task: f"nnunet-{task.patient}"):
            case = _case(task, outcome)
            cases[task.patient] = case
            if case.files:
                manifest.add(task.patient, task.digest, case.files)
            else:
                drop(manifest, task.patient)
            meter.add(counts={case.status: 1})
    finally:
        manifest.write()
    return cases


def _case_without_work(task: CaseTask, manifest: Manifest) -> Case | None:
    """Return what is known of a case before it is written: that it cannot be, or need not be."""
    if problem := task.problem:
        return Case(task.patient, "failed", problem)
    files = manifest.kept(task.patient, task.digest)
    return None if files is None else Case(task.patient, "kept", task.remark, files)


def _case(task: CaseTask, outcome: Case | BaseException) -> Case:
    if isinstance(outcome, Case):
        return outcome
    if not isinstance(outcome, Exception):
        raise outcome
    return Case(task.patient, "failed", str(outcome))


def _describe(
    manifest: Manifest,
    channels: Sequence[str],
    labelled: str,
    labels: dict[str, int],
    training: Sequence[str],
    folds: list[dict[str, list[str]]],
) -> None:
    """Write what describes the cases as a whole."""
    dataset = {
        "channel_names": {str(i): name for i, name in enumerate(channels)},
        "labels": labels,
        "numTraining": len(training),
        "file_ending": ENDING,
    }
    rules = f'[layout]\nmasks = ["{{patient}}{ENDING}"]\n\n[sequences]\n{json.dumps(labelled)} = {{ mask = "image" }}\n'
    describe(manifest, _json(dataset), _json(folds) if folds else None, rules.encode())


def _json(value: Any) -> bytes:  # noqa: ANN401 - anything that JSON holds
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
