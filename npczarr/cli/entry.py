"""One run of the program: its commands, what is said of an error, and the exit code."""

from __future__ import annotations

import sys
import warnings

from npczarr.cli import show
from npczarr.cli.app import app
from npczarr.cli.streams import make_writable, open_closed
from npczarr.errors import NpczarrError
from npczarr.model.options import redacted


def main() -> None:
    """Run the command line: exit code 0 all well, 1 some scans failed, 2 wrong use."""
    open_closed()
    make_writable()
    warnings.showwarning = show.warned
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
        if ended.code == 130:  # Ctrl-C, as typer reports it
            show.stopped(next((word for word in sys.argv[1:] if not word.startswith("-")), ""))
        raise


def _say(error: str) -> None:
    show.err.print("[bold red]error[/]", end=" ")
    show.err.print(redacted(error), markup=False)
    sys.exit(2)
