"""PNG overlays as the paper's Figure 1: the slice with most tumor, its outline drawn, pixels square."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, PngImagePlugin
from skimage.measure import find_contours

from npczarr.errors import SourceError
from npczarr.export.colors import color_of
from npczarr.export.names import check_name
from npczarr.export.scan import ScanVoxels, outside_remarks
from npczarr.outputs import write_whole

_PERCENTILES = (0.5, 99.5)  # of the volume: noise and bright vessels must not take the gray levels of the tumor
_SIDE = 768  # pixels of the longer side, or more


def write(scan: ScanVoxels, folder: Path, bits: int) -> tuple[list[Path], list[str]]:
    """Write ``<sequence>.png``: the slice with the largest tumor area, or the middle one where there is no tumor.

    The slice, its window (in real values) and the percentiles that gave it are the picture's text fields.
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
    _, y_mm, x_mm = scan.grid.spacing_zyx_mm
    picture = draw((gray * 255).round().astype(np.uint8), outline, float(y_mm), float(x_mm))
    fields = PngImagePlugin.PngInfo()
    fields.add_text("Software", "npczarr")
    fields.add_text("slice", f"{z + 1} of {len(scan.image)}")
    fields.add_text("window", f"{low:g} {high:g}")
    fields.add_text("window_percentiles", "{:g} {:g}".format(*_PERCENTILES))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=fields)
    path = folder / f"{check_name(scan.sequence)}.png"
    write_whole(path, buffer.getvalue())
    notes = [] if areas.any() else ["no tumor to outline, the middle slice was drawn"]
    return [path], [*notes, *outside_remarks(scan.image, scan.sequence, "black")]


def draw(gray: NDArray[np.uint8], mask: NDArray[np.uint8] | None, y_mm: float, x_mm: float) -> Image.Image:
    """Draw a slice (y, x) in square pixels with the outline of each label of its mask."""
    rows, columns = gray.shape
    scale = _SIDE / max(rows * y_mm, columns * x_mm)  # pixels a mm
    size = max(1, round(columns * x_mm * scale)), max(1, round(rows * y_mm * scale))
    picture = Image.fromarray(gray).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    if mask is not None:
        canvas = ImageDraw.Draw(picture)
        for number in np.unique(mask[mask > 0]):
            for line in find_contours(np.pad(mask == number, 1).astype(float), 0.5):
                # padded by one, and the center of a voxel is half a voxel inside it
                points = [((x - 0.5) * x_mm * scale, (y - 0.5) * y_mm * scale) for y, x in line]
                canvas.line(points, fill=color_of(int(number)), width=2, joint="curve")
    return picture
