"""Storage options: one dictionary for stores and sources, known words only, no secrets; URLs in messages."""

import pickle

import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from npczarr.errors import ParameterError
from npczarr.model.options import WORDS, fsspec_options, normalize_options, parse_option, redacted
from npczarr.sources.files import Source, open_source
from npczarr.store.location import Location, locate
from npczarr.store.object_store import OBSTORE_NAMES, obstore_options

URLS = {"s3": "s3://bucket/a", "gs": "gs://bucket/a", "az": "az://container/a", "http": "https://host/a"}
VALUES = {"anon": True, "requester_pays": True, "endpoint_url": "http://127.0.0.1:9"}
SECRETS = ("key", "secret", "token", "account_key", "sas_token", "password", "secret_access_key", "connection_string")


def of(family):
    """Every word of a family with a value; `profile` excludes `anon`, and has tests of its own."""
    return {word: VALUES.get(word, "some") for word in WORDS[family] if word != "profile"}


@pytest.mark.parametrize("family", WORDS)
def test_every_word_is_known_to_stores_and_sources(family):
    assert set(OBSTORE_NAMES[family]) == set(WORDS[family])
    normalized = normalize_options(of(family), URLS[family])
    assert dict(normalized) == of(family)
    assert normalize_options(dict(normalized), URLS[family]) == normalized
    assert locate(URLS[family], of(family)).options == normalized
    assert pickle.loads(pickle.dumps(normalized)) == normalized


@pytest.mark.parametrize("family", WORDS)
def test_obstore_takes_what_the_table_says(family):
    pytest.importorskip("obstore")
    from obstore.store import from_url

    account = {"account_name": "some"} if family == "az" else {}
    for word, value in of(family).items():
        chosen = obstore_options(URLS[family], normalize_options(account | {word: value}, URLS[family]))
        assert from_url(URLS[family], **chosen, client_options={"allow_http": True})  # it refuses what it does not know
        assert bool(chosen) == (family != "http")


def test_what_fsspec_is_given():
    assert fsspec_options("s3://b/a", normalize_options(of("s3"), "s3://b/a")) == {
        "anon": True,
        "client_kwargs": {"region_name": "some"},
        "endpoint_url": "http://127.0.0.1:9",
        "requester_pays": True,
    }
    assert fsspec_options("gs://b/a", (("anon", True),)) == {"token": "anon"}
    assert fsspec_options("az://c/a", (("account_name", "a"), ("anon", True))) == {"account_name": "a", "anon": True}
    assert fsspec_options("https://h/a", (("anon", True),)) == {}
    assert fsspec_options("memory://a", (("word", 1),)) == {"word": 1}
    assert fsspec_options("/a", (("anon", True),)) == {}


def test_other_ways_to_write_a_word():
    long = {"client_kwargs": {"endpoint_url": "http://h:1", "region_name": "eu"}, "anon": None}
    assert normalize_options(long, "s3://b") == (("endpoint_url", "http://h:1"), ("region", "eu"))
    assert normalize_options({"token": "anon"}, "gs://b") == (("anon", True),)
    assert normalize_options({"profile": 7}, "s3://b") == (("profile", "7"),)
    both = {"endpoint_url": "http://h:1", "client_kwargs": {"endpoint_url": "http://h:1"}}
    assert normalize_options(both, "s3://b") == (("endpoint_url", "http://h:1"),)
    with pytest.raises(ParameterError, match="'endpoint_url' is given twice"):
        normalize_options({**both, "endpoint_url": "http://h:2"}, "s3://b")


@pytest.mark.parametrize("place", [locate, open_source])
@pytest.mark.parametrize("url", [*URLS.values(), "memory://a", "/nowhere"])
@pytest.mark.parametrize("word", SECRETS)
def test_a_secret_is_refused_with_what_to_do(place, url, word):
    with pytest.raises(ParameterError, match=r"looks like a secret.*environment of each process") as refused:
        place(url, {word: "Wq8-hidden"})
    assert "Wq8-hidden" not in str(refused.value)
    variable = {"gs": "GOOGLE_APPLICATION", "az": "AZURE_STORAGE_ACCOUNT_KEY"}.get(url[:2], "AWS_ACCESS_KEY_ID")
    assert variable in str(refused.value)


@pytest.mark.parametrize("place", [locate, open_source])
@pytest.mark.parametrize("url", ["https://u:Wq8hidden@host/a", "s3://k:Wq8hid/den@b/a", "sftp://u:Wq8@hidden@host/a"])
def test_a_password_in_a_url_is_refused(place, url):
    with pytest.raises(ParameterError, match=r"://(host|b)/a: the URL holds a password.*environment") as refused:
        place(url)
    assert "Wq8" not in str(refused.value)


@pytest.mark.parametrize("place", [locate, open_source])
@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        (
            "s3://b/a",
            {"skip_signature": True},
            r"'skip_signature' is not known; those of s3:// are anon, client_",
        ),
        ("s3://b/a", {"account_name": "a"}, r"endpoint_url, profile, region, requester_pays$"),
        ("gs://b/a", {"profile": "a"}, r"those of gs:// are anon, endpoint_url, token$"),
        ("az://b/a", {"region": "a"}, r"those of az:// are account_host, account_name, anon, client_id, tenant_id$"),
        ("https://h/a", {"endpoint_url": "http://h"}, r"those of https:// are anon$"),
        ("/a", {"nonsense": 1}, r"those of any protocol are account_host"),
        ("s3://b/a", {"client_kwargs": {"verify": False}}, r"in client_kwargs is not known; those are endpoint_url"),
        ("s3://b/a", {"client_kwargs": {"aws_secret_access_key": "a"}}, "looks like a secret"),
        ("s3://b/a", {"client_kwargs": "region_name=eu"}, "must be a mapping, got str"),
        ("s3://b/a", {"anon": "true"}, "must be True or False"),
        ("s3://b/a", {"anon": 1}, "must be True or False"),
        ("s3://b/a", {"profile": True}, "must be text"),
        ("s3://b/a", {"region": ["eu"]}, "got list"),
        ("s3://b/a", {"endpoint_url": "127.0.0.1:9000"}, "must be the http:// or https:// address"),
        ("s3://b/a", {"endpoint_url": "http://u:hidden@h"}, r"got 'http://h'"),
        ("s3://b/a", {"anon": True, "profile": "a"}, "exclude each other"),
        ("s3://b/a", ["anon"], "a mapping such as"),
    ],
)
def test_what_is_wrong_is_named(place, url, options, words):
    with pytest.raises(ParameterError, match=words) as refused:
        place(url, options)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("place", [locate, open_source])
@pytest.mark.parametrize(
    "given", [xr.Dataset({"a": ("x", range(100))}), None, 7, b"s.zarr"], ids=lambda given: type(given).__name__
)
def test_what_is_no_path_is_refused_by_its_kind_alone(place, given):
    kind = type(given).__name__
    with pytest.raises(ParameterError, match=rf"^expected a path or URL, found a {kind}; give the path [^\n]*$"):
        place(given)


def test_a_local_path_needs_no_option_and_takes_those_of_any_protocol(tmp_path):
    every = {word: value for family in WORDS for word, value in of(family).items()}
    open_source(tmp_path, every)
    locate(tmp_path, every).open()


def test_anonymous_access_to_a_cloud_by_https_signs_nothing():
    anonymous = (("anon", True),)
    assert obstore_options("https://b.s3.amazonaws.com/a", anonymous) == {"skip_signature": True}
    assert obstore_options("https://some.blob.core.windows.net/c", anonymous) == {"skip_signature": True}
    assert obstore_options("https://amazonaws.com.example.org/c", anonymous) == {}


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("gs://bucket/a.zarr", {"anon": True}),
        ("az://container/a.zarr", {"anon": True, "account_name": "some"}),
        ("az://container/a.zarr", {"account_name": "some", "account_host": "some.blob.core.windows.net"}),
        ("abfs://container@some.dfs.core.windows.net/a.zarr", {"anon": True, "account_name": "some"}),
        ("http://127.0.0.1:1/a.zarr", {"anon": True}),
        ("https://host/a.zarr", {"anon": True}),
        ("s3://bucket/a.zarr", {"anon": True, "client_kwargs": {"region_name": "eu-central-1"}}),
    ],
)
def test_stores_of_every_protocol_can_be_made(url, options, read_only):
    pytest.importorskip("obstore")
    assert str(locate(url, options).open(read_only=read_only)) == url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:p@host:9000/a.zip?sig=x&b=1#f", "https://host:9000/a.zip"),
        ("https://host/a?X-Amz-Signature=x: cannot be listed", "https://host/a: cannot be listed"),
        ("(GET http://127.0.0.1:9/b?list-type=2&sig=x), again", "(GET http://127.0.0.1:9/b), again"),
        ("URL('https://host/a?sig=x')", "URL('https://host/a')"),
        ("s3://AKIA1234@bucket/a", "s3://bucket/a"),
        ("abfs://container@account.dfs.core.windows.net/a", "abfs://container@account.dfs.core.windows.net/a"),
        ("abfs://user:p@account/a", "abfs://account/a"),
        ("http://host:9000/a@b", "http://host:9000/a@b"),
        ("from https://u:p@a/x?s=1 to s3://k:p@b/y", "from https://a/x to s3://b/y"),
        ("/folder/what?/a@b", "/folder/what?/a@b"),
    ],
)
def test_what_of_a_url_is_shown(text, shown):
    assert redacted(text) == shown


WORD = st.text("abcXYZ019-._~%", min_size=1)


@given(WORD, st.text("abcXYZ/?#@:%!$&"), WORD)
def test_no_part_of_a_password_or_signature_is_shown(user, password, signature):
    hidden = f"https://{user}:pw{password}pw@host/folder/a.zip?X-Amz-Signature={signature}Z"
    shown = "https://host/folder/a.zip"
    assert redacted(hidden) == redacted(shown) == shown
    assert redacted(f"{hidden}: cannot be read") == f"{shown}: cannot be read"


def test_records_that_dask_prints_show_no_secret():
    url = "https://host/a.zip?sig=Wq8"
    for record in (Location(url), Source(url)):
        assert "https://host/a.zip" in repr(record)
        assert "Wq8" not in repr(record) + str(record)
    assert str(Source("sftp://user@host/a").shown) == "sftp://host/a"


@pytest.mark.parametrize(
    ("word", "text", "value"),
    [
        ("anon", "true", True),
        ("anon", "No", False),
        ("block", "12", 12),
        ("block", "-1.5", -1.5),
        ("block", "007", "007"),
        ("block", "1e3", "1e3"),
        ("profile", "7", "7"),
        ("region", "no", "no"),
        ("endpoint_url", "http://h:1", "http://h:1"),
    ],
)
def test_options_of_the_command_line(word, text, value):
    found = parse_option(word, text)
    assert (found, type(found)) == (value, type(value))


def test_a_file_url_is_the_path_that_it_names(tmp_path):
    place = tmp_path / "sp ace ü%"
    place.mkdir()
    (place / "a.csv").write_text("ID\n1\n")
    for url in (place.as_uri(), f"file://localhost{place.as_uri()[7:]}", f"FILE://{place}".replace("%", "%25")):
        assert locate(url).url == str(place)
        assert [file.path for file in open_source(url).files()] == ["a.csv"]
    assert locate("s3://b/a%20b").url == "s3://b/a%20b"
