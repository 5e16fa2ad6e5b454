import json
import shutil
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import dask
import nibabel
import numpy as np
import pytest
import tifffile
import xarray as xr

import npczarr as npc
from npczarr.errors import ParameterError
from npczarr.graphs.predictions import Predictions
from npczarr.graphs.summarize import summary
from npczarr.store.hierarchy import open_group
from npczarr.store.location import locate
from npczarr.store.results import read_kept
from npczarr.store.rows import Rows
from tests.builders import blob, nifti_image, noise, oblique_grid, write_series


def never(graph, keys, **kwargs):
    raise AssertionError("computed before it was asked for")


def test_nothing_is_computed_before_it_is_asked_for(store, raters):
    with dask.config.set(scheduler=never):
        for ds in (npc.open(store), xr.open_zarr(store)):
            npc.morphology(ds.sel(sequence="T1WI"))
        npc.agreement(npc.open(raters))
        lazy = npc.score(npc.open(store), store)
        with pytest.raises(AssertionError, match="before it was asked"):
            lazy.compute()


def test_every_scan_is_measured_as_the_array_function_measures_it(store):
    ds = npc.open(store)
    result = npc.morphology(ds).compute()
    for patient in ds.patient.values:
        for sequence in ds.sequence.values:
            scan = ds.npc.scan(patient, sequence)
            expected = npc.measure_mask(scan.mask.values, spacing=scan.spacing.values)
            found = result.sel(patient=patient, sequence=sequence)
            for name, value in expected.items():
                np.testing.assert_array_equal(found[name], value)
    assert result.volume.attrs["units"] == "mm3"


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_any_selection_chunking_and_scheduler_gives_the_same(store, scheduler):
    whole = npc.morphology(npc.open(store)).compute(scheduler="sync")
    fast, plain = npc.open(store), xr.open_zarr(store)
    for ds in (
        fast,
        plain,
        fast.sel(sequence="T2WI"),
        fast.sel(patient="002"),
        plain.sel(patient="002", sequence="CE-T1WI"),
        fast.isel(patient=[2, 0]),
        fast.chunk(patient=2, sequence=3),
        fast.load(),
    ):
        found = npc.morphology(ds).compute(scheduler=scheduler)
        expected = whole.sel({dim: ds[dim] for dim in ("patient", "sequence")})
        for name in whole.data_vars:
            np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.slow
def test_distributed_gives_the_same(store, raters):
    from distributed import Client, LocalCluster

    whole, agreed = npc.morphology(npc.open(store)).compute(scheduler="sync"), npc.agreement(npc.open(raters)).compute()
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as local, Client(local):
        xr.testing.assert_identical(npc.morphology(npc.open(store)).compute(), whole)
        xr.testing.assert_identical(npc.agreement(npc.open(raters)).compute(), agreed)


@pytest.mark.slow
def test_raters_are_compared_as_the_array_function_compares_them(raters):
    ds = npc.open(raters)
    assert ds.mask.dims == ("patient", "sequence", "rater", "z", "y", "x")
    result = npc.agreement(ds, tolerance=1.5).compute()
    for patient in ds.patient.values:
        scan = ds.sel(patient=patient, sequence="T1WI")
        z, y, x = scan["shape"].values
        a, b = scan.mask.values[:, :z, :y, :x]
        expected = npc.compare_masks(a, b, spacing=scan.spacing.values, tolerance=1.5)
        for name, value in expected.items():
            np.testing.assert_array_equal(result[name].sel(patient=patient, sequence="T1WI"), value)
    assert npc.validate(raters, workers=0) == ()


def test_raters_masks_are_those_of_their_files(cohort, raters, tmp_path):
    zipfile.ZipFile(cohort / "inner_reliability.zip").extractall(tmp_path)
    ds = npc.open(raters)
    for rater in ds.rater.values:
        image = nibabel.load(tmp_path / rater / "002/ROI-T2.nii")
        tumor = np.round(np.asanyarray(image.dataobj)) > 0
        center_mm = nibabel.affines.apply_affine(image.affine, np.argwhere(tumor)).mean(axis=0) * [-1, -1, 1]
        scan = ds.sel(patient="002", sequence="T2WI", rater=rater)
        index_xyz = np.argwhere(scan.mask.values)[:, ::-1]
        found_mm = nibabel.affines.apply_affine(scan.affine.values, index_xyz).mean(axis=0)
        np.testing.assert_allclose(found_mm, center_mm, atol=1e-3)
        assert len(index_xyz) == tumor.sum()


@pytest.mark.slow
def test_three_raters_give_every_pair_and_a_missing_mask_is_refused(cohort, tmp_path):
    zipfile.ZipFile(cohort / "inner_reliability.zip").extractall(tmp_path / "r")
    shutil.copytree(tmp_path / "r/rater1", tmp_path / "r/rater3")
    (tmp_path / "r/rater3/001/ROI-T1.nii").unlink()
    result = npc.convert(tmp_path / "r", tmp_path / "s.zarr", workers=0)
    assert result.status.sel(patient="001", sequence="T1WI") == "refused"
    assert "no mask by rater3" in str(result.message.sel(patient="001", sequence="T1WI").values)
    agreed = npc.agreement(npc.open(tmp_path / "s.zarr")).compute()
    assert agreed.pair.values.tolist() == ["rater1 - rater2", "rater1 - rater3", "rater2 - rater3"]
    same = agreed.dice.sel(pair="rater1 - rater3")
    assert np.isnan(same.sel(patient="001", sequence="T1WI"))
    assert (same.sel(patient=["002", "003"]) == 1).all()


@pytest.mark.slow
def test_tiff_slices_of_raters_give_overlap_but_no_distances(tmp_path):
    rng = np.random.default_rng(0)
    masks = {rater: rng.random((4, 8, 8)) > 0.5 for rater in ("a", "b")}
    for rater, mask in masks.items():
        folder = tmp_path / "tiff" / rater / "007"
        folder.mkdir(parents=True)
        for i, one in enumerate(mask, 1):
            tifffile.imwrite(folder / f"T1WI_{i}_mask.tif", one.astype(np.uint8) * 255)
            tifffile.imwrite(folder / f"T1WI_{i}.tif", np.full((8, 8), 900, np.uint16))
    npc.convert(tmp_path / "tiff", tmp_path / "s.zarr", workers=0)
    found = npc.agreement(npc.open(tmp_path / "s.zarr")).compute().squeeze()
    expected = npc.compare_masks(masks["a"], masks["b"], spacing=(1, 1, 1))
    assert found.dice == expected["dice"]
    assert np.isnan(found.hd)
    assert np.isnan(found.surface_dice)


def test_scores_of_files_and_of_a_store(cohort, store, tmp_path):
    source = cohort / "primary_data/data/MRI-Segments"
    predictions = tmp_path / "model"
    for patient in ("001", "002"):
        (predictions / patient).mkdir(parents=True)
        shutil.copy(source / patient / "ROI-T1.nii", predictions / patient)
    image = nibabel.load(predictions / "002/ROI-T1.nii")
    data = np.round(np.asanyarray(image.dataobj)) > 0
    moved = np.roll(data, 1, axis=0).astype(np.uint8)
    nibabel.as_closest_canonical(nibabel.Nifti1Image(moved, image.affine)).to_filename(
        predictions / "002/ROI-T1.nii.gz"
    )
    (predictions / "002/ROI-T1.nii").unlink()
    ds = npc.open(store)
    result = npc.score(ds, predictions).compute()
    assert result.dice.sel(patient="001", sequence="T1WI") == 1
    assert np.isnan(result.dice.sel(sequence="T2WI")).all()
    scan = ds.npc.scan("002", "T1WI")
    direction = np.sign((np.diag([-1, -1, 1]) @ image.affine[:3, 0]) @ scan.affine.values[:3, 0])
    expected = np.roll(scan.mask.values, int(direction), axis=2)
    overlap = npc.compare_masks(scan.mask.values, expected, spacing=scan.spacing.values)
    assert result.dice.sel(patient="002", sequence="T1WI") == overlap["dice"]
    assert (npc.score(ds, store).compute().dice == 1).all()
    assert npc.score(ds.sel(patient="002", sequence="T1WI"), predictions).compute().dice == overlap["dice"]


@pytest.mark.slow
def test_a_store_of_predictions_must_be_of_the_same_images_and_what_it_has_besides_is_named(tmp_path):
    grid = oblique_grid()
    for name, patients, seed in (("own", ["001"], 1), ("more", ["001", "009"], 1), ("another", ["001"], 2)):
        for patient in patients:
            folder = tmp_path / name / patient
            write_series(folder / "T1WI", noise(grid, seed=seed), grid, series=f"1.2.{seed}.{int(patient)}")
            nibabel.save(nifti_image(blob(grid), grid), folder / "ROI-T1.nii")
        npc.convert(tmp_path / name, tmp_path / f"{name}.zarr", workers=0)
    own, more, another = (tmp_path / f"{name}.zarr" for name in ("own", "more", "another"))
    with pytest.raises(ParameterError, match=r"1 of 1 .* of other images .* first 001/T1WI: another cohort"):
        npc.score(npc.open(own), another)
    result, failures = npc.measure_store(own, "score", predictions=more, workers=0)
    assert result.dice.sel(patient="001", sequence="T1WI") == 1
    assert [(one.patient, one.sequence) for one in failures] == [("009", "T1WI")]
    assert list(Predictions(own, more).unmatched) == [("009", "T1WI")]
    with pytest.warns(UserWarning, match="1 predicted masks are of no scan of the store, the first 009/T1WI"):
        assert list(npc.lesions(npc.open(own), more).patient) == ["001"]
    assert list(npc.lesions(npc.open(own).sel(patient=["001"]), more).patient) == ["001"]
    with pytest.raises(npc.SourceError, match="a store, expected a folder of masks"):
        npc.import_masks(own, more)


@pytest.mark.slow
def test_a_prediction_that_cannot_be_read_costs_no_other_score(cohort, store, tmp_path):
    url = tmp_path / "s.zarr"
    shutil.copytree(store, url)
    predictions = tmp_path / "model"
    shutil.copytree(
        cohort / "primary_data/data/MRI-Segments", predictions, ignore=shutil.ignore_patterns("*.dcm", "*WI")
    )
    (predictions / "003/ROI-T2.nii").write_bytes(b"broken")
    result, failures = npc.measure_store(url, "score", name="unet", predictions=str(predictions), workers=0)
    assert [(f.patient, f.sequence) for f in failures] == [("003", "T2WI")]
    assert (result.dice == 1).sum() == 8
    with pytest.raises(npc.SourceError, match=r"003/T2WI: prediction"):
        npc.score(npc.open(url), predictions).compute()
    kept = npc.open(url, group="score/unet")
    np.testing.assert_array_equal(kept.dice, result.dice)
    (tmp_path / "other").mkdir()
    (predictions / "001").rename(tmp_path / "other/999")
    with pytest.raises(npc.SourceError, match="none of the predicted masks is of a patient"):
        npc.measure_store(url, "score", name="other", predictions=str(tmp_path / "other"), workers=0)


@pytest.mark.slow
def test_a_kept_result_is_computed_again_only_where_masks_changed(cohort, store, tmp_path, monkeypatch):
    from npczarr.graphs import measure_batches as results

    url, copy = tmp_path / "s.zarr", tmp_path / "source"
    shutil.copytree(store, url)
    shutil.copytree(cohort / "primary_data", copy)
    measured = []
    real = results.measure_batch
    monkeypatch.setattr(results, "measure_batch", lambda task: measured.append(task.patients) or real(task))
    first, _ = npc.measure_store(url, "morphology", workers=0)
    second, _ = npc.measure_store(url, "morphology", workers=0)
    xr.testing.assert_identical(first, second)
    assert measured == [("001", "002", "003")]
    folder = copy / "data/MRI-Segments"
    shutil.copy(folder / "001/ROI-T1.nii", folder / "002/ROI-T1.nii")
    npc.convert(copy, url, workers=0)
    third, _ = npc.measure_store(url, "morphology", workers=0)
    assert measured[1:] == [("002",)]
    np.testing.assert_array_equal(third.volume, npc.morphology(npc.open(url)).compute().volume)
    npc.measure_store(url, "morphology", method="lewiner", workers=0)
    assert measured[2:] == [("001", "002", "003")]


@pytest.mark.slow
def test_results_stay_aligned_when_patients_are_appended(cohort, tmp_path):
    url = tmp_path / "s.zarr"
    part = tmp_path / "part"
    shutil.copytree(cohort / "primary_data", part, ignore=shutil.ignore_patterns("003"))
    npc.convert(part, url, workers=0)
    npc.measure_store(url, "morphology", workers=0)
    npc.convert(cohort / "primary_data", url, workers=0)
    tree = xr.open_datatree(url, engine="zarr")
    assert tree["morphology"].patient.values.tolist() == ["001", "002", "003"]
    assert np.isnan(tree["morphology"].volume.sel(patient="003")).all()
    result, _ = npc.measure_store(url, "morphology", workers=0)
    assert np.isfinite(result.volume).all()
    assert npc.validate(url, workers=0) == ()


@pytest.mark.slow
def test_a_damaged_shard_costs_no_other_measurement(store, tmp_path):
    url = tmp_path / "s.zarr"
    shutil.copytree(store, url)
    shard = url / "mask/c/1/1/0/0/0"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 8
    shard.write_bytes(content)
    result, failures = npc.measure_store(url, "morphology", workers=0)
    assert [(f.patient, f.sequence) for f in failures] == [("002", "T2WI")]
    assert "damaged" in failures[0].problem
    assert np.isnan(result.volume).sum() == 1


def test_missing_and_empty_masks_and_unknown_spacing(store):
    ds = npc.open(store).load()
    ds["mask"][0, 0] = 0
    ds["mask_status"][1, 1] = "missing"
    ds["spacing"][2, 2, 0] = np.nan
    found = npc.morphology(ds).compute()
    assert found.voxel_count[0, 0] == 0
    assert np.isnan(found.volume[0, 0])
    assert np.isnan(found.voxel_count[1, 1])
    assert found.voxel_count[2, 2] > 0
    assert np.isnan(found.volume[2, 2])
    flags = npc.quality(found)
    assert bool(flags.empty[0, 0])
    (row, *_) = summary(found, ["volume"])
    assert (row["n"], row["n_empty"], row["n_missing"]) == (2, 1, 0)
    (_, row, _) = summary(found, ["volume"])
    assert (row["n"], row["n_empty"], row["n_missing"]) == (2, 0, 1)


def test_quality_flags(store):
    ds = npc.open(store).load()
    ds["mask"][0, 0, 0, :4, :4] = 1
    ds["mask"][1] = 0
    ds["mask"][1, :, 5, 5:9, 5:9] = 1
    ds["mask"][1, 2, 5:9, 5:20, 5:20] = 1
    flags = npc.quality(npc.morphology(ds).compute())
    assert bool(flags.touches_end_slice[0, 0])
    assert bool(flags.several_pieces[0, 0])
    assert bool(flags.volumes_disagree[1])
    assert not bool(flags.touches_end_slice[1].any())


def test_wrong_use_is_named(store, raters, tmp_path):
    ds = npc.open(store)
    for call, words in (
        (lambda: npc.morphology(ds, method="cubes"), "lorensen, lewiner"),
        (lambda: npc.morphology(ds.drop_vars("mask")), "no 'mask'"),
        (lambda: npc.agreement(ds), "two or more raters"),
        (lambda: npc.agreement(npc.open(raters), tolerance=-1), "0 or more"),
        (lambda: npc.measure_store(store, "score", name="../x", predictions=str(store)), "a name of letters"),
        (lambda: npc.compare_masks(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool), spacing=(1, 1, 1)), "shape"),
        (lambda: npc.measure_mask(np.ones((2, 2, 2), bool), spacing=(1, np.nan, 1)), "finite"),
    ):
        with pytest.raises(npc.ParameterError, match=words):
            call()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").write_text("nothing yet")
    with pytest.raises(npc.SourceError, match="no predicted mask"):
        npc.score(ds, tmp_path / "empty")


@pytest.mark.slow
def test_a_patient_that_kills_its_worker_is_named_and_the_rest_is_measured(store, tmp_path, monkeypatch):
    from distributed.scheduler import KilledWorker

    from npczarr.runner import Runner

    copy = tmp_path / "copy.zarr"
    shutil.copytree(store, copy)
    run = Runner.run

    def deadly(self, function, tasks, *, name):
        for task, outcome in run(self, function, tasks, name=name):
            yield (
                task,
                KilledWorker(name(task), SimpleNamespace(address="tcp://worker"), 3)
                if "002" in task.patients
                else outcome,
            )

    monkeypatch.setattr(Runner, "run", deadly)
    result, failures = npc.measure_store(copy, "morphology", workers=0)
    assert {failure.patient for failure in failures} == {"002"}
    assert len(failures) == 3
    assert "KilledWorker" in failures[0].problem
    assert np.isnan(result.volume.sel(patient="002")).all()
    assert np.isfinite(result.volume.sel(patient=["001", "003"])).all()
    monkeypatch.undo()
    result, failures = npc.measure_store(copy, "morphology", workers=0)
    assert failures == ()
    assert np.isfinite(result.volume).all()


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["morphology", "agreement"])
def test_what_is_kept_is_printed_as_it_was_when_it_was_measured_without_importing_xarray(
    store, raters, tmp_path, measure
):
    url = tmp_path / "s.zarr"
    shutil.copytree(store if measure == "morphology" else raters, url)
    code = (
        "import sys\nfrom npczarr.cli.app import app\n"
        f"app(['{measure}', sys.argv[1], '--json', '--workers', '0'], standalone_mode=False)\n"
        "print('xarray' in sys.modules)"
    )
    printed = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
        *lines, imported = done.stdout.splitlines()
        printed.append((json.loads("\n".join(lines)), imported))
    (first, one), (second, other) = printed
    assert first == second
    assert first["summary"][0]["n"] > 0
    assert (one, other) == ("True", "False")


@pytest.mark.slow
def test_scans_that_are_pending_are_named_and_not_taken_for_measured(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    _, failures = npc.measure_store(copy, "morphology")
    assert failures == ()
    location = locate(copy)
    root = open_group(location.open(), str(copy))
    Rows(root).mark_pending([("001", "T1WI")])
    assert read_kept(location, "morphology", "morphology", {"method": "lorensen"}) is None
    _, failures = npc.measure_store(copy, "morphology")
    assert [(f.patient, f.sequence) for f in failures] == [("001", "T1WI")]
    assert "convert again to complete it" in failures[0].problem


@pytest.mark.slow
def test_a_pending_scan_has_no_number_and_is_measured_once_it_is_whole(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    expected = npc.morphology(npc.open(store)).sel(patient="001", sequence="T1WI").compute()
    rows = Rows(open_group(locate(copy).open(), str(copy)))
    rows.mark_pending([("001", "T1WI")])
    ds = npc.open(copy)
    assert np.isnan(npc.morphology(ds).volume.sel(patient="001", sequence="T1WI"))
    assert np.isnan(npc.morphology(ds.drop_vars("mask_status")).voxel_count.sel(patient="001", sequence="T1WI"))
    resampled = npc.resample(ds, spacing=3).sel(patient="001", sequence="T1WI")
    assert str(resampled.status.values) == "pending"
    assert np.isnan(resampled.image.values).all()
    with pytest.raises(ParameterError, match="001/T1WI is pending: being written, or left behind"):
        ds.npc.scan("001", "T1WI")
    npc.measure_store(copy, "morphology")
    rows.amend({("001", "T1WI"): {"status": "ok"}})
    found, failures = npc.measure_store(copy, "morphology")
    assert failures == ()
    xr.testing.assert_identical(
        found[["volume", "voxel_count"]].sel(patient="001", sequence="T1WI").drop_attrs(),
        expected[["volume", "voxel_count"]].drop_attrs(),
    )
