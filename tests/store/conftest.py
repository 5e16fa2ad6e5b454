import shutil
from pathlib import Path

import pytest

import npczarr as npc
from tests.builders import write_cohort
from tests.store.small import make_small


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> Path:
    """A cohort of three patients with scans of 4 to 6 slices of 8 x 9 voxels; whoever changes it takes a copy."""
    folder = tmp_path_factory.mktemp("small") / "source"
    write_cohort(folder)
    return folder


@pytest.fixture(scope="session")
def pristine(source, tmp_path_factory) -> Path:
    """The store of it, in chunks so small that every scan has several."""
    return make_small(source, tmp_path_factory.mktemp("small") / "a.zarr")


@pytest.fixture
def copy(pristine, tmp_path) -> Path:
    """A store to be changed."""
    return shutil.copytree(pristine, tmp_path / "a.zarr")


@pytest.fixture(scope="session")
def truth(pristine):
    """What the store holds, in memory."""
    return npc.open(pristine).load()
