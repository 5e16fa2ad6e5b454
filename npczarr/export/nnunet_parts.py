"""Who is for testing, and the folds of the others: what the columns `fold` and `split` of a store say of its patients.

A patient is for testing where either column says so. The folds are those of `fold`; where it names none, those of
`split`; where neither does, folds by subject. The names of both columns count in any case of letters (`Split`), and so
do their words:

* ``test``, ``testing``, ``holdout``, ``held-out``: for testing;
* ``train``, ``training``: in the training of every fold, as is a patient of whom nothing is said;
* ``val``, ``valid``, ``validation``: one fold, held out.

Spaces, hyphens, underscores and ``set`` at the end make no difference: ``Test set`` is ``test``. Other names in `fold`
are names of folds. In `split` they are refused, but for numbers of folds: what they mean by it might be a test set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import xarray as xr

from npczarr.errors import ParameterError
from npczarr.model.division import describe_parted, divide
from npczarr.store.subjects import parts_of, subjects_of

TEST = "test"
_TRAIN, _VAL = "train", "val"
_FOLD, _SPLIT = "fold", "split"
_PARTS = {
    **dict.fromkeys(("train", "training"), _TRAIN),
    **dict.fromkeys(("val", "valid", "validation"), _VAL),
    **dict.fromkeys(("test", "testing", "holdout", "heldout"), TEST),
}
_BETWEEN = re.compile(r"[\s_-]+")
_NUMBER = re.compile(r"(?:fold[\s_-]*)?(\d+)")
#: A name of a fold that speaks of a test set, and says more: "external test", "test 1".
_SPEAKS_OF_TEST = re.compile(r"(?<![a-z])(test|testing|h[eo]ld[\s_-]*out)[\s_-]*(set)?(?![a-z])")
_FOLDS = 5  # as many as nnU-Net makes


def parts_by_patient(dataset: xr.Dataset, chosen: Sequence[str]) -> dict[str, str]:
    """Return the part of each chosen patient.

    Parameters
    ----------
    dataset
        A cohort opened from a store.
    chosen
        Labels of the patients to export.

    Returns
    -------
    dict
        :data:`TEST`, the name of the fold that holds a patient out, or ``"train"`` or ``""`` where none does.

    Raises
    ------
    ParameterError
        If a column cannot be read, says what is not known, or gives the visits of one subject to different parts.
    """
    columns = {name: _column(dataset, name, chosen) for name in _names(dataset)}
    testing = {patient for parts in columns.values() for patient, part in parts.items() if part == TEST}
    training = [patient for patient in chosen if patient not in testing]
    dividing = next((parts for parts in columns.values() if _held_out(training, parts)), None)
    found = dict.fromkeys(chosen, _TRAIN) if dividing is None else dict(dividing)
    found.update(dict.fromkeys(testing, TEST))
    subject_by_patient = _subjects(dataset)
    parted = describe_parted(chosen, [subject_by_patient[patient] for patient in chosen], list(found.values()))
    if parted:
        names = " and ".join(repr(name) for name in columns)
        verb = f"column {names} parts" if len(columns) == 1 else f"columns {names} part"
        raise ParameterError(
            f"the {verb} the visits of {parted}: a model would be tested on people whom it knows; correct it in the "
            "table and convert again, or export patients of one visit each"
        )
    return found


def folds_of(dataset: xr.Dataset, training: Sequence[str], parts: Mapping[str, str]) -> list[dict[str, list[str]]]:
    """Return the folds of the patients for training as nnU-Net reads them; none where it may divide them by itself.

    Left to itself it divides cases at random, two visits of one subject too: where no column holds anybody out, and a
    subject has several visits, the folds are made here, by subject.
    """
    if not _held_out(training, parts):
        parts = _folds_by_subject(training, _subjects(dataset))
    return [
        {
            "train": [patient for patient in training if parts[patient] != name],
            "val": [patient for patient in training if parts[patient] == name],
        }
        for name in _held_out(training, parts)
    ]


def _names(dataset: xr.Dataset) -> list[str]:
    """Names of the columns that may hold parts, `fold` before `split`."""
    known = [str(name) for name in dataset.variables]
    return [name for wanted in (_FOLD, _SPLIT) for name in known if name.casefold() == wanted]


def _column(dataset: xr.Dataset, name: str, chosen: Sequence[str]) -> dict[str, str]:
    """Return what a column says of each chosen patient, in the words of this module."""
    words = parts_of(dataset, name)
    if words is None or dataset[name].dtype.kind == "b":
        raise ParameterError(
            f"the column {name!r} would tell who is for testing, but holds neither words nor a few whole numbers, one "
            "for each patient; correct it in the table, or give it another name, and convert again"
        )
    said = dict(zip((str(label) for label in dataset["patient"].values), words, strict=True))
    return {patient: _part(name, said[patient], patient) for patient in chosen}


def _part(column: str, word: str, patient: str) -> str:
    """Return the part that a word of a column names.

    Raises
    ------
    ParameterError
        If it may mean a test set.
    """
    text = word.strip().casefold()
    known = _PARTS.get(_BETWEEN.sub("", text).removesuffix("set"))
    if known or not text:
        return known or ""
    if column.casefold() == _FOLD:
        if not _SPEAKS_OF_TEST.search(text):
            return word
    elif number := _NUMBER.fullmatch(text):
        return str(int(number[1]))
    raise ParameterError(
        f"the column {column!r} says {word!r} of {patient}, and nnU-Net must not learn from who is for testing; say "
        f"{', '.join(_PARTS)}, or the number of a fold: correct the table and convert again, make the column anew "
        "(npczarr.split), or leave such patients out"
    )


def _held_out(training: Sequence[str], parts: Mapping[str, str]) -> list[str]:
    """Names of the folds that hold out some of the patients for training; none where one would hold out all."""
    found = [parts[patient] for patient in training]
    names = sorted(set(found) - {"", _TRAIN})
    return [] if len(set(found)) == 1 else names


def _folds_by_subject(patients: Sequence[str], subject_by_patient: Mapping[str, str]) -> dict[str, str]:
    """Return the fold of each patient; in none where no subject has several visits, or there is one subject only."""
    subjects = [subject_by_patient[patient] for patient in patients]
    count = min(_FOLDS, len(set(subjects)))
    if count < 2 or len(set(subjects)) == len(subjects):
        return dict.fromkeys(patients, "")
    folds = divide(subjects, [()] * len(subjects), {str(i): 1 / count for i in range(count)}, seed=0)
    return dict(zip(patients, folds, strict=True))


def _subjects(dataset: xr.Dataset) -> dict[str, str]:
    return dict(zip((str(label) for label in dataset["patient"].values), subjects_of(dataset), strict=True))
