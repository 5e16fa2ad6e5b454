"""One patient's sequences side by side, upright and in mm, with the outlines of the tumor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Stroke
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.model.geometry import AXES, Floats
from npczarr.model.schema import STORED
from npczarr.report.slice_view import SliceView
from npczarr.report.style import COLORS, OUTLINE, encoded, short, styled

LARGEST = "largest tumor"
SliceChoice = int | float | Literal["largest tumor"] | None
Extent = tuple[float, float, float, float]  # left, right, bottom, top
_PANEL_INCHES = 2.6
_BARS_MM = (50.0, 20.0, 10.0)  # lengths of the scale, the longest that leaves room is drawn


class PatientFigure(Figure):
    """A matplotlib Figure that notebooks show, and no window does."""

    def _repr_png_(self) -> bytes:
        return encoded(self, "png", dpi=110)


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """What is drawn of one sequence.

    Parameters
    ----------
    sequence, scan, view
        Label, voxels, and how its slices lie on the paper.
    masks
        (rater, z, y, x) of each rater, or of one; none where the scan has no mask.
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


@styled
def patient_figure(
    scans: Mapping[str, xr.Dataset],
    *,
    slice: SliceChoice = None,
    percentiles: tuple[float, float] = (1.0, 99.5),
    figure: Figure | None = None,
) -> Figure:
    """Draw one slice of each scan of a patient, all at one level.

    Parameters
    ----------
    scans
        By sequence, as ``ds.npc.scan`` gives them; at least one.
    slice
        A whole number is a slice of the first scan, counted from 0; a float is a position `z` in mm; by default the
        slice with the largest tumor in any scan. The other scans show their slice nearest to that place in the
        patient, or, where their frame of reference is another one, their own largest tumor.
    percentiles
        Percentiles of the slice that are shown as black and white.
    figure
        Figure to draw in, such as ``plt.figure()``; by default a new one.

    Raises
    ------
    ParameterError
        If no scan has such a slice, or an argument is not as described.
    """
    low, high = _checked(percentiles)
    panels = [panel_of(sequence, scan) for sequence, scan in scans.items()]
    levels = _levels(panels, slice)
    frame = _common_frame(panels)
    if figure is None:
        left, right, bottom, top = frame or panels[0].view.extent_mm
        size = (_PANEL_INCHES * len(panels), _PANEL_INCHES * min((bottom - top) / (right - left), 2.0) + 0.55)
        figure = PatientFigure(figsize=size, layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel, level in zip(all_axes, panels, levels, strict=True):
        if level is None:
            _blank(axes, panel, "does not reach this level")
        else:
            draw_panel(axes, panel, level, (low, high), frame)
    shown = next(i for i, level in enumerate(_reference_first(panels, levels)) if level is not None)
    figure.suptitle(_title(panels[shown], levels[shown]), x=0.01, ha="left", fontsize=9)
    raters = [rater for rater in dict.fromkeys(r for panel in panels for r in panel.raters) if rater]
    if raters:
        lines = [Line2D([], [], color=_color(raters, rater), label=short(rater)) for rater in raters]
        figure.legend(handles=lines, loc="outside lower left", ncols=len(lines), fontsize=7)
    return figure


def _checked(percentiles: Any) -> tuple[float, float]:  # noqa: ANN401 - whatever the user gave
    try:
        low, high = (float(value) for value in percentiles)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"percentiles: expected two numbers from 0 to 100, got {percentiles!r}") from error
    if not 0 <= low < high <= 100:
        raise ParameterError(f"percentiles: expected two rising numbers from 0 to 100, got {percentiles!r}")
    return low, high


def panel_of(sequence: str, scan: xr.Dataset) -> Panel:
    """Return what is drawn of a scan as ``ds.npc.scan`` gives it."""
    has_mask = "mask" in scan and ("mask_status" not in scan or str(scan["mask_status"].values) in STORED)
    view = SliceView(scan["affine"].values, tuple(scan[axis].values for axis in AXES), scan["spacing"].values)
    masks = np.zeros((0, *(len(scan[axis]) for axis in AXES)), dtype=np.uint8)
    raters: tuple[str, ...] = ()
    if has_mask:
        masks = scan["mask"].transpose(..., *AXES).values.reshape(-1, *masks.shape[1:])
        raters = tuple(str(label) for label in scan["rater"].values) if "rater" in scan["mask"].dims else ("",)
    has_image = "image" in scan and ("image_digest" not in scan or bool(str(scan["image_digest"].values)))
    return Panel(sequence, scan, view, masks, raters, has_image)


def _levels(panels: list[Panel], choice: Any) -> list[int | None]:  # noqa: ANN401 - whatever the user gave
    """Slice of each panel; None where it has none there."""
    if choice is None or choice == LARGEST:
        at = _reference(panels)
        areas = panels[at].areas_mm2()
        index = int(areas.argmax()) if areas.any() else len(areas) // 2
        return _same_place(panels, at, index)
    if isinstance(choice, int | np.integer) and not isinstance(choice, bool):
        depth = len(panels[0].z_mm)
        if not 0 <= choice < depth:
            raise ParameterError(
                f"slice: expected 0 to {depth - 1} for {panels[0].sequence}, or a position in mm as a float, "
                f"got {choice}"
            )
        return _same_place(panels, 0, int(choice))
    if isinstance(choice, float | np.floating) and np.isfinite(choice):
        levels = [panel.view.slice_at(float(choice)) for panel in panels]
        if all(level is None for level in levels):
            ends = "; ".join(f"{p.sequence} {p.z_mm.min():.1f} to {p.z_mm.max():.1f} mm" for p in panels)
            raise ParameterError(f"slice: no scan has a slice at z = {choice:g} mm; there are {ends}")
        return levels
    raise ParameterError(f"slice: expected a number of the slice, a position in mm or {LARGEST!r}, got {choice!r}")


def _reference(panels: list[Panel]) -> int:
    """Panel with the largest tumor in a slice."""
    return int(np.argmax([panel.areas_mm2().max(initial=0) for panel in panels]))


def _reference_first(panels: list[Panel], levels: list[int | None]) -> list[int | None]:
    """Hide every level but the reference's, if it has one: the title is about that."""
    at = _reference(panels)
    return levels if levels[at] is None else [level if i == at else None for i, level in enumerate(levels)]


def _same_place(panels: list[Panel], at: int, index: int) -> list[int | None]:
    reference = panels[at]
    tumor = np.any(reference.masks[:, index] > 0, axis=0)
    point = reference.view.point_mm(index, tumor)
    levels: list[int | None] = []
    for i, panel in enumerate(panels):
        if i == at:
            levels.append(index)
        elif _other_frame(reference.scan, panel.scan):
            areas = panel.areas_mm2()
            levels.append(int(areas.argmax()) if areas.any() else len(areas) // 2)
        else:
            levels.append(panel.view.slice_through(point))
    return levels


def _other_frame(a: xr.Dataset, b: xr.Dataset) -> bool:
    """Whether two scans name different frames of reference."""
    one, other = (str(scan["frame_digest"].values) if "frame_digest" in scan else "" for scan in (a, b))
    return bool(one and other and one != other)


def _title(panel: Panel, index: int | None) -> str:
    scan = panel.scan
    stages = [str(scan[name].values) for name in ("t_stage", "n_stage") if name in scan]
    parts = [f"Patient {short(str(scan['patient'].values), 40)}" if "patient" in scan.variables else ""]
    parts.append(" ".join(stage for stage in stages if stage and stage != "nan"))
    if index is not None:
        parts.append(f"slice {index} at z = {panel.z_mm[index]:.1f} mm")
    return ", ".join(part for part in parts if part)


def _common_frame(panels: list[Panel]) -> Extent | None:
    """Edges that hold every slice, so that all are shown at one scale; None for slices of several orientations."""
    if len({tuple(panel.view.letters.items()) for panel in panels}) > 1:
        return None
    lefts, rights, bottoms, tops = zip(*(panel.view.extent_mm for panel in panels), strict=True)
    return min(lefts), max(rights), max(bottoms), min(tops)


def draw_panel(axes: Axes, panel: Panel, index: int, percentiles: tuple[float, float], frame: Extent | None) -> None:
    """Draw one slice upright, outlined, with the patient's sides and a scale; frame: edges in mm, None for its own."""
    view = panel.view
    axes.set_facecolor("black")
    if panel.has_image:
        plane = view.upright(np.asarray(panel.scan["image"].isel(z=index).values, dtype=np.float64))
        known = plane[np.isfinite(plane)]
        black, white = np.percentile(known, percentiles) if known.size else (0.0, 1.0)
        axes.imshow(plane, cmap="gray", vmin=black, vmax=max(white, black + 1e-6), extent=view.extent_mm)
    else:
        axes.text(0.5, 0.1, "no image", transform=axes.transAxes, ha="center", color="white", fontsize=6)
    raters = list(panel.raters)
    for mask, rater in zip(panel.masks, raters, strict=True):
        _outline(axes, view, mask[index] > 0, _color(raters, rater))
    left, right, bottom, top = frame or view.extent_mm
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xticks=[], yticks=[])
    for where, letter in view.letters.items():
        x, y, horizontal, vertical = _EDGES[where]
        axes.text(
            x, y, letter, transform=axes.transAxes, ha=horizontal, va=vertical, color="white", fontsize=7,
            path_effects=[Stroke(linewidth=1.2, foreground="black"), Stroke(linewidth=0)],
        )  # fmt: skip
    _scale(axes, view, (left, right, bottom, top))
    name = short(panel.sequence)
    axes.set_title(f"{name}\nslice {index}, z = {panel.z_mm[index]:.1f} mm", fontsize=7, fontweight="normal", pad=3)


_EDGES = {
    "left": (0.02, 0.5, "left", "center"),
    "right": (0.98, 0.5, "right", "center"),
    "top": (0.5, 0.98, "center", "top"),
    "bottom": (0.5, 0.02, "center", "bottom"),
}


def _outline(axes: Axes, view: SliceView, mask: NDArray[np.bool_], color: str) -> None:
    """Draw the line half way between the voxels inside and outside; lines, so it stays sharp in SVG and PDF."""
    if not mask.any():
        return
    # padded: a tumor at the border is closed there
    padded = np.pad(view.upright(mask), 1)
    across, down = view.padded_centers_mm()
    lines = axes.contour(across, down, padded, levels=[0.5], colors=color, linewidths=0.9)
    lines.set_path_effects([Stroke(linewidth=1.7, foreground="black", alpha=0.6), Stroke(linewidth=0.9)])


def _scale(axes: Axes, view: SliceView, frame: Extent) -> None:
    left, right, bottom, top = frame
    if not view.is_in_mm:
        axes.text(0.04, 0.1, "voxel size not known", transform=axes.transAxes, color="white", fontsize=6)
        return
    lengths = [length for length in _BARS_MM if length < 0.35 * (right - left)]
    if not lengths:
        return
    start, level = left + 0.05 * (right - left), bottom + 0.05 * (top - bottom)
    axes.plot([start, start + lengths[0]], [level, level], color="white", linewidth=1.5, solid_capstyle="butt")
    above = level + 0.02 * (top - bottom)
    label = f"{lengths[0] / 10:g} cm"
    axes.text(start + lengths[0] / 2, above, label, color="white", ha="center", va="bottom", fontsize=6)


def _blank(axes: Axes, panel: Panel, why: str) -> None:
    axes.set_axis_off()
    axes.set_title(short(panel.sequence), fontsize=7, fontweight="normal", pad=3)
    axes.text(0.5, 0.5, why, ha="center", va="center", transform=axes.transAxes, fontsize=7)


def _color(raters: list[str], rater: str) -> str:
    return OUTLINE if rater == "" else _BRIGHT[raters.index(rater) % len(_BRIGHT)]


_BRIGHT = (OUTLINE, "#56B4E9", *(color for color in COLORS if color not in (OUTLINE, "#56B4E9", "#000000")))
