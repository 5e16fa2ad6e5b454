"""What Ctrl-C may not reach, and when: a terminal interrupts every process of a program at once, at any moment."""

from __future__ import annotations

import signal
import threading
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
def deferred() -> Iterator[None]:
    """Let Ctrl-C wait until the block has ended; a second one does not wait."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or not _in_main_thread():
        yield
        return
    pressed = False

    def wait(number: int, frame: object) -> None:
        nonlocal pressed
        if pressed:
            before(number, None)
        pressed = True

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        before(signal.SIGINT, None)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
