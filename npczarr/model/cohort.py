"""What was found in a source: which files make up which scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from npczarr.model.label_set import Labels

#: Conditions by DICOM keyword, one or several each, as the configuration words them.
Where = tuple[tuple[str, str | tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class File:
    """One file of a source: path below its root, size in bytes, and a stamp that changes when its content does."""

    path: str
    size: int
    stamp: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class ScanFiles:
    """The files of one scan: whatever lies in its folder, and its masks.

    Parameters
    ----------
    masks
        One, or in a cohort of raters any number; more than one without raters is a fault, for the reader to name.
    raters
        For each mask who outlined it, in a cohort of raters.
    where
        Which images of the folder the scan is made of; empty if all.
    structures
        Files of the patient that may outline this scan, if they name its series.
    labels
        What the masks are made of; empty if whatever is outlined is tumor.
    """

    patient: str
    sequence: str
    images: tuple[File, ...] = field(default=(), repr=False)  # logs show tasks that fail, and names can tell who it is
    masks: tuple[File, ...] = field(default=(), repr=False)
    raters: tuple[str, ...] = ()
    where: Where = ()
    structures: tuple[File, ...] = field(default=(), repr=False)
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Cohort:
    """Every scan of a source, by patient and sequence.

    Parameters
    ----------
    patients, sequences
        Labels in the order of the store.
    scans
        Files by (patient, sequence); a pair without files is not in it.
    tables
        Clinical tables.
    strays
        Files that nothing explains, named in the result.
    raters
        Who outlined the masks, where a cohort is of raters; it has no images.
    """

    patients: tuple[str, ...]
    sequences: tuple[str, ...]
    scans: Mapping[tuple[str, str], ScanFiles]
    tables: tuple[File, ...] = ()
    strays: tuple[File, ...] = ()
    raters: tuple[str, ...] = ()
