"""The commands that measure masks."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from npczarr.cli import show, show_measures
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
    measures_file,
)
from npczarr.model.options import redacted
from npczarr.outputs import to_csv, write_whole

Label = Annotated[
    list[str] | None,
    typer.Option(help="Label to measure where masks have several; repeat the option for more. Default: all."),
]
LesionsCsv = Annotated[
    Path | None,
    typer.Option("--lesions", callback=measures_file, help="Also write a row for every lesion to this CSV file."),
]
Csv = Annotated[
    Path | None, typer.Option(callback=measures_file, help="Also write every scan's numbers to this CSV file.")
]


_LISTED = 10  # kinds of messages on the terminal


def _labels(given: list[str] | None) -> str | list[str] | None:
    return None if not given else given[0] if len(given) == 1 else given


def morphology(
    store: Store,
    method: Annotated[
        str, typer.Option(help="lorensen, as the published values; or lewiner, scikit-image's.")
    ] = "lorensen",
    label: Label = None,
    csv: Csv = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    break_lock: BreakLock = False,
    storage_option: StorageOption = None,
    as_json: Json = False,
) -> None:
    """Measure every tumor, or label: volume, surface area, diameter, regularity. Kept in the store as `morphology`.

    The table is in cm³, cm² and cm. --csv, --json and the store have mm³ (volume, voxel_volume), mm² (surface_area) and
    mm (max_diameter); all else has no unit.
    """
    where = {"workers": workers, "scheduler": scheduler, "break_lock": break_lock, "csv": csv, "label": _labels(label)}
    raise typer.Exit(int(measure_tumors(store, method, storage_option, where, as_json=as_json)))


def measure_tumors(
    store: str, method: str, storage_option: list[str] | None, where: dict[str, Any], *, as_json: bool = False
) -> bool:
    """Measure every tumor and print a table and the scans to look at again; whether one could not be measured."""
    from rich.markup import escape

    from npczarr.graphs.summarize import summary
    from npczarr.model.results import TABLE_2
    from npczarr.report.flags import flags_of

    result, failures = _measure(store, "morphology", storage_option, {"method": method}, where)
    rows, flags = [], []
    for name, one in _parts(result, ("rater", "label")):
        rows += [{**row, "sequence": f"{row['sequence']} {name}".strip()} for row in summary(one, TABLE_2)]
        found = show_measures.flagged(one, flags_of(one))
        flags += [{**flag, "scan": f"{flag['scan']} {name}".strip()} for flag in found]
    if as_json:
        typer.echo(show_measures.as_json({"summary": rows, "flags": flags, "failures": failures}))
    else:
        show_measures.ranges(rows)
        for line in flags:
            show.out.print("[yellow]look at[/] " + escape(f"{line['scan']}  {line['problem']}"))
        show.failed(failures)
    return bool(failures)


def agreement(
    store: Store,
    tolerance: Annotated[float, typer.Option(help="Tolerance of the surface Dice, in mm.")] = 2.0,
    label: Label = None,
    csv: Csv = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    break_lock: BreakLock = False,
    storage_option: StorageOption = None,
    as_json: Json = False,
) -> None:
    """Compare the raters of a store: Dice, Jaccard, surface distances. Kept in the store as `agreement`.

    Distances (hd, hd95, assd, average_…) are in mm, all else has no unit. Intervals draw patients: none below 5.
    """
    where = {"workers": workers, "scheduler": scheduler, "break_lock": break_lock, "csv": csv, "label": _labels(label)}
    raise typer.Exit(int(compare_raters(store, tolerance, storage_option, where, as_json=as_json)))


def compare_raters(
    store: str, tolerance: float, storage_option: list[str] | None, where: dict[str, Any], *, as_json: bool = False
) -> bool:
    """Compare the raters and print the agreement of each sequence; whether a scan could not be compared."""
    return _compare(store, "agreement", storage_option, {"tolerance": tolerance}, where, as_json)


def score(
    store: Store,
    predictions: Annotated[
        str,
        typer.Argument(help="Folder, zip or URL of NIfTI, SEG or RTSTRUCT masks named as in the source; or a store."),
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the result, score/NAME. Default: the folder's name.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Tolerance of the surface Dice, in mm.")] = 2.0,
    config: Config = None,
    label: Label = None,
    lesions: LesionsCsv = None,
    csv: Csv = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    break_lock: BreakLock = False,
    storage_option: StorageOption = None,
    source_option: SourceOption = None,
    as_json: Json = False,
) -> None:
    """Compare a model's masks with the store's: Dice, Jaccard, surface distances. Kept as `score/NAME`.

    Distances (hd, hd95, assd, average_…) are in mm, all else has no unit. Intervals draw patients: none below 5.
    """
    parameters = {
        "predictions": predictions,
        "tolerance": tolerance,
        "config": config,
        "source_options": as_options(source_option),
    }
    where = {"workers": workers, "scheduler": scheduler, "break_lock": break_lock, "csv": csv, "label": _labels(label)}
    where["name"] = name
    failed = _compare(store, "score", storage_option, parameters, where, as_json)
    if lesions is not None:
        import npczarr

        dataset = npczarr.open(store, storage_options=as_options(storage_option))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of predictions, which are printed already
            rows = npczarr.lesions(
                dataset, predictions, label=_labels(label), config=config, storage_options=as_options(source_option)
            )
        write_whole(lesions, to_csv(rows, index=False).encode())
        show.err.print(f"wrote {lesions}")
    raise typer.Exit(int(failed))


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
    from npczarr.model.results import AGREEMENT_TABLE, LESION_TABLE

    result, failures = _measure(store, measure, storage_option, parameters, where)
    messages = _messages(result) if measure == "score" else {}
    tolerance = {"surface_dice": {"tolerance_mm": parameters["tolerance"]}}
    rows = [
        {**row, "sequence": f"{row['sequence']} {name}".strip()} | tolerance.get(row["metric"], {})
        for name, one in _parts(result, ("label",))
        for row in summary(one, (*AGREEMENT_TABLE, *LESION_TABLE))
    ]
    if as_json:
        said = [{"patient": p, "sequence": s, "message": text} for (p, s), text in messages.items()]
        told = {"warnings": said} if measure == "score" else {}
        typer.echo(show_measures.as_json({"summary": rows, "failures": failures, **told}))
    else:
        show_measures.intervals(rows)
        _show_messages(messages)
        show.failed(failures)
    return bool(failures)


def _messages(result: Any) -> dict[tuple[str, str], str]:  # noqa: ANN401 - a Dataset
    from npczarr.graphs.predicted_masks import messages_of

    return messages_of(result)


def _show_messages(messages: dict[tuple[str, str], str]) -> None:
    """Print what was found in reading predictions, counted; --json and --csv have that of each scan."""
    from rich.markup import escape

    from npczarr.model.messages import group_messages

    for line in group_messages(messages, "prediction", most=_LISTED):
        show.out.print(f"[yellow]warning[/] {escape(line)}")


def _parts(result: Any, dims: tuple[str, ...]) -> list[tuple[str, Any]]:  # noqa: ANN401 - Numbers
    """Cut a result along some of its dimensions, each part with its labels; stored tables have none of these."""
    parts = [("", result)]
    for dim in (dim for dim in dims if dim in getattr(result, "dims", ())):
        names = [str(label) for label in result[dim].values]
        parts = [(f"{n} {name}".strip(), one.sel({dim: name}, drop=True)) for n, one in parts for name in names]
    return parts


def _measure(
    store: str,
    measure: Any,  # noqa: ANN401 - one of three names
    storage_option: list[str] | None,
    parameters: dict[str, Any],
    where: dict[str, Any],
) -> tuple[Any, list[dict[str, str]]]:
    """Measure with a progress bar; the result, and the scans that failed."""
    from dataclasses import asdict

    options = as_options(storage_option)
    to_print_only = measure != "score" and where.get("csv") is None and where.get("label") is None
    if to_print_only and (kept := _kept(store, measure, parameters, options)) is not None:
        return kept, []
    from npczarr.graphs.measure_store import measure_store
    from npczarr.graphs.visits import add_visits

    csv = where.pop("csv", None)
    with show.progress() as draw, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of what was found in predictions, which is printed at the end
        result, failures = measure_store(
            store,
            measure,
            storage_options=options,
            on_progress=draw,
            **where,
            **parameters,
        )
    if csv is not None:
        scalars = result[[name for name in result.data_vars if "axis" not in result[name].dims]]
        frame = scalars.to_dataframe()
        if "tolerance_mm" in result.attrs:  # a surface Dice means nothing without it
            frame.insert([*frame].index("surface_dice") + 1, "tolerance_mm", result.attrs["tolerance_mm"])
        add_visits(frame, frame.index.get_level_values("patient"), at=0)
        write_whole(csv, to_csv(frame).encode())
        show.err.print(f"wrote {csv}")
    if not result.attrs["kept"]:
        show.err.print(f"the store may not be written by this process: the result is not kept in {redacted(store)}")
    return result, [asdict(failure) for failure in failures]


def _kept(store: str, measure: str, parameters: dict[str, Any], options: dict[str, Any]) -> Any:  # noqa: ANN401
    """Read what is measured already without xarray, Dask and the kernels; None where there is more to do than print."""
    from npczarr.graphs.measure_arguments import arguments_of, result_path
    from npczarr.store.location import locate
    from npczarr.store.results import read_kept

    chosen = arguments_of(measure, parameters, None)
    kept = read_kept(locate(store, options), measure, result_path(measure, None, chosen), chosen)
    return None if kept is None or {"rater", "label"} & kept.tables.keys() else kept.tables
