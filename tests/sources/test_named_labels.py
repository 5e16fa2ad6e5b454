"""Folders that are called as patients are: said where they are looked at and converted; names go no further."""

import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.model.cohort import Cohort, File, ScanFiles
from npczarr.model.identifiers import is_persons_name, looks_like_name
from npczarr.sources.config import SourceConfig
from npczarr.sources.files import Source, open_source
from npczarr.sources.named_labels import remarks_on_labels
from npczarr.sources.scout import scout
from npczarr.sources.tables import read_tables
from tests.builders import noise, oblique_grid, write_cohort, write_series

FOLDERS = {"Doe_John": "DOE^JOHN", "Smith, Anna": "Smith^Anna", "P7": "Li^Wei"}
NUMBERS = {"Doe_John": "007", "Smith, Anna": "008", "P7": "009"}


def write_hospital(root):
    """Write a series for each patient, below folders with their names and two more, as a hospital exports them."""
    for p, (folder, name) in enumerate(FOLDERS.items()):

        def edit(ds, z, name=name, number=NUMBERS[folder]):
            ds.SpecificCharacterSet, ds.PatientName, ds.PatientID = "ISO_IR 192", name, number
            ds.ScanningSequence, ds.SeriesDescription = "SE", "t1_tse_tra"

        grid = oblique_grid((4, 8, 9), seed=p)
        write_series(root / folder / "2021-03-04" / "0004", noise(grid), grid, edit=edit, series=f"1.2.{p}")
    return root


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    return write_hospital(tmp_path_factory.mktemp("hospital") / "source")


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Müller^Jürgen", "Müller^Jürgen"), ("Mueller Juergen", "Müller^Jürgen"), ("MÜLLER_JÜRGEN", "Mueller^Juergen"),
        ("Mu\u0308ller", "M\u00fcller^J"), ("Anna Smith", "SMITH^ANNA^M"), ("smith-anna-1962", "Smith^Anna"),
        ("Li Bo", "Li^Bo"), ("王小明", "Wang^Xiaoming=王^小明"), ("DoeJohn", "Doe^John"), ("Patient Doe", "Doe^John"),
    ],
)  # fmt: skip
def test_a_label_is_a_name_whatever_its_case_order_and_punctuation(label, name):
    assert is_persons_name(label, name, "4711")


@pytest.mark.parametrize(
    ("label", "name", "number"),
    [
        ("001", "Doe^John", ""), ("P7", "Li^Wei", ""), ("Doe", "", ""), ("", "Doe^John", ""), ("anon", "Anon", ""),
        ("NPC_001", "NPC_001", "1"), ("AMC-A", "AMC-A", "AMC-A"), ("J", "Doe^J", ""), ("Doering", "Doe^John", ""),
    ],
)  # fmt: skip
def test_numbers_pseudonyms_and_other_names_are_none(label, name, number):
    assert not is_persons_name(label, name, number)


def test_labels_as_names_are_written_are_known_without_a_header():
    assert looks_like_name("Doe^John")
    (said,) = remarks_on_labels(["Doe^John_ses-1", "Doe^John_ses-2", "002"])
    assert said.startswith("the labels of 1 of 2 patients are names of persons (1 written as names are)")
    assert remarks_on_labels(["001", "sub-12", "T1, 2"]) == []


@pytest.mark.slow
def test_dates_in_labels_are_counted_with_what_to_do(hospital, tmp_path):
    (tmp_path / "a.toml").write_text('[layout]\nimages = "{patient}/{session}/**"\n[sequences]\nT1WI = {}\n')
    result = npc.convert(hospital, tmp_path / "s.zarr", config=tmp_path / "a.toml", workers=0)
    assert "P7_ses-2021-03-04" in result["patient"]
    (said,) = (one for one in result.attrs["remarks"] if "dates" in one)
    assert said.startswith("3 of 3 labels of patients and visits hold exact dates, and a store holds labels as they")
    assert "npczarr deidentify" in said
    assert "2021" not in said


@pytest.mark.slow
def test_scout_and_convert_say_so_and_print_and_keep_no_name(hospital, tmp_path, monkeypatch):
    read = []
    heads = Source.read_heads

    def read_heads(source, files, nbytes):
        read.extend(files)
        return heads(source, files, nbytes)

    monkeypatch.setattr(Source, "read_heads", read_heads)
    found = scout(hospital)
    assert len(read) == len({file.path for file in read}) == 12
    (said,) = found.remarks
    assert said.startswith("the labels of 2 of 3 patients are names of persons (2 the PatientName of their headers)")
    assert '[layout] patient = "PatientID"' in said
    assert found.toml.startswith(f"# NOTE: {said}\n")
    result = npc.convert(hospital, tmp_path / "s.zarr", workers=0)
    assert result.attrs["remarks"] == [said]
    assert result.attrs["named"] == ["Doe_John", "Smith, Anna"]
    assert not any(word in said.lower() for word in ("doe", "john", "smith", "anna"))
    store = tmp_path / "s.zarr"
    kept = b"".join(path.read_bytes() for path in store.rglob("zarr.json"))
    assert b"DOE^JOHN" not in kept
    dataset = npc.open(store)
    texts = [str(value) for one in dataset.variables.values() if one.dtype.kind in "OUT" for value in one.values.flat]
    assert not any(name in text for name in FOLDERS.values() for text in texts)


@pytest.mark.slow
def test_the_advice_helps(hospital, tmp_path):
    (tmp_path / "a.toml").write_text('[layout]\npatient = "PatientID"\n')
    result = npc.convert(hospital, tmp_path / "s.zarr", config=tmp_path / "a.toml", workers=0)
    assert list(result["patient"].values) == ["007", "008", "009"]
    assert (result.attrs["remarks"], result.attrs["named"]) == ([], [])


def test_the_command_prints_it_beside_the_file_that_it_writes(hospital, tmp_path):
    done = CliRunner().invoke(app, ["scout", str(hospital), "--out", str(tmp_path / "a.toml")])
    assert done.exit_code == 0
    assert done.stdout.startswith("note the labels of 2 of 3 patients are names of persons")


def test_names_in_other_layouts_are_seen_too(tmp_path):
    write_cohort(tmp_path / "published", patients=("Doe^John", "002"))
    assert scout(tmp_path / "published").remarks
    shutil.copytree(tmp_path / "published/data/MRI-Segments/002", tmp_path / "plain/data/MRI-Segments/002")
    assert scout(tmp_path / "plain").remarks == ()


@pytest.mark.parametrize("visits", [(), ("2021-03-04", "2021-09-01")])
def test_scout_reads_a_header_of_each_patient_where_folders_tell_the_layout(tmp_path, visits):
    for p, (folder, name) in enumerate(FOLDERS.items()):

        def edit(ds, z, name=name, number=NUMBERS[folder]):
            ds.PatientName, ds.PatientID = name, number

        grid = oblique_grid((2, 4, 5), seed=p)
        for visit in visits or (".",):
            write_series(tmp_path / folder / visit / "T1WI", noise(grid), grid, edit=edit, series=f"1.2.{p}")
    found = scout(tmp_path)
    assert found.layout == ("visits" if visits else "published")
    assert "2 of 3 patients are names of persons (2 the PatientName of their headers)" in found.remarks[0]
    assert [one.partition(" hold exact dates")[0] for one in found.remarks[1:]] == [
        "6 of 6 labels of patients and visits"
    ] * bool(visits)


@pytest.mark.slow
def test_a_table_by_patient_id_is_met_with_what_joins_it(hospital, tmp_path):
    source = shutil.copytree(hospital, tmp_path / "source")
    (source / "clinical.csv").write_text("PatientID,Age,Sex\n007,50,M\n8,60,F\n010,70,M\n")
    result = npc.convert(source, tmp_path / "s.zarr", workers=0)
    said = " ".join(result.attrs["table_warnings"])
    assert "3 rows of patients who have no folder" in said
    assert '2 of these rows have the PatientID of a header: [layout] patient = "PatientID" in a TOML file' in said
    assert "no patient of this cohort has a value of 2 of its 2 columns: Age, Sex" in said
    (tmp_path / "a.toml").write_text('[layout]\npatient = "PatientID"\n')
    joined = npc.convert(source, tmp_path / "t.zarr", config=tmp_path / "a.toml", workers=0)
    assert [one for one in joined.attrs["table_warnings"] if "PatientID" in one] == []
    assert npc.open(tmp_path / "t.zarr")["age"].values.tolist()[:2] == [50, 60]


@pytest.fixture
def read(tmp_path):
    """Read one table for the patients 001 and 002, whose images have names of an ending."""

    def read_it(text, ending="dcm"):
        (tmp_path / "clinical.csv").write_text(text, encoding="utf-8")
        scans = {("001", "T1WI"): ScanFiles("001", "T1WI", (File(f"001/T1WI/1.{ending}", 1, ""),))}
        cohort = Cohort(("001", "002"), ("T1WI",), scans, tables=(File("clinical.csv", 1, ""),))
        return read_tables(open_source(tmp_path), cohort, SourceConfig())

    return read_it


@pytest.mark.parametrize(("ending", "hinted"), [("dcm", True), ("nii.gz", False)])
def test_where_no_header_was_read_the_hint_is_a_condition(read, ending, hinted):
    warnings = read("PatientID,Age\n4711,50\n4712,60\n", ending).warnings
    assert any("if they are written as PatientID in the headers" in one for one in warnings) == hinted
    assert not any("PatientID in the headers" in one for one in read("PatientID,Age\n001,50\n9,60\n").warnings)


def test_columns_without_a_value_for_anyone_are_named(read):
    table = "PatientID,Age,EBV,Sex,Note\n001,50,,M,\n002,60, ,F,\n9,70,{},M,\n"
    said = "clinical.csv: no patient of this cohort has a value of 1 of its 4 columns: EBV"
    assert said in read(table.format("+")).warnings
    # a column that is empty in the table is what the table says
    assert not any("has a value" in one for one in read(table.format("")).warnings)


def test_numbers_that_stand_for_not_known_are_said(read):
    tables = read("PatientID,Age,OS,Sex\n001,-1,999,M\n002,50,-99,F\n")
    assert tables.warnings == (
        "clinical.csv: Age: 1 entry (-1) taken for not known, and left empty",
        "clinical.csv: OS: 2 entries (-99, 999) taken for not known, and left empty",
    )
    assert np.isnan(tables.columns["age"][1]).tolist() == [True, False]
