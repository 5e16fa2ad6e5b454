import hashlib
import io
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from npczarr.errors import ParameterError, SourceError
from npczarr.sources import download as module
from npczarr.sources import resume
from npczarr.sources.download import download

NAME = "primary_data.zip"


def archive(seed):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("data/001/T1WI/1.dcm", np.random.default_rng(seed).bytes(300_000))
    return buffer.getvalue()


CONTENT, OTHER = archive(0), archive(1)


class Server:
    """A real server on loopback that misbehaves as it is told, and remembers what it was asked for."""

    def __init__(self):
        self.content, self.tag = CONTENT, '"v1"'
        self.ranges = True
        self.cuts = []  # bytes of the body after which the next connections are cut
        self.statuses = []  # of the next responses
        self.headers = {}  # that replace those of each response
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/records/files"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request):
        self.asked.append((request.path, request.headers.get("Range"), request.headers.get("If-Range")))
        if self.statuses:
            request.send_error(self.statuses.pop(0))
            return
        start = 0
        found = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if found and self.ranges and request.headers.get("If-Range", self.tag) == self.tag:
            start = int(found[1])
            if start >= len(self.content):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(self.content)}")
                request.end_headers()
                return
        body = self.content[start:]
        request.send_response(206 if start else 200)
        headers = {"Content-Length": str(len(body)), "ETag": self.tag}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        for key, value in (headers | self.headers).items():
            if value is not None:
                request.send_header(key, value)
        request.end_headers()
        request.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(resume, "WAIT_SECONDS", 0.001)
    monkeypatch.setattr(resume, "_PIECE", 2**14)
    monkeypatch.setitem(module.FILES, NAME, hashlib.sha256(CONTENT).hexdigest())
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


def fetch(out, url, **options):
    return download(out, url=url, files=(NAME,), **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_verified_and_kept(server, tmp_path):
    seen = []
    (first,) = fetch(tmp_path / "new" / "folder", server.url, on_progress=seen.append)
    assert first.path.read_bytes() == CONTENT
    assert (first.sha256, first.verified, first.kept) == (hashlib.sha256(CONTENT).hexdigest(), True, False)
    assert first.size == len(CONTENT)
    assert names(first.path.parent) == [NAME]
    done = [state.done for state in seen]
    assert done[0] == 0
    assert done == sorted(set(done))
    assert {(state.total, state.unit, state.note) for state in seen} == {(len(CONTENT), "bytes", NAME)}
    assert done[-1] == seen[-1].bytes == len(CONTENT)
    (second,) = fetch(first.path.parent, server.url)
    assert second.kept
    assert [path for path, _, _ in server.asked] == [f"/records/files/{NAME}"]


def test_cut_connections_are_taken_up_where_they_ended(server, tmp_path):
    server.cuts = [100_000, 0, 50_000, 1]
    fetch(tmp_path, server.url)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert [(r, v) for _, r, v in server.asked] == [
        (None, None),
        ("bytes=98304-", '"v1"'),  # whole pieces of 16 kB
        ("bytes=98304-", '"v1"'),
        ("bytes=147456-", '"v1"'),
        ("bytes=147456-", '"v1"'),
    ]


def test_after_tries_that_bring_nothing_it_gives_up_and_goes_on_another_day(server, tmp_path):
    server.cuts = [100_000] + [0] * 20
    with pytest.raises(SourceError, match=r"gave up after 6 tries.*98.3 kB are kept in .*\.part"):
        fetch(tmp_path, server.url)
    assert len(server.asked) == 6
    assert (tmp_path / f"{NAME}.part").read_bytes() == CONTENT[:98304]
    server.cuts = []
    fetch(tmp_path, server.url)
    assert server.asked[-1][1] == "bytes=98304-"
    assert names(tmp_path) == [NAME]


def test_a_server_that_gives_no_ranges_starts_again(server, tmp_path):
    server.ranges, server.cuts = False, [100_000, 200_000]
    fetch(tmp_path, server.url)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_file_that_changed_in_between_is_not_joined_to_the_old_part(server, tmp_path, monkeypatch):
    server.content, server.tag, server.cuts = OTHER, '"v0"', [100_000] + [0] * 6
    with pytest.raises(SourceError, match="gave up"):
        fetch(tmp_path, server.url)
    server.content, server.tag, server.cuts = CONTENT, '"v1"', []
    fetch(tmp_path, server.url)
    assert server.asked[-1][1:] == ("bytes=98304-", '"v0"')
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_without_a_version_the_hash_decides_whether_the_parts_fit(server, tmp_path, tag):
    server.headers, server.cuts = {"ETag": tag}, [100_000]
    fetch(tmp_path, server.url)
    assert server.asked[-1][1:] == ("bytes=98304-", None)


def test_a_part_that_is_whole_is_not_fetched_again(server, tmp_path):
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    fetch(tmp_path, server.url)
    assert len(server.asked) == 1
    assert names(tmp_path) == [NAME]


@pytest.mark.parametrize("content_range", [f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}", "nonsense", None])
def test_a_range_that_was_not_asked_for_is_not_taken(server, tmp_path, content_range):
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:1000])
    server.headers = {"Content-Range": content_range}
    fetch(tmp_path, server.url)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert server.asked[-1][1] is None


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server, tmp_path, status):
    server.statuses = [status] * 3
    fetch(tmp_path, server.url)
    assert len(server.asked) == 4


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_refuses_is_named_at_once_without_secrets(server, tmp_path, status):
    server.statuses = [status]
    url = server.url.replace("http://", "http://user:secret@") + "?token=secret"
    with pytest.raises(SourceError, match=rf"records/files/{NAME}: the server answers {status}.*--url") as caught:
        fetch(tmp_path, url)
    assert "secret" not in str(caught.value)
    assert len(server.asked) == 1


def test_a_wrong_file_is_set_aside(server, tmp_path):
    server.content = OTHER
    with pytest.raises(SourceError, match=r"its SHA-256 is not the published .*set aside as .*primary_data\.zip\.bad"):
        fetch(tmp_path, server.url)
    assert names(tmp_path) == [f"{NAME}.bad"]
    assert (tmp_path / f"{NAME}.bad").read_bytes() == OTHER
    server.content = CONTENT
    assert fetch(tmp_path, server.url)[0].verified


def test_a_wrong_file_that_is_there_is_replaced(server, tmp_path):
    (tmp_path / NAME).write_bytes(b"half of it")
    (found,) = fetch(tmp_path, server.url)
    assert not found.kept
    assert found.path.read_bytes() == CONTENT


def test_a_file_system_without_links_will_do(server, tmp_path, monkeypatch):
    monkeypatch.setattr("os.link", lambda *paths: (_ for _ in ()).throw(OSError(95, "not supported")))
    fetch(tmp_path, server.url)
    assert names(tmp_path) == [NAME]
    (tmp_path / NAME).unlink()
    server.content = OTHER
    with pytest.raises(SourceError, match="its SHA-256 is not the published"):
        fetch(tmp_path, server.url)
    assert names(tmp_path) == []


def test_no_room_is_told_before_anything_is_written(server, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(SourceError, match=r"no space left .* has 1 kB free and needs 300 kB more"):
        fetch(tmp_path, server.url)


def test_a_disk_that_fills_up_keeps_the_part(server, tmp_path, monkeypatch):
    whole, opened = 100_000, resume.Path.open

    class Full(io.FileIO):
        def write(self, data):
            if self.tell() + len(data) > whole:
                raise OSError(28, "No space left on device")
            return super().write(data)

    def open_(path, mode="r", **options):
        return Full(path, mode) if path.name.endswith(".part") and mode == "ab" else opened(path, mode, **options)

    with monkeypatch.context() as patch:
        patch.setattr(resume.Path, "open", open_)
        with pytest.raises(
            SourceError, match=r"no space left for primary_data\.zip: .* needs 20\d kB more; 98\.3 kB are kept"
        ):
            fetch(tmp_path, server.url)
    assert (tmp_path / f"{NAME}.part").read_bytes() == CONTENT[:98304]
    fetch(tmp_path, server.url)
    assert server.asked[-1][1] == "bytes=98304-"
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_file_without_a_published_hash_is_read_through(server, tmp_path):
    (found,) = download(tmp_path, url=server.url, files=("inner_reliability.zip",))
    assert not found.verified
    assert found.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert download(tmp_path, url=server.url, files=("inner_reliability.zip",))[0].kept
    assert len(server.asked) == 1
    spoilt = bytearray(CONTENT)
    spoilt[150_000] ^= 1
    found.path.unlink()
    server.content = bytes(spoilt)
    with pytest.raises(SourceError, match=r"the archive is damaged .*\.bad"):
        download(tmp_path, url=server.url, files=("inner_reliability.zip",))
    assert names(tmp_path) == ["inner_reliability.zip.bad"]


def test_both_files_come_from_a_folder_on_disk_and_one_by_its_own_name(server, tmp_path):
    mirror = tmp_path / "a mirror"
    mirror.mkdir()
    for name in module.FILES:
        (mirror / name).write_bytes(CONTENT)
    assert [f.path.name for f in download(tmp_path / "1", url=mirror)] == list(module.FILES)
    assert [f.path.name for f in download(tmp_path / "2", url=mirror / NAME)] == [NAME]
    assert [f.path.name for f in download(tmp_path / "3", url=f"{server.url}/{NAME}")] == [NAME]
    assert (mirror / NAME).read_bytes() == CONTENT
    assert server.asked[-1][0] == f"/records/files/{NAME}"


def test_wrong_use_is_named(server, tmp_path):
    with pytest.raises(ParameterError, match=r"no file '\.\./evil'"):
        download(tmp_path, url=server.url, files=("../evil",))
    with pytest.raises(SourceError, match="no such file or folder"):
        download(tmp_path, url=tmp_path / "nowhere")
    with pytest.raises(SourceError, match="there is no such file"):
        fetch(tmp_path / "out", tmp_path)
    with pytest.raises(SourceError, match="expected an address"):
        fetch(tmp_path, "nonsense://host/files")
    (tmp_path / "file").write_text("x")
    with pytest.raises(SourceError, match="choose another folder"):
        fetch(tmp_path / "file", server.url)


def test_a_server_that_is_not_there_is_named(tmp_path, server):
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(SourceError, match=r"gave up after 6 tries .*ConnectionError"):
        fetch(tmp_path, server.url)
