"""The structures that DICOM objects outline on one scan, as one mask of labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import SourceError
from npczarr.model.geometry import Grid
from npczarr.model.label_set import TUMOR, Label, Labels
from npczarr.model.labels import count_voxels, describe_cover
from npczarr.model.limits import Limits
from npczarr.model.records import Mask, Value
from npczarr.sources.structures.names import describe_names, find, find_segments
from npczarr.sources.structures.placement import on_grid
from npczarr.sources.structures.rasterize import rasterize
from npczarr.sources.structures.records import ImageUids, Roi, Segment, SegmentationObject, StructureSet
from npczarr.sources.structures.rtstruct import read_rtstruct
from npczarr.sources.structures.seg import read_segmentation

StructureObject = StructureSet | SegmentationObject
Structure = Roi | Segment
_RTSTRUCT = b"1.2.840.10008.5.1.4.1.1.481.3"
_CLASSES = re.compile(rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(481\.3|66\.4|66\.7)(?![.\d])")
_PREAMBLE = 128
HEADER_BYTES = 4096  # bytes in which a file names its class


def is_dicom(content: bytes) -> bool:
    """Whether a file is a DICOM file."""
    return content[_PREAMBLE : _PREAMBLE + 4] == b"DICM"


def is_structure(content: bytes) -> bool:
    """Whether a file is an RTSTRUCT or a SEG file."""
    return is_dicom(content) and _CLASSES.search(content[:HEADER_BYTES]) is not None


def read_object(content: bytes, limits: Limits) -> StructureObject:
    """Read an RTSTRUCT or a SEG file.

    Raises
    ------
    SourceError
        If it is neither, or damaged.
    """
    if _RTSTRUCT in content[:HEADER_BYTES]:
        return read_rtstruct(content, limits=limits)
    return read_segmentation(content, limits=limits)


def names_series(found: StructureObject, image: ImageUids) -> bool | None:
    """Whether an object names a series, or slices of it; None where nothing says."""
    slices: set[str] = set()
    if isinstance(found, StructureSet):
        slices = {contour.image_uid for roi in found.rois for contour in roi.contours if contour.image_uid}
    if image.series in found.series_uids or slices & set(image.instances):
        return True
    return False if image.series and found.series_uids else None


def named_series(contents: Sequence[bytes], limits: Limits) -> frozenset[str]:
    """SeriesInstanceUIDs that RTSTRUCT and SEG files name; what cannot be read names none."""
    named: set[str] = set()
    for content in contents:
        with suppress(SourceError):
            named.update(read_object(content, limits).series_uids if is_structure(content) else ())
    return frozenset(named)


def describe_kind(found: StructureObject) -> str:
    """Name the kind of an object, for messages."""
    return "RT structure set" if isinstance(found, StructureSet) else "segmentation (SEG)"


def draw_labels(
    objects: Sequence[StructureObject], labels: Labels, grid: Grid, *, image: ImageUids | None, limits: Limits
) -> Mask:
    """Draw declared labels on the grid of an image; without any, the one structure that there is, as tumor.

    Where structures overlap, the label that was declared first counts.

    Raises
    ------
    SourceError, GeometryError
        If nothing says which structure is meant, none is there, or one cannot be laid on the grid.
    """
    if not labels:
        labels, chosen = _the_only_one(objects)
    else:
        chosen = [(label, *_choose(objects, label)) for label in labels]
    if not any(structures for _, _, structures in chosen):
        raise SourceError(
            f"none of the declared labels is among the structures {_list(objects)}; name them under [labels] (npczarr "
            "structures lists the names)"
        )
    mask = np.zeros(grid.shape_zyx, dtype=np.uint8)
    warnings: list[str] = []
    evidence: list[dict[str, Value]] = []
    for label, owner, structures in chosen:
        if owner is None:
            warnings.append(f"no structure is {label.name}")
            continue
        if len(structures) > 1:
            warnings.append(f"{len(structures)} structures joined to {label.name}")
        layer = np.zeros(grid.shape_zyx, dtype=np.bool_)
        for structure in structures:
            part = _drawn(owner, structure, label, grid, image=image, limits=limits)
            layer |= part.mask.view(np.bool_)
            warnings += part.warnings
            evidence.append(dict(part.evidence))
        warnings += _add(layer, label, labels, mask)
    joined = _join(evidence)
    joined["mask_voxels"] = int(np.count_nonzero(mask))
    joined["mask_touches_end_slice"] = int(mask[0].any() or mask[-1].any())
    every = (*(w for one in objects for w in one.warnings), *warnings, *describe_cover(mask))
    return Mask(mask, joined, tuple(dict.fromkeys(every)))


def _the_only_one(objects: Sequence[StructureObject]) -> tuple[Labels, list[_Choice]]:
    found = [(one, structure) for one in objects for structure in _structures(one)]
    if len(found) != 1:
        raise SourceError(
            f"{len(found)} structures, and nothing says which is the tumor: {_list(objects)}; name it under [labels] "
            "of the configuration (npczarr structures lists the names)"
        )
    label = Label(TUMOR, 1)
    return (label,), [(label, found[0][0], [found[0][1]])]


_Choice = tuple[Label, StructureObject | None, list[Structure]]


def _choose(objects: Sequence[StructureObject], label: Label) -> tuple[StructureObject | None, list[Structure]]:
    """Find the structures that a label is made from, in one object."""
    found: list[tuple[StructureObject, list[Structure]]] = []
    for one in objects:
        structures = _structures(one)
        if isinstance(one, StructureSet):
            at, pattern = find([structure.name for structure in one.rois if _is_drawn(structure)], label.rois)
        else:
            at, pattern = find_segments(one.segments, label.segments)
        if len(at) > 1 and not (set(pattern) & set("*?[")) and ":" not in pattern:
            raise SourceError(f"{len(at)} structures have the name that {label.name} is declared by; give them others")
        if at:
            found.append((one, [structures[i] for i in at]))
    if len(found) > 1:
        raise SourceError(
            f"{label.name} is in {len(found)} objects ({', '.join(describe_kind(one) for one, _ in found)}), and "
            "nothing says which is meant; keep one, or give the pattern of one (layout.structures)"
        )
    return found[0] if found else (None, [])


def _structures(found: StructureObject) -> list[Structure]:
    if isinstance(found, SegmentationObject):
        return list(found.segments)
    return [roi for roi in found.rois if _is_drawn(roi)]


def _is_drawn(roi: Roi) -> bool:
    return bool(roi.contours or roi.faults)


def _list(objects: Sequence[StructureObject]) -> str:
    names = [s.name if isinstance(s, Roi) else s.label for one in objects for s in _structures(one)]
    return describe_names(names)


def _drawn(
    owner: StructureObject,
    structure: Structure,
    label: Label,
    grid: Grid,
    *,
    image: ImageUids | None,
    limits: Limits,
) -> Mask:
    """Lay one structure on the grid; it is called by its label, since its own name may hold anything."""
    if isinstance(structure, Roi):
        voxels, warnings = rasterize(replace(structure, name=label.name), grid, image=image, limits=limits)
        return Mask(voxels, {"mask_affine_source": "contours"}, warnings)
    assert isinstance(owner, SegmentationObject)
    named = replace(structure, label=label.name)
    return on_grid(owner, named, grid, threshold=label.threshold, image=image, limits=limits)


def _add(layer: NDArray[np.bool_], label: Label, labels: Labels, mask: NDArray[np.uint8]) -> Iterator[str]:
    """Write a label where no earlier one is, and say what they share."""
    taken = mask[layer]
    names = {one.number: one.name for one in labels}
    for number, count in zip(*np.unique(taken[taken > 0], return_counts=True), strict=True):
        first = names[int(number)]
        yield f"{count_voxels(int(count))} of {label.name} also {first}, which is declared first: stored as {first}"
    mask[layer & (mask == 0)] = label.number


def _join(evidence: Sequence[dict[str, Value]]) -> dict[str, Value]:
    """Join what is known of several structures: the largest error, the smallest part inside."""
    joined: dict[str, Value] = {}
    for one in evidence:
        for name, value in one.items():
            if isinstance(value, str) or name not in joined:
                joined.setdefault(name, value)
            else:
                worse = min if name == "mask_inside_fraction" else max
                joined[name] = worse(float(joined[name]), float(value))
    return joined
