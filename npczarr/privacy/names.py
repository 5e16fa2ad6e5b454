"""Neutral paths for a cleaned copy: what the layout spells out stays, every other name becomes a number for good."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from npczarr.model.cohort import File
from npczarr.model.identifiers import identity_words, is_plain_label, is_plain_visit
from npczarr.model.visit_order import order_visits
from npczarr.privacy.numbering import LETTERS, PATIENTS, RATERS, VISITS, WORDS, Numbering
from npczarr.privacy.paths import ANYTHING, FOLDERS, Part, Place, folder_of_patient, is_plain_rater, kind_of, part_table
from npczarr.privacy.places import PatternPlaces, Places
from npczarr.privacy.record import Record
from npczarr.sources.config import SourceConfig
from npczarr.sources.table_rows import patient_key, session_key

_FOREIGN = "neither DICOM nor NIfTI by its name, and no table that was named: it may hold anything"
_ELSEWHERE = "does not fit the layout, so it is not known whose it is"
_TWICE = "its patient is in two places: two cohorts, or two copies of one, of which each needs a copy of its own"
_UNSAFE = (
    "cannot be called so that its name tells nobody and the layout still fits, expected a pattern that parts its name "
    "in one way only; write out more of the names in [layout] and [sequences], or rename it in the source"
)


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
    """Say where each file goes, by its path and what earlier runs called it; and why some go nowhere.

    What cannot be called so that the layout still fits is in `names.unsafe`.
    """
    kinds = {path: "table" if path in tables else kind_of(path) for path in sorted(file.path for file in files)}
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
    return names.safe(copies), reasons


class Names:
    """Neutral names; those that the layout spells out stay, and so do those that an earlier run gave.

    Parameters
    ----------
    layout
        Where patients, sequences and masks lie.
    strict
        Whether a file that does not fit the layout has no owner; else it is of the folder above its series.
    keep_patients
        Whether patients keep names that are more than a short number.
    record
        What earlier runs called them; it takes the names that are given now.
    places
        Reader of the paths; by default the patterns of the layout.
    """

    def __init__(
        self,
        layout: SourceConfig,
        *,
        strict: bool,
        record: Record,
        keep_patients: bool = False,
        places: Places | None = None,
    ) -> None:
        self._places = places or PatternPlaces(layout)
        self._strict = strict
        self._keep_patients = keep_patients
        self._order = layout.visits
        self._numbering = Numbering(record, hyphen=self._places.hyphen)
        #: Patients and visits whose names may tell who they are, or when they came: the form of their new names.
        self.numbered: dict[str, str] = {}
        #: Files that cannot be called so that nobody is told and the layout still fits, and why.
        self.unsafe: dict[str, str] = {}
        #: Whose the files are that fit no layout, by path.
        self.beside: dict[str, str] = {}
        self._found: dict[str, Place] = {}  # by path of the file
        self._parts: dict[str, tuple[Place, tuple[Part, ...]]] = {}  # of names, by path of file or folder
        self._visits: dict[str, tuple[str, str]] = {}  # owner and label
        #: Labels of patients, by their keys: the paths of their folders, where they have some.
        self.owners: dict[str, str] = {}
        self._laid: set[str] = set()  # patients of the layout
        self._tables: set[str] = set()
        self._folders: dict[object, str] = {}
        #: How many patients got new numbers of visits.
        self.out_of_order = 0

    def owner(self, path: str, kind: str) -> str | None:
        """Key of the patient of an image or mask that fits the layout, else None."""
        if kind == "table":
            self._tables.add(path)
            return ""
        place = self._places.find(path)
        return None if place is None else self._laid_out(path, place)

    def owner_beside(self, path: str, kind: str) -> str | None:
        """Key of the patient of any other file, or None where there is none; images had theirs before.

        Outlines lie in the folder of a patient of whom there is an image or mask, as `convert` looks for them.
        """
        for place in self._places.find_beside(path):
            if place.owner in self.owners:
                return self._laid_out(path, place)
        if self._strict:
            return None
        folders = path.split("/")[:-1]
        above = ("/".join(folders[:n]) for n in range(len(folders), 0, -1))
        if owner := next((one for one in above if one in self._laid), None):
            self.beside[path] = owner
            return owner
        self.beside[path] = folder = folder_of_patient(folders, of_series=kind == "dicom")
        if not folder:
            return "unknown"
        label = folder.rpartition("/")[2]
        self._parts.setdefault(folder, (Place(label, folder.removesuffix(label)), (Part(label, "patient"),)))
        return self._owned(folder, label)

    def _laid_out(self, path: str, place: Place) -> str:
        """Note what the names in a path are made of, the visit, and the patient, who is told."""
        self._found[path] = place
        self._laid.add(place.owner)
        for one, parts in place.names.items():
            self._parts.setdefault(one, (place, parts))
        if place.session:
            self._visits[place.visit] = (place.owner, place.session)
        return self._owned(place.owner, place.patient)

    def _owned(self, owner: str, label: str) -> str:
        """Keep the name of a patient if it is a short number, or if names are to be kept, and it is free."""
        self.owners[owner] = label
        if not ((self._keep_patients or is_plain_label(label)) and self._numbering.keep_patient(label)):
            self.numbered[owner] = PATIENTS
        return owner

    def number_shared(self) -> None:
        """Rename folders that were taken for patients' and have one name, such as "before": each is another patient."""
        if self._strict:
            return
        counts = Counter(self.owners.values())
        for owner, label in self.owners.items():
            if counts[label] > 1 and not is_plain_label(label):
                self.numbered[owner] = PATIENTS

    def number_visits(self) -> None:
        """Rename all visits if the name of one may tell a date: by numbers in their order, else by letters.

        A number says which visit was first, so none is given where the old names do not say it.
        """
        if all(is_plain_visit(name) for _, name in self._visits.values()):
            return
        by_patient: dict[str, dict[str, str]] = defaultdict(dict)
        for visit, (owner, name) in sorted(self._visits.items()):
            by_patient[owner][name] = visit
        told = all(
            order_visits([*names], declared=self._order) == tuple(range(len(names))) for names in by_patient.values()
        )
        for names in by_patient.values():
            self.numbered |= dict.fromkeys(names.values(), VISITS if told else LETTERS)
            if told and not self._numbering.is_continued([*names.values()]):
                self.out_of_order += 1
                self._numbering.take_back(VISITS, names.values())

    def name_patients(self) -> None:
        """Give patients and visits their names; every file has had its owner."""
        self._numbering.kept |= {
            path for path, (place, parts) in self._parts.items() if all(self._stays(place, part) for part in parts)
        }
        self._numbering.kept |= {place.rater for place in self._found.values() if is_plain_rater(place.rater)}
        for owner in self._numbering.shuffled(self.owners):
            self.patient(owner)
        for visit in sorted(self._visits):
            self._visit(visit)
        words = identity_words(
            self.owners[one] if one in self.owners else self._visits[one][1] for one in self.numbered
        )
        self._parts |= {table: (Place(""), part_table(table.rpartition("/")[2], words)) for table in self._tables}

    def _stays(self, place: Place, part: Part) -> bool:
        keys = {"patient": place.owner, "session": place.visit}
        return not part.field or (part.field in keys and keys[part.field] not in self.numbered)

    def patient(self, owner: str) -> str:
        """Return the new name of a patient."""
        if owner in self.numbered:
            return self._numbering.number(owner, PATIENTS)
        return self.owners.get(owner, owner)

    def _visit(self, visit: str) -> str:
        if visit in self.numbered:
            return self._numbering.number(visit, self.numbered[visit])
        return self._visits[visit][1] if visit in self._visits else ""

    def new_names(self) -> Renamed:
        """Return what patients and visits are called now, by how tables may call them; every file has had its owner."""
        patients: dict[str, set[str]] = defaultdict(set)
        for owner, label in self.owners.items():
            patients[patient_key(label)].add(self.patient(owner))
        visits = {
            (patient_key(self.owners[owner]), session_key(name)): self._visit(visit)
            for visit, (owner, name) in self._visits.items()
        }
        return Renamed(dict(patients), visits)

    def renamed(self, path: str, kind: str) -> str:
        """Return the new path of a file; every file has had its owner told before."""
        folder, _, name = path.rpartition("/")
        ending = ".dcm" if kind == "dicom" else ".nii.gz" if name.lower().endswith(".gz") else ".nii"
        place = self._found.get(path)
        above = "" if place is None or place.reading else f"{self.patient(place.owner)}/"  # where no path told it
        return above + self._folder(folder, place) + self._named(path, place, "{:05d}", ending)

    def _folder(self, path: str, place: Place | None) -> str:
        """Return the new path of a folder, with a slash at its end; that of a visit may be of several patients."""
        key = (path, place and (place.owner, place.visit, place.rater))
        if path and key not in self._folders:
            above, _, name = path.rpartition("/")
            parent = self._folder(above, place)
            if path in self._parts or name not in FOLDERS:
                name = self._named(path, place, "folder-{:03d}", "")
            self._folders[key] = f"{parent}{name}/"
        return self._folders[key] if path else ""

    def _named(self, path: str, place: Place | None, form: str, ending: str) -> str:
        """Return the new name of a file or folder; `form` is that of a number, for what may be anything."""
        if path not in self._parts:
            return self._numbering.number(path, form + ending)
        if place is None or path not in place.names:
            place = self._parts[path][0]
        parts = place.names.get(path, self._parts[path][1])
        texts = [part.text if self._stays(place, part) else self._replaced(place, part) for part in parts]
        free = [i for i, part in enumerate(parts) if part.field == ANYTHING]
        if not free:
            return "".join(texts)
        number = "{:05d}" if ending else "{:03d}"
        texts = [number if i == free[0] else text.replace("{", "{{").replace("}", "}}") for i, text in enumerate(texts)]
        return self._numbering.number(path, "".join(texts) + (ending if free[-1] == len(parts) - 1 else ""))

    def _replaced(self, place: Place, part: Part) -> str:
        if part.field == "patient":
            return self.patient(place.owner)
        if part.field == "session":
            return self._visit(place.visit)
        return "" if part.field == ANYTHING else self._numbering.number(part.text, _ALIKE[part.field])

    def safe(self, copies: Sequence[Copy]) -> list[Copy]:
        """Return the files whose new names the layout reads as it should; the others are `unsafe`."""
        taken: set[str] = set()
        homes = Counter(self.owners[owner] for owner in self._laid if self._strict)
        for copy in copies:
            place = self._found.get(copy.path)
            if place is not None and homes[place.patient] > 1:
                self.unsafe[copy.path] = _TWICE
            elif copy.target in taken or not (place is None or self._is_read(copy, place)):
                self.unsafe[copy.path] = _UNSAFE
            taken.add(copy.target)
        return [copy for copy in copies if copy.path not in self.unsafe]

    def _is_read(self, copy: Copy, place: Place) -> bool:
        """Whether a file is found to be of its patient, visit and sequence under its new name."""
        wanted = (copy.patient, self._visit(place.visit), place.reading)
        found = chain((self._places.find(copy.target),), self._places.find_beside(copy.target))
        return not place.reading or any(one and (one.patient, one.session, one.reading) == wanted for one in found)


_ALIKE = {"rater": RATERS, "word": WORDS}
