"""Which files of a patient may hold outlines of any of its scans: RTSTRUCT and SEG name their series themselves."""

from __future__ import annotations

from dataclasses import replace

from npczarr.model.cohort import Cohort, File, ScanFiles
from npczarr.sources.config import SourceConfig, path_regex

_NAMES_A_SCAN = ("{mask}", "{sequence}", ".nii", ".tif")


def of_patient(pattern: str, config: SourceConfig) -> bool:
    """Whether a pattern for masks names a patient alone, though the patient has several sequences."""
    return "{sequence}" in config.images and not any(part in pattern for part in _NAMES_A_SCAN)


def assign_structures(cohort: Cohort, config: SourceConfig) -> Cohort:
    """Give each scan the declared labels, and the files beside the series of its patient that may outline it."""
    patterns = [*config.structures, *(pattern for pattern in config.masks if of_patient(pattern, config))]
    expressions = [path_regex(pattern, {}) for pattern in patterns]
    homes = {files.patient: home for files in cohort.scans.values() if (home := _home(files)) is not None}
    found: dict[str, list[File]] = {}
    strays = []
    for file in cohort.strays:
        matches = (expression.fullmatch(file.path) for expression in expressions)
        patient = next((m["patient"] for m in matches if m and homes.get(m["patient"]) == m["below"]), None)
        if patient is None:
            strays.append(file)
        else:
            found.setdefault(patient, []).append(file)
    scans = {
        key: replace(files, structures=tuple(found.get(files.patient, ())), labels=config.labels)
        for key, files in cohort.scans.items()
    }
    return replace(cohort, scans=scans, strays=tuple(strays))


def _home(files: ScanFiles) -> str | None:
    """Folder in which the folder of the patient is; None where the paths do not say."""
    for file in (*files.images, *files.masks):
        before, found, _ = f"/{file.path}".partition(f"/{files.patient}/")
        if found:
            return f"{before[1:]}/" if before else ""
    return None
