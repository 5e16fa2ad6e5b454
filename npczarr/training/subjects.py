"""Which patients of a store can be sampled, and what sampling needs to know of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from npczarr.errors import MissingStoreError, unknown_label
from npczarr.kernels.patches import scan_facts
from npczarr.model.geometry import Grid
from npczarr.model.training import TRAINING, VARIABLES, VERSION, ScanFacts
from npczarr.store.cohort import StoredCohort
from npczarr.store.open import open_location
from npczarr.store.scans import StoredScan

_ON_ONE_GRID = "npczarr resample --for training --like SEQUENCE makes a store of one grid; or name one of sequences"
_ONE_MASK = "where one sequence alone is outlined, name it by mask_of"
_NUMBERS = tuple(v.name for v in VARIABLES if v.name != "foreground")


@dataclass(frozen=True, slots=True)
class MaskUse:
    """What masks are for: to be read, so that each patient must have them, or to place patches about their voxels."""

    read: bool
    place: bool


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A patient whose sequences lie on one grid.

    Parameters
    ----------
    patient
        Label.
    scans
        One for each sequence that is sampled.
    facts
        Statistics and foreground of each scan; None where the store does not keep them.
    outlined, outlines
        The scans whose masks are sampled and whose foreground tells where, and their facts.
    """

    patient: str
    scans: tuple[StoredScan, ...]
    facts: tuple[ScanFacts | None, ...]
    outlined: tuple[StoredScan, ...]
    outlines: tuple[ScanFacts | None, ...]

    @property
    def grid(self) -> Grid:
        """Grid of all scans."""
        grid = self.scans[0].grid
        assert grid is not None
        return grid


def find_subjects(
    cohort: StoredCohort,
    patients: Sequence[str],
    sequences: Sequence[str],
    outlined: Sequence[str],
    use: MaskUse,
    *,
    scaled: bool,
) -> tuple[list[Subject], dict[str, str]]:
    """Return the patients that can be sampled, in store order, and of each other one the reason.

    Parameters
    ----------
    cohort
        The store.
    patients, sequences
        Labels of those that are wanted.
    outlined
        Labels of the sequences whose masks count.
    use
        What they are for.
    scaled
        Whether stored values are normalized over a whole scan.
    """
    for sequence in (*sequences, *outlined):
        if sequence not in cohort.labels["sequence"]:
            raise unknown_label("sequence", sequence, cohort.labels["sequence"])
    facts = _StoredFacts(cohort)
    subjects, left_out = [], {}
    for patient in patients:
        scans, with_mask = (tuple(cohort.scan(patient, sequence) for sequence in of) for of in (sequences, outlined))
        reason = next(_reasons(scans, with_mask, use, scaled=scaled), "")
        if reason:
            left_out[patient] = reason
        else:
            found = (tuple(facts.of(scan) for scan in of) for of in (scans, with_mask))
            subjects.append(Subject(patient, scans, next(found), with_mask, next(found)))
    return subjects, left_out


def _reasons(
    scans: Sequence[StoredScan], outlined: Sequence[StoredScan], use: MaskUse, *, scaled: bool
) -> Iterator[str]:
    """Give what is in the way of sampling a patient."""
    for scan in scans:
        if not scan.has_image or scan.grid is None:
            yield f"{scan.sequence} has no image: {scan.status}"
        elif scans[0].grid is not None and not scan.grid.is_same_as(scans[0].grid):
            yield f"{scan.sequence} lies on another grid than {scans[0].sequence}; {_ON_ONE_GRID}"
        elif scaled and (np.ptp(scan.slope) or np.ptp(scan.intercept)):
            yield f"the rescale slope of {scan.sequence} differs between slices; resample it, or take real values"
    for scan in outlined if use.read or use.place else ():
        if not scan.has_mask:
            if use.read:
                yield f"{scan.sequence} has no mask: {scan.mask_status or 'none in the source'}; {_ONE_MASK}"
        elif scan.grid is None or scans[0].grid is None or not scan.grid.is_same_as(scans[0].grid):
            yield f"the mask of {scan.sequence} lies on another grid than {scans[0].sequence}; {_ON_ONE_GRID}"


def facts_of(scan: StoredScan) -> ScanFacts:
    """Find the facts of a scan from its voxels, which are read whole."""
    mask: Any = scan.mask() if scan.has_mask else None
    return scan_facts(scan.image() if scan.has_image else None, mask, scan.image_array.padding)


def digest_of(scan: StoredScan) -> str:
    """Name what the facts of a scan are found in."""
    return f"{scan.image_digest} {scan.mask_digest}"


class _StoredFacts:
    """Facts that are kept in a store, of those scans that are still the same."""

    def __init__(self, cohort: StoredCohort) -> None:
        try:
            found: xr.Dataset | None = open_location(cohort.location, group=TRAINING)
        except MissingStoreError:
            found = None
        whole = found is not None and found.attrs.get("npczarr_training") == VERSION
        self._values: Mapping[str, Any] = {}
        if found is not None and whole and set(_NUMBERS) | {"foreground", "input_digest"} <= set(found.variables):
            self._values = {str(name): variable.values for name, variable in found.variables.items()}

    def of(self, scan: StoredScan) -> ScanFacts | None:
        """Return the facts of a scan, or None where they are not kept."""
        if not self._values or str(self._values["input_digest"][scan.place]) != digest_of(scan):
            return None
        points = self._values["foreground"][scan.place]
        numbers = [float(self._values[name][scan.place]) for name in _NUMBERS]
        return ScanFacts.of(numbers, points[points[:, 0] > 0])
