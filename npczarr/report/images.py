"""Pictures from voxels: the outlined panel of a patient, thumbnails of scans, and a sheet of them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Stroke
from mpl_toolkits.mplot3d import Axes3D  # type: ignore[import-untyped]
from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PIL import Image
from skimage.filters import gaussian
from skimage.measure import marching_cubes
from skimage.transform import resize

from npczarr.errors import ParameterError, unknown_label
from npczarr.report.style import COLUMN_INCHES, OUTLINE, blank, short, styled

THUMBNAIL_PIXELS = 144
_ORANGE = np.array([230, 159, 0], np.uint8)  # the color of OUTLINE
_SURFACE_MM = 1.0
_SURFACE_SMOOTHING_MM = 1.5
_SHOWN = 40  # scans on a contact sheet


@dataclass(frozen=True, slots=True, eq=False)
class ScanVoxels:
    """One scan without padding: image and mask (z, y, x), voxel size in mm; mask None where there is none."""

    sequence: str
    image: NDArray[Any]
    mask: NDArray[Any] | None
    spacing_zyx_mm: tuple[float, float, float]


def median_patient(dataset: xr.Dataset) -> str:
    """Patient whose tumor (mean voxel volume of its sequences) is nearest to the cohort's median.

    Only patients with the most sequences outlined are asked; where no patient has a tumor outlined, it is the first
    with an image.

    Raises
    ------
    ParameterError
        If no patient has an image.
    """
    there = imaged(dataset)
    if not there.any():
        raise ParameterError("no patient has an image")
    cubic_mm = (dataset["mask_voxels"] * dataset["spacing"].prod("axis", skipna=False)).reset_coords(drop=True)
    outlined = cubic_mm.where(there & (cubic_mm > 0))
    count = outlined.notnull().sum("sequence")
    volume = outlined.mean("sequence").where(count == count.max())
    if not volume.notnull().any():
        return str(dataset["patient"].values[there.any("sequence").values][0])
    nearest = int(np.nanargmin(np.abs(volume.values - float(outlined.mean("sequence").median()))))
    return str(dataset["patient"].values[nearest])


def read_patient(dataset: xr.Dataset, patient: str) -> list[ScanVoxels]:
    """Read every scan of a patient that has an image."""
    scans = []
    rows = np.flatnonzero([str(label) == patient for label in dataset["patient"].values])
    if not rows.size:
        raise unknown_label("patient", patient, dataset["patient"].values)
    for s, sequence in enumerate(dataset["sequence"].values):
        one = dataset.isel(patient=int(rows[0]), sequence=s)
        if not bool(imaged(one)):
            continue
        z, y, x = (slice(int(n)) for n in one["shape"].values)
        cropped = one[["image", "mask"]].isel(z=z, y=y, x=x)
        cropped = cropped.isel(rater=0) if "rater" in cropped.dims else cropped
        masked = str(one["mask_status"].values) in ("ok", "warning")
        spacing = np.nan_to_num(one["spacing"].values.astype(float), nan=1.0)
        scans.append(
            ScanVoxels(
                str(sequence), cropped["image"].values, cropped["mask"].values if masked else None,
                (float(spacing[0]), float(spacing[1]), float(spacing[2])),
            )
        )  # fmt: skip
    return scans


def imaged(dataset: xr.Dataset) -> xr.DataArray:
    """Tell for each scan whether its image is stored; a store of raters has none."""
    stored = dataset["status"].astype(object).isin(["ok", "warning"]) & (dataset["image_digest"] != "")
    return stored.reset_coords(drop=True)


@styled
def outlined_panel(dataset: xr.Dataset, patient: str | None = None) -> Figure:
    """Slice with the largest outline of each sequence, and the surface of the tumor in three dimensions.

    The surface is the last outlined sequence's, from the mask at 1 mm smoothed by a Gaussian of 1.5 mm: for looking
    at, not for measuring.

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
    scans = read_patient(dataset, patient)
    if not scans:
        raise ParameterError(f"patient {patient} has no image in the store")
    rows = (len(scans) + 2) // 2
    figure = blank(rows * COLUMN_INCHES * 0.56)
    for at, scan in enumerate(scans, 1):
        _outlined(figure.add_subplot(rows, 2, at), scan, bar=at == 1)
    solid = [scan for scan in scans if scan.mask is not None and scan.mask.any()]
    if solid:
        axes = figure.add_subplot(rows, 2, len(scans) + 1, projection="3d")
        assert isinstance(axes, Axes3D)
        _surface(axes, solid[-1])
    else:
        axes = figure.add_subplot(rows, 2, len(scans) + 1)
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no tumor outlined", ha="center", va="center", transform=axes.transAxes)
    figure.suptitle(f"Patient {short(patient, 40)}", x=0.01, ha="left", fontsize=8)
    return figure


@styled
def contact_sheet(pictures: Mapping[str, bytes]) -> Figure:
    """Thumbnails with their labels, four to a row; of more than 40, the first 40.

    Parameters
    ----------
    pictures
        Encoded pictures by label, as :func:`thumbnail` makes them; an empty one is shown as a gray field.

    Raises
    ------
    ParameterError
        If there are none.
    """
    if not pictures:
        raise ParameterError("no scan has a problem to be shown")
    shown = list(pictures.items())[:_SHOWN]
    columns = 4
    rows = -(-len(shown) // columns)
    figure = blank(rows * 1.06 + 0.25, width_inches=COLUMN_INCHES)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, (label, content) in zip(panels, shown, strict=False):
        if content:
            axes.imshow(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
        else:
            axes.imshow(np.full((4, 4, 3), 229, np.uint8))
            axes.text(0.5, 0.5, "no image", transform=axes.transAxes, ha="center", va="center", fontsize=6)
        axes.set_title(
            "\n".join(short(line, 22) for line in label.split("\n")),
            fontsize=5.5,
            fontweight="normal",
            loc="center",
            pad=2,
        )
    if len(pictures) > len(shown):
        figure.supxlabel(f"the first {len(shown)} of {len(pictures)}", fontsize=7)
    return figure


def thumbnail(
    image: NDArray[Any], mask: NDArray[Any] | None, spacing_zyx_mm: Sequence[float], *, pixels: int = THUMBNAIL_PIXELS
) -> bytes:
    """Return the slice with the largest outline (or the middle one), outlined, as a WebP picture.

    Parameters
    ----------
    image, mask
        (z, y, x); mask None where there is none.
    spacing_zyx_mm
        Voxel size: the picture keeps the proportions of the slice in mm.
    pixels
        Length of the longer side.
    """
    z = largest_slice(mask, len(image))
    height, width = image.shape[1] * spacing_zyx_mm[1], image.shape[2] * spacing_zyx_mm[2]
    size = tuple(max(1, round(pixels * side / max(height, width))) for side in (width, height))
    gray = Image.fromarray(_windowed(image[z])).resize(size, Image.Resampling.BOX)
    picture = np.repeat(np.asarray(gray)[..., None], 3, axis=2)
    if mask is not None and mask[z].any():
        small = Image.fromarray((mask[z] > 0).astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
        picture[_edge(np.asarray(small) > 127)] = _ORANGE
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=72, method=2)
    return buffer.getvalue()


def largest_slice(mask: NDArray[Any] | None, depth: int) -> int:
    """Index of the slice with most tumor; the middle one where there is none."""
    if mask is None or not mask.any():
        return depth // 2
    return int(np.count_nonzero(mask, axis=(1, 2)).argmax())


def _windowed(plane: NDArray[Any]) -> NDArray[np.uint8]:
    """Gray levels from the first to the 99.5th percentile."""
    low, high = np.percentile(plane, (1, 99.5))
    scaled = (plane.astype(np.float32) - np.float32(low)) * np.float32(255 / max(high - low, 1e-6))
    return scaled.clip(0, 255).astype(np.uint8)


def _edge(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels inside with a neighbor outside."""
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~core


def _outlined(axes: Axes, scan: ScanVoxels, *, bar: bool) -> None:
    z = largest_slice(scan.mask, len(scan.image))
    _, y_mm, x_mm = scan.spacing_zyx_mm
    rows, columns = scan.image.shape[1:]
    extent = (0.0, columns * x_mm, rows * y_mm, 0.0)
    axes.imshow(_windowed(scan.image[z]), cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="antialiased")
    if scan.mask is not None and scan.mask[z].any():
        x, y = (np.arange(columns) + 0.5) * x_mm, (np.arange(rows) + 0.5) * y_mm
        contour = axes.contour(x, y, scan.mask[z] > 0, levels=[0.5], colors=OUTLINE, linewidths=0.9)
        contour.set_path_effects([Stroke(linewidth=1.7, foreground="black", alpha=0.6), Stroke(linewidth=0.9)])
    if bar:
        length = 50.0
        left, low = columns * x_mm * 0.05, rows * y_mm * 0.95
        axes.plot([left, left + length], [low, low], color="white", linewidth=1.5, solid_capstyle="butt")
        axes.text(left + length / 2, low - 4, "5 cm", color="white", ha="center", va="bottom", fontsize=6)
    axes.set_axis_off()
    axes.set_title(f"{scan.sequence}  slice {z + 1} of {len(scan.image)}", fontsize=7, fontweight="normal", pad=2)


def _surface(axes: Axes3D, scan: ScanVoxels) -> None:
    assert scan.mask is not None
    where = np.argwhere(scan.mask)
    box = tuple(slice(low, high + 1) for low, high in zip(where.min(axis=0), where.max(axis=0), strict=True))
    tumor = (scan.mask[box] > 0).astype(np.float32)
    size = np.array(tumor.shape) * scan.spacing_zyx_mm
    voxel_mm = max(_SURFACE_MM, float(size.max()) / 80)
    even = resize(
        np.pad(tumor, 1), np.maximum(np.round((size + 2 * np.array(scan.spacing_zyx_mm)) / voxel_mm), 4), order=1
    )
    smooth = gaussian(np.pad(even, 5), _SURFACE_SMOOTHING_MM / voxel_mm)
    level = min(0.5, float(smooth.max()) * 0.5)
    vertices, faces, normals, _ = marching_cubes(smooth, level, spacing=(voxel_mm,) * 3)
    # z runs to the head and y to the back: shown as a person seen from the front
    shown = (vertices - vertices.mean(axis=0))[:, [2, 1, 0]]
    facing = normals[faces].mean(axis=1)[:, [2, 1, 0]]
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
    axes.set_title(f"{scan.sequence}  surface", fontsize=7, fontweight="normal", pad=2)


def _lit(facing: NDArray[Any]) -> NDArray[Any]:
    """Colors of faces in the light of a lamp above the left shoulder, from their normals."""
    lamp = np.array([-0.3, -0.75, 0.6])
    unit = facing / np.maximum(np.linalg.norm(facing, axis=1, keepdims=True), 1e-9)
    bright = 0.42 + 0.58 * np.clip(unit @ (lamp / np.linalg.norm(lamp)), 0, 1)
    colors: NDArray[Any] = np.clip(bright[:, None] * _ORANGE / 255 * 1.12, 0, 1)
    return colors
