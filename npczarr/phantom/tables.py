"""The three CSV files of the dataset, as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from npczarr.phantom.plan import PatientPlan
from npczarr.phantom.tumor import Measures


def diagnoses(plans: Sequence[PatientPlan]) -> str:
    """`info_diagnoses.csv`: one row a patient."""
    return _csv(
        {
            "ID": plan.index,
            "Sex": plan.clinical.sex,
            "Age": plan.clinical.age,
            "Pathology": plan.clinical.pathology,
            "T stage": plan.clinical.t,
            "N stage": plan.clinical.n,
            "M stage": plan.clinical.m,
            "Clinical stage": plan.clinical.stage,
            "EBV-DNA": plan.clinical.ebv,
            "VCA-IgA": plan.clinical.vca,
            "Overall survival (months)": plan.clinical.survival_months,
            "Death event": int(plan.clinical.died),
            "Remarks code": f"R{plan.index * 7 % 13}",
        }
        for plan in plans
    )


def parameters(plans: Sequence[PatientPlan]) -> str:
    """`meta_data.csv`: one row a scan, lengths in mm, times in ms, as the headers have them."""
    return _csv(
        {
            "ID": plan.index,
            "Sequence": scan.sequence,
            "Echo time": scan.echo_time_ms,
            "Repetition time": scan.repetition_time_ms,
            "Flip angle": scan.flip_angle_deg,
            "Slice thickness": scan.thickness_mm,
            "Spacing between slices": scan.header_spacing_mm,
            "Pixel spacing": round(scan.pixel_spacing_mm, 4),
            "Field of view": f"{scan.field_of_view_mm:g}x{scan.field_of_view_mm:g}",
            "Matrix size": scan.matrix,
            "Manufacturer": plan.scanner.manufacturer,
            "Scanner": plan.scanner.model,
        }
        for plan in plans
        for scan in plan.scans
    )


def morphology(measures: Mapping[tuple[str, str], Measures]) -> str:
    """`morphological_parameters.csv`: one row a scan, in cm, cm² and cm³."""
    return _csv(
        {
            "ID": int(label),
            "Sequence": sequence,
            "Volume": round(size.volume_cm3, 4),
            "Surface area": round(size.surface_cm2, 4),
            "Max diameter": round(size.diameter_cm, 4),
            "Surface regularity": round(size.regularity, 4),
        }
        for (label, sequence), size in measures.items()
    )


def _csv(rows: Iterable[Mapping[str, object]]) -> str:
    buffer = io.StringIO()
    listed = list(rows)
    writer = csv.DictWriter(buffer, fieldnames=list(listed[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    return buffer.getvalue()
