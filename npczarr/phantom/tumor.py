"""Tumors: lumpy, in one piece, and at the same place in the patient on every grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from skimage.measure import marching_cubes, mesh_surface_area

from npczarr.model.geometry import Grid

_LUMPS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Lumps:
    """Waves over the sphere of directions that stretch and shrink a tumor.

    waves (n, 3) wave vectors, phases (n,), weights (n,).
    """

    waves: NDArray[np.float32]
    phases: NDArray[np.float32]
    weights: NDArray[np.float32]

    @classmethod
    def draw(cls, rng: np.random.Generator, amount: float, *, wave: float = 3.2) -> Lumps:
        """Draw lumps whose sum is about ``amount`` of the radius."""
        waves = rng.normal(0, wave, (_LUMPS, 3))
        weights = amount * np.sqrt(2 / _LUMPS) * rng.uniform(0.6, 1.4, _LUMPS)
        phases = rng.uniform(0, 2 * np.pi, _LUMPS)
        return cls(waves.astype(np.float32), phases.astype(np.float32), weights.astype(np.float32))

    def at(self, directions: NDArray[np.float32]) -> NDArray[np.float32]:
        """(...,) height of the lumps in these directions (..., 3)."""
        height: NDArray[np.float32] = np.cos(directions @ self.waves.T + self.phases) @ self.weights
        return height


@dataclass(frozen=True, slots=True, eq=False)
class Tumor:
    """A tumor before it is outlined.

    center_mm (3,) in LPS; axes (3, 3), mm in LPS to a space where the tumor is a sphere but for its lumps.
    """

    center_mm: NDArray[np.float64]
    axes: NDArray[np.float64]
    lumps: Lumps

    @classmethod
    def draw(cls, rng: np.random.Generator, center_mm: NDArray[np.float64]) -> Tumor:
        """Draw a flattened and bent tumor, wider from side to side than it is high."""
        stretch = np.array([1.35, 1.0, 0.8]) * rng.uniform(0.8, 1.25, 3)
        turn, _ = np.linalg.qr(np.eye(3) + rng.normal(0, 0.25, (3, 3)))
        return cls(center_mm, turn / (stretch / np.prod(stretch) ** (1 / 3))[:, None], Lumps.draw(rng, 0.33))

    def outline(self, grid: Grid, volume_cm3: float, hand: Lumps) -> NDArray[np.uint8]:
        """Outline the tumor slice by slice on a grid.

        Parameters
        ----------
        grid
            Grid of the scan.
        volume_cm3
            Volume wanted; met to the voxel, unless that leaves loose pieces, which are dropped.
        hand
            Deviation of this outline from the tumor.

        Returns
        -------
        numpy.ndarray
            (z, y, x), 1 in the tumor; one piece, and away from the faces of the volume.
        """
        window = self._window(grid, volume_cm3)
        part = grid.crop(window)
        z, y, x = (np.arange(n) for n in part.shape_zyx)
        to_sphere = self.axes @ part.affine[:3, :3]
        start = self.axes @ (part.affine[:3, 3] - self.center_mm)
        points = (
            start
            + z[:, None, None, None] * to_sphere[:, 2]
            + y[:, None, None] * to_sphere[:, 1]
            + x[:, None] * to_sphere[:, 0]
        ).astype(np.float32)
        distance = np.sqrt((points * points).sum(axis=-1)) + np.float32(1e-3)
        wanted = max(1, round(volume_cm3 * 1000 / float(np.prod(grid.spacing_zyx_mm))))
        # lumps cost most: they are looked up only where the tumor can be, 1.8 radii around its center
        near = distance <= _smallest(distance, 6 * wanted)
        distance = distance[near]
        direction = points[near] / distance[:, None]
        score = distance / np.clip(1 + self.lumps.at(direction) + hand.at(direction), 0.3, 2)
        inside = np.zeros(near.shape, dtype=bool)
        inside[near] = score <= _smallest(score, wanted)
        mask = np.zeros(grid.shape_zyx, dtype=np.uint8)
        mask[window] = _largest_piece(inside)
        return mask

    def _window(self, grid: Grid, volume_cm3: float) -> tuple[slice, slice, slice]:
        """Voxels the tumor can reach, without the outermost ones of the volume."""
        reach_mm = 2.3 * (3000 * volume_cm3 / (4 * np.pi)) ** (1 / 3) + 4
        middle = np.linalg.solve(grid.affine, [*self.center_mm, 1])[2::-1]
        steps = reach_mm / grid.spacing_zyx_mm
        last = np.array(grid.shape_zyx) - 1
        low = np.clip(np.floor(middle - steps), 1, last - 1).astype(int)
        high = np.clip(np.ceil(middle + steps), low + 1, last).astype(int)
        z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        return z, y, x


def _smallest(values: NDArray[np.float32], count: int) -> np.float32:
    """Return the largest of the ``count`` smallest values, or of all where there are fewer."""
    last = min(count, values.size) - 1
    smallest: np.float32 = np.partition(values, last, axis=None)[last]
    return smallest


def _largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    pieces, count = label(mask)
    if count == 1:
        return mask
    largest: NDArray[np.bool_] = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    return largest


@dataclass(frozen=True, slots=True)
class Measures:
    """Size of a tumor, as the published table gives it: in cm, cm² and cm³."""

    volume_cm3: float
    surface_cm2: float
    diameter_cm: float
    regularity: float


def bounding_box(mask: NDArray[np.uint8]) -> tuple[slice, slice, slice]:
    """Z, y and x of the smallest box around a mask that is not empty."""
    flat = mask.view(bool)
    spans = [np.flatnonzero(flat.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    z, y, x = (slice(int(span[0]), int(span[-1]) + 1) for span in spans)
    return z, y, x


def measure(mask: NDArray[np.uint8], spacing_zyx_mm: NDArray[np.float64]) -> Measures:
    """Measure a tumor (z, y, x) on scikit-image's marching cubes mesh; independent of npczarr's own kernels.

    Volume is that enclosed by the mesh, by the divergence theorem; regularity V / (4/3 π R³) with R = sqrt(S / 4π).
    """
    crop = np.pad(mask[bounding_box(mask)], 1)
    vertices, faces, _, _ = marching_cubes(crop, 0.5, spacing=tuple(spacing_zyx_mm / 10), method="lorensen")
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    volume = abs(float(np.einsum("ij,ij->", a, np.cross(b, c)))) / 6
    area = float(mesh_surface_area(vertices, faces))
    diameter = float(pdist(vertices[ConvexHull(vertices).vertices]).max())
    return Measures(volume, area, diameter, volume / (4 / 3 * np.pi * (area / (4 * np.pi)) ** 1.5))
