"""A store behind a plain web server: what only reads works without a listing, what writes is refused at once."""

import json
import re
import shutil
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import xarray as xr

import npczarr as npc
from npczarr.errors import ReadOnlyError, StoreError
from npczarr.store.location import keys_below, locate, names_in, put


@contextmanager
def served(folder):
    """Serve a folder as `python -m http.server` does; yields its URL, and the requests that were made."""
    requests = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, code="-", size="-"):
            requests.append((self.command, self.path))

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def measured(pristine, tmp_path_factory):
    """A store with a result in it."""
    store = shutil.copytree(pristine, tmp_path_factory.mktemp("web") / "a.zarr")
    npc.measure_store(store, "morphology", workers=0)
    return store


@pytest.mark.slow
def test_it_is_described_and_validated_as_in_its_folder(measured):
    with served(measured.parent) as (url, requests):
        described = npc.info(f"{url}/a.zarr")
        found = npc.validate(f"{url}/a.zarr", workers=0)
    assert {**described, "store": ""} == {**npc.info(measured), "store": ""}
    assert described["results"] == ["morphology"]
    assert tuple(found) == ()
    assert {method for method, _ in requests} <= {"GET", "HEAD"}


@pytest.mark.slow
def test_it_is_measured_and_exported(measured, tmp_path):
    with served(measured.parent) as (url, _):
        there, here = (npc.measure_store(one, "morphology", workers=0)[0] for one in (f"{url}/a.zarr", measured))
        xr.testing.assert_equal(there, here)
        npc.export_scans(f"{url}/a.zarr", tmp_path / "nii", format="nifti", workers=0)
    assert list((tmp_path / "nii").rglob("*.nii.gz"))


@pytest.mark.slow
def test_a_chunk_that_is_gone_is_told(copy):
    (copy / "echo_time/c/0/0").unlink()
    with served(copy.parent) as (url, _):
        problems = [finding.problem for finding in npc.validate(f"{url}/a.zarr", workers=0)]
    assert [problem for problem in problems if problem.startswith("echo_time: 1 of 3 chunks are absent")]


def test_names_and_chunks_are_those_of_its_metadata(measured):
    with served(measured.parent) as (url, requests):
        store = locate(f"{url}/a.zarr").open(read_only=True)
        names, chunks = names_in(store), keys_below(store, "status/c")
        assert names_in(locate(f"{url}/b.zarr").open()) == []
    folder = locate(measured).open(read_only=True)
    assert {"zarr.json", "image", "status", "morphology"} <= set(names) <= set(names_in(folder))
    assert sorted(chunks) == sorted(keys_below(folder, "status/c"))
    assert {method for method, _ in requests} == {"GET", "HEAD"}


def test_what_needs_a_listing_says_so_at_once(copy):
    metadata = json.loads((copy / "zarr.json").read_text())
    with served(copy.parent) as (url, requests):
        store = locate(f"{url}/a.zarr").open(read_only=True)
        with pytest.raises(StoreError, match=r"a web server does not list what it holds.*; copy the store"):
            keys_below(store, "")
        del metadata["consolidated_metadata"]
        (copy / "zarr.json").write_text(json.dumps(metadata))
        with pytest.raises(StoreError, match=r"a web server does not list what it holds"):
            names_in(store)
    assert requests == [("GET", "/a.zarr/zarr.json")] * 2, "nothing is tried again"


def test_what_writes_is_told_that_it_is_read_only(copy, source, tmp_path):
    with served(copy.parent) as (url, requests):
        with pytest.raises(ReadOnlyError, match=r"read only, for nothing can be written by HTTP; copy the store"):
            put(locate(f"{url}/a.zarr").open(), "a", b"")
        for there in ("a.zarr", "new.zarr"):
            with pytest.raises(ReadOnlyError, match=rf"{re.escape(url)}/{there}: read only"):
                npc.convert(source, f"{url}/{there}", workers=0)
        with pytest.raises(ReadOnlyError, match="read only"):
            npc.validate(f"{url}/a.zarr", seal=True)
    assert {method for method, _ in requests} <= {"GET", "HEAD"}
    assert len(requests) < 5, "nothing is tried again"
