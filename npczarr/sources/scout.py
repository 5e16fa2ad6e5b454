"""A look at a source before it is converted: what there is, what it is taken for and why, as a TOML file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from npczarr.errors import SourceError
from npczarr.model.alike import told_as_one
from npczarr.model.cohort import Cohort, File, subject_of
from npczarr.model.progress import Meter, OnProgress
from npczarr.model.visit_order import order_visits
from npczarr.sources.bids import sort_bids
from npczarr.sources.config import SequenceRule, SourceConfig
from npczarr.sources.discover import sort_files
from npczarr.sources.file_kinds import describe_kinds, group_strays
from npczarr.sources.files import Source, open_source
from npczarr.sources.group_series import FoundSeries, Series, by_headers, choose_series_of, find_series
from npczarr.sources.labels import visible_files
from npczarr.sources.named_labels import is_named, remarks_on_names
from npczarr.sources.rater_files import sort_raters
from npczarr.sources.scout_nifti import scout_nifti
from npczarr.sources.toml_text import quoted

_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_VISITS = "{patient}/{session}/{sequence}/**"
_MOST_LINES = 40
_LONGEST = 60


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
        What to look at before anything is converted, such as labels that are names of persons.
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

    Nothing is converted. Of DICOM files the headers are read, of other layouts only the names.

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
        if visits := _of_visits(files):
            return visits
        raise
    for layout, cohort in (
        ("raters", raters),
        ("published", published),
        ("BIDS", sort_bids(files, config)),
    ):
        if cohort is not None and cohort.has_images:
            return _known_layout(layout, cohort)
    return _of_nifti(files) or _by_headers(opened, files, on_progress)


def _of_visits(files: Sequence[File]) -> Scouted | None:
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
    ]
    text = "\n".join(lines) + "\n"
    return _with_remarks(Scouted("visits", len(cohort.patients), sum(counts.values()), text), cohort.patients)


def _with_remarks(found: Scouted, patients: Collection[str], named: Collection[str] = ()) -> Scouted:
    """Say where labels of patients are names of persons; `named` are those that headers have."""
    remarks = remarks_on_names(patients, named)
    return replace(found, toml="".join(f"# NOTE: {one}\n" for one in remarks) + found.toml, remarks=tuple(remarks))


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


def _of_nifti(files: Sequence[File]) -> Scouted | None:
    """Describe NIfTI files by the patterns of their names; None where there are none."""
    found = scout_nifti(files)
    if found is None:
        return None
    return _with_remarks(Scouted("NIfTI", len(found.patients), found.scans, found.toml, found.remarks), found.patients)


def _known_layout(layout: str, cohort: Cohort) -> Scouted:
    """Describe a layout that needs no configuration."""
    named = {"raters": "masks of several raters", "published": "laid out as the published cohort"}
    counts = Counter(sequence for _, sequence in cohort.scans)
    lines = [
        f"# This source is {named.get(layout, 'a BIDS dataset')}: npczarr convert SOURCE STORE needs no configuration.",
        f"# {len(cohort.patients)} patients" + (" (rows of the store; one each visit)" if cohort.visits else "") + ":",
        *(f"#   {sequence}: {count} scans" for sequence, count in counts.items()),
        *(f"# not taken: {line}" for line in cohort.not_taken),
        *(f"# belongs to no scan, {line}" for line in group_strays([file.path for file in cohort.strays])),
    ]
    if layout == "BIDS":
        lines += ["#", "# To choose sequences and to name them otherwise:", "# [sequences]"]
        lines += [f"# {quoted(name)} = {{ folder = {quoted(name)} }}" for name in counts]
    found = Scouted(layout, len(cohort.patients), len(cohort.scans), "\n".join(lines) + "\n", cohort.not_taken)
    return _with_remarks(found, cohort.patients)


def _by_headers(source: Source, files: Sequence[File], on_progress: OnProgress | None) -> Scouted:
    config = by_headers(SourceConfig())
    meter: list[Meter] = []

    def count(done: int, total: int) -> None:
        if not meter:
            meter.append(Meter(on_progress, total, "files", {}))
        meter[0].add(counts={})

    try:
        found = find_series(source, files, config, on_file=count)
        patient = ""
    except SourceError as error:
        if "PatientID" not in str(error):
            raise
        patient = "PatientID"
        found = find_series(source, files, replace(config, images=("**",), patient=patient))
    if not found.series:
        visible, _ = visible_files(files)
        raise SourceError(
            f"{source.shown}: no DICOM series, no BIDS dataset, no cohort in the published layout and no folders with "
            f"NIfTI images; there are {describe_kinds(visible)}"
        )
    taken, not_taken = choose_series_of(found.series)
    text = _toml(found, taken, not_taken, patient)
    patients = {one.patient for one in taken}
    named = {one.patient for one in taken if is_named(subject_of(one.patient), one.group.header)}
    return _with_remarks(Scouted("headers", len(patients), len(taken), text, tuple(not_taken)), patients, named)


def _toml(found: FoundSeries, taken: Sequence[Series], not_taken: Sequence[str], patient: str) -> str:
    """Write the configuration, with what each series was taken for in comments."""
    people = {one.patient for one in found.series} - {""}
    lines = [
        "# Written by `npczarr scout`: correct it, then npczarr convert SOURCE STORE --config THIS_FILE",
        f"# {len(found.series)} series of {len(people)} patients; {len(taken)} would be taken.",
        "# Descriptions are from the headers of the images: read them before you give this file away.",
        "",
        "[layout]",
    ]
    lines += _owner_lines(found, patient)
    lines += [
        f"masks = {quoted('{patient}/ROI-{mask}.nii*')}  # how files of masks are named, if there are any",
        "",
        "# Conditions on header fields say which series is which, such as",
        '#   T1WI = { where = { SeriesDescription = "*t1*", EchoTime = "<30", ImageType = "!DERIVED" } }',
        "# T1WI, T2WI and CE-T1WI without conditions are found by built-in rules.",
        "[sequences]",
    ]
    for rule in SourceConfig().sequences:
        count = sum(one.sequence == rule.name for one in taken)
        line = f"{rule.name} = {{ mask = {quoted(rule.mask)} }}"
        lines.append(f"{line}  # {count} scans" if count else f"# {line}  # none was found")
    if not taken:
        lines.append('# SEQUENCE = { where = { SeriesDescription = "*…*" } }')
    lines += ["", "# Taken, by kind:", *_kinds([one for one in found.series if one in taken])]
    reasons = [f"#   {_one_line(line, 400)}" for line in not_taken[:_MOST_LINES]]
    lines += ["", "# Not taken:", *(reasons or ["#   none"])]
    lines += ["", "# Not taken, by kind:", *_kinds([one for one in found.series if one not in taken])]
    lines += ["", "# Other files:", *(f"#   {line}" for line in group_strays([file.path for file in found.others]))]
    return "\n".join(lines) + "\n"


def _owner_lines(found: FoundSeries, patient: str) -> list[str]:
    """Say how patients are told apart."""
    if not patient:
        return [f"images = {quoted(_pattern(found))}"]
    return [
        "# Folders do not tell patients apart. This header field names them, and its values become the labels of",
        "# the store: they must not identify a person.",
        f'patient = "{patient}"',
    ]


def _pattern(found: FoundSeries) -> str:
    """Write the pattern of the patients' folders: those above them are spelled out."""
    path = found.series[0].group.files[0].path.split("/")
    above = [re.sub(r"[{}*]", "*", folder) for folder in path[: found.owner.depth]]
    return "/".join([*above, "{patient}/**"])


def _kinds(series: Sequence[Series]) -> list[str]:
    """List series that look alike on one line: what they are taken for, why, and how they describe themselves."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for one in series:
        described = re.sub(r"^\d+ slices of \d+ x \d+(, )?", "", one.described)
        why = (f", {described}" if described else "") + f" ({_one_line(one.reason, 200)})"
        kinds.setdefault((one.sequence or "-", one.description), []).append(why)
    every = ((n, *kind, why) for kind, whys in kinds.items() for n, why in told_as_one(whys))
    counted = sorted(every, key=lambda line: -line[0])
    lines = [
        f"#   {n} x {sequence}: {quoted(_one_line(description, _LONGEST))}{why}"
        for n, sequence, description, why in counted[:_MOST_LINES]
    ]
    more = len(counted) - _MOST_LINES
    return [*lines, *([f"#   and {more} more kinds"] if more > 0 else [])] or ["#   none"]


def _one_line(text: str, longest: int) -> str:
    shown = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
