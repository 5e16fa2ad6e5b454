"""A store resampled into another: planned from the tables, written scan by scan, resumed like a conversion."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import xxhash
import zarr
from numpy.typing import NDArray

from npczarr.errors import ParameterError, StoreError
from npczarr.graphs.regrid import ScanPlan, plan_cohort
from npczarr.graphs.resample_blocks import SPATIAL
from npczarr.graphs.resample_scan import ResampleTask, refusal, write_resampled
from npczarr.graphs.run import Runner
from npczarr.graphs.writer import Key, Progress, Work, Writer
from npczarr.model.layout import Layout, check_codec, plan_layout
from npczarr.model.limits import Limits
from npczarr.model.resampling import Resampling, resampling
from npczarr.model.schema import INDEXES, RATER, RESAMPLING, SCAN_TABLES, SCHEMA_ATTRIBUTE, Variable
from npczarr.store.access import Location, locate
from npczarr.store.create import add_columns, array, create, is_new, labels, open_group, read_layout, resize
from npczarr.store.lease import hold_lease
from npczarr.store.open import open_location
from npczarr.store.voxels import voxels_of

#: Entries of the catalogue that a resampling makes anew; the others are the source's.
_ANEW = frozenset(
    (*SPATIAL, "status", "message", "mask_status", "image_digest", "mask_digest", "source_digest", "mask_voxels",
     "mask_touches_end_slice")
)  # fmt: skip


def resample_store(
    store: str | Path,
    out: str | Path,
    *,
    codec: str = "lz4",
    workers: int | None = None,
    scheduler: str | None = None,
    break_lock: bool = False,
    store_options: Mapping[str, Any] | None = None,
    out_options: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    **parameters: Any,  # noqa: ANN401 - of npczarr.resample
) -> xr.Dataset:
    """Resample a store into another one, or complete an interrupted run.

    Scans that the other store holds from the same voxels are kept, changed ones are written again, new patients are
    appended. One bad scan never stops the others.

    Parameters
    ----------
    store, out
        Folder or URL of the store, and of the one to write.
    codec
        ``"lz4"`` (fast) or ``"zstd"`` (smaller); of a new store.
    workers, scheduler, break_lock
        As in :func:`npczarr.convert`.
    store_options, out_options
        Storage options of the two; credentials belong in the environment.
    on_progress
        Called after each scan.
    **parameters
        As for :func:`npczarr.resample`: spacing, shape, like, window, centre, bounds, method, mask_method, normalise.

    Returns
    -------
    xarray.Dataset
        What became of each scan, as :func:`npczarr.convert` returns it.

    Raises
    ------
    ParameterError
        If a parameter is wrong.
    StoreError, LeaseError
        If a store cannot be read or written, or somebody else is writing it.
    """
    request = resampling({name: value for name, value in parameters.items() if value is not None})
    check_codec(codec)
    origin, target = locate(store, dict(store_options or {})), locate(out, dict(out_options or {}))
    if origin.url == target.url:
        raise ParameterError(f"{origin.url}: cannot be resampled into itself; name another store")
    dataset = open_location(origin)
    if request.needs_tumour and "rater" in dataset.dims:
        raise ParameterError("a window around the tumour needs one mask a scan; take centre='volume'")
    plans = plan_cohort(dataset, request)
    layout = plan_layout([plan.shape_zyx for plan in plans.ravel() if not plan.problem], dtype="float32", codec=codec)
    source = open_group(origin.open(read_only=True), origin.url, mode="r")
    patients, sequences = labels(source, "patient"), labels(source, "sequence")
    runner = Runner(workers, scheduler)
    opened = target.open()
    with hold_lease(opened, target.url, break_lock=break_lock) as lease, runner:
        fresh = is_new(opened)
        if fresh:
            raters = labels(source, "rater") if "rater" in source else ()
            create(opened, patients, sequences, layout, _provenance(source, request), raters)
        root = open_group(opened, target.url)
        if not fresh:
            _check_same(root, request, target.url)
            layout = read_layout(root)
            resize(root, patients=patients, sequences=sequences, extent_zyx=layout.extent_zyx)
        add_columns(root, _columns(dataset))
        work = _work(dataset, plans, request, origin, source, target)
        writer = Writer(root, target, layout, lease, clear=not fresh, limits=Limits())
        result = writer.run(runner, work, (), on_progress)
    return result.assign_attrs({RESAMPLING: json.dumps(request.described())})


def _work(
    dataset: xr.Dataset,
    plans: NDArray[Any],
    request: Resampling,
    origin: Location,
    source: zarr.Group,
    target: Location,
) -> Work:
    """Say what each scan is made from, and how it is written."""
    patients, sequences = labels(source, "patient"), labels(source, "sequence")
    places = {(p, s): (i, j) for i, p in enumerate(patients) for j, s in enumerate(sequences)}
    tables = {variable.name: array(source, variable.name)[...] for variable in SCAN_TABLES}
    image, mask = (voxels_of(source, origin, name) for name in ("image", "mask"))
    like = None if request.like is None else sequences.index(request.like)
    digests = {key: _digest(tables, at, plans[at], request, like) for key, at in places.items()}

    def carried(key: Key) -> dict[str, Any]:
        kept = {n: v[places[key]] for n, v in tables.items() if n not in _ANEW}
        return kept | {n: str(tables[n][places[key]]) for n in ("status", "message", "mask_status")}

    def task(key: Key, place: tuple[int, int], layout: Layout, clear: bool) -> ResampleTask:
        at = places[key]
        plan: ScanPlan = plans[at]
        depth = plan.own.shape_zyx[0] if plan.own else 0
        slope, intercept = (tables[n][at][:depth] for n in ("rescale_slope", "rescale_intercept"))
        tumour = at if like is None else (at[0], like)
        return ResampleTask(
            key, at, tumour, plan, request, image, mask, slope, intercept, carried(key), digests[key], target, place,
            layout, clear,
        )  # fmt: skip

    refused = {key: plans[at].problem for key, at in places.items() if plans[at].problem}
    absent = {key: refusal(key, carried(key), reason, digests[key]) for key, reason in refused.items()}
    return Work("resample", tuple(patients), tuple(sequences), digests, absent, write_resampled, task)


def _digest(
    tables: Mapping[str, NDArray[Any]], at: tuple[int, int], plan: ScanPlan, request: Resampling, like: int | None
) -> str:
    """Digest of all that a resampled scan is made from."""
    voxels = [str(tables[name][at]) for name in ("image_digest", "mask_digest", "status", "message", "mask_status")]
    voxels += [] if like is None else [str(tables["mask_digest"][at[0], like])]
    grids = [g.affine.tolist() + list(g.shape_zyx) for g in (plan.own, plan.reference) if g is not None]
    rescale = [tables[name][at].tobytes() for name in ("rescale_slope", "rescale_intercept")]
    return xxhash.xxh3_128_hexdigest(repr((voxels, grids, rescale, request.described())).encode())


def _provenance(source: zarr.Group, request: Resampling) -> dict[str, Any]:
    kept = {key: value for key, value in source.attrs.asdict().items() if key not in (SCHEMA_ATTRIBUTE, "coordinates")}
    return {**kept, RESAMPLING: json.dumps(request.described()), "npczarr_version": version("npczarr")}


def _check_same(root: zarr.Group, request: Resampling, url: str) -> None:
    there = root.attrs.asdict().get(RESAMPLING)
    if there != json.dumps(request.described()):
        raise StoreError(
            f"{url}: holds a cohort {f'resampled as {there}' if there else 'that was not resampled'}, asked for is "
            f"{json.dumps(request.described())}; name another store"
        )


def _columns(dataset: xr.Dataset) -> dict[str, tuple[Variable, NDArray[Any]]]:
    """Columns of clinical tables."""
    own = {v.name for v in (*SCAN_TABLES, *INDEXES, RATER)} | {"image", "mask"}
    columns = {}
    for name in (str(n) for n in dataset.variables if str(n) not in own):
        found = dataset[name]
        attributes = {key: value for key, value in found.attrs.items() if key not in ("long_name", "units")}
        dtype = "float64" if found.dtype.kind == "f" else "string"
        dims = tuple(str(dim) for dim in found.dims)
        variable = Variable(name, dims, dtype, found.attrs.get("long_name", name), found.attrs.get("units"), attributes)
        columns[name] = (variable, np.asarray(found.values))
    return columns
