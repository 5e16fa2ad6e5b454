"""What `patches` may be asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import psutil

from npczarr.errors import ParameterError, check_lists
from npczarr.model.geometry import Shape
from npczarr.model.per_axis import PerAxis, per_axis

_LEAST = {"start": 0, "rank": 0, "seed": 0, "cache_mb": 0, "epoch": 0}
_OPTIONAL = ("steps", "threads", "cache_mb")


def checked_size(size: PerAxis[int]) -> Shape:
    """Return voxels along z, y, x."""
    found = per_axis("size", size, whole=True)
    if found is None or len(found) != 3 or not all(isinstance(n, int | np.integer) and n > 0 for n in found):
        raise ParameterError(f"size: expected a number of voxels, or three along z, y, x, got {size!r}")
    z, y, x = (int(n) for n in found)
    return z, y, x


def check_numbers(**numbers: int | None) -> None:
    """Refuse what is no whole number, or too small a one; None stands for a default where there is one."""
    for name, value in numbers.items():
        least = _LEAST.get(name, 1)
        if value is None and name in _OPTIONAL:
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ParameterError(f"{name}: expected a whole number of at least {least}, got {value!r}")
    rank, world = numbers.get("rank"), numbers.get("world")
    if rank is not None and world is not None and rank >= world:
        raise ParameterError(f"rank must be smaller than world, {world}, got {rank}")


def check_sampling(foreground: float, normalize: str | None, masks: bool) -> None:
    """Refuse a share that is none, a normalization that is not known, and another answer than yes or no."""
    if not isinstance(masks, bool | np.bool):
        raise ParameterError(f"masks must be True or False, got {masks!r}")
    if isinstance(foreground, bool) or not isinstance(foreground, int | float | np.number) or not 0 <= foreground <= 1:
        raise ParameterError(f"foreground must be a share between 0 and 1, got {foreground!r}")
    if normalize not in (None, "zscore", "percentile"):
        raise ParameterError(f"normalize must be 'zscore', 'percentile' or None, got {normalize!r}")


def check_memory(nbytes: int) -> None:
    """Refuse batches that the machine cannot hold."""
    if nbytes > (total := psutil.virtual_memory().total):
        raise ParameterError(
            f"size: a batch would take {nbytes / 1e9:.3g} GB, and this machine has {total / 1e9:.3g} GB; ask for "
            "smaller patches"
        )


def checked_labels(name: str, labels: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """Return the labels that were asked for, by default all; whether they are known is not looked at."""
    if labels is None:
        return tuple(known)
    check_lists(**{name: labels})
    if not labels or not all(isinstance(label, str) for label in labels):
        raise ParameterError(f"{name}: expected one or more labels, such as {known[0]!r}, got {labels!r}")
    if len(set(labels)) < len(labels):
        raise ParameterError(f"{name}: expected each label once, got {labels!r}")
    return tuple(labels)
