"""What a resampling asks for, and the grid that each scan then takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from npczarr.errors import ParameterError
from npczarr.model.geometry import AXES, Floats, Grid
from npczarr.model.per_axis import PerAxis, per_axis

Method = Literal["nearest", "linear", "cubic", "area"]
MaskMethod = Literal["linear", "nearest"]
METHODS: tuple[str, ...] = get_args(Method)
MASK_METHODS: tuple[str, ...] = get_args(MaskMethod)
Center = Literal["tumor", "volume"]
Normalization = Literal["zscore", "percentile"]
CENTERS: tuple[str, ...] = get_args(Center)
NORMALIZATIONS: tuple[str, ...] = get_args(Normalization)
_LENGTHS = ("spacing", "window", "bounds")  # in mm


@dataclass(frozen=True, slots=True)
class Resampling:
    """A request to resample a cohort; everything is checked when it is made.

    Parameters
    ----------
    spacing
        Voxel size along z, y, x in mm; None keeps an axis as it is.
    shape
        Voxels along z, y, x; None keeps an axis as it is, or gives it what the spacing needs.
    like
        Sequence on whose grid, in scanner coordinates, the patient's other sequences are laid.
    window
        Size along z, y, x in mm of a box to cut out, the same for all.
    center
        Middle of the box: that of the tumor's bounding box, or of the volume.
    bounds
        First and last position along z, y, x in mm, in the coordinates z_mm, y_mm, x_mm; None keeps an axis whole.
        Positions rise with the voxels: of slices that go to the feet, z is the negative of the patient's.
    method
        For images: nearest, linear, cubic (B-spline) or area.
    mask_method
        For masks: linear (tumor where 0.5 or more), or nearest.
    normalize
        ``"zscore"`` (mean 0, standard deviation 1 of the scan) or ``"percentile"`` (1st to 0, 99th to 1), or None.

    Raises
    ------
    ParameterError
        If something is not as described.
    """

    spacing: tuple[float | None, ...] | None = None
    shape: tuple[int | None, ...] | None = None
    like: str | None = None
    window: tuple[float, ...] | None = None
    center: Center = "tumor"
    bounds: tuple[tuple[float, float] | None, ...] | None = None
    method: Method = "linear"
    mask_method: MaskMethod = "linear"
    normalize: Normalization | None = None

    def __post_init__(self) -> None:
        _check_triple("spacing", self.spacing, "numbers of mm above 0", _is_length, optional=True)
        _check_triple("shape", self.shape, "whole numbers of voxels above 0", _is_count, optional=True)
        _check_triple("window", self.window, "numbers of mm above 0", _is_length)
        _check_triple("bounds", self.bounds, "pairs of rising positions in mm", _is_range, optional=True)
        for name, known in (("method", METHODS), ("mask_method", MASK_METHODS), ("center", CENTERS)):
            if getattr(self, name) not in known:
                raise ParameterError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.normalize not in (None, *NORMALIZATIONS):
            raise ParameterError(f"normalize must be one of {', '.join(NORMALIZATIONS)}, got {self.normalize!r}")
        if self.window is not None and self.bounds is not None:
            raise ParameterError("give either a window (a box around a middle) or bounds (positions), not both")

    @property
    def needs_tumor(self) -> bool:
        """Whether a scan's grid depends on its mask."""
        return self.window is not None and self.center == "tumor"

    @property
    def may_cut(self) -> bool:
        """Whether the new grid may leave out a part of the scan."""
        return self.like is not None or self.window is not None or self.bounds is not None

    def grid(self, own: Grid, reference: Grid | None = None, tumor_mm: Floats | None = None) -> Grid:
        """Return the grid that a scan takes.

        Parameters
        ----------
        own
            Grid of the scan.
        reference
            Grid of the patient's sequence `like`.
        tumor_mm
            (3,) middle of the tumor's bounding box, LPS; the volume's middle where there is none.

        Raises
        ------
        ParameterError
            If nothing of the volume lies within the bounds.
        """
        base = own if reference is None else reference
        if self.spacing or self.shape:
            base = base.regrid(spacing=self.spacing or (), shape=self.shape or ())
        if self.window is not None:
            middle = base.center_mm() if tumor_mm is None else tumor_mm
            return base.around(middle, self.window)
        return base if self.bounds is None else _within(base, self.bounds)

    def described(self) -> dict[str, Any]:
        """Return what was asked for, as valid JSON; what was not is left out."""
        chosen = {key: value for key, value in asdict(self).items() if value is not None}
        if self.window is None:
            del chosen["center"]
        return {key: _as_json(value, float if key in _LENGTHS else None) for key, value in chosen.items()}


def _as_json(value: Any, kind: Callable[[Any], Any] | None) -> Any:  # noqa: ANN401 - any value of JSON
    """Turn tuples into lists; lengths into floats, so that 1 and 1.0 describe the same cohort."""
    if isinstance(value, tuple):
        return [_as_json(part, kind) for part in value]
    return value if kind is None or value is None else kind(value)


def make_resampling(
    *,
    spacing: PerAxis[float] | None = None,
    shape: PerAxis[int] | None = None,
    like: str | None = None,
    window: PerAxis[float] | None = None,
    center: Center = "tumor",
    bounds: PerAxis[tuple[float, float]] | None = None,
    method: Method = "linear",
    mask_method: MaskMethod = "linear",
    normalize: Normalization | None = None,
) -> Resampling:
    """Make a request from arguments as people write them: see :func:`npczarr.model.per_axis.per_axis`.

    Raises
    ------
    ParameterError
        If something is not as :class:`Resampling` describes it.
    """
    pairs = per_axis("bounds", bounds)
    if pairs is not None:
        pairs = tuple(tuple(pair) if isinstance(pair, list | tuple) else pair for pair in pairs)
    return Resampling(
        spacing=per_axis("spacing", spacing),
        shape=per_axis("shape", shape),
        like=like,
        window=per_axis("window", window, whole=True),
        center=center,
        bounds=pairs,
        method=method,
        mask_method=mask_method,
        normalize=normalize,
    )


def _within(grid: Grid, bounds: Sequence[tuple[float, float] | None]) -> Grid:
    window = []
    for axis, positions, pair in zip(AXES, grid.axis_positions_mm(), bounds, strict=True):
        low, high = (-math.inf, math.inf) if pair is None else pair
        inside = np.flatnonzero((positions >= low - 1e-6) & (positions <= high + 1e-6))
        if not len(inside):
            raise ParameterError(
                f"bounds along {axis}, {low} to {high} mm, hold nothing of a volume from {positions[0]:.1f} to "
                f"{positions[-1]:.1f} mm"
            )
        window.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return grid.crop(window)


def _check_triple(name: str, value: Any, expected: str, valid: Any, *, optional: bool = False) -> None:  # noqa: ANN401
    if value is None:
        return
    right = isinstance(value, tuple) and len(value) == 3
    if not right or not all((optional and part is None) or valid(part) for part in value):
        raise ParameterError(f"{name} must be three {expected}, for z, y and x, got {value!r}")


def _is_length(part: Any) -> bool:  # noqa: ANN401
    number = isinstance(part, int | float | np.number) and not isinstance(part, bool)
    return number and bool(np.isfinite(part) and part > 0)


def _is_count(part: Any) -> bool:  # noqa: ANN401
    return isinstance(part, int | np.integer) and not isinstance(part, bool) and bool(part > 0)


def _is_range(part: Any) -> bool:  # noqa: ANN401
    pair = isinstance(part, tuple) and len(part) == 2 and all(isinstance(end, int | float | np.number) for end in part)
    return pair and bool(np.isfinite(part).all() and part[0] <= part[1])
