"""How NIfTI files are named: the patterns of a layout, read off the names themselves."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from npczarr.model.cohort import File
from npczarr.sources.labels import natural, visible_files
from npczarr.sources.name_parts import Parted, part_names, put_fields

_NIFTI = re.compile(r"(.*/)?([^/]+?)(\.nii(?:\.gz)?)", re.IGNORECASE)
_MASK = re.compile(
    r"(^|[_\-. ])((seg(mentation)?s?|masks?|rois?|labels?)(tr|ts)?|gtv\w*|tumou?rs?|lesions?|gt|ground[_\-. ]?truth|"
    r"annot\w*|delineat\w*|contours?|outlines?)([_\-. ]|$)",
    re.IGNORECASE,
)
#: Folders that hold files of all patients, or those of one part of a challenge, such as ``imagesTr`` and ``imagesTs``.
_SHARED = re.compile(
    r"(images?|imgs?|volumes?|scans?|data|niftis?)?[_-]?(tr|ts|va|train(ing)?|test(ing)?|val(idation)?)?", re.IGNORECASE
)
_SEQUENCE = re.compile(
    r"(ce|gd|km|pre|post)?[-_ ]*(t[12]|flair|dwi|adc|pdw?|stir|swi|dce|ct|cta|pet|pt|suv|mri?)[-_ ]*"
    r"(w|wi|c|ce|gd|km|fs|post|\+c|\d+)?",
    re.IGNORECASE,
)
_MOST_MASKS = 5


@dataclass(frozen=True, slots=True)
class NamePatterns:
    """What a TOML file says of NIfTI files.

    Parameters
    ----------
    images, masks
        Patterns; `masks` is empty where none were seen.
    sequences
        What ``{sequence}`` stands for, where it must be said, as it shares a name with ``{patient}``.
    doubts
        What the names leave open.
    """

    images: tuple[str, ...]
    masks: tuple[str, ...]
    sequences: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Name:
    place: str
    stem: str
    ending: str

    @property
    def folder(self) -> str:
        return self.place.rpartition("/")[2]

    @property
    def parent(self) -> str:
        return self.place.rpartition("/")[0]


def patterns_of(files: Sequence[File]) -> NamePatterns | None:
    """Find the patterns of NIfTI files; None where there are none.

    Known are a folder for each patient, whose name may begin the names of the files; a folder for each sequence; and
    files of all patients in one folder, or in those of a challenge (``imagesTr``, ``imagesTs``), whose names may end in
    the sequence or in the number of a channel, as nnU-Net has them. Masks are beside the images or in folders of
    theirs, and their names hold those of the images.
    """
    visible, _ = visible_files(files)
    found = [_Name((match[1] or "")[:-1], match[2], match[3].lower()) for match in map(_matched, visible) if match]
    images, masks = _split(found)
    if not images:
        return None
    folders = {one.folder for one in images}
    if {one.folder for one in images if _SHARED.fullmatch(one.folder)} == folders:
        parents = {one.parent for one in images}
        below_patients = len(folders) == 1 and len(parents) > 1
        return _in_folders_of_patients(images, masks) if below_patients else _of_all_patients(images, masks)
    if len(folders) > 1 and all(_SEQUENCE.fullmatch(folder) for folder in folders):
        return _in_folders_of_sequences(images, masks)
    in_one = len({one.place for one in images}) == 1 and len(images) > 1
    if in_one and not all(_SEQUENCE.fullmatch(one.stem) for one in images):
        return _of_all_patients(images, masks)
    return _in_folders_of_patients(images, masks)


def _split(names: Sequence[_Name]) -> tuple[list[_Name], list[_Name]]:
    """Split names into those of images and those of masks, which are called so, or are in a folder that is.

    Where that leaves nothing, patients are called after the tumor: the names of files decide, or those of folders, if
    they tell masks from others.
    """
    images = [one for one in names if not (_MASK.search(one.stem) or _MASK.search(one.folder))]
    for told in ("stem", "folder"):
        if not images:
            images = [one for one in names if not _MASK.search(getattr(one, told))]
            images = images if len(images) < len(names) else []
    taken = {*images}
    return images, [one for one in names if one not in taken]


def _matched(file: File) -> re.Match[str] | None:
    return _NIFTI.fullmatch(file.path)


def _ending(names: Iterable[_Name]) -> str:
    endings = {one.ending for one in names} or {""}
    return endings.pop() if len(endings) == 1 else ".nii*"


def _of_all_patients(images: Sequence[_Name], masks: Sequence[_Name]) -> NamePatterns:
    """Patterns of files of all patients in one folder, or in few."""
    parted = part_names([one.stem for one in images], [one.stem for one in masks])
    name = f"{{patient}}{parted.between}{{sequence}}" if parted.sequences else "{patient}"
    ending = _ending(images)
    folders = sorted({one.folder for one in images})
    patterns = tuple(f"{folder}/{name}{ending}".lstrip("/") for folder in folders)
    found = NamePatterns(patterns, (), parted.sequences, parted.doubts)
    return _with_masks(found, masks, parted)


def _in_folders_of_sequences(images: Sequence[_Name], masks: Sequence[_Name]) -> NamePatterns:
    """Patterns of a folder for each sequence, with a file for each patient."""
    patients = {one.stem for one in images}
    sequences = tuple(sorted({one.folder for one in images}, key=natural))
    parted = Parted(frozenset(patients), sequences)
    alone = _alone([one.stem for one in images])
    doubts = (
        (f"{alone} of {len(patients)} names of files are in one folder only: are these the patients?",)
        if alone > len(patients) / 2
        else ()
    )
    found = NamePatterns((f"{{sequence}}/{{patient}}{_ending(images)}",), (), sequences, doubts)
    return _with_masks(found, masks, parted)


def _in_folders_of_patients(images: Sequence[_Name], masks: Sequence[_Name]) -> NamePatterns:
    """Patterns of a folder for each patient, perhaps with one for images in it."""
    inner = ""
    if all(_SHARED.fullmatch(one.folder) for one in images) and len({one.folder for one in images}) == 1:
        inner = f"/{images[0].folder}"
        images = [replace(one, place=one.parent) for one in images]
    begins = [sep for sep in "_-" if all(one.stem.startswith(one.folder + sep) for one in images)]
    before = "{patient}" + begins[0] if begins else ""
    cut = [one.stem[len(one.folder) + 1 :] if begins else one.stem for one in images]
    parted = Parted(frozenset(one.folder for one in images), tuple(sorted(set(cut), key=natural)))
    found = NamePatterns((f"{{patient}}{inner}/{before}{{sequence}}{_ending(images)}",), ())
    return _with_masks(replace(found, doubts=_few_shared(images, cut)), masks, parted)


def _few_shared(images: Sequence[_Name], sequences: Sequence[str]) -> tuple[str, ...]:
    """Say where names of files are hardly those of sequences: most are of one folder only."""
    alone, kinds = _alone(sequences), len({*sequences})
    if len({one.folder for one in images}) < 2 or alone <= kinds / 2:
        return ()
    return (
        f"{alone} of {kinds} names of files are in one folder only: are the folders the patients, and the files the "
        "sequences?",
    )


def _alone(names: Sequence[str]) -> int:
    """Count the names that are there once."""
    return sum(count == 1 for count in Counter(names).values())


def _with_masks(found: NamePatterns, masks: Sequence[_Name], parted: Parted) -> NamePatterns:
    """Add the patterns of masks: what their paths have beside the names of patients and sequences."""
    patterns: Counter[str] = Counter()
    untold, ending = 0, _ending(masks)
    for mask in masks:
        above = _mask_folder(mask, parted)
        name = put_fields(mask.stem, parted.patients, parted.sequences)
        if "{patient}" in f"{above}/{name}":
            patterns[f"{above}/{name}{ending}".lstrip("/")] += 1
        else:
            untold += 1
    often = [pattern for pattern, _ in patterns.most_common()]
    doubts = list(found.doubts)
    if untold:
        doubts.append(f"names of {untold} files that may be masks hold no name of a patient")
    if len(often) > _MOST_MASKS:
        doubts.append(f"files that may be masks are named in {len(often)} ways, of which {_MOST_MASKS} are here")
    return replace(found, masks=tuple(sorted(often[:_MOST_MASKS])), doubts=tuple(doubts))


def _mask_folder(mask: _Name, parted: Parted) -> str:
    """Pattern of the folder of a mask, with that above it where this is the patient's."""
    here, above = (_folder_fields(folder, parted) for folder in (mask.folder, mask.parent.rpartition("/")[2]))
    return f"{above}/{here}" if above == "{patient}" and here != "{patient}" else here


def _folder_fields(folder: str, parted: Parted) -> str:
    patients: Collection[str] = parted.patients if folder in parted.patients else ()
    return put_fields(folder, patients, parted.sequences)
