"""The three CSV files of the dataset, as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from npczarr.phantom.plan import PatientPlan


def diagnoses(plans: Sequence[PatientPlan]) -> str:
    """`info_diagnoses.csv`: one row a patient."""
    rows = (
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
            "Death event": int(plan.clinical.survival_months < 60),
            "Remarks code": f"R{plan.index * 7 % 13}",
        }
        for plan in plans
    )
    return _csv(rows)


def parameters(plans: Sequence[PatientPlan]) -> str:
    """`meta_data.csv`: one row a scan."""
    rows = (
        {
            "ID": plan.index,
            "Sequence": scan.sequence,
            "Echo time": scan.echo_time_ms,
            "Repetition time": scan.repetition_time_ms,
            "Flip angle": scan.flip_angle_deg,
            "Slice thickness": scan.thickness_mm,
            "Spacing between slices": round(scan.thickness_mm + scan.gap_mm, 2),
            "Pixel spacing": round(scan.field_of_view_mm / scan.matrix, 4),
            "Field of view": scan.field_of_view_mm,
            "Matrix size": scan.matrix,
            "Manufacturer": plan.scanner.manufacturer,
            "Scanner": plan.scanner.model,
        }
        for plan in plans
        for scan in plan.scans
    )
    return _csv(rows)


def morphology(plans: Sequence[PatientPlan], volumes_cm3: Mapping[tuple[str, str], float]) -> str:
    """`morphological_parameters.csv`: the volume of each tumour's voxels, one row a scan."""
    rows = (
        {"ID": plan.index, "Sequence": scan.sequence, "Volume": round(volumes_cm3[plan.label, scan.sequence], 4)}
        for plan in plans
        for scan in plan.scans
    )
    return _csv(rows)


def _csv(rows: Iterable[Mapping[str, object]]) -> str:
    buffer = io.StringIO()
    listed = list(rows)
    writer = csv.DictWriter(buffer, fieldnames=list(listed[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    return buffer.getvalue()
