"""Columns of tables that were corrected since: what a store keeps of them when its source is converted again."""

import numpy as np
import pytest
import xarray as xr

import npczarr as npc
from npczarr.graphs.source_columns import over_store
from npczarr.model.cohort import Cohort
from npczarr.model.events import read_events
from npczarr.sources.tables import Tables
from npczarr.store.create import add_columns
from npczarr.store.hierarchy import open_group
from npczarr.store.location import locate
from tests.builders import noise, oblique_grid, write_series

pytestmark = pytest.mark.slow  # each converts several times
GRID = oblique_grid((3, 4, 4))
TABLE = "PatientID,Age,Stage,MRN\n1,50,II,H1\n2,60,III,H2\n"


def make(folder, patients, table=None, sequences=("T1WI",)):
    """Write a source of small scans and its table."""
    for patient in patients:
        for i, sequence in enumerate(sequences):
            series = f"1.2.{patient}.{i + len(sequence)}"
            write_series(folder / patient / sequence, noise(GRID), GRID, series=series)
    if table is not None:
        (folder / "clinical.csv").write_text(table)
    return folder


@pytest.fixture
def source(tmp_path):
    """A source of the patients 1 and 2."""
    return make(tmp_path / "c", ("1", "2"), TABLE)


@pytest.fixture
def convert(tmp_path):
    """Convert a source; return what the store then has of clinical columns, and the remarks."""

    def run(source, **options):
        result = npc.convert(source, tmp_path / "s.zarr", workers=0, **options)
        assert (tmp_path / "s.zarr/status/resizing").exists() is False
        found = xr.open_zarr(tmp_path / "s.zarr", chunks=None)
        columns = {name: found[name].values.tolist() for name in found.variables if "source_table" in found[name].attrs}
        return columns, " | ".join(result.attrs["table_warnings"])

    return run


def test_a_corrected_map_leaves_nothing_of_the_old_one_and_what_is_left_out_goes(source, convert, tmp_path):
    columns, _ = convert(source, keep=["MRN"])
    assert columns == {"age": [50, 60], "clinical_stage": ["II", "III"], "MRN": ["H1", "H2"]}
    (tmp_path / "m.toml").write_text('[columns]\n"Stage" = "study_wave"\n')
    columns, said = convert(source, columns=tmp_path / "m.toml")
    assert columns == {"age": [50, 60], "study_wave": ["II", "III"]}
    assert not (tmp_path / "s.zarr/MRN").exists()
    assert "columns that the source's tables do not give were taken out: clinical_stage" in said
    assert "columns that may tell who the patients are were taken out: MRN" in said
    for file in (tmp_path / "s.zarr").rglob("*"):
        assert not file.is_file() or b"H1" not in file.read_bytes()
    assert convert(source, columns=tmp_path / "m.toml")[0] == columns
    assert not npc.validate(tmp_path / "s.zarr", workers=0)


@pytest.mark.parametrize("table", ["PatientID,Age\n1,50\n2,60\n", "PatientID,Age,Grade\n1,50,II\n2,60,III\n"])
def test_a_column_that_was_deleted_or_renamed_goes(source, convert, table):
    convert(source)
    (source / "clinical.csv").write_text(table)
    columns, said = convert(source)
    assert columns.keys() == {"age", "Grade"} & {"age", *table.splitlines()[0].split(",")}
    assert "taken out: clinical_stage" in said


def test_the_columns_of_a_table_that_was_deleted_go_while_others_are_there(source, convert):
    (source / "extra.csv").write_text("PatientID,Ward\n1,north\n2,south\n")
    assert convert(source)[0].keys() == {"age", "clinical_stage", "Ward"}
    (source / "extra.csv").unlink()
    columns, said = convert(source)
    assert columns.keys() == {"age", "clinical_stage"}
    assert "taken out: Ward" in said


def test_a_source_without_a_table_keeps_the_columns_and_says_so(source, convert):
    convert(source, keep=["MRN"])
    (source / "clinical.csv").unlink()
    columns, said = convert(source, keep=["MRN"])
    assert columns.keys() == {"age", "clinical_stage", "MRN"}
    assert "columns of earlier tables stay as they were, for the source has no table: " in said
    columns, said = convert(source)
    assert columns == {"age": [50, 60], "clinical_stage": ["II", "III"]}
    assert "columns that may tell who the patients are were taken out: MRN" in said


def test_a_table_that_cannot_be_used_takes_nothing_away(source, convert):
    (source / "extra.csv").write_text("PatientID,Ward\n1,north\n2,south\n")
    convert(source)
    (source / "clinical.csv").write_text("PatientID,Age,Age\n1,50,50\n")
    columns, said = convert(source)
    assert columns == {"age": [50, 60], "clinical_stage": ["II", "III"], "Ward": ["north", "south"]}
    assert "columns of clinical.csv stay as they were, for it could not be used: " in said


def test_patients_of_another_source_keep_their_values(source, convert, tmp_path):
    convert(source, keep=["MRN"])
    other = make(tmp_path / "d", ("3",), "PatientID,Age,Dose\n3,70,66\n")
    columns, said = convert(other)
    assert columns["age"] == [50, 60, 70]
    assert columns["clinical_stage"] == ["II", "III", ""]
    assert columns["MRN"] == ["H1", "H2", ""]
    np.testing.assert_array_equal(columns["Dose"], [np.nan, np.nan, 66])
    assert "columns" not in said
    (other / "clinical.csv").write_text("PatientID,Stage,MRN\n3,I,H3\n")
    columns, said = convert(other, keep=["MRN"])
    assert columns["clinical_stage"] == ["II", "III", "I"]
    assert "Dose" not in columns
    np.testing.assert_array_equal(columns["age"], [50, 60, np.nan])
    assert "columns that the source's tables do not give were taken out: Dose" in said
    assert "do not give lost the values of the source's patients, not those of others: age" in said
    columns, said = convert(source)
    assert columns["MRN"] == ["", "", "H3"]
    assert "may tell who the patients are lost the values of the source's patients, not those of others: MRN" in said


def test_a_column_that_becomes_text_or_numbers_is_said_to(source, convert, tmp_path):
    (source / "clinical.csv").write_text("PatientID,Age,Code\n1,50,7\n2,60,10\n")
    columns, said = convert(source)
    assert columns["Code"] == [7, 10]
    assert "Code" not in said
    (source / "clinical.csv").write_text("PatientID,Age,Code\n1,50,007\n2,60,010\n")
    columns, said = convert(source)
    assert columns["Code"] == ["007", "010"]
    assert "column 'Code': the store had numbers and has text now" in said
    assert "Code" not in convert(source)[1]
    other = make(tmp_path / "d", ("3",), "PatientID,Age,Code\n3,70,12\n")
    columns, said = convert(other)
    assert columns["Code"] == ["007", "010", "12"]
    assert "Code" not in said
    (source / "clinical.csv").write_text("PatientID,Age,Code\n1,50,7\n2,60,10\n")
    assert "Code" not in convert(source)[1], "the other source's entries are text still"
    columns, said = convert(other, replace=False)
    assert columns["Code"] == ["7", "10", "12"]


def test_a_column_of_text_that_becomes_numbers_is_said_to(source, convert):
    (source / "clinical.csv").write_text("PatientID,Age,Code\n1,50,007\n2,60,010\n")
    convert(source)
    (source / "clinical.csv").write_text("PatientID,Age,Code\n1,50,7\n2,60,10\n")
    columns, said = convert(source)
    assert columns["Code"] == [7, 10]
    assert "column 'Code': the store had text and has numbers now" in said


def test_an_endpoint_of_two_sources_is_named_by_both_of_their_columns(source, convert, tmp_path):
    """1 is dead in one and may be alive in the other."""
    (source / "clinical.csv").write_text("PatientID,Vital status\n1,1\n2,0\n")
    convert(source)
    other = make(tmp_path / "d", ("3",), "PatientID,Death\n3,1\n")
    convert(other)
    found = xr.open_zarr(tmp_path / "s.zarr", chunks=None)["death"]
    assert found.values.tolist() == ["1", "0", "1"]
    assert found.attrs["source_column"] == "Death; Vital status"
    assert "does not say for certain" in read_events("death", found.values.tolist(), "Death; Vital status").problem
    before = (tmp_path / "s.zarr/death/zarr.json").read_bytes()
    convert(source)
    assert (tmp_path / "s.zarr/death/zarr.json").read_bytes() == before


def test_a_source_of_some_scans_of_a_patient_takes_nothing_away(source, convert, tmp_path):
    convert(source)
    part = make(tmp_path / "t2", ("1", "2"), "PatientID,Dose\n1,66\n2,70\n", sequences=("T2WI",))
    columns, said = convert(part)
    assert columns == {"age": [50, 60], "clinical_stage": ["II", "III"], "Dose": [66, 70]}
    assert "for the source lacks scans of their patients that the store holds" in said


def test_a_division_is_no_column_of_a_table(source, convert, tmp_path):
    convert(source)
    npc.split(tmp_path / "s.zarr", shares={"train": 0.5, "test": 0.5}, name="fold")
    before = xr.open_zarr(tmp_path / "s.zarr").fold.values.tolist()
    (source / "clinical.csv").write_text("PatientID,Age,fold\n1,50,x\n2,60,y\n")
    _, said = convert(source)
    assert xr.open_zarr(tmp_path / "s.zarr").fold.values.tolist() == before
    assert "column 'fold': left out, for the store has a division of the patients of this name" in said


def test_numbers_that_become_text_keep_every_digit(convert, tmp_path):
    first = make(tmp_path / "a", ("1",), "PatientID,EBV copies,Ratio\n1,1234567,0.12345678\n")
    other = make(tmp_path / "b", ("2",), 'PatientID,EBV copies,Ratio\n2,"<500",n.d.\n')
    convert(first)
    columns, _ = convert(other)
    assert columns == {"EBV_copies": ["1234567", "<500"], "Ratio": ["0.12345678", "n.d."]}
    (other / "clinical.csv").write_text("PatientID,EBV copies,Ratio\n2,500,1e-9\n")
    assert convert(other)[0] == {"EBV_copies": ["1234567", "500"], "Ratio": ["0.12345678", "1e-09"]}


def test_text_that_was_corrected_to_numbers_is_numbers(source, convert):
    (source / "clinical.csv").write_text("PatientID,Dose\n1,66\n2,high\n")
    assert convert(source)[0]["Dose"] == ["66", "high"]
    (source / "clinical.csv").write_text("PatientID,Dose\n1,66\n2,70\n")
    assert convert(source)[0]["Dose"] == [66, 70]


def test_a_column_of_patients_may_become_one_of_scans_and_back(convert, tmp_path):
    a = make(tmp_path / "a", ("1",), "PatientID,TE\n1,10\n", sequences=("T1WI", "T2WI"))
    b = make(tmp_path / "b", ("2",), "PatientID,TE\n2,20\n", sequences=("T1WI", "T2WI"))
    convert(a)
    convert(b)
    (b / "clinical.csv").write_text("PatientID,Sequence,TE\n2,T1WI,20\n2,T2WI,90\n")
    columns, _ = convert(b)
    np.testing.assert_array_equal(columns["TE"], [[10, 10, 10], [20, 90, np.nan]])
    (a / "clinical.csv").write_text("PatientID,TE\n1,11\n")
    np.testing.assert_array_equal(convert(a)[0]["TE"], [[11, 11, 11], [20, 90, np.nan]])
    (b / "clinical.csv").write_text("PatientID,Age\n2,20\n")
    columns, _ = convert(b)
    np.testing.assert_array_equal(columns["TE"], [[11, 11, 11], [np.nan] * 3])


def test_other_people_in_the_places_of_patients_inherit_nothing(source, convert, tmp_path):
    convert(source)
    root = open_group(locate(tmp_path / "s.zarr").open(), "s.zarr")
    tables = Tables()
    assert over_store(root, Cohort(("2",), ("T1WI",), {}), tables) == {}
    changed = over_store(root, Cohort(("2",), ("T1WI",), {}), tables, strangers=True)
    assert {name: values.tolist()[0] for name, (_, values) in changed.items()} == {"age": 50, "clinical_stage": "II"}
    assert all(values.tolist()[1] in ("", pytest.approx(np.nan, nan_ok=True)) for _, values in changed.values())
    assert over_store(root, Cohort(("1", "2"), ("T1WI",), {}), tables, strangers=True) == dict.fromkeys(changed)
    assert "columns of the patients who were replaced were taken out: age, clinical_stage" in tables.warnings


def test_a_column_is_deleted_once(source, convert, tmp_path):
    convert(source)
    root = open_group(locate(tmp_path / "s.zarr").open(), "s.zarr")
    assert add_columns(root, {"age": None})
    assert not add_columns(root, {"age": None})
    assert "age" not in xr.open_zarr(tmp_path / "s.zarr")


def test_values_of_one_of_two_hospitals_stay_where_its_table_cannot_be_used(source, convert):
    (source / "clinical.csv").write_text("PatientID,Age,Ward\n1,50,north\n")
    (source / "south.csv").write_text("PatientID,Age,Ward\n2,60,south\n")
    joined = {"age": [50, 60], "Ward": ["north", "south"]}
    assert convert(source)[0] == joined
    for _ in range(2):
        (source / "south.csv").write_text("no table")
        columns, said = convert(source)
        assert columns == joined
        assert "column 'age': 1 values of south.csv stay as they were, for it could not be used" in said
    (source / "south.csv").write_text("PatientID,Age,Ward\n2,,east\n")
    columns, said = convert(source)
    np.testing.assert_array_equal(columns["age"], [50, np.nan])
    assert columns["Ward"] == ["north", "east"]
    assert "stay" not in said


def test_columns_of_exact_dates_are_left_out_whatever_they_are_called(source, convert):
    (source / "clinical.csv").write_text(
        "PatientID,OP,acq_time,note\n1,2019-03-04,2019-03-04,seen 4.3.2019\n2,,,none\n"
    )
    columns, said = convert(source)
    assert columns == {"acq_time": ["2019-03-04", ""], "note": ["seen 4.3.2019", "none"]}
    assert "column 'OP': left out, for it holds exact dates; take it with --keep 'OP'" in said
    assert "column 'acq_time': 1 entry with an exact date is kept, for visits are ordered by their dates" in said
    assert "column 'note': 1 entry with an exact date is kept; write --keep 'note' if that is right" in said
    columns, said = convert(source, keep=["OP", "note", "acq_time"])
    assert columns["OP"] == ["2019-03-04", ""]
    assert "exact date" not in said
