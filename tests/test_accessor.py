"""``ds.npc``: scans, the table and the picture of a patient."""

import itertools
import shutil

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import npczarr as npc
from npczarr.errors import MissingStoreError, UnknownLabelError
from npczarr.store.chunks import digest

matplotlib = pytest.importorskip("matplotlib")

#: What stands left, right, at the top and at the bottom of the paper, and the LPS of a point as drawn, by slice normal.
PAPER = {
    2: ("R", "L", "A", "P", lambda p: (p[0], p[1])),
    1: ("R", "L", "S", "I", lambda p: (p[0], -p[2])),
    0: ("A", "P", "S", "I", lambda p: (p[1], -p[2])),
}


@pytest.fixture(scope="module")
def measured(store, tmp_path_factory):
    """A copy of the store with results beside it."""
    url = tmp_path_factory.mktemp("measured") / "cohort.zarr"
    shutil.copytree(store, url)
    npc.measure_store(url, "morphology")
    npc.measure_store(url, "score", predictions=url, name="same")
    return url


def cohort_of(image, mask, affine, sequences=("T1WI",), **tables):
    """A cohort of one patient in memory; every sequence has the same voxels."""
    n = len(sequences)
    scan = ("patient", "sequence")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    dataset = xr.Dataset(
        {
            "image": ((*scan, "z", "y", "x"), np.broadcast_to(image, (1, n, *image.shape))),
            "mask": ((*scan, "z", "y", "x"), np.broadcast_to(mask, (1, n, *mask.shape))),
        },
        coords={
            "patient": ["012"],
            "sequence": list(sequences),
            "axis": ["z", "y", "x"],
            "status": (scan, np.full((1, n), "ok")),
            "shape": ((*scan, "axis"), np.broadcast_to(np.array(image.shape, np.int32), (1, n, 3))),
            "spacing": ((*scan, "axis"), np.broadcast_to(spacing, (1, n, 3))),
            "affine": ((*scan, "affine_row", "affine_column"), np.broadcast_to(affine, (1, n, 4, 4))),
        },
    )
    digests = {"image_digest": digest(image), "mask_digest": digest(mask)}
    dataset = dataset.assign({name: (scan, np.full((1, n), value)) for name, value in digests.items()})
    return dataset.assign({name: (("patient",), [value]) for name, value in tables.items()})


def outline_of(axes):
    """The path of the outline that is drawn."""
    from matplotlib.contour import QuadContourSet

    (lines,) = [child for child in axes.get_children() if isinstance(child, QuadContourSet)]
    return lines.get_paths()[0]


def shown_at(axes, x, y):
    """The value of the image that is drawn at a place."""
    (picture,) = axes.get_images()
    left, right, bottom, top = picture.get_extent()
    values = picture.get_array()
    rows, columns = values.shape
    return values[int((y - top) / (bottom - top) * rows), int((x - left) / (right - left) * columns)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_what_is_drawn_lies_where_the_affine_puts_it_in_all_eight_flips(order):
    rng = np.random.default_rng(0)
    shape_zyx, lengths_xyz = (5, 9, 12), (0.7, 1.3, 3.0)
    image = rng.permutation(int(np.prod(shape_zyx))).reshape(shape_zyx).astype(np.int16)
    mask = np.zeros(shape_zyx, np.uint8)
    mask[3, 2:5, 6:11] = mask[3, 5, 6] = 1  # an L: no flip or turn of it is itself
    mask[3, 0, 0] = 1  # at the corner, where an outline must be closed
    left, right, top, bottom, on_paper = PAPER[order[2]]
    for flips in itertools.product((1, -1), repeat=3):
        affine = np.eye(4)
        affine[:3, :3] = 0
        for axis, (to, sign, length) in enumerate(zip(order, flips, lengths_xyz, strict=True)):
            affine[to, axis] = sign * length
        affine[:3, 3] = (-20, 15, 40)
        axes = cohort_of(image, mask, affine).npc.plot("012").axes[0]
        outline = outline_of(axes)
        for y, x in np.ndindex(shape_zyx[1:]):
            place = on_paper((affine @ (x, y, 3, 1))[:3])
            assert outline.contains_point(place) == bool(mask[3, y, x])
            assert shown_at(axes, *place) == image[3, y, x]
        (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
        assert (x0 < x1, y0 > y1, axes.get_aspect()) == (True, True, 1)
        letters = {
            text.get_text(): text.get_position() for text in axes.texts if text.get_text() in (left, right, top, bottom)
        }
        assert letters[left][0] < letters[right][0]
        assert letters[bottom][1] < letters[top][1]


def test_a_selection_that_turns_an_axis_round_is_drawn_the_same(store):
    scan = npc.open(store).npc.scan("002", "T1WI").load()
    whole = scan.npc.plot(slice=6).axes[0]
    turned = scan.isel(y=slice(None, None, -1), x=slice(None, None, -1)).npc.plot(slice=6).axes[0]
    np.testing.assert_array_equal(whole.get_images()[0].get_array(), turned.get_images()[0].get_array())
    np.testing.assert_allclose(whole.get_images()[0].get_extent(), turned.get_images()[0].get_extent())


@pytest.mark.parametrize("chosen", [slice(None), slice(2, 9), slice(None, None, -1), slice(1, None, 3)])
def test_the_affine_of_a_part_is_where_its_voxels_are(store, chosen):
    ds = npc.open(store)
    scan = ds.npc.scan("002", "T1WI")
    part = scan.isel(z=chosen, y=chosen, x=slice(3, 7))
    at = np.arange(200)
    for voxel in ((0, 0, 0), (1, 1, 2)):
        z, y, x = voxel
        before = (at[: scan.sizes["z"]][chosen][z], at[: scan.sizes["y"]][chosen][y], 3 + x)
        expected = scan.affine.values @ [*before[::-1], 1]
        np.testing.assert_allclose(part.npc.affine @ [x, y, z, 1], expected, atol=1e-9)
    if chosen == slice(None):
        np.testing.assert_array_equal(scan.npc.affine, scan.affine)
    with pytest.raises(npc.ParameterError, match=r"is of one scan: ds.npc.scan"):
        _ = ds.npc.affine


@pytest.mark.slow
def test_a_resampled_scan_of_whole_numbers_says_where_nothing_was_measured(store, tmp_path):
    npc.resample_store(store, tmp_path / "t.zarr", like="T1WI", spacing=(4, 2, 2), purpose="training", workers=0)
    ds, exact = npc.open(tmp_path / "t.zarr"), npc.resample(npc.open(store), like="T1WI", spacing=(4, 2, 2))
    scan, real = (ds.npc.scan("001", "T2WI", real=is_real).image for is_real in (False, True))
    outside = np.isnan(exact.npc.scan("001", "T2WI").image.values)
    middle = len(outside) // 2
    assert 0 < outside[middle].sum() < outside[middle].size
    assert scan.attrs["_FillValue"] == -32768
    np.testing.assert_array_equal(scan.values == -32768, outside)
    np.testing.assert_array_equal(np.isnan(real.values), outside)
    assert "_FillValue" not in real.attrs
    assert "_FillValue" not in npc.open(store).npc.scan("001", "T2WI").image.attrs
    shown = ds.npc.scan("001", "T2WI").npc.plot(slice=middle, percentiles=(0, 100)).axes[0].get_images()[0]
    assert shown.norm.vmin == scan.values[middle][~outside[middle]].min()


def test_the_slice_with_the_largest_tumor_is_shown_at_one_level(store):
    ds = npc.open(store)
    figure = ds.npc.plot("002")
    assert len(figure.axes) == 3
    areas, places = {}, {}
    for sequence in ds.sequence.values:
        scan = ds.npc.scan("002", sequence)
        area = scan.mask.sum(("y", "x")) * float(scan.spacing[1] * scan.spacing[2])
        areas[sequence], places[sequence] = float(area.max()), scan.z.values[int(area.argmax("z"))]
    largest = max(areas, key=areas.get)
    title = figure.get_suptitle()
    assert title.startswith("Patient 002, T")
    assert "slice" not in title  # each panel has its own
    for axes, sequence in zip(figure.axes, ds.sequence.values, strict=True):
        shown = float(axes.get_title("left").rpartition("z = ")[2].removesuffix(" mm"))
        spacing = float(ds.npc.scan("002", sequence).spacing[0])
        assert abs(shown - places[largest]) <= spacing / 2 + 0.06


def test_a_slice_is_chosen_by_its_number_or_its_position(store):
    ds = npc.open(store)
    scan = ds.npc.scan("001", "T2WI").load()
    for chosen in (3, float(scan.z[3]), np.int64(3), float(scan.z[3]) + 0.4 * float(scan.spacing[0])):
        axes = ds.npc.plot("001", chosen, "T2WI").axes[0]
        assert axes.get_title("left") == f"T2WI\nslice 4 of {scan.sizes['z']}, z = {float(scan.z[3]):.1f} mm"
        values = np.sort(axes.get_images()[0].get_array().ravel())
        np.testing.assert_array_equal(values, np.sort(scan.image.values[3].ravel()))
    for wrong, words in (
        (99, "expected 0 to"), (-1, "expected 0 to"), (900.0, "no scan has a slice at z = 900 mm"), (True, "got True"),
        ("middle", "largest tumor"), (float("nan"), "got nan"),
    ):  # fmt: skip
        with pytest.raises(npc.ParameterError, match=words):
            ds.npc.plot("001", wrong)
    for wrong in ((5,), (50, 40), "ab", (0, 101)):
        with pytest.raises(npc.ParameterError, match="percentiles"):
            ds.npc.plot("001", percentiles=wrong)


def test_raters_have_a_color_each_and_an_outline_stays_a_line(raters, tmp_path):
    figure = npc.open(raters).npc.plot("002", sequences=["T1WI"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["rater1", "rater2"]
    colors = {line.get_color() for line in figure.legends[0].get_lines()}
    assert len(colors) == 2
    assert "no image" in [text.get_text() for text in figure.axes[0].texts]
    figure.savefig(tmp_path / "lines.svg")
    drawn = (tmp_path / "lines.svg").read_text()
    assert all(color.lower() in drawn.lower() for color in colors)


def test_a_plot_draws_in_a_given_figure_and_notebooks_show_it(store):
    figure = matplotlib.figure.Figure()
    assert npc.open(store).npc.plot("001", figure=figure) is figure
    assert npc.open(store).npc.plot("001")._repr_png_().startswith(b"\x89PNG")


def test_the_table_has_one_row_a_scan_and_reads_no_voxels(measured):
    ds = npc.open(measured)

    def never(*args, **kwargs):
        raise AssertionError("voxels were read")

    unread = ds.assign(image=ds.image.copy(data=ds.image.data.map_blocks(never, dtype="i2")))
    unread = unread.assign(mask=ds.mask.copy(data=ds.mask.data.map_blocks(never, dtype="u1")))
    unread.encoding = ds.encoding
    table = unread.npc.table()
    assert list(table.columns[:5]) == ["patient", "sequence", "status", "message", "mask_status"]
    assert len(table) == 9
    assert not table[["patient", "sequence"]].duplicated().any()
    assert not table.columns.duplicated().any()
    for _, row in table.iterrows():
        one = ds.sel(patient=row.patient, sequence=row.sequence)
        assert (row.shape_z, row.shape_y, row.shape_x) == tuple(one["shape"].values)
        assert row.spacing_x == one.spacing.values[2]
        assert row.t_stage == one.t_stage.item()
        assert row.echo_time == one.echo_time.item()
    assert table.attrs["units"]["spacing_z"] == "mm"


def test_results_beside_the_store_are_in_the_table(measured):
    ds = npc.open(measured)
    table = ds.npc.table()
    volume = npc.morphology(ds).volume.compute()
    expected = [volume.sel(patient=p, sequence=s).item() for p, s in zip(table.patient, table.sequence, strict=True)]
    np.testing.assert_array_equal(table["morphology.volume"], expected)
    assert (table["score/same.dice"] == 1).all()
    assert "morphology.box_start_z" in table
    assert not any("digest" in column for column in table)
    assert not any("." in c and c.startswith(("morphology.", "score/")) for c in ds.npc.table(results=False))


@pytest.mark.slow
@pytest.mark.parametrize("opened", [npc.open, xr.open_zarr, lambda url: xr.open_zarr(url, chunks=None)])
def test_every_selection_gives_the_same_rows(measured, opened):
    ds = opened(measured)
    whole = npc.open(measured).npc.table().set_index(["patient", "sequence"])
    for chosen in (
        ds, ds.sel(patient="002"), ds.sel(sequence="T1WI"), ds.sel(patient="002", sequence="T1WI"),
        ds.isel(patient=[2, 0]), ds.isel(sequence=slice(0, 0)),
    ):  # fmt: skip
        table = chosen.npc.table()
        expected = whole.loc[list(zip(table.patient, table.sequence, strict=True))].reset_index()
        assert set(table.columns) == set(expected.columns)
        if len(table):
            pd.testing.assert_frame_equal(table, expected[table.columns], check_dtype=False)


def test_a_result_of_a_scan_that_changed_is_not_shown(measured, tmp_path):
    shutil.copytree(measured, tmp_path / "s.zarr")
    digests = zarr.open_group(tmp_path / "s.zarr", mode="r+", use_consolidated=False)["mask_digest"]
    digests[1, 0] = "another"
    volume = npc.open(tmp_path / "s.zarr").npc.table().set_index(["patient", "sequence"])["morphology.volume"]
    assert np.isnan(volume["002", "T1WI"])
    assert volume.notna().sum() == 8


@pytest.mark.slow
def test_the_table_of_raters_has_a_column_each(raters, tmp_path):
    shutil.copytree(raters, tmp_path / "r.zarr")
    npc.measure_store(tmp_path / "r.zarr", "morphology")
    npc.measure_store(tmp_path / "r.zarr", "agreement")
    ds = npc.open(tmp_path / "r.zarr")
    table = ds.npc.table()
    assert len(table) == ds.sizes["patient"] * ds.sizes["sequence"]
    assert {"morphology.volume.rater1", "morphology.volume.rater2", "agreement.dice"} <= set(table)
    assert list(ds.isel(rater=0).npc.table().patient) == list(table.patient)


@pytest.mark.slow
def test_a_copy_elsewhere_has_a_table_without_results(measured, tmp_path):
    npc.open(measured).isel(patient=[0]).drop_encoding().to_zarr(
        tmp_path / "copy.zarr", zarr_format=3, consolidated=False
    )
    table = npc.open(tmp_path / "copy.zarr").npc.table()
    assert len(table) == 3
    assert not any(column.startswith("morphology.v") for column in table)


@pytest.mark.slow
def test_a_resampled_cohort_is_not_given_the_results_of_its_source(measured):
    new = npc.resample(npc.open(measured), spacing=2.0).isel(patient=[0], sequence=[0])
    assert not any(column.startswith("score/") for column in new.npc.table())


def test_the_accessor_says_what_can_be_done(store):
    ds = npc.open(store)
    said = repr(ds.npc).splitlines()
    assert len(said) == 6
    assert said[0] == "<npczarr cohort, patients: 3, sequences: 3 (T1WI, T2WI, CE-T1WI)>"
    for line in said[1:4]:  # each can be pasted
        eval(line.split("  ")[1], {"ds": ds})
    scan = ds.npc.scan("001", "T1WI")
    assert repr(scan.npc).startswith("<npczarr scan 001/T1WI, ")
    eval("scan.npc.plot()", {"scan": scan})
    assert "no cohort" in repr(xr.Dataset().npc)


def test_an_unknown_label_is_a_key_error_that_names_the_nearest(store, tmp_path):
    ds = npc.open(store)
    for call, words in (
        (lambda: ds.npc.scan(2, "T1WI"), "did you mean '002'?"),
        (lambda: ds.npc.scan("2", "T1WI"), "did you mean '002'?"),
        (lambda: ds.npc.scan("002", "t1wi"), "did you mean 'T1WI'?"),
        (lambda: ds.npc.scan("999", "T1WI"), "which has 001, 002, 003"),
        (lambda: ds.npc.plot("02"), "did you mean '002'?"),
        (lambda: ds.npc.plot("002", sequences="T2W"), "did you mean 'T2WI'?"),
        (lambda: npc.resample(ds, like="CE-T1"), "did you mean 'CE-T1WI'?"),
        (lambda: npc.export_scans(store, tmp_path / "out", format="nifti", patients=["2"]), "did you mean '002'?"),
    ):
        with pytest.raises(UnknownLabelError) as raised:
            call()
        assert isinstance(raised.value, KeyError)
        assert isinstance(raised.value, npc.ParameterError)
        assert words in str(raised.value)
        assert not str(raised.value).startswith(("'", '"'))


def test_a_store_that_is_not_there_is_a_file_not_found_error(tmp_path, store):
    nowhere = tmp_path / "nothing.zarr"
    for call in (
        lambda: npc.open(nowhere),
        lambda: npc.open(store, group="agreement"),
        lambda: npc.info(nowhere),
        lambda: npc.validate(nowhere, workers=0),
        lambda: npc.measure_store(nowhere, "morphology"),
        lambda: npc.resample_store(nowhere, tmp_path / "new.zarr", spacing=1.0),
        lambda: npc.export_scans(nowhere, tmp_path / "out", format="nifti"),
    ):
        with pytest.raises(MissingStoreError, match=r"check the path|check its name") as raised:
            call()
        assert isinstance(raised.value, FileNotFoundError)
        assert isinstance(raised.value, npc.StoreError)
        assert not nowhere.exists()


def test_wrong_use_of_the_accessor_is_named(store):
    ds = npc.open(store)
    for call, words in (
        (lambda: xr.Dataset().npc.scan("001", "T1WI"), "no patient coordinate"),
        (lambda: xr.Dataset().npc.table(), "no 'patient'"),
        (lambda: xr.Dataset().npc.plot(), "no patient coordinate"),
        (lambda: ds.npc.plot(), "name one of the 3 patients"),
        (lambda: ds.isel(z=slice(3)).npc.scan("001", "T1WI"), "cut along z"),
        (lambda: ds.isel(z=3).npc.scan("001", "T1WI"), "cut along z"),
        (lambda: ds.npc.plot("001", sequences=[]), "no sequence was named"),
    ):
        with pytest.raises(npc.ParameterError, match=words):
            call()


def test_a_plot_reads_what_it_shows_and_no_more(store):
    with dask.config.set(scheduler=lambda *args, **kwargs: pytest.fail("a Dask graph was computed")):
        npc.open(store).npc.plot("001")


@pytest.mark.parametrize("chunks", [None, {}])
def test_a_scan_says_what_its_tables_say_now(store, chunks):
    ds = xr.open_zarr(store, chunks=chunks)
    first = ds.npc.scan("002", "T2WI")
    for name in ("age", "echo_time", "manufacturer", "image_digest"):
        xr.testing.assert_equal(first[name].variable, ds.load().sel(patient="002", sequence="T2WI")[name].variable)
    ds["age"] = ds["age"] + 1
    assert float(ds.npc.scan("002", "T2WI").age) == float(first.age) + 1
    changed = ds.assign(t_stage=("patient", ["a", "b", "c"])).isel(patient=[1])
    assert str(changed.npc.scan("002", "T2WI").t_stage.values) == "b"
