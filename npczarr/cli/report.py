"""The command that writes a report."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from npczarr.cli import show
from npczarr.cli.options import Scheduler, StorageOption, Store, Workers, as_options, new_file

Out = Annotated[Path, typer.Option("--out", "-o", callback=new_file, help="HTML file to write.")]


def report(
    store: Store,
    out: Out = Path("report.html"),
    reliability: Annotated[
        str | None, typer.Option(help="Store of the raters' masks, after npczarr agreement.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Label to report on, where masks have several. Default: the first.")
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for every figure as PNG, SVG and PDF.")] = None,
    tables: Annotated[Path | None, typer.Option(help="Folder for every table as CSV, Markdown and LaTeX.")] = None,
    quality_csv: Annotated[
        Path | None, typer.Option(callback=new_file, help="CSV file for the scans to look at again.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the output even if it is not a report by npczarr.")
    ] = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    storage_option: StorageOption = None,
) -> None:
    """Write a report: every patient, the paper's tables and figures, and the scans to look at again. One HTML file."""
    where = {"figures": figures, "tables": tables, "quality_csv": quality_csv}
    runs = {"workers": workers, "scheduler": scheduler}
    write(store, out, reliability, storage_option, runs, label=label, force=force, **where)


def write(
    store: str,
    out: Path,
    reliability: str | None = None,
    storage_option: list[str] | None = None,
    runs: dict[str, Any] | None = None,
    *,
    label: str | None = None,
    force: bool = False,
    **where: Any,  # noqa: ANN401 - figures, tables, quality_csv: paths or None
) -> None:
    """Write a report with a progress bar, and say where it is; exit code 1 if scans could not be read."""
    from npczarr.errors import ParameterError

    try:
        from npczarr.report.page import write_report
    except ModuleNotFoundError as error:
        raise ParameterError(
            f"a report needs {error.name}, which is not installed: pip install 'npczarr[report]'"
        ) from error
    started = time.perf_counter()
    with show.progress() as draw, warnings.catch_warnings(record=True) as damaged:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=UserWarning, module=__name__)
        write_report(
            store,
            out,
            label=label,
            reliability=reliability,
            storage_options=as_options(storage_option),
            force=force,
            on_progress=draw,
            **(runs or {}),
            **where,
        )
    size = out.stat().st_size / 1e6
    show.out.print(f"report of {size:.1f} MB in {time.perf_counter() - started:.1f} s  →  {out}")
    for path in where.values():
        if path is not None:
            show.out.print(f"wrote {path}")
    for one in damaged:
        show.out.print("[red]failed[/]", end=" ")
        show.out.print(str(one.message), markup=False)
    if damaged:
        raise typer.Exit(1)
