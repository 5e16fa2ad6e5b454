"""Which files of a source make up which scan."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from npczarr.errors import SourceError
from npczarr.model.cohort import Cohort, File, ScanFiles
from npczarr.sources.config import SequenceRule, SourceConfig, path_regex
from npczarr.sources.files import Source
from npczarr.sources.structure_files import assign_structures, of_patient

LONGEST_PATH, DEEPEST_PATH = 1000, 40
IGNORED = re.compile(r"(^|/)(__MACOSX/|\.|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)


def discover(source: Source, config: SourceConfig) -> Cohort:
    """Sort the files of ``source`` into scans, masks, tables and strays.

    Raises
    ------
    SourceError
        If no file matches the patterns; the message says which were tried and how to give others.
    """
    files = source.files()
    cohort = sort_raters(files, config) or sort_files(files, config)
    if not cohort.patients:
        if any(file.path == "zarr.json" for file in files):
            raise SourceError(f"{source.shown}: a Zarr store, expected the DICOM files and masks that one is made from")
        folders = ", ".join(rule.folder for rule in config.sequences) or "any name"
        raise SourceError(
            f"{source.shown}: no scan found. Looked below every folder for {config.images} ({{sequence}}: {folders}) "
            f"and {' or '.join(config.masks)}, and for masks of two raters in {' or '.join(config.raters)}; "
            "if the cohort is laid out otherwise, describe it in a TOML file (--config)"
        )
    return cohort


def sort_files(files: Sequence[File], config: SourceConfig) -> Cohort:
    """Sort a list of files; hidden files and what macOS leaves in archives are left out."""
    files, strays = _visible(files)
    by_folder = {rule.folder.lower(): rule for rule in config.sequences}
    by_mask = {rule.mask.lower(): rule for rule in config.sequences}
    image_pattern = path_regex(config.images, _alternatives("sequence", by_folder))
    mask_patterns = [
        path_regex(pattern, _alternatives("mask", by_mask) | _alternatives("sequence", by_folder))
        for pattern in config.masks
        if not of_patient(pattern, config)
    ]
    table_patterns = [path_regex(pattern, {}) for pattern in config.tables]

    images: dict[tuple[str, str], list[File]] = {}
    masks: dict[tuple[str, str], list[File]] = {}
    tables: list[File] = []
    homes: dict[str, str] = {}
    for file in files:
        if match := image_pattern.fullmatch(file.path):
            images.setdefault(_labels(match, by_folder, by_mask, homes), []).append(file)
        elif match := next((m for p in mask_patterns if (m := p.fullmatch(file.path))), None):
            masks.setdefault(_labels(match, by_folder, by_mask, homes), []).append(file)
        elif any(pattern.fullmatch(file.path) for pattern in table_patterns):
            tables.append(file)
        else:
            strays.append(file)

    keys = images.keys() | masks.keys()
    named = tuple(rule.name for rule in config.sequences)
    where = {rule.name: rule.where for rule in config.sequences}
    cohort = Cohort(
        patients=tuple(sorted({patient for patient, _ in keys}, key=_natural)),
        sequences=named or tuple(sorted({sequence for _, sequence in keys}, key=_natural)),
        scans={
            key: ScanFiles(*key, tuple(images.get(key, ())), tuple(masks.get(key, ())), where=where.get(key[1], ()))
            for key in sorted(keys)
        },
        tables=tuple(tables),
        strays=tuple(strays),
    )
    return assign_structures(cohort, config)


def sort_raters(files: Sequence[File], config: SourceConfig) -> Cohort | None:
    """Sort the files of a cohort of raters; None where there are images, or not two raters."""
    files, strays = _visible(files)
    images = path_regex(config.images, _alternatives("sequence", {r.folder.lower(): r for r in config.sequences}))
    if any(images.fullmatch(file.path) for file in files):
        return None
    tokens = {rule.folder.lower(): rule for rule in config.sequences} | {r.mask.lower(): r for r in config.sequences}
    groups = _alternatives("mask", tokens) | _alternatives("sequence", tokens) | {"slice": r"\d+"}
    patterns = [path_regex(pattern, groups) for pattern in config.raters]
    found: dict[tuple[str, str], dict[str, list[File]]] = {}
    for file in files:
        match = next((m for pattern in patterns if (m := pattern.fullmatch(file.path))), None)
        if match is None:
            strays.append(file)
            continue
        groups_of = match.groupdict()
        token = groups_of.get("mask") or groups_of.get("sequence") or "mask"
        sequence = tokens[token.lower()].name if token.lower() in tokens else token
        found.setdefault((groups_of["patient"], sequence), {}).setdefault(groups_of["rater"], []).append(file)
    raters = tuple(sorted({rater for by_rater in found.values() for rater in by_rater}, key=_natural))
    if len(raters) < 2:
        return None
    named = tuple(rule.name for rule in config.sequences)
    return Cohort(
        patients=tuple(sorted({patient for patient, _ in found}, key=_natural)),
        sequences=tuple(s for s in named if any(s == key[1] for key in found))
        or tuple(sorted({sequence for _, sequence in found}, key=_natural)),
        scans={key: replace(_rated_files(key, files), labels=config.labels) for key, files in sorted(found.items())},
        strays=tuple(strays),
        raters=raters,
    )


def _rated_files(key: tuple[str, str], by_rater: dict[str, list[File]]) -> ScanFiles:
    masks: list[File] = []
    raters: list[str] = []
    for rater, files in sorted(by_rater.items()):
        outlines = [file for file in files if "_mask." in file.name.lower()]  # beside them lie the images
        masks += outlines or files
        raters += [rater] * len(outlines or files)
    return ScanFiles(*key, masks=tuple(masks), raters=tuple(raters))


def _visible(files: Sequence[File]) -> tuple[list[File], list[File]]:
    """Tell files to be sorted from those whose path is not a plain one; hidden ones are in neither."""
    plain, odd = [], []
    for file in files:
        if not _is_plain(file.path):
            odd.append(file)
        elif not IGNORED.search(file.path):
            plain.append(file)
    return plain, odd


def _is_plain(path: str) -> bool:
    """Whether a path names a place below the root, at a bearable length: matching takes its cube in the worst case."""
    parts = path.split("/")
    return len(path) <= LONGEST_PATH and len(parts) <= DEEPEST_PATH and "" not in parts and ".." not in parts


def _alternatives(group: str, rules: dict[str, SequenceRule]) -> dict[str, str]:
    return {group: "|".join(re.escape(token) for token in sorted(rules, key=len, reverse=True))} if rules else {}


def _labels(
    match: re.Match[str], by_folder: dict[str, SequenceRule], by_mask: dict[str, SequenceRule], homes: dict[str, str]
) -> tuple[str, str]:
    found = match.groupdict()
    here = found["below"]
    home = homes.setdefault(found["patient"], here)
    if home != here:
        raise SourceError(
            f"patient {found['patient']} is in two places, below {home or './'} and {here or './'}: two "
            "cohorts, or two copies of one; point at one of them"
        )
    token = found.get("sequence") or found.get("mask") or "image"
    rule = by_folder.get(token.lower()) if found.get("sequence") else by_mask.get(token.lower())
    return found["patient"], rule.name if rule else token


def _natural(label: str) -> list[tuple[int, int | str]]:
    """Sort key by which "9" comes before "10"."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", label) if part]
