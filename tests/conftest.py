import os
from pathlib import Path

import pytest

import npczarr as npc

_SLOW_FIXTURES = {"s3", "browser", "used", "pages", "troubled"}
#: Files that take longest, below this folder: they are begun first, or one worker would wait at the end for another.
_LONGEST = (
    "test_s3.py", "test_runner.py", "store/test_foreign.py", "viewer/test_page.py", "store/test_seal.py",
    "graphs/test_convert.py", "test_cli.py", "test_plain_xarray.py", "graphs/test_resample.py", "hostile/test_store.py",
    "privacy/test_planted.py", "test_examples.py", "test_two_of_all.py", "report/test_page.py",
    "graphs/test_measure.py", "store/test_review.py", "training/test_patches.py", "test_notebooks.py",
    "store/test_identity.py", "test_readme.py", "test_namespaces.py", "export/test_back.py", "hostile/test_cohort.py",
    "viewer/test_remote.py", "privacy/test_deidentify.py",
)  # fmt: skip
#: Files whose slow tests try every way of copying, killing or damaging, or a browser: one version of Python will do.
_THOROUGH = (
    "store/test_foreign.py", "store/test_interrupted_append.py", "store/test_interrupted_result.py",
    "store/test_takeover.py", "store/test_review.py", "store/test_identity.py", "store/test_replaced.py",
    "export/test_back.py", "export/test_back_killed.py", "export/test_interrupted_export.py", "privacy/test_planted.py",
    "privacy/test_further_runs.py", "hostile/test_cohort.py", "hostile/test_disk.py", "hostile/test_store.py",
    "graphs/test_held_scan.py", "graphs/test_imported_mask.py", "graphs/test_order_of_dims.py", "report/test_stale.py",
    "viewer/test_page.py", "viewer/test_page_numbers.py", "viewer/test_review_page.py", "test_namespaces.py",
    "test_notebooks.py",
)  # fmt: skip
_THOROUGH_PATHS = {Path(__file__).resolve().parent / name for name in _THOROUGH}
_TURNS = {Path(__file__).resolve().parent / name: turn for turn, name in enumerate(_LONGEST)}
assert all(path.is_file() for path in {*_TURNS, *_THOROUGH_PATHS}), "a file of _LONGEST or _THOROUGH is not there"


def pytest_collection_modifyitems(items):
    """Mark what is slow (a server, a browser, reports, many processes) or thorough; put the longest files first."""
    for item in items:
        if _SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
        if item.path in _THOROUGH_PATHS and item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.thorough)
    items.sort(key=lambda item: _TURNS.get(item.path, len(_TURNS)))


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
