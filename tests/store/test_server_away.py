"""What storage errors are called, and what is left undone at the end of a run whose server went away."""

import pickle

import pytest
import zarr

import npczarr as npc
from npczarr.errors import ReadOnlyError, StoreError, UnreachableError
from npczarr.store.hierarchy import array, open_group
from npczarr.store.holder import LEASE_KEY
from npczarr.store.lease import hold_lease
from npczarr.store.location import locate
from npczarr.store.storage_errors import translate_errors
from tests.store.small import snapshot

LIST = "Generic S3 error: Error performing list request: Error performing GET http://h/b in 1ms - "
GET = "Generic S3 error: Error performing GET http://h/b/k in 1ms"
STATUS = "Server returned non-2xx status code: "


class GenericError(Exception):
    """As obstore calls what it has no class for."""


@pytest.mark.parametrize(
    ("text", "act", "kind", "words"),
    [
        (f"{LIST}{STATUS}403 Forbidden: <?xml?>", "list it", ReadOnlyError, "the right to list is missing"),
        (f"{LIST}{STATUS}404 Not Found: <?xml?><Code>NoSuchBucket</Code>", "list it", StoreError, "no such bucket"),
        (f"{GET}, after 10 retries - HTTP error: error sending request", "read k", UnreachableError, "not answer"),
        (f"{GET}, after 10 retries - {STATUS}503 Service Unavailable", "write k", UnreachableError, "not answer"),
        (f"{GET}, after 1 retries - {STATUS}400 Bad Request", "write k", StoreError, "space left"),
    ],
)
def test_an_error_is_told_by_what_the_server_says(text, act, kind, words):
    store = locate("memory://of-a-server").open()
    with pytest.raises(StoreError, match=words) as told, translate_errors(store, act):
        raise GenericError(text)
    assert type(told.value) is kind


def test_an_error_of_a_server_that_is_away_comes_back_from_another_process_as_it_was():
    error = pickle.loads(pickle.dumps(UnreachableError("no answer", "s3://a/b")))
    assert (type(error), str(error), error.place) == (UnreachableError, "no answer", "s3://a/b")


def test_where_the_server_of_a_store_is_away_neither_seal_nor_lease_is_asked_for_again(copy):
    store = locate(copy).open()
    left = []

    def run():
        with hold_lease(store, "x") as lease:
            array(open_group(store, "x"), "message")[...] = "changed"
            left.extend((lease, snapshot(copy)))
            raise UnreachableError("no answer", str(store))

    with pytest.raises(UnreachableError):
        run()
    lease, before = left
    assert snapshot(copy) == before
    assert LEASE_KEY in before
    assert lease._released.is_set(), "it goes on saying that somebody is at work"
    with hold_lease(store, "x"):
        pass
    assert not (copy / LEASE_KEY).exists()


@pytest.mark.parametrize("away", ["target", "source"])
def test_rows_of_finished_scans_are_written_at_the_end_unless_the_server_of_the_store_is_away(copy, source, away):
    place = str(locate(copy).open()) if away == "target" else "s3://of-the-source/a"

    def fail(progress):
        if progress.done == 2:
            raise UnreachableError("no answer", place)

    with pytest.raises(UnreachableError):
        npc.convert(source, copy, workers=0, rewrite=["001"], on_progress=fail)
    assert (copy / LEASE_KEY).exists() == (away == "target")
    pending = (npc.open(copy).status.sel(patient="001") == "pending").sum()
    assert pending == (3 if away == "target" else 1)


@pytest.mark.slow
def test_a_source_whose_server_is_away_ends_a_resampling_and_takes_nothing_from_its_store(store, tmp_path, monkeypatch):
    url, asked = tmp_path / "r.zarr", {"spacing": (4, 2, 2), "workers": 0}
    npc.resample_store(store, url, **asked)
    voxels = [path for name in ("image", "mask") for path in (url / name / "c").rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in voxels}
    status = zarr.open_group(url, mode="r+", use_consolidated=False)["status"]
    status[0, 0] = "pending"  # is made again

    def away(scan):
        raise UnreachableError("s3://source: cannot read image: it does not answer", "s3://source")

    with monkeypatch.context() as patch:
        patch.setattr("npczarr.store.scans.StoredScan.known_image", away)
        with pytest.raises(UnreachableError, match="does not answer"):
            npc.resample_store(store, url, **asked)
    assert before
    assert {path: path.read_bytes() for path in before} == before
    again = npc.resample_store(store, url, **asked)
    assert set(again.status.values.ravel()) == {"ok"}
    assert npc.validate(url, workers=0) == ()
