"""How tumors change from one visit of a subject to the next."""

from __future__ import annotations

from typing import Any

import numpy as np

_VOLUME = "morphology.volume"


def add_volume_changes(columns: dict[str, Any], units: dict[str, str]) -> None:
    """Add the change of each tumor's volume since the subject's visit before, in the order of the table.

    Parameters
    ----------
    columns
        Columns of a table with a row for each scan. Nothing is added where it has no `session`, or no volumes.
    units
        Units by column; those of the new columns are added.
    """
    volumes = [name for name in columns if name == _VOLUME or name.startswith(f"{_VOLUME}.")]
    if "session" not in columns or "subject" not in columns:
        return
    scans = list(zip(columns["subject"], columns["sequence"], strict=True))
    before: dict[tuple[Any, Any], int] = {}
    earlier = np.full(len(scans), -1)
    for row, scan in enumerate(scans):
        earlier[row] = before.get(scan, -1)
        before[scan] = row
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
