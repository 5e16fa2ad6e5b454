"""OME-Zarr 0.5 (https://ngff.openmicroscopy.org/0.5): one image a scan, its mask a label of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from npczarr.errors import SourceError
from npczarr.export.colors import color_of
from npczarr.export.names import check_name
from npczarr.export.scan import ScanVoxels, outside_remarks
from npczarr.model.geometry import AXES
from npczarr.outputs import whole
from npczarr.store.ome import Node, write_groups
from npczarr.store.scans import StoredScan

VERSION = "0.5"


def write(scan: ScanVoxels, folder: Path, bits: int) -> tuple[list[Path], list[str]]:
    """Write ``<sequence>.ome.zarr`` with stored values, NaN for padding, and the mask as ``labels/tumor``.

    The mask of several labels is ``labels/labels``. Scale and translation, all that version 0.5 knows, are the spacing
    and the position of the first voxel along each voxel axis in mm; the affine to LPS mm and the rescale stand in the
    attribute ``npczarr``.
    """
    if scan.image is None:
        raise SourceError("there is no image, only masks; export these as nifti or tiff")
    nodes = {"": Node({"ome": _multiscales(scan, scan.sequence), "npczarr": _about(scan)}, scan.image)}
    if scan.mask is not None:
        name = scan.labels[0] if len(scan.labels) == 1 else "labels"
        colors = {
            "colors": [{"label-value": n, "rgba": [*color_of(n), 255]} for n in range(1, len(scan.labels) + 1)],
            "properties": [{"label-value": n, "name": label} for n, label in enumerate(scan.labels, 1)],
            "source": {"image": "../../"},
        }
        nodes["labels"] = Node({"ome": {"version": VERSION, "labels": [name]}})
        label = {"ome": {**_multiscales(scan, name), "image-label": colors}}
        nodes[f"labels/{name}"] = Node(label, scan.mask)
    path = folder / f"{check_name(scan.sequence)}.ome.zarr"
    with whole(path) as draft:
        write_groups(draft, nodes, AXES)
    notes = [] if scan.z_spacing_known else ["one slice, distance to the next unknown: 1 mm was written"]
    return [path], [*notes, *outside_remarks(scan.image, scan.sequence, "NaN")]


def names(scan: StoredScan) -> list[str]:
    """Names of the folders that :func:`write` writes of a scan."""
    return [f"{check_name(scan.sequence)}.ome.zarr"] if scan.has_image else []


def _multiscales(scan: ScanVoxels, name: str) -> dict[str, Any]:
    place = [
        {"type": "scale", "scale": scan.grid.spacing_zyx_mm.tolist()},
        {"type": "translation", "translation": [float(mm[0]) for mm in scan.grid.axis_positions_mm()]},
    ]
    axes = [{"name": axis, "type": "space", "unit": "millimeter"} for axis in AXES]
    return {
        "version": VERSION,
        "multiscales": [{"name": name, "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": place}]}],
    }


def _about(scan: ScanVoxels) -> dict[str, Any]:
    return {
        "patient": scan.patient,
        "sequence": scan.sequence,
        "affine_lps": scan.grid.affine.tolist(),
        "rescale_slope": scan.slope.tolist(),
        "rescale_intercept": scan.intercept.tolist(),
    }
