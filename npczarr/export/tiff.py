"""TIFF slices and masks as the two-rater set names them: ``<patient>/<sequence>_<slice>[_mask].tif``.

One window for the whole volume: real value = low + pixel * (high - low) / (2**bits - 1).
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from npczarr.export.names import check_name
from npczarr.export.scan import ScanVoxels, outside_remarks
from npczarr.outputs import write_whole
from npczarr.store.scans import StoredScan


def write(scan: ScanVoxels, folder: Path, bits: int) -> tuple[list[Path], list[str]]:
    """Write a TIFF for each slice and each slice of the mask, and a JSON file with the scale of real values.

    Slices are numbered from 1, by their position along the slice normal. Masks are 0 and 2**bits - 1; of several labels
    the numbers of the labels, which the JSON names.
    """
    name = check_name(scan.sequence)
    about: dict[str, Any] = {"patient": scan.patient, "sequence": scan.sequence, "bits": bits}
    notes = [] if scan.z_spacing_known else ["one slice, distance to the next unknown"]
    pixels = None
    if scan.image is not None:
        pixels, low, high = windowed(scan.real_values(), bits)
        about |= {"window": [low, high], "real_value": "low + pixel * (high - low) / (2**bits - 1)"}
        outside = outside_remarks(scan.image, scan.sequence, "pixel 0")
        notes += outside
        if low == high and not outside:
            notes.append(f"every voxel is {low:g}: the slices are black")
    spacing = [float(mm) for mm in scan.grid.spacing_zyx_mm]
    about |= {
        "spacing_zyx_mm": [spacing[0] if scan.z_spacing_known else None, *spacing[1:]],
        "affine_lps": scan.grid.affine.tolist(),
        "shape_zyx": list(scan.grid.shape_zyx),
    }
    one_label = len(scan.labels) == 1
    if not one_label:
        about["labels"] = dict(enumerate(scan.labels, 1))
    files = []
    if pixels is not None:
        files += _write_slices(pixels, {**about, "kind": "image"}, spacing, folder / name, "")
    if scan.mask is not None:
        outline = scan.mask * _depth(bits).type(2**bits - 1 if one_label else 1)
        files += _write_slices(outline, {**about, "kind": "mask"}, spacing, folder / name, "_mask")
    files.append(folder / f"{name}.json")
    write_whole(files[-1], json.dumps(about, indent=1).encode())
    return files, notes


def names(scan: StoredScan) -> list[str]:
    """Names of the files that :func:`write` writes of a scan."""
    name, ends = check_name(scan.sequence), [""] * scan.has_image + ["_mask"] * scan.has_mask
    slices = range(1, scan.shape_zyx[0] + 1)
    return [*(f"{name}_{number}{end}.tif" for end in ends for number in slices), f"{name}.json"]


def _write_slices(
    voxels: NDArray[Any], about: dict[str, Any], spacing_zyx_mm: list[float], start: Path, end: str
) -> list[Path]:
    """Write a file for each slice of (z, y, x), its number, from 1, between start and end of its name."""
    files = []
    for number, plane in enumerate(voxels, 1):
        files.append(start.with_name(f"{start.name}_{number}{end}.tif"))
        write_whole(files[-1], _encode(plane, {**about, "slice": number}, spacing_zyx_mm))
    return files


def windowed(values: NDArray[np.float64], bits: int) -> tuple[NDArray[Any], float, float]:
    """Scale a volume to 0 ... 2**bits - 1 between its least and its largest value; NaN becomes 0."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    steps = (values - low) * ((2**bits - 1) / (high - low)) if high > low else np.zeros_like(values)
    return np.rint(np.nan_to_num(steps, nan=0.0)).astype(_depth(bits)), low, high


def _depth(bits: int) -> np.dtype[Any]:
    return np.dtype({8: np.uint8, 16: np.uint16}[bits])


def _encode(pixels: NDArray[Any], about: dict[str, Any], spacing_zyx_mm: list[float]) -> bytes:
    buffer = io.BytesIO()
    _, y_mm, x_mm = spacing_zyx_mm
    tifffile.imwrite(
        buffer,
        pixels,
        photometric="minisblack",
        compression="zlib",
        description=json.dumps(about),
        metadata=None,
        resolution=(10 / x_mm, 10 / y_mm),
        resolutionunit="CENTIMETER",
        software="npczarr",
    )
    return buffer.getvalue()
