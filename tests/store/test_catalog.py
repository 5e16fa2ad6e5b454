"""The catalog chooses as the tables do, is written by every run that changes them, and never counts more than they."""

import json
import shutil
import sys
import warnings

import numpy as np
import pytest
import xarray as xr
import zarr
from pyarrow import parquet

import npczarr as npc
from npczarr.errors import ParameterError
from npczarr.store import selection
from npczarr.store.catalog import CATALOG_KEY, differing_columns, open_catalog
from npczarr.store.hierarchy import array
from npczarr.store.lease import hold_lease
from npczarr.store.location import locate
from npczarr.store.selection import select_patients
from npczarr.store.zarr_library import consolidate


def chosen(store, where):
    """Return the labels that a selection chooses, and what chose."""
    found = select_patients(locate(store), where)
    with xr.open_zarr(store, chunks=None) as ds:
        return ds.patient.values[found.patients].tolist(), found.by


def by_tables(store, where, monkeypatch):
    """Return what the tables choose, without the catalog."""
    with monkeypatch.context() as patch:
        patch.setattr(selection, "open_catalog", lambda store: None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return chosen(store, where)


WHERE = (
    "age > 0", "status == 'ok'", "patient in ('001', '003')", "spacing_z > 2 and shape_y == 32", "not sex == 'M'",
    "mask_voxels > 10 and echo_time >= 0", "image_digest != ''", "'T1' <= t_stage", "t_stage == t_stage",
)  # fmt: skip


@pytest.mark.parametrize("where", WHERE)
def test_it_chooses_what_the_tables_choose(store, where, monkeypatch):
    found, by = chosen(store, where)
    assert (found, "tables") == (by_tables(store, where, monkeypatch)[0], by_tables(store, where, monkeypatch)[1][:6])
    assert by == ("tables, for the catalog leaves out image_digest" if "digest" in where else "catalog")


def test_it_is_one_row_a_scan_that_anyone_can_read(store):
    frame = parquet.read_table(f"{store}/{CATALOG_KEY}").to_pandas()
    with npc.open(store) as ds:
        assert len(frame) == ds.status.size
        np.testing.assert_array_equal(frame.age.values.reshape(-1, ds.sizes["sequence"])[:, 0], ds.age.values)
        assert frame.patient.tolist() == np.repeat(ds.patient.values, ds.sizes["sequence"]).tolist()
        np.testing.assert_array_equal(frame.spacing_x.values, ds.spacing.sel(axis="x").values.ravel())
    assert not [name for name in frame.columns if name.endswith("_digest")]
    assert not npc.validate(store)


@pytest.mark.slow
def test_what_is_not_known_is_null_for_other_programs_and_as_in_the_tables_for_a_selection(copy, monkeypatch):
    root = zarr.open_group(copy, mode="r+", use_consolidated=False)
    root["age"][0], root["age"][1], root["t_stage"][1] = np.nan, 70.0, ""
    root["mask_voxels"][0, 0], root["mask_voxels"][1, 0] = 0, 0
    root["mask_status"][0, 0], root["mask_status"][1, 0] = "missing", "ok"
    root["status"][2, 1], root["shape"][2, 1] = "missing", 0
    npc.validate(copy, seal=True)
    table = parquet.read_table(f"{copy}/{CATALOG_KEY}")
    assert {str(table.schema.field(name).type) for name in ("patient", "sequence", "t_stage", "status")} == {"string"}
    rows = {(row["patient"], row["sequence"]): row for row in table.to_pylist()}
    first, second, third = (rows[(patient, "T1WI")] for patient in ("001", "002", "003"))
    assert (first["age"], first["mask_voxels"], second["age"], second["t_stage"]) == (None, None, 70.0, None)
    assert second["mask_voxels"] == 0  # a mask that is empty
    assert third["shape_z"] > 0
    assert rows[("003", "T2WI")]["shape_z"] is None
    assert not any(value is None or value == "" for value in table.column("patient").to_pylist())
    for where in ("age != 70", "not age < 60", "t_stage == ''", "t_stage != ''", "mask_voxels == 0", "shape_z == 0"):
        monkeypatch.setattr(selection, "_IS_THERE", "status != ''")
        found, by = chosen(copy, where)
        assert (found, by) == (by_tables(copy, where, monkeypatch)[0], "catalog")
    with open_catalog(locate(copy).open()) as catalog:
        values = catalog.read(["mask_voxels", "shape_z", "age"])
        assert [one.dtype.name for one in values.values()] == ["int64", "int32", "float64"]
        np.testing.assert_array_equal(values["mask_voxels"], root["mask_voxels"][...])
    assert not differing_columns(zarr.open_group(copy, mode="r"))


@pytest.mark.slow
def test_one_of_another_version_counts_as_absent_and_is_made_anew(copy):
    path = copy / CATALOG_KEY
    table = parquet.read_table(path)
    about = json.loads(table.schema.metadata[b"npczarr"])
    for version in (None, 1, 3):
        older = {**about, "version": version}
        parquet.write_table(table.replace_schema_metadata({b"npczarr": json.dumps(older)}), path)
        assert open_catalog(locate(copy).open()) is None
        assert "no catalog" in chosen(copy, "age > 0")[1]
    npc.validate(copy, seal=True)
    assert chosen(copy, "age > 0")[1] == "catalog"


@pytest.mark.slow
def test_a_change_of_another_program_is_noticed_and_the_tables_are_read(copy):
    where = "age > 200"
    assert chosen(copy, where) == ([], "catalog")
    root = zarr.open_group(copy, mode="r+", use_consolidated=False)
    root["age"][0] = 300.0
    with pytest.warns(UserWarning, match="the catalog is not of age as the tables are now; any command"):
        found, by = chosen(copy, where)
    assert len(found) == 1
    assert by.startswith("tables, for the catalog is not of age")
    assert chosen(copy, "status != 'ok' or status == 'ok'")[1] == "catalog"  # of what did not change it still is
    npc.validate(copy, seal=True)
    assert chosen(copy, where) == (found, "catalog")


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["attributes", "absent", "no checksum"])
def test_what_stands_beside_the_values_counts_too(copy, damage):
    root = zarr.open_group(copy, mode="r+", use_consolidated=False)
    if damage == "attributes":  # doubles every age for who opens the store
        root["age"].attrs["scale_factor"] = 2.0
        consolidate(root)
        with pytest.warns(UserWarning, match="is not of age"):
            ds = npc.open(copy, where="age > 100")
        assert len(ds.patient)
        assert (ds.age.values > 100).all()
        return
    if damage == "absent":
        (copy / "age/c/0").unlink()
        with pytest.raises(npc.StoreError, match="age/c/0"):
            chosen(copy, "age > 100")
        return
    values, attributes = root["age"][...], root["age"].attrs.asdict()
    del root["age"]
    made = root.create_array(
        "age", shape=values.shape, chunks=values.shape, dtype="float64", compressors=None, attributes=attributes,
        dimension_names=("patient",), fill_value=np.nan,
    )  # fmt: skip
    made[...] = values
    consolidate(root)
    npc.validate(copy, seal=True)
    assert chosen(copy, "age > 200") == ([], "catalog")
    made[0] = 300.0
    with pytest.warns(UserWarning, match="is not of age"):
        assert len(chosen(copy, "age > 200")[0]) == 1


@pytest.mark.parametrize("content", [b"", b"PAR1", None])
def test_one_that_is_damaged_or_absent_is_passed_over(copy, content):
    path = copy / CATALOG_KEY
    if content is None:
        path.unlink()
    elif content:
        path.write_bytes(path.read_bytes()[:200])
    else:
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 8 : len(whole) // 3] = bytes(len(whole) // 3 - len(whole) // 8)
        path.write_bytes(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, by = chosen(copy, "age > 0 and t_stage != ''")
    assert len(found)
    assert content == b"" or "no catalog" in by or "damaged" in by


def test_one_that_lies_is_found_by_validate(copy):
    path = copy / CATALOG_KEY
    table = parquet.read_table(path)
    older = [None if value is None else value + 1 for value in table.column("age").to_pylist()]
    forged = table.set_column(table.column_names.index("age"), "age", [older])
    parquet.write_table(forged.replace_schema_metadata(table.schema.metadata), path)
    assert [found.problem for found in npc.validate(copy)] == [
        f"{CATALOG_KEY} is not of the tables that it names, in age: selections may choose wrongly; delete it, and any "
        "command that writes to the store makes it anew"
    ]


@pytest.mark.slow
def test_results_can_be_chosen_by_while_they_hold(copy, monkeypatch):
    npc.measure_store(copy, "morphology", workers=0)
    table = npc.open(copy).npc.table()
    least = float(table["morphology.volume"].median())
    expected = table.groupby("patient")["morphology.volume"].min()
    where = f"morphology.volume > {least}"
    found, by = chosen(copy, where)
    assert (found, by) == (expected[expected > least].index.tolist(), "catalog")
    assert by_tables(copy, where, monkeypatch)[0] == found
    with hold_lease(locate(copy).open(), str(copy)):
        root = zarr.open_group(copy, mode="r+", use_consolidated=False)
        spacing = array(root, "spacing")
        spacing[0] = spacing[0] * 2  # no longer what was measured
    assert chosen(copy, "morphology.volume > 0")[0] == expected[expected > 0].index.tolist()[1:]


def test_reviews_are_chosen_by_as_they_are_now(copy):
    assert chosen(copy, "review.decision == 'exclude'")[0] == []
    with npc.open(copy) as ds:
        first, sequence = str(ds.patient.values[0]), str(ds.sequence.values[0])
    from npczarr.model.review import Mark
    from npczarr.store.review import Review

    Review(locate(copy)).keep([Mark(first, sequence, "exclude", "artifact", "moved")])
    found = select_patients(locate(copy), "review.decision == 'exclude'", [sequence])
    assert found.patients.tolist() == [0]
    assert chosen(copy, "age > 0")[1] == "catalog"


def test_names_that_are_not_there_are_said_with_the_nearest(store):
    with pytest.raises(ParameterError, match=r"no column 'morphology\.volum'"):
        chosen(store, "morphology.volum > 3")
    with pytest.raises(ParameterError, match="did you mean 't_stage'"):
        chosen(store, "t_stag == 'T1'")


@pytest.mark.slow
def test_a_name_that_would_stand_for_two_columns_stands_for_that_of_just_this_name_or_for_none(source, tmp_path):
    folder = shutil.copytree(source, tmp_path / "source")
    table = folder / "info_diagnoses.csv"
    lines = table.read_text().splitlines()
    extra = [",a-b,a_b,c-d,c+d", *(f",{i},{10 * i},{i},{i}" for i in range(1, len(lines)))]
    table.write_text("".join(f"{line}{more}\n" for line, more in zip(lines, extra, strict=True)))
    npc.convert(folder, tmp_path / "a.zarr", workers=0)
    ds = npc.open(tmp_path / "a.zarr")
    assert {"a-b", "a_b", "c-d", "c+d"} <= set(ds.data_vars)
    assert chosen(tmp_path / "a.zarr", "a_b == 20") == (["002"], "catalog")
    with pytest.raises(ParameterError, match="no column 'c_d'"):
        chosen(tmp_path / "a.zarr", "c_d == 1")


@pytest.mark.slow
def test_columns_that_may_tell_who_someone_is_stay_out(source, tmp_path):
    folder = tmp_path / "source"
    shutil.copytree(source, folder)
    table = folder / "info_diagnoses.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(f"{line},{'MRN' if i == 0 else i}" for i, line in enumerate(lines)) + "\n")
    npc.convert(folder, tmp_path / "a.zarr", workers=0, keep=["MRN"])
    assert "MRN" in npc.open(tmp_path / "a.zarr")
    assert "MRN" not in parquet.read_table(tmp_path / "a.zarr" / CATALOG_KEY).column_names
    assert chosen(tmp_path / "a.zarr", "MRN > 1")[1] == "tables, for the catalog leaves out MRN"


@pytest.mark.slow
def test_without_pyarrow_the_tables_choose(source, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"] + ["pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    npc.convert(source, tmp_path / "a.zarr", workers=0)
    assert not (tmp_path / "a.zarr" / CATALOG_KEY).exists()
    assert not npc.validate(tmp_path / "a.zarr")
    found, by = chosen(tmp_path / "a.zarr", "age > 0")
    assert (len(found), by[-34:]) == (2, "not installed: pip install 'npczarr[catalog]'"[-34:])
