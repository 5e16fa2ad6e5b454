"""The command that fetches the published record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from npczarr.cli import show
from npczarr.cli.options import Json

Url = Annotated[str | None, typer.Option(help="Address of a mirror, its folder or file; or a local folder or file.")]
File = Annotated[
    list[str] | None, typer.Option(help="primary_data.zip or inner_reliability.zip; default: both. Repeat for several.")
]


def download(
    out: Annotated[Path, typer.Argument(help="Folder for the files.")],
    url: Url = None,
    file: File = None,
    as_json: Json = False,
) -> None:
    """Download the published cohort (Zenodo 13131827), verify it, and go on where a download was cut off."""
    from npczarr.sources.download import FILES
    from npczarr.sources.download import download as run

    with show.progress() as draw:
        found = run(out, url=url, files=tuple(file or FILES), on_progress=draw)
    if as_json:
        rows = [{"path": str(f.path), "bytes": f.size, "sha256": f.sha256, "verified": f.verified} for f in found]
        typer.echo(json.dumps(rows, indent=1))
        return
    for one in found:
        show.out.print(str(one.path), "(was there)" if one.kept else "", f"{one.size / 1e6:,.1f} MB", markup=False)
        verdict = (
            "[green]as published[/]" if one.verified else "[yellow]none is published; every checksum inside it fits[/]"
        )
        show.out.print(f"  SHA-256 {one.sha256}, {verdict}")
    if found and found[0].path.name == "primary_data.zip":
        show.out.print("Now convert it:", f"npczarr convert {found[0].path} npc.zarr", markup=False)
