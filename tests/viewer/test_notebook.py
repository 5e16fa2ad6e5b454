"""The page as a widget: what it asks of the kernel, and what it draws."""

import pytest

import npczarr as npc
from npczarr.errors import ParameterError, UnknownLabelError
from tests.viewer.serving import serve

pytest.importorskip("anywidget", reason="the widget is not installed: npczarr[notebook]")


def asked(widget, key):
    """What the kernel answers to the page."""
    sent = []
    widget.send = lambda content, buffers=None: sent.append((content, buffers))
    widget._handle_custom_msg({"id": 7, "key": key}, [])
    return sent


def test_kernel_gives_objects_of_the_store_and_no_others(store):
    widget = npc.open(store).npc.view("002", height=500)
    assert (widget.name, widget.patient, widget.height) == ("cohort.zarr", "002", 500)
    assert asked(widget, "zarr.json") == [({"id": 7, "found": True}, [(store / "zarr.json").read_bytes()])]
    for key in ("nothing/zarr.json", "../cohort.zarr/zarr.json", "status/lease.json"):
        assert asked(widget, key) == [({"id": 7, "found": False}, [])]


def test_damage_is_said_to_the_page(store, monkeypatch):
    from npczarr.errors import StoreError

    def broken(*_):
        raise StoreError("read x: https://user:secret@host is away")

    widget = npc.open(store).npc.view()
    monkeypatch.setattr("npczarr.viewer.objects.get", broken)
    ((content, buffers),) = asked(widget, "zarr.json")
    assert "is away" in content["error"]
    assert "secret" not in content["error"]
    assert not buffers


def test_what_cannot_be_viewed_is_refused(store):
    with pytest.raises(UnknownLabelError, match="did you mean '002'"):
        npc.open(store).npc.view("2")
    ds = npc.open(store)
    ds.encoding = {}
    with pytest.raises(ParameterError, match="not opened from a store"):
        ds.npc.view()


@pytest.mark.slow
def test_bundle_draws_in_a_cell_and_asks_the_kernel_alone(look, store):
    widget = npc.open(store).npc.view("003")
    with serve(store) as served, look(served) as page:
        page.ready("ahead")
        page.run("""
            window.sent = []; window.heard = [];
            const model = {
              get: name => ({ name: 'cell', patient: '003', height: 500 })[name],
              on: (_, callback) => window.heard.push(callback), off: () => {},
              send: content => window.sent.push(content),
            };
            document.body.innerHTML = '<div id=cell></div>';
            import('/assets/viewer.js').then(
              bundle => bundle.default.render({ model, el: document.getElementById('cell') }));""")
        served.read.clear()
        page.asked()
        cell = "document.querySelector('#cell .npczarr')"
        done = False
        while not done:
            page.until(f"return window.sent.length || {cell}?.dataset.ready === 'ahead'")
            questions = page.run("return window.sent.splice(0)")
            done = not questions
            for question in questions:
                sent = asked_as_page(widget, question)
                page.run(
                    "const [content, bytes] = arguments;"
                    "const view = bytes && new DataView(Uint8Array.from(atob(bytes), c => c.charCodeAt(0)).buffer);"
                    "window.heard.forEach(callback => callback(content, view ? [view] : []))",
                    *sent,
                )
        page.settle()
        assert page.run(f"return {cell}.querySelector('h1').textContent") == "003"
        assert len(page.colored(0)) > 0
        assert served.read == []
        assert page.run(f"return {cell}.querySelector('.review')") is None
        assert "patient=003" not in page.run("return location.search")


def asked_as_page(widget, question):
    import base64

    sent = []
    widget.send = lambda content, buffers=None: sent.append((content, buffers))
    widget._handle_custom_msg(question, [])
    ((content, buffers),) = sent
    return content, base64.b64encode(buffers[0]).decode() if buffers else None
