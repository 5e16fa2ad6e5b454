"""Which row of a table is whose: the column of patients, labels that are written alike, rows of scans."""

import os
import subprocess
import sys
import tomllib
import unicodedata

import numpy as np
import pytest

from npczarr.errors import SourceError
from npczarr.model.cohort import Cohort, File, Visit
from npczarr.sources.columns import starting_map
from npczarr.sources.config import SourceConfig
from npczarr.sources.discover import sort_files
from npczarr.sources.files import open_source
from npczarr.sources.tables import read_tables


@pytest.fixture
def read(tmp_path):
    """Read one table for some patients and the sequences T1WI and T2WI."""

    def read_it(text, patients=("001", "002", "003"), columns=None, **of_cohort):
        (tmp_path / "clinical.csv").write_text(text, encoding="utf-8")
        cohort = Cohort(tuple(patients), ("T1WI", "T2WI"), {}, tables=(File("clinical.csv", 1, ""),), **of_cohort)
        return read_tables(open_source(tmp_path), cohort, SourceConfig(columns=columns or {}))

    return read_it


def ages(tables):
    return [None if np.isnan(age) else age for age in tables.columns["age"][1].tolist()]


@pytest.mark.parametrize("name", ["PatientID", "Patient ID", "participant_id", "Subject", "患者编号"])
def test_the_more_specific_column_says_whose_row_it_is_and_that_is_said(read, name):
    tables = read(f"ID,{name},Age,Sex\n1,003,30,M\n2,001,10,F\n3,002,20,M\n")
    assert ages(tables) == [10, 20, 30]
    (remark,) = tables.warnings
    assert f"'{name}' was taken for the patient; 'ID' would give other patients" in remark


def test_columns_that_give_the_same_patients_need_no_remark(read):
    tables = read("ID,PatientID,Age\n3,003,30\n1,001,10\n2,002,20\n")
    assert ages(tables) == [10, 20, 30]
    assert tables.warnings == ()


def test_a_specific_column_that_names_no_patient_of_the_images_is_passed_over(read):
    tables = read("ID,Patient ID,Age\n003,H7,30\n001,H9,10\n")
    assert ages(tables) == [10, None, 30]
    assert tables.warnings == ()
    tables = read("ID,Patient ID,Age\n1,H7,30\n2,H9,10\n")
    assert ages(tables) == [30, 10, None]
    assert (
        "'ID' was taken for the patient; it numbers the rows 1, 2, 3 …, and 'Patient ID' names no"
        in (tables.warnings[0])
    )


@pytest.mark.parametrize(
    "text", ["Patient,Subject,Age\n3,1,30\n1,3,10\n2,2,20\n", "Patient ID,ID,Age\n1,3,30\n2,1,10\n3,2,20\n"]
)
def test_columns_none_of_which_is_beyond_doubt_leave_the_table_out(read, text):
    tables = read(text)
    assert not tables.columns
    assert "give different patients; name the one that is meant in a TOML file" in tables.warnings[0]
    first = text.partition(",")[0]
    assert ages(read(text, columns={first: "patient"})) != ages(read(text, columns={text.split(",")[1]: "patient"}))


def test_a_column_of_answers_is_no_column_of_patients(read):
    tables = read("ID,Case,Age\n3,1,30\n1,0,10\n2,1,20\n")
    assert ages(tables) == [10, 20, 30]
    assert "'ID' was taken for the patient; 'Case' would give other patients" in tables.warnings[0]


@pytest.mark.parametrize("name", ["No", "No.", "Number", "Index", "序号"])
def test_a_number_of_rows_is_no_patient(read, name):
    tables = read(f"{name},Scanner,Site\n1,Achieva,north\n2,Skyra,south\n3,Prisma,east\n")
    assert not tables.columns
    assert f"no column of patient numbers among ['{name}', 'Scanner', 'Site']; {name!r} may count" in tables.warnings[0]
    assert ages(read(f"{name},ID,Age\n1,3,30\n2,1,10\n")) == [10, None, 30]


def test_a_number_that_is_the_very_label_is_a_patient(read):
    tables = read("No,Age\n003,30\n001,10\n")
    assert ages(tables) == [10, None, 30]
    assert tables.warnings == ()
    tables = read("No,Age\n1,10\n2,20\n", patients=("1", "2"))
    assert ages(tables) == [10, 20]
    assert "'No' was taken for the patient; it numbers the rows 1, 2, 3 …. If it is no number" in tables.warnings[0]


@pytest.mark.parametrize(
    ("header", "key", "words"),
    [
        ("ID,PatientID", "PatientID", '"PatientID" was taken for the patient, and not "ID"'),
        ("No,ID", "ID", '"ID" was taken for the patient, and not "No"'),
        ("No,Scanner", None, "Which column has the patients is not clear"),
        ("Ward,Scanner", None, "No column of patient numbers was found"),
    ],
)
def test_a_starting_map_takes_the_more_specific_column(tmp_path, header, key, words):
    (tmp_path / "a.csv").write_text(f"{header},Age\n1,003,30\n2,001,10\n")
    text = starting_map(tmp_path / "a.csv")
    named = tomllib.loads(text)["columns"]
    assert [name for name, meaning in named.items() if meaning == "patient"] == ([key] if key else [])
    assert words in text


@pytest.mark.parametrize("patients", [("1", "01", "001"), ("001", "01", "1"), ("sub-1", "sub-01", "sub-001")])
def test_labels_that_differ_in_leading_zeros_are_read_exactly(read, patients):
    ids = [patient.removeprefix("sub-") for patient in patients]
    tables = read("ID,Age\n" + "".join(f"{one},{len(one)}\n" for one in reversed(ids)), patients)
    assert ages(tables) == [len(one) for one in ids]
    assert tables.warnings == ()


def test_labels_that_differ_in_case_are_read_exactly(read):
    assert ages(read("ID,Age\np1,10\nP1,20\n", ("P1", "p1"))) == [20, 10]
    assert ages(read("ID,Age\np1,10\n", ("P1",))) == [10]


def test_an_entry_that_may_be_any_of_several_patients_is_left_out_and_named(read):
    tables = read("ID,Age\n0001,10\n2,20\n", ("1", "01", "2"))
    assert ages(tables) == [None, None, 20]
    (remark,) = tables.warnings
    assert "rows of 1 patients were left out; write them as folders are called: '0001' may be any of 1, 01" in remark


def test_an_entry_like_that_of_a_patient_who_has_a_row_is_left_out_and_named(read):
    """The other one may be in another source."""
    for text in ("ID,Age\n01,10\n1,20\n", "ID,Age\n1,20\n01,10\n"):
        tables = read(text, ("1",))
        assert ages(tables) == [20]
        assert "'01' may be another than 1, who has a row" in tables.warnings[0]


def test_visits_that_differ_in_leading_zeros_are_read_exactly(read):
    visits = [Visit("001", "1"), Visit("001", "01"), Visit("1", "1")]
    labels = [visit.label for visit in visits]
    text = "ID,Session,Age\n001,01,20\n001,1,10\n1,ses-1,30\n"
    assert ages(read(text, labels, visits=dict(zip(labels, visits, strict=True)))) == [10, 20, 30]


def test_accented_names_of_macos_are_those_of_tables(read):
    apart = unicodedata.normalize("NFD", "Müller")
    assert apart != "Müller"
    assert ages(read("ID,Age\nMüller,10\n", [apart])) == [10]


@pytest.mark.slow
def test_patients_whose_labels_are_alike_come_in_the_same_order_in_every_run():
    code = (
        "from npczarr.model.cohort import File\n"
        "from npczarr.sources.config import SourceConfig\n"
        "from npczarr.sources.discover import sort_files\n"
        "files = [File(f'{label}/T1WI/1.dcm', 1, '') for label in ('1', '01', '001', '0001', 'P1', 'P01')]\n"
        "print(sort_files(files, SourceConfig()).patients)\n"
    )
    orders = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "1234"
    }
    assert len(orders) == 1
    files = [File(f"{label}/T1WI/1.dcm", 1, "") for label in ("10", "1", "9", "01")]
    assert sort_files(files, SourceConfig()).patients == ("01", "1", "9", "10")


def test_rows_of_an_unknown_sequence_are_left_out_and_the_others_are_of_scans(read):
    rows = [f"{i},{sequence},{i}{j}" for i in (1, 2, 3) for j, sequence in enumerate(("T1WI", "DWI", "T2WI"))]
    tables = read("\n".join(["ID,Sequence,TE", *rows]) + "\n")
    variable, values = tables.columns["TE"]
    assert variable.dims == ("patient", "sequence")
    np.testing.assert_array_equal(values, [[10, 12], [20, 22], [30, 32]])
    (remark,) = tables.warnings
    assert remark == "clinical.csv: 3 rows of sequences that the images have not ('DWI') were left out"


def test_a_column_none_of_whose_entries_is_a_sequence_has_another_meaning(read):
    tables = read("ID,Scan,Age\n1,yes,10\n2,no,20\n")
    assert tables.columns["Scan"][1].tolist() == ["yes", "no", ""]
    tables = read("ID,Scan,Age\n1,yes,10\n2,no,20\n", columns={"Scan": "sequence"})
    assert "2 rows of sequences that the images have not ('yes', 'no')" in tables.warnings[0]


def test_patients_with_several_rows_are_counted_and_not_their_rows(read):
    (warning,) = read("ID,Age\n1,10\n1,11\n1,12\n2,20\n2,21\n").warnings
    assert warning == "clinical.csv: 2 patients have several rows that differ (001, 002); the first is kept"


def test_a_workbook_is_said_to_be_one(tmp_path):
    for name, content in {"clinical.xlsx": b"PK\x03\x04...", "old.xls": b"\xd0\xcf\x11\xe0..."}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=r"a workbook of Excel .* save its sheet as CSV"):
            starting_map(tmp_path / name)
    files = tuple(File(name, 1, "") for name in ("clinical.xlsx", "~$clinical.xlsx", "notes.txt"))
    tables = read_tables(open_source(tmp_path), Cohort(("1",), ("A",), {}, strays=files), SourceConfig())
    (warning,) = tables.warnings
    assert warning.startswith("clinical.xlsx: a workbook of Excel")


def test_rows_of_visits_that_nobody_has_are_not_called_strangers(read):
    visits = {"001_V1": Visit("001", "V1"), "002_V1": Visit("002", "V1"), "002_V2": Visit("002", "V2")}
    tables = read("ID,Visit,Age\n1,V9,10\n2,V2,20\n", patients=tuple(visits), visits=visits)
    assert tables.warnings[0] == "clinical.csv: 1 rows of visits that the images have not ('V9') were left out"
