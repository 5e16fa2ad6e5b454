"""Which files of a source make up which scan."""

from __future__ import annotations

import re
from collections.abc import Sequence

from npczarr.errors import SourceError
from npczarr.model.cohort import Cohort, File, ScanFiles
from npczarr.sources.config import SequenceRule, SourceConfig, path_regex
from npczarr.sources.files import Source

IGNORED = re.compile(r"(^|/)(__MACOSX/|\.|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)


def discover(source: Source, config: SourceConfig) -> Cohort:
    """Sort the files of ``source`` into scans, masks, tables and strays.

    Raises
    ------
    SourceError
        If no file matches the patterns; the message says which were tried and how to give others.
    """
    cohort = sort_files(source.files(), config)
    if not cohort.patients:
        folders = ", ".join(rule.folder for rule in config.sequences) or "any name"
        raise SourceError(
            f"{source.url}: no scan found. Looked below every folder for {config.images} ({{sequence}}: {folders}) and "
            f"{' or '.join(config.masks)}; if the cohort is laid out otherwise, describe it in a TOML file (--config)"
        )
    return cohort


def sort_files(files: Sequence[File], config: SourceConfig) -> Cohort:
    """Sort a list of files; hidden files and what macOS leaves in archives are no strays, they are ignored."""
    by_folder = {rule.folder.lower(): rule for rule in config.sequences}
    by_mask = {rule.mask.lower(): rule for rule in config.sequences}
    image_pattern = path_regex(config.images, _alternatives("sequence", by_folder))
    mask_patterns = [
        path_regex(pattern, _alternatives("mask", by_mask) | _alternatives("sequence", by_folder))
        for pattern in config.masks
    ]
    table_patterns = [path_regex(pattern, {}) for pattern in config.tables]

    images: dict[tuple[str, str], list[File]] = {}
    masks: dict[tuple[str, str], list[File]] = {}
    tables: list[File] = []
    strays: list[File] = []
    homes: dict[str, str] = {}
    for file in files:
        if IGNORED.search(file.path):
            continue
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
    return Cohort(
        patients=tuple(sorted({patient for patient, _ in keys}, key=_natural)),
        sequences=named or tuple(sorted({sequence for _, sequence in keys}, key=_natural)),
        scans={key: ScanFiles(*key, tuple(images.get(key, ())), tuple(masks.get(key, ()))) for key in sorted(keys)},
        tables=tuple(tables),
        strays=tuple(strays),
    )


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
