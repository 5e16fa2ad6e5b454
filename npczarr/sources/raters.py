"""Masks that several raters outlined, without images: NIfTI volumes, DICOM SEG or TIFF slices, by rater and patient."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from npczarr.errors import GeometryError, SourceError
from npczarr.model.cohort import File, ScanFiles
from npczarr.model.geometry import Grid
from npczarr.model.label_set import Labels
from npczarr.model.labels import NoDeclaredLabelError, describe_cover, map_labels
from npczarr.model.limits import Clock, Limits
from npczarr.model.records import Mask, Value
from npczarr.sources.decompression import check_deflated
from npczarr.sources.files import Source, refusal_reason
from npczarr.sources.nifti import grids, place
from npczarr.sources.nifti_file import read_nifti_file, silent
from npczarr.sources.structures.masks import draw_labels, is_structure, read_object
from npczarr.sources.structures.records import SegmentationObject
from npczarr.sources.structures.volume import grid_of

_COMPRESSIONS = ("NONE", "LZW", "PACKBITS", "DEFLATE", "ADOBE_DEFLATE")
_SLICE = re.compile(r"(\d+)(?:_mask)?\.tiff?$", re.IGNORECASE)


def read_raters(source: Source, files: ScanFiles, raters: Sequence[str]) -> tuple[NDArray[np.uint8], Grid, bool, Mask]:
    """Read every rater's mask of a scan on one grid: that of the first rater.

    Returns
    -------
    tuple
        Masks (rater, z, y, x); their grid; whether its spacing is known; and evidence and warnings, of all together.

    Raises
    ------
    SourceError, GeometryError
        If a rater has no mask, or masks cannot be read or laid on one another.
    """
    source.limits.check_files(files.masks)
    clock = source.limits.clock()
    by_rater = {rater: [f for f, r in zip(files.masks, files.raters, strict=True) if r == rater] for rater in raters}
    absent = [rater for rater in raters if not by_rater[rater]]
    if absent:
        raise SourceError(f"no mask by {', '.join(absent)}; expected one by each of {', '.join(raters)}")
    name = files.masks[0].name
    if _SLICE.search(name):
        read = _read_tiffs
    else:
        read = _read_segmentations if name.lower().endswith(".dcm") else _read_niftis
    return read(source, by_rater, clock, files.labels)


@contextmanager
def _naming(rater: str) -> Iterator[None]:
    """Say whose mask it is of which no value is a declared label."""
    try:
        yield
    except NoDeclaredLabelError as error:
        raise SourceError(f"the mask by {rater}: {error}") from error


def _read_tiffs(
    source: Source, by_rater: Mapping[str, Sequence[File]], clock: Clock, labels: Labels
) -> tuple[NDArray[np.uint8], Grid, bool, Mask]:
    """Read masks of TIFF slices, which say nothing of their place."""
    read: dict[str, tuple[NDArray[np.uint8], tuple[str, ...]]] = {}
    for rater, files in by_rater.items():
        with _naming(rater):
            read[rater] = _read_tiff(source, files, clock, labels)
    shapes = {stack.shape for stack, _ in read.values()}
    if len(shapes) > 1:
        raise GeometryError(f"raters' masks of several shapes, {sorted(shapes)}, and nothing says how they lie")
    z, y, x = next(iter(shapes))
    note = "TIFF slices say nothing of voxel size: overlap can be computed, distances not"
    masks = np.stack([stack for stack, _ in read.values()])
    warnings = (f"{rater}: {warning}" for rater, (_, found) in read.items() for warning in found)
    return masks, Grid((z, y, x), np.eye(4)), False, Mask(masks[0], {}, (note, *warnings))


def _read_niftis(
    source: Source, by_rater: Mapping[str, Sequence[File]], clock: Clock, labels: Labels
) -> tuple[NDArray[np.uint8], Grid, bool, Mask]:
    """Read NIfTI masks, and place them on the grid of the first rater's."""
    placed: dict[str, Mask] = {}
    grid, said = None, {}
    for rater, files in clock.over(by_rater.items()):
        if len(files) > 1:
            raise SourceError(f"{len(files)} masks by {rater}, expected one")
        with _naming(rater):
            stored = read_nifti_file(source, files[0], f"the mask by {rater}", labels)
        if grid is None:
            grid = next(iter(grids(stored).values()))
        placed[rater] = place(stored, grid)
        if stored.synthetic:
            said = {"image_type": "SYNTHETIC"}  # where there is an image, its own header says it
    assert grid is not None
    warnings = tuple(f"{rater}: {warning}" for rater, mask in placed.items() for warning in mask.warnings)
    masks = np.stack([mask.mask for mask in placed.values()])
    evidence = {**_worst([mask.evidence for mask in placed.values()]), **said}
    return masks, grid, True, Mask(masks[0], evidence, warnings)


def _read_segmentations(
    source: Source, by_rater: Mapping[str, Sequence[File]], clock: Clock, labels: Labels
) -> tuple[NDArray[np.uint8], Grid, bool, Mask]:
    """Read DICOM SEG masks on the grid that their frames have together."""
    objects: dict[str, list[SegmentationObject]] = {}
    for rater, files in clock.over(by_rater.items()):
        for content in source.read([file.path for file in files]):
            if isinstance(content, Exception):
                raise SourceError(f"the mask by {rater} {refusal_reason(content)}")
            found = read_object(content, source.limits) if is_structure(content) else None
            if not isinstance(found, SegmentationObject):
                raise SourceError(
                    f"the mask by {rater} is no DICOM SEG, and without images nothing else in DICOM says on which grid "
                    "it is; save it as SEG or NIfTI"
                )
            objects.setdefault(rater, []).append(found)
    grid = grid_of([one for found in objects.values() for one in found], source.limits)
    drawn = {
        rater: draw_labels(found, labels, grid, image=None, limits=source.limits) for rater, found in objects.items()
    }
    warnings = tuple(f"{rater}: {warning}" for rater, mask in drawn.items() for warning in mask.warnings)
    masks = np.stack([mask.mask for mask in drawn.values()])
    return masks, grid, True, Mask(masks[0], _worst([mask.evidence for mask in drawn.values()]), warnings)


def _read_tiff(
    source: Source, files: Sequence[File], clock: Clock, labels: Labels
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Stack TIFF slices by their number; the mask (z, y, x), and what is to be said of its values."""
    numbers = {int(match[1]): file for file in files if (match := _SLICE.search(file.name))}
    if len(numbers) != len(files):
        raise SourceError("two TIFF slices of one number; keep one")
    ordered = [numbers[n] for n in sorted(numbers)]
    missing = sorted(set(range(min(numbers), max(numbers) + 1)) - set(numbers))
    if missing:
        raise SourceError(f"TIFF slice {missing[0]} is missing; check the folder")
    contents = source.read([file.path for file in ordered])
    numbered = zip(sorted(numbers), contents, strict=True)
    slices = [_tiff_slice(number, content, len(numbers), source.limits) for number, content in clock.over(numbered)]
    if len({s.shape for s in slices}) > 1 or slices[0].ndim != 2:
        raise SourceError(f"TIFF slices of shapes {sorted({s.shape for s in slices})}, expected one (y, x)")
    mask, noted = map_labels(np.stack(slices), labels)
    return mask, (*noted, *describe_cover(mask))


def _tiff_slice(number: int, content: bytes | Exception, count: int, limits: Limits) -> NDArray[Any]:
    """Decode a slice, and name it in the error."""
    if isinstance(content, Exception):
        raise SourceError(f"TIFF slice {number} {refusal_reason(content)}")
    try:
        return _decode_tiff(content, count, limits)
    except SourceError as error:
        raise SourceError(f"TIFF slice {number}: {error}") from error
    except Exception as error:  # tifffile names damage in a dozen ways
        raise SourceError(f"TIFF slice {number} cannot be read ({type(error).__name__})") from error


def _decode_tiff(content: bytes, count: int, limits: Limits) -> NDArray[Any]:
    """Decode one of ``count`` slices, after a look at its header for how large they all are."""
    with silent("tifffile"), tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages.first
        if not all(isinstance(n, int) for n in (*page.shape, *page.chunked)):  # bytes, where a tag's type is damaged
            raise SourceError("its width or height is no number; the file is damaged")
        limits.check_voxels(count * math.prod(page.shape) * (page.dtype.itemsize if page.dtype else 1))
        if len(file.pages) > 1:
            raise SourceError(f"{len(file.pages)} pages, expected one")
        packed = tifffile.COMPRESSION(page.compression).name
        if packed not in _COMPRESSIONS:
            raise SourceError(f"packed by {packed}, expected one of {', '.join(_COMPRESSIONS)}")
        if math.prod(page.chunked) > len(content):
            raise SourceError(f"{math.prod(page.chunked)} strips in {len(content)} bytes; the file is damaged")
        if "DEFLATE" in packed:
            for start, length in zip(page.dataoffsets, page.databytecounts, strict=False):
                check_deflated(content[start : start + length], limits)
        return np.asarray(page.asarray())


def _worst(evidence: Sequence[dict[str, Value] | object]) -> dict[str, Value]:
    """Join what is known of several masks: sums of voxels, largest errors, smallest fraction inside."""
    joined: dict[str, Value] = {}
    for one in evidence:
        assert isinstance(one, dict)
        for name, value in one.items():
            if isinstance(value, str) or name not in joined:
                joined.setdefault(name, value)
            elif name == "mask_voxels":
                joined[name] = int(joined[name]) + int(value)
            else:
                worse = min if name == "mask_inside_fraction" else max
                joined[name] = worse(float(joined[name]), float(value))
    return joined
