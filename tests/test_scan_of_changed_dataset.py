"""``ds.npc`` of Datasets that were relabeled, joined, laid out anew or changed in place gives what was asked for."""

import shutil
import warnings

import numpy as np
import pytest
import xarray as xr
import zarr

import npczarr as npc
from npczarr.errors import ParameterError, StoreError, UnknownLabelError
from npczarr.model.review import Mark
from npczarr.store.chunks import digest
from npczarr.store.location import locate
from npczarr.store.review import Review

pytestmark = pytest.mark.slow  # opens stores, many times

pytest.importorskip("matplotlib")

OPENED = {
    "npczarr.open": npc.open,
    "xr.open_zarr": xr.open_zarr,
    "xr.open_zarr, without Dask": lambda url: xr.open_zarr(url, chunks=None),
}
FIRST, *OTHERS = OPENED
PATIENTS, SEQUENCES = ("001", "002", "003"), ("T1WI", "T2WI", "CE-T1WI")
NOT_KNOWN = "nothing tells whether the {} was cut, moved or replaced"


@pytest.fixture(params=[FIRST, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def opened(request):
    return OPENED[request.param]


@pytest.fixture(scope="module")
def scans(store):
    """Every scan as it was stored."""
    ds = npc.open(store)
    return {(p, s): ds.npc.scan(p, s).load() for p in PATIENTS for s in SEQUENCES}


@pytest.fixture(scope="module")
def other_store(tmp_path_factory):
    """A store of other people who have the same labels."""
    folder = tmp_path_factory.mktemp("other")
    npc.make_cohort(folder / "cohort", patients=3, seed=1, workers=0)
    npc.convert(folder / "cohort/primary_data", folder / "other.zarr", workers=0)
    return folder / "other.zarr"


def assert_scan(found, expected):
    """Voxels and tables are those of one scan, whatever it is called."""
    labels = ["patient", "sequence"]
    found, expected = found.load().drop_vars(labels), expected.drop_vars(labels)
    assert (found.image.dtype, found.mask.dtype) == (expected.image.dtype, expected.mask.dtype)
    xr.testing.assert_equal(found.drop_vars("scan", errors="ignore"), expected)


def shown(figure):
    return [axes.get_images()[0].get_array() for axes in figure.axes]


def assert_same_plot(found, expected):
    for one, other in zip(shown(found), shown(expected), strict=True):
        np.testing.assert_array_equal(one, other)


# Changed in place


@pytest.mark.parametrize("name", ["image", "mask"])
def test_voxels_assigned_in_place_are_those_of_the_next_scan(opened, name, store, scans):
    ds = opened(store)
    assert_scan(ds.npc.scan("002", "T1WI"), scans["002", "T1WI"])
    ds[name] = xr.zeros_like(ds[name])
    with pytest.raises(StoreError, match=f"002/T1WI: {name} does not match its digest"):
        ds.npc.scan("002", "T1WI")[name].load()
    del ds[f"{name}_digest"]
    with pytest.warns(UserWarning, match=NOT_KNOWN.format(name)):
        scan = ds.npc.scan("002", "T1WI").load()
    assert not scan[name].any()
    kept = "mask" if name == "image" else "image"
    np.testing.assert_array_equal(scan[kept], scans["002", "T1WI"][kept])


def test_values_set_in_place_are_those_of_the_next_scan(opened, store):
    ds = opened(store).drop_vars("mask_digest")
    assert ds.npc.scan("002", "T1WI").mask.any()
    for value in (200.0, 201.0):
        ds["age"][{"patient": 1}] = value
        assert float(ds.npc.scan("002", "T1WI").age) == value
    ds["mask"][{"patient": 1, "sequence": 0}] = 0
    with pytest.warns(UserWarning, match=NOT_KNOWN.format("mask")):
        scan = ds.npc.scan("002", "T1WI")
    assert not scan.mask.any()


def test_labels_assigned_in_place_are_those_of_the_next_scan(opened, store, scans):
    ds = opened(store)
    ds.npc.scan("001", "T1WI")
    ds["patient"] = ["B", "001", "002"]
    assert_scan(ds.npc.scan("001", "T2WI"), scans["002", "T2WI"])
    with pytest.raises(UnknownLabelError, match="no patient '003'"):
        ds.npc.scan("003", "T2WI")


def test_a_scan_is_no_view_of_the_cohort(opened, store):
    ds = opened(store)
    affine = ds.affine.values.copy()
    ds.npc.scan("002", "T1WI").affine[:] = 0
    np.testing.assert_array_equal(ds.npc.scan("002", "T1WI").affine, affine[1, 0])


# Other labels


@pytest.mark.parametrize(
    "labels", [["003", "001", "002"], ["A", "B", "C"], [1, 2, 3], [1.5, 2.5, 3.5]], ids=lambda labels: str(labels[0])
)
def test_voxels_and_tables_of_new_labels_are_of_one_scan(opened, labels, store, scans):
    ds = opened(store).assign_coords(patient=labels)
    expected = opened(store)
    for new, old in zip(labels, PATIENTS, strict=True):
        scan = ds.npc.scan(new, "T2WI")
        assert scan.patient == new
        assert_scan(scan, scans[old, "T2WI"])
        assert_same_plot(ds.npc.plot(new), expected.npc.plot(old))


def test_a_slice_of_a_scan_with_a_new_label_reads_no_more_than_it_needs(store, monkeypatch):
    ds = npc.open(store).assign_coords(patient=["A", "B", "C"])
    read = []
    original = npc.store.scans.StoredScan.image
    monkeypatch.setattr(
        npc.store.scans.StoredScan, "image", lambda scan, window: read.append(window) or original(scan, window)
    )
    ds.npc.scan("B", "T1WI").image[3].load()
    assert [window[0] for window in read] == [slice(3, 4)]


def test_a_number_finds_no_label_that_is_text(store):
    with pytest.raises(UnknownLabelError, match="did you mean '002'"):
        npc.open(store).npc.scan(2, "T1WI")


def test_tables_that_were_moved_against_the_voxels_are_an_error(opened, store):
    ds = opened(store)
    moved = [name for name, variable in ds.variables.items() if "patient" in variable.dims and variable.ndim < 5]
    tables = {name: ds.variables[name][[1, 0, 2]] for name in moved if name != "patient"}
    with pytest.raises(StoreError, match="001/T1WI: image does not match its digest"):
        ds.assign(tables).npc.scan("001", "T1WI").load()


# Other dimensions


def one_sequence_each(ds):
    return ds.isel(sequence=xr.DataArray([2, 0, 1], dims="patient")), dict(zip(PATIENTS, (2, 0, 1), strict=True))


def some_scans(ds):
    places = {"patient": [2, 0, 1], "sequence": [0, 0, 2]}
    return ds.isel({dim: xr.DataArray(at, dims="scan") for dim, at in places.items()}), {"003": 0, "001": 0, "002": 2}


@pytest.mark.parametrize("selected", [one_sequence_each, some_scans])
def test_labels_that_lie_along_another_dimension_are_found_together(opened, selected, store, scans):
    ds, known = selected(opened(store))
    for patient, place in known.items():
        for sequence in SEQUENCES:
            if sequence == SEQUENCES[place]:
                assert_scan(ds.npc.scan(patient, sequence), scans[patient, sequence])
                assert_same_plot(ds.npc.plot(patient), opened(store).npc.plot(patient, sequences=sequence))
            else:
                with pytest.raises(UnknownLabelError, match=f"no sequence '{sequence}' in the Dataset"):
                    ds.npc.scan(patient, sequence)
                with pytest.raises(UnknownLabelError, match=f"no sequence '{sequence}' in the Dataset"):
                    ds.npc.plot(patient, sequences=[sequence])
    with pytest.raises(ParameterError, match=r"'\w+' lies along (patient|scan), and the table needs"):
        ds.npc.table()


def test_stacked_scans_are_found(opened, store, scans):
    ds = opened(store).stack(scan=("patient", "sequence"))
    chosen = ds.isel(scan=[7, 1, 3])
    assert_scan(ds.npc.scan("003", "T2WI"), scans["003", "T2WI"])
    assert_scan(chosen.npc.scan("001", "T2WI"), scans["001", "T2WI"])
    with pytest.raises(UnknownLabelError, match="no sequence 'T1WI' in the Dataset for patient '001', which has T2WI"):
        chosen.npc.scan("001", "T1WI")
    assert len(ds.npc.plot("002").axes) == 3


def test_labels_that_do_not_tell_one_scan_are_refused(store):
    ds = npc.open(store).drop_vars("sequence").rename_dims(sequence="series").assign_coords(sequence="T1WI")
    with pytest.raises(ParameterError, match=r"001/T1WI: .* 'shape' is also on series"):
        ds.npc.scan("001", "T1WI")


# Several scans of one label


def test_of_one_scan_several_times_the_first_is_taken(opened, store, scans):
    ds = opened(store).isel(patient=[1, 0, 1])
    assert_scan(ds.npc.scan("002", "T1WI"), scans["002", "T1WI"])
    assert len(ds.npc.plot("002").axes) == 3


def test_of_several_scans_with_one_label_none_is_taken(opened, store, other_store, scans):
    both = xr.concat([opened(store), opened(other_store).isel(patient=[1])], "patient")
    assert_scan(both.npc.scan("001", "T1WI"), scans["001", "T1WI"])
    for call in (lambda: both.npc.scan("002", "T1WI"), lambda: both.npc.plot("002")):
        with pytest.raises(ParameterError, match=r"2 scans of the Dataset have these labels.*isel"):
            call()
    twice = opened(store).isel(patient=[1, 0, 1]).drop_vars("image_digest")
    with pytest.raises(ParameterError, match="not known to be the same"):
        twice.npc.scan("002", "T1WI")
    moved = opened(store).isel(patient=[1, 0, 1]).load()
    moved["affine"][{"patient": 0}] += 1
    with pytest.raises(ParameterError, match="not known to be the same"):
        moved.npc.scan("002", "T1WI")


# Values that were replaced


@pytest.mark.parametrize("name", ["image", "mask"])
def test_values_that_were_replaced_are_never_cast_with_loss(opened, name, store, scans):
    ds = opened(store).load()
    new = ds[name].values / np.float32(4000)
    ds[name] = ds[name].copy(data=new)  # keeps the encoding
    ds = ds.drop_vars(f"{name}_digest")
    with pytest.warns(UserWarning, match=NOT_KNOWN.format(name)):
        scan = ds.npc.scan("003", "T2WI")
    expected = scans["003", "T2WI"][name].values / np.float32(4000)
    assert scan[name].dtype == np.float32
    np.testing.assert_array_equal(scan[name], expected)
    assert (scan[name] != 0).any()


@pytest.mark.parametrize(
    ("change", "dtype"),
    [(lambda v: v + 1.0, "int16"), (lambda v: np.where(v > 0, v, np.nan), "float64"),
     (lambda v: v.astype(np.int64) + 70000, "int64"), (lambda v: v.astype(np.int64) + 1, "int16"),
     (lambda v: v * np.inf, "float64")],
)  # fmt: skip
def test_the_stored_type_is_kept_where_it_holds_every_value(change, dtype, store, scans):
    ds = npc.open(store).isel(patient=[1]).load()
    old = scans["002", "T1WI"].image.values.astype(np.float64)
    z, y, x = old.shape
    values = np.zeros(ds.image.shape)
    values[0, 0, :z, :y, :x] = old
    with np.errstate(invalid="ignore"):
        new, expected = change(values), change(old)
    ds["image"] = ds.image.copy(data=new)
    with pytest.warns(UserWarning, match="image"):
        found = ds.drop_vars("image_digest").npc.scan("002", "T1WI").image
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)


def test_a_digest_gives_back_the_stored_type(opened, store, scans):
    ds = opened(store).isel(patient=[1, 2])
    assert_scan(ds.npc.scan("003", "CE-T1WI"), scans["003", "CE-T1WI"])
    wide = ds.load()
    wide["image"] = wide.image.copy(data=np.nan_to_num(wide.image.values, nan=-1).astype(np.int64))
    np.testing.assert_array_equal(wide.npc.scan("003", "CE-T1WI").image, scans["003", "CE-T1WI"].image)


def test_a_mask_whose_background_was_decoded_to_nan_matches_its_digest(store, scans):
    ds = npc.open(store).load()
    ds["mask"] = ds.mask.where(ds.mask != 0)
    ds.mask.encoding |= {"_FillValue": 0, "dtype": np.dtype("uint8")}
    assert_scan(ds.npc.scan("002", "T1WI"), scans["002", "T1WI"])


# Cut without a digest


def test_voxels_of_which_nothing_is_known_are_given_with_a_warning(opened, store, scans):
    ds = opened(store)
    sizes = ds["shape"].max(["patient", "sequence"]).values
    small = min(scans, key=lambda key: scans[key].sizes["y"])
    assert scans[small].sizes["y"] < sizes[1]
    cut = ds.isel(y=slice(1, None)).drop_vars(["image_digest", "mask_digest"])
    with pytest.warns(UserWarning, match="nothing tells") as told:
        scan = cut.npc.scan(*small)
    assert [str(one.message) for one in told] == [
        f"{'/'.join(small)}: {NOT_KNOWN.format(name)}, for the Dataset has no {name}_digest; it is given as the "
        f"Dataset holds it. Keep {name}_digest where it is as it was stored"
        for name in ("image", "mask")
    ]
    assert {one.filename for one in told} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        again = cut.npc.scan(*small)
    xr.testing.assert_identical(scan.load(), again.load())


def test_a_digest_that_was_emptied_is_none(store, scans):
    ds = npc.open(store).isel(patient=[1, 2]).load()
    ds["image_digest"][{"patient": 0}] = ""
    assert_scan(ds.npc.scan("003", "T1WI"), scans["003", "T1WI"])
    with pytest.warns(UserWarning, match=NOT_KNOWN.format("image")):
        ds.npc.scan("002", "T1WI")


def test_what_is_as_it_was_opened_is_read_from_the_store_without_digests_too(opened, store, scans):
    ds = opened(store).drop_vars(["image_digest", "mask_digest"])
    found = ds.npc.scan("002", "T1WI").load()
    for name in ("image", "mask"):
        np.testing.assert_array_equal(found[name], scans["002", "T1WI"][name])
        assert found[name].dtype == scans["002", "T1WI"][name].dtype


# Some of the raters


@pytest.mark.parametrize("chosen", ["rater2", ["rater2"], ["rater2", "rater1"]], ids=str)
def test_some_raters_are_read_and_checked(opened, chosen, raters):
    whole = npc.open(raters).npc.scan("001", "T2WI").load()
    ds = opened(raters).sel(rater=chosen)
    found = ds.npc.scan("001", "T2WI").load()
    np.testing.assert_array_equal(found.mask, whole.sel(rater=chosen).mask)
    assert found.mask.dtype == np.uint8
    names = [chosen] if isinstance(chosen, str) else chosen
    assert str(np.atleast_1d(found.rater.values).tolist()) == str(names)
    assert len(ds.npc.plot("001").axes) == 3
    changed = ds.load()
    changed["mask"] = 1 - changed.mask
    with pytest.raises(StoreError, match="001/T2WI: mask does not match its mask in the store"):
        changed.npc.scan("001", "T2WI").mask.load()


def test_a_rater_whose_label_was_dropped_is_read_and_checked(opened, raters):
    whole = npc.open(raters).npc.scan("001", "T2WI").load()
    ds = opened(raters).isel(rater=1, drop=True)
    np.testing.assert_array_equal(ds.npc.scan("001", "T2WI").mask, whole.mask[1])
    changed = ds.load()
    changed["mask"] = 1 - changed.mask
    with pytest.raises(StoreError, match="001/T2WI: mask does not match its mask in the store"):
        changed.npc.scan("001", "T2WI").mask.load()


def test_some_raters_of_a_cut_dataset_are_an_error(opened, raters):
    ds = opened(raters)
    small = ds.isel(rater=0, y=slice(1, None), patient=[0])
    scan = npc.open(raters).npc.scan("001", "T2WI")
    if small.sizes["y"] < scan.sizes["y"]:
        with pytest.raises(ParameterError, match="cut along y"):
            small.npc.scan("001", "T2WI")
    padded = ds.isel(rater=0, patient=[0]).pad(y=(1, 0), mode="edge")
    with pytest.raises(StoreError, match="does not match"):
        padded.npc.scan("001", "T2WI").mask.load()


def test_a_rater_whose_store_is_gone_is_given_with_a_warning(raters, tmp_path):
    ds = npc.open(raters).load()
    expected = npc.open(raters).npc.scan("001", "T2WI").mask.values
    for source in (None, str(tmp_path / "nothing.zarr"), __file__):
        ds.encoding = {} if source is None else {"source": source}
        np.testing.assert_array_equal(ds.npc.scan("001", "T2WI").mask, expected)  # of all raters the digest tells
        with pytest.warns(UserWarning, match=r"digest is of the masks of all raters"):
            scan = ds.isel(rater=1).npc.scan("001", "T2WI")
        np.testing.assert_array_equal(scan.mask, expected[1])
        with pytest.raises(StoreError, match="raters were left out or put in another order"):
            ds.isel(rater=[1, 0]).npc.scan("001", "T2WI").mask.load()


# The table


def test_marks_of_a_review_are_on_the_scans_that_were_seen(opened, store, other_store, tmp_path):
    for name, url in (("one", store), ("other", other_store)):
        shutil.copytree(url, tmp_path / name)
    Review(locate(tmp_path / "one")).keep([Mark("002", "T1WI", "exclude", "artifact"), Mark("003", "T2WI", "accept")])
    both = xr.concat([opened(tmp_path / "one"), opened(tmp_path / "other")], "patient")
    table = both.npc.table()
    marked = table.index[table["review.decision"].notna()]
    assert table.loc[marked, ["patient", "sequence", "review.decision"]].values.tolist() == [
        ["002", "T1WI", "exclude"],
        ["003", "T2WI", "accept"],
    ]
    assert marked.max() < 9  # the rows of the first store
    ds = opened(tmp_path / "one").load()
    ds["image_digest"][{"patient": 1, "sequence": 0}] = digest(np.zeros(3))
    table = ds.npc.table().set_index(["patient", "sequence"])["review.decision"]
    assert table["002", "T1WI"] is None
    assert table["003", "T2WI"] == "accept"
    assert not any(name.startswith("review.") for name in ds.drop_vars("image_digest").npc.table())


def test_a_mark_counts_again_for_a_scan_with_another_place(opened, store, tmp_path):
    shutil.copytree(store, tmp_path / "one")
    Review(locate(tmp_path / "one")).keep([Mark("002", "T1WI", "accept")])
    table = opened(tmp_path / "one").isel(patient=[2, 1], sequence=[1, 0]).npc.table()
    assert table["review.decision"].tolist() == [None, None, None, "accept"]


def test_the_table_of_one_scan_without_dimensions(opened, store):
    ds = opened(store)
    table = ds.sel(patient=["002"], sequence=["T1WI"]).squeeze().npc.table()
    expected = ds.npc.table().query("patient == '002' and sequence == 'T1WI'").reset_index(drop=True)
    assert table.astype(object).equals(expected[table.columns].astype(object))


def test_a_scan_that_was_replaced_after_the_dataset_was_opened_is_an_error(opened, store, tmp_path):
    shutil.copytree(store, tmp_path / "s.zarr")
    ds = opened(tmp_path / "s.zarr")
    ds = ds.assign({name: ds[name].load() for name in ds.variables if name not in ("image", "mask")})
    root = zarr.open_group(tmp_path / "s.zarr", mode="r+", use_consolidated=False)
    z, y, x = ds["shape"].values[0, 0]
    root["mask"][0, 0, :z, :y, :x] = 1
    root["mask_digest"][0, 0] = digest(np.ones((z, y, x), dtype=np.uint8))
    with pytest.raises(StoreError, match=r"001/T1WI.*(digest|changed)"):
        ds.npc.scan("001", "T1WI").load()
