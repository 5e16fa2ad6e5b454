"""The command that shows a store in the browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npczarr.cli import show
from npczarr.cli.options import Config, SourceOption, StorageOption, as_options, new_file
from npczarr.errors import ParameterError

if TYPE_CHECKING:
    from npczarr.graphs.predictions import Predictions


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
    options, source_options = as_options(storage_option), as_options(source_option)
    serve(
        store,
        patient=patient,
        port=port,
        browser=not no_browser,
        reviewer=reviewer,
        sample=sample,
        seed=seed,
        review_csv=review_csv,
        predicted=_predictions(store, predictions, config, options, source_options),
        on_address=_announcer(),
        storage_options=options,
    )
    show.out.print("the viewer has ended")


def _predictions(
    store: str,
    predictions: str | None,
    config: Path | None,
    storage_options: dict[str, Any] | None,
    source_options: dict[str, Any] | None,
) -> Predictions | None:
    """Open a model's masks, where there are any to be shown."""
    if predictions is None:
        return None
    from npczarr.graphs.predictions import Predictions

    found = Predictions(
        store, predictions, config=config, storage_options=storage_options, source_options=source_options
    )
    show.failed(
        [{"patient": key[0], "sequence": key[1], "problem": why} for key, why in sorted(found.unmatched.items())]
    )
    return found


def _announcer() -> Callable[[str], None]:
    """Return what prints the addresses of the page: the first one, then those for further browsers."""
    said: list[str] = []

    def say(address: str) -> None:
        show.out.print(f"{'open' if not said else 'for another browser:'} {address}", markup=False, soft_wrap=True)
        if not said:
            show.out.print("Ctrl-C ends it")
        said.append(address)

    return say
