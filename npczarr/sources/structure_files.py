"""Which files of a patient may hold outlines of any of its scans: RTSTRUCT and SEG name their series themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from npczarr.model.cohort import Cohort, File, ScanFiles, Visit, subject_of
from npczarr.sources.config import SourceConfig
from npczarr.sources.file_kinds import NO_DICOM
from npczarr.sources.patterns import path_regex

_NAMES_A_SCAN = ("{mask}", "{sequence}", ".nii", ".tif")
_FEW = 10  # files of a folder: one of outlines has no more, a series has
_MOST = 100  # files of a subject, about: where there are more, each may be in a folder of its own


def of_patient(pattern: str, config: SourceConfig) -> bool:
    """Whether a pattern for masks names a patient alone, though the patient has several sequences."""
    several = any("{sequence}" in images for images in config.images)
    return several and not any(part in pattern for part in _NAMES_A_SCAN)


def assign_structures(cohort: Cohort, config: SourceConfig) -> Cohort:
    """Give each scan the declared labels, and the files beside the series of its patient that may outline it.

    A path without a session is of all visits of its subject; the series that the file names decides.
    """
    patterns = [*config.structures, *(pattern for pattern in config.masks if of_patient(pattern, config))]
    expressions = [path_regex(pattern, {}) for pattern in patterns]
    homes = {subject_of(files.patient): home for files in cohort.scans.values() if (home := _home(files)) is not None}
    found: dict[str, list[File]] = {}
    strays = []
    for file in cohort.strays:
        matches = (expression.fullmatch(file.path) for expression in expressions)
        match = next((m for m in matches if m and homes.get(m["patient"]) == m["below"]), None)
        if match is None:
            strays.append(file)
            continue
        session = match.groupdict().get("session") or ""
        label = Visit(match["patient"], session.removeprefix("ses-")).label
        found.setdefault(label, []).append(file)
    aside = _aside(strays, homes)
    scans = {
        key: replace(
            files,
            structures=_of(files, found) or files.structures,
            aside=aside.get(subject_of(files.patient), ()),
            labels=config.labels,
        )
        for key, files in cohort.scans.items()
    }
    return replace(cohort, scans=scans, strays=tuple(strays))


def _of(files: ScanFiles, found: dict[str, list[File]]) -> tuple[File, ...]:
    """Files of a patient, and of the subject whose visit it is."""
    labels = dict.fromkeys((files.patient, subject_of(files.patient)))
    return tuple(file for label in labels for file in found.get(label, ()))


def _home(files: ScanFiles) -> str | None:
    """Folder in which the folder of the subject is; None where the paths do not say."""
    for file in (*files.images, *files.masks):
        before, there, _ = f"/{file.path}".partition(f"/{subject_of(files.patient)}/")
        if there:
            return f"{before[1:]}/" if before else ""
    return None


def _aside(strays: Sequence[File], homes: Mapping[str, str]) -> dict[str, tuple[File, ...]]:
    """Find the files below the folder of a subject that no pattern takes and that may be outlines, by subject."""
    folders = {f"{home}{subject}": subject for subject, home in homes.items()}
    by_folder: dict[str, list[File]] = {}
    for file in strays:
        by_folder.setdefault(file.path.rpartition("/")[0], []).append(file)
    found: dict[str, tuple[File, ...]] = {}
    for folder, files in by_folder.items():
        parts = folder.split("/")
        owners = (folders.get("/".join(parts[:n])) for n in range(len(parts), 0, -1))
        owner = next((subject for subject in owners if subject is not None), None)
        if owner is not None and len(files) <= _FEW and len(found.get(owner, ())) < _MOST:
            found[owner] = found.get(owner, ()) + tuple(f for f in files if not f.name.lower().endswith(NO_DICOM))
    return found
