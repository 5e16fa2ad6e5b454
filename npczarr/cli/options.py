"""Arguments and options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from npczarr.errors import MissingStoreError, ParameterError
from npczarr.model.options import check_local, parse_option
from npczarr.outputs import check_outside_stores, check_replaceable, expanded

#: A column that only a CSV file of morphology, of agreement or a score, or of lesions has.
_MEASURES = {"surface_regularity", "surface_dice", "volume_a"}

Source = Annotated[str, typer.Argument(help="Folder, .zip archive or URL of the cohort.")]
NewStore = Annotated[str, typer.Argument(help="Folder or URL of the store.")]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Local worker processes; 0 works in this one. Default: the active Dask client, or what suits the work."
    ),
]
Scheduler = Annotated[str | None, typer.Option(help="Address of a running Dask scheduler, tcp://host:port.")]
Config = Annotated[Path | None, typer.Option(help="TOML file that describes another layout or other column names.")]
BreakLock = Annotated[bool, typer.Option("--break-lock", help="Take over from a writer that has crashed.")]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
StorageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--storage-option", help="key=value for the store, such as anon=true; secrets belong in the environment."
    ),
]

SourceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--source-option", help="key=value for the source, such as anon=true; secrets belong in the environment."
    ),
]


def _existing_store(store: str) -> str:
    """Refuse a path where there is no store, before half a second is spent on importing what reads stores."""
    if "://" not in store and "::" not in store:
        path = expanded(store)
        if not path.exists() or (path.is_dir() and not (path / "zarr.json").exists()):
            raise MissingStoreError(
                f"{path.resolve()}: no store here; check the path, or make one with npczarr convert"
            )
    return store


Store = Annotated[str, typer.Argument(callback=_existing_store, help="Folder or URL of the store.")]


def new_file(path: Path | None) -> Path | None:
    """Make the folder of a file to be written, before hours are spent on what goes into it."""
    if path is not None:
        check_local(path)
        check_outside_stores(path)
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


def measures_file(path: Path | None) -> Path | None:
    """Do the same for a CSV file of measures, which may replace an earlier one and no other file."""
    path = new_file(path)
    if path is not None:
        check_replaceable(path, _is_of_measures)
    return path


def _is_of_measures(start: str) -> bool:
    columns = start.partition("\n")[0].rstrip("\r").split(",")
    return columns[0] == "patient" and "sequence" in columns and not _MEASURES.isdisjoint(columns)


def as_options(pairs: list[str] | None) -> dict[str, Any]:
    """Split key=value pairs; yes, no and numbers are read as such.

    Raises
    ------
    ParameterError
        If one has no key or no value.
    """
    split = [pair.partition("=") for pair in pairs or ()]
    for key, sign, _ in split:
        if not (key and sign):
            raise ParameterError(f"an option is written key=value, got {key!r}")
    return {key: parse_option(key, value) for key, _, value in split}
