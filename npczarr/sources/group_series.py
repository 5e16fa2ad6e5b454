"""Which series are which scans where folders do not tell: by their headers, by rules or by built-in guesses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from npczarr.errors import SourceError
from npczarr.model.alike import told_as_one
from npczarr.model.cohort import Cohort, File, ScanFiles, Visit, Where
from npczarr.sources.config import SequenceRule, SourceConfig
from npczarr.sources.differences import describe_series
from npczarr.sources.fields import raw_text
from npczarr.sources.file_kinds import NO_DICOM
from npczarr.sources.files import Source
from npczarr.sources.guess import GUESSED, Guess, guess_sequence
from npczarr.sources.headers import STRUCTURES, quiet
from npczarr.sources.labels import Tokens, natural, visible_files
from npczarr.sources.patient_folders import Owner, owner_of_files
from npczarr.sources.patterns import path_regex
from npczarr.sources.survey import Group, Surveyed, group_images, survey, value_of
from npczarr.sources.where import keywords_of, unmet

Key = tuple[str, str]
_NOBODY = (
    "neither a folder nor a header field names the patient: give each patient a folder, or name the field in a TOML "
    'file ([layout] patient = "PatientID") if its values may be labels of a store'
)


@dataclass(frozen=True, slots=True)
class Series:
    """A series as its headers describe it, and what it was taken for.

    Parameters
    ----------
    patient
        Label; "" where no header names one.
    sequence
        Name in the store; "" where it was taken for none.
    reason
        Why it was taken, or not; it holds no text of the header.
    doubt
        What its header leaves open.
    described
        Slices, matrix and times.
    description
        SeriesDescription, for the eyes of the user only: it may name a person.
    group
        The images.
    """

    patient: str
    sequence: str
    reason: str
    doubt: str
    described: str
    description: str
    group: Group


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
    taken, not_taken = choose_series_of(found.series)
    keys = {(one.patient, one.sequence) for one in taken}
    masks, rest = _masks(found.others, config, found.owner, keys)
    tables, strays = _tables(rest, config)
    wheres = {rule.name: rule.where for rule in _rules(config)}
    of_nobody = set(found.structures) - {one.patient for one in taken}
    strays += [file for patient in sorted(of_nobody) for file in found.structures[patient]]
    patients = sorted({patient for patient, _ in keys}, key=natural)
    visits = {label: found.owner.visits[label] for label in patients if label in found.owner.visits}
    scans = {(one.patient, one.sequence): _scan_files(one, masks, wheres, found.structures) for one in taken}
    return Cohort(
        patients=tuple(patients),
        sequences=tuple(wheres),
        scans=dict(sorted(scans.items())),
        tables=tuple(tables),
        strays=(*strays, *found.odd),
        visits=visits if any(visit.session for visit in visits.values()) else {},
        guesses=tuple(_count_guesses(taken)),
        not_taken=tuple(not_taken),
        numbers=_numbers(taken),
    )


def _numbers(taken: Sequence[Series]) -> dict[str, frozenset[str]]:
    """PatientIDs by patient label."""
    with quiet():
        found = [(one.patient, raw_text(one.group.header, "PatientID")) for one in taken]
    return {label: frozenset(number for other, number in found if other == label) - {""} for label, _ in found}


def _scan_files(
    one: Series,
    masks: Mapping[Key, Sequence[File]],
    wheres: Mapping[str, Where],
    structures: Mapping[str, Sequence[File]],
) -> ScanFiles:
    key = (one.patient, one.sequence)
    return ScanFiles(
        *key,
        one.group.files,
        tuple(masks.get(key, ())),
        where=wheres[one.sequence],
        note=f"taken for {one.sequence}: {one.reason}",
        doubt=one.doubt,
        structures=tuple(structures.get(one.patient, ())),
    )


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
    series = [_describe(group, _rules(config)) for group in group_images([image for image in owned if not image.kind])]
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


def _describe(group: Group, rules: Iterable[SequenceRule]) -> Series:
    """Say what a series is taken for, and why."""
    with quiet():
        images, sequence, guess = _apply(group, rules)
        frames = [(image.header, _frames(image)) for image in images.images]
        description = " ".join(str(value) for value in value_of(group.header, "SeriesDescription"))
        described = _described(frames)
    return Series(group.owner, sequence, guess.reason, guess.doubt, described, description, images)


def _apply(group: Group, rules: Iterable[SequenceRule]) -> tuple[Group, str, Guess]:
    """Find the one rule that a series meets; rules with conditions go before built-in ones."""
    met: dict[str, Group] = {}
    guessable = []
    for rule in rules:
        if not rule.where:
            guessable.append(rule.name)
            continue
        meeting = tuple(image for image in group.images if any(_meets(rule, image)))
        if meeting:
            met[rule.name] = replace(group, images=meeting)
    if len(met) > 1:
        return group, "", Guess("", f"meets the rules of {' and '.join(met)}; make them exclude each other")
    if met:
        ((name, meeting_group),) = met.items()
        return meeting_group, name, Guess(name, "meets the rule `where` of the configuration")
    guess = _guess(group.images[0])
    if guess.sequence in guessable:
        return group, guess.sequence, guess
    reason = f"{guess.sequence} ({guess.reason}), which is not asked for" if guess.sequence else guess.reason
    return group, "", Guess("", reason)


def _guess(image: Surveyed) -> Guess:
    """Guess by the header of an image; of a multi-frame file all frames must be of one kind."""
    guesses = [guess_sequence(image.header, index) for index in _frames(image)]
    kinds = dict.fromkeys(guess.sequence or "none of the three" for guess in guesses)
    if len(kinds) == 1:
        return guesses[0]
    return Guess("", f"its frames are of several kinds ({', '.join(kinds)}); choose by a rule `where`")


def _meets(rule: SequenceRule, image: Surveyed) -> Iterable[bool]:
    return (unmet(rule.where, image.header, index) is None for index in _frames(image))


def _frames(image: Surveyed) -> tuple[int, ...]:
    groups = image.header.get("PerFrameFunctionalGroupsSequence") or ()
    return tuple(range(len(groups))) or (0,)


def _described(frames: Sequence[tuple[object, tuple[int, ...]]]) -> str:
    (described,) = describe_series([frames])  # type: ignore[list-item]
    return described


def choose_series_of(series: Sequence[Series]) -> tuple[list[Series], list[str]]:
    """Take the one series of each patient and sequence; list those that are none, or one of several."""
    by_key: dict[Key, list[Series]] = {}
    left: dict[str, int] = {}
    for one in series:
        if one.sequence and one.patient:
            by_key.setdefault((one.patient, one.sequence), []).append(one)
        else:
            reason = one.reason if one.patient else _NOBODY
            left[reason] = left.get(reason, 0) + 1
    taken, not_taken = [], []
    for (patient, sequence), several in sorted(by_key.items()):
        if len(several) == 1:
            taken += several
            continue
        listed = "; ".join(f"({i}) {one.described}, {one.reason}" for i, one in enumerate(several, 1))
        not_taken.append(f"{patient}/{sequence}: {len(several)} series may be meant, none was taken: {listed}")
    not_taken += [f"{count} series: {reason}" for reason, count in sorted(left.items(), key=lambda item: -item[1])]
    return taken, not_taken


def _count_guesses(taken: Sequence[Series]) -> list[str]:
    lines = sorted(f"{one.sequence}: {one.reason}" + (f" ({one.doubt})" if one.doubt else "") for one in taken)
    return [f"{count} series taken for {line}" for count, line in told_as_one(lines)]


def _masks(
    files: Sequence[File], config: SourceConfig, owner: Owner, keys: set[Key]
) -> tuple[dict[Key, list[File]], list[File]]:
    """Find masks by the patterns of the configuration; the rest of the files."""
    tokens = Tokens((called, rule.name) for rule in _rules(config) for called in (rule.mask, rule.folder, rule.name))
    groups = tokens.group("mask") | tokens.group("sequence")
    patterns = [path_regex(pattern, groups) for pattern in config.masks]
    masks: dict[Key, list[File]] = {}
    rest = []
    for file in files:
        match = next((m for pattern in patterns if (m := pattern.fullmatch(file.path))), None)
        if match is None:
            rest.append(file)
            continue
        for key in _masked(match.groupdict(), owner, tokens, keys):
            masks.setdefault(key, []).append(file)
    return masks, rest


def _masked(found: Mapping[str, str], owner: Owner, tokens: Tokens, keys: set[Key]) -> list[Key]:
    """List the scans that a mask is of: every one of the patient where its path names no sequence."""
    patient = owner.named(Visit(found["patient"], found.get("session") or ""))
    token = found.get("mask") or found.get("sequence")
    return [(patient, tokens.name(token))] if token else [key for key in keys if key[0] == patient]
