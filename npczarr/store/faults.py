"""When a request fails: what is tried again, and how the rest is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from zarr.abc.store import Store

from npczarr.errors import NpczarrError, StoreError

Answer = TypeVar("Answer")

PATIENCE = timedelta(seconds=60)  # how long a server may be away


@contextmanager
def one_line(store: Store, act: str) -> Iterator[None]:
    """Say in one line where something could not be done; each library raises errors of its own.

    Raises
    ------
    StoreError
        In place of any other error; one that says there is no such object passes.
    """
    try:
        yield
    except NpczarrError:
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError) and not act.startswith("write"):
            raise
        kind = type(error).__name__
        advice = "check address, access and space left"
        if "Permission" in kind or "Unauthenticated" in kind:
            advice += "; access was refused: credentials are taken from the environment of each process"
        if isinstance(error, AttributeError | TypeError | ValueError | LookupError):
            advice = "what lies there is damaged or of another program"
        raise StoreError(f"{store}: cannot {act} ({kind}: {first_line(error)}); {advice}") from error


@contextmanager
def usable(url: str) -> Iterator[None]:
    """Say of which store it is that metadata or tables are not what they should be.

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
            f"{url}: cannot be used as a cohort store ({type(error).__name__}: {first_line(error)}); its metadata or "
            "tables are damaged or of another program, convert into a new store"
        ) from error


def first_line(error: Exception) -> str:
    """Return what an error says, without the pages that some libraries add."""
    text = str(error).partition("<?xml")[0].strip().rstrip(":")
    return (text.splitlines() or [type(error).__name__])[0]


async def again(request: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask, and ask again while the connection breaks, later each time."""
    end, wait = time.monotonic() + PATIENCE.total_seconds(), 0.1
    while True:
        try:
            return await request()
        except Exception as error:
            if not is_broken(error) or time.monotonic() + wait > end:
                raise
        await asyncio.sleep(wait)
        wait *= 2


def is_broken(error: Exception) -> bool:
    """Whether the connection broke; what a server refuses has other classes in obstore, or tells a status."""
    return type(error).__name__ == "GenericError" and "HTTP error" in str(error)
