"""Output that can be written whatever the encoding of the terminal, the pipe or the file that takes it."""

from __future__ import annotations

import codecs
import io
import os
import sys

import typer

_READABLE = "npczarr.readable"  # how Python names a way to treat what an encoding lacks
_LONGEST_SHORT = 0xFFFF  # the last character that four digits name
#: Signs of our own, and of the frames and bars that are drawn, in ASCII.
_SIGNS = str.maketrans(
    {
        "→": "->", "…": "...", "×": "x", "±": "+-", "−": "-", "–": "-", "•": "*", "·": "-", "²": "2", "³": "3",
        "≠": "!=", "≤": "<=", "≥": ">=", "─": "-", "━": "-", "╸": "-", "╺": "-", "│": "|", "┃": "|", "╭": "+",
        "╮": "+", "╰": "+", "╯": "+", "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+", "┴": "+",
        "┼": "+",
    }
)  # fmt: skip


def open_closed() -> None:
    """Open what a daemon has closed of the standard streams, so that what is written to them goes nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for as long as we run


def make_writable() -> None:
    """Let the output of this process take any text: what its encoding lacks is written in ASCII, and is no error."""
    codecs.register_error(_READABLE, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not where a program has put something else in its place
            stream.reconfigure(errors=_READABLE)


def print_file(text: str) -> None:
    """Print what is meant to become a file: in UTF-8 where it goes to a file or a pipe, whatever their encoding."""
    typer.echo(text if sys.stdout.isatty() else text.encode())


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    r"""Write our signs as similar ones, everything else as ``\u`` or ``\U`` and its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_SIGNS)
    return "".join(letter if letter.isascii() else _escaped(letter) for letter in text), error.end


def _escaped(letter: str) -> str:
    r"""Write a letter by its number, in the form that TOML and Python share.

    >>> _escaped("ü"), _escaped("😀")
    ('\\u00fc', '\\U0001f600')
    """
    number = ord(letter)
    return f"\\u{number:04x}" if number <= _LONGEST_SHORT else f"\\U{number:08x}"
