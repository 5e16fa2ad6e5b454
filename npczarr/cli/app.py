"""The commands."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from npczarr import __version__
from npczarr.cli import download, export, measure, pack, privacy, report, resample, runs, scout, show, structures, view
from npczarr.cli.help import Command, Group
from npczarr.cli.options import (
    BreakLock,
    Config,
    Json,
    NewStore,
    Scheduler,
    Source,
    SourceOption,
    StorageOption,
    Store,
    Workers,
    as_options,
    new_file,
)
from npczarr.cli.streams import print_file
from npczarr.errors import ParameterError
from npczarr.outputs import write_whole

if TYPE_CHECKING:
    from npczarr.phantom.plan import Size

app = typer.Typer(
    name="npczarr",
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The cohort store for medical imaging research: DICOM series, masks and clinical tables as one Zarr store.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options_of_all(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command(cls=Command, epilog="Example: `npczarr demo` makes six synthetic patients in ./npczarr-demo and a report.")
def demo(
    out: Annotated[Path, typer.Argument(help="Folder to create.")] = Path("npczarr-demo"),
    patients: Annotated[int, typer.Option(help="Number of synthetic patients.", min=1)] = 6,
    workers: Workers = None,
) -> None:
    """Make a small synthetic cohort, convert, validate, measure and report it, and say where to look."""
    source, store, raters, page = out / "source", out / "demo.zarr", out / "raters.zarr", out / "report.html"
    if out.exists() and any(out.iterdir()):
        raise ParameterError(f"{out} is not empty; choose another folder: npczarr demo OTHER")
    here = 0 if workers is None else workers  # starting processes takes longer than a few scans
    _step(1, f"a synthetic cohort of {patients} patients, three MR series each, as its scanners write them")
    phantom(source, patients=patients, size="medium", workers=here)
    _step(2, "one Zarr store of it, and one of the two raters' outlines")
    failed = runs.convert(str(source / "primary_data"), str(store), workers=here)
    failed |= runs.convert(str(source / "inner_reliability.zip"), str(raters), workers=here)
    _step(3, "every voxel read back")
    failed |= runs.validate(str(store), workers=here)
    _step(4, "every tumor measured, and the raters compared")
    failed |= measure.measure_tumors(str(store), "lorensen", None, {"workers": workers})
    failed |= measure.compare_raters(str(raters), 2.0, None, {"workers": workers})
    _step(5, "a report of it: every patient, tables and figures")
    report.write(str(store), page, str(raters), runs={"workers": workers})
    show.out.print(
        f"\n[bold]Now look at it[/]\n\n"
        f"  open [bold]{page}[/] in a browser\n"
        f"  npczarr view {store}\n\n"
        "or in Python:\n\n"
        "  import npczarr as npc\n"
        f'  ds = npc.open("{store}")\n'
        '  ds.npc.plot("001").savefig("patient.png")   # its sequences, upright, the tumor outlined\n'
        "  ds.npc.table()                              # one row a scan, with everything that is known of it\n"
    )
    raise typer.Exit(int(failed))


def _step(number: int, what: str) -> None:
    show.out.print(f"[bold]{number}[/] {what}")


@app.command(cls=Command, epilog="Example: `npczarr phantom cohort --patients 12 --size full --seed 1`")
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    patients: Annotated[
        int, typer.Option(help="Number of patients; 277 give the counts of the published tables.", min=1)
    ] = 277,
    size: Annotated[
        str, typer.Option(help="small: tens of MB; medium: 256 x 256; full: 512 x 512, some 20 GB for 277 patients.")
    ] = "small",
    seed: Annotated[
        int, typer.Option(help="Seed of the random generator; the same seed gives the same bytes.", min=0)
    ] = 0,
    workers: Workers = None,
    scheduler: Scheduler = None,
) -> None:
    """Write a synthetic cohort in the published layout."""
    from npczarr.phantom import SIZES, make_cohort

    if size not in SIZES:
        raise ParameterError(f"--size must be small, medium or full, got {size!r}")
    started = time.perf_counter()
    with show.progress() as draw:
        made = make_cohort(
            out,
            patients=patients,
            size=cast("Size", size),
            seed=seed,
            workers=workers,
            scheduler=scheduler,
            on_progress=draw,
        )
    megabytes, seconds = made.bytes / 1e6, time.perf_counter() - started
    show.out.print(f"{made.patients} patients, {made.files} files, {megabytes:,.0f} MB in {seconds:.1f} s  →  {out}")


@app.command(cls=Command, epilog="Example: `npczarr convert primary_data.zip npc.zarr`")
def convert(
    source: Source,
    store: NewStore,
    config: Config = None,
    columns: Annotated[Path | None, typer.Option(help="TOML file of column names, from `npczarr columns`.")] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    codec: Annotated[str, typer.Option(help="Codec of a new store: lz4 (fast) or zstd (smaller).")] = "lz4",
    dtype: Annotated[
        str | None,
        typer.Option(help="Type of the images of a new store: int16, int32 or float32. Default: what the images need."),
    ] = None,
    rewrite: Annotated[
        list[str] | None,
        typer.Option(
            help="Convert this patient (003) or scan (003/T1WI) again; what the source has lost of it is removed."
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take scans of other series than those that the store holds.")
    ] = False,
    keep: Annotated[
        list[str] | None, typer.Option(help="Take a table column (Name, MRN) though it may tell who the patients are.")
    ] = None,
    break_lock: BreakLock = False,
    storage_option: StorageOption = None,
    source_option: SourceOption = None,
    as_json: Json = False,
) -> None:
    """Convert a cohort to a store, append new patients to it, or complete an interrupted run."""
    failed = runs.convert(
        source,
        store,
        config=config,
        columns=columns,
        workers=workers,
        scheduler=scheduler,
        codec=codec,
        dtype=dtype,
        rewrite=rewrite or (),
        replace=replace,
        keep=keep or (),
        break_lock=break_lock,
        storage_options=as_options(storage_option),
        source_options=as_options(source_option),
        as_json=as_json,
    )
    raise typer.Exit(int(failed))


@app.command(cls=Command, epilog="Example: `npczarr columns info_diagnoses.csv --out map.toml`")
def columns(
    tables: Annotated[list[Path], typer.Argument(help="CSV files of one cohort.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", callback=new_file, help="TOML file to write; default: print it.")
    ] = None,
) -> None:
    """Write a starting map of table columns, to be corrected and given to convert --columns."""
    from npczarr.sources.columns import starting_map

    text = starting_map(tables)
    if out is None:
        print_file(text)
        return
    if out.exists():
        raise ParameterError(f"{out} is there already; name another file")
    write_whole(out, text.encode())
    show.out.print(f"wrote {out}; correct it, then: npczarr convert SOURCE STORE --columns {out}", markup=False)


@app.command(cls=Command, epilog="Example: `npczarr info npc.zarr`")
def info(
    store: Store,
    where: Annotated[
        str | None, typer.Option(help="Selection of patients: \"t_stage in ('T3', 'T4') and age < 60\".")
    ] = None,
    storage_option: StorageOption = None,
    as_json: Json = False,
) -> None:
    """Show what is in a store: patients, scans, spacings, scanners, problems."""
    from npczarr.store.info import info as describe

    about = describe(store, where=where, storage_options=as_options(storage_option))
    if as_json:
        typer.echo(json.dumps(about, indent=1))
    else:
        show.description(about)
        for damage in about.get("damaged", {}).values():
            show.out.print("[red]damaged[/]   ", end="")
            show.out.print(damage, markup=False)


@app.command(cls=Command, epilog="Example: `npczarr validate npc.zarr --against primary_data.zip`")
def validate(
    store: Store,
    against: Annotated[str | None, typer.Option(help="Read this source again and compare every voxel.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Write what is damaged again, from --against.")] = False,
    seal: Annotated[bool, typer.Option("--seal", help="Accept the store as it is, with what others changed.")] = False,
    config: Config = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    storage_option: StorageOption = None,
    source_option: SourceOption = None,
    as_json: Json = False,
) -> None:
    """Check a store: schema, seal, digests of every voxel, masks, coordinates; repair it from its source."""
    found = runs.validate(
        store,
        against=against,
        repair=repair,
        seal=seal,
        config=config,
        workers=workers,
        scheduler=scheduler,
        storage_options=as_options(storage_option),
        source_options=as_options(source_option),
        as_json=as_json,
    )
    raise typer.Exit(int(bool(found)))


_COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    "download": (download.download, "npczarr download data/"),
    "view": (view.view, "npczarr view npc.zarr --patient 012"),
    "scout": (scout.scout, "npczarr scout exports/ --out layout.toml"),
    "structures": (structures.structures, "npczarr structures primary_data/"),
    "morphology": (measure.morphology, "npczarr morphology npc.zarr --csv tumors.csv"),
    "agreement": (measure.agreement, "npczarr agreement reliability.zarr --tolerance 2"),
    "score": (measure.score, "npczarr score npc.zarr predictions/ --name unet"),
    "resample": (resample.resample, "npczarr resample npc.zarr npc-1mm.zarr --spacing 1,1,1"),
    "export": (export.export, "npczarr export npc.zarr nifti/ --format nifti"),
    "import-masks": (export.import_masks, "npczarr import-masks npc.zarr nifti/"),
    "pack": (pack.pack, "npczarr pack npc.zarr npc.zarr.zip"),
    "report": (report.report, "npczarr report npc.zarr -o report.html"),
    "audit": (privacy.audit, "npczarr audit primary_data.zip"),
    "deidentify": (privacy.deidentify, "npczarr deidentify primary_data.zip clean/"),
}
for _name, (_function, _example) in _COMMANDS.items():
    app.command(_name, cls=Command, epilog=f"Example: `{_example}`")(_function)
