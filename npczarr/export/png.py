"""PNG overlays as the paper's Figure 1: the slice with most tumor, upright, its outline drawn, pixels square."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from skimage.measure import find_contours

from npczarr.errors import SourceError
from npczarr.export.colors import color_of
from npczarr.export.names import check_name
from npczarr.export.scan import ScanVoxels, outside_remarks
from npczarr.model.slice_view import SliceView
from npczarr.outputs import write_whole
from npczarr.store.scans import StoredScan

_PERCENTILES = (0.5, 99.5)  # of the volume: noise and bright vessels must not take the gray levels of the tumor
_SIDE = 768  # pixels of the longer side, or more
_LETTER = 24  # height of a letter in pixels
#: Where the letter of each side stands, as a part of width and height, and which point of it, in Pillow's words.
_EDGES = {
    "left": (0.015, 0.5, "lm"),
    "right": (0.985, 0.5, "rm"),
    "top": (0.5, 0.015, "mt"),
    "bottom": (0.5, 0.985, "mb"),
}


def write(scan: ScanVoxels, folder: Path, bits: int) -> tuple[list[Path], list[str]]:
    """Write ``<sequence>.png``: the slice with the largest tumor area, or the middle one where there is no tumor.

    It is upright by the affine, as in the viewer and in ``ds.npc.plot``, with the patient's sides at its edges: R, L,
    A, P, I or S. The number of the slice, counted from 1, these sides, the window (in real values) and the percentiles
    that gave it are the picture's text fields.
    """
    if scan.image is None:
        raise SourceError("there is no image to draw on, only masks; export these as nifti or tiff")
    areas = np.zeros(len(scan.image)) if scan.mask is None else np.count_nonzero(scan.mask, axis=(1, 2))
    z = int(areas.argmax()) if areas.any() else len(scan.image) // 2
    values = scan.real_values()
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, _PERCENTILES) if finite.size else (0.0, 0.0)
    gray = np.clip((np.nan_to_num(values[z], nan=low) - low) / max(high - low, 1e-12), 0, 1)
    outline = None if scan.mask is None or not areas.any() else scan.mask[z]
    view = SliceView(scan.grid.affine, scan.grid.axis_positions_mm(), scan.grid.spacing_zyx_mm)
    fields = PngImagePlugin.PngInfo()
    fields.add_text("Software", "npczarr")
    fields.add_text("slice", f"{z + 1} of {len(scan.image)}")
    fields.add_text("sides", ", ".join(f"{where} {letter}" for where, letter in view.letters.items()))
    fields.add_text("window", f"{low:g} {high:g}")
    fields.add_text("window_percentiles", "{:g} {:g}".format(*_PERCENTILES))
    buffer = io.BytesIO()
    draw((gray * 255).round().astype(np.uint8), outline, view).save(buffer, "PNG", pnginfo=fields)
    path = folder / f"{check_name(scan.sequence)}.png"
    write_whole(path, buffer.getvalue())
    notes = [] if areas.any() else ["no tumor to outline, the middle slice was drawn"]
    return [path], [*notes, *outside_remarks(scan.image, scan.sequence, "black")]


def names(scan: StoredScan) -> list[str]:
    """Names of the files that :func:`write` writes of a scan."""
    return [f"{check_name(scan.sequence)}.png"] if scan.has_image else []


def draw(gray: NDArray[np.uint8], mask: NDArray[np.uint8] | None, view: SliceView) -> Image.Image:
    """Draw a slice (y, x) upright in square pixels, with the outline of each label of its mask and the sides."""
    gray = view.upright(gray)
    across_mm, down_mm = view.steps_mm
    rows, columns = gray.shape
    scale = _SIDE / max(rows * down_mm, columns * across_mm)  # pixels a mm
    size = max(1, round(columns * across_mm * scale)), max(1, round(rows * down_mm * scale))
    picture = Image.fromarray(np.ascontiguousarray(gray)).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    canvas = ImageDraw.Draw(picture)
    if mask is not None:
        _outline(canvas, view.upright(mask), across_mm * scale, down_mm * scale)
    _letter(canvas, view.letters, size)
    return picture


def _outline(canvas: ImageDraw.ImageDraw, mask: NDArray[np.uint8], across: float, down: float) -> None:
    """Draw the outline of each label of a slice (down, across), of whose voxels the size in pixels is given."""
    for number in np.unique(mask[mask > 0]):
        for line in find_contours(np.pad(mask == number, 1).astype(float), 0.5):
            # padded by one, and the center of a voxel is half a voxel inside it
            points = [((x - 0.5) * across, (y - 0.5) * down) for y, x in line]
            canvas.line(points, fill=color_of(int(number)), width=2, joint="curve")


def _letter(canvas: ImageDraw.ImageDraw, letters: Mapping[str, str], size: tuple[int, int]) -> None:
    """Write the patient's sides at the edges, white on black so that they can be read on any tissue."""
    font = ImageFont.load_default(_LETTER)
    width, height = size
    for where, letter in letters.items():
        across, down, anchor = _EDGES[where]
        place = across * (width - 1), down * (height - 1)
        canvas.text(place, letter, fill="white", font=font, anchor=anchor, stroke_width=2, stroke_fill="black")
