"""A zip archive whose members are found by readable names, whatever program packed it.

Names are UTF-8 where a member says so, else code page 437 by the format. Programs of Chinese and Japanese systems write
GBK or Shift-JIS without saying so; the bytes of all names together show which of them it is.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from typing import IO, Any

from npczarr.errors import SourceError
from npczarr.model.cohort import File
from npczarr.sources.name_encoding import find_encoding

_UTF8 = 0x800  # flag of a member whose name is UTF-8


class Archive:
    """A zip archive, open for reading.

    Raises
    ------
    SourceError
        If its names are in an encoding that is not known, or two members would have one name.
    """

    def __init__(self, file: Any) -> None:  # noqa: ANN401 - an open file
        self._zip = zipfile.ZipFile(file)
        self._members: dict[str, zipfile.ZipInfo] = {}
        members = [info for info in self._zip.infolist() if not info.is_dir() and not info.filename.endswith("\\")]
        for info, name in zip(members, _readable_names(members), strict=True):
            path = name.replace("\\", "/")
            before = self._members.setdefault(path, info)
            if _raw_name(before) != _raw_name(info):
                raise SourceError(f"two members of the archive are called {path}; unpack it, and rename one")
            self._members[path] = info

    def files(self) -> list[File]:
        """List the members that are files."""
        return [File(path, info.file_size, f"{info.CRC}") for path, info in self._members.items()]

    def getinfo(self, path: str) -> zipfile.ZipInfo:
        """Return a member by its readable path; KeyError if there is none."""
        return self._members[path]

    def open(self, info: zipfile.ZipInfo) -> IO[bytes]:
        """Open a member for reading."""
        return self._zip.open(info)


def _readable_names(members: Sequence[zipfile.ZipInfo]) -> list[str]:
    raw = [None if info.flag_bits & _UTF8 or info.orig_filename.isascii() else _raw_name(info) for info in members]
    encoding = find_encoding([name for name in raw if name is not None])
    return [
        info.filename.lstrip("/") if name is None else name.decode(encoding).lstrip("/")
        for info, name in zip(members, raw, strict=True)
    ]


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    """Return the bytes of the name, which zipfile has decoded."""
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437", "replace")
