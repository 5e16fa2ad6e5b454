"""Every patient: the contact sheet, and the table of tumors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from npczarr.model.categories import canonical, ranked
from npczarr.report.blocks import Absent, Block, Sheet, Tile, Words, as_table
from npczarr.report.contents import Contents
from npczarr.report.inputs import ReportInputs
from npczarr.report.scored_scans import ScoredScan
from npczarr.report.style import data_url
from npczarr.report.table_text import first_visits, is_of_patients, labels, numbers, one, texts, two

_STAGES = {"t_stage": "T", "n_stage": "N", "m_stage": "M", "clinical_stage": "stage"}
_MM3 = 1000.0  # in one cm³
_SLICES = "Slices with tumor, z in mm"
_TILES = 1000  # on the sheet: a page of more would be too large to open


def patients_blocks(inputs: ReportInputs, contents: Contents) -> list[Block]:
    """Show every patient, and list their tumors."""
    dataset = inputs.dataset
    if not len(dataset["patient"]):
        return [Absent("The store holds no patient.")]
    stages, volumes = _stages(dataset), _volumes_cm3(inputs)
    blocks: list[Block] = [_sheet(inputs, stages, volumes)]
    frame = _tumors(inputs, stages, volumes)
    if frame.columns.empty:
        return [*blocks, Words("No tumor of these patients is outlined.")]
    contents.tables["tumors_by_patient"] = _for_files(frame, inputs.scored)
    measured = not isinstance(inputs.morphology, Absent)
    notes = ["Click a heading to sort. Positions are those of the first and last slice with tumor, along the normal."]
    if not measured:
        notes.append("Volumes are voxel counts times voxel size; `npczarr morphology STORE` measures the surface.")
    blocks.append(as_table(frame, "Tumors by patient", sortable=True, notes=notes))
    return blocks


def _sheet(inputs: ReportInputs, stages: Mapping[str, list[str]], volumes: pd.DataFrame) -> Sheet | Words:
    """Make a tile for each patient, by stage and then by volume, the largest first."""
    if not any(seen.thumbnail for seen in inputs.scored.values()):
        return Words("The store holds no image, so there are no pictures of its patients.")
    patients = labels(inputs.dataset, "patient")
    order = _sequences_by_outlines(inputs.scored, labels(inputs.dataset, "sequence"))
    ranks = _stage_ranks(stages, len(patients))
    tiles = []
    for i, patient in enumerate(patients):
        sequence = next((s for s in order if _picture(inputs.scored, patient, s)), "")
        volume = float(volumes[sequence].to_numpy()[i]) if sequence else np.nan
        stage = " ".join(stages[name][i] for name in ("t_stage", "n_stage") if name in stages).strip()
        tiles.append(_tile(patient, inputs.scored.get((patient, sequence)), (sequence, stage), ranks[i], volume))
    keys = ("stage", "volume", "patient") if max(ranks) >= 0 else ("volume", "patient")
    tiles.sort(key=lambda tile: (-tile.stage, -tile.volume_cm3))
    people = first_visits(inputs.dataset).sizes["patient"]
    return Sheet(_caption(tiles, "patient" if people == len(tiles) else "visit"), tuple(tiles[:_TILES]), keys)


def _stage_ranks(stages: Mapping[str, list[str]], patients: int) -> list[int]:
    """Rank of each patient's T stage, or of the clinical stage where no T stage is known; -1 where it is not."""
    for name in ("t_stage", "clinical_stage"):
        if any(stages.get(name, [])):
            ranks = {stage: rank for rank, stage in enumerate(ranked(name, stages[name]))}
            return [ranks.get(stage, -1) for stage in stages[name]]
    return [-1] * patients


def _caption(tiles: list[Tile], unit: str) -> str:
    without = sum(not tile.url for tile in tiles)
    caption = f"The slice with most tumor of every {unit}, outlined; the middle slice where no tumor is outlined."
    if without:
        caption += f" {without} of {len(tiles)} {unit}s have no image."
    if len(tiles) > _TILES:
        caption += f" Shown are {_TILES} of {len(tiles)} {unit}s, by stage and volume; the table below has all."
    return caption


def _picture(scored: Mapping[tuple[str, str], ScoredScan], patient: str, sequence: str) -> bool:
    seen = scored.get((patient, sequence))
    return seen is not None and seen.thumbnail is not None


def _sequences_by_outlines(scored: Mapping[tuple[str, str], ScoredScan], sequences: list[str]) -> list[str]:
    """Order sequences by their outlined scans, so that tiles look alike; of equal ones the last counts."""
    outlined = Counter(
        sequence
        for (_, sequence), seen in scored.items()
        if seen.thumbnail is not None and np.isfinite(seen.thumbnail.tumor_mm[0])
    )
    return sorted(sequences, key=lambda sequence: (-outlined[sequence], -sequences.index(sequence)))


def _tile(patient: str, seen: ScoredScan | None, words: tuple[str, str], stage: int, volume_cm3: float) -> Tile:
    """Make one tile; words: the sequence shown, and the stages."""
    sequence, stages = words
    size, volume_cm3 = ("", -1.0) if np.isnan(volume_cm3) else (f"{one(volume_cm3)} cm³", volume_cm3)
    if seen is None or seen.thumbnail is None:
        return Tile(patient, "", "", "", tuple(filter(None, (stages, "no image"))), stage, volume_cm3)
    picture = seen.thumbnail
    lines = (" · ".join(filter(None, (stages, size))), f"{sequence}, z {_signed(picture.z_mm)} mm")
    url = data_url(picture.content, "webp")
    return Tile(patient, url, picture.left, picture.right, tuple(filter(None, lines)), stage, volume_cm3)


def _tumors(inputs: ReportInputs, stages: Mapping[str, list[str]], volumes: pd.DataFrame) -> pd.DataFrame:
    """Make the table: stages, volume and largest diameter by sequence, and the slices with tumor."""
    patients, sequences = labels(inputs.dataset, "patient"), labels(inputs.dataset, "sequence")
    columns: dict[tuple[str, str], list[str]] = {
        ("", short): stages[name] for name, short in _STAGES.items() if any(stages.get(name, []))
    }
    sequences = [s for s in sequences if volumes[s].notna().any()]
    columns |= {("Volume, cm³", s): _written(volumes[s], two) for s in sequences}
    if not isinstance(inputs.morphology, Absent):
        diameters = _of_cohort(inputs.morphology, "max_diameter", patients, sequences) / 10
        columns |= {("Max diameter, cm", s): _written(diameters[s], one) for s in sequences}
    for s in sequences:
        found = [_extent(inputs.scored.get((patient, s))) for patient in patients]
        if any(found):
            columns[_SLICES, s] = found
    return pd.DataFrame(columns, index=pd.Index(patients, name="patient"))


def _written(column: pd.Series[float], write: Callable[[float], str]) -> list[str]:
    return ["" if np.isnan(value) else write(value) for value in column]


def _for_files(frame: pd.DataFrame, scored: Mapping[tuple[str, str], ScoredScan]) -> pd.DataFrame:
    """Return the table with heads of one line, and the slices with tumor as numbers in two columns."""
    columns: dict[str, list[Any]] = {}
    for head, sequence in (map(str, column) for column in frame.columns.to_flat_index()):
        if head == _SLICES:
            ends = [_ends_mm(scored.get((patient, sequence))) for patient in frame.index]
            for which, values in zip(("first", "last"), zip(*ends, strict=True), strict=True):
                columns[f"{which} slice with tumor, z in mm {sequence}"] = [
                    round(z, 1) + 0.0 for z in values
                ]  # no -0.0
        else:
            columns[f"{head} {sequence}".strip()] = frame[head, sequence].to_list()
    return pd.DataFrame(columns, index=frame.index)


def _extent(seen: ScoredScan | None) -> str:
    ends = _ends_mm(seen)
    return "" if np.isnan(ends[0]) else "\u00a0to\u00a0".join(map(_signed, ends))


def _ends_mm(seen: ScoredScan | None) -> tuple[float, float]:
    """Positions of the first and the last slice with tumor; NaN where there is none."""
    if seen is None or seen.thumbnail is None:
        return np.nan, np.nan
    first, last = seen.thumbnail.tumor_mm
    return float(first), float(last)


def _signed(value: float) -> str:
    return f"{value:.1f}".replace("-", "−")


def _stages(dataset: xr.Dataset) -> dict[str, list[str]]:
    """Stages of the patients by clinical variable, as their categories are called."""
    return {
        name: list(canonical(name, list(texts(dataset, name, ("patient",)))))
        for name in _STAGES
        if name in dataset.variables and is_of_patients(dataset, name)
    }


def _volumes_cm3(inputs: ReportInputs) -> pd.DataFrame:
    """Volumes by patient and sequence; NaN where there is no tumor: as measured, or else of the voxels."""
    patients, sequences = labels(inputs.dataset, "patient"), labels(inputs.dataset, "sequence")
    if not isinstance(inputs.morphology, Absent):
        volumes = _of_cohort(inputs.morphology, "volume", patients, sequences) / _MM3
    else:
        voxel_mm3 = numbers(inputs.dataset, "spacing").prod(axis=2)
        values = numbers(inputs.dataset, "mask_voxels")[..., 0] * voxel_mm3 / _MM3
        volumes = pd.DataFrame(values, index=patients, columns=sequences)
    return volumes.where(volumes > 0)


def _of_cohort(result: xr.Dataset, name: str, patients: list[str], sequences: list[str]) -> pd.DataFrame:
    """Values of a result on the patients and sequences of the cohort; NaN where it has none."""
    if name not in result:
        return pd.DataFrame(np.nan, index=patients, columns=sequences)
    frame = pd.DataFrame(
        numbers(result, name)[..., 0], index=labels(result, "patient"), columns=labels(result, "sequence")
    )
    return frame.reindex(index=patients, columns=sequences)
