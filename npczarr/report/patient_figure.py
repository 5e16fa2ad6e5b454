"""One patient's sequences side by side, upright and in mm, with the outlines of the tumor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Stroke
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.model.slice_view import SliceView
from npczarr.report.panel import Panel, SliceChoice, choose_slices, panel_of
from npczarr.report.style import COLORS, OUTLINE, encoded, short, styled
from npczarr.store.dataset_voxels import known_voxels

Extent = tuple[float, float, float, float]  # left, right, bottom, top
_PANEL_INCHES = 2.6
_BARS_MM = (50.0, 20.0, 10.0)  # lengths of the scale, the longest that leaves room is drawn


class PatientFigure(Figure):
    """A matplotlib Figure that notebooks show, and no window does."""

    def _repr_png_(self) -> bytes:
        return encoded(self, "png", dpi=110)


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
        patient, or, where their frame of reference is another one, their own largest tumor. Above each slice stands its
        number counted from 1, as in the viewer: ``slice=5`` is shown as "slice 6 of 14".
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
    levels = choose_slices(panels, slice)
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
    figure.suptitle(_title(panels[0].scan), x=0.01, ha="left", fontsize=9)
    _rater_legend(figure, panels)
    return figure


def _rater_legend(figure: Figure, panels: list[Panel]) -> None:
    """Name the raters by the color of their outlines, where there are several."""
    raters = [rater for rater in dict.fromkeys(r for panel in panels for r in panel.raters) if rater]
    if raters:
        lines = [Line2D([], [], color=_color(raters, rater), label=short(rater)) for rater in raters]
        figure.legend(handles=lines, loc="outside lower left", ncols=len(lines), fontsize=7)


def _checked(percentiles: Any) -> tuple[float, float]:  # noqa: ANN401 - any argument of a user
    try:
        low, high = (float(value) for value in percentiles)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"percentiles: expected two numbers from 0 to 100, got {percentiles!r}") from error
    if not 0 <= low < high <= 100:
        raise ParameterError(f"percentiles: expected two rising numbers from 0 to 100, got {percentiles!r}")
    return low, high


def _title(scan: xr.Dataset) -> str:
    """Name the patient and the stage, which are every panel's; the slice is each panel's own."""
    stages = [str(scan[name].values) for name in ("t_stage", "n_stage") if name in scan]
    parts = [f"Patient {short(str(scan['patient'].values), 40)}" if "patient" in scan.variables else ""]
    parts.append(" ".join(stage for stage in stages if stage and stage != "nan"))
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
        plane = view.upright(np.asarray(known_voxels(panel.scan["image"].isel(z=index)).values, dtype=np.float64))
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
    # counted from 1, as the viewer and exported files count slices
    place = f"slice {index + 1} of {len(panel.z_mm)}, z = {panel.z_mm[index]:.1f} mm"
    axes.set_title(f"{short(panel.sequence)}\n{place}", fontsize=7, fontweight="normal", pad=3)


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
