"""The command that shows a store in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from npczarr.cli import show
from npczarr.cli.options import Config, SourceOption, StorageOption, as_options, new_file
from npczarr.errors import ParameterError


def view(
    store: Annotated[str | None, typer.Argument(help="Folder or URL of the store.")] = None,
    patient: Annotated[str | None, typer.Option(help="Patient to show first.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port at 127.0.0.1. Default: the first free one from 8765.", min=1, max=65535)
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, open no browser.")] = False,
    export: Annotated[
        Path | None,
        typer.Option(help="Write the page into this folder, for a web server beside a public store, and leave."),
    ] = None,
    reviewer: Annotated[str, typer.Option(help="Name to keep with each mark of a review. Default: none.")] = "",
    sample: Annotated[
        int | None, typer.Option(help="Review this number of patients, drawn at random. Default: all.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample.", min=0)] = 0,
    review_csv: Annotated[
        Path | None,
        typer.Option(callback=new_file, help="File for the marks if the store is read-only (STORE-review.csv)."),
    ] = None,
    predictions: Annotated[
        str | None,
        typer.Option(help="Show a model's masks too: folder, zip or URL in the source's layout, or a store."),
    ] = None,
    config: Config = None,
    storage_option: StorageOption = None,
    source_option: SourceOption = None,
) -> None:
    """Look through a store in the browser, patient by patient, and review its scans."""
    try:
        from npczarr.viewer.page import export_page
        from npczarr.viewer.serve import view as serve
    except ModuleNotFoundError as error:
        raise ParameterError(
            f"the viewer needs {error.name}, which is not installed: pip install 'npczarr[view]'"
        ) from error
    if export is not None:
        page = export_page(export)
        show.out.print(
            f"wrote {page}; put the folder on a web server and open index.html?store=https://… there", markup=False
        )
        return
    if store is None:
        raise ParameterError("name a store: npczarr view npc.zarr")
    predicted = None
    if predictions is not None:
        from npczarr.graphs.predictions import Predictions

        predicted = Predictions(
            store,
            predictions,
            config=config,
            storage_options=as_options(storage_option),
            source_options=as_options(source_option),
        )

    def say(address: str) -> None:
        show.out.print(f"{'open' if not said else 'for another browser:'} {address}", markup=False, soft_wrap=True)
        if not said:
            show.out.print("Ctrl-C ends it")
        said.append(address)

    said: list[str] = []
    serve(
        store,
        patient=patient,
        port=port,
        browser=not no_browser,
        reviewer=reviewer,
        sample=sample,
        seed=seed,
        review_csv=review_csv,
        predicted=predicted,
        on_address=say,
        storage_options=as_options(storage_option),
    )
    show.out.print("the viewer has ended")
