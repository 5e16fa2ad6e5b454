"""The style of figures, and how they are written; without pyplot, so that a caller's own plots are not touched."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from npczarr.outputs import write_whole

Given = ParamSpec("Given")

COLUMN_INCHES = 3.5  # one column of a two-column journal
WIDE_INCHES = 5.5  # one and a half
#: Okabe and Ito, Color Universal Design, 2008: color-blind readers can distinguish them; the darker ones first.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
OUTLINE = "#E69F00"
GRAY = "#6b7280"
BOX_FROM = 5  # values: quartiles of fewer mean little
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: the same figure on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.6,
    "figure.dpi": 150,
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "svg.hashsalt": "npczarr",  # the same store gives the same file
    "text.parse_math": False,  # a dollar sign in a patient's name is a dollar sign
}


def styled(draw: Callable[Given, Figure]) -> Callable[Given, Figure]:
    """Decorate a function that draws: the figure has this style, and the caller's settings stay as they are."""

    @wraps(draw)
    def drawn(*args: Given.args, **kwargs: Given.kwargs) -> Figure:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(_STYLE)
            return draw(*args, **kwargs)

    return drawn


def blank(height_inches: float, *, width_inches: float = COLUMN_INCHES) -> Figure:
    """Return an empty figure, by default one column wide."""
    return Figure(figsize=(width_inches, height_inches), layout="constrained")


def colors_of(labels: Sequence[str]) -> dict[str, str]:
    """Color of each label, in order; with more labels than colors they come again."""
    return {label: COLORS[i % len(COLORS)] for i, label in enumerate(labels)}


def short(label: str, most: int = 18) -> str:
    """Cut a label that would not fit where it stands."""
    return label if len(label) <= most else f"{label[: most - 1]}…"


def plain_numbers(axis: Axis) -> None:
    """Give a logarithmic axis the ticks 0.5, 1, 2, 5, 10: no powers to be read."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 300 * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def dot_size(count: int) -> float:
    """Size of points that are many or few, in points."""
    return 4 if count < 15 else 2.6 if count < 60 else 1.8


def box(axes: Axes, at: float, values: NDArray[np.float64], color: str, *, width: float) -> None:
    """Draw a box (quartiles, whiskers to 1.5 times their distance, Tukey 1977) over its points."""
    aside = np.random.default_rng(0).uniform(-0.3, 0.3, len(values)) * width  # the same picture every time
    axes.plot(
        at + aside, values, "o", color=color, markersize=dot_size(len(values)), alpha=0.5, markeredgewidth=0, zorder=1
    )
    if len(values) >= BOX_FROM:
        axes.boxplot(
            values, positions=[at], widths=width, showfliers=False, patch_artist=True, manage_ticks=False, zorder=2,
            boxprops={"facecolor": color + "30", "edgecolor": color, "linewidth": 0.9},
            medianprops={"color": color, "linewidth": 1.8},
            whiskerprops={"color": color, "linewidth": 0.9}, capprops={"color": color, "linewidth": 0.9},
        )  # fmt: skip


def save(figure: Figure, path: Path, *, dpi: int = 300) -> Path:
    """Write a figure; the name's ending tells the format (png, svg, pdf)."""
    write_whole(path, encoded(figure, path.suffix.lstrip("."), dpi=dpi))
    return path


def save_all(figures: Mapping[str, Figure], folder: Path, formats: Sequence[str] = ("png", "svg", "pdf")) -> list[Path]:
    """Write figures into a folder, one file of each name and format."""
    folder.mkdir(parents=True, exist_ok=True)
    return [save(figure, folder / f"{name}.{kind}") for name, figure in figures.items() for kind in formats]


def encoded(figure: Figure, kind: str, *, dpi: int = 300, transparent: bool = False) -> bytes:
    """Return a figure as the content of a png, svg, pdf or webp file, without the time it was made."""
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    more: dict[str, Any] = {"pil_kwargs": {"quality": 86}} if kind == "webp" else {}
    buffer = io.BytesIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata, transparent=transparent, **more)
    return buffer.getvalue()


def data_url(content: bytes, kind: str) -> str:
    """Return a picture as a URL that holds it."""
    media = {"svg": "image/svg+xml", "png": "image/png", "webp": "image/webp"}[kind]
    return f"data:{media};base64,{base64.b64encode(content).decode()}"
