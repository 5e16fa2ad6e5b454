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
from npczarr.sources.encodings import is_paired, is_shift_jis

_UTF8 = 0x800  # flag of a member whose name is UTF-8
_SURE = 0.9  # of the characters must be common ones of the encoding
_CLEARLY = 0.3  # by so much more than in another encoding


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
            if before.orig_filename != info.orig_filename:
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
    raw = [
        None
        if info.flag_bits & _UTF8 or info.orig_filename.isascii()
        else info.orig_filename.encode("cp437", "replace")
        for info in members
    ]
    encoding = find_encoding([name for name in raw if name is not None])
    return [
        info.filename.lstrip("/") if name is None else name.decode(encoding).lstrip("/")
        for info, name in zip(members, raw, strict=True)
    ]


def find_encoding(names: Sequence[bytes]) -> str:
    """Tell the encoding of the names of an archive; they are of one.

    Parameters
    ----------
    names
        Bytes of the names that are not ASCII.

    Raises
    ------
    SourceError
        If they fit none of UTF-8, GBK, Shift-JIS and code page 437, or several alike.

    Examples
    --------
    >>> find_encoding(["数据/张三".encode("gbk")]), find_encoding(["データ".encode("cp932")])
    ('gbk', 'cp932')
    """
    if _decodes(names, "utf-8"):
        return "utf-8"
    joined = b"/".join(names)
    if not is_paired(joined) and not is_shift_jis(joined):
        return "cp437"  # single accented letters: as the format says
    scores = {encoding: _score(names, encoding) for encoding in ("gbk", "cp932")}
    best = max(scores, key=lambda encoding: scores[encoding])
    other = min(scores, key=lambda encoding: scores[encoding])
    if scores[best] >= _SURE and scores[best] - scores[other] >= _CLEARLY and not _is_korean(names):
        return best
    raise SourceError(
        "the names in the archive are neither UTF-8 nor clearly GBK or Shift-JIS, and names that are read wrong would "
        "become wrong labels; unpack the archive with a program that shows them right, and give the folder"
    )


def _score(names: Sequence[bytes], encoding: str) -> float:
    """Share of the characters that are common in the language of the encoding; 0 if the names do not fit it."""
    if not _decodes(names, encoding):
        return 0.0
    letters = [letter for name in names for letter in name.decode(encoding) if not letter.isascii()]
    if encoding == "gbk":
        return sum(_fits(letter, "gb2312") for letter in letters) / len(letters)
    if any("\u3040" <= letter <= "\u30ff" for letter in letters):
        return 2.0  # kana: no Chinese text has them
    first_level = (0x81 <= letter.encode(encoding)[0] <= 0x98 for letter in letters)
    return sum(first_level) / len(letters)


def _is_korean(names: Sequence[bytes]) -> bool:
    """Whether every character is Hangul in EUC-KR, whose bytes also are Chinese."""
    if not _decodes(names, "euc_kr"):
        return False
    letters = [letter for name in names for letter in name.decode("euc_kr") if not letter.isascii()]
    return all("\uac00" <= letter <= "\ud7a3" for letter in letters)


def _decodes(names: Sequence[bytes], encoding: str) -> bool:
    try:
        return all(name.decode(encoding) for name in names)
    except UnicodeDecodeError:
        return False


def _fits(letter: str, encoding: str) -> bool:
    try:
        return bool(letter.encode(encoding))
    except UnicodeEncodeError:
        return False
