"""Results: tumors, patients and their survival, and agreement of raters."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from npczarr.errors import NpczarrError
from npczarr.model.label_set import flag_names
from npczarr.report import figures, tables
from npczarr.report.blocks import Absent, Block, Figures, Words, as_table
from npczarr.report.contents import Contents
from npczarr.report.digits import signed
from npczarr.report.inputs import ReportInputs
from npczarr.report.outlined_figure import median_patient
from npczarr.report.table_text import at_first_visits, describe_visits, first_visits, in_full, labels, three


def tumors_blocks(inputs: ReportInputs, contents: Contents) -> list[Block]:
    """Write Table 2 and Figure 1, volume by stage, and agreement of sequences."""
    dataset, measured = inputs.dataset, inputs.morphology
    blocks: list[Block] = [_panel(_of_label(inputs), contents)]
    if isinstance(measured, Absent):
        return [measured, *blocks]
    morphology = at_first_visits(measured, dataset)
    size = contents.add_or_explain(
        "table_2_tumor_size",
        "Table 2. Tumor size",
        lambda: tables.tumor_size(dataset, morphology),
    )
    stage = contents.drawn(
        "volume_by_t_stage",
        "Tumor volume by T stage",
        "A point for each tumor; boxes hold the middle half, whiskers reach to 1.5 times its length (Tukey 1977). "
        "Fewer than five tumors are shown as points alone. Logarithmic axis.",
        lambda: figures.volume_by_stage(dataset, morphology),
    )
    volumes = contents.drawn(
        "volume_agreement",
        "Agreement of tumor volume between sequences",
        "Ratio of two sequences' volumes of a patient against their mean, with the limits of agreement (Bland and "
        "Altman 1986); where all volumes lie within a decade, their difference. Logarithmic horizontal axis.",
        lambda: figures.volume_agreement(morphology),
    )
    limits: list[Block] = []
    if isinstance(volumes, Figures):
        frame = figures.bland_altman(morphology)
        contents.tables["volume_agreement"] = frame.set_index(["first", "second"])
        limits = [as_table(_limits(frame), "Limits of agreement of tumor volume", notes=[_LIMITS])]
    return [
        *_unmeasured(inputs, measured),
        *map(Words, describe_visits(dataset)),
        *size,
        *blocks,
        stage,
        volumes,
        *limits,
    ]


_LIMITS = (
    "Limits are mean ± 1.96 SD. Where differences grow with the volume, as they do for most tumors, the ratio "
    "(geometric mean, limits taken on logarithms) says more than the difference."
)


def _of_label(inputs: ReportInputs) -> xr.Dataset:
    """Return the cohort with the masks of the report's label alone."""
    if not inputs.label:
        return inputs.dataset
    mask = inputs.dataset["mask"]
    number = flag_names(mask.attrs)[inputs.label]
    return inputs.dataset.assign(mask=(mask == number).astype(mask.dtype))


def _panel(dataset: xr.Dataset, contents: Contents) -> Block:
    title = "Figure 1. Outlines of one patient"
    try:
        patient = median_patient(dataset)
    except NpczarrError as error:
        return Absent(f"{title}: {error}.")
    each = ", each patient counted at the first visit with an outline" if describe_visits(dataset) else ""
    caption = (
        f"Patient {patient}, whose tumor volume is nearest to the cohort's median{each}: the slice with the largest "
        "outline of each sequence, and the tumor's surface, smoothed for looking at; no number is taken from it."
    )
    if not int(dataset["mask_voxels"].sum()):
        caption = f"Patient {patient}, the first with an image: the middle slice of each sequence."
    return contents.drawn(
        "figure_1_outlines", title, caption, lambda: figures.outlined_panel(dataset, patient), photographic=True
    )


def _limits(frame: pd.DataFrame) -> pd.DataFrame:
    """Write Bland-Altman's numbers as text; of one patient there are no limits."""
    limits = zip(frame["lower"], frame["upper"], frame["ratio_lower"], frame["ratio_upper"], strict=True)
    written = [
        ("", "") if np.isnan(low) else (f"{signed(low, 2)} to {signed(high, 2)}", f"{three(least)} to {three(most)}")
        for low, high, least, most in limits
    ]
    return pd.DataFrame(
        {
            "sequences": [f"{first} − {second}" for first, second in zip(frame["first"], frame["second"], strict=True)],
            "n": frame["n"],
            "mean difference, cm³": [signed(n, 2) for n in frame["mean_difference"]],
            "limits, cm³": [differences for differences, _ in written],
            "ratio": [three(n) for n in frame["ratio"]],
            "limits of the ratio": [ratios for _, ratios in written],
        }
    ).set_index("sequences")


def _unmeasured(inputs: ReportInputs, morphology: xr.Dataset) -> list[Block]:
    masked = np.isin(inputs.dataset["mask_status"].values.astype(object), ("ok", "warning"))
    changed: list[Block] = [inputs.changed["morphology"]] if "morphology" in inputs.changed else []
    count = int((masked & np.isnan(morphology["voxel_count"].values)).sum())
    if not count:
        return changed
    command = f"npczarr morphology {shlex.quote(inputs.name)}"
    return [*changed, Absent(f"{count} of {int(masked.sum())} masks are not measured as they are now.", command)]


def clinical_blocks(inputs: ReportInputs, contents: Contents) -> list[Block]:
    """Write Table 4 and survival by stage."""
    dataset = inputs.dataset
    stages = contents.add_or_explain(
        "table_4_clinical_stage",
        "Table 4. Clinical stage",
        lambda: tables.clinical_stages(dataset),
    )
    blocks: list[Block] = [*stages]
    for name, time, event, title in (
        ("overall_survival", "overall_survival", "death", "Overall survival"),
        ("progression_free_survival", "progression_free_survival", "progression", "Progression-free survival"),
    ):
        if name == "overall_survival" or time in dataset:
            blocks += _survival(dataset, contents, name, time, event, title)
    if any("source_column" in variable.attrs for variable in dataset.variables.values()):
        title = "Columns of the clinical tables"
        blocks += contents.add_or_explain(
            "clinical_columns", title, lambda: tables.clinical_columns(dataset), folded=True
        )
    return blocks


def _survival(dataset: xr.Dataset, contents: Contents, name: str, time: str, event: str, title: str) -> Sequence[Block]:
    try:
        times = figures.survival_times(dataset, time=time, event=event)
    except NpczarrError as error:
        return [Absent(f"{title}: {error}.")]
    people = len(labels(first_visits(dataset), "patient"))
    left_out = f"; left out: {times.attrs['left_out']}" if times.attrs["left_out"] else ""
    curves = contents.drawn(
        f"{name}_by_stage",
        f"{title} by clinical stage",
        "Kaplan-Meier curves, each up to the last observation; ticks where patients left it without the event. Below, "
        "the number still observed. Log-rank test over the stages shown. "
        f"{len(times)} of {people} patients have stage, time and event{left_out}. {times.attrs['assumed']}".rstrip(),
        lambda: figures.survival_curves(times, ylabel=title),
    )
    if isinstance(curves, Absent):
        return [curves]
    frame = contents.tables[f"{name}_by_stage"] = figures.survival_summary(times)
    return [curves, as_table(_survival_text(frame), f"{title} by clinical stage", notes=[_SURVIVAL])]


_SURVIVAL = (
    "95 % limits: exponential Greenwood (Kalbfleisch and Prentice 1980), as lifelines computes them; there are none "
    "where all or none had the event. Stages of fewer than five patients have no curve and no estimate, and are in no "
    "test; a stage none of whose patients was observed so long has no estimate either, unless all had the event before."
)


def _survival_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Write the numbers of each stage; of fewer than five patients nothing is estimated."""
    enough = frame["patients"] >= figures.LEAST_PATIENTS
    text = pd.DataFrame(index=frame.index.rename("stage"))
    text["patients"], text["events"] = frame["patients"], frame["events"]
    medians = [in_full(n) if np.isfinite(n) else "not reached" for n in frame["median_months"]]
    text["median, months"] = np.where(enough, medians, "too few")
    at = in_full(float(frame["at"].iloc[0]))
    estimates = frame[["survival", "lower", "upper", "followed_months"]].itertuples(index=False, name=None)
    text[f"at {at} months [95 %]"] = [
        _estimate_text(*numbers) if shown else "" for shown, numbers in zip(enough, estimates, strict=True)
    ]
    return text


def _estimate_text(survival: float, lower: float, upper: float, followed_months: float) -> str:
    """Write survival with its limits, or how long the group was observed where that is too short."""
    if np.isnan(survival):
        return f"followed to {in_full(followed_months)} months"
    return f"{survival:.2f}" if np.isnan(lower) else f"{survival:.2f} [{lower:.2f}, {upper:.2f}]"


def raters_blocks(inputs: ReportInputs, contents: Contents) -> list[Block]:
    """Write Figures 2 and 3, and the table of agreement of raters."""
    agreement = inputs.agreement
    if isinstance(agreement, Absent):
        return [agreement]
    points = "A point for each patient, and visit, outlined by both raters"
    pairs = agreement.sizes.get("pair", 1)
    if pairs > 1:
        each = f"each of the {pairs} pairs of raters"
        points = f"A point for {each} and each patient, and visit, that both outlined, so that n counts comparisons"
    caption = f"{points}; boxes hold the middle half, whiskers reach to 1.5 times its length (Tukey 1977)."
    plots = [
        contents.drawn(
            f"figure_{n}_{metric}",
            f"Figure {n}. {title} of the raters by sequence",
            caption,
            lambda metric=metric: figures.agreement_boxes(agreement, metric),  # type: ignore[misc]
        )
        for n, metric, title in ((2, "dice", "Dice coefficient"), (3, "jaccard", "Jaccard index"))
    ]
    table = contents.add_or_explain(
        "agreement_of_raters", "Agreement of raters", lambda: tables.agreement(agreement), sortable=True
    )
    changed = [inputs.changed["agreement"]] if "agreement" in inputs.changed else []
    return [*changed, *plots, *table]
