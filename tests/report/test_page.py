"""The page in a browser: nothing runs that should not, nothing is fetched, everything is seen at both widths."""

import base64
import csv
import io
import itertools
import json
import re
import shutil

import nibabel
import numpy as np
import pytest
import typer
import zarr
from PIL import Image
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.report import report
from npczarr.errors import ParameterError, StoreError, UnknownLabelError
from npczarr.model.geometry import Grid
from npczarr.model.review import Mark
from npczarr.model.slice_view import SliceView
from npczarr.report.page import write_report
from npczarr.report.scores import score_image
from npczarr.report.thumbnail import thumbnail
from npczarr.store.location import locate
from npczarr.store.review import Review
from npczarr.store.zarr_library import consolidate
from tests.report.conftest import HOSTILE

WIDTHS = (390, 1400)
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


@pytest.fixture(scope="module")
def pages(store, raters, troubled, bare, tmp_path_factory):
    """Reports of a whole, a troubled and a bare store."""
    folder = tmp_path_factory.mktemp("pages")
    plain = write_report(store, folder / "plain.html", reliability=raters)
    odd = write_report(troubled, folder / "troubled.html")
    return {"plain": plain, "troubled": odd, "bare": write_report(bare, folder / "bare.html")}


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (program and driver):
        pytest.skip("no chromium and chromedriver on the path")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as running:
        yield running


def opened(browser, page, width=1400):
    """Show a page at a width; what the console said, and every address that was asked for."""
    browser.get_log("performance")
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page.as_uri())
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return browser.get_log("browser"), [url for url in asked if not url.startswith("data:")]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["plain", "troubled", "bare"])
def test_page_is_whole_and_asks_for_nothing(browser, pages, name, width):
    said, asked = opened(browser, pages[name], width)
    assert said == []
    assert asked == [pages[name].as_uri()]
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    load = (
        "const done = arguments[0]; const all = [...document.images]; all.forEach(i => i.loading = 'eager');"
        "Promise.all(all.map(i => i.decode())).then(() => done(all.filter(i => !i.naturalWidth).length), done)"
    )
    assert browser.execute_async_script(load) == 0
    assert browser.execute_script("return document.images.length") >= 4
    sizes = (
        "return [...document.querySelectorAll('p, td, th, li, dd')].map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(browser.execute_script(sizes)) >= 12


def test_contents_lead_to_every_section(browser, pages):
    opened(browser, pages["plain"])
    targets = browser.execute_script(
        "return [...document.querySelectorAll('nav a')].map(a => document.querySelector(a.hash)?.tagName)"
    )
    assert targets == ["SECTION"] * 10


def column(browser, number):
    script = "return [...document.querySelectorAll('#problems tbody tr')].map(r => r.cells[arguments[0]].textContent)"
    return browser.execute_script(script, number)


def test_tables_sort_by_text_and_by_number(browser, pages):
    opened(browser, pages["troubled"])
    by_name, by_snr = (browser.find_elements("css selector", "#problems thead button")[i] for i in (0, 4))
    by_name.click()
    names = column(browser, 1)
    assert sorted(names) == sorted(["001", "002", "003", "004", "004", HOSTILE])
    assert [name for name in names if name != HOSTILE] == ["001", "002", "003", "004", "004"]
    by_name.click()
    assert [name for name in column(browser, 1) if name != HOSTILE] == ["004", "004", "003", "002", "001"]
    by_snr.click()
    known = [float(text) for text in column(browser, 5) if text]
    assert known == sorted(known)
    assert len(known) == 3
    assert column(browser, 5)[3:] == ["", "", ""], "what has no number comes last"
    by_snr.click()
    assert [float(text) for text in column(browser, 5) if text] == known[::-1]
    assert column(browser, 5)[3:] == ["", "", ""]
    assert len(browser.find_elements("css selector", "#problems th[aria-sort]")) == 1


def test_what_a_store_holds_never_runs(browser, pages):
    html = pages["troubled"].read_text(encoding="utf-8")
    assert "<img src=x" not in html
    assert html.count("<script") == 1
    opened(browser, pages["troubled"])
    assert browser.title == "Report of troubled.zarr"
    assert HOSTILE in column(browser, 1)
    # nor would it if it got past the escaping: only the page's own script may run
    browser.execute_script("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=9\">')")
    assert browser.title == "Report of troubled.zarr"


def test_printed_page_leaves_out_what_is_for_the_screen(browser, pages):
    opened(browser, pages["plain"])
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = browser.execute_script("return getComputedStyle(document.querySelector('nav')).display")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert shown == "none"


def test_every_patient_is_on_the_contact_sheet_and_sorts(browser, pages):
    opened(browser, pages["plain"])

    def shown():
        script = (
            "return [...document.querySelectorAll('.sheet li')].map(t => t.dataset)"
            ".map(d => [d.patient, +d.volume, +d.stage])"
        )
        return browser.execute_script(script)

    assert [(stage, volume) for _, volume, stage in shown()] == sorted(
        ((stage, volume) for _, volume, stage in shown()), reverse=True
    )
    for key, order in (("volume", lambda tile: -tile[1]), ("patient", lambda tile: tile[0])):
        browser.find_element("css selector", f".sorts [data-by={key}]").click()
        assert shown() == sorted(shown(), key=order)
        assert len(browser.find_elements("css selector", ".sorts [aria-pressed=true]")) == 1
    assert {patient for patient, *_ in shown()} == {f"{i:03d}" for i in range(1, 7)}


def test_tumors_sort_by_number_and_wide_tables_say_that_they_scroll(browser, pages):
    opened(browser, pages["plain"], 390)
    table = next(
        t
        for t in browser.find_elements("css selector", ".scroll")
        if t.get_attribute("aria-label") == "Tumors by patient"
    )
    script = "return [...arguments[0].querySelectorAll('tbody tr')].map(r => r.cells[5].textContent)"
    browser.execute_script("arguments[0].querySelectorAll('thead button')[5].click()", table)
    volumes = [float(text) for text in browser.execute_script(script, table)]
    assert volumes == sorted(volumes)
    assert len(volumes) == 6
    hint = browser.execute_script("return arguments[0].nextElementSibling.textContent", table)
    assert hint == "↔ This table scrolls sideways."
    opened(browser, pages["plain"], 1400)
    assert browser.execute_script("return document.querySelector('.scroll + .hint').textContent") == ""


def test_the_page_follows_a_dark_screen(browser, pages):
    light = {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    found = []
    for scheme in (light, dark):
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
        opened(browser, pages["plain"])
        found.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", light)
    assert found == ["rgb(255, 255, 255)", "rgb(20, 24, 29)"]


def test_tables_stand_in_the_papers_order_after_the_patients(pages):
    html = pages["plain"].read_text(encoding="utf-8")
    order = ['class="sheet"', "Tumors by patient", *(f"<h3>Table {n}." for n in (1, 2, 3, 4)), "Figure 2.", "Figure 3."]
    places = [html.index(words) for words in order]
    assert places == sorted(places)
    assert "Synthetic cohort" in html


@pytest.mark.slow
def test_a_sheet_that_would_be_too_large_says_what_it_leaves_out(store, tmp_path, monkeypatch):
    monkeypatch.setattr("npczarr.report.patients_section._TILES", 4)
    html = write_report(store, tmp_path / "r.html", workers=0).read_text(encoding="utf-8")
    assert html.count("<li data-patient=") == 4
    assert "Shown are 4 of 6 patients" in html


@pytest.mark.slow
def test_a_page_of_277_patients_would_stay_under_ten_megabytes(store):
    rng = np.random.default_rng(0)
    noise = rng.normal(300, 60, (3, 512, 512)).astype(np.int16)  # nothing compresses worse
    mask = np.zeros(noise.shape, np.uint8)
    mask[1, 200:300, 200:300] = 1
    grid = Grid(noise.shape, np.diag([0.43, 0.43, 5.5, 1]))
    picture = thumbnail(noise, mask, SliceView(grid.affine, grid.axis_positions_mm(), grid.spacing_zyx_mm))
    assert 277 * len(picture.content) * 4 / 3 < 6e6


@pytest.mark.parametrize("flip", list(itertools.product((1, -1), repeat=3)))
def test_a_picture_is_upright_whatever_the_storage(flip):
    image, mask = np.zeros((5, 60, 60), np.int16), np.zeros((5, 60, 60), np.uint8)
    image[:, 5:55, 5:55] = 800
    mask[2, 10:20, 5:15] = 1  # to the front and the right of the patient
    image[mask > 0] = 3000
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    stored = tuple(slice(None, None, step) for step in flip)
    for axis, step in enumerate(flip[::-1]):  # x, y, z of the affine
        if step < 0:
            affine[:3, 3] += affine[:3, axis] * (image.shape[2 - axis] - 1)
            affine[:3, axis] *= -1
    grid = Grid(image.shape, affine)
    found = thumbnail(image[stored], mask[stored], SliceView(affine, grid.axis_positions_mm(), grid.spacing_zyx_mm))
    assert (found.left, found.right) == ("R", "L")
    gray = np.asarray(Image.open(io.BytesIO(found.content)).convert("L")).astype(float)
    rows, columns = np.nonzero(gray > 200)
    assert rows.mean() < 80
    assert columns.mean() < 80
    assert abs(found.z_mm) == 8
    assert [abs(mm) for mm in found.tumor_mm] == [8, 8]


@pytest.mark.slow
def test_a_file_that_is_no_report_is_kept(bare, tmp_path):
    page, listed = tmp_path / "notes.html", tmp_path / "list.csv"
    for path, option in ((page, {}), (listed, {"quality_csv": listed})):
        path.write_text("mine", encoding="utf-8")
        out = tmp_path / "new.html" if option else page
        with pytest.raises(ParameterError, match=f"{path.name} was not written by npczarr.*--force"):
            write_report(bare, out, workers=0, **option)
        assert path.read_text(encoding="utf-8") == "mine"
        write_report(bare, out, workers=0, force=True, **option)
        again = path.read_text(encoding="utf-8")
        write_report(bare, out, workers=0, **option)  # its own it overwrites
        assert path.read_text(encoding="utf-8") == again
    assert {path.name for path in tmp_path.iterdir()} == {"notes.html", "list.csv", "new.html"}


def test_images_of_any_size_are_scored_without_a_warning():
    rng = np.random.default_rng(0)
    for shape in ((1, 1, 1), (2, 9, 9), (1, 16, 24), (4, 8, 40)):
        for image in (np.zeros(shape), np.ones(shape), rng.integers(0, 90, shape), (rng.random(shape) < 0.02) * 900):
            for mask in (None, np.zeros(shape, np.uint8), np.ones(shape, np.uint8)):
                score_image(image.astype(np.int16), mask)


def test_list_of_problems_is_in_the_page(pages):
    html = pages["troubled"].read_text(encoding="utf-8")
    content = re.search(r'download="quality.csv" href="data:text/csv;base64,([^"]+)"', html)[1]
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(content).decode())))
    assert [row["problem"] for row in rows][:3] == ["missing", "refused", "empty mask"]
    assert rows[-1]["patient"] == HOSTILE


def test_bare_store_says_what_is_missing_and_which_command_makes_it(pages, bare):
    html = pages["bare"].read_text(encoding="utf-8")
    for command in (f"npczarr morphology {bare}", "npczarr agreement reliability.zarr", "npczarr convert SOURCE"):
        assert command in html
    assert "no clinical variable" in html


@pytest.mark.slow
def test_decisions_of_a_review_are_counted_and_excluded_scans_are_listed(store, tmp_path):
    copy = tmp_path / "reviewed.zarr"
    shutil.copytree(store, copy)
    patients, sequences = ([str(label) for label in npc.open(store)[dim].values] for dim in ("patient", "sequence"))
    review = Review(locate(copy))
    review.keep([Mark(patients[0], s, "accept") for s in sequences])
    review.keep([Mark(patients[1], sequences[0], "exclude", "artifact", "<b>motion</b>", "R1")])
    html = write_report(copy, tmp_path / "page.html", tables=tmp_path / "tables").read_text()
    assert "reviewed: 3 accepted, 1 excluded (artifact 1)." in html
    assert "&lt;b&gt;motion&lt;/b&gt;" in html
    assert "<b>motion" not in html
    with (tmp_path / "tables" / "review.csv").open(encoding="utf-8-sig") as file:
        rows = {(row["patient"], row["sequence"]): row for row in csv.DictReader(file)}
    assert len(rows) == int((npc.open(store)["status"] != "missing").sum())
    one = rows[patients[1], sequences[0]]
    assert (one["decision"], one["reason"], one["note"], one["reviewer"]) == (
        "exclude",
        "artifact",
        "<b>motion</b>",
        "R1",
    )
    assert sum(row["decision"] == "" for row in rows.values()) == len(rows) - 4


@pytest.mark.slow
def test_store_of_raters_alone_is_reported(raters, tmp_path):
    html = write_report(raters, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Figure 2. Dice" in html
    assert "no patient has an image" in html
    assert "Synthetic cohort" in html


@pytest.fixture(scope="module")
def labeled(source, tmp_path_factory):
    """Two patients with a tumor and, beside it, a node of half its voxels; measured."""
    folder = tmp_path_factory.mktemp("labeled")
    for patient in ("001", "002"):
        here = folder / "data" / patient
        shutil.copytree(source / "primary_data/data/MRI-Segments" / patient / "T1WI", here / "T1WI")
        roi = nibabel.load(source / "primary_data/data/MRI-Segments" / patient / "ROI-T1.nii")
        tumor = np.asarray(roi.dataobj) > 0.5
        voxels = np.flatnonzero(tumor)
        both = np.ascontiguousarray(tumor, dtype=np.uint8)
        both.ravel()[voxels[: len(voxels) // 3]] = 2
        nibabel.save(nibabel.Nifti1Image(both, roi.affine), here / "ROI-T1.nii")
    config = folder / "config.toml"
    config.write_text('[sequences]\nT1WI = { folder = "T1WI", mask = "T1" }\n[labels]\ntumor = 1\nnode = 2\n')
    npc.convert(folder / "data", folder / "two.zarr", workers=0, config=config)
    npc.measure_store(folder / "two.zarr", "morphology")
    return folder / "two.zarr"


@pytest.mark.slow
def test_a_label_is_chosen_and_all_of_the_page_is_of_it(labeled, tmp_path):
    volumes = npc.open(labeled, group="morphology")["volume"].sel(sequence="T1WI")
    pages = {}
    for label in ("tumor", "node"):
        html = write_report(labeled, tmp_path / f"{label}.html", label=label, tables=tmp_path / label).read_text(
            "utf-8"
        )
        assert f"of the labels tumor, node this page shows {label}" in html
        with (tmp_path / label / "tumors_by_patient.csv").open(encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            expected = float(volumes.sel(patient=row["patient"], label=label)) / 1000
            assert float(row["Volume, cm³ T1WI"]) == pytest.approx(expected, abs=0.006)
        pages[label] = (
            html,
            [[row[f"{which} slice with tumor, z in mm T1WI"] for which in ("first", "last")] for row in rows],
        )
    assert write_report(labeled, tmp_path / "default.html").read_text("utf-8") == pages["tumor"][0]
    masks = npc.open(labeled)
    for label, number in (("tumor", 1), ("node", 2)):
        scan = masks.npc.scan("001", "T1WI")
        there = scan.z.values[(scan.mask.values == number).any(axis=(1, 2))]
        low, high = (f"{mm:.1f}" for mm in (there.min(), there.max()))
        assert pages[label][1][0] == [low, high], "numbers that any reader takes for numbers"
        shown = f"{low}\u00a0to\u00a0{high}".replace("-", "−")
        assert shown in pages[label][0]
    with pytest.raises(UnknownLabelError, match="label 'nod'"):
        write_report(labeled, tmp_path / "nod.html", label="nod")


@pytest.mark.slow
def test_a_label_that_was_not_measured_has_no_number_of_another(labeled, tmp_path):
    copy = tmp_path / "bare.zarr"
    shutil.copytree(labeled, copy)
    shutil.rmtree(copy / "morphology")
    consolidate(zarr.open_group(copy))
    html = write_report(copy, tmp_path / "r.html", label="node", tables=tmp_path).read_text("utf-8")
    assert "were not measured" in html
    assert "Volumes are voxel counts times voxel size" in html
    scan = npc.open(copy).npc.scan("001", "T1WI")
    expected = float((scan.mask == 2).sum() * scan.spacing.prod()) / 1000
    with (tmp_path / "tumors_by_patient.csv").open(encoding="utf-8-sig") as file:
        assert float(next(csv.DictReader(file))["Volume, cm³ T1WI"]) == pytest.approx(expected, abs=0.006)


@pytest.mark.slow
def test_command_writes_page_figures_tables_and_list(bare, raters, tmp_path):
    app = typer.Typer()
    app.command()(report)
    out = tmp_path / "new" / "report.html"
    where = ["--figures", tmp_path / "figures", "--tables", tmp_path / "tables", "--quality-csv", tmp_path / "q.csv"]
    done = CliRunner().invoke(app, [str(a) for a in (bare, "-o", out, "--reliability", raters, "--workers", 0, *where)])
    assert done.exit_code == 0, done.output
    assert "Figure 3. Jaccard" in out.read_text(encoding="utf-8")
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert {"figure_1_outlines", "figure_2_dice", "figure_3_jaccard", "resolution"} <= names
    assert len(list((tmp_path / "figures").iterdir())) == 3 * len(names)
    assert {path.suffix for path in (tmp_path / "tables").iterdir()} == {".csv", ".md", ".tex"}
    assert (
        (tmp_path / "q.csv")
        .read_text(encoding="utf-8")
        .startswith("patient,sequence,problem,reason,evidence\n001,T1WI,no mask")
    )


def test_no_store_is_an_error(tmp_path):
    with pytest.raises(StoreError):
        write_report(tmp_path / "none.zarr", tmp_path / "r.html")


@pytest.mark.slow
def test_real_cohort_is_reported_with_what_is_there(real_data, tmp_path):
    npc.convert(real_data / "real_cohort/primary_data", tmp_path / "real.zarr", workers=0)
    npc.measure_store(tmp_path / "real.zarr", "morphology")
    html = write_report(tmp_path / "real.zarr", tmp_path / "r.html").read_text(encoding="utf-8")
    assert "No scan of T2WI, CE-T1WI is stored" in html
    assert "Figure 1. Outlines of one patient" in html
    assert html.count(">no image</span>") == 1
    assert "10 scans: all 5" in html
    assert "T2WI, CE-T1WI" in html
    assert len(re.findall("<li data-patient=", html)) == 5
    assert "Synthetic cohort" not in html
