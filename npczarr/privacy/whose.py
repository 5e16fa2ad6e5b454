"""Whose files are: as `convert` finds it, by the patterns of a layout, by BIDS, or by headers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from npczarr.errors import ParameterError, SourceError
from npczarr.model.cohort import File
from npczarr.privacy.names import Names, plan
from npczarr.privacy.paths import FOLDERS, kind_of
from npczarr.privacy.places import BidsPlaces, HeaderPlaces, PatternPlaces, Places
from npczarr.privacy.profile import is_taken_out
from npczarr.privacy.record import Record
from npczarr.sources.bids import sort_bids
from npczarr.sources.config import SourceConfig
from npczarr.sources.files import Source
from npczarr.sources.group_series import by_headers, is_grouped
from npczarr.sources.nifti_names import patterns_of
from npczarr.sources.patient_folders import Owner, owner_of_files
from npczarr.sources.rater_files import sort_raters
from npczarr.sources.survey import Surveyed, survey, value_of
from npczarr.sources.where import keywords_of

_STAY = ("PatientID", "PatientName")  # fields that a cleaned file has
_ADVICE = "describe the layout in a TOML file (--config), which `npczarr scout` begins"


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose the files of a source are.

    Parameters
    ----------
    places
        Reader of their paths.
    strict
        Whether what `places` does not know is of nobody; else it is of the folder above its series.
    unknown
        Files of which it is not known whose they are, and why, by path.
    """

    places: Places
    strict: bool = True
    unknown: Mapping[str, str] = field(default_factory=dict)


def find_whose(source: Source, files: Sequence[File], config: SourceConfig, *, described: bool) -> Whose:
    """Find out how the files of a source tell whose they are.

    Parameters
    ----------
    source, files
        The source, and those of its files that may be copied.
    config
        Its layout.
    described
        Whether somebody has described the layout in a configuration.

    Raises
    ------
    SourceError
        If nothing tells patients apart.
    ParameterError
        If they are told apart by a header field that a cleaned file has not.
    """
    if config.patient:
        return _by_field(source, files, config)
    if is_grouped(config):
        return Whose(_by_folder(_images(source, files, config), config))
    if sort_raters(files, config):
        return Whose(PatternPlaces(config, raters=True))
    places = PatternPlaces(config)
    if config.images != SourceConfig().images or any(places.find_image(file.path) for file in files):
        return Whose(places) if described else _published(source, files, config, places)
    if sort_bids(files, config):
        return Whose(BidsPlaces(config))
    images = _images(source, files, config)
    if described:
        return Whose(_by_folder(images, by_headers(config)) if images else places)
    if not images:
        _check_nifti([file for file in files if places.find(file.path) is None])
    proven = _proven(images, by_headers(config))
    return Whose(proven, strict=False) if proven else _published(source, files, config, places)


def describe_doubts(whose: Whose, names: Names, config: SourceConfig, *, keep_patients: bool) -> list[str]:
    """Say what the layout leaves open: whose folders are, whose visits were renamed, and what will not be found again.

    Parameters
    ----------
    whose, names, config
        Whose the files are, what they are called, and the layout.
    keep_patients
        Whether the names of patients were to be kept.
    """
    said = []
    if names.out_of_order:
        said.append(
            f"the visits of {names.out_of_order} of the patients got new numbers, because one was added that comes "
            "before others: numbers tell their order"
        )
    removed = sorted({one for rule in config.sequences for one in keywords_of(rule.where) if is_taken_out(one)})
    if removed:
        said.append(
            f"rules of [sequences] ask for {', '.join(removed)}, which a cleaned file does not have, so that the copy "
            "does not convert by them: for the copy, ask for fields that stay, such as EchoTime"
        )
    above = {owner.rpartition("/")[0] for owner in names.owners}
    numbered = {folder for folder in above if folder and folder.rpartition("/")[2] not in FOLDERS}
    if whose.strict or not (len(numbered) > 1 or (numbered and keep_patients)):
        return said
    although = " although --keep-patients was given" if keep_patients else ""
    return [
        *said,
        f"the folder above each series was taken for the patient's, and {len(numbered)} folders above those were "
        f"renamed to numbers{although}; if they are the patients', {_ADVICE}",
    ]


def _by_field(source: Source, files: Sequence[File], config: SourceConfig) -> Whose:
    """Tell patients apart by a header field."""
    if config.patient not in _STAY:
        raise ParameterError(
            f'[layout] patient = "{config.patient}": expected one of {" and ".join(_STAY)}, as a cleaned file has no '
            "other field that tells patients apart; name one of them, or give each patient a folder"
        )
    images = _images(source, files, config)
    owner = owner_of_files(images, config)
    labels = {image.file.path: owner.label(image) for image in images}
    unknown = {
        path: f"its header has no {config.patient}, expected one in every file, as it says who the patient is; give "
        "such files a folder and a layout of their own"
        for path, label in labels.items()
        if not label
    }
    return Whose(HeaderPlaces({path: label for path, label in labels.items() if label}, config), unknown=unknown)


def _by_folder(images: Sequence[Surveyed], config: SourceConfig) -> PatternPlaces:
    """Read paths as `convert` does where headers tell series apart."""
    return PatternPlaces(_with_depth(config, owner_of_files(images, config)), by_headers=True)


def _with_depth(config: SourceConfig, owner: Owner) -> SourceConfig:
    if owner.patterns:
        return config
    return replace(config, images=("*/" * owner.depth + "{patient}/**",))


def _proven(images: Sequence[Surveyed], config: SourceConfig) -> PatternPlaces | None:
    """Read paths by the level of folders of which each is of one PatientID, and each PatientID in one; None if none."""
    try:
        owner = owner_of_files(images, config)
    except SourceError:
        return None
    pairs = {(owner.label(image), _person(image)) for image in images}
    told = all(label and person for label, person in pairs)
    if not told or len({label for label, _ in pairs}) < len(pairs) or len({person for _, person in pairs}) < len(pairs):
        return None
    return PatternPlaces(_with_depth(config, owner), by_headers=True)


def _published(source: Source, files: Sequence[File], config: SourceConfig, places: PatternPlaces) -> Whose:
    """Read paths as those of the published layout; of files elsewhere, headers say if a folder is of several patients.

    Raises
    ------
    SourceError
        If one is.
    """
    others = [file for file in files if places.find(file.path) is None]
    persons = {image.file.path: _person(image) for image in _images(source, others, config)}
    if len({*persons.values()} - {""}) > 1:
        names = Names(config, strict=False, record=Record(b"of no copy"), places=places)
        plan(files, (), names)
        found: dict[str, set[str]] = defaultdict(set)
        for path, folder in names.beside.items():
            found[folder] |= {persons.get(path, "")} - {""}
        if mixed := [len(one) for one in found.values() if len(one) > 1]:
            raise SourceError(
                f"a folder that was taken for a patient's holds images of {mixed[0]} patients by their PatientID, "
                f'expected one: {_ADVICE}; where one folder holds everything, it says [layout] patient = "PatientID"'
            )
    return Whose(places, strict=False)


def _check_nifti(files: Sequence[File]) -> None:
    """Refuse NIfTI files of which names tell the patients, and no folders."""
    patterns = patterns_of(files)
    of_files = [one for one in patterns.images if "{patient}" not in one.split("/")[:-1]] if patterns else []
    if of_files:
        raise SourceError(
            f"names of files, not folders, seem to tell the patients of these NIfTI files ({of_files[0]}), expected a "
            f"folder for each patient: {_ADVICE}, so that images and masks of one patient stay together"
        )


def _images(source: Source, files: Sequence[File], config: SourceConfig) -> list[Surveyed]:
    """Read the headers of the files that may be DICOM."""
    candidates = [file for file in files if kind_of(file.path) == "dicom"]
    keywords = [config.patient] if config.patient else []
    return survey(source, candidates, lambda file: "", keywords=keywords)[0]


def _person(image: Surveyed) -> str:
    return " ".join(str(value) for value in value_of(image.header, "PatientID"))
