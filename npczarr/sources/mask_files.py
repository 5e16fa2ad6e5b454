"""Masks without images, of the scans that a store holds: predictions, and masks that were edited elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from npczarr.errors import SourceError
from npczarr.model.cohort import File, ScanFiles
from npczarr.sources.config import SequenceRule, SourceConfig
from npczarr.sources.discover import sort_files
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
    """

    scans: dict[Key, ScanFiles]
    unnamed: dict[str, Key]


def sort_masks(files: Sequence[File], config: SourceConfig, sequences: Sequence[str]) -> MaskFiles:
    """Sort masks by the names of a store's sequences.

    Parameters
    ----------
    files
        All files of the folder.
    config
        Its layout. Where it names no sequences, those of the store are called as in an export: ``ROI-T1`` for T1WI as
        published, else ``ROI-<sequence>``.
    sequences
        Labels of the store.
    """
    published = {rule.name: rule for rule in SourceConfig().sequences}
    if config.sequences in ((), SourceConfig().sequences):
        rules = tuple(published.get(name, SequenceRule(name, name, name)) for name in sequences)
        config = replace(config, sequences=rules)
    found = sort_files(files, config)
    scans = {key: scan for key, scan in found.scans.items() if scan.masks}
    return MaskFiles(scans, _unnamed(found.strays, config))


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
