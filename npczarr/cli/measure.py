"""The commands that measure masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from npczarr.cli import show
from npczarr.cli.options import (
    BreakLock,
    Config,
    Json,
    Scheduler,
    SourceOption,
    StorageOption,
    Store,
    Workers,
    as_options,
    new_file,
)
from npczarr.model.options import redacted
from npczarr.outputs import to_csv, write_whole

Csv = Annotated[Path | None, typer.Option(callback=new_file, help="Also write every scan's numbers to this CSV file.")]


def morphology(
    store: Store,
    method: Annotated[
        str, typer.Option(help="lorensen, as the published values; or lewiner, scikit-image's.")
    ] = "lorensen",
    csv: Csv = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    break_lock: BreakLock = False,
    storage_option: StorageOption = None,
    as_json: Json = False,
) -> None:
    """Measure every tumour: volume, surface area, diameter, regularity. Kept in the store as `morphology`."""
    where = {"workers": workers, "scheduler": scheduler, "break_lock": break_lock, "csv": csv}
    raise typer.Exit(int(measure_tumours(store, method, storage_option, where, as_json=as_json)))


def measure_tumours(
    store: str, method: str, storage_option: list[str] | None, where: dict[str, Any], *, as_json: bool = False
) -> bool:
    """Measure every tumour and print a table and the scans to look at again; whether one could not be measured."""
    from rich.markup import escape

    from npczarr.graphs.summarize import summary
    from npczarr.model.results import TABLE_2
    from npczarr.report.flags import quality

    result, failures = _measure(store, "morphology", storage_option, {"method": method}, where)
    raters = [str(label) for label in result["rater"].values] if "rater" in result.dims else []
    rows, flags = [], []
    for rater in raters or [""]:
        one = result.sel(rater=rater, drop=True) if rater else result
        rows += [{**row, "sequence": f"{row['sequence']} {rater}".strip()} for row in summary(one, TABLE_2)]
        found = show.flagged(quality(one))
        flags += [{**flag, "scan": f"{flag['scan']} {rater}".strip()} for flag in found]
    if as_json:
        typer.echo(json.dumps({"summary": rows, "flags": flags, "failures": failures}, indent=1))
    else:
        show.ranges(rows)
        for line in flags:
            show.out.print("[yellow]look at[/] " + escape(f"{line['scan']}  {line['problem']}"))
        show.failed(failures)
    return bool(failures)


def agreement(
    store: Store,
    tolerance: Annotated[float, typer.Option(help="In mm, for the surface Dice.")] = 2.0,
    csv: Csv = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    break_lock: BreakLock = False,
    storage_option: StorageOption = None,
    as_json: Json = False,
) -> None:
    """Compare the raters of a store: Dice, Jaccard, surface distances. Kept in the store as `agreement`."""
    where = {"workers": workers, "scheduler": scheduler, "break_lock": break_lock, "csv": csv}
    raise typer.Exit(int(compare_raters(store, tolerance, storage_option, where, as_json=as_json)))


def compare_raters(
    store: str, tolerance: float, storage_option: list[str] | None, where: dict[str, Any], *, as_json: bool = False
) -> bool:
    """Compare the raters and print the agreement of each sequence; whether a scan could not be compared."""
    return _compare(store, "agreement", storage_option, {"tolerance": tolerance}, where, as_json)


def score(
    store: Store,
    predictions: Annotated[
        str, typer.Argument(help="Folder, zip or URL of NIfTI masks in the source's layout, or a store.")
    ],
    name: Annotated[str | None, typer.Option(help="Of the result, score/NAME; by default the folder's name.")] = None,
    tolerance: Annotated[float, typer.Option(help="In mm, for the surface Dice.")] = 2.0,
    config: Config = None,
    csv: Csv = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    break_lock: BreakLock = False,
    storage_option: StorageOption = None,
    source_option: SourceOption = None,
    as_json: Json = False,
) -> None:
    """Compare a model's masks with the store's: Dice, Jaccard, surface distances. Kept as `score/NAME`."""
    parameters = {
        "predictions": predictions,
        "tolerance": tolerance,
        "config": config,
        "source_options": as_options(source_option),
    }
    where = {"workers": workers, "scheduler": scheduler, "break_lock": break_lock, "csv": csv}
    where["name"] = name
    raise typer.Exit(int(_compare(store, "score", storage_option, parameters, where, as_json)))


def _compare(
    store: str,
    measure: str,
    storage_option: list[str] | None,
    parameters: dict[str, Any],
    where: dict[str, Any],
    as_json: bool,
) -> bool:
    """Compare masks and print n, mean and median with their intervals; whether a scan could not be compared."""
    from npczarr.graphs.summarize import summary
    from npczarr.model.results import AGREEMENT_TABLE

    result, failures = _measure(store, measure, storage_option, parameters, where)
    rows = summary(result, AGREEMENT_TABLE)
    if as_json:
        typer.echo(json.dumps({"summary": rows, "failures": failures}, indent=1))
    else:
        show.intervals(rows)
        show.failed(failures)
    return bool(failures)


def _measure(
    store: str,
    measure: Any,  # noqa: ANN401 - one of three names
    storage_option: list[str] | None,
    parameters: dict[str, Any],
    where: dict[str, Any],
) -> tuple[Any, list[dict[str, str]]]:
    """Measure with a progress bar; the result, and the scans that failed."""
    from dataclasses import asdict

    from npczarr.graphs.measure_store import measure_store

    csv = where.pop("csv", None)
    with show.progress() as draw:
        result, failures = measure_store(
            store,
            measure,
            storage_options=as_options(storage_option),
            on_progress=draw,
            **where,
            **parameters,
        )
    if csv is not None:
        scalars = result[[name for name in result.data_vars if "axis" not in result[name].dims]]
        write_whole(csv, to_csv(scalars.to_dataframe()).encode())
        show.err.print(f"wrote {csv}")
    if not result.attrs["kept"]:
        show.err.print(f"the store may not be written by this process: the result is not kept in {redacted(store)}")
    return result, [asdict(failure) for failure in failures]
