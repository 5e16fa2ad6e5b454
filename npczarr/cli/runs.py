"""Conversion and validation with a progress bar, for their own commands and for the demo."""

from __future__ import annotations

import json
import time
from typing import Any

import typer

from npczarr.cli import show


def convert(source: str, store: str, *, as_json: bool = False, **options: Any) -> bool:  # noqa: ANN401
    """Convert with a progress bar, print what happened; whether a scan, mask or folder is gone or could not be read."""
    from npczarr.graphs.convert import convert as run
    from npczarr.sources.file_kinds import readable

    started = time.perf_counter()
    with show.progress() as draw:
        result = run(
            source,
            store,
            on_progress=draw,
            **options,
        )
    if as_json:
        typer.echo(json.dumps(result.to_dict(), default=str))
    else:
        show.conversion(result, store, time.perf_counter() - started)
    strays = result.attrs.get("strays", ())
    refused = (result["status"] == "refused") | (result["mask_status"] == "refused")
    return bool(refused.any()) or bool(result.attrs["source_worse"]) or len(readable(strays)) < len(strays)


def validate(store: str, *, as_json: bool = False, **options: Any) -> bool:  # noqa: ANN401
    """Validate with a progress bar and print the findings; whether there are any."""
    from dataclasses import asdict

    from npczarr.graphs.validate_store import validate as run

    with show.progress() as draw:
        found = run(store, on_progress=draw, **options)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in found], indent=1))
    else:
        show.findings(found, store, options.get("against"))
    return bool(found)
