"""Figure 1: the outlines of one patient, and the surface of the tumor."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D  # type: ignore[import-untyped]
from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]
from numpy.typing import NDArray
from skimage.filters import gaussian
from skimage.measure import marching_cubes
from skimage.transform import resize

from npczarr.errors import ParameterError, unknown_label
from npczarr.model.geometry import AXES, Grid
from npczarr.report.panel import Panel, panel_of
from npczarr.report.patient_figure import draw_panel
from npczarr.report.style import COLUMN_INCHES, blank, short, styled
from npczarr.report.table_text import first_visits, labels
from npczarr.store.axis_order import in_axis_order

_PERCENTILES = (1.0, 99.5)  # of the slice, shown as black and white
_ORANGE = np.array([230, 159, 0])  # the color of every outline
_SURFACE_MM = 1.0
_SURFACE_SMOOTHING_MM = 1.5


def median_patient(dataset: xr.Dataset) -> str:
    """Patient whose tumor (mean voxel volume of its sequences) is nearest to the cohort's median.

    Each subject counts once, at the first visit with an outline. Of these, one with the most sequences outlined is
    chosen; where no patient has a tumor outlined, it is the first with an image.

    Raises
    ------
    ParameterError
        If no patient has an image.
    """
    there = imaged(dataset)
    if not there.any():
        raise ParameterError("no patient has an image")
    voxel_mm3 = in_axis_order(dataset)["spacing"].prod("axis", skipna=False)
    cubic_mm = (dataset["mask_voxels"] * voxel_mm3).reset_coords(drop=True)
    outlined = cubic_mm.where(there & (cubic_mm > 0))
    count = outlined.notnull().sum("sequence")
    if not count.any():
        return str(dataset["patient"].values[there.any("sequence").values][0])
    counted = labels(first_visits(dataset.isel(patient=count.values > 0)), "patient")
    once = np.isin(labels(dataset, "patient"), counted)
    volume, sequences = outlined.mean("sequence").values[once], count.values[once]
    distance = np.where(sequences == sequences.max(), np.abs(volume - np.median(volume)), np.inf)
    return counted[int(np.argmin(distance))]


def read_panels(dataset: xr.Dataset, patient: str) -> list[Panel]:
    """Read every scan of a patient that has an image."""
    rows = np.flatnonzero([str(label) == patient for label in dataset["patient"].values])
    if not rows.size:
        raise unknown_label("patient", patient, dataset["patient"].values)
    panels = []
    dataset = in_axis_order(dataset)
    for s, sequence in enumerate(dataset["sequence"].values):
        one = dataset.isel(patient=int(rows[0]), sequence=s)
        if bool(imaged(one)):
            z, y, x = (int(n) for n in one["shape"].values)
            scan = one.isel(z=slice(z), y=slice(y), x=slice(x))
            scan = scan.isel(rater=0) if "rater" in scan.dims else scan
            positions = Grid((z, y, x), one["affine"].values).axis_positions_mm()
            panels.append(panel_of(str(sequence), scan.assign_coords(dict(zip(AXES, positions, strict=True)))))
    return panels


def imaged(dataset: xr.Dataset) -> xr.DataArray:
    """Whether the image of each scan is stored; a store of raters has none."""
    stored = dataset["status"].astype(object).isin(["ok", "warning"]) & (dataset["image_digest"] != "")
    return stored.reset_coords(drop=True)


@styled
def outlined_panel(dataset: xr.Dataset, patient: str | None = None) -> Figure:
    """Slice with the largest outline of each sequence, and the surface of the tumor in three dimensions.

    Slices are upright by their affine, with the patient's sides at their edges. The surface is the last outlined
    sequence's, seen from the front, from the mask at 1 mm smoothed by a Gaussian of 1.5 mm: for looking at, not for
    measuring.

    Parameters
    ----------
    dataset
        A cohort opened from a store.
    patient
        By default :func:`median_patient`'s.

    Raises
    ------
    ParameterError
        If the patient is not in the store, or has no image.
    """
    patient = median_patient(dataset) if patient is None else patient
    panels = read_panels(dataset, patient)
    if not panels:
        raise ParameterError(f"patient {patient} has no image in the store")
    rows = (len(panels) + 2) // 2
    figure = blank(rows * COLUMN_INCHES * 0.6)
    for at, panel in enumerate(panels, 1):
        draw_panel(figure.add_subplot(rows, 2, at), panel, panel.largest_slice(), _PERCENTILES, None)
    solid = [panel for panel in panels if panel.masks.any()]
    if solid:
        axes = figure.add_subplot(rows, 2, len(panels) + 1, projection="3d")
        assert isinstance(axes, Axes3D)
        _surface(axes, solid[-1])
    else:
        axes = figure.add_subplot(rows, 2, len(panels) + 1)
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no tumor outlined", ha="center", va="center", transform=axes.transAxes)
    figure.suptitle(f"Patient {short(patient, 40)}", x=0.01, ha="left", fontsize=8)
    return figure


def _surface(axes: Axes3D, panel: Panel) -> None:
    """Draw the tumor's surface as a person seen from the front."""
    spacing_mm = panel.view.spacing_zyx_mm
    mask = np.asarray(panel.masks.any(axis=0))
    where = np.argwhere(mask)
    box = tuple(slice(low, high + 1) for low, high in zip(where.min(axis=0), where.max(axis=0), strict=True))
    tumor = mask[box].astype(np.float32)
    size = np.array(tumor.shape) * spacing_mm
    voxel_mm = max(_SURFACE_MM, float(size.max()) / 80)
    even = resize(np.pad(tumor, 1), np.maximum(np.round((size + 2 * spacing_mm) / voxel_mm), 4), order=1)
    smooth = gaussian(np.pad(even, 5), _SURFACE_SMOOTHING_MM / voxel_mm)
    level = min(0.5, float(smooth.max()) * 0.5)
    vertices, faces, normals, _ = marching_cubes(smooth, level, spacing=(voxel_mm,) * 3)
    to_lps = Grid(mask.shape, panel.scan["affine"].values).directions.T  # of vectors along the axes x, y, z
    shown = (vertices - vertices.mean(axis=0))[:, ::-1] @ to_lps
    facing = normals[faces].mean(axis=1)[:, ::-1] @ to_lps
    mesh = Poly3DCollection(
        shown[faces], facecolors=_lit(facing), edgecolors="none", linewidths=0, antialiased=False, rasterized=True
    )
    axes.add_collection3d(mesh)
    half = float(np.abs(shown).max())
    for limits in (axes.set_xlim, axes.set_ylim, axes.set_zlim):
        limits(-half, half)
    axes.set_box_aspect((1, 1, 1), zoom=1.5)
    axes.view_init(elev=18, azim=-65)
    axes.set_axis_off()
    axes.set_title(f"{panel.sequence}\nsurface", fontsize=7, fontweight="normal", pad=3)


def _lit(facing: NDArray[Any]) -> NDArray[Any]:
    """Colors of faces in the light of a lamp above the left shoulder, from their normals."""
    lamp = np.array([-0.3, -0.75, 0.6])
    unit = facing / np.maximum(np.linalg.norm(facing, axis=1, keepdims=True), 1e-9)
    bright = 0.42 + 0.58 * np.clip(unit @ (lamp / np.linalg.norm(lamp)), 0, 1)
    colors: NDArray[Any] = np.clip(bright[:, None] * _ORANGE / 255 * 1.12, 0, 1)
    return colors
