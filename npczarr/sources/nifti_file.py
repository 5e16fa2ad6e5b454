"""What a NIfTI file holds: voxels of a mask and the affines that place them."""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from npczarr.errors import SourceError
from npczarr.model.cohort import File
from npczarr.model.geometry import Floats
from npczarr.model.label_set import Labels
from npczarr.model.labels import map_labels
from npczarr.model.limits import Clock, Limits
from npczarr.sources.decompression import unpack_gzip
from npczarr.sources.files import Source, refusal_reason

_NIFTI2 = (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")  # sizeof_hdr 540, either byte order

_UNITS = {1: ("meters", 1000.0), 3: ("microns", 0.001)}  # by the lowest three bits of xyzt_units: nifti1.h


@dataclass(frozen=True, slots=True, eq=False)
class NiftiMask:
    """A mask as its file holds it.

    Parameters
    ----------
    voxels
        (z, y, x) numbers of the labels; 0 and 1 where none are declared, and every value above 0 is tumor.
    affines
        Voxel index (x, y, z, 1) to RAS mm, by header field.
    warnings
        What a user must know of the values: labels that were merged, values that are no labels.
    synthetic
        Whether the file's `descrip` says so, as that of a phantom does.
    """

    voxels: NDArray[np.uint8]
    affines: dict[str, Floats]
    warnings: tuple[str, ...] = ()
    synthetic: bool = False


def read_nifti_file(source: Source, file: File, what: str, labels: Labels = ()) -> NiftiMask:
    """Read a mask as its file holds it; ``what`` names it in messages.

    Raises
    ------
    SourceError
        If it cannot be read, or as :func:`parse` does.
    """
    source.limits.check_files([file])
    content = source.read([file.path])[0]
    if isinstance(content, Exception):
        raise SourceError(f"{what} {refusal_reason(content)}")
    return parse(content, source.limits, labels)


def parse(content: bytes, limits: Limits | None = None, labels: Labels = ()) -> NiftiMask:
    """Decode a ``.nii`` or ``.nii.gz`` file of any number type; see :func:`map_labels` for which voxels are what.

    Parameters
    ----------
    content
        The file.
    limits
        What it may take; its header is held against them before anything is unpacked.
    labels
        What its values stand for; without any, every value above 0 is tumor.

    Raises
    ------
    SourceError
        If it is damaged, too large, not one 3-D volume of real numbers, or says nothing of its place.
    """
    limits = limits or Limits()
    try:
        with silent("nibabel.global"):
            image, values = _decode(content, limits, limits.clock())
    except SourceError:
        raise
    except Exception as error:  # nibabel, gzip and NumPy name damage in a dozen ways
        raise SourceError(_not_whole(type(error).__name__)) from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3 or values.dtype.kind not in "iufb":
        raise SourceError(f"the mask is {values.dtype} {values.shape}, expected one 3-D volume of real numbers")
    with silent("nibabel.global"):
        affines = read_affines(image)
    units = say_units(image, "the mask")
    if not affines:
        raise SourceError(
            "the mask has neither sform nor qform, so nothing tells which way its rows run; save it with its affine"
        )
    voxels, noted = map_labels(values.T, labels)
    synthetic = "descrip" in image.header and image.header["descrip"].item() == b"SYNTHETIC"
    return NiftiMask(voxels, affines, (*units, *noted), synthetic)


@contextmanager
def silent(library: str) -> Iterator[None]:
    """Keep a library from printing what it makes of an odd header; what matters of it is checked here."""
    logger = logging.getLogger(library)
    disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled


def _decode(content: bytes, limits: Limits, clock: Clock) -> tuple[Any, NDArray[Any]]:
    """Return nibabel's image and its values, after a look at the header for how many there are."""
    if content[:2] == b"\x1f\x8b":
        content = unpack_gzip(content, lambda head: file_size(head, limits), limits, clock)
    elif len(content) < (expected := file_size(content)):
        raise SourceError(_not_whole(f"it ends after {len(content)} of {expected} bytes"))
    file_size(content, limits)
    image = _image_class(content).from_bytes(content)
    return image, np.asanyarray(image.dataobj)


def _not_whole(reason: str) -> str:
    return f"the mask is not a whole NIfTI file ({reason}); copy it again from its origin"


def _image_class(content: bytes) -> Any:  # noqa: ANN401 - nibabel has no types
    return nibabel.Nifti2Image if content[:4] in _NIFTI2 else nibabel.Nifti1Image


def file_size(content: bytes, limits: Limits | None = None) -> int:
    """Bytes that a file has by its header, which is held against the limits."""
    header = _image_class(content).header_class.from_fileobj(io.BytesIO(content[:540]))
    dims = [int(n) for n in header.get_data_shape()]
    if min(dims, default=0) < 0:
        raise SourceError(_not_whole(f"shape {dims}"))
    voxels = math.prod(dims)
    itemsize = int(header.get_data_dtype().itemsize)
    if limits is not None:
        scaled = header.get_slope_inter() not in ((None, None), (1.0, 0.0))
        limits.check_voxels(voxels * max(itemsize, 8 if scaled else 1))  # scaled values are float64
    offset, least = int(header.get_data_offset()), int(header.single_vox_offset)
    if offset < least:
        raise SourceError(
            f"the header says that the voxels begin at byte {offset} (vox_offset), within itself; expected {least} or "
            "more: write the file again with a program that reads it as it is meant"
        )
    return offset + voxels * itemsize


def read_affines(image: Any, what: str = "the mask") -> dict[str, Floats]:  # noqa: ANN401 - nibabel has no types
    """Affines to RAS mm by header field; one that is no rigid or affine map is left out."""
    found = {}
    for name, get in (("sform", image.get_sform), ("qform", image.get_qform)):
        try:
            affine = get(coded=True)[0]
        except ValueError as error:  # a quaternion longer than 1
            raise SourceError(f"the {name} of {what} is damaged ({error}); save it again with its affine") from error
        if affine is not None:
            found[name] = affine
    if len(found) == 2 and _says_the_same(image, found["sform"], found["qform"]):
        found["qform"] = found["sform"]
    to_mm = np.diag([*[mm_of_unit(image)] * 3, 1])
    return {name: to_mm @ affine for name, affine in found.items()}


def mm_of_unit(image: Any) -> float:  # noqa: ANN401 - nibabel has no types
    """Length in mm of the unit in which a header gives its geometry; one that is not known is mm."""
    return _UNITS.get(int(image.header["xyzt_units"]) & 7, ("", 1.0))[1]


def say_units(image: Any, what: str) -> tuple[str, ...]:  # noqa: ANN401 - nibabel has no types
    """Say of a file that its geometry is not given in mm: programs that look at no unit take it for mm."""
    name, mm = _UNITS.get(int(image.header["xyzt_units"]) & 7, ("", 1.0))
    return (f"{what} gives its geometry in {name} (xyzt_units); it was multiplied by {mm:g} to be mm",) if name else ()


def _says_the_same(image: Any, sform: Floats, qform: Floats) -> bool:  # noqa: ANN401 - nibabel has no types
    """Whether the qform is what a quaternion can say of the sform.

    Its float32 components lose up to 1e-3 rad of a rotation near half a turn, as by LPS axes: 0.4 mm over 300 mm.
    """
    directions = sform[:3, :3] / np.linalg.norm(sform[:3, :3], axis=0)
    if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-4):
        return False  # a qform has no shear
    header = image.header.copy()
    header.set_qform(sform, code=1)
    return bool(np.allclose(header.get_qform(), qform, rtol=1e-4, atol=1e-4 / mm_of_unit(image)))
