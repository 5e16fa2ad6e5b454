"""A look at NIfTI files before they are converted: the patterns of their names, and what these leave open."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from npczarr.errors import SourceError
from npczarr.model.cohort import Cohort, File
from npczarr.sources.config import SequenceRule, SourceConfig
from npczarr.sources.discover import sort_files
from npczarr.sources.file_kinds import group_strays
from npczarr.sources.files import Source
from npczarr.sources.nifti_names import NamePatterns, patterns_of
from npczarr.sources.other_formats import remarks_on_formats
from npczarr.sources.scout_volumes import count_volumes
from npczarr.sources.toml_text import quoted

_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_MOST_LINES = 40


@dataclass(frozen=True, slots=True)
class ScoutedNifti:
    """Labels of patients, how many scans there would be, the configuration to start from, and what it leaves open."""

    patients: tuple[str, ...]
    scans: int
    toml: str
    remarks: tuple[str, ...]


def scout_nifti(files: Sequence[File], source: Source | None = None) -> ScoutedNifti | None:
    """Describe NIfTI files by the patterns of their names; None where there are none.

    Parameters
    ----------
    files
        Every file of the source.
    source
        Where to read the headers of images, which say how many volumes each holds; None if only names are known.
    """
    patterns = patterns_of(files)
    if patterns is None:
        return None
    cohort, failed = _sort(files, patterns)
    doubts = (*failed, *patterns.doubts, *_left_open(cohort, patterns))
    refused, notes = (0, []) if source is None else _of_several_volumes(source, cohort)
    notes += remarks_on_formats(cohort.strays)
    counts = Counter(sequence for (_, sequence), scan in cohort.scans.items() if scan.images)
    lines = [
        "# Written by `npczarr scout`: correct it, then npczarr convert SOURCE STORE --config THIS_FILE",
        f"# {len(cohort.patients)} patients by the names of NIfTI files:",
        *(f"#   {sequence}: {count} scans" for sequence, count in counts.most_common(_MOST_LINES)),
        *(f"# NOTE: {note}" for note in notes),
        *(f"# NOT SURE: {doubt}" for doubt in doubts[:_MOST_LINES]),
        "",
        "[layout]",
        f"images = {_listed(patterns.images)}",
        f"masks = {_listed(patterns.masks)}  # one that names no sequence is of each",
        "",
        *_sequence_lines(patterns, counts),
        "",
        *(f"# belongs to no scan, {line}" for line in group_strays([file.path for file in cohort.strays])),
    ]
    return ScoutedNifti(cohort.patients, counts.total() - refused, "\n".join(lines) + "\n", (*notes, *doubts))


def _of_several_volumes(source: Source, cohort: Cohort) -> tuple[int, list[str]]:
    """Count the images that hold several volumes, which are refused, and say so."""
    images = [file for scan in cohort.scans.values() for file in scan.images if _NIFTI.search(file.path)]
    volumes = count_volumes(source, images)
    several = {number: count for number, count in sorted(volumes.items()) if number > 1}
    if not several:
        return 0, []
    numbers = " or ".join(f"{number}" for number in several)
    refused = sum(several.values())
    return refused, [
        f"{refused} of {len(images)} images hold {numbers} volumes (channels or times); convert takes one volume each "
        "and refuses these: split each into a file for every channel, such as NAME_0000.nii.gz and NAME_0001.nii.gz, "
        "and scout again"
    ]


def _sort(files: Sequence[File], patterns: NamePatterns) -> tuple[Cohort, list[str]]:
    """Sort files by the patterns; where that is refused, say why."""
    rules = tuple(SequenceRule(name, name, name) for name in patterns.sequences)
    config = replace(SourceConfig(), images=patterns.images, masks=patterns.masks, sequences=rules)
    try:
        return sort_files(files, config), []
    except SourceError as error:
        return Cohort((), (), {}), [str(error)]


def _listed(patterns: Sequence[str]) -> str:
    return f"[{', '.join(quoted(pattern) for pattern in patterns)}]"


def _sequence_lines(patterns: NamePatterns, counts: Counter[str]) -> list[str]:
    if patterns.sequences:
        return [
            "[sequences]  # name in the store = how files call it",
            *(f"{quoted(name)} = {{ folder = {quoted(name)} }}" for name in patterns.sequences),
        ]
    return [
        "# [sequences]  # to choose among them, and to name them otherwise",
        *(f"# {quoted(name)} = {{ folder = {quoted(name)} }}" for name in sorted(counts)[:_MOST_LINES]),
    ]


def _left_open(cohort: Cohort, patterns: NamePatterns) -> Iterator[str]:
    """Say which files the patterns do not explain, or explain in a way that cannot be."""
    yield from cohort.guesses
    strays = sum(bool(_NIFTI.search(file.path)) for file in cohort.strays)
    if strays:
        yield f"{strays} NIfTI files belong to no scan"
    lone = sum(not scan.images for scan in cohort.scans.values())
    if lone:
        yield f"{lone} masks are of scans that are not there"
    for what, several in (
        ("images", sum(_count(scan.images) > 1 for scan in cohort.scans.values())),
        ("masks", sum(_count(scan.masks) > 1 for scan in cohort.scans.values())),
    ):
        if several:
            yield f"{several} scans have several {what}"
    if patterns.masks and not any(scan.masks for scan in cohort.scans.values()):
        yield "no mask is of any scan"


def _count(files: Sequence[File]) -> int:
    return sum(bool(_NIFTI.search(file.path)) for file in files)
