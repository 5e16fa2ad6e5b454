"""Labels of scans by the names of files: what a name stands for, in which order, and which files are looked at."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence

from npczarr.errors import SourceError
from npczarr.model.cohort import File

LONGEST_PATH, DEEPEST_PATH = 1000, 40
IGNORED = re.compile(r"(^|/)(__MACOSX/|\.|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)


class Tokens:
    """Names of sequences by how folders or masks call them; letter case does not matter, ``*`` is any text.

    Several sequences may be called alike: those of one folder, and those that share a mask.

    Parameters
    ----------
    pairs
        How it is called, and its name in the store.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._names: dict[str, tuple[str, ...]] = {}
        for token, name in pairs:
            known = self._names.get(token.lower(), ())
            self._names[token.lower()] = (*known, *(one for one in (name,) if one not in known))

    def group(self, name: str) -> dict[str, str]:
        """Expression of a group of this name, for a pattern; none where any name is taken."""
        longest_first = sorted(self._names, key=len, reverse=True)
        parts = [re.escape(token).replace(r"\*", "[^/]*") for token in longest_first]
        return {name: "|".join(parts)} if parts else {}

    def fitting(self, token: str) -> dict[str, tuple[str, ...]]:
        """Names in the store of every token that fits: the one letter for letter, then those with ``*``."""
        lower = token.lower()
        globs = (glob for glob in self._names if "*" in glob and glob != lower and fnmatch.fnmatch(lower, glob))
        return {called: self._names[called] for called in (*(one for one in (lower,) if one in self._names), *globs)}

    def names(self, token: str) -> tuple[str, ...]:
        """Every name in the store that is called so: letter for letter, else by ``*``; the token itself if none is."""
        if token.lower() in self._names:
            return self._names[token.lower()]
        return tuple(dict.fromkeys(name for names in self.fitting(token).values() for name in names)) or (token,)

    def name(self, token: str) -> str:
        """Return the one name in the store, as :meth:`names` does.

        Raises
        ------
        SourceError
            If several are called so, and only one can be meant.
        """
        name, *others = self.names(token)
        if others:
            raise SourceError(
                f"{token} fits {', '.join((name, *others))} of [sequences], expected one of them: change how they are "
                "called until each file fits one"
            )
        return name


def visible_files(files: Sequence[File]) -> tuple[list[File], list[File]]:
    """Split files into those to be sorted and those whose path is odd; hidden ones are in neither."""
    plain, odd = [], []
    for file in files:
        if not _is_plain(file.path):
            odd.append(file)
        elif not IGNORED.search(file.path):
            plain.append(file)
    return plain, odd


def natural(label: str) -> list[tuple[int, int | str]]:
    """Sort key by which "9" comes before "10"; labels of equal numbers, such as "1" and "01", have an order too."""
    parts = [part for part in re.split(r"(\d+)", label) if part]
    return [*((0, int(part)) if part.isdecimal() else (1, part) for part in parts), (-1, label)]


def _is_plain(path: str) -> bool:
    """Whether a path names a place below the root, at a bearable length: matching takes its cube in the worst case."""
    parts = path.split("/")
    return len(path) <= LONGEST_PATH and len(parts) <= DEEPEST_PATH and "" not in parts and ".." not in parts
