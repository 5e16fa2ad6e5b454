"""A look at a source before it is converted: what there is, what it is taken for and why, as a TOML file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from npczarr.errors import SourceError
from npczarr.model.cohort import Cohort, File, subject_of
from npczarr.model.progress import Meter, OnProgress
from npczarr.model.visit_order import order_visits
from npczarr.sources.bids import sort_bids
from npczarr.sources.config import SequenceRule, SourceConfig
from npczarr.sources.discover import sort_files
from npczarr.sources.file_kinds import NO_DICOM, describe_kinds, group_strays
from npczarr.sources.files import Source, open_source
from npczarr.sources.group_series import FoundSeries, by_headers, find_series
from npczarr.sources.labels import visible_files
from npczarr.sources.meant_series import choose_series_of
from npczarr.sources.named_labels import is_named, number_of_person, remarks_on_labels
from npczarr.sources.other_formats import remarks_on_formats
from npczarr.sources.rater_files import sort_raters
from npczarr.sources.same_person import remarks_on_persons, who_share
from npczarr.sources.scout_headers import header_toml
from npczarr.sources.scout_masks import scout_masks
from npczarr.sources.scout_nifti import scout_nifti
from npczarr.sources.survey import survey
from npczarr.sources.toml_text import quoted

_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_VISITS = "{patient}/{session}/{sequence}/**"
_MOST_LINES = 40


@dataclass(frozen=True, slots=True)
class Scouted:
    """What :func:`scout` found in a source.

    Parameters
    ----------
    layout
        "published", "visits", "raters", "BIDS", "NIfTI", or "headers" where folders do not tell which series is which.
    patients, scans
        How many there would be in a store.
    toml
        The configuration to start from; what could not be decided is in its comments.
    not_taken
        Series that would not be converted, and why.
    remarks
        What to look at before anything is converted, such as labels that are names of persons or hold dates.
    """

    layout: str
    patients: int
    scans: int
    toml: str = field(repr=False)
    not_taken: tuple[str, ...] = field(default=(), repr=False)
    remarks: tuple[str, ...] = ()


def scout(
    source: str | Path,
    *,
    source_options: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> Scouted:
    """Look at a source, and write the configuration from which to start.

    Nothing is converted. Headers are read of DICOM files and of NIfTI images, elsewhere only names.

    Parameters
    ----------
    source
        Folder, zip archive or URL.
    source_options
        Options of its file system; credentials belong in the environment.
    on_progress
        Called with a :class:`npczarr.Progress` as headers are read.

    Returns
    -------
    Scouted
        The layout, counts, and the configuration as text.

    Raises
    ------
    SourceError
        If the source cannot be read, or holds no image that npczarr knows.
    """
    opened = open_source(source, source_options)
    files = opened.files()
    config = SourceConfig()
    raters = sort_raters(files, config)
    try:
        published = None if raters else sort_files(files, config)
    except SourceError:  # a name in two places: perhaps a visit of two patients
        if visits := _of_visits(opened, files):
            return visits
        raise
    for layout, cohort in (
        ("raters", raters),
        ("published", published),
        ("BIDS", sort_bids(files, config)),
    ):
        if cohort is not None and cohort.has_images:
            return _known_layout(layout, opened, cohort)
    return _by_headers(opened, files, on_progress)


def _of_visits(source: Source, files: Sequence[File]) -> Scouted | None:
    """Describe DICOM series in folders of patient, visit and sequence; None where there are no visits."""
    layout = replace(
        SourceConfig(), images=(_VISITS,), masks=(f"{_VISITS.partition('{sequence}')[0]}ROI-{{mask}}.nii*",)
    )
    series = [file for file in files if not _NIFTI.search(file.path)]  # masks are beside the folders of series
    found = sort_files(series, replace(layout, sequences=()))
    counts = Counter(sequence for (_, sequence), scan in found.scans.items() if scan.images)
    if not counts:
        return None
    published = {rule.name: rule.mask for rule in SourceConfig().sequences}
    rules = [SequenceRule(name, name, published.get(name, name)) for name in counts]
    cohort = sort_files(files, replace(layout, sequences=tuple(rules)))
    subjects, sessions = ({getattr(visit, name) for visit in cohort.visits.values()} for name in ("subject", "session"))
    lines = [
        "# Written by `npczarr scout`: correct it, then npczarr convert SOURCE STORE --config THIS_FILE",
        f"# {len(subjects)} patients with {len(cohort.patients)} visits, by the names of folders. Is that so?",
        *(f"#   visit {quoted(session)}" for session in sorted(sessions)[:_MOST_LINES]),
        "",
        "[layout]",
        f"images = {quoted(layout.images[0])}",
        f"masks = {quoted(layout.masks[0])}",
        "",
        *_order(sorted(sessions)),
        "[sequences]",
        *(
            f"{quoted(rule.name)} = {{ folder = {quoted(rule.folder)}, mask = {quoted(rule.mask)} }}"
            f"  # {counts[rule.name]} scans"
            for rule in rules[:_MOST_LINES]
        ),
        "",
        *(f"# belongs to no scan, {line}" for line in group_strays([file.path for file in cohort.strays])),
        *(f"# NOTE: {line}" for line in remarks_on_formats(cohort.strays)),
    ]
    text = "\n".join(lines) + "\n"
    scouted = Scouted("visits", len(cohort.patients), sum(counts.values()), text)
    return _with_remarks(scouted, cohort.patients, _first_headers(source, cohort))


def _first_headers(source: Source, cohort: Cohort) -> list[tuple[str, Dataset]]:
    """Read the header of one DICOM image of each patient; return them by label."""
    firsts: dict[str, File] = {}
    for (patient, _), scan in cohort.scans.items():
        for file in (file for file in scan.images if not file.name.lower().endswith(NO_DICOM)):
            firsts.setdefault(patient, file)
    owners = {file.path: patient for patient, file in firsts.items()}
    images, _ = survey(source, list(firsts.values()), lambda file: owners[file.path])
    return [(image.owner, image.header) for image in images]


def _with_remarks(found: Scouted, patients: Collection[str], headers: Sequence[tuple[str, Dataset]] = ()) -> Scouted:
    """Say where labels are names of persons or hold dates, and who may be one person, by headers of the patients."""
    named = {patient for patient, header in headers if is_named(subject_of(patient), header)}
    same_number = who_share((patient, number_of_person(header)) for patient, header in headers)
    remarks = [*remarks_on_labels(patients, named), *remarks_on_persons(same_number, {})]
    toml = "".join(f"# NOTE: {one}\n" for one in remarks) + found.toml
    return replace(found, toml=toml, remarks=(*remarks, *found.remarks))


def _order(sessions: Sequence[str]) -> list[str]:
    """Lines in which to put visits in their order, where their names do not tell it."""
    if order_visits(sessions) is not None:
        return []
    named = ", ".join(quoted(session) for session in sessions[:_MOST_LINES])
    return [
        "# Nothing tells the order of the visits: put them in it, the first one first.",
        "# [sessions]",
        f"# order = [{named}]",
        "",
    ]


def _of_nifti(source: Source, files: Sequence[File]) -> Scouted | None:
    """Describe NIfTI files by the patterns of their names; None where there are none."""
    found = scout_nifti(files, source)
    if found is None:
        return None
    return _with_remarks(
        Scouted("NIfTI", len(found.patients), found.scans, found.toml, (), found.remarks), found.patients
    )


def _known_layout(layout: str, source: Source, cohort: Cohort) -> Scouted:
    """Describe a layout that needs no configuration."""
    named = {"raters": "masks of several raters", "published": "laid out as the published cohort"}
    counts = Counter(sequence for _, sequence in cohort.scans)
    lines = [
        f"# This source is {named.get(layout, 'a BIDS dataset')}: npczarr convert SOURCE STORE needs no configuration.",
        f"# {len(cohort.patients)} patients" + (" (rows of the store; one each visit)" if cohort.visits else "") + ":",
        *(f"#   {sequence}: {count} scans" for sequence, count in counts.items()),
        *(f"# not taken: {line}" for line in cohort.not_taken),
        *(f"# belongs to no scan, {line}" for line in group_strays([file.path for file in cohort.strays])),
        *(f"# NOTE: {line}" for line in remarks_on_formats(cohort.strays)),
    ]
    if layout == "BIDS":
        lines += ["#", "# To choose sequences and to name them otherwise:", "# [sequences]"]
        lines += [f"# {quoted(name)} = {{ folder = {quoted(name)} }}" for name in counts]
    found = Scouted(layout, len(cohort.patients), len(cohort.scans), "\n".join(lines) + "\n", cohort.not_taken)
    return _with_remarks(found, cohort.patients, _first_headers(source, cohort))


def _by_headers(source: Source, files: Sequence[File], on_progress: OnProgress | None) -> Scouted:
    """Describe DICOM series by their headers; without any, NIfTI files by their names."""
    found, patient = _read_series(source, files, on_progress)
    choice = choose_series_of(found.series, sessions=found.has_sessions, shown=True)
    taken, not_taken = choice.taken, choice.not_taken
    people = {one.patient for one in found.series} - {""}
    nifti = None if taken else _of_nifti(source, files)
    if nifti is not None and (not found.series or nifti.patients > len(people)):
        return nifti if not found.series else _beside_series(nifti, len(found.series))
    if not found.series:
        visible, _ = visible_files(files)
        raise SourceError(
            f"{source.shown}: no DICOM series, no BIDS dataset, no cohort in the published layout and no folders with "
            f"NIfTI images; there are {describe_kinds(visible)}"
        )
    masks = scout_masks(found, files)
    text = header_toml(found, taken, not_taken, patient, masks)
    patients = {one.patient for one in taken} | {patient for patient, _ in choice.unclear}
    scouted = Scouted("headers", len(patients), len(taken), text, tuple(not_taken), masks.doubts)
    return _with_remarks(scouted, patients, [(one.patient, one.group.header) for one in taken])


def _beside_series(nifti: Scouted, series: int) -> Scouted:
    """Say that there are DICOM series too, none of which would be taken."""
    doubt = (
        f"{series} DICOM series are there too, of fewer patients than the NIfTI files and none of a known kind; they "
        "are left out here. If they are the images, say which is which by their headers: images = "
        '"{patient}/**", and SEQUENCE = { where = { SeriesDescription = "*…*" } } in [sequences]'
    )
    return replace(nifti, toml=f"# NOT SURE: {doubt}\n{nifti.toml}", remarks=(*nifti.remarks, doubt))


def _read_series(source: Source, files: Sequence[File], on_progress: OnProgress | None) -> tuple[FoundSeries, str]:
    """Read the headers; also return the field that names patients, where folders do not."""
    config = by_headers(SourceConfig())
    meter: list[Meter] = []

    def count(done: int, total: int) -> None:
        if not meter:
            meter.append(Meter(on_progress, total, "files", {}))
        meter[0].add(counts={})

    try:
        return find_series(source, files, config, on_file=count), ""
    except SourceError as error:
        if "PatientID" not in str(error):
            raise
        return find_series(source, files, replace(config, images=("**",), patient="PatientID")), "PatientID"
