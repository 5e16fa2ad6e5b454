"""Tumor morphology and agreement of masks over a cohort, as lazy Datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from npczarr.errors import ParameterError
from npczarr.graphs.changed_datasets import check_voxels
from npczarr.graphs.label_dim import LabelChoice, label_voxels, with_labels
from npczarr.graphs.map_scans import Row, map_scans, scan_geometry
from npczarr.graphs.mask_arguments import agreed_spacing, check_same_grid, label_pair, read_mask_argument
from npczarr.model.per_axis import PerAxis
from npczarr.model.results import AGREEMENT, LENGTH_RATIOS, MORPHOLOGY, TOLERANCE_MM
from npczarr.model.schema import Variable

# kernels are imported by what runs them: with numba they take half a second, and many a command measures nothing
if TYPE_CHECKING:
    from npczarr.graphs.predicted_masks import PredictedMasks
    from npczarr.kernels.patterns import Method

_METHOD = "lorensen"


def morphology(dataset: xr.Dataset, *, method: Method = "lorensen", label: LabelChoice = None) -> xr.Dataset:
    """Measure the tumor of every scan; lazy.

    Parameters
    ----------
    dataset
        A cohort opened from a store, or any selection of it.
    method
        Case table of marching cubes: ``"lorensen"``, as the dataset's authors used, or ``"lewiner"``, scikit-image's.
    label
        Label to measure, or several; by default all that the masks have, along `label` where there are two or more.

    Returns
    -------
    xarray.Dataset
        On `label` where several are measured, and the dimensions of `mask` before z, y, x: `volume` (mm3),
        `surface_area` (mm2), `max_diameter` (mm),
        `surface_regularity`, `sphericity`, `voxel_volume`, `components`, bounding box and border contact. NaN where
        there is no mask or the spacing is not known; an empty mask has no surface (NaN) and zero voxels.

    Raises
    ------
    ParameterError
        If the Dataset has no masks or no such label, or the method is not known.

    Notes
    -----
    Surface: marching cubes (Lorensen and Cline 1987; Lewiner et al. 2003) at 0.5 on the 0/1 mask, closed at the border.
    """
    _check_method(method)
    mask, geometry = _mask(dataset), scan_geometry(dataset)
    result = with_labels(
        mask,
        label,
        lambda labels: map_scans(
            _measure_scan, [mask], geometry, MORPHOLOGY, name="morphology", labels=labels, method=method
        ),
    )
    return result.squeeze("pair").assign_attrs(measure="morphology", method=method)


def agreement(dataset: xr.Dataset, *, tolerance: float = TOLERANCE_MM, label: LabelChoice = None) -> xr.Dataset:
    """Compare the raters' masks of every scan; lazy.

    Parameters
    ----------
    dataset
        A store of raters, or any selection of it: `mask` has a `rater` dimension.
    tolerance
        In mm: how far apart two surfaces may lie and still count as the same, for `surface_dice`; a distance above it
        by no more than a millionth of it counts too.
    label
        As for :func:`npczarr.morphology`.

    Returns
    -------
    xarray.Dataset
        `dice`, `jaccard`, `hd`, `hd95`, `assd` (mm), `surface_dice` … on (patient, sequence); with more than two raters
        on (pair, patient, sequence). Both masks empty: NaN; one empty: overlap 0, distances infinite.

    Raises
    ------
    ParameterError
        If there are fewer than two raters, or no such label.
    """
    mask = _mask(dataset)
    if mask.sizes.get("rater", 0) < 2:
        raise ParameterError("expected masks of two or more raters; convert them to a store of raters first")
    raters = [str(label) for label in mask["rater"].values]
    geometry = scan_geometry(dataset.drop_dims("rater"))
    masks = [mask.isel(rater=i, drop=True) for i in range(len(raters))]
    result = _compared(masks, geometry, tolerance, label, name="agreement")
    names = [f"{a} - {b}" for a, b in combinations(raters, 2)]
    result = result.squeeze("pair") if len(names) == 1 else result.assign_coords(pair=names)
    return result.assign_attrs(measure="agreement", raters=raters, tolerance_mm=tolerance)


def compare_scans(
    dataset: xr.Dataset, predicted: PredictedMasks, tolerance: float, label: LabelChoice = None
) -> xr.Dataset:
    """Compare a cohort's masks with predicted ones on the same arrays, where there are any; lazy."""
    geometry, masks = scan_geometry(dataset, predicted.there), [_mask(dataset), predicted.mask]
    result = _compared(masks, geometry, tolerance, label, name="score", messages=predicted.messages)
    return result.squeeze("pair")


def measure_mask(
    mask: ArrayLike | xr.DataArray,
    *,
    spacing: PerAxis[float] | None = None,
    method: Method = "lorensen",
    label: str | None = None,
) -> dict[str, Any]:
    """Measure the tumor in one mask (z, y, x).

    Parameters
    ----------
    mask
        Booleans or integers; above 0 is tumor. A DataArray, such as ``ds.npc.scan("012", "T1WI").mask``, tells its
        voxel size itself: by its coordinates z, y, x with units mm, or else by a scalar coordinate `spacing`.
    spacing
        Voxel size in mm: one number, three along z, y, x, or a mapping by axis. Of a DataArray that has one, it must
        be the same within 0.1 %.
    method
        As for :func:`npczarr.morphology`.
    label
        Label to measure, of a DataArray whose attributes name several.

    Returns
    -------
    dict
        Numbers by name as in :func:`npczarr.morphology`; `box_start` and such as lists along z, y, x.

    Raises
    ------
    ParameterError
        If an argument is not as described, or the voxel size is not known.
    """
    _check_method(method)
    given = read_mask_argument(mask)
    voxels = label_voxels(given.voxels, given.attributes, label)
    spacing_zyx_mm = agreed_spacing(spacing, ("mask", given))
    return _as_mapping(_measure(voxels, spacing_zyx_mm, method=method), MORPHOLOGY)


def compare_masks(
    a: ArrayLike | xr.DataArray,
    b: ArrayLike | xr.DataArray,
    *,
    spacing: PerAxis[float] | None = None,
    tolerance: float = TOLERANCE_MM,
    label: str | None = None,
) -> dict[str, Any]:
    """Compare two masks (z, y, x) on one grid.

    Parameters
    ----------
    a, b
        Booleans or integers; above 0 is tumor. `a` is the reference for precision and sensitivity. Two DataArrays
        must have the same coordinates.
    spacing
        As for :func:`npczarr.measure_mask`.
    tolerance
        In mm, for `surface_dice`, as for :func:`npczarr.agreement`.
    label
        Label to compare, of DataArrays whose attributes name several.

    Returns
    -------
    dict
        Numbers by name as in :func:`npczarr.agreement`.

    Raises
    ------
    ParameterError
        If an argument is not as described, the voxel size is not known, or the grids differ.
    """
    _check_tolerance(tolerance)
    one, other = read_mask_argument(a, "a"), read_mask_argument(b, "b")
    check_same_grid(one, other)
    spacing_zyx_mm = agreed_spacing(spacing, ("a", one), ("b", other))
    a_voxels, b_voxels = label_pair(one, other, label)
    return _as_mapping(_compare(a_voxels, b_voxels, spacing_zyx_mm, tolerance_mm=tolerance), AGREEMENT)


def _check_method(method: object) -> None:
    if method == _METHOD:
        return
    from npczarr.kernels.patterns import METHODS

    if method not in METHODS:
        raise ParameterError(f"method must be one of {', '.join(METHODS)}, got {method!r}")


def _check_tolerance(tolerance: Any) -> None:  # noqa: ANN401 - whatever the user gave
    number = isinstance(tolerance, int | float | np.number) and not isinstance(tolerance, bool)
    if not number or not np.isfinite(tolerance) or tolerance < 0:
        raise ParameterError(f"tolerance must be a number of mm, 0 or more, got {tolerance!r}")


def _mask(dataset: xr.Dataset) -> xr.DataArray:
    check_voxels(dataset, "mask")
    return dataset["mask"]


def _compared(
    masks: Sequence[xr.DataArray],
    geometry: xr.DataArray,
    tolerance: float,
    label: LabelChoice,
    *,
    name: str,
    messages: xr.DataArray | None = None,
) -> xr.Dataset:
    """Compare each mask with each that follows it, along `pair`."""
    _check_tolerance(tolerance)
    pairs = list(combinations(range(len(masks)), 2))
    return with_labels(
        masks[0],
        label,
        lambda labels: map_scans(
            _compare_scan,
            masks,
            geometry,
            AGREEMENT,
            name=name,
            labels=labels,
            readings=pairs,
            messages=messages,
            tolerance_mm=tolerance,
        ),
    )


def _measure_scan(mask: NDArray[Any], spacing_zyx_mm: Sequence[float], *, method: Method) -> Row:
    """Measure a scan; where its spacing is not known, what needs no length is measured all the same."""
    if np.isfinite(spacing_zyx_mm).all():
        return _measure(mask, spacing_zyx_mm, method=method)
    return _without_lengths(_measure(mask, (1.0, 1.0, 1.0), method=method), MORPHOLOGY)


def _compare_scan(
    a: NDArray[Any],
    b: NDArray[Any],
    spacing_zyx_mm: Sequence[float],
    *,
    tolerance_mm: float,
) -> Row:
    if np.isfinite(spacing_zyx_mm).all():
        return _compare(a, b, spacing_zyx_mm, tolerance_mm=tolerance_mm)
    return _without_lengths(_compare(a, b, (1.0, 1.0, 1.0), tolerance_mm=tolerance_mm), AGREEMENT)


def _without_lengths(row: Row, registry: Sequence[Variable]) -> Row:
    needs = [v.units != "1" or v.name in LENGTH_RATIOS for v in registry for _ in range(3 if "axis" in v.dims else 1)]
    return np.where(needs, np.nan, row)


def _measure(mask: NDArray[Any], spacing_zyx_mm: Sequence[float], *, method: Method) -> Row:
    from npczarr.kernels.morphology import measure

    found = asdict(measure(mask, spacing_zyx_mm, method=method))
    return _row(found, MORPHOLOGY)


def _compare(a: NDArray[Any], b: NDArray[Any], spacing_zyx_mm: Sequence[float], *, tolerance_mm: float) -> Row:
    from npczarr.kernels.agreement import compare

    found = asdict(compare(a, b, spacing_zyx_mm, tolerance_mm=tolerance_mm))
    return _row(found, AGREEMENT)


def _row(found: dict[str, Any], registry: Sequence[Variable]) -> Row:
    """Lay out what a kernel found in the order of the registry; kernels add the unit to a name."""
    plain = {
        key.removesuffix("_zyx").removesuffix("_mm3").removesuffix("_mm2").removesuffix("_mm"): value
        for key, value in found.items()
    }
    return np.hstack([np.asarray(plain[variable.name], dtype=np.float64) for variable in registry])


def _as_mapping(row: Row, registry: Sequence[Variable]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    rest = row.tolist()
    for variable in registry:
        width = 3 if "axis" in variable.dims else 1
        values[variable.name] = rest[0] if width == 1 else rest[:width]
        rest = rest[width:]
    return values
