"""Neutral paths for a cleaned copy: what the layout spells out stays, every other name becomes a number."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import takewhile

from npczarr.model.cohort import File
from npczarr.model.identifiers import is_plain_label, is_plain_visit
from npczarr.model.visit_order import order_visits
from npczarr.sources.config import SourceConfig
from npczarr.sources.patterns import path_regex
from npczarr.sources.table_rows import patient_key, session_key

DICOM_ENDINGS = ("dcm", "dicom", "ima")
_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_FOLDERS = frozenset(("data", "MRI-Segments"))  # above the patients, as published; any other may name a person


_FOREIGN = "neither DICOM nor NIfTI by its name, and no table that was named: it may hold anything"
_ELSEWHERE = "does not fit the layout of the configuration, so it is not known whose it is"
_LETTERS = "visit-{letters}"
_PATIENTS = "patient-{:03d}"
#: Folders between a patient and the series, or a series and its files, as XNAT and others name them; of no one.
_CONTAINERS = frozenset(("scans", "scan", "series", "dicom", "dicoms", "dcm", "images", "resources", "files", "nifti"))


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
    """Say where each file goes, by the paths alone, so that a second run says the same; and why some go nowhere."""
    kinds = {path: "table" if path in tables else _kind(path) for path in sorted(file.path for file in files)}
    owners = {path: names.owner(path, kind) for path, kind in kinds.items() if kind}
    names.number_shared()
    names.number_visits()
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
    """Neutral names, given in the order in which the old ones sort; those that the layout spells out stay.

    Parameters
    ----------
    layout
        Where patients, sequences and masks lie.
    strict
        Whether a file that does not fit the layout has no owner; else it is of the folder above its series.
    keep_patients
        Whether folders of patients keep names that are more than a short number.
    """

    def __init__(self, layout: SourceConfig, *, strict: bool, keep_patients: bool = False) -> None:
        groups = {
            "sequence": "|".join(re.escape(rule.folder) for rule in layout.sequences),
            "mask": "|".join(re.escape(rule.mask) for rule in layout.sequences),
            "slice": r"\d+",
        }
        self._patterns = [(p.split("/"), path_regex(p, groups)) for p in (*layout.images, *layout.masks)]
        self._strict = strict
        self._keep_patients = keep_patients
        self._order = layout.visits
        #: Folders of patients and visits whose names may tell who they are, or when they came: what they are called.
        self.numbered: dict[str, str] = {}
        self._visits: dict[str, str] = {}
        self._owners: dict[str, str] = {}  # labels of patients by their folders
        self._owners_of_visits: dict[str, str] = {}
        self._kept: set[str] = set()
        self._folders: dict[str, str] = {"": ""}
        self._counts: dict[tuple[str, str], int] = defaultdict(int)

    def owner(self, path: str, kind: str) -> str | None:
        """Path of the patient's folder, or None where there is none. From now on its name is kept."""
        if kind == "table":
            self._kept.add(path)
            return ""
        for wanted, pattern in self._patterns:
            if match := pattern.fullmatch(path):
                self._kept |= _spelt(path.split("/"), wanted, match["below"].count("/"))
                owner = path[: match.end("patient")]
                if match.groupdict().get("session"):
                    self._visits[path[: match.end("session")]] = match["session"]
                    self._owners_of_visits[path[: match.end("session")]] = owner
                return self._owned(owner, match["patient"])
        if self._strict:
            return None
        folders = _without_containers(path.split("/")[:-1])
        if kind == "dicom" and len(folders) > 1:
            folders = _without_containers(folders[:-1])
        return self._owned("/".join(folders), folders[-1]) if folders else "unknown"

    def _owned(self, folder: str, label: str) -> str:
        """Keep the name of a patient's folder if it is a short number, or if names are to be kept."""
        self._owners[folder] = label
        if self._keep_patients or is_plain_label(folder.rpartition("/")[2]):
            self._kept.add(folder)
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
        for folder in self._visits:
            self._number_folder(folder, "visit-{:03d}" if told else _LETTERS)

    def _number_folder(self, folder: str, form: str) -> None:
        self._kept.discard(folder)
        self.numbered[folder] = form

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
        """Say where a folder was taken for the patient's, though one above it may be."""
        above = {owner.rpartition("/")[0] for owner in self._owners}
        numbered = {folder for folder in above if folder and folder.rpartition("/")[2] not in _FOLDERS}
        if self._strict or not (len(numbered) > 1 or (numbered and self._keep_patients)):
            return []
        although = " although --keep-patients was given" if self._keep_patients else ""
        return [
            f"the folder above each series was taken for the patient's, and {len(numbered)} folders above those were "
            f"renamed to numbers{although}; if they are the patients', describe the layout in a TOML file (--config), "
            "which `npczarr scout` begins"
        ]

    def renamed(self, path: str, kind: str) -> str:
        """Return the new path of a file; every file has had its owner told before."""
        folder, _, name = path.rpartition("/")
        if path not in self._kept:
            ending = ".dcm" if kind == "dicom" else ".nii.gz" if name.lower().endswith(".gz") else ".nii"
            name = self._number(folder, "{:05d}" + ending)
        return self._folder(folder) + name

    def _folder(self, path: str) -> str:
        """Return the new path of a folder, with a slash at its end."""
        if path not in self._folders:
            above, _, name = path.rpartition("/")
            parent = self._folder(above)
            if path not in self._kept and name not in _FOLDERS:
                name = self._number(above, self.numbered.get(path, "folder-{:03d}"))
            self._folders[path] = f"{parent}{name}/"
        return self._folders[path]

    def _number(self, folder: str, form: str) -> str:
        """Return the next name in a folder, but none that is kept there."""
        within = "" if form == _PATIENTS else folder  # no two patients of a copy have one PatientID
        while True:
            self._counts[within, form] += 1
            count = self._counts[within, form]
            name = f"visit-{_letters(count)}" if form == _LETTERS else form.format(count)
            if f"{folder}/{name}".lstrip("/") not in self._kept:
                return name


def _without_containers(folders: list[str]) -> list[str]:
    """Leave out the innermost folders that are named after what they hold; the topmost stays.

    >>> _without_containers(["Muster_Max", "scans"]), _without_containers(["scans"])
    (['Muster_Max'], ['scans'])
    """
    while len(folders) > 1 and folders[-1].lower() in _CONTAINERS:
        folders = folders[:-1]
    return folders


def _letters(count: int) -> str:
    """Write a count from 1 in letters.

    >>> _letters(1), _letters(26), _letters(27)
    ('a', 'z', 'aa')
    """
    before, last = divmod(count - 1, 26)
    return (_letters(before) if before else "") + chr(ord("a") + last)


def _spelt(parts: list[str], wanted: list[str], first: int) -> set[str]:
    """Paths of the files and folders whose names a pattern spells out, before and behind its ``**``."""
    ahead = zip(range(first, len(parts)), wanted, strict=False)
    behind = zip(range(len(parts) - 1, -1, -1), reversed(wanted), strict=False)
    told = (pair for pairs in (ahead, behind) for pair in takewhile(lambda pair: pair[1] != "**", pairs))
    return {"/".join(parts[: i + 1]) for i, name in told if "*" not in _without_ending(name, parts[i])}


def _without_ending(wanted: str, name: str) -> str:
    """Return a pattern of a name without ``.nii*`` where the ``*`` stands for the ending of a packed file at most."""
    return wanted.removesuffix(".nii*") if name.lower().endswith((".nii", ".nii.gz")) else wanted
