"""Files of a local folder and members of a zip archive; links, pipes and unreadable entries are named."""

from __future__ import annotations

import errno
import heapq
import os
import re
import stat
import sys
import zipfile
from collections.abc import Iterator

from npczarr.errors import ParameterError, SourceError
from npczarr.model.cohort import File
from npczarr.model.limits import Limits
from npczarr.sources.archive import Archive
from npczarr.sources.file_kinds import UNLISTED

#: Advice where the file system of this machine refuses; a login or a key would change nothing.
PERMISSIONS = "the file system does not let this user read it: change its permissions or those of the folders above it"
#: A byte as text: one that is no UTF-8, or a backslash that a name holds before such a text.
_BYTE = re.compile(rb"\\x([89a-f][0-9a-f]|5c)")


def list_folder(root: str) -> list[File]:
    """List what is below a folder, in no order; links to files and to folders are followed.

    A folder is listed once. A real folder keeps its own path, whatever links to it; a folder that only links lead to is
    listed below the first of them in sorted order, visible ones first. A further link to a listed folder, and one that
    leads back to where it is itself, is listed as an entry whose path ends in ``/``, which is no file: so it is named
    and belongs to no scan. A file is listed by every name that it has in visible folders, as two names may mean two
    masks, but not again in a hidden folder, where archives keep what such names link to.

    Raises
    ------
    OSError
        If the folder itself cannot be listed.
    """
    os.scandir(root).close()
    return list(_Walk(root).files())


class _Walk:
    """One walk through a folder: which real folders were listed, and what is still to be followed."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/") + "/"
        self._listed: set[str] = set()  # real paths: inode numbers are not unique on every network file system
        self._linked: set[tuple[int, int]] = set()  # device and inode of the files that a visible link names
        self._later: list[tuple[bool, str]] = []  # heap of links to folders and of hidden folders; visible first

    def files(self) -> Iterator[File]:
        yield from self._below("", os.path.realpath(self._root))
        while self._later:
            _, path = heapq.heappop(self._later)
            holder, target = (os.path.realpath(self._root + p) for p in (os.path.dirname(path), path))
            if _is_within(holder, target) or _is_within(os.path.realpath(self._root), target):
                yield from _passed_over(path)
            else:
                yield from self._below(path + "/", target)

    def _below(self, below: str, real: str) -> Iterator[File]:
        """Yield the files of a real folder and of those in it, but for links to folders and hidden folders."""
        waiting = [(below, real)]
        while waiting:
            below, real = waiting.pop()
            if real in self._listed:
                yield from _passed_over(below[:-1])
                continue
            self._listed.add(real)
            try:
                with os.scandir(self._root + below) as found:
                    entries = list(found)
            except OSError:
                yield File(_printable(below + UNLISTED), 0, "")
                continue
            for entry in entries:
                path = below + entry.name
                hidden = _is_hidden(path)
                if not _is_folder(entry):
                    yield from self._file(entry, path, hidden)
                elif entry.is_symlink() or (hidden and not _is_hidden(below)):
                    heapq.heappush(self._later, (hidden, path))
                else:
                    waiting.append((path + "/", f"{real.rstrip('/')}/{entry.name}"))

    def _file(self, entry: os.DirEntry[str], path: str, hidden: bool) -> Iterator[File]:
        try:
            info = entry.stat()
        except OSError:  # a link to nowhere, or to itself
            yield File(_printable(path), 0, "")
            return
        if not hidden and entry.is_symlink():
            self._linked.add((info.st_dev, info.st_ino))
        if not hidden or (info.st_dev, info.st_ino) not in self._linked:
            yield File(_printable(path), info.st_size, f"{info.st_mtime}")


def _passed_over(path: str) -> Iterator[File]:
    if not _is_hidden(path):
        yield File(_printable(path + "/"), 0, "")


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_within(path: str, folder: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")


def _printable(path: str) -> str:
    r"""Write a path as text that can be stored and printed, in any locale; no two paths become one text.

    A byte that is no UTF-8 becomes ``\xb0``. Where a name holds such a text itself, its backslash becomes ``\x5c``.
    """
    if path.isascii() and "\\" not in path:
        return path
    return _BYTE.sub(rb"\\x5cx\1", os.fsencode(path)).decode("utf-8", "backslashreplace")


def _on_disk(root: str, path: str) -> bytes:
    """Return the bytes of a path that was listed: text would be encoded as the locale has it."""
    raw = _BYTE.sub(lambda byte: bytes.fromhex(byte[1].decode()), path.encode("utf-8", "surrogateescape"))
    return os.fsencode(root.rstrip("/")) + b"/" + raw


def check_writable(name: str) -> None:
    """Refuse the name of a file to write that the encoding of this locale lacks a letter of.

    Raises
    ------
    ParameterError
        If it does.
    """
    try:
        os.fsencode(name)
    except UnicodeEncodeError as error:
        raise ParameterError(
            f"{name!r} cannot name a file here: names of files are in {sys.getfilesystemencoding()} in this locale, "
            f"which has no {name[error.start]!r}; run again with LC_ALL=C.UTF-8 in the environment"
        ) from error


def read_file(root: str, path: str, limits: Limits) -> bytes | Exception:
    """Read a file below a folder, or return why not: pipes and devices would never end."""
    try:
        full = _on_disk(root, path)
        found = os.stat(full)
        if stat.S_ISDIR(found.st_mode):
            return SourceError("is a link to a folder that is listed elsewhere; remove it")
        if not stat.S_ISREG(found.st_mode):
            return SourceError("is a pipe or a device, expected a file; remove it")
        _check_size(found.st_size, limits)
        with open(full, "rb") as file:
            return file.read()
    except OSError as error:
        return _explain(error, full)
    except (SourceError, ValueError, MemoryError) as error:
        return error


def _explain(error: OSError, path: bytes) -> Exception:
    """Return why a local file cannot be read, in words that may be stored: without a path."""
    if error.errno == errno.ELOOP:
        return SourceError("is a link to itself; remove it")
    if isinstance(error, PermissionError):
        return SourceError(f"cannot be read (PermissionError); {PERMISSIONS}")
    if isinstance(error, FileNotFoundError) and os.path.islink(path):
        return SourceError(
            "cannot be read: it is a link to a file that is not there; fetch the content (in a DataLad dataset by "
            "`datalad get`)"
        )
    return error


def read_member(archive: Archive, path: str, limits: Limits) -> bytes | Exception:
    """Read a member of an archive, or return why not; no more is unpacked than the archive says of its size."""
    try:
        info = archive.getinfo(path)
        _check_size(info.file_size, limits)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # zipfile unpacks the others without bound: a kilobyte of bzip2 can grow to a gigabyte in one step
            return SourceError("is packed in a way that is not read (expected deflate); unpack the archive first")
        with archive.open(info) as member:
            content = member.read(info.file_size)
        if len(content) != info.file_size:
            return SourceError(f"unpacks to {len(content)} of {info.file_size} bytes; download the archive again")
        return content
    except NotImplementedError as error:
        return SourceError(f"is packed in a way that is not read ({error}); unpack the archive first")
    except RuntimeError:
        return SourceError("is encrypted; unpack the archive with its password first")
    except KeyError:
        return FileNotFoundError(path)
    except Exception as error:  # zipfile and zlib name damage in a dozen ways
        return error


def read_file_head(root: str, path: str, nbytes: int) -> bytes:
    """Read the beginning of a regular file below a folder."""
    full = _on_disk(root, path)
    if not stat.S_ISREG(os.stat(full).st_mode):
        raise SourceError("is a pipe or a device, expected a file; remove it")
    with open(full, "rb") as file:
        return file.read(nbytes)


def read_member_head(archive: Archive, path: str, nbytes: int) -> bytes:
    """Read the beginning of a member of an archive."""
    info = archive.getinfo(path)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SourceError("is packed in a way that is not read (expected deflate); unpack the archive first")
    with archive.open(info) as member:
        return member.read(nbytes)


def _check_size(nbytes: int, limits: Limits) -> None:
    try:
        limits.check_files([File("", nbytes, "")])
    except SourceError as error:
        raise SourceError(f"is too large: {error}") from error
