"""Slices as they are drawn: upright by the affine, in mm."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.model.geometry import Floats

#: To the right and downwards on paper in LPS, for sagittal, coronal and axial slices: normal nearest to x, y or z.
_PAPER = (((0, 1, 0), (0, 0, -1)), ((1, 0, 0), (0, 0, -1)), ((1, 0, 0), (0, 1, 0)))
_ENDS = ("RL", "AP", "IS")  # letters against and along x, y, z of LPS


class SliceView:
    """The slices of one scan, upright: of axial ones the front of the head is up and the patient's right is left.

    Whole quarter turns and flips only, so no voxel is interpolated.

    Parameters
    ----------
    affine
        (4, 4) voxel index (x, y, z, 1) to LPS mm; only its directions are used: the positions are given below.
    positions_zyx_mm
        (z,), (y,), (x,) positions of the voxel centers along each voxel axis.
    spacing_zyx_mm
        (3,) voxel size, NaN where it is not known.
    """

    def __init__(self, affine: NDArray[Any], positions_zyx_mm: tuple[Any, ...], spacing_zyx_mm: NDArray[Any]) -> None:
        matrix = np.asarray(affine, dtype=np.float64)[:3, :3]
        lengths = np.linalg.norm(matrix, axis=0)
        self._directions = matrix / lengths
        self.positions_zyx_mm = tuple(np.asarray(positions, dtype=np.float64) for positions in positions_zyx_mm)
        self.spacing_zyx_mm: Floats = np.array(
            [_step(p, length) for p, length in zip(self.positions_zyx_mm, lengths[::-1], strict=True)]
        )
        self.is_in_mm = bool(np.isfinite(spacing_zyx_mm).all())

    @cached_property
    def _turn(self) -> tuple[bool, int, int]:
        """Whether rows run across the paper, and the signs of the axes across and down."""
        along_x, along_y, normal = self._directions.T
        right, down = (np.array(vector) for vector in _PAPER[int(np.abs(normal).argmax())])
        swapped = abs(along_y @ right) + abs(along_x @ down) > abs(along_x @ right) + abs(along_y @ down)
        across, downward = (along_y, along_x) if swapped else (along_x, along_y)
        return bool(swapped), 1 if across @ right > 0 else -1, 1 if downward @ down > 0 else -1

    @cached_property
    def _order(self) -> tuple[int, int]:
        """Whether rows and columns as drawn are those of the array, 1, or run the other way, -1."""
        swapped, across, down = self._turn
        _, y, x = self.positions_zyx_mm
        horizontal, vertical = (y, x) if swapped else (x, y)
        # a selection may have reversed an axis
        return (
            across if horizontal[-1] >= horizontal[0] else -across,
            down if vertical[-1] >= vertical[0] else -down,
        )

    def upright(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Turn a slice (y, x) as it is drawn: (down, across)."""
        across, down = self._order
        turned = plane.T if self._turn[0] else plane
        return turned[::down, ::across]

    def centers_mm(self) -> tuple[Floats, Floats]:
        """(across,) and (down,) rising positions of the voxel centers as drawn: LPS x and y of an axial scan."""
        swapped, across, down = self._turn
        _, y, x = self.positions_zyx_mm
        horizontal, vertical = (y, x) if swapped else (x, y)
        return (horizontal * across)[:: self._order[0]], (vertical * down)[:: self._order[1]]

    def padded_centers_mm(self) -> tuple[Floats, Floats]:
        """Positions of the voxel centers as drawn, with one more voxel at each end."""
        padded = []
        for centers, step in zip(self.centers_mm(), self.steps_mm, strict=True):
            padded.append(np.concatenate([[centers[0] - step], centers, [centers[-1] + step]]))
        return padded[0], padded[1]

    @property
    def extent_mm(self) -> tuple[float, float, float, float]:
        """Outer edges of the slice: left, right, bottom, top."""
        (across, down), (wide, high) = self.centers_mm(), self.steps_mm
        return (
            float(across[0] - wide / 2),
            float(across[-1] + wide / 2),
            float(down[-1] + high / 2),
            float(down[0] - high / 2),
        )

    @property
    def letters(self) -> Mapping[str, str]:
        """Side of the patient at each edge: R, L, A, P, I or S."""
        swapped, across, down = self._turn
        along_x, along_y, _ = self._directions.T
        horizontal, vertical = (along_y, along_x) if swapped else (along_x, along_y)
        return {
            "left": _side(-across * horizontal),
            "right": _side(across * horizontal),
            "top": _side(-down * vertical),
            "bottom": _side(down * vertical),
        }

    def slice_at(self, z_mm: float) -> int | None:
        """Index of the slice at a position along the slice normal; None if the volume does not reach it."""
        distances = np.abs(self.positions_zyx_mm[0] - z_mm)
        nearest = int(distances.argmin())
        return nearest if distances[nearest] <= self.spacing_zyx_mm[0] / 2 + 1e-6 else None

    def slice_through(self, point_mm: Floats) -> int | None:
        """Index of the slice through a point (3,) in LPS mm; None if the volume does not reach it."""
        return self.slice_at(float(self._directions[:, 2] @ point_mm))

    def point_mm(self, index: int, tumor: NDArray[np.bool_]) -> Floats:
        """(3,) LPS mm of the middle of the tumor (y, x) in a slice; the middle of the slice if there is none."""
        z, y, x = self.positions_zyx_mm
        if tumor.any():
            row, column = (round(float(mean)) for mean in np.argwhere(tumor).mean(axis=0))
        else:
            row, column = len(y) // 2, len(x) // 2
        along = np.array([x[column], y[row], z[index]])
        point: Floats = np.linalg.solve(self._directions.T, along)
        return point

    @property
    def steps_mm(self) -> tuple[float, float]:
        """Voxel size across and down."""
        _, y, x = self.spacing_zyx_mm.tolist()
        return (y, x) if self._turn[0] else (x, y)


def _step(positions: Floats, length: float) -> float:
    """Distance of voxel centers: from positions, since a selection may be thinned; of one voxel the affine's."""
    return float(np.abs(np.diff(positions)).mean()) if len(positions) > 1 else float(length)


def _side(direction: Floats) -> str:
    axis = int(np.abs(direction).argmax())
    return _ENDS[axis][int(direction[axis] > 0)]
