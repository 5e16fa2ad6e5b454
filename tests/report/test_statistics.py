"""Statistics of selections, labels, raters and visits: each number is of what it says, and written in full."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from npczarr.errors import ParameterError
from npczarr.model.results import AGREEMENT
from npczarr.report import figures, tables
from npczarr.report.contents import Contents
from npczarr.report.digits import fixed
from npczarr.report.outlined_figure import median_patient
from npczarr.report.results_section import clinical_blocks, raters_blocks
from npczarr.report.survival import survival_summary
from npczarr.report.table_text import in_full, of_one, three_digits
from npczarr.store.measured import held_to
from tests.report.plans import TEXT, planned_dataset, planned_morphology
from tests.report.test_survival import cohort

SEQUENCES = ["T1WI", "T2WI"]


def clinical(**columns):
    """A cohort with these clinical columns."""
    size = len(next(iter(columns.values())))
    found = {
        name: ("patient", np.array(values, TEXT if isinstance(values[0], str) else np.float64))
        for name, values in columns.items()
    }
    return xr.Dataset(found, coords={"patient": [f"{i:03d}" for i in range(size)], "sequence": SEQUENCES})


@pytest.mark.parametrize("half", range(3, 21))
def test_the_median_is_the_first_time_at_which_half_are_left(half):
    months = np.arange(1.0, 2 * half + 1)
    times = pd.DataFrame({"months": months, "event": months <= half, "group": "3"})
    assert survival_summary(times).loc["3", "median_months"] == half
    assert survival_summary(times.assign(event=months < half)).loc["3", "median_months"] == np.inf


def test_the_report_gives_a_median_that_is_reached_at_the_last_event():
    contents = Contents()
    dataset = cohort(["1", "1", "1", "0", "0", "0"], [10.0, 20, 30, 40, 50, 60], ("III",) * 6)
    blocks = clinical_blocks(SimpleNamespace(dataset=dataset), contents)
    assert contents.tables["overall_survival_by_stage"]["median_months"].tolist() == [30]
    assert "not reached" not in str(blocks)


def agreement(**dims):
    """A result of agreement, of two patients and two sequences, along these dimensions besides."""
    sizes = {"patient": ["1", "2"], "sequence": SEQUENCES} | dims
    values = np.random.default_rng(0).random([len(labels) for labels in sizes.values()])
    return xr.Dataset({variable.name: (tuple(sizes), values) for variable in AGREEMENT}, coords=sizes)


def morphology(**dims):
    found = agreement(**dims)["dice"]
    return xr.Dataset(dict.fromkeys(("volume", "voxel_count"), 1000 + 1000 * found))


STAGES = xr.Dataset({"t_stage": ("patient", ["T3", "T4"])}, coords={"patient": ["1", "2"], "sequence": SEQUENCES})
OF_MORPHOLOGY = [
    lambda result: tables.tumor_size(STAGES, result),
    lambda result: figures.volume_by_stage(STAGES, result),
    figures.bland_altman,
    figures.volume_agreement,
]
OF_AGREEMENT = [tables.agreement, figures.agreement_boxes]


@pytest.mark.parametrize(
    ("show", "result"),
    [(show, morphology) for show in OF_MORPHOLOGY] + [(show, agreement) for show in OF_AGREEMENT],
)
def test_of_several_labels_or_raters_none_is_taken_unsaid(show, result):
    words = (
        r"dimension 'label' of the result: expected one label, found 2 \(tumor, node\); select one first, as in "
        r"result\.sel\(label='tumor'\)"
    )
    several = result(label=["tumor", "node"])
    for order in ([0, 1], [1, 0]):
        with pytest.raises(ParameterError, match=words if order == [0, 1] else "expected one label"):
            show(several.isel(label=order))
    with pytest.raises(ParameterError, match=r"expected one rater, found 2 \(Ann, Ben\)"):
        show(result(rater=["Ann", "Ben"]))
    alone, selected = show(several.sel(label=["node"])), show(several.sel(label="node"))
    if isinstance(alone, pd.DataFrame):
        pd.testing.assert_frame_equal(alone, selected)
        assert not alone.equals(show(several.sel(label="tumor")))


def test_pairs_of_raters_are_shown_whole_where_they_are_told_apart():
    pairs = agreement(pair=["a b", "a c", "b c"])
    assert tables.agreement(pairs).index.names == ["metric", "sequence", "pair"]
    assert of_one(pairs, "pair").identical(pairs)
    with pytest.raises(ParameterError, match="expected one pair, found 3"):
        of_one(pairs)


def test_the_caption_of_agreement_says_what_a_point_is():
    captions = []
    for result in (agreement(), agreement(pair=["a b"]), agreement(pair=["a b", "a c", "b c"])):
        boxes, *_ = raters_blocks(SimpleNamespace(agreement=result, changed={}), Contents())
        captions.append(boxes.figures[0].caption)
    assert captions[0] == captions[1]
    assert captions[0].startswith("A point for each patient, and visit, outlined by both raters; boxes")
    assert "each of the 3 pairs of raters and each patient" in captions[2]
    assert "n counts comparisons; boxes" in captions[2]
    (axes,) = figures.agreement_boxes(agreement(pair=["a b", "a c", "b c"])).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [f"{s}\nn = 6" for s in SEQUENCES]


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    dataset = planned_dataset(tmp_path_factory.mktemp("planned"), patients=12)
    return dataset, planned_morphology(dataset)


@pytest.mark.parametrize(
    "select",
    [
        {"patient": slice(0, 5)},
        {"patient": [7, 2]},
        {"patient": 3},
        {"sequence": 1},
        {"patient": [1, 4], "sequence": [2]},
    ],
)
def test_a_result_that_was_never_stored_is_held_to_the_selection(planned, select):
    dataset, whole = planned
    part = dataset.isel(select)
    table = tables.tumor_size(part, whole)
    pd.testing.assert_frame_equal(table, tables.tumor_size(part, whole.isel(select)))
    assert table.loc["Volume, cm³", "n"] == str(part.sizes.get("patient", 1))
    assert len(table.columns) == 1 + part.sizes.get("sequence", 1)


def test_patients_that_a_result_does_not_have_are_not_measured(planned):
    dataset, whole = planned
    table = tables.tumor_size(dataset, whole.isel(patient=slice(3)))
    assert table.loc["Volume, cm³", "n"] == "3"
    assert "T1WI: 9 scans have no mask that was measured." in table.attrs["notes"]
    (axes,) = figures.volume_by_stage(dataset.isel(patient=slice(4)), whole).axes
    assert sum(int(tick.get_text().rpartition("=")[2]) for tick in axes.get_xticklabels()) == 4


def test_a_result_stays_lazy_and_as_it_is_where_nothing_is_named(planned):
    dataset, whole = planned
    held = held_to(whole.chunk(), dataset.isel(patient=[2, 1]))
    assert held["volume"].chunks is not None
    np.testing.assert_array_equal(held["volume"], whole["volume"][[2, 1]])
    nameless = whole.drop_vars(["patient", "sequence"])
    assert held_to(nameless, dataset) is nameless


def test_times_below_0_are_in_no_mean_and_are_counted():
    dataset = clinical(clinical_stage=["I"] * 4, overall_survival=[-3.0, 10, 20, 30], age=[40.0, 50, 60, -1])
    table = tables.clinical_stages(dataset)["all"]
    assert table["Overall survival, months"].tolist() == ["20.0 (10.0)", "20 [10, 30]", 1]
    assert table["Age, years"].tolist() == ["50.0 (10.0)", "50 [40, 60]", 1]
    below = "Overall survival, months: 1 entry is below 0, left out and counted as 'not stated'."
    notes = tables.clinical_stages(dataset).attrs["notes"]
    assert below in notes
    words = clinical(clinical_stage=["I"] * 4, overall_survival=["-3", "-4", "20", "long"])
    notes = tables.clinical_stages(words).attrs["notes"]
    assert "Overall survival, months: 2 entries are below 0, left out and counted as 'not stated'." in notes
    assert "Overall survival, months: no number in long, left out and counted as 'not stated'." in notes


@pytest.mark.parametrize(
    ("stages", "m_stages", "wrong"),
    [
        (["I", "II", "III", "IVA", "IVB"], ["M1a", "M1b", "M1c", "M0", "M1a"], 3),
        (["I", "II", "III", "IVA", "IVB"], ["M1", "M1", "M1", "M0", "M1"], 3),
        (["IVA", "IVB", "IV", "IVB", ""], ["M1a", "M1b", "M1c", "M0", "M1"], 1),
        (["IVC", "IVB"], ["M1b", "M1a"], 1),
        (["IVA", "IVB"], ["M0", "M1c"], 0),
    ],
)
def test_every_m1_is_held_against_the_clinical_stage(stages, m_stages, wrong):
    notes = tables.clinical_stages(clinical(clinical_stage=stages, m_stage=m_stages)).attrs["notes"]
    said = [note for note in notes if "M1" in note]
    assert [int(note.split()[0]) for note in said] == ([wrong] if wrong else [])


@pytest.mark.parametrize("kind", [str, float])
def test_large_numbers_are_written_in_full(kind):
    titres = [kind(value) for value in (1234567, 2345678, 3456789, 12, 15)]
    row = tables.clinical_stages(clinical(clinical_stage=["I"] * 5, ebv=titres)).loc["EBV DNA", "all"]
    assert row["median [min, max]"] == "1234567 [12, 3456789]"
    assert row["mean (SD)"].startswith("1407412 (")


@pytest.mark.parametrize(
    ("ebv", "counts"),
    [
        (["0", "1", "9", "0"], {"0": 2, "1": 1, "9": 1}),
        (["0", "1", "2", ""], {"0": 1, "1": 1, "2": 1, "not stated": 1}),
        (["1", "2", "2", "2"], {"1": 1, "2": 3}),
        (["0", "1", "99", "-1"], {"-1": 1, "0": 1, "1": 1, "99": 1}),
        ([0.0, 1.0, 9.0, np.nan], {"0": 1, "1": 1, "9": 1, "not stated": 1}),
    ],
)
def test_codes_of_ebv_and_vca_are_counted_and_no_measurement(ebv, counts):
    table = tables.clinical_stages(clinical(clinical_stage=["I"] * 4, ebv=ebv, vca=ebv))
    for label in ("EBV DNA", "VCA IgA"):
        assert table.loc[label, "all"].to_dict() == counts
    codes = ", ".join(sorted({*counts} - {"not stated"}))
    assert (
        f"EBV DNA: the table has codes ({codes}) and does not say what each means; say in a TOML file what every entry "
        f'means, as in [values.ebv] "{codes.split(", ")[0]}" = "negative", and convert again with --config.'
    ) in table.attrs["notes"]


@pytest.mark.parametrize("ebv", [["0", "1", "0", "1"], ["0", "3", "12", "8000"], ["0.5", "1", "2", "3"]])
def test_signs_and_titres_are_no_codes(ebv):
    table = tables.clinical_stages(clinical(clinical_stage=["I"] * 4, ebv=ebv))
    assert not [note for note in table.attrs["notes"] if "codes" in note]
    assert ({*table.loc["EBV DNA"].index} == {"negative", "positive"}) == (len({*ebv}) == 2)


def test_numbers_keep_their_digits():
    assert [fixed(n, 2) for n in (0.0008, 0.004, 0.0996, 0.1, 1.0, 0.0, -0.01)] == [
        "0.00080", "0.0040", "0.10", "0.10", "1.00", "0.00", "-0.010",
    ]  # fmt: skip
    assert [fixed(n, 1) for n in (0.13, 0.996, 1.26, np.inf)] == ["0.13", "1.0", "1.3", "inf"]
    assert [three_digits(n) for n in (99.94, 99.96, 100.4, 9.996, 0.0, -99.97)] == [
        "99.9", "100", "100", "10.0", "0", "-100",
    ]  # fmt: skip
    assert [in_full(n) for n in (59.9918, 60.0, 48.5, 1234567.25, 0.0, 0.003, 0.5, 100.0)] == [
        "59.99", "60", "48.5", "1234567.25", "0", "0.003", "0.5", "100",
    ]  # fmt: skip


def test_the_survival_table_writes_two_decimals_at_most():
    days = [300.0, 600, 900, 1200, 1500, 1826]
    dataset = cohort(["1", "1", "1", "0", "0", "0"], [n / 30.4375 for n in days], ("III",) * 6)
    blocks = str(clinical_blocks(SimpleNamespace(dataset=dataset), Contents()))
    assert "29.57" in blocks
    assert "29.5688" not in blocks
    months = [*(n / 30.4375 for n in days[:5]), *[80.0] * 5]
    short = cohort(["1", "0"] * 5, months, ["I"] * 5 + ["II"] * 5)
    assert "followed to 49.28 months" in str(clinical_blocks(SimpleNamespace(dataset=short), Contents()))


def visits(cubic_mm, patients):
    """A cohort of one sequence whose tumors have these volumes; the voxels are of 1 mm."""
    voxels = np.array(cubic_mm, dtype=float)[:, np.newaxis]
    scans = ("patient", "sequence")
    return xr.Dataset(
        {
            "mask_voxels": (scans, voxels),
            "spacing": ((*scans, "axis"), np.ones((len(voxels), 1, 3))),
            "shape": ((*scans, "axis"), np.full((len(voxels), 1, 3), 9)),
            "status": (scans, np.full(voxels.shape, "ok", dtype=object)),
            "image_digest": (scans, np.full(voxels.shape, "d", dtype=object)),
        },
        coords={"patient": patients, "sequence": ["T1WI"], "axis": ["z", "y", "x"]},
    )


def test_the_median_of_figure_1_counts_each_patient_once():
    labels = ["a_ses-1", "a_ses-2", "a_ses-3", "a_ses-4", "b_ses-1", "c_ses-1"]
    assert median_patient(visits([100, 10, 11, 12, 200, 300], labels)) == "b_ses-1"
    # a first visit without an outline does not keep its patient out
    assert median_patient(visits([0, 0, 0, 205, 200, 300], labels)) == "a_ses-4"
    assert median_patient(visits([0] * 6, labels)) == "a_ses-1"


def test_a_stage_counts_each_patient_at_the_first_visit():
    labels = ["a_ses-1", "a_ses-2", "b_ses-1"]
    volumes = xr.Dataset(
        {"volume": (("patient", "sequence"), [[1e3], [2e3], [3e3]])}, {"patient": labels, "sequence": ["T1WI"]}
    )
    stages = xr.Dataset({"t_stage": ("patient", ["T3", "T4", "T3"])}, {"patient": labels})
    (axes,) = figures.volume_by_stage(stages, volumes).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["T3\nn = 2"]
