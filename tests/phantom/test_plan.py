"""The plan of 277 patients against the published tables; no files."""

from collections import Counter
from statistics import mean, median, stdev

import numpy as np
import pytest

from npczarr.model import published
from npczarr.model.published import PATIENTS, SEQUENCES
from npczarr.phantom.deal import deal, spread
from npczarr.phantom.plan import plan_cohort

SEEDS = (0, 1, 7)
#: Attribute of a plan by variable of the published tables.
TABLES_1_AND_2 = {
    "echo_time_ms": published.MRI_PARAMETERS["echo_time"],
    "repetition_time_ms": published.MRI_PARAMETERS["repetition_time"],
    "header_spacing_mm": published.MRI_PARAMETERS["spacing_between_slices"],
    "thickness_mm": published.MRI_PARAMETERS["slice_thickness"],
    "pixel_spacing_mm": published.MRI_PARAMETERS["pixel_spacing"],
    "field_of_view_mm": published.MRI_PARAMETERS["field_of_view"],
    "flip_angle_deg": published.MRI_PARAMETERS["flip_angle"],
    "matrix": published.MRI_PARAMETERS["matrix"],
    "tumor_cm3": published.TUMOR_SIZE["volume"],
}
TABLE_4 = {"sex": "sex", "pathology": "pathology", "t": "t_stage", "n": "n_stage", "m": "m_stage", "ebv": "ebv",
           "vca": "vca"}  # fmt: skip
#: The paper's stages add up to 278 patients: stage 4a has one fewer here, and two fewer of N3, which adds up to 95.
FEWER = {"M": 1, "Non-keratinized squamous": 1, "T4": 1, "N3": 2, "M0": 1, "ebv negative": 1, "vca positive": 1}


@pytest.fixture(scope="module", params=SEEDS)
def plans(request):
    return plan_cohort(PATIENTS, "full", request.param)


@pytest.mark.parametrize("name", TABLES_1_AND_2)
@pytest.mark.parametrize("sequence", range(3), ids=SEQUENCES)
def test_tables_1_and_2(plans, name, sequence):
    values = [getattr(plan.scans[sequence], name) for plan in plans]
    assert [round(f(values), 2) for f in (median, min, max)] == list(TABLES_1_AND_2[name][sequence])


def test_table_3(plans):
    assert Counter(plan.scanner.model for plan in plans) == published.SCANNERS


@pytest.mark.parametrize("name", TABLE_4)
def test_table_4_counts(plans, name):
    counts = Counter((getattr(plan.clinical, name), plan.clinical.stage) for plan in plans)
    for value, row in published.STAGE_COUNTS[TABLE_4[name]].items():
        written = {"female": "F", "male": "M"}.get(value, value)
        fewer = FEWER.get(written, FEWER.get(f"{name} {value}", 0))
        found = [counts.pop((written, stage), 0) for stage in published.STAGES]
        assert found == [count - fewer * (stage == "4a") for stage, count in zip(published.STAGES, row, strict=True)]
    assert not counts


@pytest.mark.parametrize(("name", "rows"), [("age", published.AGE), ("survival_months", published.SURVIVAL)])
def test_table_4_ages_and_survival(plans, name, rows):
    for stage, (average, deviation, *rest) in zip(published.STAGES, rows, strict=True):
        values = [getattr(plan.clinical, name) for plan in plans if plan.clinical.stage == stage]
        assert [median(values), min(values), max(values)] == rest
        assert (mean(values), stdev(values)) == pytest.approx((average, deviation), abs=0.3)


def test_the_header_holds_the_gap_on_one_scanner_and_the_spacing_on_others(plans):
    for plan in plans:
        for scan in plan.scans:
            gap = round(scan.slice_spacing_mm - scan.thickness_mm, 2)
            assert scan.header_spacing_mm == (gap if plan.scanner.gap_in_header else scan.slice_spacing_mm)


def test_a_patient_is_the_same_in_a_cohort_of_any_size(plans):
    assert plan_cohort(300, "full", SEEDS[0])[:9] == plan_cohort(9, "full", SEEDS[0])
    assert len({plan.label for plan in plan_cohort(300, "small", 0)}) == 300


def test_six_patients_have_every_scanner_and_stage():
    first = plan_cohort(6, "small", 3)
    assert {plan.scanner.model for plan in first} == set(published.SCANNERS)
    assert {plan.clinical.stage for plan in first} == set(published.STAGES)


def test_larger_tumors_have_higher_stages(plans):
    stage = [int(plan.clinical.t[1]) for plan in plans]
    size = [plan.scans[0].tumor_cm3 for plan in plans]
    assert np.corrcoef(stage, np.argsort(np.argsort(size)))[0, 1] > 0.3


def test_dealing_keeps_the_counts_and_spreading_the_summary():
    dealt = deal((("a", 70), ("b", 29), ("c", 1)), np.random.default_rng(0))
    assert Counter(dealt) == {"a": 70, "b": 29, "c": 1}
    assert set(dealt[:3]) == {"a", "b", "c"}
    assert 30 <= dealt[:50].count("a") <= 40
    for count in (5, 26):
        values = spread(3, 1, 9, count)
        assert (np.median(values), values[0], values[-1]) == (3, 1, 9)
        assert (np.diff(values) >= 0).all()
