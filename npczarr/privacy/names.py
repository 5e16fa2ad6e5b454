"""Neutral paths for a cleaned copy: what the layout spells out stays, every other name becomes a number for good."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from npczarr.model.cohort import File
from npczarr.model.identifiers import is_plain_label, is_plain_visit
from npczarr.model.visit_order import order_visits
from npczarr.privacy.paths import spelt, without_containers
from npczarr.privacy.record import Record
from npczarr.sources.config import SourceConfig
from npczarr.sources.patterns import path_regex
from npczarr.sources.table_rows import patient_key, session_key

DICOM_ENDINGS = ("dcm", "dicom", "ima")
_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_FOLDERS = frozenset(("data", "MRI-Segments"))  # above the patients, as published; any other may name a person
_FOREIGN = "neither DICOM nor NIfTI by its name, and no table that was named: it may hold anything"
_ELSEWHERE = "does not fit the layout of the configuration, so it is not known whose it is"
_VISITS = "visit-{:03d}"
_LETTERS = "visit-{letters}"
_PATIENTS = "patient-{:03d}"


@dataclass(frozen=True, slots=True)
class Copy:
    """One file to clean: where it lies, where it goes, and who it is of; `kind` is dicom, nifti or table."""

    path: str
    target: str
    kind: str
    patient: str


@dataclass(frozen=True, slots=True)
class Renamed:
    """New names of patients and visits, by how tables may call them.

    Parameters
    ----------
    patients
        By key of the old name; several where folders of several patients have one name.
    visits
        By keys of patient and session, where the layout has sessions.
    """

    patients: dict[str, set[str]] = field(repr=False)
    visits: dict[tuple[str, str], str] = field(repr=False)


def plan(files: Iterable[File], tables: Collection[str], names: Names) -> tuple[list[Copy], dict[str, str]]:
    """Say where each file goes, by its path and what earlier runs called it; and why some go nowhere."""
    kinds = {path: "table" if path in tables else _kind(path) for path in sorted(file.path for file in files)}
    owners = {path: names.owner(path, kind) for path, kind in kinds.items() if kind}
    owners = {path: names.owner_beside(path, kinds[path]) if one is None else one for path, one in owners.items()}
    names.number_shared()
    names.number_visits()
    names.name_patients()
    copies = [
        Copy(path, names.renamed(path, kinds[path]), kinds[path], names.patient(owner))
        for path, owner in owners.items()
        if owner is not None
    ]
    reasons = {path: _FOREIGN if not kind else _ELSEWHERE for path, kind in kinds.items() if owners.get(path) is None}
    return copies, reasons


def _kind(path: str) -> str:
    """Return dicom or nifti, or nothing for what is not copied; what has no known ending may be DICOM."""
    name = path.rpartition("/")[2].lower()
    if _NIFTI.search(name):
        return "nifti"
    ending = name.rpartition(".")[2] if "." in name else ""
    return "dicom" if ending in ("", *DICOM_ENDINGS, "img") or ending.isdecimal() else ""


class Names:
    """Neutral names; those that the layout spells out stay, and so do those that an earlier run gave.

    Patients and the folders above them are numbered in an order that only the key tells: in the order of their names,
    a list of who might be in the cohort would tell who is who. Other names get numbers in the order in which they sort,
    and those that are added later the next ones.

    Parameters
    ----------
    layout
        Where patients, sequences and masks lie.
    strict
        Whether a file that does not fit the layout has no owner; else it is of the folder above its series.
    keep_patients
        Whether folders of patients keep names that are more than a short number.
    record
        What earlier runs called them; it takes the names that are given now.
    """

    def __init__(self, layout: SourceConfig, *, strict: bool, record: Record, keep_patients: bool = False) -> None:
        groups = {
            "sequence": "|".join(re.escape(rule.folder) for rule in layout.sequences),
            "mask": "|".join(re.escape(rule.mask) for rule in layout.sequences),
            "slice": r"\d+",
        }
        patterns = (layout.images + layout.masks, layout.structures)
        self._images, self._structures = ([(p.split("/"), path_regex(p, groups)) for p in one] for one in patterns)
        self._strict = strict
        self._keep_patients = keep_patients
        self._order = layout.visits
        self._record = record
        #: What a new patient cannot be called: someone may be called so in the copy.
        self._taken = {name for target in record.files for name in target.split("/")[:-1]}
        self._given = {name for name in record.names() if name.startswith("patient-")}
        #: Folders of patients and visits whose names may tell who they are, or when they came: what they are called.
        self.numbered: dict[str, str] = {}
        self._visits: dict[str, str] = {}
        self._owners: dict[str, str] = {}  # labels of patients by their folders
        self._owners_of_visits: dict[str, str] = {}
        self._kept: set[str] = set()
        self._kept_patients: set[str] = set()
        self._folders: dict[str, str] = {"": ""}
        self._out_of_order = 0

    def owner(self, path: str, kind: str) -> str | None:
        """Path of the patient's folder of an image or mask that fits the layout, else None."""
        if kind == "table":
            self._kept.add(path)
            return ""
        found = ((wanted, match) for wanted, pattern in self._images if (match := pattern.fullmatch(path)))
        return next((self._laid_out(wanted, match) for wanted, match in found), None)

    def owner_beside(self, path: str, kind: str) -> str | None:
        """Path of the patient's folder of any other file, or None where there is none; images had theirs before.

        Outlines lie in the folder of a patient of whom there is an image or mask, as `convert` looks for them.
        """
        for wanted, pattern in self._structures:
            if (match := pattern.fullmatch(path)) and path[: match.end("patient")] in self._owners:
                return self._laid_out(wanted, match)
        if self._strict:
            return None
        folders = without_containers(path.split("/")[:-1])
        if kind == "dicom" and len(folders) > 1:
            folders = without_containers(folders[:-1])
        return self._owned("/".join(folders), folders[-1]) if folders else "unknown"

    def _laid_out(self, wanted: list[str], match: re.Match[str]) -> str:
        """Note what a path is made of: names that its pattern spells out, the visit, and the patient, who is told."""
        path = match.string
        self._kept |= spelt(path.split("/"), wanted, match["below"].count("/"))
        owner = path[: match.end("patient")]
        if match.groupdict().get("session"):
            self._visits[path[: match.end("session")]] = match["session"]
            self._owners_of_visits[path[: match.end("session")]] = owner
        return self._owned(owner, match["patient"])

    def _owned(self, folder: str, label: str) -> str:
        """Keep the name of a patient's folder if it is a short number, or if names are to be kept, and it is free."""
        self._owners[folder] = label
        name = folder.rpartition("/")[2]
        if (self._keep_patients or is_plain_label(name)) and name not in self._given:
            self._kept.add(folder)
            self._kept_patients.add(name)
        else:
            self._number_folder(folder, _PATIENTS)
        return folder

    def number_shared(self) -> None:
        """Rename folders that were taken for patients' and have one name, such as "before": each is another patient."""
        if self._strict:
            return
        counts = Counter(self._owners.values())
        for folder, label in self._owners.items():
            if counts[label] > 1 and not is_plain_label(label):
                self._number_folder(folder, _PATIENTS)

    def number_visits(self) -> None:
        """Rename all visits if the name of one may tell a date: by numbers in their order, else by letters.

        A number says which visit was first, so none is given where the old names do not say it.
        """
        if all(is_plain_visit(name) for name in self._visits.values()):
            return
        by_patient: dict[str, list[str]] = defaultdict(list)
        for folder, name in sorted(self._visits.items()):
            by_patient[folder.removesuffix(name)].append(name)
        told = all(
            order_visits(names, declared=self._order) == tuple(range(len(names))) for names in by_patient.values()
        )
        for above, names in by_patient.items():
            folders = [above + name for name in names]
            for folder in folders:
                self._number_folder(folder, _VISITS if told else _LETTERS)
            if told and not self._is_continued(folders):
                self._out_of_order += 1
                for folder in folders:
                    self._record.take_back(_VISITS, folder)

    def _is_continued(self, folders: list[str]) -> bool:
        """Whether the visits of a patient, in their order, go on from those that have numbers already."""
        numbers = [int(name[len("visit-") :] or 0) for name in (self._record.name(_VISITS, one) for one in folders)]
        known = [number for number in numbers if number]
        return known == sorted(known) == numbers[: len(known)]

    def _number_folder(self, folder: str, form: str) -> None:
        self._kept.discard(folder)
        self.numbered[folder] = form

    def name_patients(self) -> None:
        """Give patients and visits their names; every file has had its owner."""
        for folder in sorted(self._owners, key=lambda folder: self._record.digest("order", folder)):
            self._folder(folder)
        for folder in sorted(self._visits):
            self._folder(folder)

    def patient(self, owner: str) -> str:
        """Return the new name of a patient, which is that of the folder."""
        return owner if owner in ("", "unknown") else self._folder(owner).split("/")[-2]

    def new_names(self) -> Renamed:
        """Return what patients and visits are called now, by how tables may call them; every file has had its owner."""
        patients: dict[str, set[str]] = defaultdict(set)
        for owner, label in self._owners.items():
            for name in (label, owner.rpartition("/")[2]):
                patients[patient_key(name)].add(self.patient(owner))
        visits = {
            (patient_key(self._owners[self._owners_of_visits[folder]]), session_key(name)): self.patient(folder)
            for folder, name in self._visits.items()
        }
        return Renamed(dict(patients), visits)

    def doubts(self) -> list[str]:
        """Say where a folder was taken for the patient's, though one above it may be; and whose visits were renamed."""
        said = []
        if self._out_of_order:
            said.append(
                f"the visits of {self._out_of_order} of the patients got new numbers, because one was added that comes "
                "before others: numbers tell their order"
            )
        above = {owner.rpartition("/")[0] for owner in self._owners}
        numbered = {folder for folder in above if folder and folder.rpartition("/")[2] not in _FOLDERS}
        if self._strict or not (len(numbered) > 1 or (numbered and self._keep_patients)):
            return said
        although = " although --keep-patients was given" if self._keep_patients else ""
        return [
            *said,
            f"the folder above each series was taken for the patient's, and {len(numbered)} folders above those were "
            f"renamed to numbers{although}; if they are the patients', describe the layout in a TOML file (--config), "
            "which `npczarr scout` begins",
        ]

    def renamed(self, path: str, kind: str) -> str:
        """Return the new path of a file; every file has had its owner told before."""
        folder, _, name = path.rpartition("/")
        if path not in self._kept:
            ending = ".dcm" if kind == "dicom" else ".nii.gz" if name.lower().endswith(".gz") else ".nii"
            name = self._number(path, "{:05d}" + ending)
        return self._folder(folder) + name

    def _folder(self, path: str) -> str:
        """Return the new path of a folder, with a slash at its end."""
        if path not in self._folders:
            above, _, name = path.rpartition("/")
            parent = self._folder(above)
            if path not in self._kept and name not in _FOLDERS:
                name = self._number(path, self.numbered.get(path, "folder-{:03d}"))
            self._folders[path] = f"{parent}{name}/"
        return self._folders[path]

    def _number(self, path: str, form: str) -> str:
        """Return what an earlier run called a file or folder, else the next name; but none that is kept there."""
        folder = path.rpartition("/")[0]
        within = "" if form == _PATIENTS else folder  # no two patients of a copy have one PatientID
        name = self._record.name(form, path)
        while not name or f"{folder}/{name}".lstrip("/") in self._kept:
            number = self._record.next_number(form, within)
            name = f"visit-{_letters(number)}" if form == _LETTERS else form.format(number)
            if form == _PATIENTS and (name in self._taken or name in self._kept_patients):
                name = ""
        self._record.give(form, path, name)
        return name


def _letters(count: int) -> str:
    """Write a count from 1 in letters.

    >>> _letters(1), _letters(26), _letters(27)
    ('a', 'z', 'aa')
    """
    before, last = divmod(count - 1, 26)
    return (_letters(before) if before else "") + chr(ord("a") + last)
