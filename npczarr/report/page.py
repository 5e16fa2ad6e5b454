"""The report: one HTML file that holds everything it shows and loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import warnings
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from npczarr.errors import ParameterError
from npczarr.model.label_set import flag_names
from npczarr.model.options import check_local
from npczarr.model.progress import OnProgress
from npczarr.outputs import check_outside_stores, to_csv, write_whole
from npczarr.report.contents import Contents
from npczarr.report.format import write_table
from npczarr.report.inputs import SYNTHETIC, ReportInputs, is_synthetic, read_inputs
from npczarr.report.quality import COLUMNS
from npczarr.report.sections import contents_of
from npczarr.report.style import save_all
from npczarr.report.table_text import count_people

_START = 4096  # characters in which a file shows what it is


def write_report(
    store: str | Path,
    out: str | Path,
    *,
    label: str | None = None,
    reliability: str | Path | None = None,
    figures: str | Path | None = None,
    tables: str | Path | None = None,
    quality_csv: str | Path | None = None,
    force: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Write the report of a store: the paper's tables and figures, and the scans to look at again.

    Every scan is read once. What the store lacks (clinical table, a sequence, raters, results) is named in the report
    with the command that makes it.

    Parameters
    ----------
    store
        Folder or URL of the store.
    out
        The HTML file to write; it holds its pictures and needs no other file.
    label
        Label of the masks that is outlined and measured, where they have several; by default the first.
    reliability
        Store of the raters' masks, with its `agreement`.
    figures
        Folder for every figure as PNG, SVG and PDF.
    tables
        Folder for every table as CSV, Markdown and LaTeX.
    quality_csv
        File for the list of scans to look at again.
    force
        Overwrite a file at `out` or `quality_csv` that no earlier report is.
    workers
        Local worker processes; 0 for this process. By default the active ``distributed.Client``, or threads of this
        process.
    scheduler
        Address of a running scheduler instead.
    storage_options
        Options of both stores' file systems; credentials belong in the environment.
    on_progress
        Called with a :class:`npczarr.Progress` when the scans to read are known, and after each.

    Returns
    -------
    pathlib.Path
        Where the report is.

    Raises
    ------
    StoreError
        If there is no store, or no store of raters where one is named.
    ParameterError
        If there is a file that no earlier report is, and not `force`.
    UnknownLabelError
        If the masks have no such label.

    Warns
    -----
    UserWarning
        If stored scans cannot be read: one for each, with the reason. The report is of all others, and lists them.
    """
    out = _writable(out, _OUR_PAGE, force)
    list_path = None if quality_csv is None else _writable(quality_csv, ",".join(COLUMNS), force)
    for folder in (figures, tables):
        if folder is not None:
            check_outside_stores(folder)
    inputs = read_inputs(
        store,
        label=label,
        reliability=reliability,
        workers=workers,
        scheduler=scheduler,
        storage_options=storage_options,
        on_progress=on_progress,
    )
    contents = contents_of(inputs)
    write_whole(out, render(inputs, contents).encode(errors="replace"))  # the name of a folder may be no text
    if figures is not None:
        save_all(contents.figures, Path(figures))
    if tables is not None:
        _save_tables(contents, Path(tables))
    if list_path is not None:
        write_whole(list_path, to_csv(inputs.findings, index=False).encode())
    for seen in inputs.scored.values():
        if seen.problem:
            warnings.warn(seen.problem, stacklevel=2)
    return out


_OUR_PAGE = '<meta name="generator" content="npczarr'  # what every report has near its start


def _writable(path: str | Path, ours: str, force: bool) -> Path:
    """Return a path that a report may be written to: a new one, or one that holds what an earlier report left.

    Raises
    ------
    ParameterError
        If something else is there.
    """
    check_local(path)
    check_outside_stores(path)
    path = Path(path)
    if path.is_dir():
        raise ParameterError(f"{path} is a folder; name a file to write, such as {path / 'report.html'}")
    if path.exists() and not force:
        with path.open(encoding="utf-8", errors="replace") as file:
            start = file.read(_START)
        if start.strip() and ours not in start:
            raise ParameterError(
                f"{path} was not written by npczarr; name another file, or overwrite it with --force (force=True)"
            )
    return path


def render(inputs: ReportInputs, contents: Contents) -> str:
    """Return the page: everything that comes from the store is escaped, and only this page's own script may run."""
    css, js = (files(__package__).joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False)
    environment.filters |= {"code": _with_code, "broken": _broken}
    name = inputs.name.rstrip("/").rsplit("/", 1)[-1]
    sequences = ", ".join(str(label) for label in inputs.dataset["sequence"].values)
    labels = list(flag_names(inputs.dataset["mask"].attrs)) if "mask" in inputs.dataset else []
    measured = f"; of the labels {', '.join(labels)} this page shows {inputs.label}" if inputs.label else ""
    return environment.from_string(template).render(
        title=f"Report of {name}",
        subtitle=f"{count_people(inputs.dataset)}, {sequences}{measured}",
        banner=SYNTHETIC if is_synthetic(inputs.dataset) else "",
        sections=contents.sections,
        version=version("npczarr"),
        footer=f"Written on {date.today():%d %B %Y} by npczarr {version('npczarr')} from a store of schema "
        f"{inputs.about['schema']}.",
        css=Markup(css),
        js=Markup(js),
        css_digest=_digest(css),
        js_digest=_digest(js),
    )


def _with_code(text: str) -> Markup:
    """Escape a sentence, and set what stands between backticks as code."""
    parts = (
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(text.split("`"))
    )
    return Markup().join(parts)


def _broken(text: str) -> Markup:
    """Escape a cell, and keep what stands in brackets on one line, so that a narrow column breaks before it."""
    first, bracket, rest = text.partition(" (") if " (" in text else text.partition(" [")
    return Markup("{} <span>{}</span>").format(first, f"{bracket[1:]}{rest}") if bracket else escape(text)


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _save_tables(contents: Contents, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in contents.tables.items():
        for kind in ("csv", "md", "tex"):
            write_table(frame, folder / f"{name}.{kind}")
