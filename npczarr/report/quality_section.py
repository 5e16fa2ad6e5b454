"""The section on quality: scans to look at again, with pictures; orientation, coverage and scores of all scans."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from npczarr.report.blocks import (
    Block,
    Glossary,
    ProblemRow,
    Problems,
    Words,
    as_csv,
    as_table,
)
from npczarr.report.contents import Contents
from npczarr.report.figures import scores_by_sequence
from npczarr.report.inputs import ReportInputs
from npczarr.report.quality import PROBLEMS, mask_orientation
from npczarr.report.scores import MEANINGS, SCORES
from npczarr.report.style import data_url

_BAD = ("refused", "damaged", "mask refused", "empty mask", "pending")
_SHOWN = ("snr", "ghosting", "uneven")  # scores in the list of problems
_NAMED = 12  # patients in one row
_UNITS = {"ghosting": "ghosting, %", "uneven": "uneven, %", "clipped": "clipped, %", "snr": "SNR"}


def quality_blocks(inputs: ReportInputs, contents: Contents) -> list[Block]:
    """Write the section on quality."""
    found = inputs.findings
    contents.tables["quality_findings"] = found.set_index(["patient", "sequence"])
    contents.tables["quality_scores"] = inputs.scores.set_index(["patient", "sequence"])
    blocks: list[Block] = [Words(_in_short(inputs))]
    if len(found):
        rows = _rows(inputs)
        blocks.append(Problems("Scans to look at again", rows))
        blocks.append(as_csv(found, "quality.csv", "Save this list as CSV"))
    blocks.append(
        contents.drawn(
            "image_scores",
            "Scores of the images",
            "Signal to noise, ghosting and the largest step between slices of every scan, by sequence; defined below.",
            lambda: scores_by_sequence(
                inputs.scores,
                [sequence for sequence in _sequences(inputs) if (inputs.scores["sequence"] == sequence).any()],
                _SHOWN,
                ["SNR", "Ghosting, %", "Uneven, %"],
            ),
        )
    )
    what = f"where {inputs.label} lies in its" if inputs.label else "where tumors lie in their"
    blocks.append(as_table(_coverage(inputs), f"Coverage: {what} volumes"))
    orientation = mask_orientation(inputs.dataset)
    if len(orientation):
        blocks.append(
            as_table(
                orientation,
                "Orientation of masks",
                notes=["Masks are turned onto their images; nothing is to be done."],
            )
        )
    if len(inputs.scores):
        count = f"Scores of every scan ({len(inputs.scores)})"
        blocks.append(as_table(_scores(inputs.scores), "Scores of every scan", sortable=True, folded=count))
        blocks.append(as_csv(inputs.scores, "scores.csv", "Save the scores as CSV"))
        blocks.append(Glossary("What the scores mean", tuple(MEANINGS.items())))
    if len(found):
        blocks.append(Glossary("What each problem means", tuple((n, PROBLEMS[n]) for n in _present(found))))
    return blocks


def _in_short(inputs: ReportInputs) -> str:
    found, looked = inputs.findings, len(inputs.scored)
    read = f"{looked} scan{' was' if looked == 1 else 's were'} read whole for this page."
    if found.empty:
        return f"Nothing to look at again. {read}"
    counts = found["problem"].value_counts()
    listed = ", ".join(f"{name} {counts[name]}" for name in _present(found))
    return f"To look at again, by problem: {listed}. {read}"


def _present(found: pd.DataFrame) -> list[str]:
    return [name for name in PROBLEMS if (found["problem"] == name).any()]


def _rows(inputs: ReportInputs) -> tuple[ProblemRow, ...]:
    rank = list(PROBLEMS)
    scans = inputs.scores[["patient", "sequence"]].itertuples(index=False, name=None)
    numbers = dict(zip(scans, inputs.scores[list(_SHOWN)].to_numpy(float), strict=True))
    rows = []
    for patient, sequence, one in _by_scan(inputs):
        known = numbers.get((patient, sequence), np.full(len(_SHOWN), np.nan))
        rows.append(
            ProblemRow(
                patient,
                sequence,
                min(rank.index(problem) for problem in one["problem"]),
                _pictures(inputs, patient, _sequences(inputs) if sequence == "all" else [sequence]),
                tuple((problem, problem in _BAD) for problem in one["problem"]),
                tuple(zip(one["reason"], one["evidence"], strict=True)),
                tuple("" if not np.isfinite(n) else f"{n:.3g}" for n in known),
            )
        )
    return _merged(rows, len(inputs.dataset["patient"]))


def _pictures(inputs: ReportInputs, patient: str, sequences: list[str]) -> tuple[str, ...]:
    """URLs of the pictures of a patient's scans."""
    seen = [inputs.scored[patient, sequence] for sequence in sequences if (patient, sequence) in inputs.scored]
    return tuple(data_url(one.thumbnail.content, "webp") for one in seen if one.thumbnail is not None)


def _merged(rows: list[ProblemRow], patients: int) -> tuple[ProblemRow, ...]:
    """Merge rows without a picture whose problems and reasons are the same, such as those of ten missing scans."""
    alike: dict[object, list[ProblemRow]] = {}
    for row in rows:
        same = (row.problems, row.reasons, row.numbers) if not row.pictures else (row.patient, row.sequence)
        alike.setdefault(same, []).append(row)
    return tuple(_one_row(found, patients) for found in alike.values())


def _one_row(rows: list[ProblemRow], patients: int) -> ProblemRow:
    if len(rows) == 1:
        return rows[0]
    labels = [*dict.fromkeys(row.patient for row in rows)]
    who = f"all {patients}" if len(labels) == patients else ", ".join(labels[:_NAMED])
    who += f" and {len(labels) - _NAMED} more" if _NAMED < len(labels) < patients else ""
    sequences = ", ".join(dict.fromkeys(row.sequence for row in rows))
    return replace(rows[0], patient=f"{len(rows)} scans: {who}", sequence=sequences)


def _by_scan(inputs: ReportInputs) -> Iterator[tuple[str, str, pd.DataFrame]]:
    for (patient, sequence), one in inputs.findings.groupby(["patient", "sequence"], sort=False):
        yield str(patient), str(sequence), one


def _sequences(inputs: ReportInputs) -> list[str]:
    return [str(label) for label in inputs.dataset["sequence"].values]


def _coverage(inputs: ReportInputs) -> pd.DataFrame:
    """Count masks that are empty, cut off or off the grid, for each sequence; the last two are of masks whole."""
    dataset = inputs.dataset
    masked = np.isin(dataset["mask_status"].values.astype(object), ("ok", "warning"))
    voxels, ends = dataset["mask_voxels"].values, dataset["mask_touches_end_slice"].values > 0
    inside = dataset["mask_inside_fraction"].values
    whole = ", all labels" if inputs.label else ""
    counts = {
        "masks": masked,
        "empty": masked & (voxels == 0),
        "at the first or last slice": masked & ends,
        f"partly outside the image{whole}": masked & (inside < 1),
        f"resampled or off the grid{whole}": masked
        & (dataset["mask_status"].values.astype(object) == "warning")
        & (voxels > 0),
    }
    table = pd.DataFrame({name: flags.sum(axis=0) for name, flags in counts.items()}, index=_sequences(inputs))
    table.index.name = "sequence"
    return table


def _scores(scores: pd.DataFrame) -> pd.DataFrame:
    shown = scores.set_index(["patient", "sequence"]).map(lambda n: f"{n:.3g}" if np.isfinite(n) else "")
    return shown.rename(columns={name: _UNITS.get(name, name.replace("_", " ")) for name in SCORES})
