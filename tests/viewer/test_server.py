"""Who may read what from the viewer's server: each refusal, and each permission."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import npczarr as npc
from npczarr.errors import ParameterError, StoreError
from npczarr.store.location import locate
from npczarr.viewer.access import Access, is_this_machine
from npczarr.viewer.objects import StoreObjects
from npczarr.viewer.page import export_page, page_files
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
    assert served.ask("/", cookie=False, Cookie=cookie.partition(";")[0])[0] == 200
    assert served.ask(f"/?token={token}", cookie=False)[0] == 403


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
    import shutil

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
    assert json.loads(served.ask("/about.json")[2]) == {"name": "cohort.zarr"}


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
