"""One run of the program: its commands, what is said of an error, and the exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from npczarr.cli import show
from npczarr.cli.app import app
from npczarr.cli.streams import make_writable, open_closed
from npczarr.errors import NpczarrError
from npczarr.model.options import redacted

_BY_CTRL_C = 130  # as typer reports it
_BY_SIGTERM = 128 + signal.SIGTERM
_TWICE_SECONDS = 1.0  # `timeout` and schedulers send SIGTERM to a process and at once to its whole group
_ANYWHERE = {"-h", "--help", "--version"}


def main() -> None:
    """Run the command line: exit code 0 all well, 1 some scans failed, 2 wrong use, 130 Ctrl-C, 143 SIGTERM."""
    open_closed()
    make_writable()
    warnings.showwarning = show.warned
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # that it keeps its cache in a temporary folder
    _check_folder()
    with _ended_by_sigterm():
        _run()


def _check_folder() -> None:
    """Refuse to work in a folder that was deleted: the system gives no path there, and the error names another."""
    try:
        os.getcwd()
    except FileNotFoundError:
        if sys.argv[1:] and not _ANYWHERE.intersection(sys.argv):
            _say("the folder that you are in was deleted: change to another, then run the command again")


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that what was begun is cleaned up; the exit code is 143.

    A second one ends this process at once. A process that was forked from it ends as if nobody had handled it.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    received: list[float] = []
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        received.append(time.monotonic())
        if os.getpid() != process or received[-1] - received[0] > _TWICE_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        at_ctrl_c = signal.getsignal(signal.SIGINT)
        if len(received) > 1:
            return
        if callable(at_ctrl_c):  # which may be deferred
            at_ctrl_c(signal.SIGINT, frame)
        else:
            sys.exit(_BY_SIGTERM)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if received:
            sys.exit(_BY_SIGTERM)


def _run() -> None:
    try:
        app()
    except NpczarrError as error:
        _say(str(error))
    except OSError as error:  # of a file to be written: what is read has errors of its own
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{where}{error.strerror or error}; check the path, the access to it and the space left")
    except (MemoryError, RuntimeError) as error:
        # where memory is limited, a thread may be what there is no room for
        if isinstance(error, RuntimeError) and "start new thread" not in str(error):
            raise
        _say(f"not enough memory ({error or 'MemoryError'}); raise its limit, or let fewer work at once (--workers 1)")
    except SystemExit as ended:
        if ended.code in (_BY_CTRL_C, _BY_SIGTERM):
            show.stopped(next((word for word in sys.argv[1:] if not word.startswith("-")), ""))
        raise


def _say(error: str) -> None:
    show.err.print("[bold red]error[/]", end=" ")
    show.err.print(redacted(error), markup=False)
    sys.exit(2)
