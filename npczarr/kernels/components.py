"""How many separate pieces a mask holds."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from npczarr.kernels.masks import Mask


@numba.njit(nogil=True, cache=True)
def count_components(padded: Mask) -> int:  # noqa: C901 - one pass over the voxels
    """Return the number of 26-connected pieces (voxels that share a face, an edge or a corner are one piece).

    Parameters
    ----------
    padded
        (z, y, x), 0 and 1, with one voxel of background all around.
    """
    n_z, n_y, n_x = padded.shape
    labels = np.zeros(padded.shape, np.int32)
    parent = np.empty(padded.size // 2 + 2, np.int32)
    n_labels = pieces = 0
    for z in range(1, n_z - 1):
        for y in range(1, n_y - 1):
            for x in range(1, n_x - 1):
                if padded[z, y, x] == 0:
                    continue
                root = 0
                # a tumor voxel on the left has seen all but the new column; without one, look at the three columns
                if padded[z, y, x - 1]:
                    root, first = _root(parent, labels[z, y, x - 1]), x + 1
                else:
                    first = x - 1
                for column in range(first, x + 2):
                    for dz, dy in ((-1, -1), (-1, 0), (-1, 1), (0, -1)):
                        label = labels[z + dz, y + dy, column]
                        if label == 0:
                            continue
                        other = _root(parent, label)
                        if root == 0:
                            root = other
                        elif other != root:
                            parent[max(root, other)] = min(root, other)
                            root = min(root, other)
                            pieces -= 1
                if root == 0:
                    n_labels += 1
                    pieces += 1
                    root = n_labels
                    parent[root] = root
                labels[z, y, x] = root
    return pieces


@numba.njit(nogil=True, cache=True)
def _root(parent: NDArray[np.int32], label: int) -> int:
    while parent[label] != label:
        parent[label] = parent[parent[label]]  # halve the path for the next visit
        label = parent[label]
    return label
