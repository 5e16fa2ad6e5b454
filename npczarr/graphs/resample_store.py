"""A store resampled into another: planned from the tables, written scan by scan, resumed like a conversion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from npczarr.errors import ParameterError
from npczarr.graphs.resample import layout_of
from npczarr.graphs.resample_blocks import SPATIAL
from npczarr.graphs.resample_plan import plan_cohort, plan_digest, resampled_attributes
from npczarr.graphs.resample_scan import ResampleTask, refusal, write_resampled
from npczarr.graphs.resample_update import columns_of, take_over, told_of
from npczarr.graphs.run_result import changed
from npczarr.graphs.store_writer import StoreWriter, Work
from npczarr.graphs.training_index import index_scans
from npczarr.model.layout import Layout, check_codec
from npczarr.model.limits import Limits
from npczarr.model.per_axis import PerAxis
from npczarr.model.progress import OnProgress
from npczarr.model.resampling import Center, MaskMethod, Method, Normalization, Resampling, make_resampling
from npczarr.model.schema import RESAMPLING, SCAN, SCAN_TABLES
from npczarr.model.training import training_layout
from npczarr.runner import Runner
from npczarr.store.chunks import ScanPlace
from npczarr.store.cohort import StoredCohort
from npczarr.store.create import check_place, create, is_new
from npczarr.store.describe import add_history, root_attributes
from npczarr.store.hierarchy import array, labels, mask_labels, open_group
from npczarr.store.lease import hold_lease
from npczarr.store.location import Location, locate
from npczarr.store.open import open_location
from npczarr.store.review_carried import carry_marks, marks_to_carry
from npczarr.store.rows import Key
from npczarr.store.watch import read_together

#: Entries of a row that a resampling makes anew; the others are the source's.
_ANEW = frozenset(
    (*SPATIAL, "status", "message", "mask_status", "image_digest", "mask_digest", "source_digest", "mask_voxels",
     "mask_touches_end_slice")
)  # fmt: skip


def resample_store(
    store: str | Path,
    out: str | Path,
    *,
    spacing: PerAxis[float] | None = None,
    shape: PerAxis[int] | None = None,
    like: str | None = None,
    window: PerAxis[float] | None = None,
    center: Center = "tumor",
    bounds: PerAxis[tuple[float, float]] | None = None,
    method: Method = "linear",
    mask_method: MaskMethod = "linear",
    normalize: Normalization | None = None,
    purpose: Literal["training"] | None = None,
    codec: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    break_lock: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    source_options: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> xr.Dataset:
    """Resample a store into another one, or complete an interrupted run.

    Scans that the other store holds from the same voxels are kept, changed ones are written again, new patients are
    appended; marks of reviewers are taken over. One bad scan never stops the others.

    Parameters
    ----------
    store, out
        Folder or URL of the store, and of the one to write.
    spacing, shape, like, window, center, bounds, method, mask_method, normalize
        As for :func:`npczarr.resample`.
    purpose
        ``"training"``: small tiles of whole numbers for :func:`npczarr.patches`, with statistics and foreground of each
        scan in the group ``"training"``. Values are rounded by at most a 65532nd of the range of their scan;
        `rescale_slope` and `rescale_intercept` give real values, and about half the slope is the largest error.
    codec
        ``"lz4"`` (fast, the default) or ``"zstd"`` (smaller); of a new store. For training also ``"none"``, its
        default: on disk, patches are read several times as fast; from an object store take ``"lz4"``.
    workers, scheduler, on_progress, break_lock
        As in :func:`npczarr.convert`.
    storage_options, source_options
        Options of the file systems of `out` and of `store`; credentials belong in the environment.

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
    request = make_resampling(
        spacing=spacing, shape=shape, like=like, window=window, center=center, bounds=bounds, method=method,
        mask_method=mask_method, normalize=normalize,
    )  # fmt: skip
    codec = _codec(purpose, codec)
    origin, target = locate(store, source_options), locate(out, storage_options)
    _check_apart(origin, target)
    with read_together(origin):
        dataset = open_location(origin)
        _check_possible(request, dataset, purpose)
        plans = plan_cohort(dataset, request)
        source = open_group(origin.open(read_only=True), origin.shown, mode="r")
        work = _work(plans, request, StoredCohort(origin), source)
        told, marks = told_of(dataset), marks_to_carry(origin)
    layout = training_layout(layout_of(plans), codec) if purpose else layout_of(plans, codec)
    described = request.described() | ({"for": purpose} if purpose else {})
    runner = Runner(workers, scheduler)
    opened = target.open()
    check_place(opened, target.shown)
    with hold_lease(opened, target.shown, break_lock=break_lock) as lease, runner:
        fresh = is_new(opened)
        if fresh:
            with lease.writing():
                _create_like(source, opened, layout, request, described, told)
        root = open_group(opened, target.shown)
        new_columns = fresh
        if not fresh:
            layout, new_columns = take_over(root, target.shown, told, described, lease)
        writer = StoreWriter(root, target, layout, lease, clear=not fresh, limits=Limits())
        result = writer.run(runner, work, (), on_progress)
        with lease.writing():
            if carry_marks(root, marks, target.shown) or new_columns or changed(result):
                add_history(root, "resample", described)
        if purpose:
            index_scans(root, StoredCohort(target), runner, lease)
    return result.assign_attrs({RESAMPLING: json.dumps(described)})


def _check_apart(origin: Location, target: Location) -> None:
    if origin.url == target.url:
        raise ParameterError(f"{origin.shown}: cannot be resampled into itself; name another store")


def _create_like(
    source: zarr.Group,
    store: Store,
    layout: Layout,
    request: Resampling,
    described: Mapping[str, Any],
    told: xr.Dataset,
) -> None:
    """Create an empty store for the scans of another one."""
    patients, sequences = ([str(label) for label in told[dim].values] for dim in SCAN)
    raters = labels(source, "rater") if "rater" in source else ()
    attributes = _attributes(source, request, described, layout.dtype, bool(raters))
    create(store, patients, sequences, layout, attributes, raters, mask_labels(source), columns_of(told))


def _codec(purpose: str | None, codec: str | None) -> str:
    if purpose not in (None, "training"):
        raise ParameterError(f"purpose must be 'training' or left out, got {purpose!r}")
    if purpose:
        return codec or "none"
    check_codec(codec or "lz4")
    return codec or "lz4"


def _check_possible(request: Resampling, dataset: xr.Dataset, purpose: str | None) -> None:
    """Refuse what this cohort cannot give."""
    if request.needs_tumor and "rater" in dataset.dims:
        raise ParameterError("a window around the tumor needs one mask a scan; take center='volume'")
    if purpose and request.like is None and dataset.sizes["sequence"] > 1:
        raise ParameterError(
            "for training the sequences of a patient must lie on one grid: like= names the sequence whose grid it is"
        )


def _work(plans: NDArray[Any], request: Resampling, cohort: StoredCohort, source: zarr.Group) -> Work:
    """Say what each scan is made from, and how it is written."""
    patients, sequences = cohort.labels["patient"], cohort.labels["sequence"]
    places = {(p, s): (i, j) for i, p in enumerate(patients) for j, s in enumerate(sequences)}
    tables = {variable.name: array(source, variable.name)[...] for variable in SCAN_TABLES}
    like = None if request.like is None else sequences.index(request.like)

    def digest_of(at: tuple[int, int]) -> str:
        of_like = None if like is None else tables["mask_digest"][at[0], like]
        return plan_digest({name: table[at] for name, table in tables.items()}, plans[at], request, of_like)

    digests = {key: digest_of(at) for key, at in places.items()}

    def carried(key: Key) -> dict[str, Any]:
        kept = {n: v[places[key]] for n, v in tables.items() if n not in _ANEW}
        return kept | {n: str(tables[n][places[key]]) for n in ("status", "message", "mask_status")}

    def task(key: Key, place: ScanPlace) -> ResampleTask:
        at = places[key]
        tumor = cohort.at(at if like is None else (at[0], like))
        return ResampleTask(cohort.at(at), tumor, plans[at], request, carried(key), digests[key], place)

    refused = {key: plans[at].problem for key, at in places.items() if plans[at].problem}
    absent = {key: refusal(key, carried(key), reason, digests[key]) for key, reason in refused.items()}
    return Work("resample", patients, sequences, digests, absent, write_resampled, task)


def _attributes(
    source: zarr.Group, request: Resampling, described: Mapping[str, Any], dtype: str, rated: bool
) -> dict[str, Any]:
    kept = resampled_attributes(source.attrs.asdict(), request, rated=rated, dtype=dtype)
    own = {RESAMPLING: json.dumps(described), "npczarr_version": version("npczarr")}
    return {**root_attributes(dtype, rated=rated, of={}), **kept, **own}
