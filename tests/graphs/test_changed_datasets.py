"""What a person does to a Dataset before measuring it: the right numbers, or a refusal in words, never wrong ones."""

import shutil
import subprocess
import sys

import dask
import nibabel
import numpy as np
import pytest
import xarray as xr
import zarr

import npczarr as npc
from npczarr.errors import ParameterError
from npczarr.export.cohort import export_scans
from npczarr.model.layout import plan_layout
from npczarr.store.create import create, resize

pytestmark = pytest.mark.slow  # measures stores, many times

OPENED = {
    "npczarr.open": npc.open,
    "xr.open_zarr": xr.open_zarr,
    "xr.open_zarr, without Dask": lambda url: xr.open_zarr(url, chunks=None),
}
FIRST, *OTHERS = OPENED
CUTS = {
    "y": {"y": slice(5, None)},
    "every second slice": {"z": slice(None, None, 2)},
    "first slice": {"z": slice(1, None)},
    "last columns": {"x": slice(None, -1)},
}
LABELS = "[labels]\ntumor = 1\nnode = 2\n"


@pytest.fixture(scope="module", params=[FIRST, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def dataset(request, store):
    return OPENED[request.param](store)


@pytest.fixture(scope="module")
def exported(store, tmp_path_factory):
    """The store's own masks as files."""
    folder = tmp_path_factory.mktemp("exported") / "masks"
    export_scans(store, folder, format="nifti", workers=0)
    return folder


@pytest.fixture(scope="module")
def labelled(cohort, tmp_path_factory):
    """A store of two labels: the tumor, and the first fifty voxels of background."""
    root = tmp_path_factory.mktemp("labelled")
    shutil.copytree(cohort / "primary_data", root / "data")
    for path in (root / "data").rglob("ROI-*.nii"):
        image = nibabel.load(path)
        voxels = (np.asarray(image.dataobj).round() > 0).astype(np.uint8)
        voxels[tuple(np.argwhere(voxels == 0)[:50].T)] = 2
        nibabel.save(nibabel.Nifti1Image(voxels, image.affine, image.header), path)
    (root / "labels.toml").write_text(LABELS)
    npc.convert(root / "data", root / "labelled.zarr", config=root / "labels.toml", workers=0)
    return root / "labelled.zarr"


def of_each(found, dataset):
    """Values of the scans that a selection with another sequence for each patient has."""
    return [float(found.sel(patient=p, sequence=s)) for p, s in dataset]


# Another sequence for each patient.


def test_each_patient_is_compared_with_the_masks_of_its_own_sequence(dataset, store, exported):
    chosen = dataset.isel(sequence=xr.DataArray([0, 2, 1], dims="patient"))
    for predictions in (exported, store):
        found = npc.score(chosen, predictions).compute()
        assert found.dice.dims == ("patient",)
        assert found.dice.values.tolist() == [1.0, 1.0, 1.0]
        lesions = npc.lesions(chosen, predictions)
        assert set(lesions.found) == {"matched"}
        pairs = lesions[["patient", "sequence"]].drop_duplicates().to_numpy().tolist()
        assert pairs == [["001", "T1WI"], ["002", "CE-T1WI"], ["003", "T2WI"]]
    volumes = npc.morphology(dataset).volume.compute()
    assert npc.morphology(chosen).volume.values.tolist() == of_each(volumes, pairs)


@pytest.mark.parametrize("changed", ["points", "stack", "expand_dims"])
def test_scans_on_other_dimensions_are_compared_with_their_own_masks(changed, dataset, store, exported):
    points = {dim: xr.DataArray([0, 2, 1], dims="point") for dim in ("patient", "sequence")}
    made = {
        "points": lambda: dataset.isel(points),
        "stack": lambda: dataset.stack(scan=("patient", "sequence")),
        "expand_dims": lambda: dataset.expand_dims("fold"),
    }[changed]()
    for predictions in (store, exported):
        assert (npc.score(made, predictions).dice == 1).all()
        assert (npc.lesions(made, predictions).found == "matched").all()
    with pytest.raises(ParameterError, match=r"expected scans on the dimensions patient and sequence, found \w+"):
        npc.resample(made, spacing=5)


def test_scans_of_which_nothing_tells_the_sequence_are_refused(dataset, store, exported):
    chosen = dataset.isel(sequence=xr.DataArray([0, 2, 1], dims="patient"))
    for predictions in (store, exported):
        with pytest.raises(ParameterError, match="sequence"):
            npc.score(chosen.drop_vars("sequence"), predictions)
        with pytest.raises(ParameterError, match="sequence of each scan"):
            npc.lesions(chosen.drop_vars("sequence"), predictions)
    with pytest.raises(ParameterError, match="found sequence on patient"):
        npc.resample(chosen, spacing=5)


# Cut along z, y or x.


def uses(dataset, store, exported):
    """Everything that reads voxels of a cohort, by name."""
    return {
        "morphology": lambda: npc.morphology(dataset).compute(),
        "score": lambda: npc.score(dataset, store).compute(),
        "score of files": lambda: npc.score(dataset, exported).compute(),
        "lesions": lambda: npc.lesions(dataset, store),
        "resample": lambda: npc.resample(dataset, spacing=5).compute(),
    }


@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_cohort_is_refused_by_name(cut, dataset, store, exported):
    axis = next(iter(CUTS[cut]))
    small = dataset.isel(patient=[2])
    for whole in (dataset, small):
        for use in uses(whole.isel(CUTS[cut]), store, exported).values():
            with pytest.raises(ParameterError, match=f"cut along {axis}"):
                use()


@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_store_of_another_program_is_refused_where_a_scan_lacks_voxels(cut, dataset, store, exported):
    foreign = dataset.assign_coords(shape=dataset["shape"].drop_attrs())
    for use in uses(foreign.isel(CUTS[cut]), store, exported).values():
        with pytest.raises(ParameterError, match="was cut"):
            use()


def test_a_copy_of_a_cut_cohort_is_refused(store, tmp_path):
    xr.open_zarr(store, chunks=None).isel(y=slice(5, None)).to_zarr(tmp_path / "cut.zarr", consolidated=False)
    for opened in (npc.open, lambda url: xr.open_zarr(url, consolidated=False)):
        for whole in (opened(tmp_path / "cut.zarr"), opened(tmp_path / "cut.zarr").isel(patient=[1])):
            with pytest.raises(ParameterError, match="cut along y"):
                npc.morphology(whole).compute()


def test_slices_in_the_other_order_are_refused_where_their_positions_are_in_memory(store, exported):
    turned = npc.open(store).isel(z=slice(None, None, -1))
    for use in uses(turned, store, exported).values():
        with pytest.raises(ParameterError, match="turned round or cut along z"):
            use()


def test_padding_in_front_is_refused(dataset):
    padded = dataset.mask.pad(y=(5, 0), constant_values=0)
    with pytest.raises(ParameterError, match="padded along y"):
        npc.morphology(dataset.drop_dims(["z", "y", "x"]).assign(mask=padded)).compute()


def test_one_scan_may_be_cut_to_itself_and_to_nothing_else(dataset):
    expected = npc.morphology(dataset).volume.isel(patient=0, sequence=0).values
    one = dataset.isel(patient=0, sequence=0)
    own = {axis: slice(int(n)) for axis, n in zip("zyx", one["shape"].values, strict=True)}
    assert npc.morphology(one.isel(own)).volume.values == expected
    with pytest.raises(ParameterError, match="cut along x"):
        npc.morphology(one.isel(own).isel(x=slice(3, None))).compute()


@pytest.mark.parametrize("cut", [*CUTS.values(), {"y": slice(None, None, -1)}], ids=str)
def test_a_changed_scan_is_refused_where_a_measure_of_its_mask_takes_its_coordinates(cut, store, exported):
    scan = npc.open(store).npc.scan("002", "T1WI")
    for use in uses(scan, store, exported).values():
        use()
    for use in uses(scan.isel(cut), store, exported).values():
        with pytest.raises(ParameterError, match=f"turned round along {next(iter(cut))}.*measure_mask"):
            use()
    assert npc.measure_mask(scan.isel(cut).mask)["voxel_count"] > 0


def test_what_keeps_every_scan_in_its_place_is_measured(store, tmp_path):
    ds = npc.open(store)
    expected = npc.morphology(ds).volume.compute()
    joined = xr.concat([xr.open_zarr(store, chunks=None).isel(patient=part) for part in ([2], [0, 1])], "patient")
    np.testing.assert_array_equal(npc.morphology(joined).volume, expected.isel(patient=[2, 0, 1]))
    np.testing.assert_array_equal(npc.morphology(ds.assign(mask=ds.mask.copy(data=ds.mask.values))).volume, expected)
    coarse = npc.resample(ds, spacing=5)
    coarse.to_zarr(tmp_path / "coarse.zarr", consolidated=False)
    np.testing.assert_array_equal(
        npc.morphology(npc.open(tmp_path / "coarse.zarr")).volume, npc.morphology(coarse).volume
    )
    with pytest.raises(ParameterError, match="cut along z"):
        npc.morphology(coarse.isel(z=slice(1, None)))
    # padded behind to the size of a larger store and joined with it, in either order
    small = ds.isel(patient=[1]).assign_coords(patient=["004"])
    assert (small["shape"].max(["patient", "sequence"]) <= [15, 64, 64]).all()
    small = small.assign_coords(shape=small["shape"].assign_attrs(extent=[15, 64, 64]))
    for parts, places in (([ds, small], [0, 1, 2, 1]), ([small, ds], [1, 0, 1, 2])):
        found = npc.morphology(xr.concat(parts, "patient")).volume
        np.testing.assert_array_equal(found, expected.isel(patient=places))


def test_the_store_says_its_size_also_when_it_grows(tmp_path):
    layout = plan_layout([(4, 6, 8)], dtype="int16", codec="lz4")
    store = zarr.storage.LocalStore(tmp_path / "a.zarr")
    create(store, ["a"], ["T1WI"], layout, {})
    root = zarr.open_group(store, mode="r+", use_consolidated=False)
    assert list(root["shape"].attrs["extent"]) == list(root["mask"].shape[-3:]) == list(layout.extent_zyx)
    resize(root, patients=["a", "b"], sequences=["T1WI"], extent_zyx=(9, 16, 8))
    assert list(root["shape"].attrs["extent"]) == list(root["mask"].shape[-3:]) == [9, 16, 8]
    root["shape"].attrs["extent"] = [10, 16, 8]  # a part that was cut out of another store
    resize(root, patients=["a", "b", "c"], sequences=["T1WI"], extent_zyx=(9, 16, 8))
    assert list(root["shape"].attrs["extent"]) == [10, 16, 8]


# Masks that were computed.


def test_booleans_hold_one_structure(labelled):
    ds = npc.open(labelled)
    expected = npc.morphology(ds).compute()
    node = ds.mask == 2
    assert node.attrs.get("flag_meanings") in (None, "background tumor node")
    found = npc.morphology(ds.assign(mask=node.assign_attrs(ds.mask.attrs))).compute()
    assert found.volume.dims == ("patient", "sequence")
    np.testing.assert_array_equal(found.volume, expected.volume.sel(label="node"))
    with pytest.raises(ParameterError, match="hold booleans, and so no labels"):
        npc.morphology(ds.assign(mask=node.assign_attrs(ds.mask.attrs)), label="node")
    scan = ds.npc.scan("001", "T1WI")
    any_label = (scan.mask > 0).assign_attrs(scan.mask.attrs)
    assert npc.measure_mask(any_label)["voxel_count"] == int((scan.mask > 0).sum())
    assert npc.compare_masks(scan.mask, (scan.mask == 2).values, label="node")["dice"] == 1
    assert npc.compare_masks((scan.mask == 2).values, scan.mask, label="node")["dice"] == 1
    tumors = ds.assign(mask=ds.mask > 0).isel(patient=[0], sequence=[0])
    with pytest.warns(UserWarning, match=r"prediction 001/T1WI: labels 1 \(.*\) and 2 \(50 voxels\) merged to tumor"):
        found = npc.lesions(tumors, labelled.parent / "data")
    assert len(npc.compare_lesions(any_label, any_label)) == len(found)


@pytest.mark.parametrize("changed", ["255", "3", "float"])
def test_values_that_no_label_has_are_refused(changed, labelled):
    ds = npc.open(labelled)
    mask = {
        "255": (ds.mask > 0).astype("uint8") * np.uint8(255),
        "3": ds.mask + np.uint8(1),
        "float": ds.mask.astype(float),
    }[changed].assign_attrs(ds.mask.attrs)
    words = "found float64" if changed == "float" else f"holds the value {changed}, which none of its labels"
    for use in (
        lambda: npc.morphology(ds.assign(mask=mask)).compute(),
        lambda: npc.morphology(ds.assign(mask=mask), label="node").compute(),
        lambda: npc.score(ds.assign(mask=mask), labelled).compute(),
        lambda: npc.lesions(ds.assign(mask=mask), labelled),
        lambda: npc.measure_mask(mask.isel(patient=0, sequence=0), spacing=1, label="tumor"),
    ):
        with pytest.raises(ParameterError, match=words):
            use()


@pytest.mark.parametrize("label", [None, "tumor"])
def test_any_value_above_0_is_the_only_label(label, store):
    ds = npc.open(store)
    expected = npc.morphology(ds).volume.values
    for mask in (ds.mask * np.uint8(255), ds.mask > 0, ds.mask.astype("int16") * 300):
        changed = ds.assign(mask=mask.assign_attrs(ds.mask.attrs))
        np.testing.assert_array_equal(npc.morphology(changed, label=label).volume.values, expected)
        assert (npc.score(changed, store, label=label).dice == 1).all()
        one = changed.mask.isel(patient=0, sequence=0)
        assert npc.measure_mask(one, spacing=1, label=label)["voxel_count"] > 0
    floats = ds.assign(mask=(ds.mask * 0.7).assign_attrs(ds.mask.attrs))
    with pytest.raises(ParameterError, match="found float64; choose the threshold yourself"):
        npc.morphology(floats, label=label)


def test_a_scan_without_a_mask_is_told_from_an_empty_one_by_the_digest(cohort, tmp_path):
    shutil.copytree(cohort / "primary_data", tmp_path / "data")
    absent = next((tmp_path / "data").rglob("002/ROI-T2.nii"))
    absent.unlink()
    npc.convert(tmp_path / "data", tmp_path / "a.zarr", workers=0)
    for opened in OPENED.values():
        ds = opened(tmp_path / "a.zarr")
        found = npc.morphology(ds[["mask", "shape", "spacing", "mask_digest"]]).volume.sel(
            patient="002", sequence="T2WI"
        )
        assert np.isnan(found.values)
        with pytest.warns(UserWarning, match="neither mask_status nor mask_digest"):
            npc.morphology(ds[["mask", "shape", "spacing"]])


# Kept by workers, one scan of lazy tables, none at all.


def test_a_cohort_that_workers_hold_is_measured(store, exported, raters):
    program = f"""
import numpy as np, xarray as xr, npczarr as npc
from distributed import Client
expected = float(npc.morphology(npc.open({str(store)!r})).volume.sum())
with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None):
    for opened in (npc.open, xr.open_zarr):
        ds = opened({str(store)!r}).persist()
        for mask in (ds.mask, ds.mask > 0, ds.mask.chunk(patient=2)):
            assert float(npc.morphology(ds.assign(mask=mask)).volume.sum()) == expected
        assert len(npc.morphology(ds.isel(patient=[2, 0])).persist().volume.values) == 2
        assert (npc.score(ds, {str(exported)!r}).dice == 1).all()
        assert (npc.score(ds, {str(store)!r}).dice == 1).all()
        assert (npc.agreement(opened({str(raters)!r}).persist()).dice > 0).any()
        lazy = npc.resample(opened({str(store)!r}), like="T1WI", window=60)
        assert np.isfinite(npc.morphology(lazy.persist()).volume.values).all()
        assert np.isfinite(npc.morphology(npc.resample(ds, spacing=5)).volume.values).all()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_one_scan_of_lazy_tables_is_as_in_the_cohort(dataset, store, exported, raters):
    chunked = dataset.chunk(patient=1, sequence=1)
    for one in (chunked.isel(patient=1, sequence=0), chunked.sel(patient=["002"], sequence=["T1WI"]).squeeze()):
        place = {"patient": "002", "sequence": "T1WI"}
        assert npc.morphology(one).volume.values == npc.morphology(dataset).volume.sel(place).values
        assert npc.score(one, store).dice.values == 1
        assert npc.score(one, exported).dice.values == 1
        assert set(npc.lesions(one, store).sequence) == {"T1WI"}
        found, expected = npc.resample(one, spacing=5), npc.resample(dataset, spacing=5)
        n = found.sizes
        assert int(found.mask.sum()) == int(expected.mask.sel(place).sum())
        assert str(found.load().status.values) == str(expected.status.sel(place).values)
        assert n["z"] <= expected.sizes["z"]
    two = xr.open_zarr(raters)
    one = two.chunk(patient=1, sequence=1).isel(patient=0, sequence=0)
    assert npc.agreement(one).dice.values == npc.agreement(two).dice.isel(patient=0, sequence=0).values


@pytest.mark.parametrize("dim", ["patient", "sequence"])
def test_no_scan_gives_no_numbers(dim, dataset, store, exported):
    none = dataset.isel({dim: []})
    for predictions in (store, exported):
        assert npc.score(none, predictions).compute().sizes[dim] == 0
        assert npc.lesions(none, predictions).empty
    assert npc.morphology(none).compute().sizes[dim] == 0


# What lacks something.


def test_what_is_not_a_cohort_is_refused_in_words(dataset, store):
    renamed = dataset.rename(z="slice")
    for use in (npc.morphology, lambda ds: npc.lesions(ds, store), lambda ds: npc.resample(ds, spacing=5)):
        with pytest.raises(ParameterError, match="expected the dimensions z, y and x, found patient, sequence, slice"):
            use(renamed)
    with pytest.raises(ParameterError, match="no 'mask'"):
        npc.lesions(dataset.drop_vars("mask"), store)
    with pytest.raises(ParameterError, match="no 'rescale_slope'"):
        npc.resample(dataset.drop_vars("rescale_slope"), spacing=5)
    with pytest.raises(ParameterError, match="more than once"):
        npc.resample(dataset.isel(sequence=[0, 0, 1]), like="T1WI", window=60)
    with dask.config.set(scheduler="synchronous"):
        for name in ("message", "mask_status", "image_digest", "mask_digest"):
            found = npc.resample(dataset.drop_vars(name), spacing=5)
            assert (found.source_digest == "").all(), name
            assert int(found.mask.sum()) > 0


def test_one_sequence_or_patient_is_looked_at_as_several(dataset):
    pytest.importorskip("matplotlib")
    for place in ({"sequence": "T1WI"}, {"patient": "001"}, {"patient": "001", "sequence": "T1WI"}):
        one = dataset.sel(place)
        flags = npc.quality(npc.morphology(one))
        assert not flags.volumes_disagree.any()
        npc.figures.resolution(one)


def test_a_scan_that_was_moved_out_of_its_place_is_refused_where_its_mask_is_cut(store):
    ds = npc.open(store)
    room = (ds.sizes["x"] - ds.shape.sel(axis="x", drop=True)).where(ds.mask_voxels > 0, 0).values
    assert room.max() > 0  # some scan is smaller than the largest
    with pytest.raises(ParameterError, match=r"has voxels of its mask outside of them: the Dataset was turned round"):
        npc.morphology(ds.roll(x=-int(ds.sizes["x"] // 2), roll_coords=False)).volume.compute()
    moved = npc.morphology(ds.isel(y=slice(None)).roll(patient=1, roll_coords=True)).volume.compute()
    xr.testing.assert_allclose(moved.sortby("patient"), npc.morphology(ds).volume.compute().sortby("patient"))
