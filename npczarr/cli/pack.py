"""The command that makes one file of a store."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from npczarr.cli import show
from npczarr.cli.options import BreakLock, Json, StorageOption, Store, as_options


def pack(
    store: Store,
    out: Annotated[Path, typer.Argument(help="File to write, such as cohort.zarr.zip.")],
    url: Annotated[str, typer.Option(help="Where the file will be published, for its description.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    break_lock: BreakLock = False,
    storage_option: StorageOption = None,
    as_json: Json = False,
) -> None:
    """Write a store as one uncompressed zip file that opens in place, with a Croissant description beside it."""
    from npczarr.store.pack import pack as run

    with show.progress() as draw:
        made = run(
            store,
            out,
            url=url,
            overwrite=overwrite,
            break_lock=break_lock,
            storage_options=as_options(storage_option),
            on_progress=draw,
        )
    if as_json:
        typer.echo(json.dumps(asdict(made), default=str, indent=1))
        return
    show.out.print(f"{made.objects} objects, {made.bytes / 1e6:,.1f} MB  →  {made.path}", markup=False)
    show.out.print(f"  SHA-256 {made.sha256}", markup=False)
    show.out.print(f"  described in {made.description}", markup=False)
    show.out.print(f'  xarray.open_zarr("zip::{made.path}"), npczarr.open("{made.path}")', markup=False)
