import shutil

import nibabel
import numpy as np
import pytest
import xarray as xr

import npczarr as npc
from npczarr.errors import SourceError
from npczarr.export import back
from npczarr.export.back import import_masks
from npczarr.export.cohort import export_scans
from npczarr.model.imported import GONE, imports_in, mask_before, say_imported
from npczarr.model.records import Row
from npczarr.model.schema import SCAN_TABLES
from npczarr.store import table_chunks
from npczarr.store.hierarchy import open_group
from npczarr.store.location import locate, put
from npczarr.store.rows import Rows
from npczarr.store.rows_before import BEFORE_KEY, RowsBefore
from tests.export.conftest import stored


@pytest.fixture
def copy(store, tmp_path):
    shutil.copytree(store, tmp_path / "copy.zarr")
    return tmp_path / "copy.zarr"


@pytest.fixture
def edited(copy, tmp_path):
    """An export whose mask of 001/T1WI has lost a slice, saved with its rows running the other way."""
    export_scans(copy, tmp_path / "out", format="nifti")
    path = tmp_path / "out/001/ROI-T1.nii.gz"
    image = nibabel.load(path)
    voxels = np.asarray(image.dataobj).copy()
    voxels[..., np.flatnonzero(voxels.any((0, 1)))[0]] = 0
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, 1] * (voxels.shape[1] - 1)
    affine[:3, 1] *= -1
    nibabel.save(nibabel.Nifti1Image(voxels[:, ::-1], affine), path)
    return tmp_path / "out"


@pytest.mark.slow
def test_an_export_put_back_changes_nothing(copy, tmp_path):
    export_scans(copy, tmp_path / "out", format="nifti")
    before = xr.open_zarr(copy).load()
    assert {one.status for one in import_masks(copy, tmp_path / "out")} == {"kept"}
    xr.testing.assert_identical(xr.open_zarr(copy).load(), before)


@pytest.mark.slow
def test_an_edited_mask_replaces_the_stored_one_and_only_it(copy, edited):
    npc.measure_store(copy, "morphology", workers=0)
    before = xr.open_zarr(copy, mask_and_scale=False).load()
    _, old, row = stored(copy, "001", "T1WI")
    found = import_masks(copy, edited)
    assert [(one.patient, one.sequence) for one in found if one.status == "replaced"] == [("001", "T1WI")]
    expected = old.copy()
    expected[np.flatnonzero(old.any((1, 2)))[0]] = 0
    _, new, now = stored(copy, "001", "T1WI")
    np.testing.assert_array_equal(new, expected)
    assert int(now["mask_voxels"]) == expected.sum()
    assert str(now["mask_axes_flipped"].values) == "y"
    assert "from 001/ROI-T1.nii.gz (digest " in str(now["message"].values)
    assert str(row["mask_digest"].values) in str(now["message"].values)
    assert npc.validate(copy, workers=0) == ()
    after = xr.open_zarr(copy, mask_and_scale=False).load()
    for name in before.data_vars:
        others = [before[name], after[name]]
        if "patient" in before[name].dims:
            others = [v.sel(patient=["002", "003"]) for v in others]
        xr.testing.assert_identical(*others)
    result, _ = npc.measure_store(copy, "morphology", workers=0)
    voxel = float(np.prod(now["spacing"].values))
    assert float(result["voxel_volume"].sel(patient="001", sequence="T1WI")) == pytest.approx(expected.sum() * voxel)


@pytest.mark.slow
def test_an_imported_mask_is_no_damage_and_is_not_lost_without_a_word(copy, cohort, edited):
    source = cohort / "primary_data"
    import_masks(copy, edited)
    assert npc.validate(copy, against=source, workers=0) == ()
    _, imported, _ = stored(copy, "001", "T1WI")
    # another scan is damaged: what was imported stays
    (copy / "image/c/1/0/0/0/0").unlink()
    assert npc.validate(copy, against=source, repair=True, workers=0) == ()
    np.testing.assert_array_equal(stored(copy, "001", "T1WI")[1], imported)
    # its own image is damaged: the mask is whole, and stays
    (copy / "image/c/0/0/0/0/0").unlink()
    found = npc.validate(copy, against=source, repair=True, workers=0)
    assert (found, found.imported) == ((), ("001/T1WI",))
    np.testing.assert_array_equal(stored(copy, "001", "T1WI")[1], imported)
    # the imported mask itself is damaged: the source has the mask of before, and that is said
    (copy / "mask/c/0/0/0/0/0").unlink()
    found = npc.validate(copy, against=source, repair=True, workers=0)
    assert [(one.patient, one.sequence) for one in found] == [("001", "T1WI")]
    assert "import that again" in found[0].problem
    assert npc.validate(copy, against=source, workers=0) == ()
    # the table that says that it was imported is gone
    import_masks(copy, edited)
    shutil.rmtree(copy / "message")
    found = npc.validate(copy, against=source, repair=True, workers=0)
    assert [(one.patient, one.sequence) for one in found] == [("001", "T1WI")]


def lost(store, patient="001", sequence="T1WI"):
    """What the store says of the mask that a scan has lost."""
    message = str(npc.open(store).message.sel(patient=patient, sequence=sequence).values)
    return [part for part in message.split("; ") if part.startswith(GONE)]


@pytest.mark.slow
def test_a_conversion_that_takes_an_imported_mask_away_says_so_in_the_store(copy, cohort, edited, tmp_path):
    source = shutil.copytree(cohort / "primary_data", tmp_path / "source")
    import_masks(copy, edited)
    npc.convert(source, copy, workers=0)
    assert lost(copy) == []
    npc.convert(source, copy, rewrite=["001/T1WI"], workers=0)
    assert lost(copy) == [f"{GONE}: the source has another, which was taken"]
    assert str(npc.open(copy).status.sel(patient="001", sequence="T1WI").values) == "warning"
    npc.convert(source, copy, workers=0)
    assert len(lost(copy)) == 1, "it is said as long as the scan is not written again"
    import_masks(copy, edited)
    assert lost(copy) == []
    (source / "data/MRI-Segments/001/ROI-T1.nii").unlink()
    npc.convert(source, copy, workers=0)
    assert lost(copy) == [], "a mask that the source has lost is no other one"
    npc.convert(source, copy, rewrite=["001/T1WI"], workers=0)
    assert lost(copy) == [f"{GONE}: the source has none"]
    assert npc.validate(copy, against=source, workers=0) == ()


@pytest.mark.slow
def test_a_resampling_carries_what_was_imported_before_and_tells_what_it_takes_away(copy, edited, tmp_path):
    resampled = tmp_path / "resampled.zarr"
    import_masks(copy, edited)
    npc.resample_store(copy, resampled, spacing=(4, 2, 2), workers=0)
    assert lost(resampled) == []
    export_scans(resampled, tmp_path / "its", format="nifti")
    path = tmp_path / "its/001/ROI-T1.nii.gz"
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[::-1].copy(), image.affine), path)
    import_masks(resampled, tmp_path / "its")
    shutil.rmtree(tmp_path / "its")
    npc.resample_store(copy, resampled, spacing=(4, 2, 2), workers=0)
    assert lost(resampled) == [], "nothing has changed, so nothing is written"
    export_scans(copy, tmp_path / "again", format="nifti")
    path = tmp_path / "again/001/ROI-T1.nii.gz"
    image = nibabel.load(path)
    voxels = np.asarray(image.dataobj).copy()
    voxels[: voxels.shape[0] // 2] = 0
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine), path)
    import_masks(copy, tmp_path / "again")
    npc.resample_store(copy, resampled, spacing=(4, 2, 2), workers=0)
    assert len(lost(resampled)) == 1


@pytest.mark.parametrize("folder", ["x (digest abc), was deadbeef", "a; b", "[red]", "肿瘤 was"])
def test_the_name_of_a_file_does_not_mislead_who_reads_what_was_imported(folder):
    first = say_imported(f"{folder}/ROI.nii", "0" * 32, "missing")
    second = say_imported(f"{folder}/ROI.nii", "unknown", "a" * 32)
    assert mask_before(first) == ""
    assert mask_before(f"{first}; other words") == ""
    assert mask_before(f"{second}; {first}") == ""
    assert mask_before(f"odd; {second}") == "a" * 32
    assert imports_in(f"odd; {second}; {first}") == {first, second}
    assert imports_in("no mask") == frozenset()


@pytest.mark.slow
def test_a_source_whose_mask_changed_since_an_import_is_told_apart(copy, cohort, edited, tmp_path):
    source = shutil.copytree(cohort / "primary_data", tmp_path / "source")
    import_masks(copy, edited)
    path = source / "data/MRI-Segments/001/ROI-T1.nii"
    image = nibabel.load(path)
    voxels = np.zeros_like(np.asarray(image.dataobj))
    voxels[1, 1, 1] = 1
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine), path)
    found = npc.validate(copy, against=source, workers=0)
    assert [(one.patient, one.sequence) for one in found] == [("001", "T1WI")]
    assert "neither the one that was imported nor the one that it replaced" in found[0].problem
    path.unlink()
    (found,) = npc.validate(copy, against=source, workers=0)
    assert "stored with a mask, but the source has none that can be used: no mask" in found.problem


@pytest.mark.slow
def test_a_mask_of_another_place_is_refused_and_changes_nothing(copy, edited):
    path = edited / "001/ROI-T1.nii.gz"
    image = nibabel.load(path)
    affine = image.affine.copy()
    affine[:3, 3] += 5000
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), affine), path)
    (edited / "nobody").mkdir()
    shutil.copy(path, edited / "nobody/ROI-T1.nii.gz")
    before = xr.open_zarr(copy).load()
    refused = {one.patient: one.message for one in import_masks(copy, edited) if one.status == "refused"}
    assert "does not fit" in refused["001"]
    assert "no such patient" in refused["nobody"]
    xr.testing.assert_identical(xr.open_zarr(copy).load(), before)


@pytest.mark.slow
def test_an_import_killed_at_any_write_and_run_again_is_as_one_in_peace(copy, edited, tmp_path, monkeypatch):
    """Whatever tables of the row are written when it is killed, the old row is known when it is run again."""

    def tables(url):
        kept = xr.open_zarr(url, mask_and_scale=False).load()
        return kept.drop_attrs(deep=False)

    peace = shutil.copytree(copy, tmp_path / "peace.zarr")
    import_masks(peace, edited)
    expected = tables(peace)

    def killed_after(last):
        left = iter(range(last))

        def some(store, contents):
            for key, content in contents:
                if next(left, None) is None:
                    raise KeyboardInterrupt
                put(store, key, content)

        return some

    for last in (1, len(SCAN_TABLES) // 2, len(SCAN_TABLES) - 1):
        again = shutil.copytree(copy, tmp_path / f"{last}.zarr")
        with monkeypatch.context() as patch:
            patch.setattr(table_chunks, "put_all", killed_after(last))
            with pytest.raises(KeyboardInterrupt):
                import_masks(again, edited)
        import_masks(again, edited)
        xr.testing.assert_identical(tables(again), expected)
        assert not (again / BEFORE_KEY).exists()
        assert npc.validate(again, workers=0) == ()


def test_what_was_kept_of_one_row_outlives_the_change_of_another(copy):
    location = locate(copy)
    tables = {v.name: Rows(open_group(location.open(), str(copy))).read(v.name) for v in SCAN_TABLES}
    rows = {key: {name: values[key] for name, values in tables.items()} for key in (("001", "T1WI"), ("002", "T2WI"))}
    pending = {**tables, "status": {**tables["status"], **dict.fromkeys(rows, "pending")}}
    for key, row in rows.items():  # of two runs, of which the first was killed
        RowsBefore(location, pending).keep(row, Row(*key, {**row, "message": "new"}))
    third = RowsBefore(location, pending)
    for key, row in rows.items():
        halfway = {**row, "status": "pending", "message": "new"}
        assert third.row(key, halfway)["message"] == row["message"]
        assert third.row(key, {**halfway, "row_digest": "of a later run"})["message"] == "new"
        third.forget()
        assert (copy / BEFORE_KEY).exists()
        third.done(key)
    third.forget()
    assert not (copy / BEFORE_KEY).exists()


@pytest.mark.slow
@pytest.mark.parametrize("at", ["_write", "_row"])
def test_an_interrupted_import_leaves_the_scan_pending_and_is_completed(copy, edited, monkeypatch, tmp_path, at):
    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(back, at, killed)
        with pytest.raises(KeyboardInterrupt):
            import_masks(copy, edited)
    assert str(stored(copy, "001", "T1WI")[2]["status"].values) == ("pending" if at == "_write" else "ok")
    (exported,) = export_scans(copy, tmp_path / "exported", format="nifti", patients=["001"], sequences=["T1WI"])
    assert exported.status == ("failed" if at == "_write" else "written")  # and not absent: the store does hold it
    assert exported.message.startswith("pending: being written" if at == "_write" else "")
    found = import_masks(copy, edited)
    assert [one.sequence for one in found if one.status == "replaced"] == ["T1WI"]
    assert npc.validate(copy, workers=0) == ()


@pytest.mark.slow
def test_a_mask_is_added_where_there_was_none(copy, tmp_path):
    export_scans(copy, tmp_path / "out", format="nifti", patients=["002"])
    image = nibabel.load(tmp_path / "out/002/T2WI.nii.gz")
    voxels = (np.asarray(image.dataobj) > np.median(image.dataobj)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine), tmp_path / "out/002/ROI-T2.nii.gz")
    found = {one.sequence: one for one in import_masks(copy, tmp_path / "out")}
    assert found["T2WI"].status == "replaced"
    _, mask, row = stored(copy, "002", "T2WI")
    np.testing.assert_array_equal(mask, voxels.T)
    assert str(row["mask_status"].values) in ("ok", "warning")
    assert npc.validate(copy, workers=0) == ()


def test_a_folder_without_masks_is_named(copy, tmp_path):
    (tmp_path / "none").mkdir()
    (tmp_path / "none/readme.txt").write_text("nothing")
    with pytest.raises(SourceError, match="no mask found"):
        import_masks(copy, tmp_path / "none")
