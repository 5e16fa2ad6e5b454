"""One run at a time in a folder of an export: a lock of the operating system, which ends with the process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from npczarr.errors import ParameterError

try:
    import fcntl
except ImportError:  # Windows: nothing keeps two runs apart
    fcntl = None  # type: ignore[assignment]


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder while the block runs, if the system and its file system have locks.

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
