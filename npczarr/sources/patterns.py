"""Patterns of a layout: paths in which {patient}, {session}, {sequence} and others stand for names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from npczarr.errors import SourceError

_FREE = re.compile(r"\{(?!slice\})\w*\}|\*")
_ALTERNATIVES = re.compile(r"(?:\\.|[^|\\])+")  # of an expression a|b; no | in them but \|
_FIELDS = ("patient", "session", "sequence", "mask", "rater", "slice")


def check_pattern(value: Any, needed: tuple[str, ...], where: str) -> str:  # noqa: ANN401 - parsed TOML
    """Return a pattern that can be matched in bearable time.

    Parameters
    ----------
    value
        As the configuration gives it.
    needed
        What it must hold, such as ``"{patient}"``.
    where
        Its place in the configuration, for messages.

    Raises
    ------
    SourceError
        If it is no pattern.
    """
    if not isinstance(value, str) or not all(token in value for token in needed):
        held = f" that holds {', '.join(needed)}" if needed else ""
        raise SourceError(f"{where}: expected a pattern{held}, got {value!r}")
    unknown = set(re.findall(r"\{(\w*)\}", value)) - {*_FIELDS}
    if unknown:
        raise SourceError(f"{where}: unknown field {{{sorted(unknown)[0]}}}; known are {', '.join(_FIELDS)}")
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


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A layout pattern, compiled, to be matched against the whole path below the source's root.

    Parameters
    ----------
    every
        Any reading of a path, its fields as long as possible.
    by_name
        The same for one name of a sequence each, the longest name first; empty where names do not compete.
    shortest
        The same with fields as short as possible, by pattern; none where no two fields share a name.
    """

    every: re.Pattern[str]
    by_name: tuple[re.Pattern[str], ...] = ()
    shortest: Mapping[re.Pattern[str], re.Pattern[str]] = field(default_factory=dict)

    def fullmatch(self, path: str) -> re.Match[str] | None:
        """Match a path; of several names of sequences that fit, the longest is meant: CE_T1 in ``p1_CE_T1``, not T1."""
        found = self.every.fullmatch(path)
        if found is None:
            return None
        matches = (pattern.fullmatch(path) for pattern in self.by_name)
        return next((match for match in matches if match and match["below"] == found["below"]), found)

    def other_reading(self, found: re.Match[str]) -> re.Match[str] | None:
        """Match the path again with shorter fields; None where each field can only be what it was found to be."""
        pattern = self.shortest.get(found.re)
        other = pattern.fullmatch(found.string) if pattern else None
        return other if other and other.groupdict() != found.groupdict() else None


def path_regex(pattern: str, groups: Mapping[str, str], *, shallow: bool = False) -> PathPattern:
    """Compile a layout pattern.

    ``{name}`` becomes the named group with the expression that ``groups`` gives, or one path component; the pattern may
    be below any folder, which is the group ``below``: the deepest that fits, or with ``shallow`` the topmost.
    """
    shared = _fields_that_share(pattern)
    compete = next((name for name in ("sequence", "mask") if f"{{{name}}}" in shared and groups.get(name)), "")
    names = sorted(_ALTERNATIVES.findall(groups[compete]), key=len, reverse=True) if compete else []
    given = [groups, *({**groups, compete: name} for name in names if len(names) > 1)]
    every, *by_name = (_compile(pattern, one, shallow=shallow) for one in given)
    shortest = {
        long: _compile(pattern, one, shallow=shallow, shortest=True)
        for long, one in zip((every, *by_name), given, strict=True)
        if shared
    }
    return PathPattern(every, tuple(by_name), shortest)


def _fields_that_share(pattern: str) -> set[str]:
    """Fields that are in one name with another, or with ``*``: one may be longer where the other is shorter."""
    seen: set[str] = set()
    shared: set[str] = set()
    for folder in pattern.split("/"):
        free = [part for part in _FREE.findall(folder) if folder != "**" and part not in seen]
        seen |= {*free} - {"*"}
        if len(free) > 1:
            shared |= {*free}
    return shared


def _compile(pattern: str, groups: Mapping[str, str], *, shallow: bool, shortest: bool = False) -> re.Pattern[str]:
    seen: set[str] = set()
    folders = [_component(component, groups, seen, "?" * shortest) for component in pattern.split("/")]
    # (?>…): once a name fits it is not tried another way, or the time would grow with a power of the path's length
    expression = "".join(f"(?>{folder}/)" if "**" not in p else f"{folder}/" for folder, p in folders[:-1])
    below = "(?P<below>(?:.*?/)??)" if shallow else "(?P<below>(?:.*/)?)"
    return re.compile(f"{below}{expression}{folders[-1][0]}", re.IGNORECASE)


def _component(component: str, groups: Mapping[str, str], seen: set[str], lazy: str) -> tuple[str, str]:
    """Compile the part of a pattern between two slashes; return it with the part itself."""
    expression = ""
    for part in re.split(r"(\{\w+\}|\*\*|\*)", component):
        if re.fullmatch(r"\{\w+\}", part):
            name = part[1:-1]
            meaning = groups.get(name) or f"[^/]+{lazy}"
            expression += f"(?P={name})" if name in seen else f"(?P<{name}>{meaning})"
            seen.add(name)
        else:
            expression += {"**": ".+", "*": f"[^/]*{lazy}"}.get(part, re.escape(part))
    return expression, component
