"""One scan from a folder of DICOM files: slices ordered by position, values as stored."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

from npczarr.errors import SourceError
from npczarr.model.cohort import File, Where
from npczarr.model.geometry import Grid, Shape
from npczarr.model.records import Scan
from npczarr.sources.acquisition import acquisition
from npczarr.sources.fields import text_values
from npczarr.sources.file_kinds import describe_kinds
from npczarr.sources.files import Source, describe_files
from npczarr.sources.frames import frames_of
from npczarr.sources.headers import EMPTY, STRUCTURES, Folder, quiet, read_folder
from npczarr.sources.image_types import is_localizer
from npczarr.sources.named_labels import is_named, number_of_person
from npczarr.sources.nifti import NIFTI, grids
from npczarr.sources.nifti_file import read_nifti_file
from npczarr.sources.pixels import check_native
from npczarr.sources.remarks import describe_slices, missing_parts
from npczarr.sources.series import choose_series
from npczarr.sources.structures.masks import named_series
from npczarr.sources.volume import needed_dtype, read_volume
from npczarr.sources.where import keywords_of, unmet

#: What pydicom raises where a field is damaged.
_FAULTS = (
    AttributeError, TypeError, ValueError, LookupError, ArithmeticError, NotImplementedError, RecursionError, EOFError,
    OSError,
    struct.error, BytesLengthException,
)  # fmt: skip
_AT_ONCE = 64  # files in one request; in between, the time is looked at


@dataclass(frozen=True, slots=True)
class Peeked:
    """Size and type of a scan by the header of its first image.

    Parameters
    ----------
    shape_zyx
        Upper bound of the scan's shape.
    dtype
        Type that its values need by the header; the values themselves may need another.
    series_uid
        SeriesInstanceUID; only a hash of it may enter a store.
    """

    shape_zyx: Shape
    dtype: str
    series_uid: str = field(default="", repr=False)


def read_scan(
    source: Source,
    files: Sequence[File],
    *,
    masks: Sequence[File] = (),
    held: Callable[[str], bool] | None = None,
    where: Where = (),
    patient: str = "",
) -> Scan:
    """Read the series in a folder.

    Parameters
    ----------
    source, files
        The files of the folder; what is not an image is passed over and named by its kind.
    masks
        Masks of the scan: of several series, the one that they name, or that lies on their grid, is meant.
    held
        Whether the store already holds a series, by its SeriesInstanceUID.
    where
        Rule of the configuration that says which images are meant.
    patient
        Subject whose scan it is, to be held against the name in the header.

    Raises
    ------
    SourceError, GeometryError
        If there is no image, nothing tells which of several series is meant, or the slices cannot be read or do not
        make one regular volume.
    """
    source.limits.check_files(files)
    clock = source.limits.clock()
    with _header_faults(), quiet():
        contents = clock.over(zip(describe_files(files), _contents(source, files), strict=True))
        folder = read_folder(contents, source.limits, keywords=keywords_of(where))
        notes = [f"passed over: {kind} ({count} file{'s'[: count > 1]})" for kind, count in folder.passed_over.items()]
        if not folder.series:
            raise SourceError("; ".join([_no_image(files), *notes]))
        notes = [note for note, kind in zip(notes, folder.passed_over, strict=True) if kind not in STRUCTURES]
        chosen = choose_series(
            folder,
            where=where,
            held=held,
            named=lambda: named_series((*folder.structures, *_dicom_masks(source, masks)), source.limits),
            mask_grids=lambda: _mask_grids(source, masks),
        )
        ordered = [chosen.frames[i] for i in chosen.stack.order]
        remarks = describe_slices(ordered)
        image, doubts = read_volume(ordered, chosen.stack.grid.shape_zyx, source.limits, clock)
        first = ordered[0]
        warnings = [*chosen.warnings, *chosen.stack.warnings, *remarks, *doubts]
        warnings += [*missing_parts(folder.series[chosen.uid]), *_may_be_lost(folder, files, chosen.uid)]
        return Scan(
            image,
            chosen.stack.grid,
            np.array([frame.slope for frame in ordered]),
            np.array([frame.intercept for frame in ordered]),
            acquisition(first.dataset, first.index),
            (*notes, *chosen.notes),
            tuple(warnings),
            chosen.stack.z_spacing_known,
            chosen.uid,
            str(first.dataset.get("StudyInstanceUID", "")),
            str(first.dataset.get("FrameOfReferenceUID", "")),
            tuple(str(frame.dataset.get("SOPInstanceUID", "")) for frame in ordered),
            tuple(frame.index + 1 for frame in ordered),
            folder.structures,
            named=is_named(patient, first.dataset),
            person=number_of_person(first.dataset),
        )


def _may_be_lost(folder: Folder, files: Sequence[File], uid: str) -> list[str]:
    """Say which files of a folder may have been slices of the series: that a first or last one is missing shows not."""
    if not (folder.not_dicom or folder.image_like or folder.passed_over[EMPTY]):
        return []
    others = [files[at] for at in folder.not_dicom]
    images = [file for file in files if file not in others]
    endings, sizes = {_ending(file) for file in images} - {""}, {file.size for file in images}
    alike = [file for file in others if file.size in sizes or _ending(file) in endings]
    kinds = [kind for series, kind in folder.image_like if uid and series == uid]
    found = [
        (folder.passed_over[EMPTY], "empty file{s} in the folder"),
        (len(alike), "file{s} in the folder called or sized as the images are, but not DICOM"),
        (len(kinds), f"file{{s}} of the series with pixels and a position, but by the header {' and '.join({*kinds})}"),
    ]
    lost = "a first or last slice may be lost"
    return [f"{count} {what.format(s='s'[: count > 1])}: {lost}" for count, what in found if count]


def _ending(file: File) -> str:
    """Return the ending of a name in lower case; "" where it has no letter, as the last number of a UID."""
    ending = PurePosixPath(file.name).suffix.lower()
    return ending if any(char.isalpha() for char in ending) else ""


def peek(source: Source, files: Sequence[File], *, where: Where = ()) -> Peeked:
    """Read the header of the first image of a folder that meets the rule, of a localizer only if there is no other.

    Raises
    ------
    SourceError
        If no file of the folder is an image, or none meets the rule.
    """
    localizer = None
    with _header_faults(), quiet():
        for at, file in enumerate(files):
            source.limits.check_files([file])
            contents = zip(describe_files(files)[at : at + 1], source.read([file.path]), strict=True)
            folder = read_folder(contents, source.limits, keywords=keywords_of(where))
            for dataset in (dataset for series in folder.series.values() for dataset in series):
                peeked = _peeked(source, dataset, len(files) - at, where)
                if peeked is not None and not is_localizer(text_values(dataset, "ImageType")):
                    return peeked
                localizer = localizer or peeked
    if localizer is not None:
        return localizer
    raise SourceError(_no_image(files) + ("; or none meets the rule `where` of this sequence" if where else ""))


def _no_image(files: Sequence[File]) -> str:
    return (
        f"no image in the folder, which holds {describe_kinds(files)}; expected DICOM images, or one NIfTI file (.nii, "
        ".nii.gz)"
    )


def _peeked(source: Source, dataset: Dataset, files: int, where: Where) -> Peeked | None:
    # a layout must not be planned on a size that nothing bears out
    frames = [frame for frame in frames_of(dataset) if unmet(where, dataset, frame.index) is None]
    if not frames:
        return None
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    source.limits.check_voxels(2 * len(frames) * rows * columns)
    check_native(dataset)
    uid = str(dataset.get("SeriesInstanceUID", ""))
    return Peeked((len(frames) * files, rows, columns), needed_dtype(dataset), uid)


def _dicom_masks(source: Source, masks: Sequence[File]) -> list[bytes]:
    found = source.read([file.path for file in masks if not file.name.lower().endswith(NIFTI)])
    return [content for content in found if isinstance(content, bytes)]


def _mask_grids(source: Source, masks: Sequence[File]) -> list[Grid]:
    """Grids of the masks, by sform and by qform; what is wrong with a mask is said where it is placed."""
    found: list[Grid] = []
    for file in masks:
        with suppress(SourceError):
            found += grids(read_nifti_file(source, file, "the mask")).values()
    return found


@contextmanager
def _header_faults() -> Iterator[None]:
    """Translate the exceptions of pydicom for fields that are absent or damaged."""
    try:
        yield
    except _FAULTS as error:
        # not its text, which would be stored: it may hold the value of the field
        field = f"the header has no {error.name}" if isinstance(error, AttributeError) else (
            f"a header field is damaged ({type(error).__name__})"
        )  # fmt: skip
        raise SourceError(f"{field}; copy the files again") from error


def _contents(source: Source, files: Sequence[File]) -> Iterator[bytes | Exception]:
    for start in range(0, len(files), _AT_ONCE):
        yield from source.read([file.path for file in files[start : start + _AT_ONCE]])
