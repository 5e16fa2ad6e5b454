"""One NIfTI image in, one scan out: values as stored, placed by sform or qform, described by its JSON sidecar."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
import xxhash
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from npczarr.errors import GeometryError, SourceError
from npczarr.model.cohort import File, Where
from npczarr.model.geometry import RAS_TO_LPS, Floats, Grid, Shape
from npczarr.model.limits import Clock, Limits
from npczarr.model.records import PADDING, Scan
from npczarr.model.slices import SHEAR_TOLERANCE
from npczarr.sources.acquisition import acquisition
from npczarr.sources.decompression import unpack_gzip
from npczarr.sources.fields import text_values
from npczarr.sources.files import Source, refusal_reason
from npczarr.sources.image_types import describe_types
from npczarr.sources.nifti_file import file_size, mm_of_unit, read_affines, say_units, silent
from npczarr.sources.nifti_order import in_dicom_order
from npczarr.sources.sidecar import header_of
from npczarr.sources.where import unmet

_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_BESIDE = re.compile(r"\.(json|bval|bvec)$", re.IGNORECASE)
_NIFTI2 = (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")  # sizeof_hdr 540, either byte order
_SAME_VOXELS = 0.05  # forms whose corners are closer than this, in voxels, differ by rounding only


@dataclass(frozen=True, slots=True, eq=False)
class NiftiImage:
    """An image as its file holds it, axes in the order of a DICOM scan.

    Parameters
    ----------
    values
        (z, y, x) int16 or int32, float32 where some are not whole; before the rescale.
    grid
        Where the voxels are.
    slope, intercept
        Real value = slope * stored value + intercept.
    warnings
        What a user must know of the geometry, and of values that were rounded.
    identity
        Digest of the voxels: NIfTI has no SeriesInstanceUID.
    stored_as
        Type of the numbers in the file.
    """

    values: NDArray[Any]
    grid: Grid
    slope: float
    intercept: float
    warnings: tuple[str, ...]
    identity: str
    stored_as: str


def is_nifti(files: Sequence[File]) -> bool:
    """Whether a scan is made of NIfTI images and their sidecars, and of nothing else."""
    return any(_NIFTI.search(file.name) for file in files) and all(
        _NIFTI.search(file.name) or _BESIDE.search(file.name) for file in files
    )


def read_nifti_scan(source: Source, files: Sequence[File], *, where: Where = ()) -> Scan:
    """Read a NIfTI image with its JSON sidecars.

    Parameters
    ----------
    source, files
        One image; its sidecars in the order in which they are merged, the most particular last.
    where
        Rule of the configuration, which the sidecars must meet.

    Raises
    ------
    SourceError
        If there are several images, or the image is damaged, has several volumes, or holds numbers that are not finite.
    GeometryError
        If nothing tells where its voxels are.
    """
    source.limits.check_files(files)
    clock = source.limits.clock()
    image = _read_image(source, files, clock)
    header, doubts = _read_sidecars(source, files)
    if keyword := unmet(where, header, 0):
        raise SourceError(f"the image does not meet the rule `where` of this sequence ({keyword}, by its JSON sidecar)")
    depth = image.grid.shape_zyx[0]
    doubts += describe_types([(text_values(header, "ImageType"), depth)])
    found = dict(acquisition(header))
    found["transfer_syntax"] = f"NIfTI {image.stored_as}"
    return Scan(
        image.values,
        image.grid,
        np.full(depth, image.slope),
        np.full(depth, image.intercept),
        found,
        warnings=(*image.warnings, *doubts),
        series_uid=str(header.get("SeriesInstanceUID", "")) or image.identity,
        study_uid=str(header.get("StudyInstanceUID", "")),
    )


def peek_nifti(source: Source, files: Sequence[File]) -> tuple[Shape, str, str]:
    """Return shape (z, y, x), type that the values need, and series UID of a NIfTI image; the whole file is read.

    Raises
    ------
    SourceError, GeometryError
        As :func:`read_nifti_scan`.
    """
    source.limits.check_files(files)
    image = _read_image(source, files, source.limits.clock())
    header, _ = _read_sidecars(source, files)
    uid = str(header.get("SeriesInstanceUID", "")) or image.identity
    return image.grid.shape_zyx, image.values.dtype.name, uid


def parse_image(content: bytes, limits: Limits, clock: Clock) -> NiftiImage:
    """Decode a ``.nii`` or ``.nii.gz`` file.

    Raises
    ------
    SourceError, GeometryError
        As :func:`read_nifti_scan`.
    """
    try:
        with silent("nibabel.global"):
            image = _open(content, limits, clock)
            values = np.asanyarray(image.dataobj.get_unscaled())
    except SourceError:
        raise
    except Exception as error:  # nibabel, gzip and NumPy name damage in a dozen ways
        raise SourceError(_not_whole(type(error).__name__)) from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == 4:
        raise SourceError(f"the image has {values.shape[-1]} volumes, expected one; split it into one file each")
    if values.ndim != 3 or values.dtype.kind not in "iuf":
        raise SourceError(f"the image is {values.dtype} {values.shape}, expected one 3-D volume of real numbers")
    with silent("nibabel.global"):
        affine, warnings = _place(image, values.shape)
    kept, rounded = _without_loss(values)
    warnings = (*warnings, *rounded)
    voxels, affine = in_dicom_order(kept, affine, image.header.get_dim_info()[2])
    z, y, x = voxels.shape
    slope, intercept = (float(value) for value in (image.dataobj.slope, image.dataobj.inter))
    identity = "nifti." + xxhash.xxh3_128_hexdigest(np.ascontiguousarray(voxels).tobytes())
    return NiftiImage(
        np.ascontiguousarray(voxels), Grid((z, y, x), affine), slope, intercept, warnings, identity, values.dtype.name
    )


def _read_image(source: Source, files: Sequence[File], clock: Clock) -> NiftiImage:
    images = [file for file in files if _NIFTI.search(file.name)]
    if len(images) != 1:
        raise SourceError(f"{len(images)} NIfTI images for one scan, expected one; keep the right one")
    content = source.read([images[0].path])[0]
    if isinstance(content, Exception):
        raise SourceError(f"the image {refusal_reason(content)}")
    return parse_image(content, source.limits, clock)


def _read_sidecars(source: Source, files: Sequence[File]) -> tuple[Dataset, list[str]]:
    """Merge the JSON sidecars of an image into a header; the last file decides."""
    sidecars = [file for file in files if file.name.lower().endswith(".json")]
    merged: dict[str, Any] = {}
    doubts = []
    for content in source.read([file.path for file in sidecars]):
        try:
            if isinstance(content, Exception):
                raise SourceError(refusal_reason(content))
            found = json.loads(content)
            if not isinstance(found, dict):
                raise ValueError
            merged |= found
        except SourceError as error:
            doubts.append(f"the JSON sidecar {error}, so the acquisition is not known")
        except (ValueError, RecursionError):
            doubts.append("the JSON sidecar is no JSON object, so the acquisition is not known")
    header, more = header_of(merged)
    return header, [*doubts, *more]


def _open(content: bytes, limits: Limits, clock: Clock) -> Any:  # noqa: ANN401 - nibabel has no types
    """Open a file, after a look at its header for how much there is."""
    if content[:2] == b"\x1f\x8b":
        content = unpack_gzip(content, lambda head: file_size(head, limits), limits, clock)
    expected = file_size(content, limits)
    if len(content) < expected:
        raise SourceError(_not_whole(f"it ends after {len(content)} of {expected} bytes"))
    kind = nibabel.Nifti2Image if content[:4] in _NIFTI2 else nibabel.Nifti1Image
    return kind.from_bytes(content)


def _not_whole(reason: str) -> str:
    return f"the image is not a whole NIfTI file ({reason}); copy it again from its origin"


def _without_loss(values: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    """Return the values in int16 or int32, whichever holds them without loss, or in float32 where some are not whole.

    Raises
    ------
    SourceError
        If some are not finite, or too large.
    """
    if not values.size:
        raise SourceError("the image has no voxels")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise SourceError(f"{np.count_nonzero(~np.isfinite(values))} voxels are NaN or infinite, expected numbers")
        if not np.array_equal(values, np.rint(values)):
            return _as_float32(values)
    least, most = values.min(), values.max()
    for dtype in ("int16", "int32"):
        if PADDING[dtype] < least and most <= np.iinfo(dtype).max:
            return values.astype(dtype), []
    raise SourceError(f"values from {least:g} to {most:g} do not fit 32-bit signed integers")


def _as_float32(values: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    """Return floats in float32, and what rounding changed."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    if not np.isfinite(rounded).all():
        raise SourceError(f"values from {values.min():g} to {values.max():g} do not fit float32")
    off = float(np.abs(rounded - values).max())
    return rounded, [f"the voxels are {values.dtype}, stored as float32: at most {off:.1g} off"] if off else []


def _place(image: Any, shape: Sequence[int]) -> tuple[Floats, tuple[str, ...]]:  # noqa: ANN401 - nibabel has no types
    """Return the affine, voxel index (x, y, z, 1) to LPS mm, of the sform, else of the qform; and what is odd."""
    x, y, z = shape
    grids: dict[str, Grid] = {}
    affines = read_affines(image, "the image")
    for name, affine in affines.items():
        sizes = np.abs(affine[:3, :3]).max(axis=0)
        # beyond a kilometre, or below a nanometre, numbers are damaged
        if np.isfinite(affine).all() and np.abs(affine).max() < 1e6 and sizes.min() > 1e-6:
            with suppress(GeometryError), np.errstate(all="ignore"):
                grids[name] = Grid((z, y, x), RAS_TO_LPS @ affine)
    if not grids:
        raise GeometryError(
            "the image has neither a usable sform nor qform, so nothing tells where its voxels are; save it with its "
            "affine"
        )
    used, grid = next(iter(grids.items()))
    warnings = [f"{name} of the image cannot be inverted, {used} was used" for name in affines if name not in grids]
    warnings += [*say_units(image, "the image"), *_compare_forms(grids, used), *_compare_sizes(image, grid)]
    angles = grid.directions.T @ grid.directions - np.eye(3)
    if (shear := float(np.abs(angles).max())) > 10 * SHEAR_TOLERANCE:
        raise GeometryError(f"the {used} of the image is sheared ({shear:.3f}): its axes are not at right angles")
    if shear > SHEAR_TOLERANCE:
        warnings.append(f"the axes of the image are {shear:.1e} off right angles (shear)")
    return grid.affine, tuple(warnings)


def _compare_forms(grids: dict[str, Grid], used: str) -> list[str]:
    if len(grids) < 2:
        return []
    sform, qform = (grid.corners_mm() for grid in grids.values())
    apart_mm = float(np.linalg.norm(sform - qform, axis=1).max())
    apart_voxels = np.abs(np.linalg.solve(grids[used].affine[:3, :3], (sform - qform).T)).max()
    if apart_voxels <= _SAME_VOXELS:
        return []
    return [f"sform and qform of the image lie {apart_mm:.2f} mm apart; {used} was used"]


def _compare_sizes(image: Any, grid: Grid) -> list[str]:  # noqa: ANN401 - nibabel has no types
    """Warn where pixdim says another voxel size than the affine, as after a careless resampling."""
    zooms = np.array(image.header.get_zooms()[:3], dtype=np.float64) * mm_of_unit(image)
    spacing = grid.spacing_zyx_mm[::-1]
    if np.allclose(zooms, spacing, rtol=0.01):
        return []
    shown = (" x ".join(f"{value:.4g}" for value in sizes) for sizes in (zooms, spacing))
    return [f"pixdim says voxels of {next(shown)} mm and the affine {next(shown)} mm; the affine was used"]
