"""Positions of heads and scans in patient space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from npczarr.model.geometry import Grid
from npczarr.phantom.anatomy import HEAD_CENTER_MM, Head
from npczarr.phantom.plan import ScanPlan


def place_head(rng: np.random.Generator) -> Head:
    """Place a head near the isocenter: two in three oblique, by up to 14 degrees about one or two axes."""
    tilt, turn = rng.uniform(-14, 14), rng.uniform(-6, 6)
    kind = rng.random()
    if kind < 1 / 3:
        tilt = turn = 0.0
    elif kind < 2 / 3:
        turn = 0.0
    return Head(_rotation(tilt, turn), rng.normal(0, 8, 3), rng.uniform(0.94, 1.04))


def place_scan(scan: ScanPlan, head: Head, rng: np.random.Generator) -> Grid:
    """Place a scan around the head, and off it by up to a degree and a few mm where the head is oblique.

    Direction cosines have six decimals and positions four, as headers hold them.
    """
    oblique = not np.array_equal(head.axes, np.eye(3))
    off_deg = rng.uniform(-1, 1, 2) * oblique
    axes = np.round(head.axes @ _rotation(off_deg[0], off_deg[1]), 6)
    directions = np.column_stack([axes[:, 0], axes[:, 1], np.cross(axes[:, 0], axes[:, 1])])
    affine = np.eye(4)
    affine[:3, :3] = directions * (scan.pixel_spacing_mm, scan.pixel_spacing_mm, scan.slice_spacing_mm)
    shape_zyx = (scan.slices, scan.matrix, scan.matrix)
    half = (np.array(shape_zyx[::-1]) - 1) / 2
    middle = head.to_lps(HEAD_CENTER_MM) + rng.uniform(-2, 2, 3)
    affine[:3, 3] = np.round(middle - affine[:3, :3] @ half, 4)
    return Grid(shape_zyx, affine)


def coarser(grid: Grid, matrix: int) -> Grid:
    """Cover the same field of view with another matrix size."""
    depth, rows, columns = grid.shape_zyx
    affine = grid.affine.copy()
    affine[:3, 0] *= columns / matrix
    affine[:3, 1] *= rows / matrix
    affine[:3, 3] += (affine[:3, :2] - grid.affine[:3, :2]).sum(axis=1) / 2
    return Grid((depth, matrix, matrix), affine)


def _rotation(about_x_deg: float, about_z_deg: float) -> NDArray[np.float64]:
    a, b = np.deg2rad((about_x_deg, about_z_deg))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x)
