"""NIfTI-1 images and masks, named as the source's own masks are, so that any tool lays one over the other.

sform and qform hold the same affine with code 1 (scanner anatomical), in RAS mm, as the NIfTI-1 standard asks.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from npczarr.export.mask_names import mask_stem
from npczarr.export.names import check_name
from npczarr.export.scan import ScanVoxels, outside_remarks
from npczarr.model.geometry import RAS_TO_LPS, Floats, Grid
from npczarr.outputs import write_whole
from npczarr.store.scans import StoredScan

_SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT
#: From here on, what a reader that knows no shear makes of a grid is said.
NOTICED_MM = 0.01


def write(scan: ScanVoxels, folder: Path, bits: int) -> tuple[list[Path], list[str]]:
    """Write ``<sequence>.nii.gz`` and ``ROI-<mask>.nii.gz``; return the files and remarks on them.

    Stored values are kept bit for bit, but NaN, of floats, stands for padding; where all slices share one rescale it is
    the header's scl_slope and scl_inter. The NIfTI reader of ITK takes NaN for 0, and scales that as any other value.
    """
    affine = RAS_TO_LPS @ scan.grid.affine
    files, notes = [], []
    if scan.image is not None:
        scale = (float(scan.slope[0]), float(scan.intercept[0])) if scan.one_scale else (1.0, 0.0)
        outside = outside_remarks(scan.image, scan.sequence, "NaN")
        notes += [f"{one}, which ITK (SimpleITK, 3D Slicer) reads as {scale[1]:g}" for one in outside]
        if not scan.one_scale:
            notes.append("the rescale differs from slice to slice: stored values were written, without it")
        files.append(folder / f"{check_name(scan.sequence)}.nii.gz")
        write_whole(files[-1], encode(scan.image, affine, scale))
    if scan.mask is not None:
        files.append(folder / mask_name(scan.sequence))
        write_whole(files[-1], encode(scan.mask, affine))
    off_mm = off_without_shear_mm(scan.grid)
    if off_mm > NOTICED_MM:
        notes.append(f"the axes are not quite square: qform cannot say so, and is up to {off_mm:.2f} mm off sform")
    if not scan.z_spacing_known:
        notes.append("one slice, distance to the next unknown: 1 mm was written")
    return files, notes


def names(scan: StoredScan) -> list[str]:
    """Names of the files that :func:`write` writes of a scan."""
    image = [f"{check_name(scan.sequence)}.nii.gz"] if scan.has_image else []
    return [*image, mask_name(scan.sequence)] if scan.has_mask else image


def mask_name(sequence: str) -> str:
    """Name of a sequence's mask: ``ROI-T1.nii.gz`` for ``T1WI``, as published; else ``ROI-<sequence>.nii.gz``."""
    return f"{mask_stem(sequence)}.nii.gz"


def encode(voxels: NDArray[Any], affine: Floats, scale: tuple[float, float] = (1.0, 0.0)) -> bytes:
    """Encode voxels (z, y, x) as ``.nii.gz``; the same voxels give the same bytes.

    Parameters
    ----------
    affine
        (x, y, z, 1) voxel index to RAS mm.
    scale
        scl_slope and scl_inter: the voxels are written as they are.
    """
    image = nibabel.Nifti1Image(np.asfortranarray(voxels.T), affine)
    image.set_sform(affine, code=_SCANNER)
    image.set_qform(affine, code=_SCANNER)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(*scale)  # set by hand, nibabel writes the voxels without a scale of its own
    return gzip.compress(image.to_bytes(), compresslevel=4, mtime=0)


def off_without_shear_mm(grid: Grid) -> float:
    """Largest distance between where a corner of a grid lies and where it lies by qform, which holds no shear."""
    affine = RAS_TO_LPS @ grid.affine
    header = nibabel.Nifti1Header()
    header.set_data_shape(grid.shape_zyx[::-1])
    header.set_sform(affine)
    header.set_qform(affine)
    corners = np.array([*np.ndindex(2, 2, 2)]) * (np.array(grid.shape_zyx[::-1]) - 1)
    off = (header.get_sform() - header.get_qform())[:3]
    return float(np.linalg.norm(corners @ off[:, :3].T + off[:, 3], axis=1).max())
