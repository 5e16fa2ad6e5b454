"""A model's masks for the page, one scan at a time."""

from __future__ import annotations

import gzip
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class PredictedMasks(Protocol):
    """Predicted masks of the scans of a store.

    Parameters
    ----------
    name
        What they are called in the page.
    places
        Index of patient and sequence of every scan that has one.
    """

    name: str
    places: tuple[tuple[int, int], ...]

    def mask(self, place: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the numbers of labels of a scan, (z, y, x) on its grid.

        Raises
        ------
        NpczarrError
            If it cannot be read.
        """
        ...

    def message(self, place: tuple[int, int]) -> str:
        """Say what must be known of a mask, as a score says it: another grid, values without a label; "" for nothing.

        Raises
        ------
        NpczarrError
            If it cannot be read.
        """
        ...


def describe(masks: PredictedMasks | None) -> dict[str, Any] | None:
    """Return what the page must know of predictions before it reads one; valid JSON."""
    return None if masks is None else {"name": masks.name, "scans": [list(place) for place in masks.places]}


def packed(masks: PredictedMasks, place: tuple[int, int]) -> bytes | None:
    """Return one mask in C order and after it, as UTF-8, its message; compressed by gzip. None where there is none."""
    if place not in masks.places:
        return None
    message = masks.message(place).encode(errors="replace")
    return gzip.compress(masks.mask(place).tobytes() + message, 1, mtime=0)
