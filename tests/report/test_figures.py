"""Figures against numbers computed otherwise, and on cohorts that lack what they would show."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import xarray as xr
from matplotlib.figure import Figure

import npczarr as npc
from npczarr.errors import ParameterError
from npczarr.report import figures, outlined_figure, style, survival
from npczarr.report.survival_times import survival_times

MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
SEQUENCES = ["T1WI", "T2WI", "CE-T1WI"]


@pytest.fixture(scope="module")
def cohort(store):
    return npc.open(store)


@pytest.fixture(scope="module")
def morphology(store):
    return npc.open(store, group="morphology")


@pytest.fixture(scope="module")
def agreement(raters):
    return npc.open(raters, group="agreement")


def measured(volumes_mm3):
    """A result of morphology with the given volumes (patient, sequence)."""
    labels = {"patient": [f"{i:03d}" for i in range(len(volumes_mm3))], "sequence": SEQUENCES[: volumes_mm3.shape[1]]}
    return xr.Dataset({"volume": (("patient", "sequence"), volumes_mm3)}, coords=labels)


def drawings(dataset, morphology, agreement):
    return {
        "dice": lambda: figures.agreement_boxes(agreement),
        "jaccard": lambda: figures.agreement_boxes(agreement, "jaccard"),
        "stage": lambda: figures.volume_by_stage(dataset, morphology),
        "volumes": lambda: figures.volume_agreement(morphology),
        "resolution": lambda: figures.resolution(dataset),
        "survival": lambda: survival.survival_curves(survival_times(dataset)),
        "panel": lambda: outlined_figure.outlined_panel(dataset),
    }


def outcome(draw, kinds=("svg",)):
    """A figure that can be written, or the words that say why there is none."""
    try:
        figure = draw()
    except ParameterError as error:
        return str(error)
    assert isinstance(figure, Figure)
    for kind in kinds:
        assert style.encoded(figure, kind, dpi=60).startswith(MAGIC[kind])
    return figure


@pytest.mark.slow
def test_figures_of_a_whole_cohort_are_one_column_wide_or_one_and_a_half(cohort, morphology, agreement):
    found = {name: outcome(draw, MAGIC) for name, draw in drawings(cohort, morphology, agreement).items()}
    assert "no group has 5 patients" in found.pop("survival")
    for name, figure in found.items():
        assert isinstance(figure, Figure), name
        assert figure.get_figwidth() in (style.COLUMN_INCHES, style.WIDE_INCHES)


@pytest.mark.slow
def test_one_patient_or_one_sequence_is_drawn_or_said(cohort, morphology, agreement):
    one = [data.isel(patient=[0]) for data in (cohort, morphology, agreement)]
    drawn = {name: outcome(draw) for name, draw in drawings(*one).items()}
    assert "column 'Death event' has 1 and no 0" in drawn.pop("survival")
    assert all(isinstance(figure, Figure) for figure in drawn.values())
    single = [data.sel(sequence=["T2WI"]) for data in (cohort, morphology, agreement)]
    found = {name: outcome(draw) for name, draw in drawings(*single).items()}
    assert "two sequences" in found.pop("volumes")
    assert "no group has 5 patients" in found.pop("survival")
    assert all(isinstance(figure, Figure) for figure in found.values())


def test_no_tumor_no_clinical_data_and_no_image_are_said(bare, raters, morphology):
    dataset = npc.open(bare)
    empty = morphology[["volume"]].isel(patient=[0], sequence=[0]) * np.nan
    found = {name: outcome(draw) for name, draw in drawings(dataset, empty, empty).items()}
    assert isinstance(found["panel"], Figure)
    assert isinstance(found["resolution"], Figure)
    for name, words in (("stage", "no t stage"), ("survival", "no overall survival"), ("volumes", "two sequences")):
        assert words in found[name]
    assert "npczarr agreement" in found["dice"]
    with pytest.raises(ParameterError, match="no patient has an image"):
        outlined_figure.outlined_panel(npc.open(raters))


def test_bland_altman_against_pandas(morphology):
    volumes = np.exp(np.random.default_rng(3).normal(9, 0.8, (40, 3)))
    volumes[[3, 7], [0, 1]] = np.nan
    volumes[5, 2] = 0  # an empty mask has no volume to agree with
    found = figures.bland_altman(measured(volumes)).set_index(["first", "second"])
    frame = pd.DataFrame(np.where(volumes > 0, volumes / 1000, np.nan), columns=SEQUENCES)
    for (a, b), row in found.iterrows():
        both = frame[[a, b]].dropna()
        low, high = scipy.stats.norm.interval(2 * scipy.stats.norm.cdf(1.96) - 1, 0, (both[a] - both[b]).std())
        mean = (both[a] - both[b]).mean()
        ratios = np.log10(both[a]) - np.log10(both[b])
        expected = [len(both), mean, mean + low, mean + high, scipy.stats.gmean(both[a] / both[b])]
        np.testing.assert_allclose(row.iloc[:5].astype(float), expected)
        np.testing.assert_allclose(np.log10(row["ratio_upper"]), ratios.mean() + 1.96 * ratios.std())
    swapped = figures.bland_altman(measured(volumes).isel(sequence=[1, 0]))
    assert swapped["mean_difference"][0] == pytest.approx(-found["mean_difference"].iloc[0])


def test_bland_altman_counts_a_patient_once():
    volumes = np.exp(np.random.default_rng(3).normal(9, 0.8, (4, 3)))
    once = figures.bland_altman(measured(volumes[[0, 2]]))
    visits = measured(volumes).assign_coords(patient=["A_ses-1", "A_ses-2", "B_ses-1", "B_ses-2"])
    pd.testing.assert_frame_equal(figures.bland_altman(visits.isel(patient=[1, 0, 3, 2])), once)
    unordered = visits.assign_coords(patient=["A_ses-post", "A_ses-pre", "B_ses-1", "B_ses-2"])
    for compare in (figures.bland_altman, figures.volume_agreement):
        with pytest.raises(ParameterError, match="which is the first; select one visit"):
            compare(unordered)
    one = figures.bland_altman(unordered.isel(patient=[1, 2]))
    pd.testing.assert_frame_equal(one, figures.bland_altman(measured(volumes[[1, 2]])))


def test_volumes_over_a_decade_are_compared_by_their_ratio():
    for spread, shown in ((0.05, "Difference, cm³"), (0.8, "Ratio")):
        volumes = np.exp(np.random.default_rng(3).normal(9, spread, (40, 1)) + np.array([0, 0.1, 0.2]))
        figure = figures.volume_agreement(measured(volumes))
        assert figure.get_supylabel() == shown
        assert len(figure.axes) == 3
        assert all(axes.get_yscale() == ("log" if shown == "Ratio" else "linear") for axes in figure.axes)
        assert len(figure.axes[0].get_yticks()) >= 2


def test_boxes_stand_at_the_quartiles(agreement):
    figure = figures.agreement_boxes(agreement)
    axes = figure.axes[0]
    for patch, sequence in zip(axes.patches, SEQUENCES, strict=True):
        values = agreement["dice"].sel(sequence=sequence).values
        low, high = patch.get_path().get_extents().intervaly
        np.testing.assert_allclose([low, high], np.quantile(values, [0.25, 0.75]))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [f"{s}\nn = 6" for s in SEQUENCES]


def times(seed=0, n=80):
    rng = np.random.default_rng(seed)
    months = np.minimum(rng.exponential(40, n).round(), 60)
    group = np.where(rng.random(n) < 0.5, "2", "4a")
    return pd.DataFrame({"months": months, "event": (months < 60) & (rng.random(n) < 0.7), "group": group})


def test_survival_against_scipy():
    frame = times()
    summary = survival.survival_summary(frame)
    samples = []
    for group, one in frame.groupby("group"):
        sample = scipy.stats.CensoredData.right_censored(one["months"], ~one["event"])
        estimate = scipy.stats.ecdf(sample).sf
        assert summary.loc[group, "survival"] == pytest.approx(estimate.evaluate(60.0))
        below = estimate.quantiles[estimate.probabilities <= 0.5]
        assert summary.loc[group, "median_months"] == (below[0] if len(below) else np.inf)
        assert (summary.loc[group, "patients"], summary.loc[group, "events"]) == (len(one), one["event"].sum())
        samples.append(sample)
    assert summary.attrs["logrank_p"] == pytest.approx(scipy.stats.logrank(*samples).pvalue)


def test_numbers_at_risk_are_those_still_observed():
    frame = times(1)
    texts = [text.get_text() for text in survival.survival_curves(frame).axes[1].texts]
    for group, one in frame.groupby("group"):
        start = texts.index(str(len(one)))
        expected = [str((one["months"] >= month).sum()) for month in range(0, 61, 12)]
        assert texts[start : start + 7] == [*expected, group]


def test_a_group_of_four_has_no_curve():
    frame = times(2)
    few = pd.concat([frame, pd.DataFrame({"months": [1.0] * 4, "event": [True] * 4, "group": ["1"] * 4})])
    drawn = survival.survival_curves(few)
    assert {text.get_text() for text in drawn.legends[0].get_texts()} == {"2", "4a"}
    assert survival.survival_summary(few).loc["1", "patients"] == 4
    with pytest.raises(ParameterError, match="no group has 5 patients, the largest has 4"):
        survival.survival_curves(few[few["group"] == "1"])


def test_survival_reads_events_and_orders_stages(cohort):
    words = np.array(["Dead", "alive", "1", "0", "?", "yes"], dtype=object)
    dataset = cohort.assign_coords(death=("patient", words), clinical_stage=("patient", list("321123")))
    found = survival_times(dataset)
    assert found["event"].loc[["001", "002", "003", "004", "006"]].tolist() == [True, False, True, False, True]
    assert list(dict.fromkeys(found["group"])) == ["1", "2", "3"]
    assert "005" not in found.index


def test_median_patient_is_the_one_in_the_middle(cohort, morphology):
    volume = morphology["voxel_volume"].mean("sequence").to_series()
    expected = (volume - volume.median()).abs().idxmin()
    assert outlined_figure.median_patient(cohort) == expected


def test_drawing_changes_no_settings_and_is_the_same_each_time(cohort, morphology):
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "black"}):
        before = dict(mpl.rcParams)
        first, second = (style.encoded(figures.volume_by_stage(cohort, morphology), "svg") for _ in range(2))
        assert dict(mpl.rcParams) == before
    assert first == second == style.encoded(figures.volume_by_stage(cohort, morphology), "svg")


def test_a_stage_counts_the_patients_who_have_a_volume():
    volumes = measured(np.array([[1e3, np.nan], [0.0, np.nan], [np.nan, np.nan], [np.nan, 2e3]]))
    stages = xr.Dataset({"t_stage": ("patient", ["T3", "T3", "T3", "T4"])}, coords={"patient": volumes["patient"]})
    (axes,) = figures.volume_by_stage(stages, volumes).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["T3\nn = 1", "T4\nn = 1"]
