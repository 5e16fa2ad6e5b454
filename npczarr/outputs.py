"""Paths that people name, files that appear whole or not at all in folders of one run, and text that is harmless."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
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
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


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
    with _lock_of(folder) as ours:
        if ours is False:
            raise ParameterError(
                f"{folder}: another run is writing there; wait until it has ended, or name another folder"
            )
        yield


@contextmanager
def _lock_of(folder: Path) -> Iterator[bool | None]:
    """Hold the lock of a folder while the block runs: True; False where another run holds it, or has replaced it.

    None where the system, or the file system, has no locks.
    """
    if fcntl is None:
        yield None
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        ours = _lock(handle)
        yield ours if os.path.samestat(os.fstat(handle), os.stat(folder)) else False
    finally:
        os.close(handle)


def _lock(handle: int) -> bool | None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a path to write a file or a folder at, which takes the place of ``path`` once the block is done.

    It lies in a hidden folder beside it; what a killed run has left there is deleted first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack:
            draft = _hidden_folder(path, stack) / path.name
            yield draft
            if path.is_dir():
                shutil.rmtree(path)
            os.replace(draft, path)
    except OSError as error:
        # people know the file by its own name; a full disk names none
        hidden = re.compile(rf"\.[0-9a-f]{{8}}-{re.escape(path.name)}")
        if error.filename is None or any(map(hidden.fullmatch, Path(str(error.filename)).parts)):
            error.filename = str(path)
        raise


def _hidden_folder(path: Path, stack: ExitStack) -> Path:
    """Make a folder beside a path that this run holds, and delete it, with what is in it, when the stack is closed.

    Its name is always the same, so that what is left of it is found at once; where another run holds it, or nobody
    knows for want of locks, any other.
    """
    digits = "0" * 8
    while True:
        folder = path.with_name(f".{digits}-{path.name}")
        digits = uuid4().hex[:8]
        with suppress(OSError), _lock_of(folder) as ours:
            if ours:
                shutil.rmtree(folder)
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        with suppress(FileNotFoundError):
            if stack.enter_context(_lock_of(folder)) is not False:  # else another run took it for one that was left
                stack.callback(_delete, folder)
                return folder


def _delete(folder: Path) -> None:
    try:
        folder.rmdir()  # as it is when all went well
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)  # what cannot be written may refuse that, too


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
