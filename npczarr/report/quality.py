"""Findings: the scans of a cohort to look at again, why, and on what evidence."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from npczarr.report.scored_scans import ScoredScan
from npczarr.report.scores import SCORES
from npczarr.store.axis_order import in_axis_order

RESOLUTION_RATIO = 1.5  # a voxel so many times larger or smaller than is usual in its sequence
OUTLYING = 3.5  # modified z score, Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993
_LEAST = 10  # scans of a sequence: of fewer, none can be called an outlier
_CLIPPED_PERCENT = 1.0
_GHOSTING_PERCENT = 3.0  # ACR MRI Quality Control Manual, 2015
Row = tuple[str, str, str, str, str]
COLUMNS = ("patient", "sequence", "problem", "reason", "evidence")

#: Problems by name, worst first, and what each means.
PROBLEMS: Mapping[str, str] = {
    "refused": "not stored, for the reason given",
    "missing": "not in the source",
    "pending": "being written, or left by an interrupted run: convert again, or import the masks again",
    "damaged": "the stored voxels cannot be read: run npczarr validate",
    "mask refused": "the image is stored, its mask is not, for the reason given",
    "empty mask": "a mask without tumor",
    "no mask": "an image without a mask",
    "warning": "stored, with a reservation of the conversion",
    "sequences disagree": "the largest tumor volume of a patient's sequences is more than twice the smallest",
    "end slice": "tumor on the first or last slice: it may go on outside the volume",
    "several pieces": "the tumor is in more than one piece (26-connected)",
    "resolution": f"a voxel side more than {RESOLUTION_RATIO} times larger or smaller than its sequence's median",
    "blank slices": "slices of one value only",
    "clipped": f"more than {_CLIPPED_PERCENT:g} % of the head's pixels have the scan's largest value",
    "low signal": f"signal to noise far below its sequence's (modified z score of its logarithm under -{OUTLYING})",
    "ghosting": f"ghosting of more than {_GHOSTING_PERCENT:g} %, the limit of the ACR phantom test",
    "uneven slices": f"a slice unlike its neighbors (modified z score of its logarithm over {OUTLYING})",
}


def score_table(scored: Mapping[tuple[str, str], ScoredScan]) -> pd.DataFrame:
    """Return the scores of every scan that could be read: `patient`, `sequence`, and the fields of ``Scores``."""
    rows = [
        {"patient": patient, "sequence": sequence, **{name: getattr(seen.scores, name) for name in SCORES}}
        for (patient, sequence), seen in scored.items()
        if seen.scores is not None
    ]
    return pd.DataFrame(rows, columns=["patient", "sequence", *SCORES])


def findings(
    dataset: xr.Dataset,
    scored: Mapping[tuple[str, str], ScoredScan] | None = None,
    flags: xr.Dataset | None = None,
    *,
    label: str = "",
) -> pd.DataFrame:
    """List every problem of every scan.

    Parameters
    ----------
    dataset
        A cohort opened from a store.
    scored
        What :func:`npczarr.report.scored_scans.score_scans` gives; without it voxels give no findings.
    flags
        What :func:`npczarr.quality` gives of the cohort's morphology; without it shapes and volumes give no findings.
    label
        Label of which the masks' numbers are, in `dataset` and in the others; "" where masks have one alone.

    Returns
    -------
    pandas.DataFrame
        `patient`, `sequence` (``"all"`` where it concerns the patient), `problem` (a key of ``PROBLEMS``), `reason` in
        words, `evidence`; in the order of the store's patients, the worst of a scan first.
    """
    dataset = in_axis_order(dataset)
    patients, sequences = ([str(name) for name in dataset[dim].values] for dim in ("patient", "sequence"))
    rows = _of_scans(dataset, patients, sequences, label) + _resolution(dataset, patients, sequences)
    if flags is not None:
        rows += _of_shapes(flags, dataset, label)
    if scored is not None:
        rows += [(*scan, "damaged", seen.problem, "") for scan, seen in scored.items() if seen.problem]
        rows += _of_scores(score_table(scored))
    places = [*patients], ["all", *sequences], [*PROBLEMS]
    ranks = [{name: rank for rank, name in enumerate(names)} for names in places]
    rows.sort(key=lambda row: tuple(rank[name] for rank, name in zip(ranks, row, strict=False)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _of_scans(dataset: xr.Dataset, patients: list[str], sequences: list[str], label: str) -> list[Row]:
    """List what the conversion found in each scan."""
    tables = {name: dataset[name].values for name in _USED if name in dataset}
    rows: list[Row] = []
    for (p, patient), (s, sequence) in product(enumerate(patients), enumerate(sequences)):
        one = {name: values[p, s] for name, values in tables.items()}
        rows += [(patient, sequence, *found) for found in _of_conversion(one, label)]
    return rows


def mask_orientation(dataset: xr.Dataset) -> pd.DataFrame:
    """Count masks by the axes along which they were stored against their image: a row for each set, by sequence."""
    masked = np.isin(dataset["mask_status"].values.astype(object), ("ok", "warning"))
    flips = dataset["mask_axes_flipped"].values.astype(object)
    counts = {
        str(sequence): pd.Series(flips[masked[:, s], s], dtype=object).map(_axes_in_words).value_counts()
        for s, sequence in enumerate(dataset["sequence"].values)
    }
    table = pd.DataFrame(counts).fillna(0).astype(int)
    table.index.name = "rows of the mask file, against the image"
    return table.loc[table.sum(axis=1).sort_values(ascending=False, kind="stable").index]


def modified_z(values: pd.Series[float]) -> pd.Series[float]:
    """Distance of each value from the median in robust standard deviations: 0.6745 (x - median) / MAD.

    NaN where there are fewer than ten values, or more than half of them are equal (Iglewicz and Hoaglin 1993).
    """
    known = values.replace([np.inf, -np.inf], np.nan).dropna()
    deviation = float((known - known.median()).abs().median()) if len(known) >= _LEAST else 0.0
    return 0.6745 * (values - known.median()) / (deviation or float("nan"))


_USED = (
    "status", "message", "mask_status", "mask_voxels", "mask_touches_end_slice", "mask_affine_error",
    "mask_axes_flipped", "mask_inside_fraction", "shape", "spacing",
)  # fmt: skip


def _axes_in_words(axes: str) -> str:
    return f"reversed along {' and '.join(axes.split())}" if axes else "same direction"


def _of_conversion(one: Mapping[str, Any], label: str) -> list[tuple[str, str, str]]:
    """List what the conversion found in one scan, and what there is of the label."""
    status, message, evidence = str(one["status"]), str(one["message"]), _evidence(one, label)
    masked = str(one.get("mask_status", "")) in ("ok", "warning")
    empty = masked and one["mask_voxels"] == 0
    nothing = f"the mask holds no {label}" if label else "the mask is empty"
    found = []
    if status == "warning":
        unmasked = {"refused": "mask refused", "missing": "no mask"}.get(str(one.get("mask_status", "")), "warning")
        told = "; ".join(filter(None, (message, nothing))) if empty and label else message or PROBLEMS[status]
        found.append(("empty mask" if empty else unmasked, told, evidence))
    elif status != "ok":
        found.append((status, message or PROBLEMS[status], evidence))
    elif empty:
        found.append(("empty mask", nothing, evidence))
    if masked and one["mask_touches_end_slice"] > 0:
        reason = f"{label or 'tumor'} on the first or last slice: it may go on outside the volume"
        found.append(("end slice", reason, evidence))
    return found


def _evidence(one: Mapping[str, Any], label: str) -> str:
    parts = []
    if int(np.prod(one["shape"])):
        sizes = " × ".join(str(int(n)) for n in one["shape"])
        parts.append(f"{sizes} voxels of {' × '.join(f'{n:.4g}' for n in one['spacing'])} mm (z, y, x)")
    if str(one.get("mask_status", "")) in ("ok", "warning"):
        if np.isfinite(one["mask_voxels"]):
            parts.append(f"{int(one['mask_voxels'])} voxels of {label or 'tumor'}")
        if one["mask_affine_error"] > 0.01:
            parts.append(f"mask grid {one['mask_affine_error']:.2f} mm off")
        if str(one["mask_axes_flipped"]):
            parts.append(f"mask file reversed along {one['mask_axes_flipped']}")
        if one["mask_inside_fraction"] < 1:
            parts.append(f"{one['mask_inside_fraction']:.1%} of {'all labels' if label else 'the tumor'} inside")
    return "; ".join(parts)


def _resolution(dataset: xr.Dataset, patients: list[str], sequences: list[str]) -> list[Row]:
    rows = []
    spacing = np.where(dataset["shape"].values > 0, dataset["spacing"].values, np.nan)
    for s, sequence in enumerate(sequences):
        known = spacing[:, s][np.isfinite(spacing[:, s]).any(axis=1)]
        if not len(known):
            continue
        usual = np.array(
            [np.median(side[np.isfinite(side)]) if np.isfinite(side).any() else np.nan for side in known.T]
        )
        ratio = spacing[:, s] / usual
        apart = (ratio > RESOLUTION_RATIO) | (ratio < 1 / RESOLUTION_RATIO)
        for p in np.flatnonzero(apart.any(axis=1)):
            axes = [axis for axis, far in zip("zyx", apart[p], strict=True) if far]
            reason = f"voxels unlike the other {sequence} scans along {', '.join(axes)}"
            sizes = (" × ".join(f"{n:.4g}" for n in sides) for sides in (spacing[p, s], usual))
            rows.append((patients[p], sequence, "resolution", reason, "{} mm, usually {} mm (z, y, x)".format(*sizes)))
    return rows


def _of_shapes(flags: xr.Dataset, dataset: xr.Dataset, label: str) -> list[Row]:
    """List what the morphology found, without what the conversion has found already."""
    what = label or "tumor"
    rows = []
    known = [str(name) for name in dataset["patient"].values]
    for patient in (str(name) for name in flags["patient"].values):
        one = flags.sel(patient=patient)
        if patient not in known:
            continue
        for s, sequence in enumerate(one["sequence"].values):
            if bool(one["several_pieces"].values[s]):
                rows.append((patient, str(sequence), "several pieces", f"the {what} is in more than one piece", ""))
        if bool(one["volumes_disagree"]):
            ratio = f"largest volume over smallest {float(one['volume_ratio']):.2f}"
            rows.append((patient, "all", "sequences disagree", f"the sequences' {what} volumes differ", ratio))
    return rows


def _of_scores(scores: pd.DataFrame) -> list[Row]:
    rows = []
    for _, one in scores.groupby("sequence", sort=False):
        signal, steps = (modified_z(np.log(one[name].where(one[name] > 0))) for name in ("snr", "uneven"))
        apart = {
            "low signal": (signal < -OUTLYING, "signal to noise far below the sequence's", "snr", "SNR"),
            "ghosting": (
                one["ghosting"] > _GHOSTING_PERCENT,
                "signal of the head is repeated in the air",
                "ghosting",
                "%",
            ),
            "uneven slices": (steps > OUTLYING, "a slice out of step with its neighbors", "uneven", "%"),
            "clipped": (one["clipped"] > _CLIPPED_PERCENT, "signal cut off at the largest value", "clipped", "%"),
            "blank slices": (one["blank_slices"] > 0, "slices of one value only", "blank_slices", "slices"),
        }
        for problem, (chosen, reason, column, unit) in apart.items():
            if not chosen.any():
                continue
            usual = one[column].median()
            for _, row in one[chosen].iterrows():
                evidence = f"{row[column]:.3g} {unit}, median of the sequence {usual:.3g}"
                rows.append((str(row["patient"]), str(row["sequence"]), problem, reason, evidence))
    return rows
