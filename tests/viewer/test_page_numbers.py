"""Numbers on the page in a real browser: each is of what its title says, and has the digits that count."""

import shutil
import threading

import nibabel
import numpy as np
import pytest

import npczarr as npc
from npczarr.viewer.objects import StoreObjects
from tests.stores import measured_copy
from tests.two_of_all import RATERS, write_raters
from tests.viewer.serving import serve

pytestmark = pytest.mark.slow
CONFIG = """
[layout]
images = "{patient}/{sequence}.nii.gz"
masks = ["{patient}/ROI.nii.gz"]
[sequences]
ADC = { folder = "ADC" }
[labels]
tumor = 1
node = 2
"""
TABLES = "return document.querySelector('.npczarr')?.dataset.tables"
LISTED = """return [...document.querySelectorAll('.row')].map(
    row => [row.querySelector('.label').textContent, row.querySelector('.detail').textContent])"""
FACTS = """return Object.fromEntries([...document.querySelectorAll('.facts tbody tr')].map(
    row => [row.cells[0].textContent, [...row.cells].slice(1).map(cell => cell.textContent)]))"""
TITLES = "return [...document.querySelectorAll('select[aria-label=\"sort by\"] option')].map(one => one.textContent)"
CAPTION = "return document.querySelector('.caption').textContent"


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    """Two patients: with a small tumor and a large node, and the other way round; ADC maps in mm2/s."""
    root = tmp_path_factory.mktemp("labeled")
    for patient, tumor, node in (("P00", 1, 20), ("P01", 10, 2)):
        mask = np.zeros((40, 40, 24), np.uint8)
        mask[2:12, 2:12, 2 : 2 + tumor] = 1
        mask[20:30, 20:30, 2 : 2 + node] = 2
        image = np.random.default_rng(tumor).uniform(0.0003, 0.0021, mask.shape).astype(np.float32)
        (root / "source" / patient).mkdir(parents=True)
        for name, voxels in (("ADC", image), ("ROI", mask)):
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), root / "source" / patient / f"{name}.nii.gz")
    (root / "config.toml").write_text(CONFIG)
    npc.convert(root / "source", root / "cohort.zarr", config=root / "config.toml", workers=0)
    return root / "cohort.zarr"


@pytest.fixture(scope="module")
def measured_labels(labeled, tmp_path_factory):
    return measured_copy(labeled, tmp_path_factory.mktemp("measured"))


def test_each_label_is_sorted_filtered_and_shown_by_its_own_volume(look, measured_labels):
    cm3 = npc.open(measured_labels, group="morphology")["volume"].isel(sequence=0) / 1000
    with serve(measured_labels) as served, look(served, "sort=-volume/tumor") as page:
        page.until(TABLES)
        assert page.run(CAPTION) == "tumor volume"
        tumors = dict(zip(("P00", "P01"), cm3.sel(label="tumor").values, strict=True))
        assert page.run(LISTED) == [["P01", f"{tumors['P01']:.2g} cm³"], ["P00", f"{tumors['P00']:.2g} cm³"]]
        page.go("filter=volume/node|3|1&patient=P00")
        page.until(TABLES)
        assert page.text(".count") == "1 of 2 patients"
        assert page.text(".chip").startswith("node volume ≥ 1")
        assert page.run(LISTED)[0][0] == "P00"
        assert [title for title in page.run(TITLES) if title.endswith("volume")] == ["tumor volume", "node volume"]
        shown = page.run(FACTS)
        for label in ("tumor", "node"):
            (text,) = shown[f"{label} volume"]
            assert float(text.removesuffix(" cm³")) == pytest.approx(cm3.sel(label=label).values[0], abs=0.005)
            assert f"{label} largest diameter" in shown
        assert page.console() == []


def test_voxels_of_all_labels_are_not_said_to_be_the_volume_of_one(look, labeled):
    with serve(labeled) as served, look(served) as page:
        page.until(TABLES)
        assert page.run(CAPTION) == "volume of all labels together, by voxels"
        assert page.run(LISTED) == [["P00", "2.1 cm³"], ["P01", "1.2 cm³"]]
        assert not [title for title in page.run(TITLES) if title.startswith(("tumor", "node"))]


def test_no_volume_is_shown_while_those_that_were_measured_are_being_read(look, store, tmp_path, monkeypatch):
    copy = tmp_path / "measured.zarr"
    shutil.copytree(store, copy)
    npc.measure_store(copy, "morphology")
    cm3 = npc.open(copy, group="morphology")["volume"].max("sequence").values / 1000
    may_go = threading.Event()
    read = StoreObjects.read

    def held(self, key):
        if key.startswith("morphology/"):
            may_go.wait(60)
        return read(self, key)

    monkeypatch.setattr(StoreObjects, "read", held)
    with serve(copy) as served, look(served, "patient=001") as page:
        try:
            page.shows("001")
            assert page.run(CAPTION) == "tumor volume"
            assert [detail for _, detail in page.run(LISTED)] == ["", "", ""]
        finally:
            may_go.set()
        page.until(TABLES)
        assert [detail for _, detail in page.run(LISTED)] == [f"{volume:.1f} cm³" for volume in cm3]


def test_small_values_of_an_image_have_the_digits_that_count(look, labeled):
    scan = npc.open(labeled).isel(patient=0, sequence=0)
    value = scan["image"].values[5, 9, 7]
    at = ",".join(f"{mm:.2f}" for mm in (scan["affine"].values @ [7, 9, 5, 1])[:3])
    with serve(labeled) as served, look(served, f"patient=P00&at={at}") as page:
        page.shows("P00")
        assert value < 0.0022
        assert page.text(".place").replace("\xa0", " ").endswith(f"value {value:.4g}")


def test_numbers_of_raters_and_labels_are_shown_one_by_one(look, tmp_path):
    write_raters(tmp_path / "rated")
    made = tmp_path / "raters.zarr"
    npc.convert(tmp_path / "rated", made, config=tmp_path / "rated/layout.toml", workers=0)
    for measure in ("morphology", "agreement"):
        npc.measure_store(made, measure)
    volume = npc.open(made, group="morphology")["volume"] / 1000
    dice = npc.open(made, group="agreement")["dice"]
    with serve(made) as served, look(served, "sort=-morphology/volume.node.bert") as page:
        page.until(TABLES)
        shown = page.run(FACTS)
        patient = page.text(".npczarr h1")
        for label in ("tumor", "node"):
            expected = dice.sel(patient=patient, label=label).values
            found = [float(text) for text in shown[f"{label} Dice of the raters"]]
            np.testing.assert_allclose(found, expected, atol=5e-4)
            for rater in RATERS:
                expected = volume.sel(patient=patient, label=label, rater=rater).values
                found = [float(text.removesuffix(" cm³")) for text in shown[f"{rater}: {label} volume"]]
                np.testing.assert_allclose(found, expected, atol=5e-3)
        assert page.run(CAPTION) == "morphology/volume: node, bert"
        assert page.console() == []
