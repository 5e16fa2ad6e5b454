"""Files of a local folder and members of a zip archive, whatever hides behind their names."""

from __future__ import annotations

import errno
import os
import re
import stat
import zipfile
from collections.abc import Iterator

from npczarr.errors import SourceError
from npczarr.model.cohort import File
from npczarr.model.limits import Limits

#: Stands for the files of a folder that may not be listed, so that their loss is named.
UNLISTED = "folder that cannot be listed"
_RAW_BYTE = re.compile(r"\\x([89a-f][0-9a-f])")


def list_folder(root: str) -> list[File]:
    """List what lies below a folder; links to folders are not followed, so that loops end.

    Raises
    ------
    OSError
        If the folder itself cannot be listed.
    """
    os.scandir(root).close()
    return list(_walk(root.rstrip("/") + "/"))


def _walk(root: str) -> Iterator[File]:
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(root + below) as found:
                entries = list(found)
        except OSError:
            yield File(_printable(below + UNLISTED), 0, "")
            continue
        for entry in entries:
            path = below + entry.name
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path + "/")
                continue
            try:
                info = entry.stat()
                yield File(_printable(path), info.st_size, f"{info.st_mtime}")
            except OSError:  # a link to nowhere, or to itself
                yield File(_printable(path), 0, "")


def _printable(path: str) -> str:
    r"""Write bytes that are no UTF-8 as ``\xb0``: a name in another encoding could not be stored or printed."""
    return os.fsencode(path).decode("utf-8", "backslashreplace") if not path.isascii() else path


def read_file(root: str, path: str, limits: Limits) -> bytes | Exception:
    """Read a file below a folder, or return why not: pipes and devices would never end."""
    full = f"{root.rstrip('/')}/{path}"
    try:
        try:
            found = os.stat(full)
        except FileNotFoundError:
            full = _RAW_BYTE.sub(lambda byte: chr(0xDC00 + int(byte[1], 16)), full)
            found = os.stat(full)
        if stat.S_ISDIR(found.st_mode):
            return SourceError("is a link to a folder, which is not followed; put the folder in its place")
        if not stat.S_ISREG(found.st_mode):
            return SourceError("is a pipe or a device, expected a file; remove it")
        _check_size(found.st_size, limits)
        with open(full, "rb") as file:
            return file.read()
    except OSError as error:
        loop = error.errno == errno.ELOOP
        return SourceError("is a link to itself; remove it") if loop else error
    except (SourceError, ValueError, MemoryError) as error:
        return error


def read_member(archive: zipfile.ZipFile, path: str, limits: Limits) -> bytes | Exception:
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


def _check_size(nbytes: int, limits: Limits) -> None:
    try:
        limits.check_files([File("", nbytes, "")])
    except SourceError as error:
        raise SourceError(f"is too large: {error}") from error
