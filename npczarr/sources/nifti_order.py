"""The order of a NIfTI image's axes, and that of a DICOM series."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.model.geometry import Floats

_SLICES_APART = 1.2  # slices are along the axis whose spacing is this many times both of the others


def in_dicom_order(values: NDArray[Any], affine: Floats, slice_axis: int | None) -> tuple[NDArray[Any], Floats]:
    """Turn (i, j, k) voxels to (z, y, x): z across the slices, rows and columns as a DICOM image shows them.

    So x runs to the patient's left, or of a sagittal image to the back; y to the back, or of other planes to the feet;
    and z along their cross product. A NIfTI that was made of a DICOM series gets the order of that series.

    Parameters
    ----------
    values
        (i, j, k) voxels.
    affine
        (4, 4), voxel index (i, j, k, 1) to LPS mm.
    slice_axis
        Which of i, j, k runs across the slices; None where the header does not say.

    Returns
    -------
    tuple
        (z, y, x) voxels, a view; and their affine, voxel index (x, y, z, 1) to LPS mm.
    """
    matrix = affine[:3, :3]
    along = np.argmax(np.abs(matrix / np.linalg.norm(matrix, axis=0)), axis=0)  # patient axis of i, j, k
    k = _slice_axis(matrix) if slice_axis is None else slice_axis
    i, j = (axis for axis in range(3) if axis != k)
    if along[i] > along[j]:
        i, j = j, i
    flips = [matrix[along[i], i] < 0, matrix[along[j], j] < 0 if along[j] != 2 else matrix[2, j] > 0]
    columns = [matrix[:, i] * (-1 if flips[0] else 1), matrix[:, j] * (-1 if flips[1] else 1), matrix[:, k]]
    flips.append(bool(np.linalg.det(np.stack(columns, axis=1)) < 0))
    turned = affine[:, [i, j, k, 3]].copy()
    for axis, (source, flip) in enumerate(zip((i, j, k), flips, strict=True)):
        if flip:
            turned[:3, 3] += turned[:3, axis] * (values.shape[source] - 1)
            turned[:3, axis] *= -1
    window = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    return values.transpose(i, j, k)[window].transpose(2, 1, 0), turned


def _slice_axis(matrix: Floats) -> int:
    """Which of i, j, k runs across the slices: the one of the largest spacing, else k."""
    spacing = np.linalg.norm(matrix, axis=0)
    widest = int(spacing.argmax())
    return widest if spacing[widest] > _SLICES_APART * np.delete(spacing, widest).max() else 2
