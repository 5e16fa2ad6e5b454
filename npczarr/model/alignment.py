"""How the voxels of one grid are those of another: by axis permutation, flips and a whole number of voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.model.geometry import Floats, Grid, Shape


@dataclass(frozen=True, slots=True)
class Alignment:
    """How the voxels of one grid are the voxels of another, by axis permutation, flips and a whole number of voxels.

    Parameters
    ----------
    axes
        For z, y and x of the target, the array axis of the source that runs along it.
    flips
        For z, y and x of the target, whether the source runs the other way.
    error_mm
        Largest distance between a corner voxel's center on the target and on the reordered source.
    error_voxels
        The same along the voxel axis where it is largest, in voxels of the target. Below 0.5, nearest-neighbor
        resampling is exactly the reordering.
    offset_zyx
        Voxel of the target on which the first of the reordered source lies; it may lie outside the target.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    error_mm: float
    error_voxels: float
    offset_zyx: tuple[int, int, int] = (0, 0, 0)

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """Reorder an array on the source grid, ``(a, b, c)``, to the target's (z, y, x); a view."""
        window = tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)
        return array.transpose(self.axes)[window]

    def paste(self, array: NDArray[Any], shape_zyx: Shape) -> NDArray[Any]:
        """Lay an array on the source grid on the target's (z, y, x), 0 where it does not reach."""
        moved = self.apply(array)
        result = np.zeros(shape_zyx, dtype=array.dtype)
        here, there = [], []
        for offset, n, count in zip(self.offset_zyx, moved.shape, shape_zyx, strict=True):
            first, last = max(offset, 0), min(offset + n, count)
            here.append(slice(first, max(first, last)))
            there.append(slice(first - offset, max(first, last) - offset))
        result[tuple(here)] = moved[tuple(there)]
        return result


def align(source: Grid, target: Grid) -> Alignment | None:
    """Find the axis permutation and flips that lay ``source`` on ``target``, or None where the shapes do not allow it.

    The axes are matched by direction, and the error of the match is measured at the corners; it is for the caller to
    say which error is too large.
    """
    found = _reorder(source, target)
    if found is None or found[2].shape_zyx != target.shape_zyx:
        return None
    axes, flips, moved = found
    return Alignment(axes, flips, *_distance(moved, target, np.zeros(3)))


def align_offset(source: Grid, target: Grid) -> Alignment | None:
    """Find the axis permutation, flips and whole number of voxels by which ``source`` is a crop of ``target``.

    It may also be the other way round, or the grids may overlap in part or not at all. None where the voxels of one
    are not those of the other: where a corner of ``source`` lies half a voxel or more off.
    """
    found = _reorder(source, target)
    if found is None:
        return None
    axes, flips, moved = found
    offset_xyz = np.rint(np.linalg.solve(target.affine, moved.affine[:, 3])[:3])
    if np.abs(offset_xyz).max() > 1e6:
        return None
    error_mm, error_voxels = _distance(moved, target, offset_xyz)
    x, y, z = (int(n) for n in offset_xyz)
    return Alignment(axes, flips, error_mm, error_voxels, (z, y, x)) if error_voxels < 0.5 else None


def _reorder(source: Grid, target: Grid) -> tuple[Shape, tuple[bool, bool, bool], Grid] | None:
    """Match the axes of two grids by direction: axes and flips as of :class:`Alignment`, and the reordered source."""
    cosines = target.directions.T @ source.directions  # rows: target x, y, z; columns: source x, y, z
    order = np.abs(cosines).argmax(axis=1)
    if sorted(order) != [0, 1, 2]:
        return None
    source_shape_xyz = source.shape_zyx[::-1]
    flips_xyz = [bool(cosines[row, column] < 0) for row, column in enumerate(order)]
    reordered = np.zeros((4, 4))  # target index to source index
    reordered[3, 3] = 1
    for row, column in enumerate(order):
        reordered[column, row] = -1 if flips_xyz[row] else 1
        reordered[column, 3] = source_shape_xyz[column] - 1 if flips_xyz[row] else 0
    x, y, z = (source_shape_xyz[column] for column in order)
    moved = Grid((z, y, x), source.affine @ reordered)
    flip_x, flip_y, flip_z = flips_xyz
    # Grid axis i of x, y, z is array axis 2 - i
    along_x, along_y, along_z = (2 - int(i) for i in order)
    return (along_z, along_y, along_x), (flip_z, flip_y, flip_x), moved


def _distance(moved: Grid, target: Grid, offset_xyz: Floats) -> tuple[float, float]:
    """Largest distance of a corner of a grid from the voxel of another that it should be, in mm and in voxels."""
    affine = target.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ offset_xyz
    off_mm = moved.corners_mm() - Grid(moved.shape_zyx, affine).corners_mm()
    off_voxels = np.linalg.solve(target.affine[:3, :3], off_mm.T)
    return float(np.linalg.norm(off_mm, axis=1).max()), float(np.abs(off_voxels).max())
