"""The record of a cleaned copy: what it was made of and what things are called in it, by digests under the key."""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from npczarr.errors import ParameterError
from npczarr.sources.local import check_writable

NAME = ".npczarr-deidentify"  # hidden, so that no conversion takes it for a file of a scan
TEMPORARY = ".npczarr-part"  # ends the name of a file that is being written
_FORMAT = ["npczarr deidentify", 1]
_DIGITS = 32  # of a digest: 128 bits


@dataclass(frozen=True, slots=True)
class Made:
    """What a file of the copy is made of.

    Parameters
    ----------
    source
        Digest of the path of its source.
    content
        Digest of all that decides what is in it; "" while it is not known to be whole and of this source.
    """

    source: str
    content: str = ""


class Record:
    """Names and files of a copy, as earlier runs left them and as this one adds to them.

    Whoever does not have the key learns nothing from it, also by guessing names: every digest is an HMAC, and lines are
    sorted by them. A number that was given once is not given again.

    Parameters
    ----------
    key
        The secret of the copy.
    path
        File to keep the record in; None where no later run can continue, as nobody has the key.
    """

    def __init__(self, key: bytes, path: Path | None = None) -> None:
        self._key = hmac.digest(key, b"npczarr: record of a cleaned copy", hashlib.sha256)
        self._path = path
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        #: By path in the copy.
        self.files: dict[str, Made] = {}

    def digest(self, *parts: object) -> str:
        """Return the digest of some texts and numbers, which only the key makes."""
        return hmac.digest(self._key, json.dumps(parts).encode(), hashlib.sha256).hex()[:_DIGITS]

    def name(self, form: str, path: str) -> str:
        """Return what a file or folder of the source is called in the copy by a form of names, or ""."""
        return self._names.get(self.digest("name", form, path), "")

    def names(self) -> set[str]:
        """Return every name that was given."""
        return set(self._names.values())

    def give(self, form: str, path: str, name: str) -> None:
        """Call a file or folder so from now on."""
        self._names[self.digest("name", form, path)] = name

    def take_back(self, form: str, path: str) -> None:
        """Forget what a file or folder is called; its number stays taken."""
        self._names.pop(self.digest("name", form, path), None)

    def next_number(self, form: str, folder: str) -> int:
        """Return the next number of a form of names in a folder of the source, from 1."""
        digest = self.digest("count", form, folder)
        self._counts[digest] = self._counts.get(digest, 0) + 1
        return self._counts[digest]

    def save(self) -> None:
        """Write the record whole, in place of the earlier one.

        Raises
        ------
        ParameterError
            If it cannot be written.
        """
        if self._path is None:
            return
        lines: list[list[Any]] = [["name", *pair] for pair in sorted(self._names.items())]
        lines += [["count", *pair] for pair in sorted(self._counts.items())]
        lines += [["file", target, made.source, made.content] for target, made in sorted(self.files.items())]
        head = [*_FORMAT, self.digest("key"), len(lines)]
        try:
            write_file(self._path, _as_text([head, *lines]))
        except OSError as error:
            raise _unwritten(self._path, error) from error

    def confirm(self, made: dict[str, Made]) -> None:
        """Say that files are written, and keep that at once; what there is no room to keep is written again later.

        Raises
        ------
        ParameterError
            If the record cannot be written, though there is room.
        """
        self.files |= made
        if self._path is None or not made:
            return
        try:
            with self._path.open("ab") as file:
                file.write(_as_text(["file", target, one.source, one.content] for target, one in made.items()))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if not is_full(error):
                raise _unwritten(self._path, error) from error

    def load(self) -> None:
        """Read what earlier runs left; nothing in a folder without files.

        Raises
        ------
        ParameterError
            If the folder holds files but no record, or one of another key, or one that is damaged.
        """
        if self._path is None or not any(one.name != NAME + TEMPORARY for one in self._path.parent.iterdir()):
            return
        folder = self._path.parent
        damaged = f"{self._path}: is damaged, so nothing tells whose the files beside it are; give an empty folder"
        lines = self._lines()
        try:
            name, version, of_key, whole = json.loads(lines[0])
        except (ValueError, TypeError, LookupError) as error:
            raise ParameterError(damaged) from error
        if [name, version] != _FORMAT:
            raise ParameterError(
                f"{folder}: another version of npczarr made it, which this one cannot continue; give an empty folder"
            )
        if of_key != self.digest("key"):
            raise ParameterError(f"{folder}: was made with another key; give that one, or an empty folder")
        try:
            self._parse(lines[1:], whole)
        except (ValueError, TypeError) as error:
            raise ParameterError(damaged) from error

    def _lines(self) -> list[bytes]:
        path = cast("Path", self._path)
        try:
            return path.read_bytes().splitlines()
        except FileNotFoundError as error:
            raise ParameterError(
                f"{path.parent}: is not empty, and has no record ({NAME}) of a run with a key, so nothing tells whose "
                "its files are: it was made without a key or by an older version, or the record was left behind when "
                "the folder was copied; give an empty folder"
            ) from error
        except OSError as error:
            raise ParameterError(f"{path}: cannot be read ({error.strerror}); give an empty folder") from error

    def _parse(self, lines: list[bytes], whole: int) -> None:
        """Take the lines of a record: as many as were written whole, and those that were added one by one."""
        if len(lines) < whole:
            raise ValueError("lines are missing")
        for line in lines[:whole]:
            self._take(json.loads(line))
        for line in lines[whole:]:
            try:
                self._take(json.loads(line))
            except ValueError:  # cut off when the run was killed: the files are written again
                break

    def _take(self, line: list[Any]) -> None:
        kind, key, *values = line
        if kind == "name":
            (self._names[key],) = map(str, values)
        elif kind == "count":
            (self._counts[key],) = map(int, values)
        else:
            target = Path(key)
            if kind != "file" or target.is_absolute() or ".." in target.parts:
                raise TypeError("not a file of the copy")
            self.files[key] = Made(*map(str, values))


def is_record(name: str, content: bytes) -> bool:
    """Whether a file is the record of a copy, which holds nothing but digests and paths of the copy."""
    return name == NAME and content.startswith(_as_text([_FORMAT])[:-2])


def write_file(target: Path, content: bytes) -> None:
    """Write a file that has its name only when it is whole and on the disk; of one that fails nothing is left.

    Raises
    ------
    ParameterError
        If this locale has no letters for its name.
    OSError
        If it cannot be written.
    """
    check_writable(str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + TEMPORARY)
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def is_full(error: OSError) -> bool:
    """Whether there is no room on a disk, or none for this user."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _as_text(lines: Iterable[list[Any]]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _unwritten(path: Path, error: OSError) -> ParameterError:
    return ParameterError(f"{path}: cannot be written ({error.strerror}); a later run continues from what is there")
