"""The blocks of a page, as the template lays them out: paragraphs, tables, figures and lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from npczarr.outputs import to_csv
from npczarr.report.published import DIFFERS
from npczarr.report.style import COLUMN_INCHES, data_url, encoded


@dataclass(frozen=True, slots=True)
class Words:
    """A paragraph."""

    kind: ClassVar[str] = "words"
    text: str


@dataclass(frozen=True, slots=True)
class Absent:
    """Something missing, and the command that makes it; "" if there is none."""

    kind: ClassVar[str] = "absent"
    what: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Numbers at a glance: pairs of label and number."""

    kind: ClassVar[str] = "tiles"
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """One patient on the contact sheet.

    Parameters
    ----------
    patient
        Label.
    url
        The picture; "" where the patient has no image.
    left, right
        Side of the patient at either edge of the picture.
    lines
        Lines of text below the picture.
    stage, volume_cm3
        Sort keys: rank of the stage, and volume; -1 where not known.
    """

    patient: str
    url: str
    left: str
    right: str
    lines: tuple[str, ...]
    stage: int
    volume_cm3: float


@dataclass(frozen=True, slots=True)
class Sheet:
    """The contact sheet: a tile for each patient, and the keys that it can be sorted by."""

    kind: ClassVar[str] = "sheet"
    caption: str
    tiles: tuple[Tile, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Glossary:
    """Terms and their definitions."""

    kind: ClassVar[str] = "glossary"
    title: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """A list of sentences."""

    kind: ClassVar[str] = "list"
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class File:
    """A file that can be saved from the page."""

    kind: ClassVar[str] = "file"
    name: str
    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure on the page; sizes in CSS pixels keep its place while it is decoded."""

    name: str
    title: str
    caption: str
    url: str
    width: int
    height: int
    wide: bool = False
    photographic: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures side by side."""

    kind: ClassVar[str] = "figures"
    figures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table; `key` is its sort key where that differs from its text."""

    text: str
    tag: str = "td"
    classes: str = ""
    span: int = 1
    key: str | None = None
    scope: str = "row"
    sorts: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table; with `folded`, hidden behind that line of text.

    A wide one breaks "median (min-max)" in two; a tall one scrolls in a box of its own.
    """

    kind: ClassVar[str] = "table"
    caption: str
    head: tuple[tuple[Cell, ...], ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    sortable: bool = True
    folded: str = ""
    wide: bool = False
    tall: bool = False


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """Every problem of one scan or one patient, or of several whose problems are the same and that have no picture."""

    patient: str
    sequence: str
    rank: int
    pictures: tuple[str, ...]
    problems: tuple[tuple[str, bool], ...]
    reasons: tuple[tuple[str, str], ...]
    numbers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problems:
    """The table of scans to be looked at again."""

    kind: ClassVar[str] = "problems"
    caption: str
    rows: tuple[ProblemRow, ...]


_NARROW = 6  # columns
_SHORT = 30  # rows

Block = Words | Absent | Tiles | Sheet | Glossary | Lines | File | Figures | Table | Problems


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its blocks; `fresh` begins a page on paper."""

    name: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)
    fresh: bool = False


def as_picture(figure: Figure, name: str, title: str, caption: str, *, photographic: bool = False) -> Picture:
    """Put a figure on the page: as vectors, or as pixels where it is made of images."""
    inches = figure.get_size_inches()
    width, height = (int(side * 160) for side in inches)
    kind = "webp" if photographic else "svg"
    url = data_url(encoded(figure, kind, transparent=not photographic), kind)
    return Picture(name, title, caption, url, width, height, inches[0] > COLUMN_INCHES, photographic)


def as_table(
    frame: pd.DataFrame, caption: str, *, sortable: bool = False, folded: str = "", notes: Sequence[str] | None = None
) -> Table:
    """Put a DataFrame on the page; its index stands in front, and columns of several levels get several rows of heads.

    In a table that keeps its order, a group is named in its first row only.
    """
    numbers = [all(map(_numeric, frame.iloc[:, i])) for i in range(frame.shape[1])]
    published = [str(label).endswith(", paper") for label in frame.columns.get_level_values(-1)]
    head = tuple(
        (*_corner(frame, level, sortable), *_heads(frame.columns, level, numbers, sortable))
        for level in range(frame.columns.nlevels)
    )
    rows = []
    values_of = frame.itertuples(index=False, name=None)
    for labels, values in zip(_row_labels(frame.index, sortable), values_of, strict=True):
        rows.append((*(Cell(label, "th") for label in labels), *map(_cell, values, numbers, published)))
    lines = frame.attrs.get("notes", []) if notes is None else notes
    wide, tall = frame.shape[1] > _NARROW, sortable and len(frame) > _SHORT
    return Table(caption, head, tuple(rows), tuple(map(str, lines)), sortable, folded, wide, tall)


def as_csv(frame: pd.DataFrame, name: str, text: str) -> File:
    """Offer a DataFrame as a CSV file."""
    import base64

    content = to_csv(frame, index=False).encode()
    return File(name, text, f"data:text/csv;base64,{base64.b64encode(content).decode()}")


def _corner(frame: pd.DataFrame, level: int, sortable: bool) -> list[Cell]:
    last = level == frame.columns.nlevels - 1
    names = [str(name or "") if last else "" for name in frame.index.names]
    return [Cell(name, "th", scope="col", sorts=sortable and bool(name)) for name in names]


def _row_labels(index: pd.Index[Any], sortable: bool) -> list[tuple[str, ...]]:
    labels = [tuple(map(_text, label)) if isinstance(label, tuple) else (_text(label),) for label in index]
    before: list[tuple[str, ...]] = [(), *labels[:-1]]
    return [
        label if sortable or len(label) < 2 or label[0] not in last[:1] else ("", *label[1:])
        for label, last in zip(labels, before, strict=True)
    ]


def _heads(columns: pd.Index[Any], level: int, numbers: list[bool], sortable: bool) -> list[Cell]:
    """Heads of one level; equal neighbors of an upper level become one."""
    labels = [str(label) for label in columns.get_level_values(level)]
    last = level == columns.nlevels - 1
    cells: list[Cell] = []
    for label, number in zip(labels, numbers, strict=True):
        if not last and cells and cells[-1].text == label:
            cells[-1] = Cell(label, "th", span=cells[-1].span + 1, scope="colgroup")
        else:
            cells.append(Cell(label, "th", "n" if number and last else "", scope="col", sorts=sortable and last))
    return cells


def _cell(value: Any, number: bool, published: bool) -> Cell:  # noqa: ANN401 - any value of a DataFrame
    text = _text(value)
    classes = {
        "n": number,
        "text": not number and len(text) > 40,
        "paper": published,
        "differs": text.endswith(DIFFERS),
    }
    return Cell(text, classes=" ".join(name for name, holds in classes.items() if holds))


def _numeric(value: object) -> bool:
    return isinstance(value, int | float) or text_number(str(value))


def text_number(text: str) -> bool:
    """Whether a text begins as a number does: such columns stand to the right."""
    return text == "" or text.lstrip("-−+<>~ ")[:1].isdigit()


def _text(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return str(value)
