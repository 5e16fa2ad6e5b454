"""A source into a store: plan, let workers write whole scans, keep the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from npczarr.errors import ParameterError, SourceError, StoreError
from npczarr.graphs.run import Runner
from npczarr.graphs.scans import PeekTask, ScanTask, missing_row, peek_scans, source_digest, write_scan
from npczarr.graphs.writer import Key, Progress, Work, Writer
from npczarr.model.cohort import Cohort, ScanFiles
from npczarr.model.layout import Layout, check_codec, plan_layout
from npczarr.model.schema import RESAMPLING, Variable
from npczarr.sources.config import load_config
from npczarr.sources.discover import discover
from npczarr.sources.files import Source, open_source
from npczarr.sources.tables import Tables, read_tables
from npczarr.store.access import Location, locate
from npczarr.store.create import add_columns, array, create, is_new, labels, open_group, read_layout, resize
from npczarr.store.lease import hold_lease

_PEEK_BATCH = 32


def convert(
    source: str | Path,
    store: str | Path,
    *,
    config: str | Path | None = None,
    columns: str | Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    codec: str = "lz4",
    dtype: str | None = None,
    rewrite: Collection[str] = (),
    break_lock: bool = False,
    source_options: Mapping[str, Any] | None = None,
    store_options: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> xr.Dataset:
    """Convert a cohort to a store, or bring an existing store up to date with it.

    Scans that the store holds from the same files are kept, changed ones are written again, new patients and sequences
    are appended, and an interrupted run is completed. One bad scan never stops the others.

    Parameters
    ----------
    source
        Folder, zip archive or URL, laid out per patient and series.
    store
        Folder or URL of the store.
    config
        TOML file that describes another layout or other column names.
    columns
        TOML file of column names alone, such as ``npczarr columns`` writes; instead of those in `config`.
    workers
        Local worker processes; 0 for this process. By default the active ``distributed.Client``, or one a core. A
        script that starts processes needs ``if __name__ == "__main__":`` around its work.
    scheduler
        Address of a running scheduler instead.
    codec
        ``"lz4"`` (fast) or ``"zstd"`` (smaller); of a new store.
    dtype
        ``"int16"`` or ``"int32"``; of a new store, by default what the headers need.
    rewrite
        Patients (``"003"``) or scans (``"003/T1WI"``) to write again though they did not change, after damage.
    break_lock
        Take over from another writer that no longer runs.
    source_options, store_options
        fsspec options; credentials belong in the environment.
    on_progress
        Called after each scan.

    Returns
    -------
    xarray.Dataset
        On (patient, sequence) of the source: `status`, `message`, `mask_status`, `action` (written, replaced,
        kept or none), `seconds`, `source_bytes`; in the attributes what was found beside the scans.

    Raises
    ------
    SourceError
        If the source cannot be read or holds no scan.
    StoreError, LeaseError
        If the store cannot be written, or somebody else is writing it.
    """
    _check(codec, dtype)
    rules = load_config(config)
    if columns is not None:
        rules = replace(rules, columns=load_config(columns).columns)
    origin = open_source(source, dict(source_options or {}), rules.limits)
    target = locate(store, dict(store_options or {}))
    cohort = discover(origin, rules)
    tables = read_tables(origin, cohort, rules)
    unknown = sorted(set(rewrite) - {*cohort.patients, *("/".join(key) for key in cohort.scans)})
    if unknown:
        raise ParameterError(f"cannot rewrite {unknown[0]}: the source has no such patient or patient/sequence")
    runner = Runner(workers, scheduler)  # wrong arguments are an error before anything is created
    opened = target.open()
    with hold_lease(opened, target.url, break_lock=break_lock) as lease, runner:
        fresh = is_new(opened)
        if fresh:
            layout = _survey(runner, origin, cohort, codec, dtype)
            create(opened, cohort.patients, cohort.sequences, layout, {"title": "imaging cohort"}, cohort.raters)
        root = open_group(opened, target.url)
        if not fresh:
            layout = read_layout(root)
            if RESAMPLING in root.attrs:
                raise StoreError(
                    f"{target.url}: a resampled cohort, which takes no scans as they are; convert elsewhere"
                )
            _check_raters(root, cohort, target.url)
            patients = _joined(labels(root, "patient"), cohort.patients)
            sequences = _joined(labels(root, "sequence"), cohort.sequences)
            resize(root, patients=patients, sequences=sequences, extent_zyx=layout.extent_zyx)
        add_columns(root, _over_store(root, cohort, tables))
        writer = Writer(root, target, layout, lease, clear=not fresh, limits=origin.limits)
        result = writer.run(runner, _work(origin, cohort, target), rewrite, on_progress)
    return result.assign_attrs(strays=[file.path for file in cohort.strays], table_warnings=list(tables.warnings))


def _work(source: Source, cohort: Cohort, target: Location) -> Work:
    """Say what each scan is made from, and how it is written."""

    def task(key: Key, place: tuple[int, int], layout: Layout, clear: bool) -> ScanTask:
        return ScanTask(source, cohort.scans[key], target, place, layout, clear, cohort.raters)

    nothing = (ScanFiles(patient, sequence) for patient in cohort.patients for sequence in cohort.sequences)
    listed = {(files.patient, files.sequence): files for files in nothing} | dict(cohort.scans)
    return Work(
        verb="convert",
        patients=cohort.patients,
        sequences=cohort.sequences,
        digests={key: source_digest(files) for key, files in cohort.scans.items()},
        absent={key: missing_row(files) for key, files in listed.items() if not files.images and not files.raters},
        function=write_scan,
        task=task,
    )


def _check(codec: str, dtype: str | None) -> None:
    check_codec(codec)
    if dtype not in (None, "int16", "int32"):
        raise ParameterError(f"dtype must be int16 or int32, got {dtype!r}")


def _survey(runner: Runner, source: Source, cohort: Cohort, codec: str, dtype: str | None) -> Layout:
    """Plan the layout from the first header of each scan."""
    scans = [scan for scan in cohort.scans.values() if scan.images or scan.raters]
    batches = [PeekTask(source, tuple(scans[i : i + _PEEK_BATCH])) for i in range(0, len(scans), _PEEK_BATCH)]
    shapes, needed, faults = [], {"int16"}, []
    for _, outcome in runner.run(peek_scans, batches, name=lambda batch: f"peek-{batch.scans[0].patient}"):
        if isinstance(outcome, BaseException):
            raise SourceError(f"{source.url}: cannot be read by the workers: {outcome}") from outcome
        for found in outcome:
            if isinstance(found, str):
                faults.append(found)
            else:
                shapes.append(found[0])
                needed.add(found[1])
    if not shapes:
        first = faults[0] if faults else "no images"
        raise SourceError(f"{source.url}: none of {len(scans)} scans can be read; the first: {first}")
    return plan_layout(shapes, dtype=dtype or max(needed), codec=codec, limits=source.limits)


def _check_raters(root: zarr.Group, cohort: Cohort, url: str) -> None:
    """Refuse to mix scans with raters' masks, or masks of other raters, in one store."""
    there = tuple(labels(root, "rater")) if "rater" in root else ()
    if there != cohort.raters:
        raise StoreError(
            f"{url}: the raters of the store are {', '.join(there) or 'none'}, those of the source "
            f"{', '.join(cohort.raters) or 'none'}; convert into another store"
        )


def _joined(there: Sequence[str], coming: Sequence[str]) -> list[str]:
    """Labels of the store first, in their places, then the new ones."""
    return [*there, *(label for label in coming if label not in set(there))]


def _over_store(root: zarr.Group, cohort: Cohort, tables: Tables) -> dict[str, tuple[Variable, NDArray[Any]]]:
    """Spread a source's columns over all patients of the store; what the store holds of others is kept."""
    patients, sequences = labels(root, "patient"), labels(root, "sequence")
    rows = {label: i for i, label in enumerate(patients)}
    at = [rows[label] for label in cohort.patients], [sequences.index(label) for label in cohort.sequences]
    spread = {}
    for name, (variable, values) in tables.columns.items():
        shape = (len(patients), len(sequences))[: values.ndim]
        full: NDArray[Any] = np.full(shape, np.nan) if variable.dtype == "float64" else np.full(shape, "", dtype=object)
        if name in root:
            old = array(root, name)[...]
            if old.dtype.kind == "T" and variable.dtype == "float64":
                variable, values = replace(variable, dtype="string"), _as_text(values)
            full = (
                old.astype(object) if old.dtype.kind == "T" else (_as_text(old) if variable.dtype == "string" else old)
            )
        full[np.ix_(*at[: values.ndim])] = values
        spread[name] = (variable, full)
    return spread


def _as_text(values: NDArray[Any]) -> NDArray[Any]:
    return np.array([["", f"{v:g}"][v == v] for v in values.ravel()], dtype=object).reshape(values.shape)
