"""Whose files are, by their paths: as `convert` reads the patterns of a layout, and BIDS."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from typing import Protocol

from npczarr.model.cohort import File
from npczarr.privacy.paths import Part, Place, align, part_name
from npczarr.sources.bids_names import read_name
from npczarr.sources.config import SourceConfig
from npczarr.sources.labels import Tokens
from npczarr.sources.patterns import PathPattern, path_regex

_NIFTI = (".nii", ".nii.gz")
_RENAMED = re.compile(r"\{(patient|session|rater)\}")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_]+")
#: What npczarr looks for within words of such names.
_TELLING = re.compile(
    r"gd|gad|contrast|post|enh|kontrast|tumou?r|lesion|gtv|cancer|carcinom|neoplas|metasta|gliom|lymphom|sarcom|roi"
)
#: Words of names in BIDS datasets that tell nobody, beside those of the configuration.
_OF_NAMES = """
    t w pd pdw pdt flair inplane tof swi adc dwi unit mp rage mprage space vibe se tse fse gre ge tfe tir tirm stir
    dixon in opp out water fat sat fs fatsat nofs ax axial sag sagittal cor coronal tra transversal iso highres lowres
    ce gd gad gado gadolinium km contrast kontrast post pre plus c enh dyn native nat orig individual scanner manual
    auto automatic tumor tumour lesion gtv gtvp gtvn roi node nodes ln brain organ organs mask dseg seg label edema core
    left right l r lr rl ap pa is si i s a p mag magnitude phase real imag run part hemi full m mm mni ras lps
    acq rec dir inv echo flip mt desc atlas res den chunk proc split sample staff reader rater
    """
_WORDS = frozenset(_OF_NAMES.split())
_MOST_DIGITS = 3  # that cannot be a date


class Places(Protocol):
    """A reader of paths.

    Attributes
    ----------
    hyphen
        What may part word and number in a new name, so that the fields of a path are still told apart.
    """

    hyphen: str

    def find(self, path: str) -> Place | None:
        """Say whose an image or mask is; None for what is none."""

    def find_beside(self, path: str) -> Iterator[Place]:
        """Say whose outlines may be that lie beside images."""


class PatternPlaces:
    """Paths by the patterns of a configuration.

    Parameters
    ----------
    config
        The configuration.
    by_headers
        Whether headers tell series apart: then patterns fit below the topmost folder, and a label is of one patient
        wherever it is.
    raters
        Whether the masks of raters are meant, and no images.
    """

    def __init__(self, config: SourceConfig, *, by_headers: bool = False, raters: bool = False) -> None:
        self._by_headers = by_headers
        self._anywhere = by_headers or raters
        self._folders, self._masks = _names_of_sequences(config, alike=self._anywhere)
        groups = {**self._folders.group("sequence"), **self._masks.group("mask"), "slice": r"\d+"}

        def read(patterns: Iterable[str], *, shallow: bool = False) -> list[tuple[str, PathPattern]]:
            return [(one, path_regex(one, groups, shallow=shallow)) for one in patterns]

        self._images, self._structures = read(config.images, shallow=by_headers), read(config.structures)
        if raters:
            self._patterns = read(config.raters)
        elif by_headers or any(".nii" in one.lower() for one in config.images):
            self._patterns = [*read(config.masks), *self._images]  # of files beside masks, those of masks say more
        else:
            self._patterns = [*self._images, *read(config.masks)]
        self.hyphen = _hyphen(pattern for pattern, _ in self._patterns)

    def find(self, path: str) -> Place | None:
        """Say whose an image or mask is; None for what is none."""
        found = self._first(self._patterns, path)
        if found is not None and self._by_headers:
            image = self.find_image(path)
            return found if image is None or image.patient == found.patient else image
        return found

    def find_image(self, path: str) -> Place | None:
        """Say whose an image is; None for what is none."""
        return self._first(self._images, path)

    def find_beside(self, path: str) -> Iterator[Place]:
        """Say whose outlines may be that lie beside images."""
        return self._all(self._structures, path)

    def _first(self, patterns: Iterable[tuple[str, PathPattern]], path: str) -> Place | None:
        return next(self._all(patterns, path), None)

    def _all(self, patterns: Iterable[tuple[str, PathPattern]], path: str) -> Iterator[Place]:
        for one, pattern in patterns:
            if (match := pattern.fullmatch(path)) and "patient" in match.groupdict():
                yield self._place(one, match)

    def _place(self, pattern: str, match: re.Match[str]) -> Place:
        values = {name: text for name, text in match.groupdict().items() if text is not None and name != "below"}
        names: dict[str, tuple[Part, ...]] = {}
        for path, name, wanted in align(match.string, pattern, match["below"].count("/")):
            if parts := part_name(wanted, name, values, self._glob_of):
                names[path] = parts
        meant = [tuple(sorted(self._tokens(one).fitting(values[one]))) for one in ("sequence", "mask") if one in values]
        return Place(
            values["patient"],
            "" if self._anywhere else match["below"],
            values.get("session", "").removeprefix("ses-"),
            values.get("rater", ""),
            (pattern, match["below"].count("/"), *meant),
            names,
        )

    def _tokens(self, field: str) -> Tokens:
        return self._folders if field == "sequence" else self._masks

    def _glob_of(self, field: str, text: str) -> str:
        """Return the rule with ``*`` by which the name of a sequence was read; "" where it is spelled out."""
        first = next(iter(self._tokens(field).fitting(text)), "")
        return first if "*" in first else ""


def _names_of_sequences(config: SourceConfig, *, alike: bool) -> tuple[Tokens, Tokens]:
    """Return what sequences are called in names of images and of masks; where `alike`, any of it in both."""
    rules = config.sequences or SourceConfig().sequences
    if alike:
        both = Tokens((one, rule.name) for rule in rules for one in (rule.mask, rule.folder, rule.name))
        return both, both
    return Tokens((rule.folder, rule.name) for rule in rules), Tokens((rule.mask, rule.name) for rule in rules)


def _hyphen(patterns: Iterable[str]) -> str:
    """Return what may part word and number in a new name: nothing where a hyphen parts the fields of a name."""
    names = [name for pattern in patterns for name in pattern.split("/") if _RENAMED.search(name)]
    return "" if any("-" in name for name in names) else "-"


class BidsPlaces:
    """Paths of a BIDS dataset.

    In the names of files, words of the field and those of the configuration stay, so that images and masks are known
    for what they are; other words are replaced, each alike in every name.
    """

    hyphen = ""  # labels are of letters and digits

    def __init__(self, config: SourceConfig) -> None:
        usual = SourceConfig().sequences
        self._rules = [one for rule in config.sequences for one in (rule.folder, rule.mask) if rule not in usual]
        self._known = {word.lower() for rule in self._rules for word in _WORD.findall(rule)} | _WORDS

    def find(self, path: str) -> Place | None:
        """Say whose an image or mask is; None for what is none."""
        found = read_name(File(path, 0, ""))
        if found is None or not (found.is_image or found.is_mask):
            return None
        folders = path.split("/")[:-1]
        first = found.above.count("/")
        parts: dict[str, tuple[Part, ...]] = {folder: (Part(folder),) for folder in ("anat", "derivatives")}
        parts[f"sub-{found.visit.subject}"] = (Part("sub-"), Part(found.visit.subject, "patient"))
        parts[f"ses-{found.visit.session}"] = (Part("ses-"), Part(found.visit.session, "session"))
        names = {
            "/".join(folders[: i + 1]): parts[name]
            for i, name in enumerate(folders)
            if name in parts and (i >= first or name == "derivatives")
        }
        stem, ending = f"_{found.name}", path.rpartition(f"_{found.name}")[2]
        session = (Part("_"), *parts[f"ses-{found.visit.session}"]) if f"_ses-{found.visit.session}_" in path else ()
        names[path] = (*parts[f"sub-{found.visit.subject}"], *session, *self._parts_of(stem), Part(ending))
        telling = tuple(_TELLING.findall(found.name.lower()))
        reading = ("bids", found.is_mask, found.suffix, self._meant(found.name), self._meant(found.suffix), telling)
        return Place(found.visit.subject, "", found.visit.session, "", reading, names)

    def find_beside(self, path: str) -> Iterator[Place]:
        """Say whose outlines may be that lie beside images: those of none, as names tell them here."""
        return iter(())

    def _meant(self, name: str) -> tuple[str, ...]:
        return tuple(rule for rule in self._rules if fnmatch(name.lower(), rule.lower()))

    def _parts_of(self, name: str) -> list[Part]:
        """Part what a name says beside subject and session into words that stay, and others."""
        return [Part(text, "" if self._stays(text) else "word") for text in re.split(r"(_(?:[a-z]+-)?)", name) if text]

    def _stays(self, text: str) -> bool:
        words = _WORD.findall(text)
        digits = sum(len(word) for word in words if word.isdecimal())
        return digits <= _MOST_DIGITS and all(word.isdecimal() or word.lower() in self._known for word in words)


class HeaderPlaces:
    """Files by what a header field says of their patient, and masks by their paths.

    Parameters
    ----------
    labels
        Labels of patients by path.
    config
        Its patterns of masks name the patients alike.
    """

    hyphen = "-"

    def __init__(self, labels: Mapping[str, str], config: SourceConfig) -> None:
        self._labels = labels
        self._masks = PatternPlaces(config, by_headers=True)

    def find(self, path: str) -> Place | None:
        """Say whose an image or mask is; None for what is none."""
        if label := self._labels.get(path):
            return Place(label)
        return self._masks.find(path) if path.lower().endswith(_NIFTI) else None

    def find_beside(self, path: str) -> Iterator[Place]:
        """Say whose outlines may be that lie beside images: those of none, as headers tell them here."""
        return iter(())
