"""Every lesion of a cohort, in two readings: one row each, matched, missed or extra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from dask.base import compute
from dask.delayed import delayed
from numpy.typing import ArrayLike, NDArray

from npczarr.errors import ParameterError
from npczarr.graphs.batches import values_of
from npczarr.graphs.changed_datasets import check_voxels, check_whole, scan_labels
from npczarr.graphs.label_dim import LabelChoice, check_named, chosen_labels, names_in, only
from npczarr.graphs.map_scans import in_order, scan_geometry, whole_scans
from npczarr.graphs.mask_arguments import agreed_spacing, check_same_grid, label_pair, read_mask_argument
from npczarr.graphs.predicted_masks import no_messages, warn_of_messages
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
        If predictions are of no scan of the store; of a selection of its scans, the others are left out. If something
        must be known of a prediction before its lesions are trusted, as :func:`npczarr.score` says it; each text is in
        ``attrs["messages"]``, by ``"<patient>/<sequence>"``.

    Notes
    -----
    A lesion is a 26-connected piece; pairs are matched from the largest intersection over union down, as panoptica
    does.
    """
    check_voxels(dataset, "mask")
    labels = chosen_labels(dataset["mask"], label)
    known = tuple(names_in(dataset["mask"].attrs, dataset["mask"].dtype).values())
    pairs: list[dict[str, str]] = []
    spacings: list[tuple[float, ...]] = []
    parts: list[da.Array] = []
    lead = tuple(dim for dim in in_order(dataset)["mask"].dims if dim not in (*AXES, "rater"))
    scans = scan_labels(dataset, lead)
    for key, (a, b, said), geometry in _pairs(dataset, lead, predictions, config, storage_options):
        check_whole(geometry[..., :3], dataset.sizes)
        for at in np.ndindex(*geometry.shape[:-1]):
            z, y, x, *spacing, there = geometry[at]
            if not there or min(z, y, x) <= 0:
                continue
            window = (*at, slice(int(z)), slice(int(y)), slice(int(x)))
            pairs.append({**{dim: str(scans[dim][at]) for dim in SCAN}, **key})
            spacings.append(tuple(spacing))
            parts += [a[window], b[window], said[at]]
    values = values_of(parts)
    scans_in_turn = zip(values[::3], values[1::3], values[2::3], spacings, strict=True)
    found = compute(*(delayed(_of_labels)(*scan, labels, known, iou) for scan in scans_in_turn))
    messages = {(one[SCAN[0]], one[SCAN[1]]): said for one, (_, said) in zip(pairs, found, strict=True) if said}
    warn_of_messages(messages, stacklevel=2)
    frame = _as_frame([{**one, **row} for one, (rows, _) in zip(pairs, found, strict=True) for row in rows], SCAN)
    frame.attrs["messages"] = {"/".join(key): text for key, text in messages.items()}
    return frame


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
    a_voxels, b_voxels = label_pair(one, other, label)
    return _as_frame(_rows(a_voxels, b_voxels, spacing_zyx_mm, None, iou))


def _pairs(
    dataset: xr.Dataset,
    lead: Sequence[Any],
    predictions: str | Path | None,
    config: str | Path | None,
    storage_options: Mapping[str, Any] | None,
) -> Iterator[tuple[dict[str, str], tuple[da.Array, da.Array, da.Array], NDArray[np.float64]]]:
    """Give each pair of readings: its name, the masks on the scans, z, y, x, and the geometry of the scans.

    With the masks comes what is said of each scan as the second is read.
    """
    mask = dataset["mask"]
    if predictions is not None:
        warn_of_unmatched(dataset, predictions, config=config, storage_options=storage_options)
        other = read_predictions(dataset, predictions, config=config, storage_options=storage_options)
        masks = _voxels(mask, lead), _voxels(other.mask, lead), other.messages.transpose(*lead).data
        yield {}, masks, _on(dataset, lead, scan_geometry(dataset, other.there))
        return
    raters = [str(rater) for rater in mask["rater"].values] if "rater" in mask.dims else []
    if len(raters) < 2:
        raise ParameterError("expected predictions, or a store of masks by two or more raters; give one of them")
    geometry = _on(dataset, lead, scan_geometry(dataset.drop_dims("rater")))
    nothing = no_messages(xr.DataArray(geometry[..., 0])).data
    for i, j in combinations(range(len(raters)), 2):
        name = {"pair": f"{raters[i]} - {raters[j]}"} if len(raters) > 2 else {}
        a, b = (_voxels(mask.isel(rater=one, drop=True), lead) for one in (i, j))
        yield name, (a, b, nothing), geometry


def _voxels(mask: xr.DataArray, lead: Sequence[Any]) -> da.Array:
    voxels: da.Array = whole_scans(mask.transpose(*lead, *AXES)).data
    return voxels


def _on(dataset: xr.Dataset, lead: Sequence[Any], geometry: xr.DataArray) -> NDArray[np.float64]:
    """Values of what :func:`scan_geometry` gives, (…, 7) on the scans."""
    sizes = {dim: dataset.sizes[dim] for dim in lead}
    values: NDArray[np.float64] = geometry.variable.set_dims({**sizes, "geometry": geometry.sizes["geometry"]}).values
    return values


def _of_labels(
    a: NDArray[Any],
    b: NDArray[Any],
    said: Any,  # noqa: ANN401 - text, or an array of one
    spacing_zyx_mm: Sequence[float],
    labels: Sequence[tuple[str | None, int | None]],
    known: Sequence[int],
    iou: float,
) -> tuple[list[dict[str, Any]], str]:
    """Rows of one scan, of each label, and what is said of it."""
    rows = []
    for name, number in labels:
        named = {} if name is None else {"label": name}
        found = _rows(a, b, spacing_zyx_mm, number, iou, () if number is None else known)
        rows += [{**named, **row} for row in found]
    return rows, str(np.asarray(said, dtype=object)[()])


def _rows(
    a: NDArray[Any],
    b: NDArray[Any],
    spacing_zyx_mm: Sequence[float],
    number: int | None,
    iou: float,
    known: Sequence[int] = (),
) -> list[dict[str, Any]]:
    """Rows of one scan: the lesions of a in the order of their first voxels, then those of b without a match."""
    for mask in (a, b) if known else ():
        check_named(mask, known)
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


def _as_frame(rows: list[dict[str, Any]], of: Sequence[str] = ()) -> pd.DataFrame:
    """Lay out rows; in the columns `of` first, also where there are none."""
    first = [*of, *(name for name in ("pair", "label") if any(name in row for row in rows))]
    frame = pd.DataFrame(rows, columns=[*first, *_VALUES])
    if "patient" in frame:
        add_visits(frame, frame["patient"], at=1)
    frame.attrs["units"] = dict(_UNITS)
    return frame
