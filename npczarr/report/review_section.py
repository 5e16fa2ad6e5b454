"""The section on a review: what was decided on the scans, and which are excluded for what reason."""

from __future__ import annotations

import shlex

import numpy as np
import pandas as pd
import xarray as xr

from npczarr.model.review import REASONS
from npczarr.report.blocks import Absent, Block, Words, as_csv, as_table
from npczarr.report.contents import Contents
from npczarr.report.inputs import ReportInputs, stored


def review_blocks(inputs: ReportInputs, contents: Contents) -> list[Block]:
    """Write the section on the review of the scans."""
    if inputs.review is None:
        return [Absent("No scan of this store was reviewed.", f"npczarr view {shlex.quote(inputs.name)}")]
    marks = _marks(inputs.review, inputs.dataset)
    contents.tables["review"] = marks.set_index(["patient", "sequence"])
    seen = marks[marks["decision"] != ""]
    worth = seen[(seen["decision"] == "exclude") | (seen["note"] != "")]
    worth = worth.loc[:, (worth != "").any()]  # nobody may have given a name
    damage = [Words(problem) for problem in inputs.review.attrs["problems"]]
    blocks: list[Block] = [*damage, Words(_in_short(marks)), as_table(_counts(marks), "Decisions by sequence")]
    if len(worth):
        title = "Scans that are excluded, or have a note"
        blocks.append(as_table(worth.set_index(["patient", "sequence"]), title, sortable=True))
    blocks.append(as_csv(marks, "review.csv", "Save every decision as CSV"))
    return blocks


def _marks(review: xr.Dataset, dataset: xr.Dataset) -> pd.DataFrame:
    """Decisions on the scans that the store holds, "" where there is none; one row a scan."""
    there = stored(dataset)
    rows = [
        {
            "patient": str(dataset["patient"].values[p]),
            "sequence": str(dataset["sequence"].values[s]),
            **{str(name): str(review[name].values[p, s]) for name in review.data_vars},
        }
        for p, s in np.argwhere(there)
    ]
    return pd.DataFrame(rows, columns=["patient", "sequence", *map(str, review.data_vars)])


def _in_short(marks: pd.DataFrame) -> str:
    counts = marks["decision"].value_counts()
    accepted, excluded = int(counts.get("accept", 0)), int(counts.get("exclude", 0))
    why = marks["reason"].value_counts()
    reasons = ", ".join(f"{reason} {why[reason]}" for reason in REASONS if reason in why)
    return f"{accepted + excluded} of {len(marks)} scans were reviewed: {accepted} accepted, {excluded} excluded" + (
        f" ({reasons})." if excluded else "."
    )


def _counts(marks: pd.DataFrame) -> pd.DataFrame:
    columns = {"accepted": marks["decision"] == "accept"}
    columns |= {f"excluded: {reason}": marks["reason"] == reason for reason in REASONS}
    columns["not reviewed"] = marks["decision"] == ""
    return pd.DataFrame(columns).groupby(marks["sequence"], sort=False).sum()
