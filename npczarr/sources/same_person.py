"""Patients who may be one person, as in two folders: statistics and splits would take them for two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from npczarr.model.cohort import subject_of
from npczarr.model.messages import first_of

_MOST = 4  # patients of one number or study; of more it is one that all of a delivery were given


def remarks_on_persons(same_number: Iterable[tuple[str, ...]], studies: Mapping[tuple[str, str], Any]) -> list[str]:
    """Say which patients may be one person: their headers share a PatientID or a StudyInstanceUID.

    Parameters
    ----------
    same_number
        Subjects who share a PatientID, by :func:`who_share`.
    studies
        Digest of the StudyInstanceUID of each scan of the store.

    Returns
    -------
    list of str
        One remark, or none.

    Examples
    --------
    >>> remarks_on_persons([("001", "007")], {})[0].partition(":")[0]
    '2 patients may be one person (001 and 007 share a PatientID)'
    >>> remarks_on_persons([], {("003", "T1WI"): "c", ("004", "T1WI"): ""})
    []
    """
    found = dict.fromkeys(who_share((patient, str(one)) for (patient, _), one in studies.items()), "StudyInstanceUID")
    found |= dict.fromkeys(same_number, "PatientID")
    if not found:
        return []
    pairs = [f"{' and '.join(people)} share a {keyword}" for people, keyword in sorted(found.items())]
    count = len({patient for people in found for patient in people})
    return [
        f"{count} patients may be {'one person' if len(pairs) == 1 else 'fewer persons'} ({first_of(pairs)}): "
        "statistics and splits take each for a person of its own, so that one may be trained on and tested. If they "
        "are visits, put them in folders of one patient and say {session} in [layout] images of a TOML file "
        "(--config); if one is a copy, leave it out. In both cases convert into a new store"
    ]


def who_share(told: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """List the subjects who share a digest, given for patients; "" is none.

    Visits of one subject are known to be of one person. What more than four share was given to all of a delivery when
    it was made anonymous, and tells nothing.

    >>> who_share([("001", "a"), ("007", "a"), ("002", "b"), ("003_ses-1", "c"), ("003_ses-2", "c")])
    [('001', '007')]
    """
    people: dict[str, set[str]] = {}
    for patient, number in told:
        if number:
            people.setdefault(number, set()).add(subject_of(patient))
    return [tuple(sorted(subjects)) for subjects in people.values() if 1 < len(subjects) <= _MOST]
