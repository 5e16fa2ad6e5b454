"""Which files of a patient may hold outlines of any of its scans: RTSTRUCT and SEG name their series themselves."""

from __future__ import annotations

from dataclasses import replace

from npczarr.model.cohort import Cohort, File, ScanFiles, Visit, subject_of
from npczarr.sources.config import SourceConfig
from npczarr.sources.patterns import path_regex

_NAMES_A_SCAN = ("{mask}", "{sequence}", ".nii", ".tif")


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
    scans = {
        key: replace(files, structures=_of(files, found) or files.structures, labels=config.labels)
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
