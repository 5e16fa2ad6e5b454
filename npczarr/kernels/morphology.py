"""Size and shape of one tumor from its mask, in mm.

Surface: marching cubes at 0.5 on the 0/1 mask with background all around, so a tumor at the border is closed. No mesh
is built: see `npczarr.kernels.patterns` and `npczarr.kernels.diameter`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from npczarr.kernels.components import count_components
from npczarr.kernels.diameter import max_diameter
from npczarr.kernels.masks import as_mask, as_spacing, bounding_box, crop_padded
from npczarr.kernels.patterns import Method, cell_patterns, histogram, pieces


@dataclass(frozen=True, slots=True)
class Morphology:
    """Size and shape of one tumor.

    An empty mask has no surface: everything measured on it is NaN, while its counts and its voxel volume are 0.

    Attributes
    ----------
    volume_mm3, surface_area_mm2
        Volume and area of the mesh: the sum of its signed tetrahedra and of its triangles.
    max_diameter_mm
        Largest distance between two mesh vertices.
    surface_regularity
        V / (4/3 π R³), R = sqrt(S / 4π), for volume V and area S: 1 for a sphere (the paper's measure).
    sphericity
        (36 π V²)^(1/3) / S: 1 for a sphere (IBSI's measure).
    voxel_volume_mm3, voxel_count
        The voxels counted, and their volume.
    components
        Number of 26-connected pieces: voxels that share a face, an edge or a corner are one piece.
    box_start_zyx, box_stop_zyx
        The bounding box in voxels; the stop is not in it.
    touches_start_zyx, touches_stop_zyx
        Whether tumor lies in the first or last plane of the mask along z, y, x: first and last slice come first.
    """

    volume_mm3: float
    surface_area_mm2: float
    max_diameter_mm: float
    surface_regularity: float
    sphericity: float
    voxel_volume_mm3: float
    voxel_count: int
    components: int
    box_start_zyx: tuple[int, int, int]
    box_stop_zyx: tuple[int, int, int]
    touches_start_zyx: tuple[bool, bool, bool]
    touches_stop_zyx: tuple[bool, bool, bool]


def measure(
    mask: ArrayLike,
    spacing_zyx_mm: Sequence[float],
    *,
    method: Method = "lorensen",
    window: Sequence[slice] | None = None,
) -> Morphology:
    """Measure the tumor in a mask.

    Parameters
    ----------
    mask
        (z, y, x), booleans or integers; above 0 is tumor. Background around it changes only the bounding box and
        whether it touches the border, so give the scan without any padding: a view such as ``block[:32, :512, :512]``
        costs no more than an array.
    spacing_zyx_mm
        Voxel size.
    method
        Case table of marching cubes: ``"lorensen"``, as in VTK and so in the paper, or ``"lewiner"``.
    window
        Three slices known to hold all the tumor; voxels outside are not read. Boxes and borders stay the mask's own.

    Raises
    ------
    ParameterError
        If an argument is not as described.
    """
    voxels = as_mask(mask)
    spacing = as_spacing(spacing_zyx_mm)
    surface = pieces(method)
    box = bounding_box(voxels, window=window)
    padded = crop_padded(voxels, box)
    count = int(np.count_nonzero(padded))
    if count:
        patterns = histogram(cell_patterns(padded))
        volume = float(patterns @ surface.volume) * math.prod(spacing)
        area = float(patterns @ surface.area(spacing))
        diameter = max_diameter(padded, spacing)
    else:
        volume = area = diameter = math.nan
    (z, y, x), (n_z, n_y, n_x) = box, voxels.shape
    return Morphology(
        volume_mm3=volume,
        surface_area_mm2=area,
        max_diameter_mm=diameter,
        surface_regularity=6 * math.sqrt(math.pi) * volume / area**1.5,
        sphericity=(36 * math.pi * volume**2) ** (1 / 3) / area,
        voxel_volume_mm3=count * math.prod(spacing),
        voxel_count=count,
        components=int(count_components(padded)),
        box_start_zyx=(z.start, y.start, x.start),
        box_stop_zyx=(z.stop, y.stop, x.stop),
        touches_start_zyx=(count > 0 and z.start == 0, count > 0 and y.start == 0, count > 0 and x.start == 0),
        touches_stop_zyx=(count > 0 and z.stop == n_z, count > 0 and y.stop == n_y, count > 0 and x.stop == n_x),
    )
