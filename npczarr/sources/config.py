"""How a cohort is laid out: the published layout by default, any other by a TOML file.

.. code-block:: toml

    [layout]
    images = "{patient}/{session}/{sequence}/**"   # below any folder; * is within one name, ** across folders
    masks = ["{patient}/{session}/ROI-{mask}.nii*"]    # NIfTI, or DICOM: RTSTRUCT and SEG
    structures = ["{patient}/RTSTRUCT/**"]   # RTSTRUCT and SEG of any series of the patient; they name it themselves
    raters = ["{rater}/{patient}/ROI-{mask}.nii*"]   # masks of several raters, without images; also SEG, TIFF slices
    tables = ["*.csv"]
    patient = "PatientID"                    # one folder with everything: the header field that names the patient

    [sequences]                              # name in the store = how folders and masks call it
    T1WI = { folder = "T1WI", mask = "T1" }
    T2WI = { folder = "*t2*", mask = "T2", where = { EchoTime = ">60", ImageType = "!DERIVED" } }   # of its images

    [sessions]
    order = ["pre", "post"]                  # of visits, where their names hold no numbers that tell it

    [columns]                                # column of a table = name in the store
    "Alter" = "age"

    [labels]                                 # of several structures: name in the store = value, or name of an outline
    tumor = 1
    node = ["node*", 2]
    [values.sex]                             # entry of a table = what it means
    "H" = "male"

    [cohort]                                 # what a new store says of its data
    title = "My cohort"
    license = "CC BY 4.0"
    references = "doi:10.1000/182"

    [limits]                                 # of one scan; beyond them it is refused and the rest converts
    scan_gb = 4                              # decoded voxels
    files_gb = 8                             # its files, as they come out of an archive
    axis_voxels = 10000                      # its slices, rows or columns
    scan_seconds = 600
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword

from npczarr.errors import ParameterError, SourceError
from npczarr.model.clinical import CLINICAL
from npczarr.model.cohort import Where
from npczarr.model.label_set import Labels
from npczarr.model.limits import Limits
from npczarr.sources.label_config import parse_labels
from npczarr.sources.patterns import check_pattern
from npczarr.sources.where import parse_where

_LARGEST = 2**20
_MASKS_OF_SESSIONS = ("{patient}/{session}/ROI-{mask}.nii", "{patient}/{session}/ROI-{mask}.nii.gz")
_NAME = re.compile(r"[^\W\d_][\w-]{0,99}")


@dataclass(frozen=True, slots=True)
class SequenceRule:
    """One sequence: its name in the store, what `{sequence}` and `{mask}` stand for, and which images it is made of."""

    name: str
    folder: str
    mask: str
    where: Where = ()


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Patterns of a source's layout and names of its table columns.

    Parameters
    ----------
    images, masks, raters, tables
        Patterns for paths below any folder.
    structures
        Patterns of RTSTRUCT and SEG files that lie beside the series; the series that each names decides.
    patient
        DICOM keyword of the header field that names the patient, where folders do not; "" where they do.
    sequences
        In the order of the store; empty means that every name at `{sequence}` is one.
    visits
        Names of the visits in their order; empty where their own names or dates tell it.
    columns
        Name in the store by column name, ahead of the built-in aliases.
    values
        Meaning by entry, by name of the clinical field, ahead of the built-in words.
    cohort
        What a new store says of its data: title, license, references.
    limits
        What one scan may cost.
    labels
        Structures of the masks; empty if whatever is outlined is tumor.
    """

    images: tuple[str, ...] = ("{patient}/{sequence}/**",)
    masks: tuple[str, ...] = ("{patient}/ROI-{mask}.nii", "{patient}/ROI-{mask}.nii.gz", "{patient}/ROI-{mask}.dcm")
    structures: tuple[str, ...] = (
        *("{patient}/*.dcm", "{patient}/RTSTRUCT/**", "{patient}/RTSS/**", "{patient}/RS/**", "{patient}/SEG/**"),
        *("{patient}/structures/**", "{patient}/segmentations/**"),
    )
    raters: tuple[str, ...] = (
        "{rater}/{patient}/ROI-{mask}.nii",
        "{rater}/{patient}/ROI-{mask}.nii.gz",
        "{rater}/{patient}/ROI-{mask}.dcm",
        "{rater}/{patient}/{sequence}_{slice}_mask.tif*",
        "{rater}/{patient}/{sequence}_{slice}.tif*",
    )
    tables: tuple[str, ...] = ("*.csv",)
    patient: str = ""
    sequences: tuple[SequenceRule, ...] = (
        SequenceRule("T1WI", "T1WI", "T1"),
        SequenceRule("T2WI", "T2WI", "T2"),
        SequenceRule("CE-T1WI", "CE-T1WI", "CE-T1"),
    )
    visits: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    cohort: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    labels: Labels = ()


def load_config(path: str | Path | None) -> SourceConfig:
    """Read a TOML file; without one, the published layout.

    Raises
    ------
    SourceError
        If the file cannot be read, is not TOML, or holds a key or a type that is not known.
    """
    if path is None:
        return SourceConfig()
    try:
        text = tomllib.loads(_read(Path(path)))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"{path}: cannot be read as TOML ({reason}); check the file") from error
    _only(text, {"layout", "sequences", "sessions", "columns", "values", "cohort", "limits", "labels"}, str(path))
    for key in ("sequences", "columns", "values"):
        if not isinstance(text.get(key, {}), dict):
            raise SourceError(f"{path}, [{key}]: expected a table, got {text[key]!r}")
    given = _layout(text.get("layout", {}), f"{path}, [layout]")
    if "sequences" in text:
        given["sequences"] = tuple(_rule(name, rule, str(path)) for name, rule in text["sequences"].items())
        if any("{sequence}" in pattern for pattern in given.get("images", SourceConfig().images)):
            _check_folders(given["sequences"], f"{path}, [sequences]")
    return SourceConfig(
        **given,
        visits=_visits(text.get("sessions", {}), f"{path}, [sessions]"),
        columns=_columns(text.get("columns", {}), f"{path}, [columns]"),
        values=_values(text.get("values", {}), f"{path}, [values]"),
        cohort=_cohort(text.get("cohort", {}), f"{path}, [cohort]"),
        limits=_limits(text.get("limits", {}), f"{path}, [limits]"),
        labels=parse_labels(text.get("labels", {}), f"{path}, [labels]"),
    )


def _layout(layout: Any, where: str) -> dict[str, Any]:  # noqa: ANN401 - parsed TOML
    """Check the table of patterns; what it leaves out keeps its default."""
    _only(layout, {"images", "masks", "structures", "raters", "tables", "patient"}, where)
    place = where.removesuffix(", [layout]")
    given: dict[str, Any] = {}
    if "patient" in layout:
        given["patient"] = _keyword(layout["patient"], f"{place}, layout.patient")
        given["images"] = ("**",)
        given["masks"] = given["structures"] = ()
    owner = () if "patient" in given else ("{patient}",)
    needs = {"images": owner, "masks": owner, "structures": owner, "raters": ("{rater}", "{patient}"), "tables": ()}
    for key, needed in needs.items():
        if key in layout:
            given[key] = _patterns(layout[key], needed, f"{place}, layout.{key}")
    if "images" in layout:
        given["sequences"] = ()
    if any("{session}" in pattern for pattern in given.get("images", ())):
        given.setdefault("masks", _MASKS_OF_SESSIONS)
        for pattern in given["masks"]:
            check_pattern(pattern, ("{session}",), f"{place}, layout.masks, as the images have sessions")
    return given


def _patterns(value: Any, needed: tuple[str, ...], where: str) -> tuple[str, ...]:  # noqa: ANN401 - parsed TOML
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or (where.endswith("images") and not values):
        raise SourceError(f"{where}: expected a pattern or a list of patterns, got {value!r}")
    return tuple(check_pattern(one, needed, where) for one in values)


def _keyword(value: Any, where: str) -> str:  # noqa: ANN401 - parsed TOML
    if not isinstance(value, str) or tag_for_keyword(value) is None:
        raise SourceError(f"{where}: expected a DICOM keyword such as PatientID, got {value!r}")
    return value


def _visits(sessions: Any, where: str) -> tuple[str, ...]:  # noqa: ANN401 - parsed TOML
    _only(sessions, {"order"}, where)
    order = sessions.get("order", [])
    if not isinstance(order, list) or not all(isinstance(name, str) for name in order) or len({*order}) < len(order):
        raise SourceError(f'{where}: expected names of visits in their order, such as order = ["pre", "post"]')
    return tuple(order)


def _columns(columns: Mapping[str, Any], where: str) -> Mapping[str, str]:
    if not all(isinstance(value, str) for value in columns.values()):
        raise SourceError(f'{where}: expected lines of the form "column in the table" = "name in the store"')
    for column, name in columns.items():
        if not _NAME.fullmatch(name):
            raise SourceError(
                f"{where}, {column!r}: {name!r} cannot name an array of the store; expected letters, digits, "
                "- and _, beginning with a letter"
            )
    return columns


def _values(values: Mapping[str, Any], where: str) -> Mapping[str, Mapping[str, str]]:
    known = [known.name for known in CLINICAL if known.dtype == "string"]
    for name, meanings in values.items():
        if name not in known:
            raise SourceError(f"{where}: {name!r} is no clinical field of text, expected one of {', '.join(known)}")
        if not isinstance(meanings, dict) or not all(isinstance(one, str) and one for one in meanings.values()):
            raise SourceError(f'{where}, {name}: expected lines of the form "entry in the table" = "meaning"')
    return values


def _read(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST} bytes")
    return content.decode("utf-8")


def _only(table: Any, known: set[str], where: str) -> None:  # noqa: ANN401 - parsed TOML
    if not isinstance(table, dict):
        raise SourceError(f"{where}: expected a table, got {table!r}")
    unknown = sorted(set(table) - known)
    if unknown:
        raise SourceError(f"{where}: unknown key {unknown[0]!r}, expected one of {sorted(known)}")


def _rule(name: str, rule: Any, path: str) -> SequenceRule:  # noqa: ANN401 - parsed TOML
    where = f"{path}, sequences.{name}"
    _only(rule, {"folder", "mask", "where"}, where)
    folder, mask = rule.get("folder", name), rule.get("mask", name)
    if not (isinstance(folder, str) and isinstance(mask, str) and folder and mask):
        raise SourceError(f"{where}: folder and mask must be text, got {rule!r}")
    return SequenceRule(name, folder, mask, parse_where(rule.get("where", {}), f"{where}.where"))


def _check_folders(rules: Sequence[SequenceRule], where: str) -> None:
    """Refuse rules that name one folder and do not say which of its images are whose."""
    by_folder: dict[str, list[SequenceRule]] = {}
    for rule in rules:
        by_folder.setdefault(rule.folder.lower(), []).append(rule)
    for sharing in by_folder.values():
        check_shared(sharing, f"{where}: ")


def check_shared(rules: Sequence[SequenceRule], place: str = "") -> None:
    """Refuse rules for one folder unless each has a `where`, which says which of its images are whose.

    Raises
    ------
    SourceError
        If one of several has none; `place` begins the message.
    """
    without = [rule.name for rule in rules if not rule.where]
    if len(rules) < 2 or not without:
        return
    named = " and ".join(f'{rule.name} (folder = "{rule.folder}")' for rule in rules)
    raise SourceError(
        f"{place}{named} name the same folder, and {' and '.join(without)} {'have' if len(without) > 1 else 'has'} no "
        "rule `where`, so nothing tells which of its images are whose; give each of them one that the images of the "
        'others do not meet, such as where = { DiffusionBValue = "0" }, or write out more of the names of the folders'
    )


def _cohort(table: Any, where: str) -> Mapping[str, str]:  # noqa: ANN401 - parsed TOML
    _only(table, {"title", "license", "references"}, where)
    if not all(isinstance(value, str) for value in table.values()):
        raise SourceError(f'{where}: expected text, such as license = "CC BY 4.0"')
    return dict(table)


def _limits(table: Any, where: str) -> Limits:  # noqa: ANN401 - parsed TOML
    _only(table, {field.name for field in fields(Limits)}, where)
    try:
        return Limits(**table)
    except ParameterError as error:
        raise SourceError(f"{where}: {error}") from error
