"""A store's scans as files of other tools: which, where, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr
import xxhash

from npczarr.errors import NpczarrError, ParameterError
from npczarr.export.files import check_name
from npczarr.export.manifest import Manifest
from npczarr.export.scan import ExportTask, read
from npczarr.model.options import check_local
from npczarr.model.schema import STORED
from npczarr.store.access import Location, locate
from npczarr.store.arrays import ShardedVoxels
from npczarr.store.create import open_group
from npczarr.store.open import open_location
from npczarr.store.voxels import voxels_of

FORMATS = {"tiff": "tiff", "nifti": "nifti", "ome-zarr": "ome_zarr", "png": "png"}
_LARGEST_SIZE = 8192


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of one scan.

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


class Map(Protocol):
    """Runs a function over tasks and yields each with its result or error, in any order."""

    def __call__(
        self,
        function: Callable[[ExportTask], Exported],
        tasks: Iterable[ExportTask],
        *,
        name: Callable[[ExportTask], str],
    ) -> Iterator[tuple[ExportTask, Exported | BaseException]]:
        """Run."""


def export(
    store: str | Path,
    out: str | Path,
    *,
    format: str,
    size: int | None = None,
    patients: Sequence[str] | None = None,
    sequences: Sequence[str] | None = None,
    bits: int = 8,
    options: Mapping[str, Any] | None = None,
    map: Map | None = None,
    on_progress: Callable[[int, int], None] | None = None,
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
        ``"tiff"``, slices scaled over the whole volume; ``"nifti"``, ``"ome-zarr"``, stored values; ``"png"``, the
        slice with most tumour and its outline.
    size
        Resample in-plane to ``size`` x ``size``; None keeps the matrix.
    patients, sequences
        Labels; None means all.
    bits
        8 or 16, of TIFF.
    options
        Storage options of the store; credentials belong in the environment.
    map
        What runs the tasks; by default one after another in this process.
    on_progress
        Called with scans done and in all.

    Returns
    -------
    tuple of Exported
        In the store's order.

    Raises
    ------
    ParameterError
        If an argument cannot be used, or the folder holds something else.
    StoreError
        If the store cannot be opened.
    """
    _check(format, size, bits, out)
    _load(format)
    location = locate(store, dict(options or {}))
    dataset = open_location(location)
    chosen = (_chosen(dataset, "patient", patients), _chosen(dataset, "sequence", sequences))
    manifest = Manifest.open(Path(out), {"format": format, "size": size, "bits": bits if format == "tiff" else None})
    form = {"out": str(manifest.folder), "format": format, "size": size, "bits": bits}
    planned = list(_plan(dataset, location, chosen, form))
    found: dict[int, Exported] = {}
    queue: dict[str, tuple[int, ExportTask]] = {}
    for i, item in enumerate(planned):
        if isinstance(item, Exported):
            found[i] = item
        elif (files := manifest.kept(item.key, item.digest)) is not None:
            found[i] = Exported(item.patient, item.sequence, item.rater, "kept", item.remark, files)
        else:
            queue[item.key] = i, item
    done, tasks = len(found), [task for _, task in queue.values()]
    try:
        for task, outcome in (map or _one_by_one)(export_scan, tasks, name=lambda task: f"export-{task.key}"):
            one = _outcome(task, outcome)
            found[queue[task.key][0]] = one
            if one.status == "written":
                manifest.add(task.key, task.digest, one.files)
            done += 1
            if on_progress is not None:
                on_progress(done, len(planned))
    finally:
        manifest.write()
    return tuple(found[i] for i in range(len(planned)))


def export_scan(task: ExportTask) -> Exported:
    """Export one scan; safe to run twice. What is wrong with it is told, not raised."""
    try:
        parts = [part for part in (task.rater, task.patient) if part]
        folder = Path(task.out, *(check_name(part) for part in parts))
        files, notes = _load(task.format)(read(task), folder, task.bits)
    except (NpczarrError, OSError, ValueError) as error:
        return Exported(task.patient, task.sequence, task.rater, "failed", str(error))
    message = "; ".join(note for note in (task.remark, *notes) if note)
    names = tuple(path.relative_to(task.out).as_posix() for path in files)
    return Exported(task.patient, task.sequence, task.rater, "written", message, names)


def _check(format: str, size: int | None, bits: int, out: str | Path) -> None:
    if format not in FORMATS:
        raise ParameterError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    if bits not in (8, 16):
        raise ParameterError(f"bits must be 8 or 16, got {bits}")
    if size is not None and not 1 <= size <= _LARGEST_SIZE:
        raise ParameterError(f"size must be from 1 to {_LARGEST_SIZE} voxels, got {size}")
    check_local(out)


def _load(format: str) -> Callable[..., Any]:
    """Return the writer of a format; each needs libraries that the others do not."""
    try:
        write: Callable[..., Any] = import_module(f"npczarr.export.{FORMATS[format]}").write
    except ModuleNotFoundError as error:
        raise ParameterError(
            f"{format} needs {error.name}, which is not installed: pip install 'npczarr[export]'"
        ) from error
    return write


def _chosen(dataset: xr.Dataset, dim: str, wanted: Sequence[str] | None) -> list[int]:
    labels = [str(label) for label in dataset[dim].values]
    unknown = [label for label in wanted or () if label not in labels]
    if unknown:
        known = ", ".join(labels[:5]) + (" …" if len(labels) > 5 else "")
        raise ParameterError(f"no {dim} {', '.join(map(repr, unknown))} in the store; it has {known}")
    return [i for i, label in enumerate(labels) if wanted is None or label in wanted]


def _plan(
    dataset: xr.Dataset, location: Location, chosen: tuple[list[int], list[int]], form: Mapping[str, Any]
) -> Iterator[ExportTask | Exported]:
    """Give a task for each scan that the store has, and for each that it has not, why."""
    root = open_group(location.open(read_only=True), location.url, mode="r")
    image, mask = (voxels_of(root, location, name) for name in ("image", "mask"))
    raters = [str(label) for label in dataset["rater"].values] if "rater" in dataset.dims else [""]
    for p in chosen[0]:
        for s in chosen[1]:
            one = dataset.drop_vars(["image", "mask"]).isel(patient=p, sequence=s)
            for r, rater in enumerate(raters):
                if str(one["status"].values) not in STORED:
                    message = f"{one['status'].values}: {one['message'].values}"
                    yield Exported(str(one["patient"].values), str(one["sequence"].values), rater, "absent", message)
                else:
                    yield _task(one, (p, s, r) if rater else (p, s), rater, image, mask, form)


def _task(
    one: xr.Dataset,
    place: tuple[int, ...],
    rater: str,
    image: ShardedVoxels,
    mask: ShardedVoxels,
    form: Mapping[str, Any],
) -> ExportTask:
    """Describe one scan, from its row of the catalogue."""
    z, y, x = (int(n) for n in one["shape"].values)
    masked = str(one["mask_status"].values) in STORED
    slope, intercept = (np.array(one[f"rescale_{name}"].values[:z]) for name in ("slope", "intercept"))
    affine = np.array(one["affine"].values)
    digests = [str(one[name].values) for name in ("image_digest", "mask_digest")]
    facts = [*digests, (z, y, x), affine.tolist(), slope.tolist(), intercept.tolist(), masked]
    return ExportTask(
        str(one["patient"].values),
        str(one["sequence"].values),
        rater,
        place,
        (z, y, x),
        affine,
        slope,
        intercept,
        bool(np.isfinite(one["spacing"].values[0])),
        None if rater else image,
        mask if masked else None,
        "" if masked else f"no mask ({one['mask_status'].values}: {one['message'].values})",
        xxhash.xxh3_128_hexdigest(repr(facts).encode()),
        **form,
    )


def _one_by_one(
    function: Callable[[ExportTask], Exported],
    tasks: Iterable[ExportTask],
    *,
    name: Callable[[ExportTask], str],
) -> Iterator[tuple[ExportTask, Exported | BaseException]]:
    for task in tasks:
        yield task, function(task)


def _outcome(task: ExportTask, outcome: Exported | BaseException) -> Exported:
    if isinstance(outcome, Exported):
        return outcome
    if not isinstance(outcome, Exception):
        raise outcome
    return Exported(task.patient, task.sequence, task.rater, "failed", f"{type(outcome).__name__}: {outcome}")
