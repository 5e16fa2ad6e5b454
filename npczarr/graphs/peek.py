"""The first header of each scan of a source: what a store is planned on, and by which it knows its series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from npczarr.errors import SourceError
from npczarr.graphs.convert_scan import failure_reason
from npczarr.model.cohort import ScanFiles
from npczarr.model.geometry import Shape
from npczarr.runner import Runner
from npczarr.sources.files import Source
from npczarr.sources.images import peek_image
from npczarr.sources.raters import read_raters
from npczarr.store.chunks import digest
from npczarr.store.describe import uid_digest

_BATCH = 32


@dataclass(frozen=True, slots=True)
class PeekTask:
    """Scans whose first header is to be read."""

    source: Source = field(repr=False)
    scans: tuple[ScanFiles, ...]
    salt: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Peek:
    """What the first header of a scan says.

    Parameters
    ----------
    shape_zyx
        Upper bound of the scan's shape.
    dtype
        Type that its values need.
    identity
        Digest of its series, or of the raters' masks.
    problem
        Why nothing can be said; then nothing else counts.
    """

    shape_zyx: Shape = (0, 0, 0)
    dtype: str = "int16"
    identity: str = ""
    problem: str = ""


def peek_source(
    runner: Runner, source: Source, scans: Iterable[ScanFiles], salt: str = "00"
) -> Iterator[tuple[ScanFiles, Peek]]:
    """Look at the first header of each scan that has one, as the workers find them."""
    listed = [scan for scan in scans if scan.images or scan.raters]
    batches = [PeekTask(source, tuple(listed[i : i + _BATCH]), salt) for i in range(0, len(listed), _BATCH)]
    for batch, outcome in runner.run(peek_scans, batches, name=lambda batch: f"peek-{batch.scans[0].patient}"):
        if isinstance(outcome, BaseException):
            raise SourceError(f"{source.shown}: cannot be read by the workers: {outcome}") from outcome
        yield from zip(batch.scans, outcome, strict=True)


def peek_scans(task: PeekTask) -> list[Peek]:
    """Look at the first header of each scan."""
    found: list[Peek] = []
    for scan in task.scans:
        try:
            if scan.raters:
                masks, *_ = read_raters(task.source, scan, tuple(dict.fromkeys(scan.raters)))
                z, y, x = masks.shape[1:]
                found.append(Peek((z, y, x), identity=digest(masks)))
            else:
                first = peek_image(task.source, scan)
                found.append(Peek(first.shape_zyx, first.dtype, uid_digest(first.series_uid, task.salt)))
        except Exception as error:  # what is wrong is said again, at length, when the scan is read
            found.append(Peek(problem=f"{scan.patient}/{scan.sequence}: {failure_reason(error)}"))
    return found
