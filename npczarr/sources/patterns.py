"""Patterns of a layout: paths in which {patient}, {session}, {sequence} and others stand for names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from npczarr.errors import SourceError

_FREE = re.compile(r"\{(?!slice\})\w*\}|\*")
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


def path_regex(pattern: str, groups: Mapping[str, str], *, shallow: bool = False) -> re.Pattern[str]:
    """Compile a layout pattern, to be matched against the whole path below the source's root.

    ``{name}`` becomes the named group with the expression that ``groups`` gives, or one path component; the pattern may
    be below any folder, which is the group ``below``: the deepest that fits, or with ``shallow`` the topmost.
    """
    seen: set[str] = set()
    folders = [_component(component, groups, seen) for component in pattern.split("/")]
    # (?>…): once a name fits it is not tried another way, or the time would grow with a power of the path's length
    expression = "".join(f"(?>{folder}/)" if "**" not in p else f"{folder}/" for folder, p in folders[:-1])
    below = "(?P<below>(?:.*?/)??)" if shallow else "(?P<below>(?:.*/)?)"
    return re.compile(f"{below}{expression}{folders[-1][0]}", re.IGNORECASE)


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
