"""The mask of one scan, whatever it is made from: NIfTI, RTSTRUCT or SEG."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from npczarr.errors import SourceError
from npczarr.model.cohort import File, ScanFiles
from npczarr.model.geometry import Grid
from npczarr.model.label_set import Labels
from npczarr.model.records import Mask, Scan
from npczarr.sources.files import Source, describe_files, refusal_reason
from npczarr.sources.nifti import NIFTI
from npczarr.sources.nifti import read_mask as read_nifti_mask
from npczarr.sources.structures.masks import (
    HEADER_BYTES,
    StructureObject,
    describe_kind,
    draw_labels,
    is_dicom,
    is_structure,
    named_series,
    names_series,
    read_object,
)
from npczarr.sources.structures.records import ImageUids

_UID = re.compile(r"[0-9.]{1,64}")
_UNTOLD = (
    "beside it with outlines of a series, and the image, NIfTI without SeriesInstanceUID in its sidecar, does not say "
    "which it is; give the files names with {mask} or {sequence} under layout.masks, and their coordinates decide"
)
_ELSEWHERE = (
    "of this series in a folder where outlines are not looked for, not used; name the folder under layout.structures, "
    'as in structures = "{patient}/FOLDER/**"'
)


def read_scan_mask(source: Source, files: ScanFiles, scan: Scan) -> Mask | str:
    """Read the mask of a scan on its grid; where there is none, return why, in words.

    A NIfTI mask counts before what DICOM objects beside the images outline, unless the declared labels name structures
    alone. Of such objects those count that name the series of the scan; the ones that a pattern for masks gives, in any
    case.

    Raises
    ------
    SourceError, GeometryError
        If a mask cannot be read, does not fit, or nothing says which structure is meant.
    """
    series = scan.series_uid if _UID.fullmatch(scan.series_uid) else ""  # NIfTI has a digest in its place
    thickness = float(scan.acquisition.get("slice_thickness", math.nan))
    image = ImageUids(series, scan.frame_of_reference_uid, scan.instance_uids, scan.frame_numbers, thickness)
    beside, passed_over = _beside(source, files, scan)
    by_structure = bool(files.labels) and not any(label.values for label in files.labels)
    if files.masks and not (by_structure and beside):
        mask = read_mask(source, files.masks, scan.grid, files.labels, image=image)
        notes = [*_unused(beside, image, source), *passed_over]
        return replace(mask, notes=(*mask.notes, *notes))
    own, others = _of_series(beside, image, source)
    if not own:
        said = "; ".join(part for part in (others, *passed_over, _set_aside(source, files, image)) if part)
        return f"no mask ({said})" if said else "no mask"
    mask = draw_labels(own, files.labels, scan.grid, image=image, limits=source.limits)
    return replace(mask, notes=(*mask.notes, *passed_over))


def read_mask(
    source: Source, files: Sequence[File], grid: Grid, labels: Labels = (), *, image: ImageUids | None = None
) -> Mask:
    """Read the mask that some files hold, NIfTI or DICOM, and place it on a grid.

    Parameters
    ----------
    source, files
        One NIfTI file; or RTSTRUCT and SEG files, several of which may hold the labels.
    grid
        Grid of the image.
    labels
        What the mask is made of; empty if whatever is outlined is tumor.
    image
        Identifiers of the image, to check what the objects refer to; None if they are not known.

    Raises
    ------
    SourceError, GeometryError
        If they cannot be read, do not fit the image, or are both NIfTI and DICOM.
    """
    nifti = [file for file in files if file.name.lower().endswith(NIFTI)]
    if nifti and len(files) > 1:
        raise SourceError(
            f"{len(files)} masks for one scan ({', '.join(describe_files(files))}), expected one; keep the right one"
        )
    if nifti:
        if labels and not any(label.values for label in labels):
            raise SourceError(
                "the mask is NIfTI, and the declared labels name no values; give them, as in tumor = { value = 1 }"
            )
        return read_nifti_mask(source, files, grid, labels)
    objects = [read_object(content, source.limits) for content in _contents(source, files)]
    return draw_labels(objects, labels, grid, image=image, limits=source.limits)


def _contents(source: Source, files: Sequence[File]) -> list[bytes]:
    source.limits.check_files(files)
    contents = []
    for file, content in zip(files, source.read([file.path for file in files]), strict=True):
        what = describe_files([file])[0]
        if isinstance(content, Exception):
            raise SourceError(f"the mask ({what}) {refusal_reason(content)}")
        if not is_dicom(content):
            raise SourceError(f"the mask ({what}) is neither NIfTI nor DICOM; save it as one of them")
        contents.append(content)
    return contents


def _beside(source: Source, files: ScanFiles, scan: Scan) -> tuple[list[bytes], list[str]]:
    """Contents of the DICOM files of outlines among the images and beside them; and which files were passed over."""
    if not files.structures:
        return list(scan.structures), []
    source.limits.check_files(files.structures)
    found = source.read([file.path for file in files.structures])
    outlines = [content for content in found if isinstance(content, bytes) and is_structure(content)]
    unread = sum(isinstance(content, Exception) for content in found)
    others = len(found) - len(outlines) - unread
    said = [f"{unread} of the files of outlines beside it cannot be read"] if unread else []
    said += [f"{others} of the files beside it neither RTSTRUCT nor SEG"] if others else []
    return [*scan.structures, *outlines], said


def _of_series(contents: Sequence[bytes], image: ImageUids, source: Source) -> tuple[list[StructureObject], str]:
    """Read the objects that name a series, or no other; and say of the rest why they do not count.

    Raises
    ------
    SourceError
        If none is left, and one cannot be read.
    """
    own: list[StructureObject] = []
    other = untold = 0
    problem = ""
    for content in contents:
        try:
            found = read_object(content, source.limits)
        except SourceError as error:
            problem = problem or str(error)
            continue
        if names_series(found, image) is False:
            other += 1
        elif not image.series and not image.instances and found.series_uids:
            untold += 1
        else:
            own.append(found)
    if problem and not own:
        raise SourceError(problem)
    said = [f"{other} object{'s' * (other > 1)} beside it with outlines of other series"] if other else []
    said += [f"{untold} object{'s' * (untold > 1)} {_UNTOLD}"] if untold else []
    return own, "; ".join(said)


def _set_aside(source: Source, files: ScanFiles, image: ImageUids) -> str:
    """Say that outlines of this series are in folders that no pattern takes; "" where there are none."""
    if not image.series:
        return ""
    heads = zip(files.aside, source.read_heads(files.aside, HEADER_BYTES), strict=True)
    outlines = [file for file, head in heads if isinstance(head, bytes) and is_structure(head)]
    named = 0
    with suppress(SourceError):  # too large, or damaged: then nothing says that they are of this series
        source.limits.check_files(outlines)
        for content in source.read([file.path for file in outlines]):
            named += isinstance(content, bytes) and image.series in named_series([content], source.limits)
    return f"{named} RTSTRUCT or SEG file{'s' * (named > 1)} {_ELSEWHERE}" if named else ""


def _unused(contents: Sequence[bytes], image: ImageUids, source: Source) -> list[str]:
    """Name the objects of the same series that another mask took the place of."""
    try:
        own, _ = _of_series(contents, image, source)
    except SourceError:
        return []
    kinds = sorted({describe_kind(one) for one in own})
    return [f"{' and '.join(kinds)} of this series beside the mask, not used"] if kinds else []
