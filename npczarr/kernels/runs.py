"""The pieces of a mask, and what those of two masks share, by runs of voxels along x: background costs nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from npczarr.kernels.masks import Mask, Window, rows_with_any

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The 26-connected pieces of a mask, in the order in which their first voxels are stored.

    Attributes
    ----------
    voxels
        (n,) voxels of each.
    first_zyx
        (n, 3) first voxel of each, in the mask.
    starts, stops, owners
        (m,) runs along x, row by row: first voxel, voxel after the last, and the piece of each.
    rows
        (rows + 1,) place of the first run of each row of the window.
    """

    voxels: Places
    first_zyx: Places
    starts: Places
    stops: Places
    owners: Places
    rows: Places


def find_pieces(mask: Mask, window: Window) -> Pieces:
    """Find the pieces within a window of a mask (z, y, x); voxels that share a face, an edge or a corner are one."""
    inner = mask[window]
    starts, stops, rows = _find_runs(inner, rows_with_any(inner))
    owners, voxels, firsts = _join(starts, stops, rows, inner.shape[0], inner.shape[1])
    row = np.searchsorted(rows, firsts, side="right") - 1
    z, y = np.divmod(row, max(inner.shape[1], 1))
    offset = np.array([s.start for s in window])
    return Pieces(voxels, np.stack([z, y, starts[firsts]], axis=1) + offset, starts, stops, owners, rows)


def shared_voxels(a: Pieces, b: Pieces) -> tuple[Places, Places, Places]:
    """Pairs of pieces that share voxels, and how many; both of one window of masks of one shape.

    Returns
    -------
    tuple
        (n,) piece of a, piece of b, and voxels that they share; in the order of a, then of b.
    """
    keys, counts = _meet(a.starts, a.stops, a.owners, a.rows, b.starts, b.stops, b.owners, b.rows, len(b.voxels))
    pairs, places = np.unique(keys, return_inverse=True)
    shared = np.bincount(places, counts, minlength=len(pairs)).astype(np.int64)
    of_a, of_b = np.divmod(pairs, max(len(b.voxels), 1))
    return of_a, of_b, shared


@numba.njit(nogil=True, cache=True)
def _find_runs(mask: Mask, any_in_row: NDArray[np.bool_]) -> tuple[Places, Places, Places]:
    n_z, n_y, n_x = mask.shape
    rows = np.zeros(n_z * n_y + 1, np.int64)
    starts, stops = np.empty(1024, np.int64), np.empty(1024, np.int64)
    count = 0
    for z in range(n_z):
        for y in range(n_y):
            rows[z * n_y + y] = count
            if not any_in_row[z, y]:
                continue
            if count + n_x > len(starts):  # as many as a row may hold, and as many again
                more = np.empty(len(starts) + n_x, np.int64)
                starts, stops = np.concatenate((starts, more)), np.concatenate((stops, more))
            inside = False
            for x in range(n_x):
                if (mask[z, y, x] != 0) != inside:
                    if inside:
                        stops[count] = x
                        count += 1
                    else:
                        starts[count] = x
                    inside = not inside
            if inside:
                stops[count] = n_x
                count += 1
    rows[n_z * n_y] = count
    return starts[:count].copy(), stops[:count].copy(), rows


@numba.njit(nogil=True, cache=True)
def _join(starts: Places, stops: Places, rows: Places, n_z: int, n_y: int) -> tuple[Places, Places, Places]:
    """Join runs that touch: the piece of each, the voxels of each piece, and its first run."""
    parent = np.arange(len(starts))
    for z in range(n_z):
        for y in range(n_y):
            row = z * n_y + y
            if rows[row] == rows[row + 1]:
                continue
            for dz, dy in ((0, -1), (-1, -1), (-1, 0), (-1, 1)):
                if z + dz >= 0 and 0 <= y + dy < n_y:
                    _join_rows(parent, starts, stops, rows, row, row + dz * n_y + dy)
    owners, count = np.empty(len(starts), np.int64), 0
    voxels, firsts = np.zeros(len(starts), np.int64), np.zeros(len(starts), np.int64)
    for i in range(len(starts)):
        root = _root(parent, i)
        if root == i:  # roots are the smallest of their piece, so that each is met before the others of it
            owners[i] = count
            firsts[count] = i
            count += 1
        owners[i] = owners[root]
        voxels[owners[i]] += stops[i] - starts[i]
    return owners, voxels[:count].copy(), firsts[:count].copy()


@numba.njit(nogil=True, cache=True)
def _join_rows(parent: Places, starts: Places, stops: Places, rows: Places, row: int, other: int) -> None:
    i, j = rows[row], rows[other]
    while i < rows[row + 1] and j < rows[other + 1]:
        if starts[i] <= stops[j] and starts[j] <= stops[i]:  # a stop is not in its run: equal is corner to corner
            one, two = _root(parent, i), _root(parent, j)
            parent[max(one, two)] = min(one, two)
        if stops[i] < stops[j]:
            i += 1
        else:
            j += 1


@numba.njit(nogil=True, cache=True)
def _root(parent: Places, run: int) -> int:
    while parent[run] != run:
        parent[run] = parent[parent[run]]  # halve the path for the next visit
        run = parent[run]
    return run


@numba.njit(nogil=True, cache=True)
def _meet(
    starts_a: Places,
    stops_a: Places,
    owners_a: Places,
    rows_a: Places,
    starts_b: Places,
    stops_b: Places,
    owners_b: Places,
    rows_b: Places,
    count_b: int,
) -> tuple[Places, Places]:
    """Voxels that runs of one row share, by piece of a * pieces of b + piece of b; a pair may come several times."""
    keys, counts = np.empty(len(starts_a) + len(starts_b), np.int64), np.empty(len(starts_a) + len(starts_b), np.int64)
    found = 0
    for row in range(len(rows_a) - 1):
        i, j = rows_a[row], rows_b[row]
        while i < rows_a[row + 1] and j < rows_b[row + 1]:
            shared = min(stops_a[i], stops_b[j]) - max(starts_a[i], starts_b[j])
            if shared > 0:
                keys[found] = owners_a[i] * count_b + owners_b[j]
                counts[found] = shared
                found += 1
            if stops_a[i] < stops_b[j]:
                i += 1
            else:
                j += 1
    return keys[:found], counts[:found]
