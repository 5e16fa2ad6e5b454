"""Export of a store: which scans, into which files, and the outcome of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from npczarr.errors import NpczarrError, ParameterError, check_lists, unknown_label
from npczarr.export.manifest import Manifest
from npczarr.export.origin import OriginFiles, find_origins
from npczarr.export.scan import ExportTask, read
from npczarr.model.options import check_local
from npczarr.model.progress import Meter, OnProgress
from npczarr.model.schema import STATUSES
from npczarr.outputs import check_outside_stores
from npczarr.runner import Runner
from npczarr.store.cohort import StoredCohort
from npczarr.store.location import locate

FORMATS = {"tiff": "tiff", "nifti": "nifti", "ome-zarr": "ome_zarr", "png": "png", "seg": "seg", "rtstruct": "rtstruct"}
#: Formats that can refer to the series of a source.
REFERRING = ("seg", "rtstruct")
_LARGEST_SIZE = 8192
_SMALL_VOXELS = 50_000_000  # written in about the time that two processes take to start


@dataclass(frozen=True, slots=True)
class Exported:
    """Outcome of the export of one scan.

    Parameters
    ----------
    patient, sequence, rater
        Labels; the rater is empty unless the store holds several raters' masks.
    status
        ``written``; ``kept``, as an earlier run wrote it; ``absent``, the store has no such scan; ``failed``.
    message
        Why, and what is to be known of the files.
    files
        Below the folder of the export.
    """

    patient: str
    sequence: str
    rater: str
    status: str
    message: str = ""
    files: tuple[str, ...] = ()


def export_scans(
    store: str | Path,
    out: str | Path,
    *,
    format: str,
    size: int | None = None,
    patients: Sequence[str] | None = None,
    sequences: Sequence[str] | None = None,
    bits: int = 8,
    mask_of: str | None = None,
    source: str | Path | None = None,
    config: str | Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    source_options: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Exported, ...]:
    """Write scans and masks as files of other tools, ``<patient>/<sequence>…`` below a folder.

    Run again, it completes an interrupted export and writes scans that have changed in the store. One bad scan does not
    stop the rest.

    Parameters
    ----------
    store
        Folder or URL of the store. Of a store of several raters each has a folder, ``<rater>/<patient>/…``.
    out
        Local folder: new, empty, or of an earlier export of the same kind.
    format
        ``"tiff"``, slices scaled over the whole volume; ``"nifti"``, ``"ome-zarr"``, stored values, NaN outside the
        field of view; ``"png"``, the slice with most tumor, upright, with its outline and the patient's sides;
        ``"seg"``, ``"rtstruct"``, the mask alone as a DICOM object; ``"nnunet"``, real values as a dataset of nnU-Net
        version 2, a case for each patient whose sequences lie on one grid; who is for testing and who is held out, the
        columns `fold` and `split` say.
    size
        Resample in-plane to ``size`` x ``size``; None keeps the matrix.
    patients, sequences
        Labels; None means all. A folder for nnU-Net holds one dataset: the sequences must be those of before, and the
        patients all of before, or more.
    bits
        8 or 16, of TIFF.
    mask_of
        Sequence whose mask nnU-Net learns; by default the one on whose grid the store was resampled.
    source, config
        Of SEG and RTSTRUCT: what the store was made from, and the TOML file of its layout. The objects then name its
        series and slices, and repeat what these say of patient and study, so that an archive lays them on the images.
        Without it they stand alone, with identifiers of their own.
    workers
        Local worker processes; 0 for this process. By default the active ``distributed.Client``, or one a core; this
        process for a few scans.
    scheduler
        Address of a running scheduler instead. All workers must see the same folder `out`.
    storage_options, source_options
        Options of the store's and of the source's file system; credentials belong in the environment.
    on_progress
        Called with a :class:`npczarr.Progress` when the scans to write are known, and after each.

    Returns
    -------
    tuple of Exported
        In the store's order.

    Raises
    ------
    ParameterError
        If an argument cannot be used, the folder holds something else, or another run is writing there.
    StoreError
        If the store cannot be opened.
    """
    check_lists(patients=patients, sequences=sequences)
    if format == "nnunet":
        return _export_cases(
            store, out, patients, sequences, mask_of, size, workers, scheduler, storage_options, on_progress
        )
    _check(format, size, bits, out)
    if source is not None and (format not in REFERRING or size is not None):
        raise ParameterError(f"source: only {' and '.join(REFERRING)} refer to it, and on its own matrix; leave it out")
    _load(format)
    cohort = StoredCohort(locate(store, storage_options))
    labels = cohort.labels
    chosen = (_chosen(labels["patient"], "patient", patients), _chosen(labels["sequence"], "sequence", sequences))
    voxels = int(cohort.tables["shape"][np.ix_(*chosen)].prod(axis=-1).sum())
    runner = Runner(workers, scheduler, idle="here" if voxels < _SMALL_VOXELS else "processes")
    kind = {"format": format, "size": size, "bits": bits if format == "tiff" else None}
    if source is not None:
        kind["refers_to_source"] = True
    with Manifest.open(Path(out), kind) as manifest:
        form = {"out": str(manifest.folder), "format": format, "size": size, "bits": bits}
        origins = None if source is None else find_origins(source, config, source_options)
        return _write(list(_plan(cohort, chosen, form, origins)), manifest, runner, on_progress)


def _write(
    planned: Sequence[ExportTask | Exported], manifest: Manifest, runner: Runner, on_progress: OnProgress | None
) -> tuple[Exported, ...]:
    """Write the scans that the folder does not hold as they are; the outcome of each is in the order of the plan."""
    found: dict[int, Exported] = {}
    queue: dict[str, tuple[int, ExportTask]] = {}
    for i, item in enumerate(planned):
        if isinstance(item, Exported):
            found[i] = item
        elif (files := manifest.kept(item.key, item.digest)) is not None:
            found[i] = Exported(item.scan.patient, item.scan.sequence, item.rater_label, "kept", item.remark, files)
        else:
            queue[item.key] = i, item
    tasks = [task for _, task in queue.values()]
    manifest.begin({task.key: _files(task) for task in tasks})
    try:
        with runner:
            meter = Meter(on_progress, len(tasks), "scans", Counter(one.status for one in found.values()))
            for task, outcome in runner.run(export_scan, tasks, name=lambda task: f"export-{task.key}"):
                one = _outcome(task, outcome)
                found[queue[task.key][0]] = one
                if one.status == "written":
                    manifest.add(task.key, task.digest, one.files)
                meter.add(counts={one.status: 1})
    finally:
        manifest.write()
    return tuple(found[i] for i in range(len(planned)))


def _files(task: ExportTask) -> tuple[str, ...]:
    """Names of the files of a scan below the folder of the export; none where a label cannot name one."""
    try:
        return tuple(f"{task.folder}/{name}" for name in _load(task.format).names(task.scan))
    except ParameterError:  # the outcome of the scan will say it
        return ()


def _export_cases(
    store: str | Path,
    out: str | Path,
    patients: Sequence[str] | None,
    sequences: Sequence[str] | None,
    mask_of: str | None,
    size: int | None,
    workers: int | None,
    scheduler: str | None,
    storage_options: Mapping[str, Any] | None,
    on_progress: OnProgress | None,
) -> tuple[Exported, ...]:
    """Write a dataset of nnU-Net; the files of a patient are listed with the sequence whose mask is the label."""
    from npczarr.export.nnunet import export_cases

    if size is not None:
        raise ParameterError("nnunet has no size: resample the store, then export it")
    check_local(out)
    check_outside_stores(out)
    with Runner(workers, scheduler, idle="here") as runner:
        cases, labelled = export_cases(
            locate(store, storage_options), Path(out), patients=patients, sequences=sequences, mask_of=mask_of,
            runner=runner, on_progress=on_progress,
        )  # fmt: skip
    return tuple(Exported(case.patient, labelled, "", case.status, case.message, case.files) for case in cases)


def export_scan(task: ExportTask) -> Exported:
    """Export one scan; safe to run twice. A problem is returned, not raised."""
    try:
        files, notes = _load(task.format).write(read(task), Path(task.out, task.folder), task.bits)
    except (NpczarrError, OSError, ValueError) as error:
        return Exported(task.scan.patient, task.scan.sequence, task.rater_label, "failed", str(error))
    message = "; ".join(note for note in (task.remark, *notes) if note)
    names = tuple(path.relative_to(task.out).as_posix() for path in files)
    return Exported(task.scan.patient, task.scan.sequence, task.rater_label, "written", message, names)


def _check(format: str, size: int | None, bits: int, out: str | Path) -> None:
    if format not in FORMATS:
        raise ParameterError(f"format must be one of {', '.join((*FORMATS, 'nnunet'))}, got {format!r}")
    if bits not in (8, 16):
        raise ParameterError(f"bits must be 8 or 16, got {bits}")
    if size is not None and not 1 <= size <= _LARGEST_SIZE:
        raise ParameterError(f"size must be from 1 to {_LARGEST_SIZE} voxels, got {size}")
    check_local(out)
    check_outside_stores(out)


def _load(format: str) -> Any:  # noqa: ANN401 - a module
    """Import the module of a format; only now, since each needs libraries of its own."""
    try:
        return import_module(f"npczarr.export.{FORMATS[format]}")
    except ModuleNotFoundError as error:
        raise ParameterError(
            f"{format} needs {error.name}, which is not installed: pip install 'npczarr[export]'"
        ) from error


def _chosen(labels: Sequence[str], dim: str, wanted: Sequence[str] | None) -> list[int]:
    unknown = [label for label in wanted or () if label not in labels]
    if unknown:
        raise unknown_label(dim, unknown[0], labels)
    return [i for i, label in enumerate(labels) if wanted is None or label in wanted]


def _plan(
    cohort: StoredCohort,
    chosen: tuple[list[int], list[int]],
    form: Mapping[str, Any],
    origins: Mapping[tuple[str, str], OriginFiles] | None,
) -> Iterator[ExportTask | Exported]:
    """Yield a task for each stored scan, and the reason for each that is not stored."""
    for at in product(*chosen):
        scan = cohort.at((at[0], at[1]))
        for rater in range(len(scan.raters)) if scan.raters else [None]:
            origin = None if origins is None else origins.get((scan.patient, scan.sequence))
            task = ExportTask(scan, rater, **form, origin=origin)
            if scan.stored and origins is not None and origin is None:
                message = "the source has no such series; give the one that the store was made from"
                yield Exported(scan.patient, scan.sequence, task.rater_label, "failed", message)
            elif scan.stored:
                yield task
            elif scan.status == "pending":
                message = f"pending: {STATUSES['pending']}"
                yield Exported(scan.patient, scan.sequence, task.rater_label, "failed", message)
            else:
                message = f"{scan.status}: {scan.message}"
                yield Exported(scan.patient, scan.sequence, task.rater_label, "absent", message)


def _outcome(task: ExportTask, outcome: Exported | BaseException) -> Exported:
    if isinstance(outcome, Exported):
        return outcome
    if not isinstance(outcome, Exception):
        raise outcome
    return Exported(
        task.scan.patient, task.scan.sequence, task.rater_label, "failed", f"{type(outcome).__name__}: {outcome}"
    )
