"""Every lesion of a cohort, in two readings: one row each, matched, missed or extra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from dask.base import compute
from dask.delayed import delayed
from numpy.typing import ArrayLike, NDArray

from npczarr.errors import ParameterError
from npczarr.graphs.label_dim import LabelChoice, chosen_labels, number_of, only
from npczarr.graphs.map_scans import scan_geometry, whole_scans
from npczarr.graphs.mask_arguments import agreed_spacing, check_same_grid, read_mask_argument
from npczarr.graphs.predictions import read_predictions, warn_of_unmatched
from npczarr.graphs.visits import add_visits
from npczarr.kernels.lesions import MATCH_IOU, Lesions, match_lesions
from npczarr.model.geometry import AXES
from npczarr.model.per_axis import PerAxis
from npczarr.model.schema import SCAN

_VALUES = ("found", "volume_a", "volume_b", "dice", "iou", *AXES)
_UNITS = {"volume_a": "mm3", "volume_b": "mm3"}


def lesions(
    dataset: xr.Dataset,
    predictions: str | Path | None = None,
    *,
    iou: float = MATCH_IOU,
    label: LabelChoice = None,
    config: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """List every lesion of a cohort's masks and of others, matched one to one.

    Parameters
    ----------
    dataset
        A cohort opened from a store, or any selection of it.
    predictions
        Masks to compare with the cohort's, as for :func:`npczarr.score`; None for those of the raters of the store.
    iou
        Intersection over union from which two lesions are the same one.
    label, config, storage_options
        As for :func:`npczarr.score`.

    Returns
    -------
    pandas.DataFrame
        One row a lesion: `patient` (with `subject` and `session` where there are visits), `sequence`, `label` and
        `pair` where there are several, `found` (``"matched"``, ``"missed"``: in the reference alone, ``"extra"``: in
        the other alone), `volume_a` and `volume_b` in mm3, `dice` and `iou` of the match, and `z`, `y`, `x`, the first
        voxel of the lesion. Volumes are NaN where the spacing is not known.

    Raises
    ------
    ParameterError
        If there are neither predictions nor two raters, or an argument is not as described.
    SourceError, StoreError
        If a mask cannot be read.

    Warns
    -----
    UserWarning
        If predictions are of no scan of the store; of a selection of its scans, the others are left out.

    Notes
    -----
    A lesion is a 26-connected piece; pairs are matched from the largest intersection over union down, as panoptica
    does.
    """
    labels = chosen_labels(dataset["mask"], label)
    rows: list[dict[str, Any]] = []
    tasks: list[Any] = []
    for keys, a, b, geometry in _pairs(dataset, predictions, config, storage_options):
        scans = geometry.transpose(*SCAN, "geometry")
        for at in np.ndindex(*scans.shape[:2]):
            z, y, x, *spacing, there = scans.values[at]
            if not there or min(z, y, x) <= 0:
                continue
            window = (*at, slice(int(z)), slice(int(y)), slice(int(x)))
            names = {dim: str(scans[dim].values[i]) for dim, i in zip(SCAN, at, strict=True)}
            for name, number in labels:
                rows.append({**names, **({} if name is None else {"label": name}), **keys})
                tasks.append(delayed(_rows)(a.data[window], b.data[window], tuple(spacing), number, iou))
    found = compute(*tasks)
    return _as_frame([{**key, **row} for key, several in zip(rows, found, strict=True) for row in several])


def compare_lesions(
    a: ArrayLike | xr.DataArray,
    b: ArrayLike | xr.DataArray,
    *,
    spacing: PerAxis[float] | None = None,
    iou: float = MATCH_IOU,
    label: str | None = None,
) -> pd.DataFrame:
    """List every lesion of two masks (z, y, x) on one grid, matched one to one.

    Parameters
    ----------
    a, b, spacing, label
        As for :func:`npczarr.compare_masks`; `a` is the reference.
    iou
        Intersection over union from which two lesions are the same one.

    Returns
    -------
    pandas.DataFrame
        One row a lesion, as in :func:`npczarr.lesions`.

    Raises
    ------
    ParameterError
        If an argument is not as described, the voxel size is not known, or the grids differ.
    """
    one, other = read_mask_argument(a, "a"), read_mask_argument(b, "b")
    check_same_grid(one, other)
    spacing_zyx_mm = agreed_spacing(spacing, ("a", one), ("b", other))
    a_voxels = only(one.voxels, number_of(one.attributes, label, "a"))
    b_voxels = only(other.voxels, number_of(other.attributes or one.attributes, label, "b"))
    return _as_frame(_rows(a_voxels, b_voxels, spacing_zyx_mm, None, iou))


def _pairs(
    dataset: xr.Dataset,
    predictions: str | Path | None,
    config: str | Path | None,
    storage_options: Mapping[str, Any] | None,
) -> Iterator[tuple[dict[str, str], xr.DataArray, xr.DataArray, xr.DataArray]]:
    """Give each pair of readings: its name, the masks on (patient, sequence, z, y, x), and where there are both."""
    if dropped := [dim for dim in SCAN if dim not in dataset.dims]:  # only data variables get them back
        others = [name for name in dataset.coords if name not in dataset.indexes and name not in SCAN]
        dataset = dataset.reset_coords(others).expand_dims(dropped)
    mask = dataset["mask"]
    if predictions is not None:
        warn_of_unmatched(dataset, predictions, config=config, storage_options=storage_options)
        other, there, _ = read_predictions(dataset, predictions, config=config, storage_options=storage_options)
        yield {}, _ordered(mask), _ordered(other), _labeled(scan_geometry(dataset, there), dataset)
        return
    raters = [str(rater) for rater in mask["rater"].values] if "rater" in mask.dims else []
    if len(raters) < 2:
        raise ParameterError("expected predictions, or a store of masks by two or more raters; give one of them")
    geometry = _labeled(scan_geometry(dataset.drop_dims("rater")), dataset)
    for i, j in combinations(range(len(raters)), 2):
        name = {"pair": f"{raters[i]} - {raters[j]}"} if len(raters) > 2 else {}
        yield name, _ordered(mask.isel(rater=i, drop=True)), _ordered(mask.isel(rater=j, drop=True)), geometry


def _ordered(mask: xr.DataArray) -> xr.DataArray:
    return whole_scans(mask.transpose(*SCAN, *AXES))


def _labeled(geometry: xr.DataArray, dataset: xr.Dataset) -> xr.DataArray:
    return geometry.compute().assign_coords({dim: dataset[dim].values for dim in SCAN})


def _rows(
    a: NDArray[Any], b: NDArray[Any], spacing_zyx_mm: Sequence[float], number: int | None, iou: float
) -> list[dict[str, Any]]:
    """Rows of one scan: the lesions of a in the order of their first voxels, then those of b without a match."""
    found = match_lesions(only(a, number), only(b, number), iou=iou)
    voxel_mm3 = float(np.prod(spacing_zyx_mm))
    matches = {int(i): n for n, i in enumerate(found.match_a)}
    rows = [_row(found, voxel_mm3, i, matches.get(i)) for i in range(len(found.voxels_a))]
    extra = sorted(set(range(len(found.voxels_b))) - set(found.match_b.tolist()))
    for i in extra:
        place = dict(zip(AXES, found.first_b_zyx[i].tolist(), strict=True))
        volume = float(found.voxels_b[i]) * voxel_mm3
        rows.append({"found": "extra", "volume_a": np.nan, "volume_b": volume, "dice": 0.0, "iou": 0.0, **place})
    return rows


def _row(found: Lesions, voxel_mm3: float, i: int, match: int | None) -> dict[str, Any]:
    """Row of a lesion of a, with its match if there is one."""
    place = dict(zip(AXES, found.first_a_zyx[i].tolist(), strict=True))
    own = int(found.voxels_a[i])
    if match is None:
        return {"found": "missed", "volume_a": own * voxel_mm3, "volume_b": np.nan, "dice": 0.0, "iou": 0.0, **place}
    other, both = int(found.voxels_b[found.match_b[match]]), int(found.voxels_both[match])
    return {
        "found": "matched",
        "volume_a": own * voxel_mm3,
        "volume_b": other * voxel_mm3,
        "dice": 2 * both / (own + other),
        "iou": both / (own + other - both),
        **place,
    }


def _as_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    first = [name for name in (*SCAN, "pair", "label") if any(name in row for row in rows)]
    frame = pd.DataFrame(rows, columns=[*first, *_VALUES])
    if "patient" in frame:
        add_visits(frame, frame["patient"], at=1)
    frame.attrs["units"] = dict(_UNITS)
    return frame
