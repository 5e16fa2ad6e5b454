"""The command that resamples a store."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npczarr.cli import show
from npczarr.cli.options import BreakLock, Json, Scheduler, SourceOption, StorageOption, Store, Workers, as_options
from npczarr.errors import ParameterError

if TYPE_CHECKING:
    import xarray as xr

Purpose = Annotated[
    str | None,
    typer.Option("--for", help="training: whole numbers for npczarr.patches, with statistics of each scan."),
]
Codec = Annotated[
    str | None,
    typer.Option(help="lz4 (fast, the default), zstd (smaller); for training none (the default), lz4, zstd."),
]


def resample(
    store: Store,
    out: Annotated[str, typer.Argument(help="Folder or URL of the store to write.")],
    spacing: Annotated[
        str | None, typer.Option(help="Voxel size in mm: 1, or z,y,x: 3,1,1; - keeps an axis: -,0.5,0.5.")
    ] = None,
    shape: Annotated[str | None, typer.Option(help="Voxels z,y,x: -,256,256; - keeps an axis.")] = None,
    like: Annotated[str | None, typer.Option(help="Sequence on whose grid the patient's others are laid.")] = None,
    window: Annotated[str | None, typer.Option(help="Box to cut out, z,y,x in mm: 60,100,100.")] = None,
    center: Annotated[str, typer.Option(help="Middle of the box: tumor or volume.")] = "tumor",
    bounds: Annotated[
        str | None, typer.Option(help="Positions z,y,x in mm, first:last: -60:60,-,-; - keeps an axis.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="Interpolation of images: linear, cubic (B-spline), nearest, area (average).")
    ] = ("linear"),
    mask_method: Annotated[
        str, typer.Option(help="Interpolation of masks: linear (tumor where 0.5 or more), nearest.")
    ] = "linear",
    normalize: Annotated[str | None, typer.Option(help="zscore or percentile, per scan.")] = None,
    purpose: Purpose = None,
    codec: Codec = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    break_lock: BreakLock = False,
    storage_option: StorageOption = None,
    source_option: SourceOption = None,
    as_json: Json = False,
) -> None:
    """Resample every scan into another store, or complete an interrupted run."""
    from npczarr.graphs.resample_store import resample_store

    # one word of several each: resample_store refuses any other, and names the known ones
    choices: dict[str, Any] = {
        "center": center, "method": method, "mask_method": mask_method, "normalize": normalize, "purpose": purpose
    }  # fmt: skip
    started = time.perf_counter()
    with show.progress() as draw:
        result = resample_store(
            store,
            out,
            spacing=_triple("--spacing", spacing, float),
            shape=_triple("--shape", shape, int),
            like=like,
            window=_triple("--window", window, float),
            bounds=_triple("--bounds", bounds, _pair),
            **choices,
            codec=codec,
            workers=workers,
            scheduler=scheduler,
            break_lock=break_lock,
            storage_options=as_options(storage_option),
            source_options=as_options(source_option),
            on_progress=draw,
        )
    if as_json:
        typer.echo(json.dumps(result.to_dict(), default=str))
    else:
        _print(result, out, time.perf_counter() - started)
    raise typer.Exit(int(bool(result["status"].isin(["refused", "pending"]).any())))


def _print(result: xr.Dataset, out: str, seconds: float) -> None:
    show.out.print("[dim]resampled as[/]", end=" ")
    show.out.print(result.attrs["resampling"], markup=False)
    show.conversion(result, out, seconds)


def _triple(option: str, text: str | None, kind: Any) -> Any:  # noqa: ANN401 - makes one part
    """Read one value, or three for z,y,x; "-" is None."""
    if text is None:
        return None
    try:
        parts = tuple(None if part.strip() in ("", "-") else kind(part) for part in text.split(","))
    except ValueError as error:
        raise ParameterError(f"{option}: expected one value, or three for z,y,x such as 1,1,1, got {text!r}") from error
    return parts[0] if len(parts) == 1 and kind is not _pair else parts


def _pair(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    return float(low), float(high)
