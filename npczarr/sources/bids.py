"""Which files of a BIDS dataset make up which scan (bids-specification.readthedocs.io, version 1.10).

Images are ``sub-*/[ses-*/]anat/*.nii[.gz]``; what a name says beside subject and session is the sequence, such as
``T1w`` or ``acq-tse_T2w``. Sidecars are inherited from the folders above. Masks are files that end in ``_mask``,
``_dseg``, ``_roi`` or ``_seg``, most often below ``derivatives/``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from npczarr.errors import SourceError
from npczarr.model.cohort import Cohort, File, ScanFiles, Visit
from npczarr.sources.config import SequenceRule, SourceConfig
from npczarr.sources.labels import Tokens, natural, visible_files

Key = tuple[str, str]
_IMAGE = re.compile(
    r"(?P<above>(?:.*/)?)sub-(?P<subject>[^/_]+)/(?:ses-(?P<session>[^/_]+)/)?anat/"
    r"sub-(?P=subject)_(?:ses-(?P=session)_)?(?P<name>[^/]+)\.nii(?:\.gz)?"
)
_SIDECAR = re.compile(r"(?P<folder>(?:.*/)?)(?P<name>[^/]+)\.json")
_TABLE = re.compile(r"(.*/)?(participants|sub-[^/]+_sessions)\.tsv|(.*/)?phenotype/[^/]+\.tsv|(.*/)?[^/]+\.csv")
_MASKS = ("mask", "dseg", "roi", "seg")
#: Parts of a name that tell nothing of the sequence that a mask was drawn on.
_OF_MASKS = ("desc-", "label-", "space-", "hemi-", "res-", "den-")


@dataclass(frozen=True, slots=True)
class _Named:
    """A NIfTI file: whose it is, and what its name says."""

    file: File
    visit: Visit
    above: str
    name: str

    @property
    def suffix(self) -> str:
        return self.name.rpartition("_")[2]

    @property
    def is_image(self) -> bool:
        """Whether it is an image of the dataset itself, neither a mask nor something computed."""
        return self.suffix not in _MASKS and "derivatives/" not in self.above

    @property
    def parts(self) -> list[str]:
        return self.name.split("_")


def sort_bids(files: Sequence[File], config: SourceConfig) -> Cohort | None:
    """Sort the files of a BIDS dataset; None where there is no image of one.

    Parameters
    ----------
    files
        Every file of the source.
    config
        Its sequences, where they are not the default, say which names are taken, and how they are called in the store.

    Raises
    ------
    SourceError
        If a subject is in two datasets.
    """
    visible, odd = visible_files(files)
    named = [one for file in visible if (one := _named(file))]
    images = [one for one in named if one.is_image]
    if not images:
        return None
    _check_places(images)
    labels = _Labels(() if config.sequences == SourceConfig().sequences else config.sequences)
    taken = [one for one in images if labels.of(one)]
    found = _image_files(taken, labels, _Sidecars(visible))
    masks, unclear = _give_masks([one for one in named if one.suffix in _MASKS], taken, labels)
    tables = tuple(file for file in visible if _is_table(file))
    visits = {one.visit.label: one.visit for one in taken}
    return Cohort(
        patients=tuple(sorted(visits, key=natural)),
        sequences=labels.names or tuple(sorted({sequence for _, sequence in found}, key=natural)),
        scans={
            key: ScanFiles(*key, tuple(found[key]), tuple(masks.get(key, ())), where=labels.where(key[1]))
            for key in sorted(found)
        },
        tables=tables,
        strays=(*odd, *_unused(visible, *found.values(), *masks.values(), tables)),
        visits=visits if any(visit.session for visit in visits.values()) else {},
        not_taken=tuple(unclear),
    )


def _is_table(file: File) -> bool:
    return _TABLE.fullmatch(file.path) is not None and "derivatives/" not in file.path


def _unused(files: Iterable[File], *used: Sequence[File]) -> list[File]:
    taken = {file.path for some in used for file in some}
    return [file for file in files if file.path not in taken]


def _image_files(images: Iterable[_Named], labels: _Labels, sidecars: _Sidecars) -> dict[Key, list[File]]:
    """Files of each scan: sidecars, then the image."""
    found: dict[Key, list[File]] = {}
    for one in images:
        found.setdefault((one.visit.label, labels.of(one)), []).extend([*sidecars.of(one), one.file])
    return found


def _named(file: File) -> _Named | None:
    match = _IMAGE.fullmatch(file.path)
    if match is None:
        return None
    return _Named(file, Visit(match["subject"], match["session"] or ""), match["above"], match["name"])


def _check_places(images: Iterable[_Named]) -> None:
    homes: dict[str, str] = {}
    for one in images:
        if homes.setdefault(one.visit.subject, one.above) != one.above:
            raise SourceError(
                f"subject {one.visit.subject} is in two BIDS datasets, below {homes[one.visit.subject] or './'} and "
                f"{one.above or './'}; point at one of them"
            )


class _Labels:
    """The sequence of an image by its name: as the configuration says, else the name without subject and session."""

    def __init__(self, rules: Sequence[SequenceRule]) -> None:
        self._tokens = Tokens((rule.folder, rule.name) for rule in rules)
        self._where = {rule.name: rule.where for rule in rules}

    @property
    def names(self) -> tuple[str, ...]:
        """Labels in the order of the configuration; none where it takes every image."""
        return tuple(self._where)

    def of(self, image: _Named) -> str:
        """Label in the store; "" where the configuration takes no such image."""
        if not self._where:
            return image.name
        by_name = self._tokens.name(image.name)
        label = by_name if by_name in self._where else self._tokens.name(image.suffix)
        return label if label in self._where else ""

    def where(self, label: str) -> tuple[tuple[str, str | tuple[str, ...]], ...]:
        return self._where.get(label, ())


class _Sidecars:
    """JSON files by folder, for images of the folder and of those below it."""

    def __init__(self, files: Iterable[File]) -> None:
        self._by_folder: dict[str, list[tuple[set[str], str, File]]] = {}
        for file in files:
            if match := _SIDECAR.fullmatch(file.path):
                *entities, suffix = match["name"].split("_")
                self._by_folder.setdefault(match["folder"], []).append((set(entities), suffix, file))

    def of(self, image: _Named) -> list[File]:
        """Sidecars that an image inherits, the most particular last (BIDS, Inheritance Principle)."""
        stem = image.file.name.partition(".")[0]
        entities = set(stem.split("_")[:-1])
        folders = image.file.path.split("/")[:-1]
        found = []
        for depth in range(image.above.count("/"), len(folders) + 1):
            here = self._by_folder.get("".join(f"{folder}/" for folder in folders[:depth]), [])
            fitting = [(len(named), file) for named, suffix, file in here if suffix == image.suffix]
            fitting = [(n, file) for n, file in fitting if set(file.name[:-5].split("_")[:-1]) <= entities]
            found += [file for _, file in sorted(fitting, key=lambda pair: (pair[0], pair[1].path))]
        return found


def _give_masks(
    masks: Iterable[_Named], images: Sequence[_Named], labels: _Labels
) -> tuple[Mapping[Key, list[File]], list[str]]:
    """Give each mask to the image that its name tells, or to the only one; list those that nothing tells."""
    by_visit: dict[Visit, list[_Named]] = {}
    for image in images:
        by_visit.setdefault(image.visit, []).append(image)
    given: dict[Key, list[File]] = {}
    unclear = []
    for mask in masks:
        candidates = by_visit.get(mask.visit, [])
        meant = _drawn_on(mask, candidates)
        if meant is None:
            if candidates:
                names = ", ".join(sorted({one.name for one in candidates}))
                unclear.append(
                    f"mask {mask.name} of {mask.visit.label}: nothing in its name tells which of {names} it was drawn "
                    "on; name it (as in desc-T1w_mask), or describe the layout in a TOML file"
                )
            continue
        given.setdefault((mask.visit.label, labels.of(meant)), []).append(mask.file)
    return given, unclear


def _drawn_on(mask: _Named, images: Sequence[_Named]) -> _Named | None:
    """Find the image whose suffix stands in the name of a mask, alone or behind ``desc-`` or ``space-``."""
    words = {word for part in mask.parts[:-1] for word in (part, part.partition("-")[2])}
    by_suffix = [one for one in images if one.suffix in words]
    if not by_suffix:
        return images[0] if len(images) == 1 else None
    own = {part for part in mask.parts[:-1] if "-" in part and not part.startswith(_OF_MASKS)}
    exact = [one for one in by_suffix if set(one.parts[:-1]) == own] or by_suffix
    return exact[0] if len(exact) == 1 else None
