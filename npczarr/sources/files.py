"""A folder, a zip archive or a URL, listed and read alike."""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from npczarr.errors import SourceError
from npczarr.model.cohort import File
from npczarr.model.limits import Limits
from npczarr.model.options import Options, family_of, fsspec_options, local_path, normalize_options, redacted
from npczarr.outputs import expanded
from npczarr.sources.archive import Archive
from npczarr.sources.local import PERMISSIONS, list_folder, read_file, read_file_head, read_member, read_member_head

#: A slice's number or a published mask; other names may hold a UID, a date or the name of a person.
_PLAIN_NAME = re.compile(
    r"((i|im|img|image|mr|s|slice|z)[-_ ]?)?0*\d{1,4}([-_ ]0*\d{1,4})?(\.(dcm|dicom|ima))?|ROI-(CE-)?T\d\.nii(\.gz)?",
    re.I,
)


@dataclass(frozen=True, slots=True, repr=False)
class Source:
    """Place of a cohort. Small and free of secrets, so it can travel in a task; each process opens it for itself.

    Parameters
    ----------
    url
        Folder, ``.zip`` file, or the fsspec URL of either.
    options
        Storage options, normalized; credentials belong in the environment of the process that reads.
    limits
        What one scan may cost; readers take it from here.
    """

    url: str
    options: Options = ()
    limits: Limits = field(default_factory=Limits)

    def __repr__(self) -> str:
        return f"Source({self.shown!r}, {dict(self.options)}, {self.limits})"

    @property
    def shown(self) -> str:
        """The URL for messages: without user, password and query."""
        return redacted(self.url)

    def files(self) -> list[File]:
        """List every file, sorted by path.

        Raises
        ------
        SourceError
            If there is nothing at the URL, or it cannot be read.
        """
        fs, root = _open(self)
        try:
            if isinstance(fs, LocalFileSystem):
                files = list_folder(root)
            elif isinstance(fs, Archive):
                files = fs.files()
            else:
                found = fs.find(root, detail=True)
                prefix = len(root.rstrip("/")) + 1 if root else 0
                files = [File(path[prefix:], int(info.get("size") or 0), _stamp(info)) for path, info in found.items()]
        except Exception as error:  # each protocol has errors of its own
            local = isinstance(fs, LocalFileSystem) and isinstance(error, PermissionError)
            advice = PERMISSIONS if local else "check the path and your access to it"
            raise SourceError(redacted(f"{self.url}: cannot be listed ({error}); {advice}")) from error
        if not files:
            raise SourceError(f"{self.shown}: there are no files; check the path and your access to it")
        if [file.path for file in files] == [""]:  # the URL itself
            query = re.match(r"https?://[^?]*\?", self.url)
            what = "one file by a URL with a query, of which neither kind nor size is known" if query else "one file"
            raise SourceError(
                f"{self.shown}: expected a folder or a .zip archive, found {what}; download it, and give the path of "
                "the archive or folder"
            )
        return sorted(files, key=lambda file: file.path)

    def read(self, paths: Sequence[str]) -> list[bytes | Exception]:
        """Read several files; in the place of one that cannot be read is the exception, see :func:`refusal_reason`."""
        fs, root = _open(self)
        if isinstance(fs, Archive):
            return [read_member(fs, path, self.limits) for path in paths]
        if isinstance(fs, LocalFileSystem):
            return [read_file(root, path, self.limits) for path in paths]
        full = [f"{root.rstrip('/')}/{path}" if root else path for path in paths]
        # cat_ranges takes paths as they are, where cat would expand a * or [ in a file name
        found: list[bytes | Exception] = fs.cat_ranges(full, None, None, on_error="return")
        return found

    def read_heads(self, files: Sequence[File], nbytes: int) -> list[bytes | Exception]:
        """Read the beginning of each file, as far as ``nbytes``; as :meth:`read` does in all else."""
        fs, root = _open(self)
        if isinstance(fs, LocalFileSystem | Archive):
            return [self._read_head(fs, root, file, nbytes) for file in files]
        full = [f"{root.rstrip('/')}/{file.path}" if root else file.path for file in files]
        ends = [min(nbytes, file.size) for file in files]
        found: list[bytes | Exception] = fs.cat_ranges(full, [0] * len(files), ends, on_error="return")
        return found

    def _read_head(self, fs: Any, root: str, file: File, nbytes: int) -> bytes | Exception:  # noqa: ANN401 - fsspec
        if file.size <= nbytes:
            return self.read([file.path])[0]
        try:
            if isinstance(fs, Archive):
                return read_member_head(fs, file.path, nbytes)
            return read_file_head(root, file.path, nbytes)
        except Exception as error:  # zipfile and zlib name damage in a dozen ways
            return error


def open_source(url: str | Path, options: Mapping[str, Any] | None = None, limits: Limits | None = None) -> Source:
    """Check that there is a folder or an archive at ``url`` and return its :class:`Source`.

    Raises
    ------
    ParameterError
        If an option is a secret, not known, or of a kind that no task could carry.
    SourceError
        If there is nothing there, or a file that is not a zip archive.
    """
    url = local_path(url)
    normalized = normalize_options(options, url)
    text = str(url)
    if "://" not in text:
        text = str(_local_path(text))
    source = Source(text, normalized, limits or Limits())
    _open(source)
    return source


def _local_path(text: str) -> Path:
    """Return the absolute path of a folder or an archive, which is there and may be opened."""
    try:
        path = expanded(text).resolve()
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            with path.open("rb"):  # zipfile takes one that may not be read for no archive
                pass
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceError(
            f"{text}: there is no such file or folder; give the unpacked folder or the .zip file"
        ) from error
    except PermissionError as error:
        raise SourceError(f"{text}: cannot be opened ({error.strerror}); {PERMISSIONS}") from error
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a NUL in the name, no such user
        raise SourceError(f"{text!r}: cannot be looked up ({error}); check the path") from error
    if not stat.S_ISDIR(mode) and not (stat.S_ISREG(mode) and zipfile.is_zipfile(path)):
        raise SourceError(f"{text}: expected a folder or a .zip archive, found another kind of file or part of one")
    return path


def describe_files(files: Sequence[File]) -> list[str]:
    """Name files for messages, which are stored: by their name where it is plain, else by their place in its order."""
    return [
        f"file {file.name}" if _PLAIN_NAME.fullmatch(file.name) else f"file {i} of {len(files)} by name"
        for i, file in enumerate(files, 1)
    ]


def refusal_reason(error: Exception) -> str:
    """Why a file could not be read, in words that may be stored: exceptions of other libraries hold paths."""
    if isinstance(error, SourceError):
        return str(error)
    system = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""
    return f"cannot be read ({system or type(error).__name__})"


@lru_cache(maxsize=8)
def _open(source: Source) -> tuple[Any, str]:
    """Open the file system, and return it with the root of the source; once in each process."""
    options = fsspec_options(source.url, source.options)
    try:
        fs, root = url_to_fs(source.url, **options)
    except (ImportError, ValueError, TypeError) as error:
        reason = redacted(str(error))
        raise SourceError(
            f"{source.shown}: cannot be opened ({reason}); check the options, and install what the protocol needs, for "
            "s3:// npczarr[s3]"
        ) from error
    try:
        path = re.split("[?#]", root)[0] if family_of(source.url) == "http" else root
        if ("://" not in source.url or path.lower().endswith(".zip")) and fs.isfile(root):
            file = fsspec.open(source.url, **options).open()
            if getattr(file, "size", 0) is None:
                raise SourceError("the server tells no size, or gives no ranges; download the file, and give its path")
            return Archive(file), ""
    except SourceError as error:
        raise SourceError(redacted(f"{source.url}: {error}")) from error
    except Exception as error:  # zipfile names damage in a dozen ways
        raise SourceError(redacted(f"{source.url}: the archive is damaged ({error}); download it again")) from error
    return fs, root


def _stamp(info: dict[str, Any]) -> str:
    """Return what changes with the content of a file: its checksum, ETag or time of modification."""
    for key in ("CRC", "ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created"):
        if info.get(key) is not None:
            return f"{info[key]}"
    return ""
