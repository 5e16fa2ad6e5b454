"""Imports that are killed, and what a later run then says of the masks before."""

import shutil

import nibabel
import numpy as np
import pytest

import npczarr as npc
from npczarr.export import back
from npczarr.export.back import import_masks
from npczarr.export.cohort import export_scans
from npczarr.graphs.store_writer import StoreWriter
from npczarr.model.imported import imports_in
from npczarr.store import rows
from npczarr.store.rows_before import BEFORE_KEY

SCAN = {"patient": "001", "sequence": "T1WI"}


@pytest.fixture
def copy(store, tmp_path):
    return shutil.copytree(store, tmp_path / "copy.zarr")


@pytest.fixture
def folders(copy, tmp_path):
    """Two folders, each with another mask of 001/T1WI."""
    export_scans(copy, tmp_path / "out", format="nifti", patients=["001"])
    image = nibabel.load(tmp_path / "out/001/ROI-T1.nii.gz")
    for i in (1, 2):
        (tmp_path / f"m{i}/001").mkdir(parents=True)
        voxels = np.roll(np.asarray(image.dataobj), i, axis=0)
        nibabel.save(nibabel.Nifti1Image(voxels, image.affine), tmp_path / f"m{i}/001/ROI-T1.nii.gz")
    return tmp_path / "m1", tmp_path / "m2"


@pytest.fixture
def killed(monkeypatch):
    """Run with one function that ends it as a kill does."""

    def run(owner, name, act):
        def kill(*args):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, kill)
            with pytest.raises(KeyboardInterrupt):
                act()

    return run


def scan_of(store):
    return npc.open(store).sel(SCAN).load()


def history(store):
    lines = npc.open(store).attrs["history"].splitlines()
    return [line.partition("import-masks ")[2] for line in lines if "import-masks" in line]


def rewrite(source, store, killed):
    """Mark the scan as pending by a conversion that ends there."""
    convert = lambda: npc.convert(source, store, rewrite=["001/T1WI"], workers=0)  # noqa: E731
    killed(StoreWriter, "_tasks", convert)
    assert str(scan_of(store).status.values) == "pending"


@pytest.mark.slow
@pytest.mark.parametrize("again", [True, False])
def test_the_record_names_the_mask_before_though_an_earlier_import_was_killed(copy, cohort, folders, killed, again):
    """It had written its row: what it kept of the one before is of no use to a later run."""
    first, second = folders
    killed(back, "add_history", lambda: import_masks(copy, first))
    if again:
        assert [one.status for one in import_masks(copy, first)] == ["kept"]
        assert not (copy / BEFORE_KEY).exists()
    before = scan_of(copy)
    rewrite(cohort / "primary_data", copy, killed)
    assert [one.status for one in import_masks(copy, second)] == ["replaced"]
    now = str(scan_of(copy).message.values)
    assert f"was {before.mask_digest.values}" in now
    assert imports_in(str(before.message.values)) < imports_in(now)
    assert npc.validate(copy, workers=0) == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name"),
    [(rows, "begin_epoch"), (back, "_write"), (rows, "with_digest"), (back.RowsBefore, "done"), (back, "add_history")],
)
def test_an_import_killed_at_any_step_and_run_again_leaves_one_record_and_one_line(
    copy, folders, killed, tmp_path, owner, name
):
    peace = shutil.copytree(copy, tmp_path / "peace.zarr")
    import_masks(peace, folders[0])
    killed(owner, name, lambda: import_masks(copy, folders[0]))
    import_masks(copy, folders[0])
    assert scan_of(copy).identical(scan_of(peace).assign_attrs(scan_of(copy).attrs))
    assert history(copy) == history(peace) == ["replaced=1"]
    assert not (copy / BEFORE_KEY).exists()
    assert npc.validate(copy, workers=0) == ()


@pytest.mark.slow
def test_the_stored_mask_completes_a_scan_that_was_left_pending_and_is_no_new_one(copy, cohort, folders, killed):
    import_masks(copy, folders[0])
    before = scan_of(copy)
    rewrite(cohort / "primary_data", copy, killed)
    (one,) = import_masks(copy, folders[0])
    assert (one.status, "left pending" in one.message) == ("replaced", True)
    assert scan_of(copy).drop_attrs().identical(before.drop_attrs())
    assert npc.validate(copy, workers=0) == ()
