"""Axial head and neck images and tumours, simple and quick: ellipses of tissue, a bias field, Rician noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# tissue: centre (y, x), half axes (y, x) in mm, rotation-free; later ones cover earlier ones
_TISSUES = (
    ("fat", (0, 0), (98, 78)),
    ("muscle", (0, 0), (92, 72)),
    ("bone", (28, 0), (56, 58)),
    ("brain", (30, 0), (50, 52)),
    ("air", (-62, -20), (20, 13)),
    ("air", (-62, 20), (20, 13)),
    ("muscle", (-60, 0), (30, 6)),
    ("mucosa", (-22, 0), (16, 30)),
    ("air", (-26, 0), (9, 13)),
    ("bone", (4, 0), (12, 22)),
    ("fluid", (34, 0), (9, 11)),
    ("brain", (34, 0), (6, 8)),
    ("fat", (-10, -46), (16, 9)),
    ("fat", (-10, 46), (16, 9)),
    ("vessel", (2, -40), (4, 4)),
    ("vessel", (2, 40), (4, 4)),
)
# brightness of 12 bits by sequence
_NAMES = ("none", "fat", "muscle", "bone", "brain", "air", "mucosa", "fluid", "vessel", "tumour")
_BRIGHTNESS = {
    "T1WI": (0, 1500, 620, 260, 800, 12, 700, 330, 120, 560),
    "T2WI": (0, 1250, 380, 220, 760, 12, 1100, 1900, 90, 1050),
    "CE-T1WI": (0, 1450, 680, 270, 830, 12, 1250, 340, 1500, 1350),
}
_NOISE = 28.0
TUMOUR_CENTRE_YX_MM = (-12.0, 4.0)


@dataclass(frozen=True, slots=True, eq=False)
class NoisePool:
    """Gaussian noise to cut slices from, each at its own place: drawing it anew would take most of the time."""

    values: Floats

    @classmethod
    def draw(cls, seed: int, pixels: int) -> NoisePool:
        """Draw a pool for slices of this many pixels."""
        rng = np.random.default_rng([seed, 1])
        return cls(rng.standard_normal(4 * pixels + 99_991, dtype=np.float32) * np.float32(_NOISE))

    def cut(self, rng: np.random.Generator, pixels: int) -> Floats:
        """Cut one slice's noise."""
        start = int(rng.integers(0, len(self.values) - pixels))
        return self.values[start : start + pixels]


def draw_slice(
    sequence: str,
    matrix: int,
    spacing_mm: float,
    z_mm: float,
    outline: NDArray[np.uint8],
    pool: NoisePool,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """(matrix, matrix) 12-bit image of one slice, ``z_mm`` above the tumour's centre, with its tumour."""
    shrink = 2 if matrix % 2 == 0 and matrix > 128 else 1
    n = matrix // shrink
    position = ((np.arange(n, dtype=np.float32) + 0.5) * shrink - matrix / 2) * spacing_mm
    height = np.float32(np.sqrt(max(0.25, 1 - (z_mm / 140) ** 2)))
    tissue = np.zeros((n, n), dtype=np.uint8)
    for name, (cy, cx), (ay, ax) in _TISSUES:
        inside = ((position[:, None] - cy) / (ay * height)) ** 2 + ((position - cx) / (ax * height)) ** 2 <= 1
        tissue[inside] = _NAMES.index(name)
    brightness = np.array(_BRIGHTNESS[sequence], dtype=np.float32)
    bias = 1 + 0.15 * np.cos(position / 90 + 0.3)
    signal = brightness[tissue] * (bias[:, None] * bias).astype(np.float32)
    if shrink > 1:
        signal = signal.repeat(2, axis=0).repeat(2, axis=1)
    signal[outline > 0] = brightness[-1]
    real = signal + pool.cut(rng, signal.size).reshape(signal.shape)
    imaginary = pool.cut(rng, signal.size).reshape(signal.shape)
    magnitude = np.sqrt(real * real + imaginary * imaginary)  # Rician: what a magnitude image has
    image: NDArray[np.uint16] = np.minimum(magnitude, 4095).astype(np.uint16)
    return image


def draw_tumour(
    shape_zyx: tuple[int, int, int],
    spacing_zyx_mm: tuple[float, float, float],
    volume_cm3: float,
    seed: tuple[int, ...],
    *,
    roughness: float = 0.28,
) -> NDArray[np.uint8]:
    """(z, y, x) mask of a lumpy tumour of this volume, in whole voxels, away from the faces of the volume.

    The tumour is star-shaped around its centre, so it is one piece: its voxels are the nearest to the centre by a
    distance that lumps stretch and shrink by direction.
    """
    rng = np.random.default_rng(seed)
    wave, phase, weight = rng.integers(1, 5, (8, 3)), rng.uniform(0, 2 * np.pi, 8), rng.uniform(0.3, 1, 8)
    wanted = max(1, round(volume_cm3 * 1000 / float(np.prod(spacing_zyx_mm))))
    reach_mm = 2.2 * (3 * volume_cm3 * 1000 / (4 * np.pi)) ** (1 / 3) + 6
    centre = (
        (shape_zyx[0] - 1) / 2 * spacing_zyx_mm[0],
        *((n - 1) / 2 * s + c for n, s, c in zip(shape_zyx[1:], spacing_zyx_mm[1:], TUMOUR_CENTRE_YX_MM, strict=True)),
    )
    window, offsets = [], []
    for n, step, middle in zip(shape_zyx, spacing_zyx_mm, centre, strict=True):
        first, last = max(1, int((middle - reach_mm) / step)), min(n - 1, int((middle + reach_mm) / step) + 1)
        window.append(slice(first, last))
        offsets.append((np.arange(first, last) * step - middle).astype(np.float32))
    z, y, x = offsets[0][:, None, None], offsets[1][:, None], offsets[2]
    distance = np.sqrt((z * 1.1) ** 2 + (y * 1.15) ** 2 + (x * 0.85) ** 2) + np.float32(1e-3)
    lumps = sum(
        w * np.cos(k[0] * z * 2 / distance + k[1] * y * 2 / distance + k[2] * x * 2 / distance + p)
        for w, k, p in zip(weight, wave, phase, strict=True)
    )
    score = distance / (1 + roughness * np.clip(lumps / 2, -1.6, 1.6))
    wanted = min(wanted, score.size)
    limit = np.partition(score, wanted - 1, axis=None)[wanted - 1]
    mask = np.zeros(shape_zyx, dtype=np.uint8)
    mask[tuple(window)] = score <= limit
    return mask
