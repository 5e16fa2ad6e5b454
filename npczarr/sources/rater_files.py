"""Which files of a source are the masks of which rater."""

from __future__ import annotations

import re
from collections.abc import Sequence

from npczarr.errors import SourceError
from npczarr.model.cohort import Cohort, File, ScanFiles, Visit
from npczarr.sources.config import SourceConfig
from npczarr.sources.labels import Tokens, natural, visible_files
from npczarr.sources.patterns import path_regex

Key = tuple[str, str]


def sort_raters(files: Sequence[File], config: SourceConfig) -> Cohort | None:
    """Sort the files of a cohort of raters; None where there are images, or not two raters."""
    visible, strays = visible_files(files)
    if not _speaks_of_raters_only(config) and _has_images(visible, config):
        return None
    found, visits, unknown = _by_rater(visible, config)
    strays += unknown
    raters = tuple(sorted({rater for by_rater in found.values() for rater in by_rater}, key=natural))
    if len(raters) < 2:
        return None
    there = {sequence for _, sequence in found}
    named = tuple(rule.name for rule in config.sequences if rule.name in there)
    return Cohort(
        patients=tuple(sorted({patient for patient, _ in found}, key=natural)),
        sequences=named or tuple(sorted(there, key=natural)),
        scans={key: _rated_files(key, by_rater) for key, by_rater in sorted(found.items())},
        strays=tuple(strays),
        raters=raters,
        visits=visits if any(visit.session for visit in visits.values()) else {},
    )


def _speaks_of_raters_only(config: SourceConfig) -> bool:
    """Whether a configuration says where masks of raters are, and nothing of images: those nearby are not meant."""
    usual = SourceConfig()
    return config.raters != usual.raters and config.images == usual.images


def _has_images(files: Sequence[File], config: SourceConfig) -> bool:
    groups = Tokens((rule.folder, rule.name) for rule in config.sequences).group("sequence")
    patterns = [path_regex(pattern, groups) for pattern in config.images]
    return any(pattern.fullmatch(file.path) for file in files for pattern in patterns)


def _by_rater(
    files: Sequence[File], config: SourceConfig
) -> tuple[dict[Key, dict[str, list[File]]], dict[str, Visit], list[File]]:
    """Sort masks by patient and sequence, then by rater; with the visits by label, and the files that are none."""
    tokens = Tokens((called, rule.name) for rule in config.sequences for called in (rule.folder, rule.mask))
    groups = tokens.group("mask") | tokens.group("sequence") | {"slice": r"\d+"}
    patterns = [path_regex(pattern, groups) for pattern in config.raters]
    found: dict[Key, dict[str, list[File]]] = {}
    visits: dict[str, Visit] = {}
    strays = []
    for file in files:
        match = next((m for pattern in patterns if (m := pattern.fullmatch(file.path))), None)
        if match is None:
            strays.append(file)
            continue
        named = match.groupdict()
        sequence = tokens.name(named.get("mask") or named.get("sequence") or "mask")
        visit = Visit(named["patient"], re.sub("^ses-", "", named.get("session") or ""))
        if visits.setdefault(visit.label, visit) != visit:
            raise SourceError(f"two patients would be called {visit.label} in the store; rename one of the folders")
        found.setdefault((visit.label, sequence), {}).setdefault(named["rater"], []).append(file)
    return found, visits, strays


def _rated_files(key: Key, by_rater: dict[str, list[File]]) -> ScanFiles:
    masks: list[File] = []
    raters: list[str] = []
    for rater, files in sorted(by_rater.items()):
        outlines = [file for file in files if "_mask." in file.name.lower()]  # the images are beside them
        masks += outlines or files
        raters += [rater] * len(outlines or files)
    return ScanFiles(*key, masks=tuple(masks), raters=tuple(raters))
