"""Masks without images, of the scans that a store holds: predictions, and masks that were edited elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from npczarr.errors import SourceError
from npczarr.model.cohort import File, ScanFiles
from npczarr.sources.config import SequenceRule, SourceConfig
from npczarr.sources.discover import OF_NO_SEQUENCE, sort_files
from npczarr.sources.patterns import path_regex

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """Masks by the scan that they are of.

    Parameters
    ----------
    scans
        Files by (patient, sequence).
    unnamed
        Patient, and what the name says of the sequence, by path: masks whose names stand for no sequence of the store.
    of_nobody
        Patient by path: masks whose names tell no sequence, of patients of whom the store has no scan.
    """

    scans: dict[Key, ScanFiles]
    unnamed: dict[str, Key]
    of_nobody: dict[str, str]


def sort_masks(
    files: Sequence[File], config: SourceConfig, sequences: Sequence[str], stored: Collection[Key]
) -> MaskFiles:
    """Sort masks by the names of a store's sequences; one whose name tells none is of each scan of its patient.

    Parameters
    ----------
    files
        All files of the folder.
    config
        Its layout. Where it names no sequences, those of the store are called as in an export: ``ROI-T1`` for T1WI as
        published, else ``ROI-<sequence>``.
    sequences
        Labels of the store.
    stored
        Patient and sequence of the scans that the store has images of.
    """
    published = {rule.name: rule for rule in SourceConfig().sequences}
    if config.sequences in ((), SourceConfig().sequences):
        rules = tuple(published.get(name, SequenceRule(name, name, name)) for name in sequences)
        config = replace(config, sequences=rules)
    found = sort_files(files, config, stored)
    scans = {key: scan for key, scan in found.scans.items() if scan.masks}
    alone = {OF_NO_SEQUENCE} - {rule.name for rule in config.sequences}
    of_nobody = {file.path: key[0] for key, scan in scans.items() if key[1] in alone for file in scan.masks}
    scans = {key: scan for key, scan in scans.items() if key[1] not in alone}
    return MaskFiles(scans, _unnamed(found.strays, config), of_nobody)


def _unnamed(files: Sequence[File], config: SourceConfig) -> dict[str, Key]:
    """Find the files that would be masks, were their names those of a sequence."""
    try:
        open_rules = replace(config, sequences=())
        scans = sort_files([file for file in files if _is_mask(file, config)], open_rules).scans
    except SourceError:  # patients in several places: nothing of them is a mask of this store
        return {}
    return {file.path: key for key, scan in scans.items() for file in scan.masks}


def _is_mask(file: File, config: SourceConfig) -> bool:
    return any(path_regex(pattern, {}).fullmatch(file.path) for pattern in config.masks)
