"""A dataset as nnU-Net (version 2) reads it: a case a patient, a channel a sequence, one mask.

``dataset.json``, ``imagesTr/<case>_0000.nii.gz``, ``labelsTr/<case>.nii.gz``; beside them what nnU-Net takes later
(``splits_final.json``, to be put into its folder of preprocessed data) and what npczarr takes to read the predictions
(``predictions.toml``). Left to itself, nnU-Net divides cases at random, two visits of one subject too: where a subject
has several and no column divides the cohort, ``splits_final.json`` holds folds by subject.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import NpczarrError, ParameterError, unknown_label
from npczarr.export.names import check_name
from npczarr.export.nifti import encode
from npczarr.model.division import describe_parted, divide
from npczarr.model.geometry import RAS_TO_LPS
from npczarr.model.progress import Meter, OnProgress
from npczarr.model.schema import RESAMPLING
from npczarr.outputs import write_whole
from npczarr.runner import Runner
from npczarr.store.chunks import is_padding
from npczarr.store.cohort import StoredCohort
from npczarr.store.location import Location
from npczarr.store.open import open_location
from npczarr.store.scans import StoredScan
from npczarr.store.subjects import parts_of, subjects_of

#: Columns of a store that may hold a split, the first there is counts.
_SPLITS = ("fold", "split")
_TEST = "test"  # patients of this part are not for training
_FOLDS = 5  # as many as nnU-Net makes


@dataclass(frozen=True, slots=True, eq=False)
class CaseTask:
    """One patient to write.

    Parameters
    ----------
    scans
        In the order of the channels.
    mask
        The scan whose mask is the label.
    out, test
        Folder, and whether it is a case for testing.
    """

    scans: tuple[StoredScan, ...]
    mask: StoredScan
    out: str
    test: bool


@dataclass(frozen=True, slots=True)
class Case:
    """What became of one patient: its files, or why there are none, and what must be known of them."""

    patient: str
    files: tuple[str, ...] = ()
    problem: str = ""
    remark: str = ""


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
        The store, and a folder such as ``nnUNet_raw/Dataset501_NPC``.
    patients, sequences
        Labels; None means all.
    mask_of
        Sequence whose mask is the label; by default the one on whose grid the store was resampled, or the only one.
    runner, on_progress
        Where it runs, and who hears of it.

    Returns
    -------
    tuple
        The cases in the store's order, and the sequence whose mask is the label.
    """
    dataset = open_location(location, dask=False)
    cohort = StoredCohort(location)
    channels = tuple(cohort.labels["sequence"] if sequences is None else sequences)
    labelled = _mask_of(dataset, channels, mask_of)
    labels = _labels(dataset)
    chosen = cohort.labels["patient"] if patients is None else tuple(patients)
    parts = _parts(dataset, chosen)
    tasks, cases = [], {}
    for patient in chosen:
        scans = tuple(cohort.scan(patient, sequence) for sequence in channels)
        task = CaseTask(scans, cohort.scan(patient, labelled), str(out), parts.get(patient) == _TEST)
        problem = next(_problems(task), "")
        if problem:
            cases[patient] = Case(patient, problem=problem)
        else:
            tasks.append(task)
    meter = Meter(on_progress, len(tasks), "patients")
    for task, outcome in runner.run(write_case, tasks, name=lambda task: f"nnunet-{task.mask.patient}"):
        if not isinstance(outcome, Case | Exception):
            raise outcome
        patient = task.mask.patient
        cases[patient] = outcome if isinstance(outcome, Case) else Case(patient, problem=str(outcome))
        meter.add()
    written = [case.patient for case in cases.values() if case.files]
    training = [patient for patient in written if parts.get(patient) != _TEST]
    parts = parts or _folds_by_subject(training, dict(zip(cohort.labels["patient"], subjects_of(dataset), strict=True)))
    _write_descriptions(out, channels, labelled, labels, training, parts)
    places = {patient: i for i, patient in enumerate(cohort.labels["patient"])}
    return tuple(cases[patient] for patient in sorted(cases, key=places.__getitem__)), labelled


def write_case(task: CaseTask) -> Case:
    """Write the images and the label of one patient; what is wrong with it is in the result."""
    patient = task.mask.patient
    folder, suffix = Path(task.out), "Ts" if task.test else "Tr"
    files, remarks = [], []
    try:
        check_name(patient)
        assert task.mask.grid is not None
        affine = RAS_TO_LPS @ task.mask.grid.affine  # to the last bit the same in all files, as nnU-Net checks
        for channel, scan in enumerate(task.scans):
            image, outside = _real_values(scan)
            files.append(f"images{suffix}/{patient}_{channel:04d}.nii.gz")
            write_whole(folder / files[-1], encode(image, affine))
            if outside:
                remarks.append(f"{outside:.0%} of {scan.sequence} lie outside its field of view, its least value there")
        files.append(f"labels{suffix}/{patient}.nii.gz")
        write_whole(folder / files[-1], encode(task.mask.mask(), affine))
    except (NpczarrError, OSError, ValueError) as error:
        return Case(patient, problem=str(error))
    return Case(patient, tuple(files), remark="; ".join(remarks))


def _real_values(scan: StoredScan) -> tuple[NDArray[np.float32], float]:
    """(z, y, x) real values, the least of them where there is padding, and the share of that."""
    stored = scan.image()
    values = (stored * scan.slope[:, None, None] + scan.intercept[:, None, None]).astype(np.float32)
    outside = is_padding(stored, scan.image_array.padding) | ~np.isfinite(values)
    if outside.any():
        values[outside] = values[~outside].min() if not outside.all() else 0
    return values, float(outside.mean())


def _problems(task: CaseTask) -> Iterator[str]:
    """Give what keeps a patient from being a case."""
    for scan in task.scans:
        if not scan.has_image or scan.grid is None:
            yield f"{scan.sequence} has no image: {scan.status}"
        elif task.mask.grid is None or not scan.grid.is_same_as(task.mask.grid):
            yield (
                f"{scan.sequence} lies on another grid than {task.mask.sequence}; export a store made by npczarr "
                f"resample --like {task.mask.sequence}"
            )
        elif not all(scan.known_zyx):
            yield f"the voxel size of {scan.sequence} is not known"
    if not task.mask.has_mask or task.mask.raters:
        yield f"{task.mask.sequence} has no mask: {task.mask.mask_status}"


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


def _parts(dataset: xr.Dataset, chosen: Sequence[str]) -> dict[str, str]:
    """Return the part of each patient, by the first column that holds a split.

    Raises
    ------
    ParameterError
        If it gives the visits of one subject to different parts.
    """
    patients = [str(label) for label in dataset["patient"].values]
    for name in _SPLITS:
        parts = parts_of(dataset, name)
        if parts is None:
            continue
        rows = [i for i, patient in enumerate(patients) if patient in set(chosen)]
        parted = describe_parted(*([values[i] for i in rows] for values in (patients, subjects_of(dataset), parts)))
        if parted:
            raise ParameterError(
                f"the column {name!r} parts the visits of {parted}: a model would be tested on people whom it knows; "
                "correct it in the table and convert again, or export patients of one visit each"
            )
        return dict(zip(patients, parts, strict=True))
    return {}


def _write_descriptions(
    out: Path,
    channels: Sequence[str],
    labelled: str,
    labels: Mapping[str, int],
    training: Sequence[str],
    parts: Mapping[str, str],
) -> None:
    """Write what describes the cases as a whole."""
    described: dict[str, Any] = {
        "channel_names": {str(i): name for i, name in enumerate(channels)},
        "labels": dict(labels),
        "numTraining": len(training),
        "file_ending": ".nii.gz",
    }
    write_whole(out / "dataset.json", _json(described))
    held_out = sorted({parts.get(patient, "") for patient in training} - {"", "train"})
    splits = [
        {
            "train": [patient for patient in training if parts.get(patient) != part],
            "val": [patient for patient in training if parts.get(patient) == part],
        }
        for part in held_out
    ]
    if splits:
        write_whole(out / "splits_final.json", _json(splits))
    rules = f'[layout]\nmasks = ["{{patient}}.nii.gz"]\n\n[sequences]\n{json.dumps(labelled)} = {{ mask = "image" }}\n'
    write_whole(out / "predictions.toml", rules.encode())


def _folds_by_subject(patients: Sequence[str], subject_by_patient: Mapping[str, str]) -> dict[str, str]:
    """Return the fold of each patient; empty where no subject has several visits, or there is one subject only."""
    subjects = [subject_by_patient[patient] for patient in patients]
    count = min(_FOLDS, len(set(subjects)))
    if count < 2 or len(set(subjects)) == len(subjects):
        return {}
    folds = divide(subjects, [()] * len(subjects), {str(i): 1 / count for i in range(count)}, seed=0)
    return dict(zip(patients, folds, strict=True))


def _json(value: Any) -> bytes:  # noqa: ANN401 - anything that JSON holds
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
