"""The command that names the structures of a source."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from npczarr.cli import show
from npczarr.cli.options import Json, SourceOption, as_options


def structures(
    source: Annotated[str, typer.Argument(help="Folder, zip or URL with RTSTRUCT or SEG files: one patient, or all.")],
    source_option: SourceOption = None,
    as_json: Json = False,
) -> None:
    """List what RTSTRUCT and SEG files outline, by name: what to write under [labels] of a configuration."""
    from dataclasses import asdict

    from rich.markup import escape
    from rich.table import Table

    from npczarr.sources.structures.listing import list_structures

    found = list_structures(source, source_options=as_options(source_option))
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=1))
        raise typer.Exit(0)
    table = Table("name", "kind", "number", "meaning", "files", "first in", box=None, pad_edge=False)
    names: dict[tuple[str, str, str], list[int]] = {}
    for i, one in enumerate(found):
        if one.problem:
            show.out.print(f"[red]unusable[/] {escape(one.path)}  {escape(one.problem)}")
        else:
            names.setdefault((one.name, one.kind, one.meaning), []).append(i)
    for (name, kind, meaning), places in sorted(names.items()):
        numbers = sorted({found[i].number for i in places})
        shown = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
        files = str(len({found[i].path for i in places}))
        table.add_row(escape(name), kind, shown, escape(meaning), files, escape(found[places[0]].path))
    if names:
        show.out.print(table)
    elif not found:
        show.out.print("no RTSTRUCT and no SEG file below this folder")
