import pytest

import npczarr as npc


@pytest.fixture(scope="package")
def aligned(store, tmp_path_factory):
    """The store of the small cohort, for training: mapped images."""
    url = tmp_path_factory.mktemp("training") / "aligned.zarr"
    npc.resample_store(store, url, like="CE-T1WI", spacing=(4, 2, 2), purpose="training", workers=0)
    return url


@pytest.fixture(scope="package")
def tiled(store, tmp_path_factory):
    """The same in tiles."""
    url = tmp_path_factory.mktemp("training") / "tiled.zarr"
    npc.resample_store(store, url, like="CE-T1WI", spacing=(4, 2, 2), purpose="training", codec="lz4", workers=0)
    return url
