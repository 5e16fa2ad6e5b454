"""Which series are which scans where folders do not tell: by their headers, by rules or by built-in guesses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from npczarr.errors import SourceError
from npczarr.model.cohort import Cohort, File, ScanFiles, Visit, Where
from npczarr.sources.config import SequenceRule, SourceConfig
from npczarr.sources.differences import describe_series
from npczarr.sources.fields import raw_text
from npczarr.sources.file_kinds import NO_DICOM
from npczarr.sources.files import Source
from npczarr.sources.guess import GUESSED, Guess, guess_sequence
from npczarr.sources.headers import STRUCTURES, quiet
from npczarr.sources.labels import Tokens, natural, visible_files
from npczarr.sources.meant_series import (
    Choice,
    Series,
    choose_series_of,
    count_guesses,
    frames_of_header,
    images_of,
)
from npczarr.sources.patient_folders import Owner, owner_of_files
from npczarr.sources.patterns import path_regex
from npczarr.sources.survey import Group, Surveyed, group_images, survey, value_of
from npczarr.sources.where import keywords_of, unmet

Key = tuple[str, str]
#: Number of an image of its group, and of a frame in it.
Frame = tuple[int, int]


def is_grouped(config: SourceConfig) -> bool:
    """Whether the configuration leaves it to headers which series is which sequence."""
    if config.patient:
        return True
    named = any("{sequence}" in pattern for pattern in config.images)
    return not named and any(rule.where or rule.name in GUESSED for rule in config.sequences)


def by_headers(config: SourceConfig) -> SourceConfig:
    """Return a configuration that lets headers decide, below one folder for each patient."""
    return replace(config, images=("{patient}/**",))


def group_series(source: Source, files: Sequence[File], config: SourceConfig) -> Cohort:
    """Sort the series of a source into scans by their headers.

    Raises
    ------
    SourceError
        If a sequence has neither a rule nor a built-in guess, or nothing tells patients apart.
    """
    found = find_series(source, files, config)
    choice = choose_series_of(found.series, sessions=found.has_sessions)
    keys = {(one.patient, one.sequence) for one in choice.taken} | choice.unclear.keys()
    masks, rest = _masks(found.others, config, found.owner, keys)
    tables, strays = _tables(rest, config)
    wheres = {rule.name: rule.where for rule in _rules(config)}
    of_nobody = set(found.structures) - {patient for patient, _ in keys}
    strays += [file for patient in sorted(of_nobody) for file in found.structures[patient]]
    patients = sorted({patient for patient, _ in keys}, key=natural)
    visits = {label: found.owner.visits[label] for label in patients if label in found.owner.visits}
    scans = _scans(choice, wheres)
    for key, scan in scans.items():
        beside = tuple(found.structures.get(key[0], ()))
        scans[key] = replace(scan, masks=tuple(masks.get(key, ())), structures=beside)
    return Cohort(
        patients=tuple(patients),
        sequences=tuple(wheres),
        scans=dict(sorted(scans.items())),
        tables=tuple(tables),
        strays=(*strays, *found.odd),
        visits=visits if any(visit.session for visit in visits.values()) else {},
        guesses=tuple(count_guesses(choice.taken)),
        not_taken=tuple(choice.of_none),
        numbers=_numbers([*choice.taken, *(one for several in choice.unclear.values() for one in several.series)]),
    )


def _numbers(series: Sequence[Series]) -> dict[str, frozenset[str]]:
    """PatientIDs by patient label."""
    with quiet():
        found = [(one.patient, raw_text(one.group.header, "PatientID")) for one in series]
    return {label: frozenset(number for other, number in found if other == label) - {""} for label, _ in found}


def _scans(choice: Choice, wheres: Mapping[str, Where]) -> dict[Key, ScanFiles]:
    """Images of each scan; where several series may be meant, all of theirs, and why they make no scan."""
    scans: dict[Key, ScanFiles] = {}
    for one in choice.taken:
        key = (one.patient, one.sequence)
        note = f"taken for {one.sequence}: {one.reason}"
        scans[key] = ScanFiles(*key, one.group.files, where=wheres[one.sequence], note=note, doubt=one.doubt)
    for key, unclear in choice.unclear.items():
        images = {file.path: file for one in unclear.series for file in one.group.files}
        scans[key] = ScanFiles(*key, tuple(images.values()), where=wheres[key[1]], refusal=unclear.reason)
    return scans


def _tables(files: Sequence[File], config: SourceConfig) -> tuple[list[File], list[File]]:
    """Split files into clinical tables and others."""
    patterns = [path_regex(pattern, {}) for pattern in config.tables]
    tables = [file for file in files if any(pattern.fullmatch(file.path) for pattern in patterns)]
    return tables, [file for file in files if file not in tables]


@dataclass(frozen=True, slots=True)
class FoundSeries:
    """The series of a source; other files; who they are of; and outlines by patient."""

    series: list[Series]
    others: list[File]
    odd: list[File]
    owner: Owner
    structures: dict[str, list[File]] = field(default_factory=dict)

    @property
    def has_sessions(self) -> bool:
        """Whether paths tell visits apart."""
        return any(visit.session for visit in self.owner.visits.values())


def find_series(
    source: Source,
    files: Sequence[File],
    config: SourceConfig,
    *,
    on_file: Callable[[int, int], None] | None = None,
) -> FoundSeries:
    """Read the headers of a source and say of each series what it is taken for."""
    visible, odd = visible_files(files)
    images, others = _survey(source, visible, config, on_file)
    owner = owner_of_files(images, config)
    owned = [replace(image, owner=owner.label(image)) for image in images]
    groups = group_images([image for image in owned if not image.kind])
    series = [one for group in groups for one in _describe(group, _rules(config))]
    structures: dict[str, list[File]] = {}
    for image in owned:
        if image.kind in STRUCTURES and image.owner:
            structures.setdefault(image.owner, []).append(image.file)
        elif image.kind:
            others.append(image.file)
    return FoundSeries(series, others, odd, owner, structures)


def _survey(
    source: Source, files: Sequence[File], config: SourceConfig, on_file: Callable[[int, int], None] | None
) -> tuple[list[Surveyed], list[File]]:
    """Read the headers of files that may be DICOM, and list the others."""
    keywords = [config.patient] if config.patient else []
    for rule in _rules(config):
        keywords += keywords_of(rule.where)
    candidates = [file for file in files if not file.name.lower().endswith(NO_DICOM)]
    images, no_dicom = survey(source, candidates, lambda file: "", keywords=keywords, on_file=on_file)
    return images, [*no_dicom, *(file for file in files if file.name.lower().endswith(NO_DICOM))]


def _rules(config: SourceConfig) -> tuple[SequenceRule, ...]:
    rules = config.sequences or SourceConfig().sequences
    for rule in rules:
        if not rule.where and rule.name not in GUESSED:
            raise SourceError(
                f"sequence {rule.name}: folders do not tell which series it is, and nothing is built in for it; give "
                f'a rule, such as {rule.name} = {{ where = {{ SeriesDescription = "*{rule.name.lower()}*" }} }}'
            )
    return rules


def _describe(group: Group, rules: Sequence[SequenceRule]) -> list[Series]:
    """Say what a series is taken for, and why; its frames may be those of several sequences."""
    with quiet():
        description = " ".join(str(value) for value in value_of(group.header, "SeriesDescription"))
        parts = _apply(group, rules)
        described = [describe_series([images_of(images)])[0] for images, _ in parts]
    return [
        Series(group.owner, guess.sequence, guess.reason, guess.doubt, words, description, images)
        for (images, guess), words in zip(parts, described, strict=True)
    ]


def _apply(group: Group, rules: Sequence[SequenceRule]) -> list[tuple[Group, Guess]]:
    """Find the rules that frames of a series meet, one each; rules with conditions go before built-in ones."""
    met: dict[str, set[Frame]] = {}
    for rule in rules:
        if rule.where and (frames := _meeting(rule, group)):
            met[rule.name] = frames
    several = [name for name, frames in met.items() if any(frames & met[other] for other in met if other != name)]
    if several:
        return [(group, Guess("", f"meets the rules of {' and '.join(several)}; make them exclude each other"))]
    if met:
        return [
            (_part(group, frames), Guess(name, "meets the rule `where` of the configuration"))
            for name, frames in met.items()
        ]
    guess = _guess(group.images[0])
    if guess.sequence in [rule.name for rule in rules if not rule.where]:
        return [(group, guess)]
    reason = f"{guess.sequence} ({guess.reason}), which is not asked for" if guess.sequence else guess.reason
    return [(group, Guess("", reason))]


def _meeting(rule: SequenceRule, group: Group) -> set[Frame]:
    """Find the frames of a series that meet a rule."""
    return {
        (at, index)
        for at, image in enumerate(group.images)
        for index in frames_of_header(image)
        if unmet(rule.where, image.header, index) is None
    }


def _part(group: Group, frames: set[Frame]) -> Group:
    """Keep the images of which frames are meant; the rule `where` of the scan chooses among the frames of a file."""
    meant = {at for at, _ in frames}
    return replace(group, images=tuple(image for at, image in enumerate(group.images) if at in meant))


def _guess(image: Surveyed) -> Guess:
    """Guess by the header of an image; of a multi-frame file all frames must be of one kind."""
    guesses = [guess_sequence(image.header, index) for index in frames_of_header(image)]
    kinds = dict.fromkeys(guess.sequence or "none of the three" for guess in guesses)
    if len(kinds) == 1:
        return guesses[0]
    return Guess("", f"its frames are of several kinds ({', '.join(kinds)}); choose by a rule `where`")


def _masks(
    files: Sequence[File], config: SourceConfig, owner: Owner, keys: set[Key]
) -> tuple[dict[Key, list[File]], list[File]]:
    """Find masks by the patterns of the configuration; the rest of the files."""
    rules = _rules(config)
    by_mask = Tokens((rule.mask, rule.name) for rule in rules)
    otherwise = Tokens((called, rule.name) for rule in rules for called in (rule.folder, rule.name))
    tokens = Tokens((called, rule.name) for rule in rules for called in (rule.mask, rule.folder, rule.name))
    patterns = [path_regex(pattern, tokens.group("mask") | tokens.group("sequence")) for pattern in config.masks]
    masks: dict[Key, list[File]] = {}
    rest = []
    for file in files:
        match = next((m for pattern in patterns if (m := pattern.fullmatch(file.path))), None)
        if match is None:
            rest.append(file)
            continue
        patient = owner.named(Visit(match["patient"], match.groupdict().get("session") or ""))
        token = match.groupdict().get("mask") or match.groupdict().get("sequence")
        sequences = _called(token, by_mask, otherwise) if token else [one for who, one in keys if who == patient]
        given = [(patient, sequence) for sequence in sequences if (patient, sequence) in keys]
        for key in given:
            masks.setdefault(key, []).append(file)
        if not given:
            rest.append(file)
    return masks, rest


def _called(token: str, by_mask: Tokens, otherwise: Tokens) -> tuple[str, ...]:
    """Sequences of a mask: each whose `mask` names it, else those that are called so."""
    return (by_mask if by_mask.fitting(token) else otherwise).names(token)
