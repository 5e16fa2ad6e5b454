"""One NIfTI mask in, the same mask on its image's grid out; only the affine decides where it lies."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from npczarr.errors import GeometryError, SourceError
from npczarr.model.cohort import File
from npczarr.model.geometry import AXES, RAS_TO_LPS, Alignment, Floats, Grid, align, covered_fraction, resample_nearest
from npczarr.model.records import Mask, Value
from npczarr.sources.files import Source

ALIGNED_VOXELS = 0.05  # corners closer than this are rounding: NIfTI affines are float32
INSIDE_FRACTION = 0.99  # of the tumour must lie inside the image


@dataclass(frozen=True, slots=True, eq=False)
class StoredMask:
    """A mask as its file holds it: 0/1 voxels (z, y, x), and its affines by header field."""

    voxels: NDArray[np.uint8]
    affines: dict[str, Floats]


def read_mask(source: Source, files: Sequence[File], grid: Grid) -> Mask:
    """Read a scan's mask and place it on the grid of its image.

    Raises
    ------
    SourceError, GeometryError
        If there is more than one mask, the file is damaged or not a 3-D mask, or it does not fit the image.
    """
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise SourceError(f"{len(files)} masks for one scan ({names}), expected one; keep the right one")
    content = source.read([files[0].path])[0]
    if isinstance(content, Exception):
        raise SourceError(f"the mask cannot be read ({type(content).__name__})")
    return place(parse(content), grid)


def parse(content: bytes) -> StoredMask:
    """Decode a ``.nii`` or ``.nii.gz`` file of any number type; ``round(value) > 0`` is tumour.

    Raises
    ------
    SourceError
        If it is damaged, not one 3-D volume of real numbers, or says nothing of its place.
    """
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        image = (nibabel.Nifti2Image if content[:4] in _NIFTI2 else nibabel.Nifti1Image).from_bytes(content)
        values = np.asanyarray(image.dataobj)
    except Exception as error:  # nibabel, gzip and NumPy name damage in a dozen ways
        raise SourceError(f"the mask is not a whole NIfTI file ({error}); copy it again from its origin") from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3 or values.dtype.kind not in "iufb":
        raise SourceError(f"the mask is {values.dtype} {values.shape}, expected one 3-D volume of real numbers")
    affines = {
        name: affine
        for name, affine in (("sform", image.get_sform(coded=True)[0]), ("qform", image.get_qform(coded=True)[0]))
        if affine is not None
    }
    if not affines:
        raise SourceError(
            "the mask has neither sform nor qform, so nothing tells which way its rows run; save it with its affine"
        )
    return StoredMask(_tumour(values.T), affines)


_NIFTI2 = (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")  # sizeof_hdr 540, either byte order


def _tumour(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise SourceError("the mask holds NaN or infinite values, expected 0 for background and 1 for tumour")
        return (values > 0.5).astype(np.uint8)  # the same as round(value) > 0, in one pass
    return (values > 0).astype(np.uint8)


def place(stored: StoredMask, grid: Grid) -> Mask:
    """Lay a mask on an image grid, by sform as nibabel reads it; by qform where only that fits.

    Aligned grids are reordered, exactly. Another grid over the same space is resampled to nearest voxels, with a
    warning.

    Raises
    ------
    GeometryError
        If the tumour does not lie inside the image by either affine.
    """
    grids = {name: _grid(stored.voxels.shape, affine) for name, affine in stored.affines.items()}
    usable = {name: found for name, found in grids.items() if found is not None}
    if not usable:
        raise GeometryError("the mask's sform and qform cannot be inverted; save it again with its affine")
    alignments = {name: align(found, grid) for name, found in usable.items()}
    warnings: list[str] = []
    name = next((name for name, found in alignments.items() if _exact(found)), next(iter(usable)))
    if name != next(iter(usable)):
        warnings.append(f"sform does not fit the image, {name} does and was used")

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
            warnings.append(
                f"mask grid lies {alignment.error_mm:.2f} mm ({alignment.error_voxels:.2f} voxel) off the image"
            )
    else:
        inside = covered_fraction(np.argwhere(stored.voxels), usable[name], grid)
        mask, warning = _resampled(stored.voxels, usable[name], grid, inside)
        warnings.append(warning)
    evidence["mask_inside_fraction"] = inside
    warnings += _describe(mask, evidence)
    return Mask(mask, evidence, tuple(warnings))


def _grid(shape_zyx: tuple[int, ...], affine_ras: Floats) -> Grid | None:
    z, y, x = shape_zyx
    try:
        return Grid((z, y, x), RAS_TO_LPS @ affine_ras)
    except GeometryError:
        return None


def _exact(alignment: Alignment | None) -> bool:
    return alignment is not None and alignment.error_voxels <= ALIGNED_VOXELS


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
