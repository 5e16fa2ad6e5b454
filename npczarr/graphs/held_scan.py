"""Scans that a store holds: they stay as they are where their source has got worse."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from npczarr.model.records import Row
from npczarr.model.schema import SCAN_TABLES, STORED
from npczarr.store.cohort import StoredCohort
from npczarr.store.location import Location
from npczarr.store.rows import Key, Rows
from npczarr.store.scans import StoredScan
from npczarr.store.seal import status_before


@dataclass(frozen=True, slots=True, eq=False)
class HeldScan:
    """A scan as a store held it before a run.

    Parameters
    ----------
    scan
        Where its voxels are. Its status is the one before the run, or before an earlier run that was interrupted;
        ``"pending"`` where that is not known.
    sure
        Whether its voxels are as its row says; else they are held against their digests.
    """

    scan: StoredScan
    sure: bool = field(default=True)

    @property
    def key(self) -> Key:
        """Patient and sequence."""
        return self.scan.patient, self.scan.sequence

    def has_mask(self) -> bool:
        """Whether it has a mask that is whole."""
        return self.scan.mask_status in STORED and (self.sure or self._is_whole("mask"))

    def slices_lost(self, image: NDArray[Any]) -> int:
        """Count the slices of this scan that an image lacks whose own slices are all as they are here.

        Parameters
        ----------
        image
            (z, y, x) in the type of the store, of the same series.

        Returns
        -------
        int
            0 where it lacks none, or where it differs in any other way.
        """
        depth, lost = image.shape[0], self.scan.shape_zyx[0] - image.shape[0]
        if lost < 1 or not self.scan.image_digest or image.shape[1:] != self.scan.shape_zyx[1:]:
            return 0
        try:
            stored = self.scan.image()
        except Exception:  # a damaged scan is no measure of its source
            return 0
        floats = image.dtype.kind == "f"
        same = (np.array_equal(stored[k : k + depth], image, equal_nan=floats) for k in range(lost + 1))
        return lost if any(same) else 0

    def keep(self, reason: str) -> Row | None:
        """Return the row that leaves all of it as it is; None where nothing of it is whole.

        Parameters
        ----------
        reason
            What its source no longer gives, and why.
        """
        if self.sure:
            return Row(*self.key, {"status": self.scan.status}, kept=_say_kept(self.key, reason))
        digests = {"image": self.scan.image_digest, "mask": self.scan.mask_digest}
        whole = {name: self._is_whole(name) for name, known in digests.items() if known}
        if not any(whole.values()):
            return None
        status = self.scan.status if all(whole.values()) else "pending"
        return Row(*self.key, {"status": status}, kept=_say_kept(self.key, reason, whole=status in STORED))

    def _is_whole(self, name: str) -> bool:
        """Read the image or the mask, which is held against its digest."""
        try:
            return bool((self.scan.image() if name == "image" else self.scan.mask()).size)
        except Exception:  # damage shows in any way
            return False


class HeldScans:
    """The scans that a store held before a run, and that a source which got worse takes nothing from.

    Parameters
    ----------
    location, root
        The store.
    asked_anew
        Patients and scans, ``"003"`` or ``"003/T1WI"``, that are to be as the source is, whatever that costs.
    """

    def __init__(self, location: Location, root: zarr.Group, asked_anew: Collection[str]) -> None:
        self._rows = Rows(root)
        self._asked = set(asked_anew)
        self._status = self._rows.read("status")
        self._tables: dict[str, dict[Key, Any]] = {}
        self._cohort = StoredCohort(location, root)

    def get(self, key: Key) -> HeldScan | None:
        """Return a scan; None where there is none, or where it was asked for anew."""
        status = str(self._status.get(key, ""))
        if status not in (*STORED, "pending") or {key[0], "/".join(key)} & self._asked:
            return None
        # not watched: this run changes the row itself
        scan = replace(self._cohort.at(self._rows.place(key), check=False), watch=None)
        if status in STORED:
            return HeldScan(replace(scan, status=status))
        if scan.grid is None or not (scan.image_digest or scan.mask_digest):
            return None
        return HeldScan(replace(scan, status=self._status_before(key)), sure=False)

    def _status_before(self, key: Key) -> str:
        """Return the status that a pending scan had when its row was written."""
        if not self._tables:
            self._tables = {variable.name: self._rows.read(variable.name) for variable in SCAN_TABLES}
        row = {name: values[key] for name, values in self._tables.items()}
        return status_before(*key, {**row, "status": "pending"})


def keep_held(row: Row, held: HeldScan | None) -> Row:
    """Return a row that leaves a scan as it is, in place of one that would leave nothing of it.

    Parameters
    ----------
    row
        What is to be written.
    held
        What the store holds of it; None where that is nothing, or may go.
    """
    if held is None or not row.is_written or row.values["status"] in STORED:
        return row
    if row.values["status"] == "refused":
        reason = f"the source cannot be used now ({row.values['message']})"
    else:
        reason = f"the source has {row.values['message']} now"
    kept = held.keep(reason)
    return row if kept is None else replace(kept, seconds=row.seconds, source_bytes=row.source_bytes)


def _say_kept(key: Key, reason: str, *, whole: bool = True) -> str:
    label = "/".join(key)
    as_it_is = "kept as it is stored" if whole else "kept as an interrupted run left it"
    return (
        f"{as_it_is}: {reason}; restore the source and convert again, or take what it has and remove what it has not "
        f'with --rewrite {label} (rewrite=["{label}"])'
    )
