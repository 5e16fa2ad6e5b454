"""Which files of a BIDS dataset make up which scan (bids-specification.readthedocs.io, version 1.10).

Images are ``sub-*/[ses-*/]anat/*.nii[.gz]``; what a name says beside subject and session is the sequence, such as
``T1w`` or ``acq-tse_T2w``. Sidecars are inherited from the folders above. Masks are files that end in ``_mask``,
``_dseg``, ``_roi`` or ``_seg``, most often below ``derivatives/``: see :mod:`npczarr.sources.bids_masks`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from npczarr.errors import SourceError
from npczarr.model.cohort import Cohort, File, ScanFiles, Visit
from npczarr.sources.bids_masks import give_masks
from npczarr.sources.bids_names import BidsFile, describe_alike, read_name
from npczarr.sources.config import SequenceRule, SourceConfig
from npczarr.sources.labels import Tokens, natural, visible_files

Key = tuple[str, str]
_SIDECAR = re.compile(r"(?P<folder>(?:.*/)?)(?P<name>[^/]+)\.json")
_TABLE = re.compile(r"(.*/)?(participants|sub-[^/]+_sessions)\.tsv|(.*/)?phenotype/[^/]+\.tsv|(.*/)?[^/]+\.csv")
#: Parts of a name beside which an image is the same kind of image; ``ce-`` or ``inv-`` make it another.
_SAME_KIND = ("acq-", "run-", "dir-", "rec-", "part-mag")
_MAY_BE_CONTRAST = re.compile(r"-.*(gd|gad|contrast|post|enh)|-(\+|c|ce|km|kontrast)(?![a-z])", re.IGNORECASE)


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
    named = [one for file in visible if (one := read_name(file))]
    images = [one for one in named if one.is_image]
    if not images:
        return None
    _check_places(images)
    rules = () if config.sequences == SourceConfig().sequences else config.sequences
    labels = _Labels(rules)
    taken = [one for one in images if labels.of(one)]
    found = _image_files(taken, labels, _Sidecars(visible))
    drawn = [one for one in named if one.is_mask]
    masks, passed_over = give_masks(drawn, images, labels.of, rules, has_labels=bool(config.labels))
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
        not_taken=(*describe_alike(labels.passed_over(images)), *passed_over),
    )


def _is_table(file: File) -> bool:
    return _TABLE.fullmatch(file.path) is not None and "derivatives/" not in file.path


def _unused(files: Iterable[File], *used: Sequence[File]) -> list[File]:
    taken = {file.path for some in used for file in some}
    return [file for file in files if file.path not in taken]


def _image_files(images: Iterable[BidsFile], labels: _Labels, sidecars: _Sidecars) -> dict[Key, list[File]]:
    """Files of each scan: sidecars, then the image."""
    found: dict[Key, list[File]] = {}
    for one in images:
        found.setdefault((one.visit.label, labels.of(one)), []).extend([*sidecars.of(one), one.file])
    return found


def _check_places(images: Iterable[BidsFile]) -> None:
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

    def of(self, image: BidsFile) -> str:
        """Label in the store; "" where the configuration takes no such image."""
        if not self._where:
            return image.name
        by_name = self._tokens.name(image.name)
        if by_name in self._where:
            return by_name
        return "" if _other_kind(image) else self._of_suffix(image)

    def passed_over(self, images: Iterable[BidsFile]) -> Iterator[tuple[str, Visit, str]]:
        """Name the images whose suffix a rule names, and which are of another kind than the suffix tells."""
        for image in images:
            if self._where and not self.of(image) and (label := self._of_suffix(image)):
                parts = ", ".join(_other_kind(image))
                yield (
                    f"image {image.name}",
                    image.visit,
                    f"{label} is {image.suffix}, and {parts} may make it another kind of image; to take it, name it: "
                    f'[sequences] NAME = {{ folder = "{image.name}" }}',
                )

    def _of_suffix(self, image: BidsFile) -> str:
        label = self._tokens.name(image.suffix)
        return label if label in self._where else ""

    def where(self, label: str) -> tuple[tuple[str, str | tuple[str, ...]], ...]:
        return self._where.get(label, ())


def _other_kind(image: BidsFile) -> list[str]:
    """Parts of a name by which an image is not what its suffix alone would be, such as one with contrast agent."""
    return [part for part in image.entities if not part.startswith(_SAME_KIND) or _MAY_BE_CONTRAST.search(part)]


class _Sidecars:
    """JSON files by folder, for images of the folder and of those below it."""

    def __init__(self, files: Iterable[File]) -> None:
        self._by_folder: dict[str, list[tuple[set[str], str, File]]] = {}
        for file in files:
            if match := _SIDECAR.fullmatch(file.path):
                *entities, suffix = match["name"].split("_")
                self._by_folder.setdefault(match["folder"], []).append((set(entities), suffix, file))

    def of(self, image: BidsFile) -> list[File]:
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
