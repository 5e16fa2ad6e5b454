"""The command line: parse, one call, print."""

from npczarr.cli.app import main

__all__ = ["main"]
