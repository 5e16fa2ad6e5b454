"""Which files of a source make up which scan."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from npczarr.errors import SourceError
from npczarr.model.cohort import Cohort, File, ScanFiles, Visit
from npczarr.sources.bids import sort_bids
from npczarr.sources.config import SourceConfig, check_shared
from npczarr.sources.file_kinds import describe_kinds
from npczarr.sources.files import Source
from npczarr.sources.group_series import by_headers, group_series, is_grouped
from npczarr.sources.labels import Tokens, natural, visible_files
from npczarr.sources.other_formats import endings_not_read, remarks_on_formats
from npczarr.sources.patterns import PathPattern, path_regex
from npczarr.sources.rater_files import sort_raters
from npczarr.sources.structure_files import assign_structures, of_patient
from npczarr.sources.zarr_stores import refuse_store

Key = tuple[str, str]
#: Sequence of images, and of masks, whose paths tell none.
OF_NO_SEQUENCE = "image"
_SIDECAR = re.compile(r"\.(json|bval|bvec)$", re.IGNORECASE)
_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)


def discover(source: Source, config: SourceConfig) -> Cohort:
    """Sort the files of ``source`` into scans, masks, tables and strays.

    Tried in this order: the patterns of the configuration; and where it gives none, the masks of two raters, the
    published layout, BIDS, and at last the headers of every DICOM file below a folder for each patient.

    Raises
    ------
    SourceError
        If no file matches; the message says what was tried, what is there, and how to describe another layout.
    """
    files = source.files()
    if is_grouped(config):
        cohort = group_series(source, files, config)
    else:
        cohort = sort_raters(files, config) or sort_files(files, config)
    if not cohort.patients:
        refuse_store(source.shown, files, "the images and masks that one is made from")
    if not cohort.has_images and config.images == SourceConfig().images:
        other = sort_bids(files, config) or group_series(source, files, by_headers(config))
        cohort = other if other.patients or not cohort.patients else cohort
    if not cohort.patients:
        raise _nothing_found(source, files, cohort, config)
    cohort = replace(cohort, not_taken=(*cohort.not_taken, *remarks_on_formats(cohort.strays)))
    return assign_structures(cohort, config)


def sort_files(files: Sequence[File], config: SourceConfig, scans: Collection[Key] | None = None) -> Cohort:
    """Sort a list of files by their paths; hidden files and what macOS leaves in archives are left out.

    Parameters
    ----------
    files, config
        Files of a source, and its layout.
    scans
        Patient and sequence of every scan that a mask may be of, where the images are in a store; None if they are
        among the files.
    """
    visible, odd = visible_files(files)
    layout = _Layout(config)
    found = _Sorted(strays=odd)
    for file in visible:
        layout.sort(file, found)
    found.give_sidecars()
    found.give_masks(layout.sequences_of_lone_masks, found.images if scans is None else scans)
    keys = found.images.keys() | found.masks.keys()
    rules = {rule.name: rule.where for rule in config.sequences}
    cohort = Cohort(
        patients=tuple(sorted({patient for patient, _ in keys}, key=natural)),
        sequences=tuple(rules) or tuple(sorted({sequence for _, sequence in keys}, key=natural)),
        scans={
            key: ScanFiles(
                *key, tuple(found.images.get(key, ())), tuple(found.masks.get(key, ())), where=rules.get(key[1], ())
            )
            for key in sorted(keys)
        },
        tables=tuple(found.tables),
        strays=tuple(found.strays),
        visits={label: visit for label, visit in found.visits.items() if found.has_sessions},
        guesses=tuple(found.doubts()),
    )
    return assign_structures(cohort, config)


@dataclass
class _Sorted:
    """Files by what they are."""

    images: dict[Key, list[File]] = field(default_factory=dict)
    masks: dict[Key, list[File]] = field(default_factory=dict)
    masks_of_all: dict[str, list[File]] = field(default_factory=dict)
    tables: list[File] = field(default_factory=list)
    strays: list[File] = field(default_factory=list)
    visits: dict[str, Visit] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)
    shared: Counter[tuple[str, tuple[str, ...], tuple[str, ...]]] = field(default_factory=Counter)
    readings: dict[str, str] = field(default_factory=dict)  # another one by that which was taken, where there are two

    @property
    def has_sessions(self) -> bool:
        return any(visit.session for visit in self.visits.values())

    def patient(self, match: re.Match[str]) -> str:
        """Label of the patient, who must be in one place."""
        found = match.groupdict()
        visit = Visit(found["patient"], re.sub("^ses-", "", found.get("session") or ""))
        home, here = self.homes.setdefault(visit.subject, found["below"]), found["below"]
        if home != here:
            raise SourceError(
                f"patient {visit.subject} is in two places, below {home or './'} and {here or './'}: two "
                "cohorts, or two copies of one; point at one of them. If it is the name of a visit, say so in a TOML "
                'file (--config), such as images = "{patient}/{session}/{sequence}/**"; npczarr scout writes one'
            )
        if self.visits.setdefault(visit.label, visit) != visit:
            raise SourceError(f"two patients would be called {visit.label} in the store; rename one of the folders")
        return visit.label

    def note_readings(self, match: re.Match[str], pattern: PathPattern | None) -> None:
        """Keep in mind that a path can be read in another way than it was."""
        if pattern and (other := pattern.other_reading(match)):
            self.readings.setdefault(_reading(match), _reading(other))

    def note_shared(self, what: str, taken: Iterable[str], others: Iterable[str] = ()) -> None:
        """Count a file whose name fits several rules: it was given to those `taken`, and not to the others."""
        self.shared[what, tuple(taken), tuple(others)] += 1

    def doubts(self) -> Iterator[str]:
        """Say what names leave open: which part is whose, and whether folders of the patients are those of visits."""
        if self.readings:
            taken, other = next(iter(self.readings.items()))
            yield (
                f"names of {len(self.readings)} scans or masks fit the pattern in more than one way: {taken} was read, "
                f"and not {other}; if that is wrong, name the sequences in [sequences] of the TOML file, or write out "
                "more of the pattern"
            )
        for (what, given_to, others), count in self.shared.items():
            rest = f", and not to {' and '.join(others)}" if others else ""
            advice = "give each of these rules a `where`, or " if others else ""
            yield (
                f"{count} files: the names of their {what} fit several rules of [sequences]; they went to "
                f"{' and '.join(given_to)}{rest}; if that is wrong, {advice}write out more of the names in the rules"
            )
        folders = set(self.homes.values())
        if len(folders) > 1 and not self.has_sessions:
            yield (
                f"{len(self.homes)} patients are below {len(folders)} folders; if the folders are the patients, and "
                "what is below them are visits, name them {patient} and {session} in a TOML file (--config)"
            )

    def give_sidecars(self) -> None:
        """Give the JSON file beside a NIfTI image to its scan."""
        stems: dict[str, list[list[File]]] = {}
        for files in self.images.values():
            for file in files:
                if _NIFTI.search(file.path):
                    stems.setdefault(_stem(file.path), []).append(files)
        left: list[File] = []
        for file in self.strays:
            beside = stems.get(_stem(file.path)) if _SIDECAR.search(file.path) else None
            for files in beside or [left]:
                files.append(file)
        self.strays = left

    def give_masks(self, alone: tuple[str, ...], scans: Collection[Key]) -> None:
        """Give a mask whose path names no sequence to the sequences `alone`, or to all if no rule says which."""
        by_patient: dict[str, list[Key]] = {}
        for key in scans if alone == (OF_NO_SEQUENCE,) else ():
            by_patient.setdefault(key[0], []).append(key)
        for patient, masks in self.masks_of_all.items():
            for key in by_patient.get(patient, [(patient, sequence) for sequence in alone]):
                self.masks.setdefault(key, []).extend(masks)


class _Layout:
    """The patterns of a configuration, compiled."""

    def __init__(self, config: SourceConfig) -> None:
        self._rules = {rule.name: rule for rule in config.sequences}
        self._folders = Tokens((rule.folder, rule.name) for rule in config.sequences)
        self._masks = Tokens((rule.mask, rule.name) for rule in config.sequences)
        groups = self._folders.group("sequence")
        self._image_patterns = [path_regex(pattern, groups) for pattern in config.images]
        of_scans = [pattern for pattern in config.masks if not of_patient(pattern, config)]
        self._mask_patterns = [path_regex(pattern, self._masks.group("mask") | groups) for pattern in of_scans]
        self._table_patterns = [path_regex(pattern, {}) for pattern in config.tables]
        self.sequences_of_lone_masks = self._masks.names(OF_NO_SEQUENCE)
        # where images are files beside their masks, the pattern of the mask says more
        self._masks_first = any(".nii" in pattern.lower() for pattern in config.images)

    def sort(self, file: File, found: _Sorted) -> None:
        image, image_pattern = _match(self._image_patterns, file)
        mask, mask_pattern = _match(self._mask_patterns, file)
        if mask is not None and (image is None or self._masks_first):
            found.note_readings(mask, mask_pattern)
            self._add_mask(file, mask, found)
        elif image is not None:
            found.note_readings(image, image_pattern)
            token = image.groupdict().get("sequence")
            patient = found.patient(image)
            for sequence in (OF_NO_SEQUENCE,) if token is None else self._of_folder(token, found):
                found.images.setdefault((patient, sequence), []).append(file)
        elif _match(self._table_patterns, file)[0]:
            found.tables.append(file)
        else:
            found.strays.append(file)

    def _of_folder(self, token: str, found: _Sorted) -> tuple[str, ...]:
        """Sequences that a folder is of: each whose rule names it, if all of these have a `where`; else the exact one.

        Raises
        ------
        SourceError
            If several rules name the folder alike, and not each says which of its images it takes.
        """
        fitting = [self._rules[name] for names in self._folders.fitting(token).values() for name in names]
        exact = [rule for rule in fitting if rule.folder.lower() == token.lower()]
        if not exact or all(rule.where for rule in fitting):
            check_shared(fitting)
            return tuple(rule.name for rule in fitting) or (token,)
        check_shared(exact)
        if others := [rule.name for rule in fitting if rule not in exact]:
            found.note_shared("folders", [rule.name for rule in exact], others)
        return tuple(rule.name for rule in exact)

    def _add_mask(self, file: File, match: re.Match[str], found: _Sorted) -> None:
        patient, groups = found.patient(match), match.groupdict()
        if token := groups.get("sequence"):
            sequences = self._of_folder(token, found)
        elif token := groups.get("mask"):
            sequences = self._masks.names(token)
            if len(self._masks.fitting(token)) > 1 < len(sequences):
                found.note_shared("masks", sequences)
        else:
            found.masks_of_all.setdefault(patient, []).append(file)
            return
        for sequence in sequences:
            found.masks.setdefault((patient, sequence), []).append(file)


def _match(patterns: Iterable[PathPattern], file: File) -> tuple[re.Match[str] | None, PathPattern | None]:
    """Match a path by the first pattern that fits it; return that too."""
    matches = ((match, pattern) for pattern in patterns if (match := pattern.fullmatch(file.path)))
    return next(matches, (None, None))


def _reading(match: re.Match[str]) -> str:
    """Say what the fields of a pattern were found to be."""
    return ", ".join(f"{name} {text}" for name, text in match.groupdict().items() if name != "below")


def _stem(path: str) -> str:
    return re.sub(r"\.(nii(\.gz)?|json|bval|bvec)$", "", path, flags=re.IGNORECASE)


def _nothing_found(source: Source, files: Sequence[File], cohort: Cohort, config: SourceConfig) -> SourceError:
    folders = ", ".join(rule.folder for rule in config.sequences) or "any name"
    left = "; ".join(cohort.not_taken[:3])
    series = f" Series that were found but not taken: {left}." if left else ""
    others = endings_not_read(files)
    convert = f" Images in {', '.join(others)} are not read; save them as NIfTI." if others else ""
    images, masks, raters = (" or ".join(one) for one in (config.images, config.masks, config.raters))
    return SourceError(
        f"{source.shown}: no scan found among {describe_kinds(files)}. Images are read from DICOM and NIfTI (.nii, "
        f".nii.gz), masks from NIfTI, RTSTRUCT and SEG.{series}{convert} If the cohort is laid out in another way than "
        "npczarr looked for, describe it in a TOML file (--config), which `npczarr scout` begins for you. It looked "
        f"below every folder for {images} ({{sequence}}: {folders}) and {masks}, for masks of two raters in {raters}, "
        "for BIDS (sub-*/anat/*.nii.gz), and for DICOM series that their headers tell apart"
    )
