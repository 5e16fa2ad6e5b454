"""Whose images files are: by a header field, by a pattern, or by the folders above them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from npczarr.errors import SourceError
from npczarr.model.cohort import Visit
from npczarr.sources.config import SourceConfig
from npczarr.sources.patterns import PathPattern, path_regex
from npczarr.sources.survey import Surveyed, value_of

_LONGEST_LABEL = 80


@dataclass(frozen=True, slots=True)
class Owner:
    """Labels of patients.

    Parameters
    ----------
    keyword
        Header field that names the patient; "" where paths do.
    patterns
        Patterns of paths; the first that fits decides.
    depth
        Which folder above a file is the patient's, counted from the root; where there are no patterns.
    visits
        Subject and session by label.
    values
        What the header field said, by label.
    """

    keyword: str = ""
    patterns: tuple[PathPattern, ...] = ()
    depth: int = 0
    visits: dict[str, Visit] = field(default_factory=dict)
    values: dict[str, tuple[str | float, ...]] = field(default_factory=dict)

    def label(self, image: Surveyed) -> str:
        """Label of the patient of an image; "" where nothing names one.

        Raises
        ------
        SourceError
            If two patients would have one label.
        """
        if self.keyword:
            return self._label_of(value_of(image.header, self.keyword))
        for pattern in self.patterns:
            if match := pattern.fullmatch(image.file.path):
                found = match.groupdict()
                return self.named(Visit(found["patient"], re.sub("^ses-", "", found.get("session") or "")))
        folders = image.file.path.split("/")[:-1]
        return self.named(Visit(folders[self.depth])) if not self.patterns and len(folders) > self.depth else ""

    def named(self, visit: Visit) -> str:
        """Label of a visit, which is kept."""
        if visit.subject and self.visits.setdefault(visit.label, visit) != visit:
            raise SourceError(f"two patients would be called {visit.label} in the store; rename one of the folders")
        return visit.label

    def _label_of(self, values: tuple[str | float, ...]) -> str:
        """Make a label of what a header field says: without slashes and control characters, and not too long."""
        text = " ".join(f"{value:.15g}" if isinstance(value, float) else value for value in values)
        label = re.sub(r"[/\\\x00-\x1f]+", "_", text).strip()[:_LONGEST_LABEL]
        if label and self.values.setdefault(label, values) != values:
            raise SourceError(
                f"two patients would be called {label} in the store, as labels have no slashes and {_LONGEST_LABEL} "
                f"characters at most, and {self.keyword} differs in these alone; name another header field in [layout] "
                "patient, or give each patient a folder"
            )
        return self.named(Visit(label))


def owner_of_files(images: Sequence[Surveyed], config: SourceConfig) -> Owner:
    """Say how patients are told apart.

    Raises
    ------
    SourceError
        If everything is in one folder and no header field is named, or a patient's folder holds several patients.
    """
    if config.patient:
        return Owner(keyword=config.patient)
    if config.images != ("{patient}/**",):
        owner = Owner(patterns=tuple(path_regex(pattern, {}, shallow=True) for pattern in config.images))
    else:
        owner = Owner(depth=_patient_depth(images))
    _check_people(images, owner)
    return owner


def _patient_depth(images: Sequence[Surveyed]) -> int:
    """Find the first level of folders that tells patients apart; the topmost where all are of one patient."""
    paths = [image.file.path.split("/")[:-1] for image in images]
    if not paths:
        return 0
    if len({_person(image) for image in images} - {""}) <= 1:
        return 0
    shortest = min(len(path) for path in paths)
    return next((depth for depth in range(shortest) if len({path[depth] for path in paths}) > 1), 0)


def _check_people(images: Sequence[Surveyed], owner: Owner) -> None:
    """Refuse a patient's folder in which headers name several patients: their scans would be taken for one's."""
    people: dict[str, set[str]] = {}
    for image in images:
        people.setdefault(owner.label(image), set()).add(_person(image))
    mixed: Mapping[str, int] = {label: len(found - {""}) for label, found in people.items() if len(found - {""}) > 1}
    if mixed:
        first, count = next(iter(mixed.items()))
        where = f"the folder {first}" if first else "one folder"
        raise SourceError(
            f"{where} holds images of {count} patients by their PatientID; say in a TOML file (--config) which header "
            'field names the patient, [layout] patient = "PatientID", or give each patient a folder'
        )


def _person(image: Surveyed) -> str:
    return " ".join(str(value) for value in value_of(image.header, "PatientID"))
