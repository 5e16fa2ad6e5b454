"""How the NIfTI files beside DICOM images are named, which are taken for masks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from npczarr.model.cohort import File
from npczarr.sources.config import SourceConfig
from npczarr.sources.group_series import FoundSeries
from npczarr.sources.name_parts import put_fields
from npczarr.sources.nifti_names import patterns_of
from npczarr.sources.toml_text import quoted

_NIFTI = re.compile(r"(?:(.*)/)?([^/]+?)\.nii(?:\.gz)?", re.IGNORECASE)
_PUBLISHED = "{patient}/ROI-{mask}.nii*"
_MOST_PATTERNS = 5


@dataclass(frozen=True, slots=True)
class ScoutedMasks:
    """Lines of the table [layout], and what the names of the files leave open."""

    lines: tuple[str, ...]
    doubts: tuple[str, ...] = ()


def scout_masks(found: FoundSeries, files: Sequence[File]) -> ScoutedMasks:
    """Write the patterns of NIfTI files beside DICOM series; the series are the images, as convert has it.

    Parameters
    ----------
    found
        The series, and the other files.
    files
        Every file of the source.
    """
    nifti = [match for file in found.others if (match := _NIFTI.fullmatch(file.path))]
    people = {one.patient for one in found.series} - {""}
    counts = Counter(_pattern(match, people, found.owner.depth) for match in nifti)
    untold = counts.pop("", 0)
    patterns = _few(counts)
    if not patterns:
        lines = [f"masks = {quoted(_PUBLISHED)}  # how files of masks are named, if there are any"]
    else:
        lines = [f"masks = [{', '.join(map(quoted, patterns))}]  # one that names no sequence is of each"]
    images = patterns_of([file for file in found.others if _NIFTI.fullmatch(file.path)])
    doubts = []
    if images is not None:
        doubts.append(
            f"{len(nifti)} NIfTI files are beside DICOM images: they are taken for masks, and the DICOM series for the "
            "images. If they are images too, read them alone, by the lines in [layout] that begin with #"
        )
        lines.append(f"# images = [{', '.join(map(quoted, images.images))}]")
        lines.append(f"# masks = [{', '.join(map(quoted, images.masks))}]")
    if any("{mask}" not in pattern for pattern in patterns):
        doubts.append(
            "names of NIfTI files tell no sequence, so each is taken for a mask of every sequence of its patient; if "
            "it is of one, put {mask} into the pattern, and how the masks call the sequence into [sequences]"
        )
    if untold:
        doubts.append(f"{untold} NIfTI files are in no folder of a patient, and no patient is in their names")
    return ScoutedMasks(tuple(lines), tuple(doubts))


def _pattern(nifti: re.Match[str], people: Collection[str], depth: int) -> str:
    """Pattern of a file: what its path has beside the patient and the sequence; "" where it names no patient."""
    folders = nifti[1].split("/") if nifti[1] else []
    called = {name for rule in SourceConfig().sequences for name in (rule.name, rule.mask)}
    name = put_fields(_plain(nifti[2]), people, called).replace("{sequence}", "{mask}")
    if len(folders) > depth and folders[depth] in people:
        inner = [_plain(folder) for folder in folders[depth + 1 :]]
        return "/".join(["{patient}", *inner, f"{name.replace('{patient}', '*')}.nii*"])
    if "{patient}" in name:
        return "/".join([*(_plain(folder) for folder in folders[-1:]), f"{name}.nii*"])
    return ""


def _few(counts: Counter[str]) -> list[str]:
    """Choose the most frequent patterns; where there are many, the names in a folder are any."""
    if len(counts) > _MOST_PATTERNS:
        merged: Counter[str] = Counter()
        for pattern, count in counts.items():
            folder, _, name = pattern.rpartition("/")
            merged[f"{folder}/*.nii*" if "{patient}" in folder and "{mask}" not in name else pattern] += count
        counts = merged
    often = [pattern for pattern, _ in counts.most_common(_MOST_PATTERNS)]
    return sorted(often, key=lambda pattern: -pattern.count("/"))  # a short one fits the deeper paths too


def _plain(name: str) -> str:
    """Write a name so that nothing in it is a field of a pattern."""
    return re.sub(r"[{}*]", "*", name)
