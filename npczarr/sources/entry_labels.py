"""Labels by how tables write them: "001" is "1" in one table and "sub-001" in another."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable


class EntryLabels:
    """Labels by the entries that mean them: read exactly first, then ever more loosely.

    Parameters
    ----------
    labels
        Patients, sessions or sequences.
    key
        The loosest reading: entries and labels with the same key may mean the same.
    """

    def __init__(self, labels: Iterable[str], key: Callable[[str], str]) -> None:
        self._readings: list[tuple[Callable[[str], str], dict[str, list[str]]]] = []
        for read in (str.strip, _bare, key):
            by_reading: dict[str, list[str]] = {}
            for label in dict.fromkeys(labels):
                by_reading.setdefault(read(label), []).append(label)
            self._readings.append((read, by_reading))

    def find(self, entry: str) -> tuple[str, ...]:
        """Return the label that an entry means; several where it may mean any of them, none where it means no label.

        >>> patients = EntryLabels(["1", "01", "sub-7"], lambda text: text.lstrip("sub-0"))
        >>> patients.find("01"), patients.find("7"), patients.find("001"), patients.find("2")
        (('01',), ('sub-7',), ('1', '01'), ())
        """
        for read, by_reading in self._readings:
            if found := by_reading.get(read(entry)):
                return tuple(found)
        return ()


def _bare(text: str) -> str:
    """Text without the prefix of BIDS; macOS writes an accented letter as two characters, tables as one."""
    return re.sub("^(sub|ses)-", "", unicodedata.normalize("NFC", text.strip()))
