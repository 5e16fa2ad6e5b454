"""The 256 patterns of tumor at the eight corners of a 2x2x2 cell, and the piece of surface that each one holds.

Marching cubes meshes every cell by its pattern alone, so for a 0/1 mask each total over the mesh is a sum over
patterns: how often each occurs times what one holds. The pieces come from scikit-image's own mesh of each pattern, in
voxel units; a spacing scales them.

A pattern is the number whose bits, highest first, are the corners (0,0,0), (0,0,1), (0,1,0) … (1,1,1) of the cell in
z, y, x, as in DeepMind's surface-distance package.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numba
import numpy as np
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.kernels.masks import Mask, Triple

Method = Literal["lorensen", "lewiner"]
Floats = NDArray[np.float64]
METHODS: tuple[Method, ...] = ("lorensen", "lewiner")

# the area of tumor on a cell's face with two diagonal corners: Lorensen's surface keeps the corners apart, Lewiner's
# joins them. Both close every pattern (the areas of pieces and caps add to the zero vector), which the tests check.
_DIAGONAL_FACE: dict[Method, float] = {"lorensen": 0.25, "lewiner": 0.75}


@dataclass(frozen=True, slots=True)
class Pieces:
    """The surface of each pattern, in voxel units.

    ``volume`` is (256,), the tumor's volume inside a cell. ``triangles`` is (n, 3), each triangle's area vector along
    z, y, x, pointing out of the tumor; ``pattern`` is (n,), the pattern that each one belongs to.
    """

    volume: Floats
    triangles: Floats
    pattern: NDArray[np.intp]

    def area(self, spacing_zyx_mm: Triple) -> Floats:
        """Return the (256,) surface area of each pattern in mm²."""
        z, y, x = spacing_zyx_mm
        scaled = self.triangles * (y * x, z * x, z * y)
        area = np.zeros(256)
        np.add.at(area, self.pattern, np.sqrt((scaled**2).sum(axis=1)))
        return area


@cache
def pieces(method: Method) -> Pieces:
    """Mesh the 256 patterns with scikit-image's marching cubes at 0.5.

    Parameters
    ----------
    method
        The case table: ``"lorensen"`` (1987; VTK's) or ``"lewiner"`` (2003; scikit-image's default).

    Raises
    ------
    ParameterError
        If the method is neither.
    """
    if method not in METHODS:
        raise ParameterError(f"method: expected one of {', '.join(METHODS)}, found {method!r}")
    from skimage.measure import marching_cubes  # slow to import, needed once

    volume, triangles, pattern = np.zeros(256), [], []
    volume[255] = 1.0
    for code in range(1, 255):
        cell = _corners(code)
        vertices, faces, _, _ = marching_cubes(cell, 0.5, method=method)
        corners = vertices.astype(np.float64)[faces]
        vectors = np.cross(corners[:, 2] - corners[:, 0], corners[:, 1] - corners[:, 0]) / 2  # out of the tumor
        # divergence theorem from the corner (0,0,0): only the caps on the three far faces add to the pieces
        far_caps = sum(_face_area(face, method) for face in (cell[1], cell[:, 1], cell[:, :, 1]))
        volume[code] = ((corners[:, 0] * vectors).sum() + far_caps) / 3
        triangles.append(vectors)
        pattern += [code] * len(vectors)
    return Pieces(volume, np.concatenate(triangles), np.array(pattern))


@numba.njit(nogil=True, cache=True)
def cell_patterns(padded: Mask) -> Mask:
    """Return the pattern of every cell of a 0/1 mask: (z, y, x) in, (z - 1, y - 1, x - 1) out."""
    n_z, n_y, n_x = padded.shape
    codes = np.empty((n_z - 1, n_y - 1, n_x - 1), np.uint8)
    for z in range(n_z - 1):
        for y in range(n_y - 1):
            row0, row1, row2, row3 = padded[z, y], padded[z, y + 1], padded[z + 1, y], padded[z + 1, y + 1]
            out = codes[z, y]
            for x in range(n_x - 1):
                near = row0[x] << 7 | row1[x] << 5 | row2[x] << 3 | row3[x] << 1
                far = row0[x + 1] << 6 | row1[x + 1] << 4 | row2[x + 1] << 2 | row3[x + 1]
                out[x] = near | far
    return codes


@numba.njit(nogil=True, cache=True)
def histogram(codes: Mask) -> NDArray[np.int64]:
    """Return how often each of the 256 patterns occurs; pattern 0 is not counted."""
    counts = np.zeros(256, np.int64)
    for code in codes.ravel():
        if code:  # most cells are empty
            counts[code] += 1
    return counts


def _corners(code: int) -> NDArray[np.float32]:
    """Return the (2, 2, 2) cell of a pattern."""
    return np.unpackbits(np.array([code], np.uint8)).reshape(2, 2, 2).astype(np.float32)


def _face_area(face: NDArray[np.float32], method: Method) -> float:
    """Return the area of tumor on a unit face with (2, 2) corners, as marching cubes cuts it."""
    diagonal = face[0, 0] == face[1, 1] != face[0, 1] == face[1, 0]
    return _DIAGONAL_FACE[method] if diagonal else (0.0, 0.125, 0.5, 0.875, 1.0)[int(face.sum())]
