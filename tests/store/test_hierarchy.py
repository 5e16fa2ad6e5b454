"""What is said of a store that holds nothing yet."""

import json

import pytest
import zarr

import npczarr as npc
from npczarr.store.hierarchy import CREATING, open_group
from npczarr.store.holder import LEASE_KEY, holding, identity
from npczarr.store.location import locate, put

INTERRUPTED = "its creation was interrupted before it held anything; run the convert or resample that began it again"


@pytest.fixture
def begun(tmp_path):
    """A store of which one array is there."""
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", attributes={CREATING: ["image", "status"]})
    root.create_array("status", shape=(1, 1), dtype="int8", dimension_names=("patient", "sequence"))
    return tmp_path / "a.zarr"


def openings(url):
    """Open a store in every way that looks at its schema."""
    yield lambda: npc.open(url)
    yield lambda: npc.open(url, where="age > 3")
    yield lambda: open_group(locate(url).open(), str(url))


def test_a_creation_that_is_under_way_is_not_called_interrupted(begun):
    store = locate(begun).open()
    token = "of this test"
    put(store, LEASE_KEY, json.dumps({"token": token, "since": "now", **identity()}).encode())
    with holding(token):
        for opening in openings(begun):
            with pytest.raises(npc.StoreError, match=r"is being created by process .* since now, and holds not"):
                opening()
    for opening in openings(begun):  # a lease of a run that has ended
        with pytest.raises(npc.StoreError, match=INTERRUPTED):
            opening()


def test_without_a_lease_it_was_interrupted(begun):
    for opening in openings(begun):
        with pytest.raises(npc.StoreError, match=INTERRUPTED):
            opening()
