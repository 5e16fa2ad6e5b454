"""Axial head and neck images: ellipsoids of tissue in the patient's own space, with texture, a bias field and noise.

Head space is LPS around the nasopharynx, in mm, along the patient's head: x to the left, y to the back, z to the top.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from npczarr.model.geometry import Grid
from npczarr.phantom.noise import NoisePool

Floats = NDArray[np.float32]
Vector = tuple[float, float, float]

HEAD_CENTER_MM = (0.0, 8.0, 6.0)  # where a scanner's volume is centered

#: Brightness of 12 bits by sequence: T1WI, T2WI, CE-T1WI.
_BRIGHTNESS = {
    "nothing": (0, 0, 0),
    "air": (15, 15, 15),
    "fat": (1500, 1250, 1450),
    "bone": (170, 130, 180),
    "marrow": (980, 720, 1040),
    "muscle": (600, 360, 680),
    "gland": (850, 800, 1000),
    "white": (900, 680, 930),
    "gray": (740, 840, 790),
    "fluid": (260, 1900, 270),
    "mucosa": (660, 1300, 1250),
    "vessel": (150, 90, 1500),
    "tumor": (640, 1050, 1380),
}
_TISSUES = tuple(_BRIGHTNESS)
_COLUMNS = {"T1WI": 0, "T2WI": 1, "CE-T1WI": 2}

#: Tissue, center and half axes (x, y, z) in mm; later ones cover earlier ones. A center off the middle comes twice.
_SHAPES: tuple[tuple[str, Vector, Vector], ...] = (
    ("fat", (0, 30, -75), (66, 66, 95)),
    ("muscle", (0, 30, -75), (59, 59, 92)),
    ("fat", (0, -32, -22), (66, 58, 72)),
    ("fat", (0, 8, 45), (79, 98, 92)),
    ("bone", (0, 8, 45), (73, 92, 86)),
    ("marrow", (0, 8, 45), (71, 90, 84)),
    ("bone", (0, 8, 45), (69, 88, 82)),
    ("fluid", (0, 8, 45), (67, 86, 80)),
    ("gray", (0, 8, 45), (65, 84, 78)),
    ("white", (27, 8, 58), (27, 66, 40)),
    ("white", (24, 52, 4), (17, 20, 20)),
    ("fat", (0, -32, -25), (61, 53, 60)),
    ("muscle", (0, -26, -25), (56, 44, 58)),
    ("gland", (52, 2, -22), (9, 18, 24)),
    ("bone", (45, -20, -34), (5, 17, 30)),
    ("marrow", (45, -20, -34), (2.5, 13, 26)),
    ("fat", (26, -14, -6), (8, 17, 24)),
    ("muscle", (34, -26, -8), (8, 16, 18)),
    ("bone", (54, 28, -2), (13, 15, 17)),
    ("air", (55, 30, -2), (6, 7, 8)),
    ("fat", (31, -56, 27), (18, 25, 16)),
    ("fluid", (31, -64, 27), (12, 12, 12)),
    ("bone", (27, -52, -8), (18, 20, 19)),
    ("air", (27, -52, -8), (16, 18, 17)),
    ("bone", (0, -56, -4), (17, 30, 24)),
    ("mucosa", (0, -56, -4), (15, 29, 22)),
    ("air", (7, -58, -4), (4, 27, 18)),
    ("mucosa", (0, -14, -2), (21, 15, 24)),
    ("air", (0, -19, -4), (12, 8, 22)),
    ("air", (0, -6, -65), (11, 6, 45)),
    ("muscle", (14, 10, -20), (11, 8, 30)),
    ("bone", (0, 8, 12), (15, 8, 20)),
    ("marrow", (0, 8, 12), (13, 6, 18)),
    ("bone", (0, 14, -48), (14, 13, 34)),
    ("marrow", (0, 14, -48), (12, 11, 32)),
    ("fluid", (0, 28, 8), (20, 14, 20)),
    ("white", (0, 30, 8), (13, 11, 24)),
    ("fluid", (0, 45, 12), (7, 4, 9)),
    ("fluid", (0, 35, -60), (11, 9, 62)),
    ("white", (0, 35, -60), (6, 5, 64)),
    ("fluid", (11, 2, 62), (6, 30, 12)),
    ("vessel", (26, 4, -25), (3.5, 3.5, 60)),
    ("vessel", (33, 12, -35), (5, 5, 45)),
    ("vessel", (0, 91, 45), (4, 4, 45)),
)
_BLUR_PIXELS = 0.7  # of a scanner's point spread: without it, tissues have edges as if cut by scissors
_BLOCK_VOXELS = 70_000  # of shapes evaluated at once: what a core's cache holds


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Position of a patient's head: axes (3, 3), unit vectors of head space in LPS as columns; center_mm (3,) in LPS.

    scale is the size of the head, 1 for the ellipsoids as listed.
    """

    axes: NDArray[np.float64]
    center_mm: NDArray[np.float64]
    scale: float

    def to_lps(self, point: Vector) -> NDArray[np.float64]:
        """(3,) LPS mm of a point of head space."""
        lps: NDArray[np.float64] = self.center_mm + self.axes @ np.array(point) * self.scale
        return lps


def draw_series(
    sequence: str,
    head: Head,
    grid: Grid,
    tumor: NDArray[np.uint8],
    pool: NoisePool,
    rng: np.random.Generator,
) -> Iterator[NDArray[np.uint16]]:
    """Draw (rows, columns) 12-bit images slice by slice in the order of z, with the tumor (z, y, x) in them."""
    depth, side, _ = grid.shape_zyx
    shrink = 2 if side >= 384 else 1  # shapes on half the matrix, then interpolated: the eye sees no difference
    coarse = side // shrink
    brightness = np.array([values[_COLUMNS[sequence]] for values in _BRIGHTNESS.values()], dtype=np.float32)
    position = np.linspace(-1, 1, coarse, dtype=np.float32)
    tilt = rng.uniform(-0.12, 0.12, 2)
    bias = np.outer(1 + tilt[0] * position - 0.1 * position**2, 1 + tilt[1] * position - 0.1 * position**2)
    bias = bias.astype(np.float32)
    starts = pool.starts(rng, depth, side**2)
    step = max(1, _BLOCK_VOXELS // coarse**2)
    for first in range(0, depth, step):
        planes = np.arange(first, min(first + step, depth))
        for z, tissue in zip(planes, _tissues(head, grid, planes, shrink), strict=True):
            signal = brightness[tissue] * bias * pool.cut_texture(rng, coarse)
            if shrink == 2:
                signal = _double(signal)
            inside = np.nonzero(tumor[z].view(bool))  # of bytes it takes twenty times longer
            signal[inside] = brightness[-1] * pool.cut_texture(rng, coarse)[inside[0] // shrink, inside[1] // shrink]
            if shrink == 1 and side >= 128:
                signal = gaussian_filter(signal, _BLUR_PIXELS)
            yield pool.magnitude(signal, starts[z])


def _tissues(head: Head, grid: Grid, planes: NDArray[np.intp], shrink: int) -> NDArray[np.uint8]:
    """(planes, rows, columns) index of the tissue at each voxel, on a matrix that is ``shrink`` times coarser."""
    to_head = head.axes.T @ grid.affine[:3, :3] / head.scale
    start = head.axes.T @ (grid.affine[:3, 3] - head.center_mm) / head.scale
    side = grid.shape_zyx[1] // shrink
    pixel = np.arange(side) * shrink + (shrink - 1) / 2
    x, y, z = (
        (
            start[axis]
            + to_head[axis, 2] * planes[:, None, None]
            + to_head[axis, 1] * pixel[:, None]
            + to_head[axis, 0] * pixel
        ).astype(np.float32)
        for axis in range(3)
    )
    tissue = np.zeros(x.shape, dtype=np.uint8)
    for (code, (cx, cy, cz), (ax, ay, az)), box in zip(_ELLIPSOIDS, _boxes(start, to_head), strict=True):
        if box[0, 2] > planes[-1] or box[1, 2] < planes[0]:
            continue
        (left, top), (right, bottom) = np.clip(np.ceil(box[:, :2] / shrink), 0, side).astype(int)
        part = np.s_[:, top : bottom + 1, left : right + 1]
        inside = ((x[part] - cx) / ax) ** 2 + ((y[part] - cy) / ay) ** 2 + ((z[part] - cz) / az) ** 2 <= 1
        tissue[part][inside] = code
    return tissue


_ELLIPSOIDS = tuple(
    (_TISSUES.index(name), (x, *center), half_axes)
    for name, (cx, *center), half_axes in _SHAPES
    for x in ((cx, -cx) if cx else (cx,))
)


def _boxes(start: NDArray[np.float64], to_head: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2, 3) first and last voxel index (x, y, z) that each ellipsoid reaches."""
    to_voxel = np.linalg.inv(to_head)
    middle = (np.array([center for _, center, _ in _ELLIPSOIDS]) - start) @ to_voxel.T
    reach = np.sqrt(np.square([half for _, _, half in _ELLIPSOIDS]) @ np.square(to_voxel.T))
    return np.stack([middle - reach, middle + reach], axis=1)


def _double(coarse: Floats) -> Floats:
    """Double the matrix; each new pixel is the mean of its neighbors."""
    for axis in (0, 1):
        lines = np.moveaxis(coarse, axis, 0)
        fine = np.empty((2 * len(lines), *lines.shape[1:]), dtype=np.float32)
        fine[0::2] = lines
        fine[1:-1:2] = (lines[:-1] + lines[1:]) * np.float32(0.5)
        fine[-1] = lines[-1]
        coarse = np.moveaxis(fine, 0, axis)
    return np.ascontiguousarray(coarse)
