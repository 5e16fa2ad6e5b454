"""How a cohort is laid out: the published layout by default, anything else by a TOML file.

.. code-block:: toml

    [layout]
    images = "{patient}/{sequence}/**"       # below any folder; * is within one name, ** across folders
    masks = ["{patient}/ROI-{mask}.nii*"]    # NIfTI, or DICOM: RTSTRUCT and SEG
    structures = ["{patient}/RTSTRUCT/**"]   # RTSTRUCT and SEG of any series of the patient; they name it themselves
    raters = ["{rater}/{patient}/ROI-{mask}.nii*"]   # masks of several raters, without images
    tables = ["*.csv"]

    [sequences]                              # name in the store = how folders and masks call it
    T1WI = { folder = "T1WI", mask = "T1" }
    T2WI = { folder = "T2WI", mask = "T2", where = { EchoTime = ">60", ImageType = "!DERIVED" } }   # of its images

    [columns]                                # column of a table = name in the store
    "Alter" = "age"

    [labels]                                 # of several structures: name in the store = value, or name of an outline
    tumor = 1
    node = ["node*", 2]

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
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from npczarr.errors import ParameterError, SourceError
from npczarr.model.cohort import Where
from npczarr.model.label_set import Labels
from npczarr.model.limits import Limits
from npczarr.sources.label_config import parse_labels
from npczarr.sources.where import parse_where

_LARGEST = 2**20
_NAME = re.compile(r"[^\W\d_][\w-]{0,99}")
_FREE = re.compile(r"\{(?!slice\})\w*\}|\*")


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
    sequences
        In the order of the store; empty means that every folder at `{sequence}` is one.
    columns
        Name in the store by column name, ahead of the built-in aliases.
    cohort
        What a new store says of its data: title, license, references.
    limits
        What one scan may cost.
    labels
        Structures of the masks; empty if whatever is outlined is tumor.
    """

    images: str = "{patient}/{sequence}/**"
    masks: tuple[str, ...] = ("{patient}/ROI-{mask}.nii", "{patient}/ROI-{mask}.nii.gz", "{patient}/ROI-{mask}.dcm")
    structures: tuple[str, ...] = (
        *("{patient}/*.dcm", "{patient}/RTSTRUCT/**", "{patient}/RTSS/**", "{patient}/RS/**", "{patient}/SEG/**"),
        *("{patient}/structures/**", "{patient}/segmentations/**"),
    )
    raters: tuple[str, ...] = (
        "{rater}/{patient}/ROI-{mask}.nii",
        "{rater}/{patient}/ROI-{mask}.nii.gz",
        "{rater}/{patient}/{sequence}_{slice}_mask.tif*",
        "{rater}/{patient}/{sequence}_{slice}.tif*",
    )
    tables: tuple[str, ...] = ("*.csv",)
    sequences: tuple[SequenceRule, ...] = (
        SequenceRule("T1WI", "T1WI", "T1"),
        SequenceRule("T2WI", "T2WI", "T2"),
        SequenceRule("CE-T1WI", "CE-T1WI", "CE-T1"),
    )
    columns: Mapping[str, str] = field(default_factory=dict)
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
    _only(text, {"layout", "sequences", "columns", "cohort", "limits", "labels"}, str(path))
    for key in ("sequences", "columns"):
        if not isinstance(text.get(key, {}), dict):
            raise SourceError(f"{path}, [{key}]: expected a table, got {text[key]!r}")
    layout = text.get("layout", {})
    _only(layout, {"images", "masks", "structures", "raters", "tables"}, f"{path}, [layout]")
    given: dict[str, Any] = {}
    if "images" in layout:
        given["images"] = _pattern(layout["images"], ("{patient}",), f"{path}, layout.images")
        given["sequences"] = ()
    patterns = {"masks": ("{patient}",), "structures": ("{patient}",), "raters": ("{rater}", "{patient}"), "tables": ()}
    for key, needed in patterns.items():
        if key in layout:
            values = [layout[key]] if isinstance(layout[key], str) else layout[key]
            if not isinstance(values, list):
                raise SourceError(f"{path}, layout.{key}: expected a pattern or a list of patterns, got {values!r}")
            given[key] = tuple(_pattern(value, needed, f"{path}, layout.{key}") for value in values)
    if "sequences" in text:
        given["sequences"] = tuple(_rule(name, rule, str(path)) for name, rule in text["sequences"].items())
    columns = text.get("columns", {})
    if not all(isinstance(value, str) for value in columns.values()):
        raise SourceError(f'{path}, [columns]: expected lines of the form "column in the table" = "name in the store"')
    for column, name in columns.items():
        if not _NAME.fullmatch(name):
            raise SourceError(
                f"{path}, [columns], {column!r}: {name!r} cannot name an array of the store; expected letters, digits, "
                "- and _, beginning with a letter"
            )
    return SourceConfig(
        **given,
        columns=columns,
        cohort=_cohort(text.get("cohort", {}), f"{path}, [cohort]"),
        limits=_limits(text.get("limits", {}), f"{path}, [limits]"),
        labels=parse_labels(text.get("labels", {}), f"{path}, [labels]"),
    )


def path_regex(pattern: str, groups: Mapping[str, str]) -> re.Pattern[str]:
    """Compile a layout pattern, to be matched against the whole path below the source's root.

    ``{name}`` becomes the named group with the expression that ``groups`` gives, or one path component; the pattern may
    lie below any folder, which is the group ``below``.
    """
    seen: set[str] = set()
    folders = [_component(component, groups, seen) for component in pattern.split("/")]
    # (?>…): once a name fits it is not tried another way, or the time would grow with a power of the path's length
    expression = "".join(f"(?>{folder}/)" if "**" not in p else f"{folder}/" for folder, p in folders[:-1])
    return re.compile(f"(?P<below>(?:.*/)?){expression}{folders[-1][0]}", re.IGNORECASE)


def _component(component: str, groups: Mapping[str, str], seen: set[str]) -> tuple[str, str]:
    """Compile the part of a pattern between two slashes; return it with the part itself."""
    expression = ""
    for part in re.split(r"(\{\w+\}|\*\*|\*)", component):
        if re.fullmatch(r"\{\w+\}", part):
            name = part[1:-1]
            expression += f"(?P={name})" if name in seen else f"(?P<{name}>{groups.get(name, '[^/]+')})"
            seen.add(name)
        else:
            expression += {"**": ".+", "*": "[^/]*"}.get(part, re.escape(part))
    return expression, component


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


def _pattern(value: Any, needed: tuple[str, ...], where: str) -> str:  # noqa: ANN401 - parsed TOML
    if not isinstance(value, str) or not all(token in value for token in needed):
        held = f" that holds {', '.join(needed)}" if needed else ""
        raise SourceError(f"{where}: expected a pattern{held}, got {value!r}")
    unknown = set(re.findall(r"\{(\w*)\}", value)) - {"patient", "sequence", "mask", "rater", "slice"}
    if unknown:
        raise SourceError(
            f"{where}: unknown field {{{sorted(unknown)[0]}}}; known are patient, sequence, mask, rater, slice"
        )
    parts = value.split("/")
    if any("**" in part and part != "**" for part in parts):
        raise SourceError(f"{where}: ** stands for folders, expected it between slashes, got {value[:100]!r}")
    # what a path costs grows with the power of these
    freedom = parts.count("**") + max(len(_FREE.findall(part)) for part in parts)
    if freedom > 4 or len(value) > 1000:
        raise SourceError(
            f"{where}: too many of *, ** and {{field}} in {value[:100]!r}, which fits in more ways than can be tried; "
            "write out more of the names"
        )
    return value


def _rule(name: str, rule: Any, path: str) -> SequenceRule:  # noqa: ANN401 - parsed TOML
    where = f"{path}, sequences.{name}"
    _only(rule, {"folder", "mask", "where"}, where)
    folder, mask = rule.get("folder", name), rule.get("mask", name)
    if not (isinstance(folder, str) and isinstance(mask, str) and folder and mask):
        raise SourceError(f"{where}: folder and mask must be text, got {rule!r}")
    return SequenceRule(name, folder, mask, parse_where(rule.get("where", {}), f"{where}.where"))


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
