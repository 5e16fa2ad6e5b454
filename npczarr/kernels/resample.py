"""A volume or a mask from one voxel grid to another, by the rules of ITK.

Voxel centers are compared in patient space; a voxel of the target lies inside the source up to half a source voxel
beyond its outer centers. Where both grids have the same axes, one axis is interpolated at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.kernels import oblique, separable
from npczarr.kernels.masks import as_mask, bounding_box
from npczarr.kernels.unknown import extended, has_unknown
from npczarr.kernels.weights import SLACK, axis_weights
from npczarr.model.geometry import Grid, index_map
from npczarr.model.resampling import MASK_METHODS, METHODS, MaskMethod, Method


def resample(volume: NDArray[Any], source: Grid, target: Grid, *, method: Method = "linear") -> NDArray[np.float32]:
    """Resample a volume.

    Parameters
    ----------
    volume
        (z, y, x) values on ``source``: integers or floats; NaN where a value is not known.
    source, target
        The grid of the values, and the grid wanted.
    method
        ``"nearest"`` (half-way between two voxels, the higher index), ``"linear"``, ``"cubic"`` (interpolating cubic
        B-spline, mirrored at the outer voxel centers as ITK does) or ``"area"`` (average over the target voxel along
        each axis on which it is larger, against aliasing; else linear).

    Returns
    -------
    numpy.ndarray
        (z, y, x) values on ``target``, float32; NaN outside ``source`` and where a voxel that counts is not known. Of a
        cubic spline those of linear interpolation count, and it is mirrored at the outer known voxels too.

    Raises
    ------
    ParameterError
        If the method is not known, the volume is not on ``source``, or averaging is asked for between rotated grids.

    References
    ----------
    Unser, Splines: a perfect fit for signal and image processing, IEEE Signal Processing Magazine 1999.
    """
    if method not in METHODS:
        raise ParameterError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if volume.shape != source.shape_zyx:
        raise ParameterError(f"a volume of shape {volume.shape} does not lie on a grid of {source.shape_zyx}")
    if method == "cubic" and has_unknown(volume):
        return _cubic_of_known(volume, source, target)
    return _interpolated(volume, source, target, method)


def resample_mask(
    mask: NDArray[Any], source: Grid, target: Grid, *, method: MaskMethod = "linear"
) -> NDArray[np.uint8]:
    """Resample a mask: interpolate 0 and 1, tumor where the result is 0.5 or more; or take the nearest voxel.

    Parameters
    ----------
    mask
        (z, y, x) on ``source``, booleans or integers; above 0 is tumor.
    source, target
        As for :func:`resample`.
    method
        ``"linear"`` or ``"nearest"``.

    Returns
    -------
    numpy.ndarray
        (z, y, x) uint8 on ``target``, 0 and 1; 0 outside ``source``.

    Raises
    ------
    ParameterError
        If an argument is not as described.
    """
    if method not in MASK_METHODS:
        raise ParameterError(f"a mask's method must be one of {', '.join(MASK_METHODS)}, got {method!r}")
    voxels = as_mask(mask)
    if voxels.shape != source.shape_zyx:
        raise ParameterError(f"a mask of shape {voxels.shape} does not lie on a grid of {source.shape_zyx}")
    result = np.zeros(target.shape_zyx, np.uint8)
    box = bounding_box(voxels)
    window = _reach(box, source, target)
    if window is None:
        return result
    near = [slice(max(s.start - 2, 0), min(s.stop + 2, n)) for s, n in zip(box, source.shape_zyx, strict=True)]
    inside = np.minimum(voxels[tuple(near)], 1)
    values = resample(inside, source.crop(near), target.crop(window), method=method)
    result[window] = values >= 0.5 - SLACK  # NaN, outside the source, is not
    return result


def resample_labels(
    mask: NDArray[Any], source: Grid, target: Grid, *, method: MaskMethod = "linear"
) -> NDArray[np.uint8]:
    """Resample a mask of labels: each label as :func:`resample_mask` does; of two at one voxel, the lower number.

    Parameters
    ----------
    mask
        (z, y, x) numbers of labels on ``source``; 0 is background.
    source, target, method
        As for :func:`resample_mask`.

    Returns
    -------
    numpy.ndarray
        (z, y, x) uint8 on ``target``, numbers of labels; 0 outside ``source``.
    """
    voxels = as_mask(mask)
    result = resample_mask(voxels, source, target, method=method)
    if voxels.max(initial=0) <= 1:
        return result
    result[:] = 0
    for number in np.unique(voxels[voxels > 0])[::-1]:
        one = resample_mask((voxels == number).view(np.uint8), source, target, method=method)
        result[one.view(np.bool_)] = number
    return result


def _cubic_of_known(volume: NDArray[Any], source: Grid, target: Grid) -> NDArray[np.float32]:
    """Lay a spline through the known voxels; NaN where linear interpolation gives it."""
    values = _interpolated(volume, source, target, "linear")
    box = bounding_box(np.isfinite(volume).view(np.uint8))
    if box[0].stop:
        spline = _interpolated(extended(volume[box]), source.crop(box), target, "cubic")
        np.copyto(values, spline, where=np.isfinite(values))
    return values


def _interpolated(volume: NDArray[Any], source: Grid, target: Grid, method: Method) -> NDArray[np.float32]:
    """Interpolate a volume of which, for a cubic spline, every voxel must be known."""
    volume, matrix = _facing(volume, index_map(target, source))
    if _same_axes(matrix, target):
        z, y, x = (
            axis_weights(matrix[i, i] * np.arange(m) + matrix[i, 3], n, method)
            for i, m, n in zip((2, 1, 0), target.shape_zyx, volume.shape, strict=True)
        )
        return separable.interpolate(volume, (z, y, x))
    if method == "area":
        raise ParameterError("averaging needs source and target to have the same axes; use linear or cubic")
    return oblique.interpolate(volume, matrix, target.shape_zyx, method)


def _facing(volume: NDArray[Any], matrix: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Turn the volume's axes to those of the target that they run along most, and the matrix with them."""
    rows = np.abs(matrix[:3, :3]).argmax(axis=0)
    if sorted(rows) != [0, 1, 2]:
        return volume, matrix
    return volume.transpose([2 - row for row in rows[::-1]]), np.vstack([matrix[rows], matrix[3:]])


def _same_axes(matrix: NDArray[np.float64], target: Grid) -> bool:
    """Whether no voxel of the target is moved along an axis by its place along another."""
    last = np.array(target.shape_zyx[::-1]) - 1.0
    linear = matrix[:3, :3]
    aside = np.abs(linear - np.diag(np.diag(linear))) @ last
    return bool((aside < SLACK).all() and (np.diag(linear) != 0).all())


def _reach(box: tuple[slice, slice, slice], source: Grid, target: Grid) -> tuple[slice, ...] | None:
    """Return the window of the target that tumor within a box of the source can reach; None where it is outside."""
    if box[0].stop == 0:
        return None
    low = np.array([s.start - 1.5 for s in box])[::-1]
    high = np.array([s.stop + 0.5 for s in box])[::-1]
    corners = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), axis=-1).reshape(-1, 3)
    matrix = index_map(source, target)
    index = corners @ matrix[:3, :3].T + matrix[:3, 3]
    first = np.floor(index.min(axis=0)).astype(int).clip(0)[::-1]
    stop = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, target.shape_zyx[::-1])[::-1]
    if (stop <= first).any():
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(first, stop, strict=True))
