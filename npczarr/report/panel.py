"""Scans of a patient, read and placed for drawing, and the choice of the slice of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.model.geometry import AXES, Floats
from npczarr.model.schema import STORED
from npczarr.model.slice_view import SliceView

LARGEST = "largest tumor"
SliceChoice = int | float | Literal["largest tumor"] | None


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One scan, read for drawing.

    Parameters
    ----------
    sequence, scan, view
        Label, voxels, and geometry of its slices as drawn.
    masks
        (rater, z, y, x); no rater where the scan has no mask.
    raters
        A label for each mask; "" where there is only one.
    has_image
        Whether there is an image behind the masks.
    """

    sequence: str
    scan: xr.Dataset
    view: SliceView
    masks: NDArray[Any]
    raters: tuple[str, ...]
    has_image: bool

    @property
    def z_mm(self) -> Floats:
        """(z,) positions of the slices."""
        return self.view.positions_zyx_mm[0]

    def areas_mm2(self) -> Floats:
        """(z,) area of the tumor in each slice, by any rater."""
        if not len(self.masks):
            return np.zeros(len(self.z_mm))
        pixels = np.count_nonzero(self.masks.any(axis=0), axis=(1, 2))
        return np.asarray(pixels * np.prod(self.view.spacing_zyx_mm[1:]), dtype=np.float64)

    def largest_slice(self) -> int:
        """Index of the slice with most tumor; the middle one where there is none."""
        areas = self.areas_mm2()
        return int(areas.argmax()) if areas.any() else len(areas) // 2


def panel_of(sequence: str, scan: xr.Dataset) -> Panel:
    """Read a scan as ``ds.npc.scan`` gives it."""
    has_mask = "mask" in scan and ("mask_status" not in scan or str(scan["mask_status"].values) in STORED)
    view = SliceView(scan["affine"].values, tuple(scan[axis].values for axis in AXES), scan["spacing"].values)
    masks = np.zeros((0, *(len(scan[axis]) for axis in AXES)), dtype=np.uint8)
    raters: tuple[str, ...] = ()
    if has_mask:
        masks = scan["mask"].transpose(..., *AXES).values.reshape(-1, *masks.shape[1:])
        raters = tuple(str(label) for label in scan["rater"].values) if "rater" in scan["mask"].dims else ("",)
    has_image = "image" in scan and ("image_digest" not in scan or bool(str(scan["image_digest"].values)))
    return Panel(sequence, scan, view, masks, raters, has_image)


def choose_slices(panels: list[Panel], choice: Any) -> list[int | None]:  # noqa: ANN401 - any argument of a user
    """Index of the slice of each panel; None for a panel that does not reach that level."""
    if choice is None or choice == LARGEST:
        at = largest_tumor(panels)
        return _same_place(panels, at, panels[at].largest_slice())
    if isinstance(choice, int | np.integer) and not isinstance(choice, bool):
        return _levels_at_number(panels, int(choice))
    if isinstance(choice, float | np.floating) and np.isfinite(choice):
        return _levels_at_position(panels, float(choice))
    raise ParameterError(f"slice: expected a number of the slice, a position in mm or {LARGEST!r}, got {choice!r}")


def _levels_at_number(panels: list[Panel], number: int) -> list[int | None]:
    depth = len(panels[0].z_mm)
    if not 0 <= number < depth:
        raise ParameterError(
            f"slice: expected 0 to {depth - 1} for {panels[0].sequence}, or a position in mm as a float, got {number}"
        )
    return _same_place(panels, 0, number)


def _levels_at_position(panels: list[Panel], z_mm: float) -> list[int | None]:
    levels = [panel.view.slice_at(z_mm) for panel in panels]
    if all(level is None for level in levels):
        ends = "; ".join(f"{p.sequence} {p.z_mm.min():.1f} to {p.z_mm.max():.1f} mm" for p in panels)
        raise ParameterError(f"slice: no scan has a slice at z = {z_mm:g} mm; there are {ends}")
    return levels


def largest_tumor(panels: list[Panel]) -> int:
    """Panel with the largest tumor in a slice."""
    return int(np.argmax([panel.areas_mm2().max(initial=0) for panel in panels]))


def _same_place(panels: list[Panel], at: int, index: int) -> list[int | None]:
    reference = panels[at]
    tumor = np.any(reference.masks[:, index] > 0, axis=0)
    point = reference.view.point_mm(index, tumor)
    levels: list[int | None] = []
    for i, panel in enumerate(panels):
        if i == at:
            levels.append(index)
        elif _other_frame(reference.scan, panel.scan):
            levels.append(panel.largest_slice())
        else:
            levels.append(panel.view.slice_through(point))
    return levels


def _other_frame(a: xr.Dataset, b: xr.Dataset) -> bool:
    """Whether two scans name different frames of reference."""
    one, other = (str(scan["frame_digest"].values) if "frame_digest" in scan else "" for scan in (a, b))
    return bool(one and other and one != other)
