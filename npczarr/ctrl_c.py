"""What Ctrl-C may not reach, and when: a terminal interrupts every process of a program at once, at any moment."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ignored() -> Iterator[None]:
    """Ignore Ctrl-C; a process that is started in the block ignores it for good, and so do those that it forks.

    A thread other than the main one cannot choose that: there, nothing changes.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is None or not _in_main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def ignore() -> None:
    """Ignore Ctrl-C from now on, where this is the main thread."""
    if _in_main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def deferred(patience: float = 10) -> Iterator[None]:
    """Let Ctrl-C wait until the block has ended; one that comes `patience` seconds after the first does not wait."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or not _in_main_thread():
        yield
        return
    pressed: list[float] = []

    def wait(number: int, frame: object) -> None:
        pressed.append(time.monotonic())
        if len(pressed) > 1 and pressed[-1] - pressed[0] >= patience:
            before(number, None)

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        before(signal.SIGINT, None)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
