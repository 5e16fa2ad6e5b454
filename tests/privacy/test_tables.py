"""Tables in a cleaned copy: they follow the new names of the patients, and tell nobody's."""

import csv

import pydicom
import pytest
from typer.testing import CliRunner

from npczarr.cli.app import app
from npczarr.errors import ParameterError
from npczarr.privacy.audit import audit
from npczarr.privacy.deidentify import deidentify
from tests.builders import noise, oblique_grid, slice_dataset

HEADER = "Patient;Name;Vorname;Geburtsdatum;MRN;Alter;Befund\n"


@pytest.fixture
def source(tmp_path):
    """Return a function that makes a source of one slice in each of some folders."""

    def make(*folders):
        grid = oblique_grid((1, 6, 7), seed=1)
        for number, folder in enumerate(folders):
            (tmp_path / "source" / folder).mkdir(parents=True)
            dataset = slice_dataset(noise(grid)[0], grid, 0)
            dataset.PatientID = f"AB{number}"
            dataset.save_as(tmp_path / "source" / folder / "1.dcm", enforce_file_format=True)
        return tmp_path / "source"

    return make


def rows(path, separator=","):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter=separator))


def ids(folder):
    return sorted(pydicom.dcmread(path).PatientID for path in folder.rglob("*.dcm"))


def test_columns_of_names_go_and_patients_get_their_new_names(source, tmp_path):
    folder = source("Muster_Max/T1WI", "Doe_Jane/T1WI", "003/T1WI")
    text = HEADER + "Muster_Max;Max Muster;Max;01.02.1950;123456;50;T2\nDoe_Jane;Doe;Jane;;;60;Frau Doe am 3.4.2019\n"
    (folder / "tab.csv").write_text(text + "3;Roe;Rick;;;70;MRN 777\nStranger;Poe;Ed;;;80;T1\n")
    done = deidentify(folder, tmp_path / "out", tables=["tab.csv"], workers=0)
    assert not done.failed
    found = rows(tmp_path / "out" / "tab.csv")
    assert [row[0] for row in found] == ["Patient", "3", "patient-001", "patient-002"]  # the order tells nothing
    assert found[:2] == [["Patient", "Alter", "Befund"], ["3", "70", "MRN 777"]]
    assert sorted(row[1:] for row in found[2:]) == [["50", "T2"], ["60", ""]]
    assert ids(tmp_path / "out") == ["003", "patient-001", "patient-002"]
    for column in ("Name", "Vorname", "Geburtsdatum", "MRN"):
        assert any(f"tab.csv: column '{column}': left out" in one for one in done.remarks)
    assert any("'Befund': 1 entries emptied" in one for one in done.remarks)
    assert any("1 rows left out" in one for one in done.remarks)
    assert audit(tmp_path / "out", workers=0).clean


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("Alter,Sex\n50,m\n", "no column holds the names of the patients' folders"),
        ("Patient,Alter\nMax,50\n", "no column holds the names of the patients' folders"),
        ("Patient\nMax\n", "expected a header line with at least two columns"),
        ("Patient,Alter\n", "no column holds"),
        ('Patient,Name,Alter\nMuster_Max,"Max,50\nDoe_Jane,Jane,60\n', "line 2: the end of a cell"),
        ("Patient,Alter\nMuster_Max,50,Max\n", "line 2: more cells than the 2"),
        ("Patient,Alter\nMuster_Max,50\nPatient,Freund\nMuster_Max,Jane\n", "line 3: the name of a column"),
    ],
)
def test_a_table_that_cannot_follow_is_not_copied_and_failed(source, tmp_path, table, said):
    folder = source("Muster_Max/T1WI")
    (folder / "tab.csv").write_text(table)
    assert "line" not in said or said in audit(folder, workers=0).unread["tab.csv"]
    done = deidentify(folder, tmp_path / "out", tables=["tab.csv"], workers=0)
    assert said in done.failed["tab.csv"]
    assert not list((tmp_path / "out").rglob("*.csv"))


def test_two_folders_of_one_name_leave_open_whose_a_row_is(source, tmp_path):
    folder = source("A/Muster/T1WI", "B/Muster/T1WI")
    (folder / "tab.csv").write_text("Patient,Alter\nMuster,50\n")
    done = deidentify(folder, tmp_path / "out", tables=["tab.csv"], workers=0)
    assert "have one name" in done.failed["tab.csv"]
    assert ids(tmp_path / "out") == ["patient-001", "patient-002"]


def test_of_two_columns_of_patients_that_of_the_folders_stays(source, tmp_path):
    folder = source("Muster_Max/T1WI")
    (folder / "tab.tsv").write_text("ID\tPatient\tAlter\n991\tMuster_Max\t50\n")
    deidentify(folder, tmp_path / "out", tables=["tab.tsv"], workers=0)
    assert rows(tmp_path / "out" / "tab.tsv", "\t") == [["Patient", "Alter"], ["patient-001", "50"]]


@pytest.mark.parametrize("keep", [False, True])
def test_visits_get_their_new_names_too(source, tmp_path, keep):
    folder = source("Muster/2019-03-04/T1WI", "Muster/2019-05-06/T1WI")
    (folder / "tab.csv").write_text("Patient,Session,Size\nMuster,2019-05-06,7\nMuster,2019-03-04,9\nMuster,2020,1\n")
    layout = tmp_path / "layout.toml"
    layout.write_text(
        '[layout]\nimages = "{patient}/{session}/{sequence}/**"\n[sequences]\nT1WI = { folder = "T1WI" }\n'
    )
    done = deidentify(folder, tmp_path / "out", tables=["tab.csv"], keep_patients=keep, config=layout, workers=0)
    name = "Muster" if keep else "patient-001"
    assert rows(tmp_path / "out" / "tab.csv")[1:] == [[name, "visit-002", "7"], [name, "visit-001", "9"]]
    assert any("1 rows left out" in one for one in done.remarks)


def test_a_table_that_is_not_there_is_refused(source, tmp_path):
    with pytest.raises(ParameterError, match="no such table in the source"):
        deidentify(source("Muster/T1WI"), tmp_path / "out", tables=["nowhere.csv"], workers=0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("below", ["scans/5", "scans/5/resources/DICOM/files", "5", "5/DICOM"])
@pytest.mark.parametrize("keep", [False, True])
def test_the_patient_is_above_folders_that_are_named_after_what_they_hold(source, tmp_path, below, keep):
    folder = source(f"Muster_Max/{below}", f"Doe_Jane/{below}")
    done = deidentify(folder, tmp_path / "out", keep_patients=keep, workers=0)
    assert ids(tmp_path / "out") == (["Doe_Jane", "Muster_Max"] if keep else ["patient-001", "patient-002"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(ids(tmp_path / "out"))
    assert (done.numbered, done.remarks) == (0 if keep else 2, ())


def test_it_is_said_where_a_folder_above_was_numbered_in_spite_of_the_option(source, tmp_path):
    folder = source("Muster_Max/before/5", "Doe_Jane/before/5", "Doe_Jane/after/5")  # each of another PatientID
    printed = CliRunner().invoke(
        app, ["deidentify", str(folder), str(tmp_path / "out"), "--keep-patients", "--workers", "0"]
    )
    assert printed.exit_code == 0
    assert "2 folders above those were renamed to numbers although --keep-patients was given" in " ".join(
        printed.output.split()
    )
    assert ids(tmp_path / "out") == ["after", "patient-001", "patient-002"]  # no one is called "before"
    deidentify(folder, tmp_path / "numbered", workers=0)
    assert ids(tmp_path / "numbered") == ["patient-001", "patient-002", "patient-003"]


def test_a_copy_of_nothing_is_no_success(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "LICENSE").write_text("none")
    printed = CliRunner().invoke(app, ["deidentify", str(folder), str(tmp_path / "out"), "--workers", "0"])
    assert printed.exit_code == 1
    assert "nothing was copied" in printed.output


@pytest.mark.parametrize(
    "day", ["4.3.19", "14.3.62", "04-MAR-2019", "March 4th 2019", "2019年3月4日", "14.03.1962", "seen 4 Mar 2019"]
)
def test_a_day_is_emptied_in_whatever_form_it_is_written_and_said(source, tmp_path, day):
    folder = source("001/T1WI")
    (folder / "tab.csv").write_text(f"Patient;Befund;Size\n001;{day};4.3\n", encoding="utf-8")
    assert [one.name for one in audit(folder, workers=0).notes if "column" in one.name] == [
        "entries of the column 'Befund'"
    ]
    done = deidentify(folder, tmp_path / "out", tables=["tab.csv"], workers=0)
    assert rows(tmp_path / "out" / "tab.csv")[1:] == [["001", "", "4.3"]]
    assert any("'Befund': 1 entries emptied" in one for one in done.remarks)


def test_a_column_of_days_of_a_spreadsheet_is_left_out(source, tmp_path):
    folder = source("001/T1WI", "002/T1WI")
    (folder / "tab.csv").write_text("Patient,RT begin,Volume\n001,43211,43211\n002,43528.5,43528.5\n")
    done = deidentify(folder, tmp_path / "out", tables=["tab.csv"], workers=0)
    assert rows(tmp_path / "out" / "tab.csv")[0] == ["Patient", "Volume"]
    assert any("column 'RT begin': left out" in one for one in done.remarks)
