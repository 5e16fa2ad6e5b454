"""Voxel grids in patient space.

Patient space is DICOM's LPS: x to the patient's left, y to the back, z to the head, in mm. Arrays are ordered
(z, y, x); an affine takes (x, y, z, 1) voxel indices, as DICOM and NIfTI write them, to LPS mm. Voxel centers have
integer indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import GeometryError

Floats = NDArray[np.float64]
Shape = tuple[int, int, int]

AXES = ("z", "y", "x")
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A regular voxel grid in patient space.

    Parameters
    ----------
    shape_zyx
        Number of voxels along z, y and x.
    affine
        (4, 4), voxel index (x, y, z, 1) to LPS mm.

    Raises
    ------
    GeometryError
        If the shape is not three positive counts, or the affine is not finite and invertible.
    """

    shape_zyx: Shape
    affine: Floats

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape_zyx)
        affine = np.array(self.affine, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"a grid needs three positive counts of voxels (z, y, x), got {self.shape_zyx}")
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or np.linalg.norm(affine[:3, :3], axis=0).min() == 0:
            raise GeometryError(f"an affine must be a finite (4, 4) matrix with no empty column, got {affine.tolist()}")
        directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        if abs(np.linalg.det(directions)) < 1e-3:
            raise GeometryError(f"the voxel axes lie in one plane, affine {affine.tolist()}")
        affine.setflags(write=False)
        object.__setattr__(self, "shape_zyx", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing_zyx_mm(self) -> Floats:
        """(3,) distance between neighboring voxel centers along z, y and x."""
        spacing: Floats = np.linalg.norm(self.affine[:3, :3], axis=0)[::-1]
        return spacing

    @property
    def directions(self) -> Floats:
        """(3, 3) unit vectors of the voxel axes in LPS, one column each, in the order x, y, z."""
        matrix = self.affine[:3, :3]
        directions: Floats = matrix / np.linalg.norm(matrix, axis=0)
        return directions

    def axis_positions_mm(self) -> tuple[Floats, Floats, Floats]:
        """Positions (z,), (y,) and (x,) of the voxel centers.

        That of a slice is the distance of its plane from the origin along its normal, which points the way that the
        slices count: on an axial scan with no tilt it is the LPS coordinate, and its negative where the slices go to
        the feet. Those of rows and columns are the projections of the first slice's on the axes.
        """
        origin = self._rulers @ self.affine[:3, 3]
        z, y, x = (
            start + step * np.arange(n) for start, step, n in zip(origin, self._steps_mm, self.shape_zyx, strict=True)
        )
        return z, y, x

    @property
    def _rulers(self) -> Floats:
        """(3, 3) unit vectors, one row each, along which positions z, y and x are taken."""
        x, y, z = self.directions.T
        normal = np.cross(x, y)
        normal *= np.copysign(1 / np.linalg.norm(normal), normal @ z)
        return np.array([normal, y, x])

    @property
    def _steps_mm(self) -> Floats:
        """(3,) distance between the positions of neighbors: for slices that are sheared, less than the spacing."""
        steps: Floats = np.einsum("ij,ji->i", self._rulers, self.affine[:3, 2::-1])
        return steps

    def crop(self, window: Sequence[slice]) -> Grid:
        """Return the grid of ``array[window]``; the window is three slices of step 1, none empty."""
        spans = [s.indices(n) for s, n in zip(window, self.shape_zyx, strict=True)]
        if any(step != 1 or stop <= start for start, stop, step in spans):
            raise GeometryError(
                f"cannot crop {self.shape_zyx} to {tuple(window)}: slices must be of step 1 and not empty"
            )
        affine = self.affine.copy()
        affine[:3, 3] += self.affine[:3, :3] @ np.array([start for start, _, _ in spans][::-1])
        z, y, x = (stop - start for start, stop, _ in spans)
        return Grid((z, y, x), affine)

    def of_part(self, positions_zyx_mm: Sequence[Floats]) -> Grid:
        """Return the grid of a part of the voxels, which may be reversed or every second one.

        Parameters
        ----------
        positions_zyx_mm
            Positions (z,), (y,) and (x,) of the part's voxel centers, as `axis_positions_mm` gives those of all.

        Raises
        ------
        GeometryError
            If there are none along an axis, or they are not evenly spaced.
        """
        if all(map(np.array_equal, positions_zyx_mm, self.axis_positions_mm())):
            return self
        affine = self.affine.copy()
        first_xyz = np.zeros(3)
        own, steps_mm = self.axis_positions_mm(), self._steps_mm
        for k, (axis, positions) in enumerate(zip(AXES, positions_zyx_mm, strict=True)):
            steps = np.diff(positions)
            if not len(positions) or (len(steps) and np.ptp(steps) > 1e-4):
                raise GeometryError(
                    f"{axis}: expected voxels at even distances, found positions {[*map(float, positions)]}; no affine "
                    "says where they are"
                )
            first_xyz[2 - k] = (positions[0] - own[k][0]) / steps_mm[k]
            if len(steps):
                affine[:3, 2 - k] *= steps.mean() / steps_mm[k]
        affine[:3, 3] += self.affine[:3, :3] @ first_xyz
        z, y, x = (len(positions) for positions in positions_zyx_mm)
        return Grid((z, y, x), affine)

    def center_mm(self) -> Floats:
        """(3,) LPS mm of the middle of the volume."""
        last_xyz = np.array(self.shape_zyx[::-1]) - 1
        middle: Floats = self.affine[:3, :3] @ (last_xyz / 2) + self.affine[:3, 3]
        return middle

    def regrid(self, *, spacing: Sequence[float | None] = (), shape: Sequence[int | None] = ()) -> Grid:
        """Return a grid of the same axes and the same middle, with another voxel size, another shape, or both.

        Parameters
        ----------
        spacing
            Along z, y, x in mm; None, or nothing at all, keeps what the shape asks for. Alone, it keeps the field of
            view, rounded up to whole voxels.
        shape
            Voxels along z, y, x; None keeps what the spacing asks for. Alone, it keeps the field of view.
        """
        voxels, lengths = [], []
        for n, length, wanted, count in zip(
            self.shape_zyx, self.spacing_zyx_mm, spacing or (None,) * 3, shape or (None,) * 3, strict=True
        ):
            lengths.append(wanted or (n * length / count if count else length))
            # 1e-6: a field of view that is a whole number of voxels but for rounding takes no voxel more
            voxels.append(count or max(1, int(np.ceil(n * length / lengths[-1] - 1e-6))))
        affine = np.eye(4)
        affine[:3, :3] = self.directions * lengths[::-1]
        affine[:3, 3] = self.center_mm() - affine[:3, :3] @ ((np.array(voxels[::-1]) - 1) / 2)
        return Grid((voxels[0], voxels[1], voxels[2]), affine)

    def around(self, center_mm: Floats, extent_zyx_mm: Sequence[float]) -> Grid:
        """Return a box of these voxels, its middle as near to a point as they allow; it may reach beyond the volume.

        Parameters
        ----------
        center_mm
            (3,) LPS mm.
        extent_zyx_mm
            Size of the box along z, y, x, rounded to whole voxels; so boxes of one size have one shape.
        """
        counts = np.maximum(np.floor(np.asarray(extent_zyx_mm) / self.spacing_zyx_mm + 0.5), 1)
        index_xyz = np.linalg.solve(self.affine[:3, :3], center_mm - self.affine[:3, 3])
        first = np.floor(index_xyz - (counts[::-1] - 1) / 2 + 0.5 + 1e-6)
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ first
        z, y, x = (int(n) for n in counts)
        return Grid((z, y, x), affine)

    def corners_mm(self) -> Floats:
        """(8, 3) LPS mm of the centers of the eight corner voxels."""
        z, y, x = (np.array([0, n - 1]) for n in self.shape_zyx)
        index = np.stack(np.meshgrid(x, y, z, indexing="ij"), axis=-1).reshape(-1, 3)
        corners: Floats = index @ self.affine[:3, :3].T + self.affine[:3, 3]
        return corners

    def is_same_as(self, other: Grid) -> bool:
        """Whether voxels lie at the same places, within a thousandth of a voxel."""
        if self.shape_zyx != other.shape_zyx:
            return False
        apart = float(np.abs(self.corners_mm() - other.corners_mm()).max())
        return apart <= 1e-3 * float(self.spacing_zyx_mm.min())


def index_map(target: Grid, source: Grid) -> Floats:
    """(4, 4) matrix from voxel index (x, y, z, 1) on ``target`` to voxel index on ``source``."""
    return np.asarray(np.linalg.solve(source.affine, target.affine), dtype=np.float64)


def covered_fraction(voxels_zyx: NDArray[np.intp], source: Grid, target: Grid) -> float:
    """Fraction of the voxels (n, 3) of ``source`` whose centers lie inside ``target``, up to its outer faces."""
    if not len(voxels_zyx):
        return float("nan")
    matrix = index_map(source, target)
    index_xyz = voxels_zyx[:, ::-1] @ matrix[:3, :3].T + matrix[:3, 3]
    limit = np.array(target.shape_zyx[::-1]) - 0.5
    # 1e-3 of a voxel: NIfTI affines are float32, and a face of the volume must not depend on their rounding
    return float(((index_xyz >= -0.501) & (index_xyz <= limit + 0.001)).all(axis=1).mean())
