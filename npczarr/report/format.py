"""A table as Markdown, CSV, LaTeX or a fragment of HTML, with its title and notes; markup in a cell stays text."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from npczarr.errors import ParameterError
from npczarr.outputs import to_csv, write_whole

# each character once: a second pass would escape what the first wrote
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "≠": r"$\neq$"}
    | {
        "`": r"\textasciigrave{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "²": "$^2$",
        "³": "$^3$",
        "…": r"\ldots{}",
    }
    | {"[": "{[}", "]": "{]}"}  # at the start of a row, [ would be taken for an option of the line break before
)
_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_<>|~"})


def to_markdown(table: pd.DataFrame) -> str:
    r"""Write a table as Markdown, in the pipe form of GitHub and Pandoc.

    >>> print(to_markdown(pd.DataFrame({"a|b": ["*1*"]}, index=pd.Index(["x"], name="row"))))
    | row | a\|b |
    | --- | --- |
    | x | \*1\* |
    <BLANKLINE>
    """
    head, rows = _cells(table, _in_markdown)
    lines = [head, ["---"] * len(head), *rows]
    title, notes = _words(table, _in_markdown)
    parts = [f"**{title}**"] if title else []
    parts += ["\n".join(f"| {' | '.join(line)} |" for line in lines)] if rows else []
    parts += ["\n".join(f"- {note}" for note in notes)] if notes else []
    return "\n\n".join(parts) + "\n"


def to_latex(table: pd.DataFrame) -> str:
    r"""Write a table as a LaTeX float, with the lines of the booktabs package; notes follow below.

    >>> print(to_latex(pd.DataFrame({"R&D": ["5 %"]}, index=pd.Index(["x"], name="row"))))
    \begin{table}
    \centering
    \begin{tabular}{ll}
    \toprule
    row & R\&D \\
    \midrule
    x & 5 \% \\
    \bottomrule
    \end{tabular}
    \end{table}
    <BLANKLINE>
    """
    head, rows = _cells(table, _in_latex)
    title, notes = _words(table, _in_latex)
    lines = [r"\begin{table}", r"\centering", *([rf"\caption{{{title}}}"] if title else [])]
    if rows:
        lines += [rf"\begin{{tabular}}{{{'l' * len(head)}}}", r"\toprule", rf"{' & '.join(head)} \\", r"\midrule"]
        lines += [rf"{' & '.join(row)} \\" for row in rows]
        lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {note}" for note in notes]
    return "\n".join([*lines, r"\end{table}", ""])


def to_html(table: pd.DataFrame) -> str:
    """Write a table as a fragment of HTML: a figure of class `table`, with its title as caption and a list of notes."""
    title, notes = _words(table, html.escape)
    parts = [f"<figcaption>{title}</figcaption>"] if title else []
    # by default pandas cuts long cells to the width of a screen
    with pd.option_context("display.max_colwidth", None):
        parts += [] if table.empty else [table.to_html(escape=True, border=0, na_rep="")]
    parts += [f"<ul>{''.join(f'<li>{note}</li>' for note in notes)}</ul>"] if notes else []
    return "\n".join(['<figure class="table">', *parts, "</figure>", ""])


_WRITERS: dict[str, Callable[[pd.DataFrame], str]] = {
    ".md": to_markdown,
    ".csv": to_csv,
    ".tex": to_latex,
    ".html": to_html,
}


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table to a file in the format that its suffix names: .md, .csv, .tex or .html.

    Raises
    ------
    ParameterError
        If the name has another end.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise ParameterError(f"{path}: expected a name that ends in {', '.join(_WRITERS)}; choose one")
    write_whole(Path(path), _WRITERS[suffix](table).encode())


def _words(table: pd.DataFrame, escape: Callable[[str], str]) -> tuple[str, list[str]]:
    return escape(table.attrs.get("title", "")), [escape(note) for note in table.attrs.get("notes", [])]


def _cells(table: pd.DataFrame, escape: Callable[[str], str]) -> tuple[list[str], list[list[str]]]:
    """Head and rows as escaped text; labels of a group stand in its first row only."""
    depth = table.index.nlevels
    head = [*(name or "" for name in table.index.names), *table.columns]
    rows, above = [], [""] * (depth - 1)
    for labels, values in zip(table.index, table.itertuples(index=False, name=None), strict=True):
        own = [str(label) for label in (labels if depth > 1 else (labels,))]
        shown = ["" if own[: i + 1] == above[: i + 1] else own[i] for i in range(depth - 1)] + own[-1:]
        above = own[:-1]
        rows.append(_written([*shown, *values], escape))
    return _written(head, escape), rows


def _written(cells: Iterable[Any], escape: Callable[[str], str]) -> list[str]:
    return [escape("" if pd.isna(cell) else str(cell)) for cell in cells]


def _in_markdown(text: str) -> str:
    return re.sub(r"\s+", " ", text).translate(_MARKDOWN).replace("](", "]\\(")


def _in_latex(text: str) -> str:
    return re.sub(r"\s+", " ", text).translate(_LATEX)
