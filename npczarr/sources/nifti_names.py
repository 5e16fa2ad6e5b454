"""How NIfTI files are named: the patterns of a layout, read off the names themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from npczarr.model.cohort import File
from npczarr.sources.labels import visible_files

_NIFTI = re.compile(r"(.*/)?([^/]+?)(\.nii(?:\.gz)?)", re.IGNORECASE)
_MASK = re.compile(
    r"(^|[_\-. ])(seg(mentation)?s?|masks?|rois?|labels?(tr|ts)?|gtv\w*|tumou?rs?|lesions?)([_\-. ]|$)", re.IGNORECASE
)
_CHANNEL = re.compile(r"(.+)_(\d{4})")  # as nnU-Net numbers them


@dataclass(frozen=True, slots=True)
class NamePatterns:
    """Patterns for images and masks, as a TOML file has them; `masks` is empty where none were seen."""

    images: str
    masks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Name:
    folder: str
    stem: str
    ending: str

    @property
    def is_mask(self) -> bool:
        return bool(_MASK.search(self.stem) or _MASK.search(self.folder))


def patterns_of(files: Sequence[File]) -> NamePatterns | None:
    """Find the patterns of NIfTI files in folders; None where there are none, or no pattern shows.

    Known are a folder for each patient, whose name may begin the names of the files; and a folder of images beside one
    of masks, with a file for each patient, or for each of its channels as nnU-Net numbers them.
    """
    visible, _ = visible_files(files)
    found = [_name(match) for file in visible if (match := _NIFTI.fullmatch(file.path)) and match[1]]
    images, masks = ([one for one in found if one.is_mask is wanted] for wanted in (False, True))
    if not images:
        return None
    ending = _ending(found)
    if len({one.folder for one in images}) == 1 and len(images) > 1:
        return _in_one_folder(images, masks, ending)
    begins = [sep for sep in "_-" if all(one.stem.startswith(one.folder + sep) for one in images)]
    sequence = "{patient}" + begins[0] + "{sequence}" if begins else "{sequence}"
    return NamePatterns(f"{{patient}}/{sequence}{ending}", _in_patient_folders(masks, ending))


def _name(match: re.Match[str]) -> _Name:
    return _Name(match[1].rstrip("/").rpartition("/")[2], match[2], match[3].lower())


def _ending(names: Sequence[_Name]) -> str:
    endings = {one.ending for one in names}
    return endings.pop() if len(endings) == 1 else ".nii*"


def _in_one_folder(images: Sequence[_Name], masks: Sequence[_Name], ending: str) -> NamePatterns:
    channels = all(_CHANNEL.fullmatch(one.stem) for one in images)
    name = "{patient}_{sequence}" if channels else "{patient}"
    folders = sorted({one.folder for one in masks} - {images[0].folder})
    return NamePatterns(
        f"{images[0].folder}/{name}{ending}", tuple(f"{folder}/{{patient}}{ending}" for folder in folders)
    )


def _in_patient_folders(masks: Sequence[_Name], ending: str) -> tuple[str, ...]:
    """Patterns of masks by what their names have in common."""
    stems = {re.sub(f"^{re.escape(one.folder)}(?=[_-])", "{patient}", one.stem) for one in masks}
    return tuple(f"{{patient}}/{stem}{ending}" for stem in sorted(stems)[:5])
