"""Masks as the published ones are stored: in several number types, mostly with rows reversed."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel
import numpy as np
from numpy.typing import NDArray

from npczarr.model.geometry import RAS_TO_LPS, Grid

MASK_NAMES = {"T1WI": "ROI-T1.nii", "T2WI": "ROI-T2.nii", "CE-T1WI": "ROI-CE-T1.nii"}


@dataclass(frozen=True, slots=True)
class Storage:
    """Storage of a mask: its number type, the value of tumor, and the voxel axes reversed against the image."""

    dtype: str
    value: int
    flipped: str

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Storage:
        """Draw a way of storage; most are plain, with only the rows flipped."""
        dtype, value = _NUMBERS[int(rng.choice(len(_NUMBERS), p=_OFTEN))]
        return cls(dtype, value, str(rng.choice(["y", "xy", "", "yz"], p=(0.85, 0.07, 0.04, 0.04))))


_NUMBERS = (("uint8", 1), ("int16", 1), ("float32", 1), ("float64", 1), ("uint8", 255), ("uint8", 2))
_OFTEN = (0.62, 0.18, 0.1, 0.02, 0.04, 0.04)


def mask_file(tumor: NDArray[np.uint8], grid: Grid, storage: Storage, rng: np.random.Generator) -> bytes:
    """Store a mask (z, y, x) as NIfTI-1 so that its affine puts it exactly on the grid."""
    data = (tumor * np.uint8(storage.value)).transpose(2, 1, 0).astype(storage.dtype)
    affine = RAS_TO_LPS @ grid.affine
    for axis in ("xyz".index(name) for name in storage.flipped):
        data = np.flip(data, axis)
        affine[:3, 3] += affine[:3, axis] * (data.shape[axis] - 1)
        affine[:3, axis] *= -1
    if data.dtype.kind == "f":  # what interpolation leaves behind: 0.9999998 and 1e-7
        line = rng.choice(np.array([-2e-7, 0, 1e-7], dtype=data.dtype), size=data.shape[0])
        data = data + line[:, None, None]
    image = nibabel.Nifti1Image(np.asfortranarray(data), affine)
    image.header["descrip"] = b"SYNTHETIC"
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    return bytes(image.to_bytes())
