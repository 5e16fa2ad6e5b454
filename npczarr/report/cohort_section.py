"""The cohort: numbers at a glance, what is absent, scans and scanners."""

from __future__ import annotations

import shlex

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from npczarr.model.clinical import CLINICAL
from npczarr.model.schema import STATUSES
from npczarr.report import figures, tables
from npczarr.report.blocks import Absent, Block, Tiles, as_table
from npczarr.report.contents import Contents
from npczarr.report.inputs import ReportInputs, stored
from npczarr.report.table_text import first_visits


def glance_blocks(inputs: ReportInputs, contents: Contents) -> list[Block]:
    """Count what there is, and say what is absent."""
    dataset, about = inputs.dataset, inputs.about
    there = stored(dataset)
    masked = np.isin(dataset["mask_status"].values.astype(object), ("ok", "warning")) & (dataset["mask_voxels"] > 0)
    fields = dataset["magnetic_field_strength"].values
    strengths = sorted({float(n) for n in fields[np.isfinite(fields)]})
    clinical = [f.name for f in CLINICAL if f.name in dataset]
    visits, people = dataset.sizes["patient"], first_visits(dataset).sizes["patient"]
    again = inputs.findings[["patient", "sequence"]].drop_duplicates()
    pairs = (
        ("patients", f"{people}"),
        *((("visits", f"{visits}"),) if people < visits else ()),
        (f"scans stored, of {there.size}", f"{int(there.sum())}"),
        (f"outlines of {inputs.label}" if inputs.label else "tumors outlined", f"{int(masked.sum())}"),
        ("scanner models", f"{len(about['scanners'])}"),
        ("field strength, T", " and ".join(f"{n:g}" for n in strengths) or "not stated"),
        ("of voxels", _bytes(about["voxel_bytes"])),
        ("clinical variables known", f"{len(clinical)}"),
        ("scans or patients to look at again", f"{len(again)}"),
    )
    table = as_table(_statuses(dataset), "Scans and masks by status")
    return [Tiles(pairs), table, *_absent(inputs, there, bool(clinical))]


def _absent(inputs: ReportInputs, there: NDArray[np.bool_], has_clinical: bool) -> list[Block]:
    """Say what the store lacks, and which command adds it; there: (patient, sequence), whether a scan is stored."""
    absent: list[Block] = []
    named = shlex.quote(inputs.name)
    sequences = inputs.dataset["sequence"].values
    empty = [str(s) for s, found in zip(sequences, there.T, strict=True) if not found.any()]
    if empty:
        absent.append(
            Absent(
                f"No scan of {', '.join(empty)} is stored; tables and figures show the other sequences.",
                f"npczarr convert SOURCE {named}",
            )
        )
    if not has_clinical:
        absent.append(
            Absent(
                "The store holds no clinical variable that is known by name. Put the clinical table beside the images, "
                "or say what its columns mean.",
                f"npczarr convert SOURCE {named} --columns map.toml",
            )
        )
    absent += [found for found in (inputs.morphology, inputs.agreement) if isinstance(found, Absent)]
    return [*absent, *inputs.changed.values()]


def _statuses(dataset: xr.Dataset) -> pd.DataFrame:
    """Count scans and masks of each sequence by status."""
    rows = {}
    for s, sequence in enumerate(dataset["sequence"].values):
        for what, name in (("scans", "status"), ("masks", "mask_status")):
            found = pd.Series([str(value) for value in dataset[name].values[:, s]]).value_counts()
            rows[str(sequence), what] = {status: int(found.get(status, 0)) for status in STATUSES}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=("sequence", ""))
    return table.loc[:, (table > 0).any()]


def scans_blocks(inputs: ReportInputs, contents: Contents) -> list[Block]:
    """Write Table 1, and the sizes of voxels."""
    dataset = inputs.dataset
    sizes = contents.drawn(
        "resolution",
        "Voxel sizes",
        "Left, the distance between slices: SpacingBetweenSlices of the header against the distance that the slice "
        "positions give. Scans below the line hold the gap in that field, so only positions can be trusted. Right, "
        "pixel spacing against matrix. Bubbles grow with the number of scans; those of sequences with the same values "
        "stand side by side.",
        lambda: figures.resolution(dataset),
    )
    table = contents.add_or_explain(
        "table_1_mri_parameters", "Table 1. MRI parameters", lambda: tables.mri_parameters(dataset)
    )
    return [*table, sizes]


def scanners_blocks(inputs: ReportInputs, contents: Contents) -> list[Block]:
    """Write Table 3."""
    return contents.add_or_explain(
        "table_3_scanners", "Table 3. Scanners", lambda: tables.scanners(inputs.dataset), sortable=True
    )


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
