"""What a Dataset is, and what can be done with it in words that can be pasted: the repr of the accessor."""

from __future__ import annotations

import numpy as np
import xarray as xr

from npczarr.model.geometry import AXES
from npczarr.model.schema import SCAN


def describe_cohort(dataset: xr.Dataset) -> str:
    """List the calls that a cohort offers, with labels that it has."""
    dims = {dim: [str(v) for v in np.atleast_1d(dataset[dim].values)] for dim in SCAN if dim in dataset}
    if len(dims) < len(SCAN):
        return "<npczarr: no cohort; open a store with npczarr.open or xr.open_zarr>"
    patients, sequences = dims["patient"], dims["sequence"]
    patient, sequence = (labels[0] if labels else "…" for labels in (patients, sequences))
    lines = [
        (f'ds.npc.scan("{patient}", "{sequence}")', "one scan, without its padding, in mm"),
        (f'ds.npc.plot("{patient}")', "its sequences side by side, the tumor outlined"),
        (f'ds.npc.view("{patient}")', "look through every slice, in a notebook"),
        ("ds.npc.table()", "one row a scan: status, geometry, clinical values, results"),
        ("npczarr.morphology(ds)", "volume, surface and diameter of every tumor, lazy"),
    ]
    width = max(len(call) for call, _ in lines) + 2
    shown = ", ".join(sequences[:4]) + (" …" if len(sequences) > 4 else "")
    counts = f"patients: {len(patients)}, sequences: {len(sequences)} ({shown})"
    return "\n".join([f"<npczarr cohort, {counts}>", *(f"  {call:{width}}{what}" for call, what in lines)])


def describe_scan(dataset: xr.Dataset) -> str:
    """List the calls that one scan offers."""
    label = "/".join(str(dataset[dim].values) for dim in SCAN)
    shape = " x ".join(str(dataset.sizes[axis]) for axis in AXES)
    return (
        f"<npczarr scan {label}, {shape} voxels (z, y, x)>\n"
        "  scan.npc.plot()                   a slice, upright, the tumor outlined\n"
        "  npczarr.measure_mask(scan.mask)   volume, surface and diameter of its tumor\n"
        "  scan.image, scan.mask             voxels, lazy, on z, y, x in mm\n"
        "  scan.npc.affine                   where they are, also of a part of the scan"
    )


def is_scan(dataset: xr.Dataset) -> bool:
    """Whether a Dataset is one scan, as the accessor returns it, or a part of one."""
    single = all(dim in dataset.coords and dim not in dataset.dims for dim in SCAN)
    return single and all(axis in dataset.dims and axis in dataset.coords for axis in AXES)
