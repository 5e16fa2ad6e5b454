"""The whole numbers of a mask are labels: which voxels are tumor, and what a user must know of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import SourceError
from npczarr.model.label_set import Labels

_NAMED_LABELS = 5  # an image that was saved as a mask has thousands
_WHOLE = 0.1  # a value farther from every whole number is no rounding noise
_FEW = 0.01  # of the voxels that are not 0 may be such
_INVERTED = 0.5  # no tumor is larger than this part of its image


class NoDeclaredLabelError(SourceError):
    """No value of a mask is that of a declared label: what it outlines is not known."""


def merge_labels(values: NDArray[Any]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Merge every label above 0 to tumor: ``round(value) > 0``.

    Parameters
    ----------
    values
        Real numbers of any type and shape.

    Returns
    -------
    tuple
        0 and 1 in the shape of ``values``; and warnings: several labels with their voxels, negative values, values
        that are no whole numbers.

    Raises
    ------
    SourceError
        If a value is NaN or infinite.
    """
    if values.dtype.kind != "f":
        tumor = values > 0
        return tumor.astype(np.uint8), (*_several(values, tumor), *_negative(values, 0))
    if not np.isfinite(values).all():
        raise SourceError("the mask holds NaN or infinite values, expected 0 for background and 1 for tumor")
    tumor = values > 0.5  # the same as round(value) > 0, in one pass
    return tumor.astype(np.uint8), (*_several(values, tumor), *_negative(values, -0.5), *_fractions(values))


def map_labels(values: NDArray[Any], labels: Labels) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Turn the values of a mask into the numbers of declared labels; without any, see :func:`merge_labels`.

    Parameters
    ----------
    values
        Real numbers of any type and shape.
    labels
        What each value stands for; values that no label names are background beside some that are, with a warning.

    Returns
    -------
    tuple
        Numbers of labels in the shape of ``values``, 0 for background; and warnings.

    Raises
    ------
    NoDeclaredLabelError
        If voxels are not 0, and no label names the value of any.
    SourceError
        If a value is NaN or infinite, or too many are no whole numbers.
    """
    if not labels:
        return merge_labels(values)
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise SourceError("the mask holds NaN or infinite values, expected 0 for background and whole numbers")
        if _fractions(values):
            raise SourceError(
                "the values of the mask are no whole numbers (a probability map?), so they name no labels; save it "
                "with a whole number for each label"
            )
        values = np.rint(values)
    mask = np.zeros(values.shape, dtype=np.uint8)
    for label in labels:
        for value in label.values:
            mask[values == value] = label.number
    left = values[(values != 0) & (mask == 0)]
    if not left.size:
        return mask, ()
    unknown, counts = np.unique(left, return_counts=True)
    named = [
        f"{_number(value)} ({count_voxels(int(count))})"
        for value, count in zip(unknown[:_NAMED_LABELS], counts, strict=False)
    ]
    more = [f"{len(unknown) - _NAMED_LABELS} more"] if len(unknown) > _NAMED_LABELS else []
    found = ", ".join(named + more)
    if not mask.any():
        raise NoDeclaredLabelError(_say_undeclared(found, labels))
    return mask, (f"values that no declared label names are taken for background: {found}",)


def _say_undeclared(found: str, labels: Labels) -> str:
    expected = ", ".join(f"{label.name} = {' or '.join(map(str, label.values))}" for label in labels if label.values)
    return (
        f"no declared label names any value of the mask: found {found}, expected {expected or 'no values at all'}; "
        "save it with these values, or declare its own ([labels] in a TOML file, --config)"
    )


def describe_cover(mask: NDArray[np.uint8]) -> tuple[str, ...]:
    """Warn of a mask (z, y, x) whose tumor covers most of the volume, as an inverted mask does.

    Raises
    ------
    SourceError
        If every voxel is tumor.
    """
    covered = np.count_nonzero(mask)
    if covered == mask.size:
        raise SourceError("every voxel of the volume is tumor, expected a background of 0; outline the tumor alone")
    if covered > _INVERTED * mask.size:
        return (f"the tumor covers {covered / mask.size:.1%} of the volume: is the mask inverted?",)
    return ()


def fills_its_faces(mask: NDArray[np.uint8]) -> bool:
    """Whether every voxel on the six faces of a volume (z, y, x) is 1."""
    return all(bool(np.moveaxis(mask, axis, 0)[[0, -1]].all()) for axis in range(3))


def _several(values: NDArray[Any], tumor: NDArray[np.bool_]) -> list[str]:
    """Name the labels where there are several."""
    if not values.size or (values.dtype.kind in "ub" and values.max() <= 1):
        return []  # nearly every mask: the tumor need not be gathered
    chosen = _chosen(values, tumor)
    if not chosen.size or chosen.min() == chosen.max():
        return []
    labels, counts = np.unique(np.rint(chosen) if chosen.dtype.kind == "f" else chosen, return_counts=True)
    if len(labels) == 1:
        return []
    named = [
        f"{_number(label)} ({count_voxels(int(count))})"
        for label, count in zip(labels[:_NAMED_LABELS], counts, strict=False)
    ]
    if len(labels) > _NAMED_LABELS:
        rest = count_voxels(int(counts[_NAMED_LABELS:].sum()))
        named.append(f"{len(labels) - _NAMED_LABELS} more, up to {_number(labels[-1])} ({rest})")
    return [f"labels {', '.join(named[:-1])} and {named[-1]} merged to tumor"]


def _negative(values: NDArray[Any], below: float) -> list[str]:
    if values.dtype.kind not in "if" or not values.size or (least := values.min()) >= below:
        return []
    count = count_voxels(int(np.count_nonzero(values < below)))
    return [f"{count} below 0, down to {_number(least)}, taken for background"]


def _fractions(values: NDArray[Any]) -> list[str]:
    """Warn of a probability map; its near zeros are left out, as there they would outnumber everything else."""
    nonzero = _chosen(values, values > _WHOLE)
    if values.size and values.min() < -_WHOLE:
        nonzero = np.concatenate([nonzero, _chosen(values, values < -_WHOLE)])
    if not nonzero.size:
        return []
    share = float((np.abs(nonzero - np.rint(nonzero)) > _WHOLE).mean())
    if share <= _FEW:
        return []
    return [f"{share:.1%} of the values that are not 0 are no whole numbers (a probability map?): tumor is above 0.5"]


def _chosen(values: NDArray[Any], where: NDArray[np.bool_]) -> NDArray[Any]:
    """(n,) values at the voxels that are True; a tumor is few of them, so this is faster than an index by booleans."""
    return values.reshape(-1)[np.flatnonzero(where)]


def _number(value: Any) -> str:  # noqa: ANN401 - any NumPy number
    """Write a whole number in full where it is of a bearable length."""
    return (
        f"{int(np.rint(value)) if value.dtype.kind == 'f' else int(value)}"
        if abs(float(value)) < 1e15
        else f"{value:.3g}"
    )


def count_voxels(count: int) -> str:
    """Say how many voxels: ``1 voxel``, ``12 voxels``."""
    return f"{count} voxel" + "s" * (count != 1)
