"""Noise and texture, drawn once and cut anew for each slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Floats = NDArray[np.float32]

_NOISE = 26.0  # standard deviation in each channel, of 4095
_TEXTURE = 0.06  # of the signal
_POOL_SIDE = 1200


@dataclass(frozen=True, slots=True, eq=False)
class NoisePool:
    """Noise and texture to cut slices from, each at its own place: drawing them anew would take most of the time."""

    noise: Floats
    texture: Floats

    @classmethod
    def draw(cls, seed: int) -> NoisePool:
        """Draw a pool."""
        rng = np.random.default_rng([seed, 1])
        noise = rng.standard_normal(_POOL_SIDE**2, dtype=np.float32) * np.float32(_NOISE)
        smooth = gaussian_filter(rng.standard_normal((500, 500), dtype=np.float32), 1.5, mode="wrap")
        return cls(noise, 1 + np.float32(_TEXTURE) * (smooth / smooth.std()))

    def cut_texture(self, rng: np.random.Generator, side: int) -> Floats:
        """(side, side) texture of one slice."""
        y, x = rng.integers(0, len(self.texture) - side, 2)
        return self.texture[y : y + side, x : x + side]

    def starts(self, rng: np.random.Generator, slices: int, pixels: int) -> NDArray[np.intp]:
        """(slices, 2) where the noise of each slice's two channels begins; all differ, so no two slices share noise."""
        return rng.choice(self.noise.size - pixels, (slices, 2), replace=False)

    def magnitude(self, signal: Floats, starts: NDArray[np.intp]) -> NDArray[np.uint16]:
        """(rows, columns) 12-bit magnitude of a signal with noise in both channels: Rician, as a scanner's."""
        real, imaginary = (self.noise[start : start + signal.size].reshape(signal.shape) for start in starts)
        square = signal + real
        square *= square
        square += imaginary * imaginary
        np.sqrt(square, out=square)
        image: NDArray[np.uint16] = np.minimum(square, 4095, out=square).astype(np.uint16)
        return image
