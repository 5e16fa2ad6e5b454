"""The page in a real browser: everything lies where an independent projection puts it, and nothing is silent."""

import shutil
import time

import nibabel
import numpy as np
import pytest
import zarr

import npczarr as npc
from npczarr.graphs.predictions import Predictions
from npczarr.model.geometry import RAS_TO_LPS
from npczarr.store.zarr_library import consolidate
from tests.stores import measured_copy
from tests.viewer.conftest import FLIPS
from tests.viewer.looking import RED, largest_distance, on_screen, outline_mm, screen_axes, turn_over
from tests.viewer.serving import serve

pytestmark = pytest.mark.slow
PLANES = ("axial", "coronal", "sagittal")
_NEAR = 2.0  # px
CHANGED = "the scan has changed since this page was loaded; reload it and look again"


def point(values) -> str:
    return ",".join(f"{v:.2f}" for v in values)


@pytest.fixture(scope="module")
def turned_served(turned):
    with serve(turned[0]) as running:
        yield running


@pytest.fixture(scope="module")
def plain_served(measured):
    with serve(measured) as running:
        yield running


@pytest.fixture(scope="module")
def measured(store, tmp_path_factory):
    return measured_copy(store, tmp_path_factory.mktemp("measured"))


def check_outline(page, mask, affine, plane, at, center, span, pane=0):
    expected = on_screen(outline_mm(mask, affine, plane, at), affine, plane, center, span, page.size(pane))
    drawn = page.colored(pane)
    assert len(drawn) > 100
    assert len(expected) > 100
    assert largest_distance(drawn, expected) <= _NEAR


def test_outline_lies_where_the_affine_puts_it_however_the_grid_runs(look, turned, turned_served):
    seen = {}
    with look(turned_served) as page:
        page.ready("first")
        for name, (mask, affine) in turned[1].items():
            at = np.round((affine @ [24.2, 21.1, 6.9, 1])[:3], 2)
            center, span = np.round(np.add(at, (3.5, -2.25, 1.5)), 2), 90.0
            page.go(f"patient={name}&at={point(at)}&center={point(center)}&span={span}&crosshair=no")
            page.shows(name)
            for plane in PLANES:
                page.keys(plane[0])
                check_outline(page, mask, affine, plane, at, center, span)
                seen[name, plane] = page.colored(0)
                # the crosshair's place in mm is the one that was asked for
                shown = [float(v) for v in page.run("return document.querySelector('.npczarr').dataset.at").split(",")]
                assert np.allclose(shown, at, atol=0.001)
        assert page.console() == []
    for plane in PLANES:
        for z, y, x in FLIPS[1:]:
            assert largest_distance(seen["flip000", plane], seen[f"flip{int(z)}{int(y)}{int(x)}", plane]) <= 1
    assert len(seen) == 3 * (len(FLIPS) + 2)


def test_real_masks_stored_in_every_orientation_are_outlined_where_their_files_put_them(look, real_data, tmp_path):
    source = real_data / "real_cohort/primary_data/data/MRI-Segments/001"
    roi = nibabel.load(source / "ROI-T1.nii")
    for flips in FLIPS:
        folder = tmp_path / "source" / "".join(str(int(f)) for f in flips)
        shutil.copytree(source / "T1WI", folder / "T1WI", copy_function=shutil.copyfile)
        array, affine = np.asarray(roi.dataobj), roi.affine
        for axis, flip in enumerate(flips):
            if flip:
                back = np.eye(4)
                back[axis, axis], back[axis, 3] = -1, array.shape[axis] - 1
                array, affine = np.flip(array, axis), affine @ back
        image = nibabel.Nifti1Image(np.ascontiguousarray(array), affine)
        nibabel.save(image, folder / "ROI-T1.nii")
    config = tmp_path / "config.toml"
    config.write_text('[sequences]\nT1WI = { folder = "T1WI", mask = "T1" }\n')
    made = tmp_path / "real.zarr"
    npc.convert(tmp_path / "source", made, workers=0, config=config)
    grid = npc.open(made).isel(patient=0, sequence=0)["affine"].values
    mask, lps = np.asarray(roi.dataobj).transpose(2, 1, 0) > 0.5, RAS_TO_LPS @ roi.affine
    z, y, x = np.argwhere(mask)[mask.sum() // 2]
    at = np.round((lps @ [x, y, z, 1])[:3], 2)
    checked = 0
    with serve(made) as served, look(served) as page:
        page.ready("first")
        for flips in FLIPS:
            name = "".join(str(int(f)) for f in flips)
            page.go(f"patient={name}&at={point(at)}&center={point(at)}&span=160&crosshair=no")
            page.shows(name)
            for plane in ("axial", "coronal"):
                page.keys(plane[0])
                # the voxels of the file, on the screen as the image's grid turns it
                points = outline_mm(mask, lps, plane, at)
                expected = on_screen(points, grid, plane, at, 160, page.size(0))
                drawn = page.colored(0)
                assert len(drawn) > 100
                assert largest_distance(drawn, expected) <= _NEAR
                checked += 1
    assert checked == 16


def test_dense_screens_are_drawn_with_all_their_pixels(look, turned, turned_served):
    mask, affine = turned[1]["oblique"]
    at = np.round((affine @ [24, 20, 6, 1])[:3], 2)
    query = f"patient=oblique&plane=axial&at={point(at)}&center={point(at)}&span=80&crosshair=no"
    with look(turned_served, query, ratio=2) as page:
        page.shows("oblique")
        width, _ = page.size(0)
        assert width == 2 * page.run("return document.querySelector('.pane .body').clientWidth")
        expected = on_screen(outline_mm(mask, affine, "axial", at), affine, "axial", at, 80, page.size(0))
        assert largest_distance(page.colored(0), expected) <= 2 * _NEAR  # 2 px of the page


def test_crosshair_is_the_same_place_in_all_panes_and_follows_a_click(look, plain_served):
    ds = npc.open(plain_served.store)
    with look(plain_served, "patient=002&center=0,0,0&span=200") as page:
        page.shows("002")
        body = page.browser.find_elements("css selector", ".pane .body")[1]
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(page.browser).move_to_element_with_offset(body, 31, -42).click().perform()
        page.settle()
        at = np.array([float(v) for v in page.run("return document.querySelector('.npczarr').dataset.at").split(",")])
        lines = page.run(
            "return [...document.querySelectorAll('.pane')].map(p =>"
            " [p.querySelector('.line.down').style.left, p.querySelector('.line.across').style.top].map(parseFloat))"
        )
        assert len(lines) == 3
        for i, sequence in enumerate(("T1WI", "T2WI", "CE-T1WI")):
            affine = ds["affine"].sel(patient="002", sequence=sequence).values
            expected = on_screen(at[np.newaxis], affine, "axial", (0, 0, 0), 200, page.size(i))[0]
            assert np.allclose(lines[i], expected, atol=0.11)
            (_, _, through), _ = screen_axes(affine, "axial")
            index = round(float(np.linalg.solve(affine, [*at, 1])[through]))
            shown = page.run("return document.querySelectorAll('.pane')[arguments[0]].dataset.slice", i)
            assert int(shown) == index
        box = body.rect
        assert np.allclose(lines[1], [box["width"] / 2 + 31, box["height"] / 2 - 42], atol=1)


def test_first_picture_is_the_slice_with_most_tumor_and_takes_six_objects(look, plain_served):
    ds = npc.open(plain_served.store)
    with look(plain_served) as page:
        page.shows("001", "first")
        page.ready("ahead")
        page.settle()
        mask = ds["mask"].sel(patient="001", sequence="T1WI").values
        at = [float(v) for v in page.run("return document.querySelector('.npczarr').dataset.at").split(",")]
        affine = ds["affine"].sel(patient="001", sequence="T1WI").values
        assert round(float(np.linalg.solve(affine, [*at, 1])[2])) == (mask > 0).sum(axis=(1, 2)).argmax()
        voxels = [key for key in plain_served.read if key.startswith(("image/c", "mask/c"))]
        assert len(set(voxels)) == len(voxels)
        first = [key for key in voxels if key.split("/")[2] == "0"]
        assert len(first) == 6
        # the neighbor is there before it is asked for
        assert len([key for key in voxels if key.split("/")[2] == "1"]) == 6
        assert page.asked()[0].startswith(plain_served.address)
        plain_served.read.clear()
        page.keys("j")
        page.shows("002", "first")
        assert not [key for key in plain_served.read if key.split("/")[2:3] == ["1"]]


def test_page_asks_nobody_else_and_says_nothing_in_the_console(look, plain_served):
    with look(plain_served) as page:
        page.ready("ahead")
        page.until("return document.querySelector('.npczarr').dataset.tables")
        page.keys("2", "3", "1", "c", "a", "m", "m", "f", "o", "w", "d", "x", "i", "h", "t", "+", "-", "0", "]", "r")
        assert page.console() == []
        asked = page.asked()
        assert len(asked) > 20
        assert {url.split("/")[2] for url in asked} == {plain_served.address.split("/")[2]}
        assert "token" not in page.run("return location.href")


def test_a_network_that_is_away_for_a_moment_is_asked_again(look, turned_served):
    """As where a laptop joins a VPN: Chromium drops what it reads, and says so in the console."""
    conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    with look(turned_served, "patient=flip000") as page:
        page.shows("flip000", "ahead")
        page.until("return document.querySelector('.npczarr').dataset.tables")
        browser = page.browser
        browser.execute_cdp_cmd("Network.enable", {})
        try:
            browser.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, **conditions})
            page.run("document.querySelectorAll('.row')[3].click()")
            page.until(
                "return performance.getEntriesByType('resource').some("
                "one => one.name.includes('/c/') && one.responseStatus === 0)"
            )
        finally:
            browser.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False, **conditions})
        page.shows("flip011")
        assert page.text(".pane .note") == ""
        assert len(page.colored(0)) > 0
        said = page.console()
        assert said
        assert all("net::ERR_INTERNET_DISCONNECTED" in line for line in said)


def test_keys_alone_show_every_patient_slice_and_sequence(look, plain_served):
    from selenium.webdriver.common.keys import Keys

    with look(plain_served) as page:
        page.shows("001")
        before = page.run("return document.querySelector('.pane').dataset.slice")
        page.keys(Keys.ARROW_UP)
        assert int(page.run("return document.querySelector('.pane').dataset.slice")) == int(before) + 1
        page.keys(Keys.ARROW_RIGHT)
        page.shows("002")
        page.keys(Keys.ARROW_LEFT)
        page.shows("001")
        page.keys("e", "e")
        names = "return [...document.querySelectorAll('.pane')].map(p => p.dataset.sequence)"
        assert page.run(names) == ["T2WI"]
        page.keys("3")
        assert page.run(names) == [s for s in ("T1WI", "T2WI", "CE-T1WI") for _ in range(3)]
        page.keys("1", "q", "q")
        page.keys("m")
        assert len(page.colored(0)) == 0
        page.keys("m")
        assert len(page.colored(0)) > 0
        page.keys("/")
        page.keys("0", "0", "3", Keys.ESCAPE)
        page.until("return document.querySelector('.count').textContent === '1 of 3 patients'")


@pytest.mark.parametrize("width", [390, 1400])
def test_every_control_has_a_name_and_the_page_fits(look, plain_served, width):
    with look(plain_served, width=width) as page:
        page.ready("whole")
        page.until("return document.querySelector('.npczarr').dataset.tables")
        nodes = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        roles = {"button", "combobox", "checkbox", "textbox", "searchbox", "listbox", "option", "image", "region"}
        controls = [n for n in nodes if not n["ignored"] and n["role"]["value"] in roles]
        assert len(controls) > 20
        assert [n["role"]["value"] for n in controls if not n["name"]["value"].strip()] == []
        assert page.run("return document.documentElement.scrollWidth <= window.innerWidth")
        labels = [n["name"]["value"] for n in controls if n["role"]["value"] == "image"]
        assert labels[0].startswith("T1WI, axial, slice ")


def test_address_reopens_the_view(look, plain_served):
    with look(plain_served, "patient=002") as page:
        page.shows("002")
        page.keys("3", "f", "+", "h", "]")
        page.until("return location.search.includes('window=') && location.search.includes('mask=fill')")
        picture = "return document.querySelector('canvas').toDataURL()"
        address, before = page.run("return location.search"), page.run(picture)
        page.go(address.removeprefix("?"))
        page.shows("002")
        assert page.run("return location.search") == address
        assert page.run("return document.querySelectorAll('.pane').length") == 9
        assert page.run(picture) == before


def test_numbers_of_the_scan_are_those_of_the_store_and_stale_ones_are_not_shown(look, measured, tmp_path):
    copy = tmp_path / "stale.zarr"
    shutil.copytree(measured, copy)
    root = zarr.open_group(copy)
    root["mask_digest"][0, 1] = "0" * 32
    volume = npc.open(copy, group="morphology")["volume"].values[0] / 1000
    with serve(copy) as served, look(served, "patient=001") as page:
        page.shows("001")
        page.until("return document.querySelector('.npczarr').dataset.tables")
        rows = page.run(
            "return [...document.querySelectorAll('.facts tr')].filter(r => r.cells[0].textContent === 'volume')"
            ".map(r => [...r.cells].slice(1).map(c => c.textContent))"
        )
        assert rows == [[f"{volume[0]:,.2f} cm³".replace("0 cm", " cm"), "measure again", f"{volume[2]:,.2f} cm³"]] or (
            rows[0][1] == "measure again" and abs(float(rows[0][0].split()[0]) - volume[0]) < 0.006
        )
        assert "the mask is damaged or was changed" in page.text(".panes")


@pytest.mark.parametrize("name", ["image", "mask"])
def test_damage_is_said_in_the_pane(look, store, tmp_path, name):
    for how, words in (("absent", "is absent"), ("damaged", "checksum")):
        copy = tmp_path / f"{how}.zarr"
        shutil.copytree(store, copy)
        key = f"{name}/c/0/1/0/0/0"
        if how == "absent":
            (copy / key).unlink()
        else:
            content = bytearray((copy / key).read_bytes())
            content[len(content) // 2] ^= 0xFF
            (copy / key).write_bytes(content)
        with serve(copy) as served, look(served, "patient=001") as page:
            page.shows("001")
            notes = page.run(
                "return [...document.querySelectorAll('.pane')].map(p => p.querySelector('.note').textContent)"
            )
            assert notes[0] == notes[2] == ""
            assert words in notes[1]
            assert key in notes[1]


def test_a_patient_who_is_not_there_is_said_and_the_first_is_shown(look, plain_served):
    with look(plain_served, "patient=999") as page:
        page.shows("001", "ahead")
        assert "no patient 999" in page.text(".banner")


def test_frames_of_reference_that_differ_are_a_warning(look, store, tmp_path):
    copy = tmp_path / "frames.zarr"
    shutil.copytree(store, copy)
    zarr.open_group(copy)["frame_digest"][0, 1] = "f" * 32
    with serve(copy) as served, look(served) as page:
        page.shows("001")
        assert "Different frames of reference: T1WI, CE-T1WI | T2WI" in page.text(".banner")
        page.keys("j")
        page.shows("002")
        assert "frames" not in page.text(".banner")


HOSTILE = '"><img src=x onerror="document.title=1"><script>document.title=2</script>'


def test_what_a_store_holds_is_text(look, store, tmp_path):
    copy = tmp_path / "hostile.zarr"
    shutil.copytree(store, copy)
    root = zarr.open_group(copy)
    for name in ("patient", "sequence"):
        root[name][0] = HOSTILE + name
    root["message"][0] = np.array([HOSTILE] * 3)
    root["status"][0, 1] = "refused"
    root["scanner_model"][0] = np.array([HOSTILE] * 3)
    root["mask"].attrs["flag_meanings"] = f"background {HOSTILE.replace(' ', '_')}"
    root["t_stage"].attrs["long_name"] = HOSTILE
    root["t_stage"][0] = HOSTILE
    root.create_array(f"{HOSTILE.replace('/', '')}", data=np.arange(3.0), dimension_names=["patient"])
    consolidate(root)
    with serve(copy) as served, look(served) as page:
        page.ready("whole")
        page.until("return document.querySelector('.npczarr').dataset.tables")
        page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.settle()
        assert page.run("return document.querySelectorAll('.npczarr :is(img, script, iframe)').length") == 0
        assert page.run("return document.title") == f"{HOSTILE}patient – hostile.zarr"
        text = page.run("return document.body.textContent")
        assert text.count("<script>document.title=2") > 5
        # nor would it run if it got past: the policy forbids it
        page.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=9\">')")
        page.settle()
        assert page.run("return document.title") != "9"


def test_raters_have_colors_and_can_be_hidden(look, raters):
    with serve(raters) as served, look(served) as page:
        page.ready("whole")
        page.settle()
        second = (64, 200, 255)
        counts = [len(page.colored(0, color)) for color in (RED, second)]
        assert min(counts) > 0
        box = page.browser.find_elements("css selector", ".legend input")
        assert len(box) == 2
        box[1].click()
        page.settle()
        assert len(page.colored(0, second)) == 0
        assert len(page.colored(0, RED)) >= counts[0]


def test_a_models_masks_lie_beside_the_truth_and_can_be_hidden(look, store, tmp_path):
    ds = npc.open(store)
    patient, sequence = str(ds.patient.values[0]), str(ds.sequence.values[0])
    scan = ds.npc.scan(patient, sequence)
    truth = scan.mask.values
    model = np.roll(truth, (1, 4, -3), axis=(0, 1, 2))
    other = str(ds.patient.values[1])
    npc.export_scans(store, tmp_path / "nifti", format="nifti", patients=[patient, other], sequences=[sequence])
    (file,) = (tmp_path / "nifti" / patient).glob("ROI*")
    affine = nibabel.load(file).affine
    turned = nibabel.Nifti1Image(model.transpose(2, 1, 0), affine).as_reoriented(np.array([[0, -1], [1, 1], [2, 1]]))
    for label in (patient, other):
        (tmp_path / "unet" / label).mkdir(parents=True)
        nibabel.save(turned, tmp_path / "unet" / label / file.name)
    (tmp_path / "unet" / other / file.name).write_bytes(b"no mask")
    predicted = Predictions(store, tmp_path / "unet")
    grid = scan.affine.values
    z = int(np.argmax(model.any(axis=(1, 2))))
    at = (grid @ (*(np.argwhere(model[z]).mean(0)[::-1]), z, 1))[:3]
    blue = (64, 200, 255)
    query = f"patient={patient}&sequence={sequence}&at={point(at)}&center={point(at)}&span=80&crosshair=no"
    with serve(store, predicted=predicted) as served, look(served, query) as page:
        page.ready("whole")
        page.settle()
        found = page.colored(0, blue)
        edge = on_screen(outline_mm(model, grid, "axial", at), grid, "axial", at, 80, page.size(0))
        assert len(found)
        assert largest_distance(found, edge) < _NEAR
        names = page.run("return [...document.querySelectorAll('.legend label')].map((one) => one.textContent)")
        assert names == ["tumor", "unet: tumor"]
        page.browser.find_elements("css selector", ".legend input")[1].click()
        page.settle()
        assert len(page.colored(0, blue)) == 0
        page.go(f"patient={other}&sequence={sequence}")
        page.ready("whole")
        assert "the prediction cannot be read" in page.text(".pane")
        assert len(page.colored(0, RED))


class Remarked:
    """Predictions as files give them whose values or grid are not what they should be."""

    name, places = "model", ((0, 0), (0, 1))

    def __init__(self, store) -> None:
        self._masks = [npc.open(store).npc.scan("001", sequence).mask.values for sequence in ("T1WI", "T2WI")]

    def mask(self, place):
        return self._masks[place[1]]

    def message(self, place):
        return "mask: the value 7 is that of no label; é" if place == (0, 1) else ""


def test_what_must_be_known_of_a_prediction_is_said_in_its_pane(look, store):
    with serve(store, predicted=Remarked(store)) as served, look(served, "patient=001") as page:
        page.shows("001")
        notes = page.run(
            "return [...document.querySelectorAll('.pane')].map(p => p.querySelector('.note').textContent)"
        )
        assert notes == ["", "T2WI: prediction: mask: the value 7 is that of no label; é", ""]
        assert len(page.colored(1)) > 0
        assert page.console() == []


def reddish(page) -> np.ndarray:
    """(n, 2) pixels of the first pane in a shade of the first color."""
    script = """
        const canvas = document.querySelector('.pane canvas'), found = [];
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        for (let i = 0; i < data.length; i += 4)
          if (data[i] > 60 && data[i + 1] < data[i] / 2) found.push(i / 4);
        return [canvas.width, found];"""
    width, found = page.run(script)
    return np.stack(np.divmod(np.array(found), width)[::-1], axis=1)


def test_masks_in_three_dimensions_are_as_large_as_they_are_and_turn_by_keys_and_drags(look, store):
    from selenium.webdriver.common.action_chains import ActionChains

    ds = npc.open(store)
    patient, sequence = str(ds.patient.values[0]), str(ds.sequence.values[0])
    scan = ds.npc.scan(patient, sequence)
    corners = np.argwhere(scan.mask.values)[:, ::-1]
    affine = scan.affine.values
    points = np.concatenate([corners + half for half in np.stack(np.meshgrid(*[(-0.5, 0.5)] * 3), -1).reshape(-1, 3)])
    mm = points @ affine[:3, :3].T + affine[:3, 3]
    query = f"patient={patient}&sequence={sequence}&layout=solid&span=100&turn=0,0"
    with serve(store) as served, look(served, query) as page:
        page.ready("whole")
        page.settle()
        front = reddish(page)
        per_mm = min(page.size(0)) / 100
        wide, high = np.ptp(front, axis=0)
        assert wide == pytest.approx(np.ptp(mm[:, 0]) * per_mm, abs=4)
        assert high == pytest.approx(np.ptp(mm[:, 2]) * per_mm, abs=4)
        label = "return document.querySelector('.pane canvas').getAttribute('aria-label')"
        page.keys(*(["\ue013"] * 9))  # arrow up: to look from the head
        assert "90° above" in page.run(label)
        assert np.ptp(reddish(page), axis=0)[1] == pytest.approx(np.ptp(mm[:, 1]) * per_mm, abs=4)
        canvas = page.browser.find_element("css selector", ".pane .body")
        ActionChains(page.browser).drag_and_drop_by_offset(canvas, 40, 0).perform()
        page.settle()
        assert "turned by 340°" in page.run(label)
        assert "turn=340%2C90" in page.until("return location.search.includes('turn') && location.search")
        assert page.console() == []


def test_list_sorts_filters_and_keeps_few_rows_in_the_page(look, store, tmp_path):
    copy = tmp_path / "many.zarr"
    shutil.copytree(store, copy)
    grow(copy, 10_000)
    with serve(copy) as served, look(served, "sort=-volume/tumor") as page:
        page.until("return document.querySelector('.count')?.textContent === '10000 patients'")
        page.until("return document.querySelector('.npczarr').dataset.tables")
        assert 5 < page.run("return document.querySelectorAll('.row').length") < 80
        page.run("document.querySelector('.patients').scrollTop = 5000 * 34")
        page.until(
            "return [...document.querySelectorAll('.row')].some(r => r.getAttribute('aria-posinset') === '5005')"
        )
        assert page.run("return document.querySelectorAll('.row').length") < 80
        page.browser.find_element("css selector", "details summary").click()
        page.run(
            "const [c] = document.querySelectorAll('.new-filter select'); c.value = 'age';"
            "c.dispatchEvent(new Event('change'))"
        )
        page.browser.find_element("css selector", ".new-filter input").send_keys("60")
        page.browser.find_element("css selector", ".new-filter button").click()
        ages = zarr.open_group(copy)["age"][:]
        expected = f"{int((ages >= 60).sum())} of 10000 patients"
        page.until("return document.querySelector('.count').textContent === arguments[0]", expected)
        assert "age ≥ 60" in page.text(".chips")


def grow(store, patients: int) -> None:
    """Repeat the tables of a store for many patients; the others have no voxels of their own."""
    root = zarr.open_group(store)
    for name, array in root.arrays():
        if array.metadata.dimension_names[0] == "patient":
            values = None if name in ("image", "mask") else array[:]
            array.resize((patients, *array.shape[1:]))
            if name == "patient":
                array[:] = np.array([f"p{i:05}" for i in range(patients)], dtype=object)
            elif values is not None:
                array[:] = np.resize(values, array.shape)
    consolidate(root)


def test_exported_page_shows_a_store_beside_it(browser, look, store, tmp_path):
    import functools
    import http.server
    import threading

    npc.export_page(tmp_path)
    shutil.copytree(store, tmp_path / "npc.zarr")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with serve(store) as served, look(served) as page:
            browser.get(f"http://127.0.0.1:{server.server_address[1]}/index.html?store=npc.zarr&patient=002")
            page.shows("002")
            assert len(page.colored(0)) > 0
            assert page.console() == []
            assert "store=npc.zarr" in page.run("return location.search")
            browser.get(f"http://127.0.0.1:{server.server_address[1]}/index.html")
            page.until("return document.body.textContent.includes('?store=')")
            browser.get(f"http://127.0.0.1:{server.server_address[1]}/index.html?store=none.zarr")
            page.until("return document.body.textContent.includes('no store is here')")
    finally:
        server.shutdown()
        server.server_close()


def test_scans_are_reviewed_by_keys_and_marks_are_there_after_a_reload(look, store, tmp_path):
    from selenium.webdriver.common.keys import Keys

    from npczarr.store.location import locate
    from npczarr.store.review import Review

    copy = tmp_path / "review.zarr"
    shutil.copytree(store, copy)
    with serve(copy, reviewer="A. B.", sample=("001", "003")) as served, look(served) as page:
        page.shows("001")
        assert page.text(".count") == "2 patients of the sample"
        page.keys("y")
        page.shows("003")  # 002 is not in the sample
        assert "1 of 2 patients reviewed" in page.text(".review")
        page.keys("e", "n")
        assert page.run("return document.activeElement.getAttribute('aria-label')") == "reason to exclude"
        page.browser.find_element("css selector", ".review input").send_keys("<b>moved</b>")
        page.run("document.querySelector('.review select').value = 'artifact'")
        page.run("[...document.querySelectorAll('.review button')].find(b => b.textContent === 'Exclude').click()")
        page.until("return document.querySelector('.review .said').textContent === 'kept'")
        marks = Review(locate(copy)).read().marks
        decided = {key: (mark.decision, mark.reason, mark.note, mark.reviewer) for key, mark in marks.items()}
        assert decided.pop(("003", "T1WI")) == ("exclude", "artifact", "<b>moved</b>", "A. B.")
        assert decided == {("001", s): ("accept", "", "", "A. B.") for s in ("T1WI", "T2WI", "CE-T1WI")}
        page.go("patient=003&sequence=T1WI")
        page.shows("003")
        assert page.text(".review .state").startswith("T1WI: exclude: artifact")
        assert page.run("return document.querySelector('.review input').value") == "<b>moved</b>"
        assert page.run("return [...document.querySelectorAll('.row .mark')].map(m => m.dataset.mark)") == [
            "accept",
            "in part",
        ]
        page.browser.find_element("css selector", ".review input").send_keys(Keys.ESCAPE)
        assert page.console() == []


def test_a_decision_on_several_sequences_leaves_what_was_decided_on_one(look, store, tmp_path):
    from npczarr.store.location import locate
    from npczarr.store.review import Review

    def decided():
        return {key[1]: (mark.decision, mark.note) for key, mark in Review(locate(copy)).read().marks.items()}

    def write(note):
        page.browser.find_element("css selector", ".review input").send_keys(note)

    def press(name):
        page.run("document.querySelector('.review .said').textContent = ''")
        page.run(f"[...document.querySelectorAll('.review button')].find(b => b.textContent === '{name}').click()")
        page.until("return document.querySelector('.review .said').textContent.startsWith('kept')")

    copy = tmp_path / "review.zarr"
    shutil.copytree(store, copy)
    with serve(copy, sample=("001",)) as served, look(served, "patient=001&sequence=T2WI") as page:
        page.shows("001")
        write("moved")
        press("Exclude")
        page.go("patient=001")
        page.shows("001")
        press("Accept")
        assert decided() == {"T1WI": ("accept", ""), "T2WI": ("exclude", "moved"), "CE-T1WI": ("accept", "")}
        assert page.text(".review .said") == "kept; T2WI as decided before"
        press("Accept")  # of all, now that all are decided on; a note that another scan does not have is kept
        assert decided() == {"T1WI": ("accept", ""), "T2WI": ("accept", "moved"), "CE-T1WI": ("accept", "")}
        press("Take back")
        assert decided() == {}
        assert page.console() == []


def test_a_decision_on_a_scan_that_changed_meanwhile_is_refused_and_what_was_typed_stays(look, store, tmp_path):
    from npczarr.store.location import locate
    from npczarr.store.review import Review

    def press(name):
        page.run(f"[...document.querySelectorAll('.review button')].find(b => b.textContent === '{name}').click()")

    copy = tmp_path / "review.zarr"
    shutil.copytree(store, copy)
    with serve(copy) as served, look(served, "patient=001&sequence=T2WI") as page:
        page.shows("001", "ahead")
        turn_over(copy, 0, 1)
        page.browser.find_element("css selector", ".review input").send_keys("moved")
        page.run("document.querySelector('.review select').value = 'artifact'")
        for name in ("Exclude", "Accept", "Take back"):
            press(name)
            page.until("return document.querySelector('.review .said').textContent.startsWith('not kept')")
            assert page.text(".review .said") == f"not kept: 001/T2WI: {CHANGED}"
            assert page.text(".review .state").startswith("T2WI: not reviewed")
            assert page.run("return document.querySelector('.review input').value") == "moved"
            assert page.run("return document.querySelector('.review select').value") == "artifact"
            page.run("document.querySelector('.review .said').textContent = ''")
        assert page.run("return document.querySelector('.npczarr h1').textContent") == "001"
        assert Review(locate(copy)).read().marks == {}
        page.go("patient=001&sequence=T2WI")
        page.shows("001")
        assert page.text(".pane .note") == ""
        press("Accept")
        page.until("return document.querySelector('.review .said').textContent === 'kept'")
        assert set(Review(locate(copy)).read().marks) == {("001", "T2WI")}


def test_the_page_and_the_server_know_a_scan_of_any_geometry_by_the_same_digest(look, turned, tmp_path):
    from npczarr.store.location import locate
    from npczarr.store.review import Review

    copy = tmp_path / "turned.zarr"
    shutil.copytree(turned[0], copy)
    root = zarr.open_group(copy)
    root["spacing"][1, 0] = np.nan
    root["affine"][2, 0, 0, 1:] = (-0.0, 1e-7, -12345678901234567.0)
    patients = root["patient"][:]
    with serve(copy) as served, look(served) as page:
        for patient in patients:
            page.shows(patient)
            page.keys("y")
            page.until("return document.querySelector('.review .said').textContent === 'kept'")
            page.run("document.querySelector('.review .said').textContent = ''")
    assert {key[0] for key in Review(locate(copy)).read().marks} == set(patients)


def test_a_scan_whose_geometry_changed_since_the_page_was_loaded_is_said(look, store, tmp_path):
    copy = tmp_path / "turned.zarr"
    shutil.copytree(store, copy)
    with serve(copy) as served, look(served) as page:
        page.shows("001", "ahead")
        turn_over(copy, 1, 2)
        page.keys("j")
        page.shows("002")
        notes = page.run(
            "return [...document.querySelectorAll('.pane')].map(p => p.querySelector('.note').textContent)"
        )
        assert notes == ["", "", f"CE-T1WI: {CHANGED}"]
        page.keys("4")
        notes = page.run(
            "return [...document.querySelectorAll('.pane')].map(p => p.querySelector('.note').textContent)"
        )
        assert notes == ["", "", CHANGED]
        assert page.console() == []


def test_a_packed_store_that_was_replaced_is_shown_by_a_page_that_is_loaded_anew(look, store, tmp_path):
    copy, packed = tmp_path / "cohort.zarr", tmp_path / "cohort.zarr.zip"
    shutil.copytree(store, copy)
    npc.pack(copy, packed)
    with serve(packed, csv_file=tmp_path / "marks.csv") as served, look(served) as page:
        page.shows("001", "ahead")
        turn_over(copy, 0, 1)
        npc.measure_store(copy, "morphology")  # other places of all members
        npc.pack(copy, packed, overwrite=True)
        page.keys("y")
        page.until(f"return document.querySelector('.review .said').textContent === 'not kept: 001/T2WI: {CHANGED}'")
        page.go("patient=001")
        page.shows("001")
        page.keys("y")
        page.shows("002")
        assert "1 of 3 patients reviewed" in page.text(".review")


def test_a_store_in_one_file_is_shown_and_its_marks_are_kept_beside_it(look, store, tmp_path):
    packed = npc.pack(store, tmp_path / "cohort.zarr.zip").path
    before = packed.read_bytes()
    with serve(packed, csv_file=tmp_path / "marks.csv") as served, look(served) as page:
        page.shows("001")
        assert len(page.colored(0)) > 0
        page.keys("y")
        page.shows("002")
        assert "1 of 3 patients reviewed" in page.text(".review")
        assert page.console() == []
    assert (tmp_path / "marks.csv").read_text().count("accept") == 3
    assert packed.read_bytes() == before


def test_voxels_of_a_type_that_the_page_does_not_know_are_said(look, store, tmp_path):
    import xarray as xr

    from tests.store.small import by_xarray

    encoding = {"image": {"dtype": "int64", "_FillValue": -32768}, "mask": {"dtype": "uint8"}}
    copy = by_xarray(xr.open_zarr(store).load().drop_encoding(), tmp_path / "a.zarr", encoding=encoding)
    with serve(copy) as served, look(served) as page:
        page.until("return document.querySelector('.banner')?.textContent.includes('001 cannot be shown: voxels of')")
        page.keys("y", "j")  # there is nothing to decide on
        page.until("return document.querySelector('.banner').textContent.includes('002 cannot be shown: voxels of')")
        assert "0 of 3 patients reviewed" in page.text(".review")


def test_mark_that_cannot_be_kept_is_said(look, store, tmp_path):
    copy = tmp_path / "gone.zarr"
    shutil.copytree(store, copy)
    with serve(copy) as served, look(served) as page:
        page.shows("001", "ahead")
        page.until("return document.querySelector('.npczarr').dataset.tables")
        shutil.rmtree(copy)
        page.keys("y")
        page.until("return document.querySelector('.review .said').textContent.startsWith('not kept: ')")
        assert "0 of 3 patients reviewed" in page.text(".review")


def test_damaged_marks_are_said_and_the_page_opens(look, store, tmp_path):
    from npczarr.model.review import Mark
    from npczarr.store.location import locate
    from npczarr.store.review import Review

    copy = tmp_path / "damaged.zarr"
    shutil.copytree(store, copy)
    Review(locate(copy)).keep([Mark("001", "T1WI", "accept")])
    (copy / "review/mark/c/0/0").write_bytes(b"no marks")
    with serve(copy) as served, look(served) as page:
        page.shows("001")
        assert "the review's marks cannot be read" in page.text(".banner")
        page.keys("j")
        page.shows("002")
        assert "restore the folder review" in page.text(".banner")
        page.keys("y")
        page.until("return document.querySelector('.review .said').textContent.startsWith('not kept: ')")
        page.until("return document.querySelector('.npczarr').dataset.tables")
    assert (copy / "review/mark/c/0/0").read_bytes() == b"no marks"


def test_a_finger_changes_the_slice_points_by_a_tap_and_scrolls_past_the_pictures(look, plain_served):
    at = "return document.querySelector('.npczarr').dataset.at"
    with look(plain_served, "patient=002", width=390, height=800) as page:
        page.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
        try:
            page.shows("002")
            assert page.run("return getComputedStyle(document.querySelector('.slider')).display") == "block"
            page.run(
                "const slider = document.querySelector('.slider'); slider.value = 3;"
                "slider.dispatchEvent(new Event('input'))"
            )
            page.settle()
            assert page.run("return document.querySelector('.pane').dataset.slice") == "3"
            before = page.run(at)
            touch(page, "touchStart", 150, 300)
            touch(page, "touchMove", 150, 240)
            touch(page, "touchMove", 150, 180)
            page.until("return document.querySelector('main').scrollTop > 0")
            touch(page, "touchEnd")
            page.settle()
            assert page.run(at) == before
            for _ in range(5):  # a tap on a page that still glides only stops it, and the picture is elsewhere
                page.run("document.querySelector('main').scrollTop = 0")
                time.sleep(0.5)
                touch(page, "touchStart", 150, 300)
                touch(page, "touchEnd")
                time.sleep(0.5)
                if page.run(at) != before:
                    break
            assert page.run(at) != before
            assert page.console() == []
        finally:
            page.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def touch(page, kind: str, *place: int) -> None:
    points = [{"x": place[0], "y": place[1]}] if place else []
    page.browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
