"""The page in a browser: nothing runs that should not, nothing is fetched, everything is seen at both widths."""

import base64
import csv
import io
import json
import re
import shutil

import pytest
import typer
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.report import report
from npczarr.errors import StoreError
from npczarr.report.page import write_report
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
    assert browser.execute_script("return [...document.images].filter(i => !i.complete || !i.naturalWidth).length") == 0
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
    assert targets == ["SECTION"] * 7


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


def test_store_of_raters_alone_is_reported(raters, tmp_path):
    html = write_report(raters, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Figure 2. Dice" in html
    assert "no patient has an image" in html


def test_command_writes_page_figures_tables_and_list(bare, raters, tmp_path):
    app = typer.Typer()
    app.command()(report)
    out = tmp_path / "new" / "report.html"
    where = ["--figures", tmp_path / "figures", "--tables", tmp_path / "tables", "--quality-csv", tmp_path / "q.csv"]
    done = CliRunner().invoke(app, [str(a) for a in (bare, "-o", out, "--reliability", raters, "--workers", 0, *where)])
    assert done.exit_code == 0, done.output
    assert "Figure 3. Jaccard" in out.read_text(encoding="utf-8")
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert {"figure_1_outlines", "figure_2_dice", "figure_3_jaccard", "resolution", "contact_sheet"} <= names
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


def test_real_cohort_is_reported_with_what_is_there(real_data, tmp_path):
    npc.convert(real_data / "real_cohort/primary_data", tmp_path / "real.zarr", workers=0)
    npc.measure_store(tmp_path / "real.zarr", "morphology")
    html = write_report(tmp_path / "real.zarr", tmp_path / "r.html").read_text(encoding="utf-8")
    assert "No scan of T2WI, CE-T1WI is stored" in html
    assert "Figure 1. Outlines of one patient" in html
    assert len(re.findall("<span class=.none.>no image", html)) == 10
