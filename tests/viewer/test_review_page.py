"""Decisions in the page: only on what is drawn, one at a time, and no note is lost."""

import shutil
import threading

import pytest

pytest.importorskip("uvicorn", reason="the viewer's server is not installed: npczarr[view]")

from npczarr.model.review import Mark
from npczarr.store.location import locate
from npczarr.store.review import Review
from npczarr.viewer.objects import StoreObjects
from tests.viewer.serving import serve

pytestmark = pytest.mark.slow  # a browser

SAID = "return document.querySelector('.review .said').textContent"
NOTE = "return document.querySelector('.review input').value"
SEQUENCES = ("T1WI", "T2WI", "CE-T1WI")


@pytest.fixture
def copy(store, tmp_path):
    shutil.copytree(store, tmp_path / "review.zarr")
    return tmp_path / "review.zarr"


def marks_of(url):
    return {key: (mark.decision, mark.note) for key, mark in Review(locate(url)).read().marks.items()}


def press(page, key, repeat=False, times=1):
    """Press a key without waiting for what comes of it."""
    page.run(
        "for (let i = 0; i < arguments[2]; i++) document.getElementById('npczarr-viewer').dispatchEvent("
        "new KeyboardEvent('keydown', { key: arguments[0], repeat: arguments[1], bubbles: true, cancelable: true }))",
        key, repeat, times,
    )  # fmt: skip


def write(page, *keys):
    page.browser.find_element("css selector", ".review input").send_keys(*keys)
    page.settle()


@pytest.fixture
def gate(monkeypatch):
    """Voxels of patient 002 are not given before this is set."""
    opened, read = threading.Event(), StoreObjects.read

    def held(objects, key):
        if key.startswith(("image/c/1/", "mask/c/1/")):
            assert opened.wait(60)
        return read(objects, key)

    monkeypatch.setattr(StoreObjects, "read", held)
    yield opened
    opened.set()


def test_there_is_no_decision_before_the_pictures_are_drawn(look, copy, gate):
    with serve(copy) as served, look(served, "patient=002") as page:
        page.until("return document.querySelector('.npczarr h1')?.textContent === '002'")
        page.until("return document.querySelectorAll('.pane').length === 3")
        press(page, "y")
        page.until(f"{SAID}.startsWith('not kept: the pictures are still being read')")
        gate.set()
        page.shows("002")
        assert marks_of(copy) == {}
        press(page, "y")
        page.until(f"{SAID} === 'kept'")
        assert marks_of(copy) == {("002", sequence): ("accept", "") for sequence in SEQUENCES}


def test_a_scan_that_cannot_be_read_is_decided_on_once_that_is_said(look, copy):
    for path in (copy / "image/c/1").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    with serve(copy) as served, look(served, "patient=002") as page:
        page.shows("002")
        assert "cannot be read" in page.text(".pane .note")
        press(page, "y")
        page.until(f"{SAID} === 'kept'")


def test_a_held_key_decides_nothing_and_a_second_press_waits_for_the_first(look, copy):
    with serve(copy) as served, look(served) as page:
        page.shows("001", "ahead")
        press(page, "y", repeat=True)
        page.settle()
        assert page.run(SAID) == ""
        held = "new KeyboardEvent('keydown', { key: 'Enter', repeat: true, bubbles: true, cancelable: true })"
        assert page.run(f"return document.querySelector('.review button').dispatchEvent({held})") is False
        press(page, "y", times=3)
        page.shows("002", "ahead")
        assert {key[0] for key in marks_of(copy)} == {"001"}
        press(page, "y", repeat=True, times=20)
        page.settle()
        assert page.text(".npczarr h1") == "002"
        assert {key[0] for key in marks_of(copy)} == {"001"}
        assert page.console() == []


def test_a_mark_of_another_page_is_not_replaced_and_own_marks_go_on(look, copy):
    with serve(copy, reviewer="A", sample=("001",)) as served, look(served, "patient=001&sequence=T1WI") as page:
        page.shows("001", "ahead")
        Review(locate(copy)).keep([Mark("001", "T1WI", "exclude", "artifact", "motion", "B")])
        press(page, "y")
        why = "it was marked exclude (artifact) by B since this page was loaded; reload it and look again"
        page.until(f"{SAID} === 'not kept: 001/T1WI: {why}'")
        assert marks_of(copy) == {("001", "T1WI"): ("exclude", "motion")}
        page.go("patient=001&sequence=T1WI")
        page.shows("001", "ahead")
        for name in ("Accept", "Take back", "Accept"):
            page.run("document.querySelector('.review .said').textContent = ''")
            page.run(f"[...document.querySelectorAll('.review button')].find(b => b.textContent === '{name}').click()")
            page.until(f"{SAID} === 'kept'")
            page.settle()
        assert marks_of(copy) == {("001", "T1WI"): ("accept", "")}


def test_enter_keeps_a_note_with_the_decision_and_stays(look, copy):
    with serve(copy) as served, look(served, "patient=001&sequence=T1WI") as page:
        page.shows("001", "ahead")
        write(page, "look again\n")
        assert page.run(SAID).startswith("not kept: there is no decision yet")
        assert page.run(NOTE) == "look again"
        press(page, "n")
        page.run("[...document.querySelectorAll('.review button')].find(b => b.textContent === 'Exclude').click()")
        page.until(f"{SAID} === 'kept'")
        assert marks_of(copy) == {("001", "T1WI"): ("exclude", "look again")}
        page.go("patient=001&sequence=T1WI")
        page.shows("001", "ahead")
        write(page, " soon\n")
        page.until(f"{SAID} === 'kept'")
        assert page.text(".npczarr h1") == "001"
        assert marks_of(copy) == {("001", "T1WI"): ("exclude", "look again soon")}


def test_a_note_that_was_not_kept_is_said_and_is_there_when_one_comes_back(look, copy):
    with serve(copy) as served, look(served, "patient=001&sequence=T1WI") as page:
        page.shows("001", "ahead")
        write(page, "skull base")
        press(page, "e")
        page.until(f"{SAID} === 'the note of 001/T1WI is not kept yet; it is there when you go back'")
        assert page.run(NOTE) == ""
        press(page, "q")
        page.until(f"{NOTE} === 'skull base'")
        press(page, "j")
        page.shows("002", "ahead")
        assert page.run(NOTE) == ""
        assert page.run("return window.dispatchEvent(new Event('beforeunload', { cancelable: true }))") is False
        press(page, "k")
        page.shows("001", "ahead")
        assert page.run(NOTE) == "skull base"
        press(page, "y")
        page.until(f"{SAID} === 'kept'")
        assert marks_of(copy) == {("001", "T1WI"): ("accept", "skull base")}
        assert page.run("return window.dispatchEvent(new Event('beforeunload', { cancelable: true }))") is True
        assert page.console() == []
