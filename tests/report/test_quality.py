"""Scores on images whose noise and artifacts are known, and what is found in a cohort whose problems are."""

import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import npczarr as npc
from npczarr.report.quality import PROBLEMS, findings, mask_orientation, modified_z, score_table
from npczarr.report.scored_scans import score_scans
from npczarr.report.scores import score_image
from npczarr.runner import Runner
from npczarr.store.cohort import StoredCohort
from npczarr.store.location import locate
from tests.report.conftest import HOSTILE

SIGMA, SIGNAL = 12.0, 600.0


def look(store, workers=None, **options):
    with Runner(workers, idle="threads") as runner:
        return score_scans(StoredCohort(locate(store)), runner, **options)


def head(side=160, slices=15):
    """(z, y, x): an ellipse of tissue in air, without noise."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    one = np.where((y / 0.7) ** 2 + (x / 0.55) ** 2 < 1, SIGNAL, 0.0)
    return np.repeat(one[None], slices, axis=0)


def magnitude(signal, seed=0, sigma=SIGMA):
    """Rician: the length of a signal with noise in both channels."""
    real, imaginary = np.random.default_rng(seed).normal(0, sigma, (2, *signal.shape))
    return np.hypot(signal + real, imaginary).round().astype(np.int16)


def test_signal_to_noise_is_that_of_the_image():
    for sigma in (6.0, 12.0, 30.0):
        assert score_image(magnitude(head(), sigma=sigma)).snr == pytest.approx(SIGNAL / sigma, rel=0.03)


def test_signal_to_noise_does_not_depend_on_scale_or_flip():
    image = magnitude(head())
    once = score_image(image)
    assert score_image(image * 3).snr == pytest.approx(once.snr)
    assert score_image(image[:, ::-1, ::-1]).snr == pytest.approx(once.snr, rel=0.01)


def test_tumor_contrast_is_in_units_of_noise():
    signal, mask = head(), np.zeros((15, 160, 160), np.uint8)
    mask[5:9, 70:90, 70:90] = 1
    signal[mask > 0] += 300
    assert score_image(magnitude(signal), mask).tumor_contrast == pytest.approx(300 / SIGMA, rel=0.04)


def test_a_ghost_along_one_axis_is_seen_and_even_air_is_not():
    signal = head()
    ghosted = signal + 0.15 * np.roll(signal, 80, axis=1)
    assert score_image(magnitude(signal)).ghosting < 0.2
    assert score_image(magnitude(ghosted)).ghosting > 3


def test_dropped_clipped_and_blank_slices_are_seen():
    signal = head()
    signal[7] *= 0.6
    assert score_image(magnitude(signal)).uneven == pytest.approx(40, abs=2)
    assert score_image(np.minimum(magnitude(head()), 600)).clipped > 30
    blank = magnitude(head())
    blank[[0, 4]] = 7
    assert score_image(blank).blank_slices == 2
    nothing = score_image(np.zeros((4, 32, 32), np.int16))
    assert nothing.blank_slices == 4
    assert np.isnan(nothing.snr)


def test_noise_is_not_told_where_the_scanner_blanked_the_air():
    image = magnitude(head())
    image[head() == 0] = 0
    assert np.isnan(score_image(image).snr)


def test_modified_z_against_scipy():
    values = pd.Series(np.random.default_rng(1).lognormal(size=60))
    deviation = scipy.stats.median_abs_deviation(values)
    np.testing.assert_allclose(modified_z(values), 0.6745 * (values - np.median(values)) / deviation)
    assert modified_z(values[:9]).isna().all()
    assert modified_z(pd.Series([1.0] * 30 + [5.0])).isna().all()


@pytest.fixture(scope="module")
def scored(troubled):
    return look(troubled)


def test_every_problem_is_found_and_nothing_else(troubled, scored):
    dataset = npc.open(troubled)
    found = findings(dataset, scored, npc.quality(npc.open(troubled, group="morphology")))
    assert [tuple(row) for row in found[["patient", "sequence", "problem"]].to_numpy()] == [
        ("001", "T2WI", "missing"),
        ("002", "T1WI", "refused"),
        ("003", "T1WI", "empty mask"),
        ("004", "all", "sequences disagree"),
        ("004", "CE-T1WI", "end slice"),
        (HOSTILE, "T2WI", "resolution"),
    ]
    assert set(found["problem"]) <= set(PROBLEMS)
    reasons = found.set_index("problem")["reason"]
    assert "1 slice(s) missing" in reasons["refused"]
    assert "0 voxels of tumor" in found.set_index("problem").loc["empty mask", "evidence"]


def test_a_plain_cohort_has_only_its_one_coarse_scan(store):
    found = findings(npc.open(store), look(store))
    assert [tuple(row) for row in found[["patient", "sequence", "problem"]].to_numpy()] == [
        ("006", "T2WI", "resolution")
    ]


def test_orientations_are_counted_for_every_mask(troubled):
    dataset = npc.open(troubled)
    table = mask_orientation(dataset)
    masks = np.isin(dataset["mask_status"].values.astype(object), ("ok", "warning"))
    assert table.sum().tolist() == masks.sum(axis=0).tolist()
    along_y = (dataset["mask_axes_flipped"].values.astype(object) == "y") & masks
    assert table.loc["reversed along y"].tolist() == along_y.sum(axis=0).tolist()


def test_a_runner_sees_what_threads_see(troubled, scored):
    done = []
    again = look(troubled, workers=0, on_progress=done.append)
    assert repr(again) == repr(scored)  # NaN is not equal to itself
    assert [(state.done, state.total, state.unit) for state in done] == [(i, 16, "scans") for i in range(17)]
    assert score_table(scored)["sequence"].unique().tolist() == ["T1WI", "CE-T1WI", "T2WI"]


def test_a_damaged_scan_is_named_and_the_others_are_looked_at(store, tmp_path):
    copy = tmp_path / "copy.zarr"
    shutil.copytree(store, copy)
    shard = next(path for path in (copy / "image/c/1/2").rglob("*") if path.is_file())
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 0xFF
    shard.write_bytes(content)
    dataset = npc.open(copy)
    scored = look(copy)
    found = findings(dataset, scored)
    damaged = found[found["problem"] == "damaged"]
    assert [tuple(row) for row in damaged[["patient", "sequence"]].to_numpy()] == [("002", "CE-T1WI")]
    assert "npczarr validate" in damaged["reason"].iloc[0]
    assert sum(seen.scores is not None for seen in scored.values()) == 17
