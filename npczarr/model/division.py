"""Division of a cohort into parts by subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

SPLIT = "npczarr_split"  # attribute of a column that divides a cohort: how it was made, as JSON text


def divide(
    subjects: Sequence[str],
    strata: Sequence[tuple[str, ...]],
    parts: Mapping[str, float],
    seed: int,
    given: Mapping[str, str] | None = None,
) -> list[str]:
    """Give every subject to the part that lacks most of its share, stratum by stratum, in random order.

    Parameters
    ----------
    subjects
        Subject of each patient of a store; visits of one subject stay together.
    strata
        Stratum of each patient; a subject of several visits counts as at the first.
    parts
        Name and share of each part.
    seed
        Seed of the random generator.
    given
        Parts that subjects have already, and keep.

    Returns
    -------
    list of str
        Part of each patient.
    """
    stratum_of: dict[str, tuple[str, ...]] = {}
    for subject, stratum in zip(subjects, strata, strict=True):
        stratum_of.setdefault(subject, stratum)
    part_of = dict(given or {})
    random = np.random.default_rng(seed)
    order: list[str] = []
    for stratum in sorted(set(stratum_of.values())):
        members = sorted(subject for subject, found in stratum_of.items() if found == stratum)
        order += [members[i] for i in random.permutation(len(members)) if members[i] not in part_of]
    counts = {part: list(part_of.values()).count(part) for part in parts}
    for i, subject in enumerate(order, start=len(part_of) + 1):
        part = max(parts, key=lambda name: (parts[name] * i - counts[name], -list(parts).index(name)))
        counts[part] += 1
        part_of[subject] = part
    return [part_of[subject] for subject in subjects]


def describe_parted(patients: Sequence[str], subjects: Sequence[str], parts: Sequence[str]) -> str:
    """Name the subjects whose visits are in different parts; "" where there is none.

    >>> describe_parted(["1_ses-a", "1_ses-b", "2"], ["1", "1", "2"], ["train", "test", "test"])
    "1 subject (1_ses-a is 'train', 1_ses-b 'test')"
    """
    visits: dict[str, dict[str, str]] = {}
    for patient, subject, part in zip(patients, subjects, parts, strict=True):
        visits.setdefault(subject, {}).setdefault(part, patient)
    parted = [found for found in visits.values() if len(found) > 1]
    if not parted:
        return ""
    (one, first), (other, second) = list(parted[0].items())[:2]
    count = "1 subject (" if len(parted) == 1 else f"{len(parted)} subjects (the first: "
    return f"{count}{first} is {one!r}, {second} {other!r})"
