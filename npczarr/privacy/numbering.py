"""Numbers in place of names, which stay those of what they were given to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from npczarr.privacy.record import Record

PATIENTS = "patient-{:03d}"
VISITS = "visit-{:03d}"
LETTERS = "visit-{letters}"
RATERS = "rater-{:03d}"
WORDS = "x{:03d}"
_HYPHENATED = (PATIENTS, VISITS, LETTERS, RATERS)
_GIVEN = re.compile(r"patient-?\d+")


class Numbering:
    """New names by forms such as ``patient-{:03d}``; a number that was given once is not given again.

    Patients are numbered in an order that only the key tells: in the order of their names, a list of who might be in
    the cohort would tell who is who. Others get numbers in the order in which they are asked for, and those that are
    added later the next ones.

    Parameters
    ----------
    record
        What earlier runs gave; it takes the names that are given now.
    hyphen
        Between word and number: "" where a hyphen parts the fields of a name.
    """

    def __init__(self, record: Record, *, hyphen: str = "-") -> None:
        self._record = record
        self._hyphen = hyphen
        #: Paths of files and folders whose names stay.
        self.kept: set[str] = set()
        self._kept_patients: set[str] = set()
        # what a new patient cannot be called: someone may be called so in the copy
        self._taken = {name for target in record.files for name in (*target.split("/")[:-1], *_GIVEN.findall(target))}
        self._given = {name for name in record.names() if _GIVEN.fullmatch(name)}

    def keep_patient(self, label: str) -> bool:
        """Keep the name of a patient, unless it was given to another."""
        if label in self._given:
            return False
        self._kept_patients.add(label)
        return True

    def shuffled(self, owners: Iterable[str]) -> list[str]:
        """Sort patients as only the key tells."""
        return sorted(owners, key=lambda owner: self._record.digest("order", owner))

    def number(self, path: str, form: str) -> str:
        """Return what an earlier run called something, else the next name; but none that is kept beside it."""
        if form in _HYPHENATED:
            form = form.replace("-", self._hyphen)
        of_patients = form == PATIENTS.replace("-", self._hyphen)
        folder = path.rpartition("/")[0]
        within = "" if of_patients else folder  # no two patients of a copy have one PatientID
        name = self._record.name(form, path)
        while not name or f"{folder}/{name}".lstrip("/") in self.kept:
            number = self._record.next_number(form, within)
            name = form.format(number, letters=_letters(number))
            if of_patients and (name in self._taken or name in self._kept_patients):
                name = ""
        self._record.give(form, path, name)
        return name

    def is_continued(self, visits: Sequence[str]) -> bool:
        """Whether the visits of a patient, in their order, go on from those that have numbers already."""
        names = [self._record.name(VISITS.replace("-", self._hyphen), visit) for visit in visits]
        numbers = [int(re.sub(r"\D", "", name) or 0) for name in names]
        known = [number for number in numbers if number]
        return known == sorted(known) == numbers[: len(known)]

    def take_back(self, form: str, paths: Iterable[str]) -> None:
        """Forget what some were called; their numbers stay taken."""
        for path in paths:
            self._record.take_back(form.replace("-", self._hyphen), path)


def _letters(count: int) -> str:
    """Write a count from 1 in letters.

    >>> _letters(1), _letters(26), _letters(27)
    ('a', 'z', 'aa')
    """
    before, last = divmod(count - 1, 26)
    return (_letters(before) if before else "") + chr(ord("a") + last)
