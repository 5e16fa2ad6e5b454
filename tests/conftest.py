import os
from pathlib import Path

import pytest

import npczarr as npc

_SLOW_FIXTURES = {"s3", "browser"}


def pytest_collection_modifyitems(items):
    """Mark what needs a server or a browser as slow."""
    for item in items:
        if _SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; the test is skipped where there is none."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("NPCZARR_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set NPCZARR_DATA to its folder")
    return folder


# Made once; whoever changes one takes a copy.


@pytest.fixture(scope="session")
def cohort(tmp_path_factory) -> Path:
    """A small synthetic cohort of three patients."""
    out = tmp_path_factory.mktemp("phantom") / "cohort"
    npc.make_cohort(out, patients=3, workers=0)
    return out


@pytest.fixture(scope="session")
def store(cohort, tmp_path_factory) -> Path:
    """The store of it."""
    url = tmp_path_factory.mktemp("store") / "cohort.zarr"
    npc.convert(cohort / "primary_data", url, workers=0)
    return url


@pytest.fixture(scope="session")
def raters(cohort, tmp_path_factory) -> Path:
    """The store of its two raters' masks."""
    url = tmp_path_factory.mktemp("store") / "raters.zarr"
    npc.convert(cohort / "inner_reliability.zip", url, workers=0)
    return url
