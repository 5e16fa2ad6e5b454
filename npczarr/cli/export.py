"""The commands that write files of other tools, and take masks back from them."""

from __future__ import annotations

import json
from collections import Counter
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
)
from npczarr.model.options import redacted

_STYLES = {"failed": "red", "refused": "red", "absent": "dim", "written": "yellow", "replaced": "green", "kept": "dim"}


def export(
    store: Store,
    out: Annotated[Path, typer.Argument(help="Folder to write, or to complete.")],
    format: Annotated[
        str,
        typer.Option("--format", help="tiff, nifti, ome-zarr, png, seg, rtstruct, or nnunet: a dataset of nnU-Net."),
    ],
    size: Annotated[int | None, typer.Option(help="Resample in-plane to this many rows and columns: 256.")] = None,
    patients: Annotated[
        list[str] | None, typer.Option(help="Patient to write; repeat the option for more, or 001,002.")
    ] = None,
    sequences: Annotated[
        list[str] | None, typer.Option(help="Sequence to write; repeat the option for more, or T1WI,T2WI.")
    ] = None,
    mask_of: Annotated[str | None, typer.Option(help="Sequence whose mask nnU-Net learns.")] = None,
    bits: Annotated[int, typer.Option(help="Bits of a value of a TIFF: 8 or 16.")] = 8,
    source: Annotated[
        str | None,
        typer.Option(help="What the store was made from: files of seg and rtstruct then refer to its series."),
    ] = None,
    config: Config = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    storage_option: StorageOption = None,
    source_option: SourceOption = None,
    as_json: Json = False,
) -> None:
    """Write scans as TIFF, NIfTI, OME-Zarr, PNG overlays or for nnU-Net; masks as DICOM SEG or RTSTRUCT."""
    from npczarr.export.cohort import export_scans as run

    with show.progress() as draw:
        found = run(
            store,
            out,
            format=format,
            size=size,
            patients=_labels(patients),
            sequences=_labels(sequences),
            bits=bits,
            mask_of=mask_of,
            source=source,
            config=config,
            source_options=as_options(source_option),
            workers=workers,
            scheduler=scheduler,
            storage_options=as_options(storage_option),
            on_progress=draw,
        )
    _tell(found, f"→  {out}", as_json)
    raise typer.Exit(int(any(one.status == "failed" for one in found)))


def import_masks(
    store: Store,
    folder: Annotated[
        str, typer.Argument(help="Folder, zip or URL of NIfTI, SEG or RTSTRUCT masks, named as an export names them.")
    ],
    config: Config = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    break_lock: BreakLock = False,
    storage_option: StorageOption = None,
    source_option: SourceOption = None,
    as_json: Json = False,
) -> None:
    """Replace stored masks by masks edited elsewhere; the store says when, from which file, and what was there."""
    from npczarr.export.back import import_masks as run

    with show.progress() as draw:
        found = run(
            store,
            folder,
            config=config,
            workers=workers,
            scheduler=scheduler,
            break_lock=break_lock,
            storage_options=as_options(storage_option),
            source_options=as_options(source_option),
            on_progress=draw,
        )
    _tell(found, f"→  {redacted(store)}", as_json)
    raise typer.Exit(int(any(one.status == "refused" for one in found)))


def _labels(given: list[str] | None) -> list[str] | None:
    return [label for text in given for label in text.split(",")] if given else None


def _tell(found: tuple[Any, ...], where: str, as_json: bool) -> None:
    """Print counts, and every scan of which there is something to say."""
    from dataclasses import asdict

    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=1))
        return
    for one in found:
        if one.message and one.status != "kept":
            scan = "/".join(filter(None, (one.patient, one.sequence)))
            show.out.print(f"[{_STYLES[one.status]}]{one.status:8}[/] {scan}", end="  ")
            show.out.print(one.message, markup=False)
    counts = Counter(one.status for one in found)
    show.out.print(", ".join(f"{n} {status}" for status, n in counts.items()) + f"  {where}", markup=False)
