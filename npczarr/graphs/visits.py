"""How tumors change from one visit of a subject to the next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from npczarr.model.cohort import visit_of

if TYPE_CHECKING:
    import pandas as pd

_VOLUME = "morphology.volume"


def add_volume_changes(
    columns: dict[str, Any], units: dict[str, str], subjects: Sequence[str], places: Sequence[int]
) -> bool:
    """Add the change of each tumor's volume since the subject's visit before; NaN where the order is not known.

    Parameters
    ----------
    columns
        Columns of a table with a row for each scan.
    units
        Units by column; those of the new columns are added.
    subjects, places
        Subject of each row, and the place of its visit among theirs; -1 where it is not known.

    Returns
    -------
    bool
        Whether there are volumes; nothing is added where there are none, or no two visits in their order.
    """
    volumes = [name for name in columns if name == _VOLUME or name.startswith(f"{_VOLUME}.")]
    if not volumes:
        return False
    before: dict[tuple[Any, Any], int] = {}
    earlier = np.full(len(places), -1)
    for row in sorted(range(len(places)), key=lambda row: places[row]):
        scan = subjects[row], columns["sequence"][row]
        if places[row] >= 0:
            earlier[row] = before.get(scan, -1)
            before[scan] = row
    if (earlier < 0).all():
        return True
    for name in volumes:
        volume = np.asarray(columns[name], dtype=np.float64)
        previous = np.where(earlier >= 0, volume[earlier], np.nan)
        behind = name.removeprefix(_VOLUME)
        with np.errstate(divide="ignore", invalid="ignore"):
            percent = np.where(previous > 0, 100 * (volume / previous - 1), np.nan)
        columns[f"{_VOLUME}_change{behind}"] = volume - previous
        columns[f"{_VOLUME}_change_percent{behind}"] = percent
        units[f"{_VOLUME}_change{behind}"] = units.get(name, "mm3")
        units[f"{_VOLUME}_change_percent{behind}"] = "percent"
    return True


def add_visits(frame: pd.DataFrame, patients: Iterable[str], *, at: int) -> None:
    """Add `subject` and `session` of each row to a table, where a patient of it has several visits.

    Parameters
    ----------
    frame, patients
        The table, and the patient label of each row.
    at
        Place of the new columns.
    """
    visits = [visit_of(str(patient)) for patient in patients]
    if any(visit.session for visit in visits):
        frame.insert(at, "subject", [visit.subject for visit in visits])
        frame.insert(at + 1, "session", [visit.session for visit in visits])
