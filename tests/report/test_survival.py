"""Survival: refused where it is not certain who had the event, and given only for times that somebody was observed."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from npczarr.errors import ParameterError
from npczarr.report.blocks import Absent
from npczarr.report.clinical import clinical_stages
from npczarr.report.contents import Contents
from npczarr.report.results_section import clinical_blocks
from npczarr.report.survival import survival_curves, survival_summary
from npczarr.report.survival_times import survival_times

MONTHS = [6.0 * (i + 1) for i in range(12)]
CODES = ["1", "0"] * 6


def cohort(death=CODES, months=MONTHS, stages=("II",) * 12, *, column="Death", time="OS (months)"):
    """Tables of a store, as conversion writes them."""

    def of_patients(values, name):
        values = np.array(values, np.dtypes.StringDType() if isinstance(values[0], str) else np.float64)
        return ("patient", values, {"source_table": "t.csv", "source_column": name})

    found = {
        "clinical_stage": of_patients(stages, "Stage"),
        "overall_survival": of_patients(months, time),
        "death": of_patients(death, column),
    }
    found["overall_survival"][2]["units"] = "month"
    return xr.Dataset(found, coords={"patient": [f"p{i:02d}" for i in range(len(death))], "sequence": ["T1WI"]})


def report_words(dataset):
    """What the section says instead of survival, and the captions of its figures."""
    blocks = clinical_blocks(SimpleNamespace(dataset=dataset), Contents())
    return " ".join(str(block) if not isinstance(block, Absent) else block.what for block in blocks)


def test_every_way_to_write_the_same_deaths_gives_the_same_survival():
    expected = survival_summary(survival_times(cohort()))
    assert (expected.loc["2", "patients"], expected.loc["2", "events"]) == (12, 6)
    for dead, alive in (("dead of disease", "alive"), ("Event", "Censored"), ("yes", "no"), ("DECEASED", "Living")):
        words = [dead if code == "1" else alive for code in CODES]
        pd.testing.assert_frame_equal(survival_summary(survival_times(cohort(words))), expected)
    numbers = cohort([float(code) for code in CODES])
    pd.testing.assert_frame_equal(survival_summary(survival_times(numbers)), expected)


@pytest.mark.parametrize(
    ("death", "column", "words"),
    [
        (["2", "1"] * 6, "death", "it has 1, 2 .codes differ"),
        (CODES, "Vital status", "column 'Vital status' does not say for certain"),
        (["dead", "DOC"] * 6, "death", "it has DOC .understood are alive, dead"),
        (["1"] * 12, "death", "has 1 and no 0.*; if these are some of the patients"),
        (["dead", ""] * 6, "death", "says that death was observed, and 6 patients with a time have no entry"),
        (["alive"] * 11 + [""], "death", "says that death was not observed, and 1 patient with a time has no entry"),
    ],
)
def test_an_event_that_is_not_certain_gives_no_survival_and_the_reason(death, column, words):
    dataset = cohort(death, column=column)
    with pytest.raises(ParameterError, match=words):
        survival_times(dataset)
    assert "Overall survival: " in report_words(dataset)


def test_the_clinical_table_takes_no_code_for_an_event_that_may_be_none():
    table = clinical_stages(cohort(column="Vital status"))
    assert table.loc["Death", "all"].to_dict() == {"0": 6, "1": 6}
    assert any(note.startswith("Death: column 'Vital status' does not say") for note in table.attrs["notes"])
    table = clinical_stages(cohort())
    assert table.loc["Death", "all"].to_dict() == {"no": 6, "yes": 6}
    assert not any(note.startswith("Death: ") for note in table.attrs["notes"])


def test_neighbouring_endpoints_are_read_by_the_same_rule():
    dataset = cohort()
    dataset["relapse"] = "patient", np.array([float(code) for code in CODES]), {"source_column": "Relapse"}
    dataset["rfs"] = "patient", np.array(MONTHS) * 30.4375, {"source_column": "RFS (days)"}
    times = survival_times(dataset, time="rfs", event="relapse")
    np.testing.assert_allclose(times["months"], MONTHS)
    assert times["event"].sum() == 6
    dataset["relapse"].attrs["source_column"] = "Relapse free"
    with pytest.raises(ParameterError, match="column 'Relapse free' does not say"):
        survival_times(dataset, time="rfs", event="relapse")


def test_times_without_a_unit_are_refused_or_said_to_be_assumed():
    dataset = cohort()
    dataset["rfs"] = "patient", np.array(MONTHS), {"source_column": "RFS"}
    with pytest.raises(ParameterError, match=r"rfs has no unit, expected one .* as in 'RFS \(months\)'"):
        survival_times(dataset, time="rfs")
    assert survival_times(dataset).attrs["assumed"] == ""
    assumed = cohort(time="OS")
    said = "Times are taken as months, for the name of column 'OS' says no unit."
    assert survival_times(assumed).attrs["assumed"] == said
    assert said in report_words(assumed)
    with pytest.raises(ParameterError, match=r"would be up to 2192 months: write the unit there, as in 'OS \(days\)'"):
        survival_times(cohort(months=[30.4375 * month for month in MONTHS[:-1]] + [2192], time="OS"))


def test_who_is_left_out_is_counted_by_what_is_lacking():
    months = [-3.0, np.nan, 0.0, *MONTHS[3:]]
    dataset = cohort([*CODES[:4], "", *CODES[5:]], months, ["II"] * 11 + [""])
    times = survival_times(dataset)
    assert times.index.tolist() == ["p02", "p03", "p05", "p06", "p07", "p08", "p09", "p10"]
    left_out = "1 with a time below 0, 1 without a time, 1 without an entry of the event, 1 without clinical stage"
    assert times.attrs["left_out"] == left_out
    assert f"8 of 12 patients have stage, time and event; left out: {left_out}." in report_words(dataset)


FOLLOWED = cohort(
    ["0", "0", "1", "0", "0", "0", "0", "1", "1", "0", "1", "0"],
    [3.0, 6, 9, 12, 15, 18, 10, 21, 33, 44, 55, 66],
    ["I"] * 6 + ["II"] * 6,
)


def test_a_group_that_was_not_observed_so_long_has_no_survival_there():
    summary = survival_summary(survival_times(FOLLOWED))
    assert summary["at"].tolist() == [60, 60]
    assert summary["followed_months"].tolist() == [18, 66]
    assert summary.loc["1", ["survival", "lower", "upper"]].isna().all()
    assert summary.loc["2", "survival"] == pytest.approx(0.3)
    assert "followed to 18 months" in report_words(FOLLOWED)


def test_a_group_of_whom_all_had_the_event_has_none_left_later():
    months = [3.0, 6, 9, 12, 15, 18, 10, 21, 33, 44, 55, 66]
    all_dead = ["1"] * 6 + ["0"] * 6
    times = survival_times(cohort(all_dead, months, ["I"] * 6 + ["II"] * 6))
    summary = survival_summary(times)
    assert summary["survival"].tolist() == [0, 1]
    assert summary[["lower", "upper"]].isna().all(axis=None)
    cells = report_words(cohort(all_dead, months, ["I"] * 6 + ["II"] * 6))
    assert "0.00 [" not in cells
    assert "1.00 [" not in cells
    one_lost = survival_times(cohort(["0", *all_dead[1:]], months, ["I"] * 6 + ["II"] * 6))
    assert np.isnan(survival_summary(one_lost).loc["1", "survival"])


def test_a_few_patients_observed_long_do_not_choose_the_time():
    times = survival_times(FOLLOWED)
    few = pd.concat([times, pd.DataFrame({"months": [240.0], "event": [False], "group": ["3"]})])
    assert survival_summary(few)["at"].tolist() == [60, 60, 60]


def test_one_rule_says_which_groups_are_estimated_drawn_and_tested():
    """Four who died at once are listed with their number, and change no probability."""
    times = survival_times(FOLLOWED)
    few = pd.concat([times, pd.DataFrame({"months": [0.1] * 4, "event": [True] * 4, "group": ["3"] * 4})])
    summary, without = survival_summary(few), survival_summary(times)
    assert summary.attrs["logrank_p"] == without.attrs["logrank_p"]
    drawn = survival_curves(few).axes[0].texts
    assert [text.get_text() for text in drawn] == [f"log-rank p = {summary.attrs['logrank_p']:.3f}"]
    assert summary.loc["3", ["patients", "events"]].tolist() == [4, 4]
    assert summary.loc["3"].drop(["patients", "events", "at"]).isna().all()
    pd.testing.assert_frame_equal(summary.drop("3"), without, check_dtype=False)
    assert summary[["patients", "events"]].dtypes.eq(int).all()
    alone = survival_summary(few[few["group"] == "3"])
    assert np.isnan(alone.attrs["logrank_p"])
    assert alone["median_months"].isna().all()


@pytest.mark.parametrize("last", [0.6, 0.0])
def test_less_than_a_month_of_observation_is_reported_at_its_end(last):
    times = pd.DataFrame({"months": np.linspace(0, last, 6), "event": [True, False] * 3, "group": "2"})
    summary = survival_summary(times)
    assert summary.loc["2", "at"] == pytest.approx(last)
    assert np.isfinite(summary.loc["2", "survival"])


def test_curves_end_at_the_last_observation_and_none_is_cut_off():
    axes = survival_curves(survival_times(FOLLOWED)).axes[0]
    ends = {line.get_label(): line.get_xdata().max() for line in axes.lines if not line.get_label().startswith("_")}
    assert ends == {"1": 18, "2": 66}
    assert axes.get_xlim()[1] >= 66
