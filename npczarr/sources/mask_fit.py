"""Whether the images of a series lie on the slices of a mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset

from npczarr.model.geometry import Floats, Grid
from npczarr.sources.differences import Images
from npczarr.sources.fields import field_values

_IN_PLANE_VOXELS, _THROUGH_PLANE_VOXELS = 0.5, 0.25  # a frame this close to a slice of the mask lies on it


def may_be_meant(images: Images, grids: Sequence[Grid], *, broken: bool) -> bool:
    """Whether a series may be the one that a mask was drawn on.

    All its frames must lie on slices of the mask; of a broken one, half of them, as far as they can be placed.
    """
    for grid in grids:
        found = [_lies_on(dataset, index, grid) for dataset, indices in images for index in indices]
        lying, unknown = found.count(True), found.count(None)
        if (2 * (lying + unknown) >= len(found)) if broken else lying == len(found):
            return True
    return False


def _lies_on(dataset: Dataset, index: int, grid: Grid) -> bool | None:
    """Whether the corners of a frame are those of a slice of the grid; None where its header does not say.

    A frame that cannot be placed, but could not fit by its matrix, does not lie there.
    """
    rows, columns = int(dataset.get("Rows", 0) or 0), int(dataset.get("Columns", 0) or 0)
    position, cosines, spacing = (
        _numbers(dataset, index, name, n)
        for name, n in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
    )
    if position is None or cosines is None or spacing is None:
        z, y, x = grid.shape_zyx
        return None if sorted((rows, columns)) in (sorted((y, x)), sorted((z, x)), sorted((z, y))) else False
    along_row = cosines[:3] * spacing[1] * (columns - 1)
    along_column = cosines[3:] * spacing[0] * (rows - 1)
    corners = position + np.array([np.zeros(3), along_row, along_column, along_row + along_column])
    at = (corners - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T
    last = np.array(grid.shape_zyx[::-1]) - 1
    return any(_is_slice(at, last, axis) for axis in range(3))


def _is_slice(corners: Floats, last: Floats, axis: int) -> bool:
    """Whether four corners, as voxel indices (x, y, z), are those of one slice across an axis."""
    through, inside = corners[:, axis], np.delete(corners, axis, axis=1)
    level = float(through.mean().round())
    off_plane = float(np.abs(through - level).max())
    ends = np.delete(last, axis)
    off_corner = np.minimum(np.abs(inside), np.abs(inside - ends)).max()
    spans = np.abs(np.ptp(inside, axis=0) - ends).max()
    return bool(
        0 <= level <= last[axis]
        and off_plane < _THROUGH_PLANE_VOXELS
        and off_corner < _IN_PLANE_VOXELS
        and spans < 2 * _IN_PLANE_VOXELS
    )


def _numbers(dataset: Dataset, index: int, keyword: str, count: int) -> Floats | None:
    values = [value for value in field_values(dataset, index, keyword) if isinstance(value, float)]
    found = np.array(values, dtype=np.float64)
    return found if len(found) == count and np.isfinite(found).all() else None
