"""Whether a source is the cohort that a store holds: of the same kind, the same series, the same patients."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import zarr

from npczarr.errors import StoreError
from npczarr.graphs.convert_scan import source_digest
from npczarr.graphs.peek import peek_source
from npczarr.model.cohort import Cohort
from npczarr.model.label_set import Labels, label_names
from npczarr.model.schema import RESAMPLING, STORED
from npczarr.runner import Runner
from npczarr.sources.files import Source
from npczarr.store.describe import SALT
from npczarr.store.hierarchy import labels, mask_labels
from npczarr.store.rows import Key, Rows

_NAMED = 6


def check_kind(root: zarr.Group, cohort: Cohort, labels_of_masks: Labels, url: str) -> None:
    """Refuse to mix kinds: resampled scans, scans with raters' masks, masks of other raters or labels, in one store.

    Raises
    ------
    StoreError
        If source and store are of different kinds.
    """
    if RESAMPLING in root.attrs:
        raise StoreError(f"{url}: a resampled cohort, which takes no scans as they are; convert elsewhere")
    there = tuple(labels(root, "rater")) if "rater" in root else ()
    if there != cohort.raters:
        raise StoreError(
            f"{url}: the raters of the store are {', '.join(there) or 'none'}, those of the source "
            f"{', '.join(cohort.raters) or 'none'}; convert into another store"
        )
    stored, declared = mask_labels(root), label_names(labels_of_masks)
    if stored != declared:
        raise StoreError(
            f"{url}: the labels of the store are {', '.join(stored)}, those of the configuration "
            f"{', '.join(declared)}, in this order; give the configuration of the store, or convert into another "
            "store"
        )


def is_stranger(runner: Runner, root: zarr.Group, source: Source, cohort: Cohort) -> bool:
    """Whether labels of the source and the store collide, and none of these scans is one that the store knows."""
    colliding = _colliding(root, cohort)
    if not colliding:
        return False
    rows = Rows(root)
    digests = rows.read("source_digest")
    if any(source_digest(cohort.scans[key]) == digests[key] for key in colliding):
        return False
    known = rows.read("mask_digest" if cohort.raters else "series_digest")
    salt = str(root.attrs.asdict().get(SALT, ""))
    peeks = peek_source(runner, source, (cohort.scans[key] for key in colliding), salt)
    # all are looked at, for a folder may hold several series: what its first file says is then no answer
    told = [(peek.identity, known[scan.patient, scan.sequence]) for scan, peek in peeks if not peek.problem]
    return bool(told) and not any(identity and identity == there for identity, there in told)


def other_cohort(root: zarr.Group, cohort: Cohort, url: str) -> StoreError:
    """Return the refusal of a source none of whose scans the store knows."""
    colliding = _colliding(root, cohort)
    there = sum(bool(files.images or files.raters) for files in cohort.scans.values())
    return StoreError(
        f"{url}: {len(colliding)} of {there} scans have labels that the store holds, the first "
        f"{'/'.join(colliding[0])}, but none is of a series that it knows, so this seems to be another cohort; convert "
        "it into another store, or put it in place of what the store holds with --replace (replace=True)"
    )


def _colliding(root: zarr.Group, cohort: Cohort) -> list[Key]:
    """List scans that both have."""
    status = Rows(root).read("status")
    found = (key for key, files in cohort.scans.items() if files.images or files.raters)
    return [key for key in found if status.get(key, "") in STORED]


def scans_gone(status: Mapping[Key, Any], cohort: Cohort) -> frozenset[Key]:
    """Return the scans that a store holds and its source has no files of, though it has others of these patients.

    A source that shares no scan of a patient with the store adds others to it, and has lost none.

    Parameters
    ----------
    status
        Status of each scan of the store, before the run.
    cohort
        The source.
    """
    held = [key for key, one in status.items() if one in STORED]
    there = {key for key, files in cohort.scans.items() if files.images or files.masks or files.raters}
    shared = {key[0] for key in held if key in there}
    return frozenset(key for key in held if key not in there and key[0] in shared)


def sequences_gone(status: Mapping[Key, Any], cohort: Cohort) -> list[str]:
    """Say which scans a store holds of sequences that its source, which has others of these patients, does not have.

    Parameters
    ----------
    status, cohort
        As for :func:`scans_gone`.

    Returns
    -------
    list of str
        One remark, or none.
    """
    lost = scans_gone(status, cohort)
    gone = ["/".join(key) for key in status if key in lost and key[1] not in cohort.sequences]
    return _say_gone(gone, f"scan{'s' * (len(gone) > 1)} of sequences")


def patients_gone(status: Mapping[Key, Any], patients: Collection[str]) -> list[str]:
    """Say which patients a store has scans of and its source has not: renamed, removed, or of another delivery.

    A source that shares no patient with the store adds others to it, and has lost none.

    Parameters
    ----------
    status
        Status of each scan of the store, before the run.
    patients
        Labels of the source.

    Returns
    -------
    list of str
        One remark, or none.

    Examples
    --------
    >>> status = {("001", "T1WI"): "ok", ("002", "T1WI"): "ok"}
    >>> patients_gone(status, ["001", "012"])
    ['the store holds 1 patient that this source does not have, and keeps it: 002']
    >>> patients_gone(status, ["003"])
    []
    """
    known = set(patients)
    held = dict.fromkeys(patient for (patient, _), one in status.items() if one in STORED)
    gone = [patient for patient in held if patient not in known]
    return [] if len(gone) == len(held) else _say_gone(gone, f"patient{'s' * (len(gone) > 1)}")


def _say_gone(gone: Sequence[str], what: str) -> list[str]:
    if not gone:
        return []
    named = ", ".join(gone[:_NAMED]) + (" …" if len(gone) > _NAMED else "")
    it = "them" if len(gone) > 1 else "it"
    return [f"the store holds {len(gone)} {what} that this source does not have, and keeps {it}: {named}"]
