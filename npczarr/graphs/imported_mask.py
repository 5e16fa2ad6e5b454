"""Masks that were imported into a store: kept where their scan is written again from the source that they replaced."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import zarr
from numpy.typing import NDArray

from npczarr.errors import StoreError
from npczarr.graphs.compare_scans import without_comparisons
from npczarr.model.imported import imports_in, mask_before
from npczarr.model.records import Scan
from npczarr.model.schema import SCAN_TABLES, STORED
from npczarr.store.chunks import digest
from npczarr.store.cohort import StoredCohort
from npczarr.store.location import Location
from npczarr.store.rows import Key, Rows
from npczarr.store.scans import StoredScan
from npczarr.store.seal import status_before

_OF_MASKS = tuple(variable.name for variable in SCAN_TABLES if variable.name.startswith("mask_"))


@dataclass(frozen=True, slots=True, eq=False)
class ImportedMask:
    """A mask that was imported in place of its source's, as the store holds it.

    Parameters
    ----------
    scan
        Where its voxels are.
    entries
        What the row of its scan says of the mask.
    """

    scan: StoredScan
    entries: Mapping[str, Any] = field(repr=False)

    def is_of(self, scan: Scan, image: NDArray[Any], mask_digest: str) -> bool:
        """Whether it stays: the source has the image on which it was drawn, and the mask that it replaced.

        Parameters
        ----------
        scan, image
            What the source gives now, and its image in the type of the store.
        mask_digest
            Digest of the mask that the source gives now; "" for none.
        """
        grid = self.scan.grid
        if grid is None or mask_before(self.scan.message) != mask_digest or not grid.is_same_as(scan.grid):
            return False
        # a store that another program has copied may hold its image in another type than when it was digested
        if self.scan.image_digest not in (digest(image), digest(scan.image)):
            return False
        with suppress(StoreError):
            self.scan.mask()  # held against its digest: one that is damaged is not kept
            return True
        return False

    def entered(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entries of a scan's row with this mask in place of the source's."""
        status = "warning" if self.entries["mask_status"] == "warning" else values["status"]
        said = _said_of_imports(self.scan.message)
        message = "; ".join(part for part in (said, values["message"]) if part)
        return {**values, **self.entries, "status": status, "message": message}


def imported_masks(location: Location, root: zarr.Group, asked_anew: Collection[str]) -> dict[Key, ImportedMask]:
    """List the masks of a store that were imported.

    A scan that an interrupted run has left pending counts if its row is whole; its voxels are looked at when it is
    written.

    Parameters
    ----------
    location, root
        The store.
    asked_anew
        Patients and scans, ``"003"`` or ``"003/T1WI"``, whose mask is to be the source's.
    """
    rows = Rows(root)
    messages = rows.read("message")
    asked = set(asked_anew)
    keys = [key for key, text in messages.items() if imports_in(str(text)) and not {key[0], "/".join(key)} & asked]
    if not keys:
        return {}
    tables = {variable.name: rows.read(variable.name) for variable in SCAN_TABLES}
    cohort = StoredCohort(location, root)
    found = {}
    for key in keys:
        row = {name: values[key] for name, values in tables.items()}
        if status_before(*key, row) in STORED and row["mask_status"] in STORED:
            # not watched: this run changes the row itself
            scan = replace(cohort.at(rows.place(key), check=False), watch=None)
            found[key] = ImportedMask(scan, {name: _plain(row[name]) for name in _OF_MASKS})
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401 - a scalar of NumPy or of Python
    return str(value) if isinstance(value, str) else value


def _said_of_imports(message: str) -> str:
    """Return what a message says of imported masks: up to the last of them, for what comes after is of the source."""
    said = message[: max(message.rfind(one) + len(one) for one in imports_in(message))]
    return without_comparisons(said)
