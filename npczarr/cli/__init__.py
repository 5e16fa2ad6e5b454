"""The command line: parse, one call, print."""

from npczarr.cli.entry import main

__all__ = ["main"]
