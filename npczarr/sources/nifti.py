"""One NIfTI mask in, the same mask on its image's grid out; only the affine decides where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import GeometryError, SourceError
from npczarr.model.cohort import File
from npczarr.model.geometry import AXES, RAS_TO_LPS, Alignment, Grid, align, covered_fraction, resample_nearest
from npczarr.model.records import Mask, Value
from npczarr.sources.files import Source, told
from npczarr.sources.stored import StoredMask, read_stored
from npczarr.sources.stored import parse as parse

ALIGNED_VOXELS = 0.05  # corners closer than this are rounding: NIfTI affines are float32
INSIDE_FRACTION = 0.99  # of the tumour must lie inside the image


def read_mask(source: Source, files: Sequence[File], grid: Grid) -> Mask:
    """Read a scan's mask and place it on the grid of its image.

    Raises
    ------
    SourceError, GeometryError
        If there is more than one mask, the file is damaged or not a 3-D mask, or it does not fit the image.
    """
    if len(files) > 1:
        raise SourceError(
            f"{len(files)} masks for one scan ({', '.join(told(files))}), expected one; keep the right one"
        )
    return place(read_stored(source, files[0], "the mask"), grid)


def place(stored: StoredMask, grid: Grid) -> Mask:
    """Lay a mask on an image grid, by sform as nibabel reads it; by qform where only that fits.

    Aligned grids are reordered, exactly. Another grid over the same space is resampled to nearest voxels, with a
    warning.

    Raises
    ------
    GeometryError
        If the tumour does not lie inside the image by either affine.
    """
    usable = grids(stored)
    alignments = {name: align(found, grid) for name, found in usable.items()}
    noted: list[str] = []
    name = next((name for name, found in alignments.items() if _exact(found)), next(iter(usable)))
    if name != next(iter(usable)):
        noted.append(f"sform does not fit the image, {name} does and was used")

    evidence: dict[str, Value] = {"mask_affine_source": name}
    if len(usable) == 2:
        sform, qform = (found.corners_mm() for found in usable.values())
        evidence["mask_form_difference"] = float(np.linalg.norm(sform - qform, axis=1).max())
    alignment = alignments[name]
    if alignment is not None:
        evidence["mask_affine_error"] = alignment.error_mm
        evidence["mask_axes_flipped"] = " ".join(a for a, flip in zip(AXES, alignment.flips, strict=True) if flip)

    if alignment is not None and alignment.error_voxels < 0.5:
        mask = np.ascontiguousarray(alignment.apply(stored.voxels))
        inside = 1.0 if mask.any() else float("nan")
        if not _exact(alignment):
            noted.append(
                f"mask grid lies {alignment.error_mm:.2f} mm ({alignment.error_voxels:.2f} voxel) off the image"
            )
    else:
        inside = _inside(stored.voxels, usable[name], grid)
        mask, warning = _resampled(stored.voxels, usable[name], grid, inside)
        noted.append(warning)
    evidence["mask_inside_fraction"] = inside
    noted += _describe(mask, evidence)
    return Mask(mask, evidence, tuple(noted))


def grids(stored: StoredMask) -> dict[str, Grid]:
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


def _exact(alignment: Alignment | None) -> bool:
    return alignment is not None and alignment.error_voxels <= ALIGNED_VOXELS


def _inside(voxels: NDArray[np.uint8], source: Grid, grid: Grid) -> float:
    """Fraction of the tumour inside a grid, slice by slice: indices take thirty times the room of the voxels."""
    inside = total = 0.0
    for z, outline in enumerate(voxels):
        at = np.argwhere(outline[None]) + np.array([z, 0, 0])
        total += len(at)
        inside += len(at) * covered_fraction(at, source, grid) if len(at) else 0
    return inside / total if total else float("nan")


def _resampled(voxels: NDArray[np.uint8], source: Grid, grid: Grid, inside: float) -> tuple[NDArray[np.uint8], str]:
    if inside < INSIDE_FRACTION:
        raise GeometryError(
            f"mask of shape {source.shape_zyx} does not fit the image of shape {grid.shape_zyx}: {inside:.1%} of the "
            f"tumour lies inside it, expected {INSIDE_FRACTION:.0%} or more; check which series it was drawn on"
        )
    mask = resample_nearest(voxels, source, grid)
    before_cm3, after_cm3 = (
        float(np.count_nonzero(v)) * float(np.prod(g.spacing_zyx_mm)) / 1000
        for v, g in ((voxels, source), (mask, grid))
    )
    if before_cm3 and not after_cm3:
        raise GeometryError("no voxel of the tumour is left on the image grid; the grids lie too far apart")
    spacings = (tuple(float(s) for s in g.spacing_zyx_mm.round(3)) for g in (source, grid))
    return mask, (
        f"mask on another grid {source.shape_zyx} of {next(spacings)} mm, resampled to nearest voxels of "
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
    return [f"{1 - inside:.2%} of the tumour lies outside the image"] if inside < 1 else []
