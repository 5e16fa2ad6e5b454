"""One NIfTI mask in, the same mask on its image's grid out; only the affine decides where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import GeometryError, SourceError
from npczarr.model.alignment import Alignment, align, align_offset
from npczarr.model.cohort import File
from npczarr.model.geometry import AXES, RAS_TO_LPS, Grid, covered_fraction
from npczarr.model.label_set import Labels
from npczarr.model.labels import describe_cover, fills_its_faces
from npczarr.model.majority import resample_labels
from npczarr.model.records import Mask, Value
from npczarr.sources.files import Source, describe_files
from npczarr.sources.nifti_file import NiftiMask, read_nifti_file
from npczarr.sources.nifti_file import parse as parse

NIFTI = (".nii", ".nii.gz")  # how the names of such files end
ALIGNED_VOXELS = 0.05  # corners closer than this are rounding: NIfTI affines are float32
INSIDE_FRACTION = 0.99  # of the tumor must lie inside the image


def read_mask(source: Source, files: Sequence[File], grid: Grid, labels: Labels = ()) -> Mask:
    """Read a scan's NIfTI mask and place it on the grid of its image.

    Raises
    ------
    SourceError, GeometryError
        If there is more than one mask, the file is damaged or not a 3-D mask, or it does not fit the image.
    """
    if len(files) > 1:
        raise SourceError(
            f"{len(files)} masks for one scan ({', '.join(describe_files(files))}), expected one; keep the right one"
        )
    return place(read_nifti_file(source, files[0], "the mask", labels), grid)


def place(stored: NiftiMask, grid: Grid) -> Mask:
    """Lay a mask on an image grid, by sform as nibabel reads it; by qform where only that fits.

    The same grid, or a crop of it, is reordered, exactly. Another grid over the same space is placed by majority: a
    voxel is tumor where at least half of its volume is. That is a warning, as is a crop.

    Raises
    ------
    SourceError
        If every voxel is tumor.
    GeometryError
        If the tumor does not lie inside the image by either affine.
    """
    usable = grids(stored)
    name, *others = usable
    if others:
        name = min(usable, key=lambda name: _misfit(stored.voxels, usable[name], grid))
    evidence: dict[str, Value] = {"mask_affine_source": name}
    noted = [*stored.warnings, *_compare_forms(stored, usable, name, evidence)]
    mask, placed = _lay(stored.voxels, usable[name], grid, evidence)
    noted += [*placed, *_describe(mask, evidence)]
    if mask.shape != stored.voxels.shape and fills_its_faces(stored.voxels):
        noted.append("tumor fills all faces of the mask's own volume: is it inverted, or a box?")
    return Mask(mask, evidence, tuple(noted))


def grids(stored: NiftiMask) -> dict[str, Grid]:
    """Grids of a mask by the header field that gives them, the one to be preferred first.

    Raises
    ------
    GeometryError
        If none is usable.
    """
    found = {}
    z, y, x = stored.voxels.shape
    for name, affine in stored.affines.items():
        sizes = np.abs(affine[:3, :3]).max(axis=0)
        # beyond a kilometre, or below a nanometre, numbers are damaged, and their squares may overflow
        if np.isfinite(affine).all() and np.abs(affine).max() < 1e6 and sizes.min() > 1e-6:
            with suppress(GeometryError), np.errstate(all="ignore"):
                found[name] = Grid((z, y, x), RAS_TO_LPS @ affine)
    if not found:
        raise GeometryError("the mask's sform and qform cannot be inverted; save it again with its affine")
    return found


def _misfit(voxels: NDArray[np.uint8], source: Grid, grid: Grid) -> int:
    """Rank how a mask fits an image: 0 for the same grid, 1 for a crop, 2 for another grid, 3 with tumor outside."""
    alignment = _match(source, grid)
    if alignment is None or alignment.error_voxels > ALIGNED_VOXELS:
        return 2 if _inside(voxels, source, grid) >= INSIDE_FRACTION else 3
    if source.shape_zyx == grid.shape_zyx and alignment.offset_zyx == (0, 0, 0):
        return 0
    return 1 if _kept(alignment.paste(voxels, grid.shape_zyx), voxels) >= INSIDE_FRACTION else 3


def _match(source: Grid, grid: Grid) -> Alignment | None:
    """Match voxel to voxel: to the same grid where it is less than half a voxel off, else by whole voxels."""
    same = align(source, grid)
    return same if same is not None and same.error_voxels < 0.5 else align_offset(source, grid)


def _kept(placed: NDArray[np.uint8], voxels: NDArray[np.uint8]) -> float:
    total = np.count_nonzero(voxels)
    return float(np.count_nonzero(placed) / total) if total else float("nan")


def _compare_forms(stored: NiftiMask, usable: dict[str, Grid], used: str, evidence: dict[str, Value]) -> list[str]:
    """Warn where sform and qform place the mask apart, or one of them places it nowhere."""
    damaged = [name for name in stored.affines if name not in usable]
    noted = [f"{name} of the mask cannot be inverted, {used} was used" for name in damaged]
    if len(usable) < 2:
        return noted
    sform, qform = (found.corners_mm() for found in usable.values())
    apart_mm = float(np.linalg.norm(sform - qform, axis=1).max())
    evidence["mask_form_difference"] = apart_mm
    apart_voxels = np.abs(np.linalg.solve(usable[used].affine[:3, :3], (sform - qform).T)).max()
    if apart_voxels > ALIGNED_VOXELS:
        reason = "" if used == next(iter(usable)) else ", as it fits the image better"
        noted.append(f"sform and qform of the mask lie {apart_mm:.2f} mm apart; {used} was used{reason}")
    return noted


def _lay(
    voxels: NDArray[np.uint8], source: Grid, grid: Grid, evidence: dict[str, Value]
) -> tuple[NDArray[np.uint8], list[str]]:
    """Return the mask on the image's grid, and what is to be said of how it came there."""
    alignment = _match(source, grid)
    known = alignment or align(source, grid)
    if known is not None:
        evidence["mask_affine_error"] = known.error_mm
        evidence["mask_axes_flipped"] = " ".join(a for a, flip in zip(AXES, known.flips, strict=True) if flip)
    if alignment is None:
        evidence["mask_inside_fraction"] = inside = _inside(voxels, source, grid)
        _check_inside(inside, source, grid)
        mask = resample_labels(voxels, source, grid)
        return mask, [_changed_volume(voxels, mask, source, grid)]
    mask = alignment.paste(voxels, grid.shape_zyx)
    evidence["mask_inside_fraction"] = inside = _kept(mask, voxels)
    _check_inside(inside, source, grid)
    noted = _name_crop(alignment, source, grid)
    if alignment.error_voxels > ALIGNED_VOXELS:
        noted.append(f"mask grid lies {alignment.error_mm:.2f} mm ({alignment.error_voxels:.2f} voxel) off the image")
    return mask, noted


def _name_crop(alignment: Alignment, source: Grid, grid: Grid) -> list[str]:
    shape = tuple(source.shape_zyx[axis] for axis in alignment.axes)
    offset = alignment.offset_zyx
    if shape == grid.shape_zyx and offset == (0, 0, 0):
        return []
    placed = "exactly" if alignment.error_voxels <= ALIGNED_VOXELS else "by whole voxels"
    ends = [first + n for first, n in zip(offset, shape, strict=True)]
    if min(offset) >= 0 and all(end <= n for end, n in zip(ends, grid.shape_zyx, strict=True)):
        return [f"mask is a crop of the image, {shape} of its {grid.shape_zyx} voxels from {offset}; placed {placed}"]
    if max(offset) <= 0 and all(end >= n for end, n in zip(ends, grid.shape_zyx, strict=True)):
        first = tuple(-n for n in offset)
        return [f"image is a crop of the mask, {grid.shape_zyx} of its {shape} voxels from {first}; placed {placed}"]
    return [
        f"mask of {shape} voxels begins at voxel {offset} of the image of {grid.shape_zyx}; what overlaps was placed "
        f"{placed}"
    ]


def _check_inside(inside: float, source: Grid, grid: Grid) -> None:
    if inside < INSIDE_FRACTION:
        raise GeometryError(
            f"mask of shape {source.shape_zyx} does not fit the image of shape {grid.shape_zyx}: {inside:.1%} of the "
            f"tumor lies inside it, expected {INSIDE_FRACTION:.0%} or more; check which series it was drawn on"
        )


def _inside(voxels: NDArray[np.uint8], source: Grid, grid: Grid) -> float:
    """Fraction of the tumor inside a grid, slice by slice: indices take thirty times the room of the voxels."""
    inside = total = 0.0
    for z, outline in enumerate(voxels):
        at = np.argwhere(outline[None]) + np.array([z, 0, 0])
        total += len(at)
        inside += len(at) * covered_fraction(at, source, grid) if len(at) else 0
    return inside / total if total else float("nan")


def _changed_volume(before: NDArray[np.uint8], after: NDArray[np.uint8], source: Grid, grid: Grid) -> str:
    before_cm3, after_cm3 = (
        float(np.count_nonzero(v)) * float(np.prod(g.spacing_zyx_mm)) / 1000
        for v, g in ((before, source), (after, grid))
    )
    if before_cm3 and not after_cm3:
        raise GeometryError("no voxel of the image is tumor by half of its volume; the mask's voxels are too small")
    spacings = (tuple(float(s) for s in g.spacing_zyx_mm.round(3)) for g in (source, grid))
    return (
        f"mask on another grid {source.shape_zyx} of {next(spacings)} mm, placed by majority of volume on "
        f"{grid.shape_zyx} of {next(spacings)} mm: volume {before_cm3:.2f} cm3 became {after_cm3:.2f} cm3"
    )


def _describe(mask: NDArray[np.uint8], evidence: dict[str, Value]) -> list[str]:
    voxels = int(np.count_nonzero(mask))
    touches = bool(mask[0].any() or mask[-1].any())
    evidence["mask_voxels"] = voxels
    evidence["mask_touches_end_slice"] = int(touches)
    if not voxels:
        return ["the mask is empty"]
    inside = float(evidence["mask_inside_fraction"])
    outside = [f"{1 - inside:.2%} of the tumor lies outside the image"] if inside < 1 else []
    return [*outside, *describe_cover(mask)]
