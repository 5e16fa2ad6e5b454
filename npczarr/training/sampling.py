"""Which patch is drawn when: decided by a seed and a number alone, whoever asks, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from npczarr.model.geometry import Shape
from npczarr.store.voxels import Window


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample.

    Parameters
    ----------
    subject
        Number of the patient.
    number
        Number of the sample since the beginning, over all ranks.
    """

    subject: int
    number: int


def draws(seed: int, step: int, batch_size: int, subjects: int, *, rank: int = 0, world: int = 1) -> list[Draw]:
    """Return the samples of a batch.

    Batches come in turns that show every patient, in another order each time. What is left of the last batch of a turn
    is filled with patients of that turn once more, so that the next one begins anew.

    Parameters
    ----------
    seed
        Seed of the order.
    step
        Number of the batch, counted from the beginning.
    batch_size
        Its samples.
    subjects
        Number of patients.
    rank, world
        Which of the processes that train together it is of, and their number.
    """
    together = batch_size * world
    turn, batch = divmod(step, -(-subjects // together))
    orders: dict[int, NDArray[np.int64]] = {}
    found = []
    for i in range(rank * batch_size, (rank + 1) * batch_size):
        again, at = divmod(batch * together + i, subjects)
        if again not in orders:
            orders[again] = np.random.default_rng((seed, 0, turn, again)).permutation(subjects)
        found.append(Draw(int(orders[again][at]), step * together + i))
    return found


def place_patch(
    seed: int, number: int, shape_zyx: Shape, size_zyx: Shape, foreground: Sequence[NDArray[np.int32]], share: float
) -> tuple[int, int, int]:
    """Draw the first voxel of a patch; negative along an axis that is shorter than the patch, which lies about it.

    Parameters
    ----------
    seed, number
        Seed of the run, and number of the sample.
    shape_zyx, size_zyx
        Voxels of the scan and of the patch.
    foreground
        For each label (n, 3) z, y, x of some of its voxels.
    share
        Share of the patches that hold such a voxel, near their middle; every label is as likely as another.
    """
    random = np.random.default_rng((seed, 1, number))
    on_foreground, which = random.random(), random.integers(2**31, size=2)
    free = random.random(3)
    if foreground and on_foreground < share:
        points = foreground[int(which[0]) % len(foreground)]
        middle = points[int(which[1]) % len(points)]
        starts = [int(m) - n // 2 for m, n in zip(middle, size_zyx, strict=True)]
    else:
        starts = [int(f * max(1, n - size + 1)) for f, n, size in zip(free, shape_zyx, size_zyx, strict=True)]
    z, y, x = (
        min(max(start, 0), n - size) if n >= size else (n - size) // 2
        for start, n, size in zip(starts, shape_zyx, size_zyx, strict=True)
    )
    return z, y, x


def overlap(start: int, size: int, extent: int) -> tuple[slice, slice]:
    """Return what a patch takes of a scan along one axis, and where in the patch that belongs."""
    low, high = max(start, 0), min(start + size, extent)
    return slice(low, high), slice(low - start, high - start)


def windows(starts: Sequence[int], size_zyx: Shape, shape_zyx: Shape) -> tuple[Window, Window]:
    """Return the box of a scan that a patch takes, and its place in the patch."""
    pairs = [overlap(a, n, extent) for a, n, extent in zip(starts, size_zyx, shape_zyx, strict=True)]
    (sz, pz), (sy, py), (sx, px) = pairs
    return (sz, sy, sx), (pz, py, px)
