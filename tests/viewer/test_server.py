"""Who may read what from the viewer's server: each refusal, and each permission."""

import gzip
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
import zarr

import npczarr as npc
from npczarr.errors import ParameterError, SourceError, StoreError
from npczarr.graphs.predictions import Predictions
from npczarr.store.location import locate
from npczarr.store.review import Review
from npczarr.store.review_digests import input_digests
from npczarr.viewer.access import Access, is_this_machine
from npczarr.viewer.desk import draw_sample
from npczarr.viewer.objects import StoreObjects
from npczarr.viewer.page import export_page, page_files
from tests.viewer.looking import turn_over
from tests.viewer.serving import serve


@pytest.fixture(scope="module")
def served(store):
    with serve(store) as running:
        yield running


def test_token_is_exchanged_once_for_a_cookie_that_no_script_can_read(served):
    token = served.access.token
    status, headers, _ = served.ask(f"/?token={token}&patient=002&at=1%2C2%2C3", cookie=False)
    assert status == 303
    assert headers["location"] == "/?patient=002&at=1%2C2%2C3"
    cookie = headers["set-cookie"]
    assert token not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    own = cookie.partition(";")[0]
    assert served.ask("/", cookie=False, Cookie=own)[0] == 200
    assert served.ask(f"/?token={token}", cookie=False)[0] == 403
    for other in ('theme={"mode":"dark"}', "flag", "a=[1,2]", f"{served.access.cookie}=old"):
        assert served.ask("/", cookie=False, Cookie=f"{other}; {own}")[0] == 200, other


def test_link_with_a_used_token_still_works_in_the_browser_that_used_it(served):
    token = served.access.token
    cookie = served.cookie()
    status, headers, _ = served.ask(f"/?token={token}", cookie=False, Cookie=cookie)
    assert (status, headers["location"]) == (303, "/")
    assert "set-cookie" not in headers


@pytest.mark.parametrize("path", ["/", "/store/zarr.json", "/assets/viewer.js", "/about.json", "/nothing"])
@pytest.mark.parametrize("cookie", ["", "npczarr-1=x", "{name}=wrong", "{name}=", "=;;{name}", "{name}=\x7f"])
def test_without_the_cookie_nothing_is_given(served, path, cookie):
    status, headers, body = served.ask(path, cookie=False, Cookie=cookie.format(name=served.access.cookie))
    assert status == 403
    assert b"npczarr view" in body
    assert b"npczarr_schema" not in body
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("token", ["", "wrong", "x" * 5000, "%00", "%C3%BC"])
def test_wrong_token_is_refused(served, token):
    assert served.ask(f"/?token={token}", cookie=False)[0] == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "[::2]:1"]
)
def test_other_names_of_this_machine_are_refused_with_the_right_cookie_and_token(served, host):
    assert served.ask("/store/zarr.json", Host=host)[0] in (400, 421)
    assert served.ask(f"/?token={served.access.token}", cookie=False, Host=host)[0] in (400, 421)


@pytest.mark.parametrize("host", ["localhost", "localhost:9999", "127.0.0.1:1", "LOCALHOST:80", "[::1]:9"])
def test_any_port_of_this_machine_is_answered_so_that_a_tunnel_works(served, host):
    assert served.ask("/store/zarr.json", Host=host)[0] == 200
    assert is_this_machine(host)


@pytest.mark.parametrize(
    "key",
    [
        "../cohort.zarr/zarr.json", "..%2fcohort.zarr%2fzarr.json", "%2e%2e/cohort.zarr/zarr.json",
        "image/../zarr.json", "/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd", "..%5czarr.json", "image%5czarr.json",
        "./zarr.json", ".%2fzarr.json", "image//zarr.json", "zarr.json%00", "%00zarr.json", "zarr.json/", "", "image",
        "image/",
        "status/lease.json", "image/c/0/0/0/0/0/..%2f..", "a/b/c/d/e/f/g/h/i/zarr.json", "image/c/99999999999",
    ],
)  # fmt: skip
def test_only_what_zarr_reads_is_read(served, key):
    (Path(served.store) / "status/lease.json").write_text("{}")
    try:
        status, _, body = served.ask(f"/store/{key}")
    finally:
        (Path(served.store) / "status/lease.json").unlink()
    assert status in (404, 400, 307), key
    assert b"npczarr_schema" not in body
    assert b"root:" not in body


def test_link_that_leads_out_of_the_store_is_not_followed(store, tmp_path):
    copy, secret = tmp_path / "copy.zarr", tmp_path / "zarr.json"
    shutil.copytree(store, copy)
    secret.write_text("secret")
    (copy / "out").symlink_to(tmp_path)
    (copy / "inner").symlink_to(copy / "patient")
    objects = StoreObjects(locate(copy))
    assert (copy / "out/zarr.json").read_text() == "secret"
    assert objects.read("out/zarr.json") is None
    assert objects.read("inner/zarr.json") == objects.read("patient/zarr.json")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(served, method):
    before = (Path(served.store) / "zarr.json").read_bytes()
    assert served.ask("/store/zarr.json", method)[0] == 405
    assert served.ask("/", method)[0] == 405
    assert (Path(served.store) / "zarr.json").read_bytes() == before


def test_objects_are_those_of_the_store_and_absent_ones_are_absent(served):
    for key in ("zarr.json", "image/zarr.json", "patient/c/0", "mask/c/0/0/0/0/0"):
        status, _, body = served.ask(f"/store/{key}")
        assert (status, body) == (200, (Path(served.store) / key).read_bytes())
    assert served.ask("/store/image/c/0/0/9/9/9")[0] == 404
    assert json.loads(served.ask("/about.json")[2]) == {"name": "cohort.zarr", "predictions": None}


def test_every_answer_forbids_to_keep_frame_or_mix_it(served):
    for path, cookie in (("/", True), ("/store/zarr.json", True), ("/assets/x", True), ("/", False)):
        headers = served.ask(path, cookie=cookie)[1]
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy
        assert "'unsafe-eval'" not in policy
        assert "access-control-allow-origin" not in headers


def test_damaged_store_is_an_answer_in_words(served, monkeypatch):
    def broken(*_):
        raise StoreError("read x: s3://user:secret@host/b is away")

    monkeypatch.setattr("npczarr.viewer.objects.get", broken)
    status, _, body = served.ask("/store/zarr.json")
    assert status == 502
    assert b"is away" in body
    assert b"secret" not in body


def test_no_store_is_said_before_anything_listens(tmp_path):
    with pytest.raises(StoreError, match="no store here"):
        npc.view(tmp_path / "none.zarr", browser=False)


def test_port_that_is_taken_is_named(store):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ParameterError, match=f"port {port}"):
            npc.view(store, port=port, browser=False)


def test_each_token_is_another():
    used: list[str] = []
    access = Access(1, used.append)
    first = access.token
    assert access.exchange(first)
    assert access.exchange(first) is None
    assert used == [access.token]
    assert access.token != first


def test_page_is_written_beside_a_public_store(tmp_path):
    page = export_page(tmp_path / "site")
    names = {path.name for path in (tmp_path / "site/assets").iterdir()}
    assert page.read_bytes() == page_files()["index.html"].content
    assert {"viewer.js", "viewer.css", "licenses.txt"} <= names
    assert export_page(tmp_path / "site") == page
    page.write_text("<p>mine")
    with pytest.raises(ParameterError, match="page of another program"):
        export_page(tmp_path / "site")
    assert page.read_text() == "<p>mine"


@pytest.mark.slow
def test_command_prints_the_address_and_ends_by_ctrl_c(store):
    command = [sys.executable, "-m", "npczarr", "view", str(store), "--no-browser", "--patient", "002"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"COLUMNS": "60"}
    )
    try:
        line = process.stdout.readline()
        address = line.split()[-1]
        assert address.startswith("http://127.0.0.1:")
        assert "&patient=002" in address
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "Traceback" not in said


def post(served, marks, **headers):
    """Send marks as the page does; status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    sent = {"Content-Type": "application/json", "Origin": served.address, "Cookie": served.cookie()} | headers
    body = marks if isinstance(marks, str) else json.dumps(marks)
    connection.request("POST", "/review.json", body.encode(), {k: v for k, v in sent.items() if v is not None})
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    return answer.status, said


MARK = {
    "patient": "001", "sequence": "T1WI", "decision": "accept", "reason": "", "note": "", "input_digest": "0" * 32,
    "before": "",
}  # fmt: skip


def seen(url, *marks):
    """Marks as a page sends them that was drawn from the store as it is now."""
    keys = [(mark["patient"], mark["sequence"]) for mark in marks]
    digests = input_digests(zarr.open_group(url, mode="r"), keys)
    return [mark | {"input_digest": digests[key]} for mark, key in zip(marks, keys, strict=True)]


@pytest.fixture
def own(store, tmp_path):
    shutil.copytree(store, tmp_path / "own.zarr")
    with serve(tmp_path / "own.zarr", reviewer="R") as running:
        yield running


def test_marks_of_the_page_are_in_the_store_when_the_answer_comes(own):
    status, body = post(
        own,
        seen(own.store, MARK, MARK | {"sequence": "T2WI", "decision": "exclude", "reason": "other", "note": "é<b>"}),
    )
    answer = json.loads(body)
    versions = answer.pop("versions")
    assert (status, answer) == (200, {"where": "store", "file": "", "counts": ""})
    assert versions == [mark["version"] for mark in json.loads(own.ask("/review.json")[2])["marks"]]
    marks = Review(locate(own.store)).read().marks
    assert {key: (mark.decision, mark.note, mark.reviewer) for key, mark in marks.items()} == {
        ("001", "T1WI"): ("accept", "", "R"),
        ("001", "T2WI"): ("exclude", "é<b>", "R"),
    }
    assert sorted(m["decision"] for m in json.loads(own.ask("/review.json")[2])["marks"]) == ["accept", "exclude"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": None}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
        {"Content-Type": "text/plain"}, {"Content-Type": None}, {"Cookie": None}, {"Cookie": "npczarr-1=x"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
)  # fmt: skip
def test_marks_of_other_pages_are_refused(own, headers):
    assert post(own, [MARK], **headers)[0] in (403, 421)
    assert Review(locate(own.store)).read().marks == {}


@pytest.mark.parametrize(
    "body",
    [
        "", "{", "[]", "{}", "[1]", json.dumps([{}]), json.dumps([MARK | {"extra": "x"}]),
        json.dumps([MARK | {"note": 1}]), json.dumps([{k: v for k, v in MARK.items() if k != "before"}]),
        json.dumps([MARK | {"decision": "maybe"}]), json.dumps([MARK | {"patient": "../x"}]),
        json.dumps([MARK | {"note": "x" * 30_000}]), json.dumps([MARK | {"reviewer": "someone else"}]),
        json.dumps([MARK | {"note": "\ud800"}]), json.dumps([MARK | {"patient": "\udfff"}]),
        json.dumps([MARK | {"decision": "\ud800"}]), json.dumps([MARK | {"reason": "\ud800"}]),
        json.dumps([MARK | {"\ud800": ""}]), json.dumps([MARK | {"input_digest": "\ud800"}]),
        json.dumps([MARK | {"input_digest": ""}]), json.dumps([{k: v for k, v in MARK.items() if k != "input_digest"}]),
        "[" * 15_000,
    ],
)  # fmt: skip
def test_what_is_no_mark_is_refused_in_words(own, body):
    status, said = post(own, body)
    assert status == 400
    assert len(said) > 20
    assert not (Path(own.store) / "review").exists()


CHANGED = "the scan has changed since this page was loaded; reload it and look again"


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_a_decision_on_a_scan_that_changed_since_the_page_was_loaded_is_refused(store, tmp_path, packed):
    made = tmp_path / "own.zarr"
    shutil.copytree(store, made)
    marks = seen(made, MARK, MARK | {"sequence": "T2WI", "decision": "exclude", "reason": "other", "note": "n"})
    turn_over(made, 0, 1)
    shown = npc.pack(made, tmp_path / "own.zarr.zip").path if packed else made
    with serve(shown, csv_file=tmp_path / "marks.csv") as running:
        status, said = post(running, marks)
        assert (status, said) == (409, f"001/T2WI: {CHANGED}")
        assert Review(locate(shown), tmp_path / "marks.csv").read().marks == {}
        assert not (tmp_path / "marks.csv").exists()
        assert not (made / "review").exists()
        assert post(running, seen(made, *marks))[0] == 200
        marks = json.loads(running.ask("/review.json")[2])["marks"]
        assert {mark["sequence"]: mark["decision"] for mark in marks} == {"T1WI": "accept", "T2WI": "exclude"}


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_a_page_does_not_replace_a_mark_that_it_does_not_show(store, tmp_path, packed):
    made, file = tmp_path / "own.zarr", tmp_path / "marks.csv"
    shutil.copytree(store, made)
    shown = npc.pack(made, tmp_path / "own.zarr.zip").path if packed else made
    (accept,) = seen(made, MARK)
    exclude = accept | {"decision": "exclude", "reason": "artifact", "note": "moved"}

    def decided():
        return {key: mark.decision for key, mark in Review(locate(shown), file).read().marks.items()}

    with serve(shown, reviewer="A", csv_file=file) as a, serve(shown, reviewer="B", csv_file=file) as b:
        (version,) = json.loads(post(b, [exclude])[1])["versions"]
        again = "since this page was loaded; reload it and look again"
        assert post(a, [accept]) == (409, f"001/T1WI: it was marked exclude (artifact) by B {again}")
        assert post(a, seen(made, MARK | {"sequence": "T2WI"}, MARK))[0] == 409
        assert decided() == {("001", "T1WI"): "exclude"}  # nothing of what was refused
        status, body = post(b, [exclude | {"note": "moved, badly", "before": version}])  # its own, without a reload
        assert status == 200
        (later,) = json.loads(body)["versions"]
        assert post(b, [exclude | {"before": version}])[0] == 409
        (loaded,) = json.loads(a.ask("/review.json")[2])["marks"]
        assert loaded["version"] == later
        assert post(a, [accept | {"decision": "", "before": later}])[0] == 200
        assert post(b, [exclude | {"before": later}]) == (409, f"001/T1WI: its mark was taken back by A {again}")
        assert decided() == {}


@pytest.mark.slow
def test_it_is_said_that_marks_in_a_file_of_another_name_count_there_alone(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = npc.pack(store, tmp_path / "own.zarr.zip").path
    usual = tmp_path / "own.zarr.zip-review.csv"
    said = f"it counts only where --review-csv names this file: tables, where= and the report read {usual}"

    def kept(csv_file):
        with serve(shown, csv_file=csv_file) as running:
            assert json.loads(running.ask("/review.json")[2])["problems"] == []
            answer = json.loads(post(running, seen(store, MARK))[1])
            return answer["file"], answer["counts"], json.loads(running.ask("/review.json")[2])["problems"]

    assert kept(Path("mine.csv")) == ("mine.csv", said, [f"Marks in mine.csv: {said}"])
    assert "review.decision" not in npc.open(shown).npc.table()
    assert kept(None) == (str(usual), "it counts for commands in that folder", [])
    assert npc.open(shown).npc.table()["review.decision"].notna().sum() == 1


def test_sample_is_drawn_by_its_seed_and_listed_in_order():
    patients = [f"{i:03}" for i in range(100)]
    drawn = draw_sample(patients, 10, 3)
    assert drawn == draw_sample(patients, 10, 3) == tuple(sorted(drawn))
    assert len(set(drawn)) == 10
    assert drawn != draw_sample(patients, 10, 4)
    assert draw_sample(patients, 1000, 0) == tuple(patients)
    assert draw_sample(patients, None, 0) == ()
    with pytest.raises(ParameterError, match="at least one"):
        draw_sample(patients, 0, 0)


def test_predictions_are_given_scan_by_scan(store, tmp_path):
    npc.export_scans(store, tmp_path / "model", format="nifti", patients=["001"], sequences=["T1WI"])
    predicted = Predictions(store, tmp_path / "model")
    assert predicted.places == ((0, 0),)
    with serve(store, predicted=predicted) as running:
        status, _, about = running.ask("/about.json")
        assert status == 200
        assert json.loads(about)["predictions"] == {"name": "model", "scans": [[0, 0]]}
        status, headers, body = running.ask("/predictions/0/0")
        assert (status, headers["content-encoding"]) == (200, "gzip")
        mask = npc.open(store).npc.scan("001", "T1WI").mask.values
        np.testing.assert_array_equal(np.frombuffer(gzip.decompress(body), np.uint8).reshape(mask.shape), mask)
        assert running.ask("/predictions/0/1")[0] == 404
        assert running.ask("/predictions/0/0", cookie=False)[0] == 403
        assert running.ask("/predictions/0/0", "PUT")[0] == 405


@pytest.mark.slow
def test_what_a_score_says_of_a_prediction_is_given_behind_its_voxels(store, tmp_path):
    npc.export_scans(store, tmp_path / "model", format="nifti", patients=["001"], sequences=["T1WI"])
    (file,) = (tmp_path / "model/001").glob("ROI*")
    found = nibabel.load(file)
    voxels = np.asarray(found.dataobj).astype(np.uint8)
    voxels[0, 0, 0] = 7
    nibabel.save(nibabel.Nifti1Image(voxels[:, :, :-1], found.affine), file)
    score = npc.score(npc.open(store), tmp_path / "model")
    said = str(score["message"].sel(patient="001", sequence="T1WI").values)
    assert said
    with serve(store, predicted=Predictions(store, tmp_path / "model")) as running:
        content = gzip.decompress(running.ask("/predictions/0/0")[2])
    assert content[npc.open(store).npc.scan("001", "T1WI").mask.size :].decode() == said


def test_predictions_of_nobody_in_the_store_are_refused(store, tmp_path):
    npc.export_scans(store, tmp_path / "model", format="nifti", patients=["001"], sequences=["T1WI"])
    (tmp_path / "model" / "001").rename(tmp_path / "model" / "901")
    with pytest.raises(SourceError, match="none of the predicted masks is of a patient and sequence"):
        Predictions(store, tmp_path / "model")
