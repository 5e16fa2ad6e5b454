"""Paths that people name, files that appear whole or not at all in folders of one run, and text that is harmless."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from npczarr.errors import ParameterError

try:
    import fcntl
except ImportError:  # Windows: nothing keeps two runs apart
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import pandas as pd

_START = 4096  # characters that tell what a file is
#: What a spreadsheet may take for a formula, but for a number with a sign.
_FORMULA = re.compile(r"\s*(=|@|[+-](?!\s*[\d.])|\t|\r)")
#: Controls by which a text could move the cursor, hide itself or run a command of the terminal; those of direction too.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def expanded(path: str | Path) -> Path:
    """Return a path with the home folder for its ``~``; where there is none, as a name like any other, as shells do.

    >>> str(expanded("~nobody-of-this-name.zarr"))
    '~nobody-of-this-name.zarr'
    """
    return Path(os.path.expanduser(path))  # Path.expanduser raises an error


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder of outputs while the block runs, if the system and its file system have locks.

    The lock is the operating system's, which ends with the process.

    Raises
    ------
    ParameterError
        If another run is writing there.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ParameterError(
            f"{folder}: another run is writing there; wait until it has ended, or name another folder"
        ) from error
    except OSError:  # a file system without locks
        return


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write a file or a folder at; it takes the name once the block is done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{uuid4().hex[:8]}-{path.name}")
    try:
        yield draft
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(draft, path)
    except OSError as error:
        if error.filename in (None, str(draft)):  # people know the file by its own name; a full disk names none
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # what cannot be written may refuse to be deleted, too
            if draft.is_dir():
                shutil.rmtree(draft)
            else:
                draft.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole; a folder of that name stays."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    with whole(path) as draft:
        draft.write_bytes(content)


def check_outside_stores(path: str | Path) -> None:
    """Refuse a path in a Zarr store, where a file or folder of another kind is damage.

    Raises
    ------
    ParameterError
        If it, or a folder above it, holds a ``zarr.json``.
    """
    place = expanded(path).resolve()
    for folder in (place, *place.parents):
        if os.path.isfile(folder / "zarr.json"):
            raise ParameterError(f"{path}: lies in the store {folder}; name a path outside of it")


def check_replaceable(path: Path, is_ours: Callable[[str], bool]) -> None:
    """Refuse to overwrite what is no text file of npczarr; an empty file may be overwritten.

    Parameters
    ----------
    path
        File to write.
    is_ours
        Whether npczarr writes files that start so.

    Raises
    ------
    ParameterError
        If something else is there.
    """
    if path.exists() and not path.is_file():
        raise ParameterError(f"{path} is a folder or a device; name a file to write")
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            start = file.read(_START)
        if start.strip() and not is_ours(start):
            raise ParameterError(f"{path} is there already and was not written by npczarr; name another file")


def to_csv(frame: pd.DataFrame, *, index: bool = True) -> str:
    """Write a table as CSV in which no text is taken for a formula: before such a text stands an apostrophe."""
    safe = frame.copy()
    for i, kind in enumerate(frame.dtypes):
        if kind.kind not in "biufcmM":
            safe.isetitem(i, frame.iloc[:, i].map(_harmless).to_numpy())
    if index and not safe.index.empty:
        safe.index = safe.index.map(_harmless_label).set_names(frame.index.names)
    if len(safe.columns):
        safe.columns = safe.columns.map(_harmless_label).set_names(frame.columns.names)
    return str(safe.to_csv(index=index, lineterminator="\n"))


def _harmless(value: object) -> object:
    """Return a value as a cell; text that could be a formula with an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _harmless_label(label: object) -> object:
    return tuple(map(_harmless, label)) if isinstance(label, tuple) else _harmless(label)


def printable(text: str) -> str:
    r"""Return a text without what a terminal would act upon.

    >>> printable("a\x1b[2Jb\n")
    'a\\x1b[2Jb\n'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
