"""A source into a store: plan, let workers write whole scans, keep the tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr
import zarr
from zarr.abc.store import Store

from npczarr.errors import ParameterError, SourceError, check_lists
from npczarr.graphs.convert_scan import ScanTask, missing_row, source_digest, write_scan
from npczarr.graphs.held_scan import HeldScans
from npczarr.graphs.imported_mask import ImportedMask, imported_masks
from npczarr.graphs.peek import peek_source
from npczarr.graphs.run_result import changed
from npczarr.graphs.same_cohort import (
    check_kind,
    is_stranger,
    other_cohort,
    patients_gone,
    scans_gone,
    sequences_gone,
)
from npczarr.graphs.source_columns import over_store, without_identities
from npczarr.graphs.store_writer import StoreWriter, Work
from npczarr.model.cohort import Cohort, ScanFiles
from npczarr.model.label_set import label_names
from npczarr.model.layout import Layout, check_codec, plan_layout
from npczarr.model.progress import OnProgress
from npczarr.model.records import PADDING
from npczarr.model.schema import STORED
from npczarr.runner import Runner
from npczarr.sources.config import SourceConfig, load_config
from npczarr.sources.discover import discover
from npczarr.sources.files import Source, open_source
from npczarr.sources.named_labels import remarks_on_labels
from npczarr.sources.same_person import remarks_on_persons
from npczarr.sources.tables import Tables, read_tables
from npczarr.store.chunks import ScanPlace
from npczarr.store.create import add_columns, check_place, create, is_new, resize
from npczarr.store.describe import SALT, add_history, root_attributes
from npczarr.store.hierarchy import labels, open_group, read_layout
from npczarr.store.lease import Lease, hold_lease
from npczarr.store.location import locate
from npczarr.store.rows import Key, Rows


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
    replace: bool = False,
    keep: Collection[str] = (),
    break_lock: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    source_options: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> xr.Dataset:
    """Convert a cohort to a store, or bring an existing store up to date with it.

    Scans that the store holds from the same files are kept, changed ones are written again, new patients and sequences
    are appended, and an interrupted run is completed. One bad scan never stops the others. A scan of another series is
    not put in the place of one that the store holds, and another cohort is refused, unless `replace` is given. A mask
    that was imported stays, unless the source's image or mask is another than then, or `rewrite` or `replace` asks for
    the source's. An image that the store holds twice is a warning of the second.

    What the store holds is not given up because its source has got worse: a scan whose images are damaged or gone, or
    that has lost slices or its mask, stays with its mask, its message says so, and the next run tries again.
    ``rewrite=["003/T1WI"]`` takes what the source has of a scan, and removes what it has not.

    Parameters
    ----------
    source
        Folder, zip archive or URL, laid out per patient and series.
    store
        Folder or URL of the store.
    config
        TOML file that describes another layout, other column names, or the labels of the masks.
    columns
        TOML file of column names alone, such as ``npczarr columns`` writes; instead of those in `config`.
    workers
        Local worker processes; 0 for this process. By default the active ``distributed.Client``, or one a core.
    scheduler
        Address of a running scheduler instead.
    codec
        ``"lz4"`` (fast) or ``"zstd"`` (smaller); of a new store.
    dtype
        ``"int16"``, ``"int32"`` or ``"float32"``; of a new store, by default what the images need: float32 where
        a NIfTI image has values that are not whole.
    rewrite
        Patients (``"003"``) or scans (``"003/T1WI"``) to write again though they did not change, after damage; what
        the source has no more of them is removed.
    replace
        Put scans in the place of those that the store holds under the same labels, though they are of other series;
        with another cohort, of those of its labels that it lacks or that cannot be read too.
    keep
        Columns of tables to take though their names say that they tell who the patients are, such as ``"Name"``.
    break_lock
        Take over from another writer that no longer runs.
    storage_options, source_options
        Options of the store's and of the source's file system; credentials belong in the environment.
    on_progress
        Called with a :class:`npczarr.Progress` when the scans to write are known, and after each.

    Returns
    -------
    xarray.Dataset
        On (patient, sequence) of the source: `status`, `message`, `mask_status`, `action` (written, replaced,
        kept or none), `seconds`, `source_bytes`. In the attributes: files that belong to no scan (`strays`), what is
        odd in tables (`table_warnings`), what series were taken for by their headers and which were not taken
        (`guesses`, `not_taken`), scans that have lost the mask that the store held (`masks_gone`), scans that stay as
        they are though their source has got worse (`source_worse`), patients and scans that the store holds and this
        source does not have, how many labels are names of persons or hold dates, and who may be one person
        (`remarks`), labels that are the name in the headers (`named`), patients who share a PatientID
        (`same_number`), and what padding costs where it is much.

    Raises
    ------
    SourceError
        If the source cannot be read or holds no scan.
    StoreError, LeaseError
        If the store cannot be written, holds another cohort, or somebody else is writing it.
    """
    _check(codec, dtype, rewrite=rewrite, keep=keep)
    rules = _load_rules(config, columns)
    origin = open_source(source, source_options, rules.limits)
    target = locate(store, storage_options)
    cohort = discover(origin, rules)
    _check_images(cohort, origin.shown)
    tables = without_identities(read_tables(origin, cohort, rules), keep)
    _check_rewrite(rewrite, cohort)
    runner = Runner(workers, scheduler)  # wrong arguments are an error before anything is created
    opened = target.open()
    check_place(opened, target.shown)
    with hold_lease(opened, target.shown, break_lock=break_lock) as lease, runner:
        fresh = is_new(opened)
        if fresh:
            layout = _survey(runner, origin, cohort, codec, dtype)
            with lease.writing():
                _create(opened, cohort, layout, rules, tables)
        root = open_group(opened, target.shown)
        stranger, new_columns = False, fresh
        if not fresh:
            layout = read_layout(root, target.shown)
            check_kind(root, cohort, rules.labels, target.shown)
            stranger = is_stranger(runner, root, origin, cohort)
            if stranger and not replace:
                raise other_cohort(root, cohort, target.shown)
            _grow(root, cohort, layout, lease)
            with lease.writing():
                new_columns = add_columns(root, over_store(root, cohort, tables, strangers=stranger))
        writer = StoreWriter(root, target, layout, lease, clear=not fresh, limits=origin.limits)
        held = None if fresh or stranger else HeldScans(target, root, rewrite)
        imported = {} if replace else imported_masks(target, root, rewrite)
        status = Rows(root).read("status")
        work = _work(root, origin, cohort, imported, held, replace=replace)
        remarks = [*patients_gone(status, cohort.patients), *sequences_gone(status, cohort)]
        result = writer.run(runner, work, rewrite, on_progress)
        if new_columns or changed(result):
            options = {"codec": codec if fresh else None, "rewrite": len(rewrite), "replace": replace}
            with lease.writing():
                add_history(root, "convert", options)
    remarks += remarks_on_labels(cohort.patients, result.attrs["named"])
    remarks += remarks_on_persons(result.attrs["same_number"], Rows(root).read("study_digest"))
    return result.assign_attrs(_oddities(cohort, tables), remarks=remarks)


def _create(store: Store, cohort: Cohort, layout: Layout, rules: SourceConfig, tables: Tables) -> None:
    """Make a store without voxels."""
    attributes = root_attributes(layout.dtype, rated=bool(cohort.raters), of=rules.cohort)
    names = label_names(rules.labels)
    create(store, cohort.patients, cohort.sequences, layout, attributes, cohort.raters, names, tables.columns)


def _oddities(cohort: Cohort, tables: Tables) -> dict[str, list[str]]:
    """Return what was odd about the source."""
    return {
        "strays": [file.path for file in cohort.strays],
        "table_warnings": list(tables.warnings),
        "guesses": list(cohort.guesses),
        "not_taken": list(cohort.not_taken),
    }


def _load_rules(config: str | Path | None, columns: str | Path | None) -> SourceConfig:
    rules = load_config(config)
    return rules if columns is None else dataclasses.replace(rules, columns=load_config(columns).columns)


def _check_images(cohort: Cohort, url: str) -> None:
    """Refuse masks alone: every scan would be missing."""
    if not any(scan.images or scan.raters for scan in cohort.scans.values()):
        raise SourceError(
            f"{url}: masks of {len(cohort.scans)} scans and no images; name the folder that holds both, or give the "
            "masks to scans of a store by npczarr import-masks"
        )


def _check_rewrite(rewrite: Collection[str], cohort: Cohort) -> None:
    scans = (f"{patient}/{sequence}" for patient in cohort.patients for sequence in cohort.sequences)
    unknown = sorted(set(rewrite) - {*cohort.patients, *scans})
    if unknown:
        raise ParameterError(f"cannot rewrite {unknown[0]}: the source has no such patient or patient/sequence")


def _grow(root: zarr.Group, cohort: Cohort, layout: Layout, lease: Lease) -> None:
    """Give an existing store the patients and sequences of the source, behind its own."""
    patients = _joined(labels(root, "patient"), cohort.patients)
    sequences = _joined(labels(root, "sequence"), cohort.sequences)
    with lease.writing():
        resize(root, patients=patients, sequences=sequences, extent_zyx=layout.extent_zyx, check=lease.check)


def _work(
    root: zarr.Group,
    source: Source,
    cohort: Cohort,
    imported: Mapping[Key, ImportedMask],
    held: HeldScans | None,
    *,
    replace: bool,
) -> Work:
    """Say what each scan is made from, and how it is written."""
    rows = Rows(root)
    salt = str(root.attrs.asdict().get(SALT, ""))
    status, series = rows.read("status"), rows.read("series_digest")

    def task(key: Key, place: ScanPlace) -> ScanTask:
        known = str(series[key]) if status[key] in (*STORED, "pending") else ""
        kept = None if held is None or replace or cohort.raters else held.get(key)
        files = cohort.scans[key]
        return ScanTask(source, files, place, cohort.raters, salt, known, replace, imported.get(key), kept)

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
        clear_absent=held is None,
        compare_images=True,
        held=held,
        gone=() if held is None else scans_gone(status, cohort),
    )


def _check(codec: str, dtype: str | None, **lists: Collection[str]) -> None:
    check_lists(**lists)
    check_codec(codec)
    if dtype not in (None, *PADDING):
        raise ParameterError(f"dtype must be one of {', '.join(PADDING)}, got {dtype!r}")


def _survey(runner: Runner, source: Source, cohort: Cohort, codec: str, dtype: str | None) -> Layout:
    """Plan the layout from the first header of each scan."""
    found = list(peek_source(runner, source, cohort.scans.values()))
    readable = [peek for _, peek in found if not peek.problem]
    if not readable:
        first = found[0][1].problem if found else "no images"
        raise SourceError(f"{source.shown}: none of {len(found)} scans can be read; the first: {first}")
    needed = max((peek.dtype for peek in readable), key=list(PADDING).index)
    return plan_layout([peek.shape_zyx for peek in readable], dtype=dtype or needed, codec=codec, limits=source.limits)


def _joined(there: Sequence[str], coming: Sequence[str]) -> list[str]:
    """Labels of the store first, in their places, then the new ones."""
    return [*there, *(label for label in coming if label not in set(there))]
