"""Division of a cohort into parts by subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def divide(
    subjects: Sequence[str], strata: Sequence[tuple[str, ...]], parts: Mapping[str, float], seed: int
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

    Returns
    -------
    list of str
        Part of each patient.
    """
    stratum_of: dict[str, tuple[str, ...]] = {}
    for subject, stratum in zip(subjects, strata, strict=True):
        stratum_of.setdefault(subject, stratum)
    random = np.random.default_rng(seed)
    order: list[str] = []
    for stratum in sorted(set(stratum_of.values())):
        members = sorted(subject for subject, found in stratum_of.items() if found == stratum)
        order += [members[i] for i in random.permutation(len(members))]
    counts = dict.fromkeys(parts, 0)
    part_of = {}
    for i, subject in enumerate(order, start=1):
        part = max(parts, key=lambda name: (parts[name] * i - counts[name], -list(parts).index(name)))
        counts[part] += 1
        part_of[subject] = part
    return [part_of[subject] for subject in subjects]
