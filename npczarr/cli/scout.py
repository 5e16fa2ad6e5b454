"""The command that looks at a source before it is converted."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from npczarr.cli import show
from npczarr.cli.options import Json, Source, SourceOption, as_options, new_file
from npczarr.cli.streams import print_file
from npczarr.errors import ParameterError
from npczarr.outputs import write_whole


def scout(
    source: Source,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", callback=new_file, help="TOML file to write; default: print it.")
    ] = None,
    source_option: SourceOption = None,
    as_json: Json = False,
) -> None:
    """Show which series a source holds, what each is taken for and why; write the TOML file to start from."""
    from npczarr.sources.scout import scout as run

    if out is not None and out.exists():
        raise ParameterError(f"{out} is there already; name another file")
    with show.progress() as draw:
        found = run(source, source_options=as_options(source_option), on_progress=draw)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1))
        return
    if out is None:
        print_file(found.toml)
        return
    write_whole(out, found.toml.encode())
    for remark in found.remarks:
        show.out.print(f"[yellow]note[/] {escape(remark)}")
    show.out.print(
        f"{found.patients} patients, {found.scans} scans, {len(found.not_taken)} remarks on what is not taken  →  "
        f"{out}\n"
        f"Read and correct it, then: npczarr convert {source} STORE --config {out}",
        markup=False,
    )
