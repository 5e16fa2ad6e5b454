"""The files of a source by scan."""

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
    """The files of one scan: every file of its folder, and its masks.

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
    aside
        Files of the patient that belong to no scan, in folders of few files: where a scan has no mask they are looked
        at for outlines of its series.
    labels
        What the masks are made of; empty if whatever is outlined is tumor.
    note, doubt
        Why these files were taken for this sequence, where their headers decided, and what they leave open.
    refusal
        Why these files make no scan, where their headers leave open which of several series is meant; else empty.
    """

    patient: str
    sequence: str
    images: tuple[File, ...] = field(default=(), repr=False)  # logs show tasks that fail, and names can tell who it is
    masks: tuple[File, ...] = field(default=(), repr=False)
    raters: tuple[str, ...] = ()
    where: Where = ()
    structures: tuple[File, ...] = field(default=(), repr=False)
    aside: tuple[File, ...] = field(default=(), repr=False)
    labels: Labels = ()
    note: str = ""
    doubt: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Visit:
    """Whose scans a row of the store holds: a subject, and the session, "" where the subject has one visit only."""

    subject: str
    session: str = ""

    @property
    def label(self) -> str:
        """Label in the store.

        >>> Visit("001").label, Visit("001", "02").label
        ('001', '001_ses-02')
        """
        return f"{self.subject}_ses-{self.session}" if self.session else self.subject


def visit_of(label: str) -> Visit:
    """Return the visit that a patient label in a store names.

    >>> visit_of("001_ses-02"), visit_of("001").session
    (Visit(subject='001', session='02'), '')
    """
    subject, _, session = label.partition("_ses-")
    return Visit(subject, session)


def subject_of(label: str) -> str:
    """Return the subject of a patient label in a store; statistics take the subject as their unit.

    >>> subject_of("001_ses-02"), subject_of("001")
    ('001', '001')
    """
    return visit_of(label).subject


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
        Files that belong to no scan, named in the result.
    raters
        Who outlined the masks, where a cohort is of raters; it has no images.
    visits
        Subject and session by patient label, where the layout has sessions; empty where it has none.
    guesses
        Which series were taken for which sequence by their headers, and why, and what folders leave open; one line
        each.
    not_taken
        Series and masks that were found but not taken, and why; one line each.
    numbers
        PatientIDs by patient label, where headers were read to tell series apart.
    """

    patients: tuple[str, ...]
    sequences: tuple[str, ...]
    scans: Mapping[tuple[str, str], ScanFiles]
    tables: tuple[File, ...] = ()
    strays: tuple[File, ...] = ()
    raters: tuple[str, ...] = ()
    visits: Mapping[str, Visit] = field(default_factory=dict)
    guesses: tuple[str, ...] = ()
    not_taken: tuple[str, ...] = ()
    numbers: Mapping[str, frozenset[str]] = field(default_factory=dict, repr=False)

    @property
    def has_images(self) -> bool:
        """Whether there is anything to convert: images, or the masks of several raters."""
        return any(scan.images or scan.raters for scan in self.scans.values())
