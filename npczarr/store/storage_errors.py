"""Retries, and the wording of storage errors."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import TypeVar

from zarr.abc.store import Store
from zarr.storage import LocalStore

from npczarr.errors import NpczarrError, ReadOnlyError, StoreError, UnreachableError
from npczarr.model.options import redacted

Answer = TypeVar("Answer")

PATIENCE = timedelta(seconds=60)  # how long a server may be away
NO_BUCKET = "there is no such bucket: check its name, or create it"
SILENCE_SECONDS = 5.0  # of a server, after which a person is told why nothing happens
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_REFUSALS = ("status code: 401", "status code: 403")  # obstore has no class of its own for a refused listing
_LISTING = "Error performing list request"
_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound|bucket does not exist")
_AWAY = re.compile("HTTP error|status code: 50[0234]")  # of a server or of what stands before it


@contextmanager
def translate_errors(store: Store, act: str) -> Iterator[None]:
    """Raise one error of ours, in one line, for whatever a storage library raises.

    Parameters
    ----------
    store, act
        The store, and what is done with it, such as ``"read image/c/0/0/0/0/0"``.

    Raises
    ------
    ReadOnlyError
        If access for writing is refused, or for listing, without which nothing may be written.
    UnreachableError
        If a server did not answer.
    StoreError
        For any other error, but FileNotFoundError of something that is read, which passes.
    """
    try:
        yield
    except NpczarrError:
        raise
    except Exception as error:
        writing = act.startswith(("write", "delete"))
        if isinstance(error, FileNotFoundError) and not writing:
            raise
        advice = _advice(store, error, writing=writing)
        problem = redacted(f"{store}: cannot {act.strip()} ({type(error).__name__}: {first_line(error)}); {advice}")
        if _is_away(error):
            raise UnreachableError(problem, str(store)) from error
        unwritable = is_refusal(error) and (writing or _LISTING in str(error))
        raise (ReadOnlyError if unwritable else StoreError)(problem) from error


@contextmanager
def translate_damage(url: str) -> Iterator[None]:
    """Raise one error of ours for metadata or tables that are not what they should be.

    Raises
    ------
    StoreError
        In place of any error that npczarr does not raise on purpose: hostile metadata give all kinds.
    """
    try:
        yield
    except NpczarrError:
        raise
    except Exception as error:
        raise StoreError(
            f"{redacted(url)}: cannot be used as a cohort store ({type(error).__name__}: {first_line(error)}); its "
            "metadata or tables are damaged or of another program, convert into a new store"
        ) from error


def is_refusal(error: BaseException) -> bool:
    """Whether an error says that access is refused: permissions, a read-only place, credentials."""
    if isinstance(error, OSError):
        return isinstance(error, PermissionError) or error.errno in _READ_ONLY
    kind = type(error).__name__
    listing = kind == "GenericError" and any(status in str(error) for status in _REFUSALS)
    return listing or "Permission" in kind or "Unauthenticated" in kind


def is_bucket_missing(error: BaseException | None) -> bool:
    """Whether a server says that it has no such bucket or container."""
    return _NO_BUCKET.search(str(error)) is not None


def _is_away(error: Exception) -> bool:
    return type(error).__name__ == "GenericError" and _AWAY.search(str(error)) is not None


def _advice(store: Store, error: Exception, *, writing: bool) -> str:
    if is_refusal(error):
        return _advice_on_refusal(store, error)
    if is_bucket_missing(error):
        return NO_BUCKET
    if _is_away(error):
        return "the server does not answer as it should: check address and connection, or try again later"
    if isinstance(error, OSError) and error.errno == errno.EIO:
        return "the disk or its connection failed: check its health, and copy what is on it"
    if isinstance(error, AttributeError | TypeError | ValueError | LookupError):
        return "this object is damaged or of another program"
    return "check address, access and space left" if writing else "check address and access"


def _advice_on_refusal(store: Store, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return "its file system is read-only, or became so, as one does after errors of its disk: check it"
    if isinstance(getattr(store, "_store", store), LocalStore):  # of a wrapper, what it wraps
        return "the file system refuses access: check the permissions of the folder"
    if type(getattr(store, "store", None)).__name__ == "HTTPStore":  # of obstore: it signs nothing
        return (
            "the server refuses access, and no credentials are sent to it: check the address, and of a signed URL "
            "whether it is whole (in quotes on a command line), has not expired, and is of this very file"
        )
    advice = "check address and access; access was refused: credentials are taken from the environment of each process"
    if _LISTING in str(error):
        advice += "; where reading works, the right to list is missing (s3:ListBucket on S3)"
    return advice


def first_line(error: Exception) -> str:
    """Return the message of an error, without the pages that some libraries add, and without secrets in URLs."""
    text = str(error).partition("<?xml")[0].strip().rstrip(":")
    return redacted((text.splitlines() or [type(error).__name__])[0])


async def retry(request: Callable[[], Awaitable[Answer]]) -> Answer:
    """Repeat a request while the connection breaks, with longer and longer pauses."""
    end, wait = time.monotonic() + PATIENCE.total_seconds(), 0.1
    while True:
        try:
            return await request()
        except Exception as error:
            if not is_broken(error) or time.monotonic() + wait > end:
                raise
        await asyncio.sleep(wait)
        wait *= 2


class Silence:
    """Watches the requests to one store, and says once when its server has answered none of them for long."""

    def __init__(self) -> None:
        self._answered = 0.0
        self._said = False

    @contextmanager
    def watched(self, store: Store, act: str) -> Iterator[None]:
        """Watch one request."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        timer = loop.call_later(SILENCE_SECONDS, lambda: look())

        def look() -> None:
            nonlocal timer
            left = max(since, self._answered) + SILENCE_SECONDS - loop.time()
            if left > 0:
                timer = loop.call_later(left, look)
            elif not self._said:
                self._said = True
                logging.getLogger("npczarr").warning(
                    "%s: %.0f seconds without a whole answer (%s); still trying, check address and connection",
                    store, SILENCE_SECONDS, act,
                )  # fmt: skip

        try:
            yield
            self._answered = loop.time()
        finally:
            timer.cancel()


@lru_cache(maxsize=64)
def silence_of(url: str) -> Silence:
    """Return what watches a store in this process."""
    return Silence()


def is_broken(error: Exception) -> bool:
    """Whether the connection broke; what a server refuses has other classes in obstore, or tells a status."""
    return type(error).__name__ == "GenericError" and "HTTP error" in str(error)
