"""The image of a scan, whichever format its files are in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from npczarr.errors import SourceError
from npczarr.model.cohort import ScanFiles, subject_of
from npczarr.model.records import Scan
from npczarr.sources.dicom import Peeked, peek, read_scan
from npczarr.sources.files import Source
from npczarr.sources.nifti_image import is_nifti, peek_nifti, read_nifti_scan


def read_image(source: Source, scan: ScanFiles, *, held: Callable[[str], bool] | None = None) -> Scan:
    """Read the DICOM series or the NIfTI image of a scan.

    Parameters
    ----------
    source, scan
        The files.
    held
        Whether the store already holds a series, by its SeriesInstanceUID.

    Raises
    ------
    SourceError, GeometryError
        If the files do not make one regular volume.
    """
    _check(scan)
    if is_nifti(scan.images):
        read = read_nifti_scan(source, scan.images, where=scan.where)
    else:
        read = read_scan(
            source, scan.images, masks=scan.masks, held=held, where=scan.where, patient=subject_of(scan.patient)
        )
    if not scan.note:
        return read
    doubts = (scan.doubt,) if scan.doubt else ()
    return replace(read, notes=(*read.notes, scan.note), warnings=(*read.warnings, *doubts))


def peek_image(source: Source, scan: ScanFiles) -> Peeked:
    """Look at the shape and type of a scan before it is read.

    Raises
    ------
    SourceError, GeometryError
        If nothing in its files can be read.
    """
    _check(scan)
    if is_nifti(scan.images):
        return Peeked(*peek_nifti(source, scan.images))
    return peek(source, scan.images, where=scan.where)


def _check(scan: ScanFiles) -> None:
    if scan.refusal:
        raise SourceError(scan.refusal)
