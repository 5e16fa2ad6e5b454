"""What tells who the patients are enters no store: columns of tables, dates in them, words in headers and sidecars."""

import pydicom
import pytest

from npczarr.graphs.source_columns import without_identities
from npczarr.model.cohort import Cohort, File, Visit
from npczarr.sources.acquisition import IDENTITIES, acquisition
from npczarr.sources.config import SourceConfig
from npczarr.sources.files import open_source
from npczarr.sources.headers import quiet
from npczarr.sources.sidecar import header_of
from npczarr.sources.tables import read_tables


@pytest.fixture
def published(tmp_path):
    """Return the columns of a table of the patients 001, 002 and 003 that a store takes, and the remarks."""

    def run(table, keep=(), columns=None, visits=None):
        (tmp_path / "t.csv").write_text(table, encoding="utf-8")
        cohort = Cohort(("001", "002", "003"), ("A",), {}, tables=(File("t.csv", 1, ""),), visits=visits or {})
        read = read_tables(open_source(tmp_path), cohort, SourceConfig(columns=columns or {}))
        taken = without_identities(read, keep)
        return set(taken.columns), " | ".join(taken.warnings)

    return run


NUMBERS = "Case,PatientID,PID,Sex,SeriesInstanceUID\n" + "".join(
    f"00{i},73421{i},73421{i},F,1.2.3.4.5.6.{i}\n" for i in (1, 2, 3)
)


def test_numbers_of_a_hospital_are_left_out_beside_the_column_of_labels(published):
    taken, said = published(NUMBERS)
    assert taken == {"sex"}
    for column in ("PatientID", "PID", "SeriesInstanceUID"):
        assert f"--keep {column!r}" in said
    assert published(NUMBERS, keep=["pid"])[0] == {"sex", "PID"}


@pytest.mark.parametrize("name", ["patient", "subject", "ID", "PatientID", "Pseudonym", "No", "病人ID"])
def test_the_column_of_labels_joins_rows_by_whatever_name_and_is_no_loss(published, name):
    taken, said = published(f"{name},Sex,Dose\n001,F,66\n002,M,70\n003,M,70\n")
    assert taken == {"sex", "Dose"}
    assert "left out" not in said


def test_a_column_of_numbers_that_is_declared_joins_rows(published):
    taken, said = published("ID-Nr,Sex\n001,F\n002,M\n", columns={"ID-Nr": "patient"})
    assert taken == {"sex"}
    assert "left out" not in said


def test_subject_and_session_of_visits_are_of_the_store_itself(published):
    visits = {label: Visit("7", label) for label in ("001", "002", "003")}
    assert {"subject", "session"} <= published("subject,Sex\n7,F\n", visits=visits)[0]


@pytest.mark.parametrize(
    "entries",
    [
        ("2019-03-04", "20190304", "4.3.19"),
        ("20190304", "20190305", "20190306"),
        ("14 Mar 1962", "March 4th 2019", '"Mar 4, 2019"'),
        ("2019年3月4日", "04-MAR-2019", "03/14/62"),
    ],
)
def test_a_column_of_dates_is_left_out_however_they_are_written(published, entries):
    table = "ID,Seen\n" + "".join(f"00{i},{entry}\n" for i, entry in enumerate(entries, 1))
    assert published(table)[0] == set()
    assert published(table, keep=["Seen"])[0] == {"Seen"}


def test_every_date_that_is_kept_is_counted(published):
    notes = ["geb. 14.3.62", "seen 04-MAR-2019", *["well"] * 4]
    rows = "".join(f"{label},{note}\n" for label, note in zip(["001", "002", "003"], notes, strict=False))
    taken, said = published(f"ID,Remark\n{rows}")
    assert (taken, "holds exact dates" in said) == (set(), True)
    taken, said = published("ID,Remark\n001,well\n002,geb. 14.3.62\n003,better\n")
    assert taken == {"Remark"}
    assert "1 entry with an exact date is kept" in said


def test_numbers_are_no_dates(published):
    assert published("ID,Copies,Dose\n001,1234567,66.5\n002,20991301,70\n003,,\n")[0] == {"Copies", "Dose"}


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("PatientName", "LI^WU", "scanner of LI WU"),
        ("PatientName", "Müller^Jürgen", "Mueller"),
        ("PatientName", "李^伟", "李伟"),
        ("PatientBirthDate", "19620314", "S 14031962"),
        ("PatientAddress", "Zanzibar Road", "of Zanzibar"),
        ("AdmissionID", "A7342", "A7342"),
        ("StudyID", "73421", "73421"),
        ("RequestingPhysician", "House^G", "House"),
        ("NameOfPhysiciansReadingStudy", ["A^B", "Wilson^J"], "Wilson"),
        ("SeriesDescription", "", "ZQ 03/04/2019"),
        ("SeriesDescription", "", "ZQ 14.03.1962"),
    ],
)
def test_texts_of_a_header_that_hold_a_word_of_somebody_or_a_date_are_left_empty(field, value, text):
    header = pydicom.Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.Manufacturer, header.ManufacturerModelName = "GE MEDICAL SYSTEMS", text
    with quiet():
        setattr(header, field, value)
        found = acquisition(header)
    assert (found["scanner_model"], found["manufacturer"]) == ("", "GE MEDICAL SYSTEMS")


def test_a_short_number_of_a_study_tells_nothing():
    header = pydicom.Dataset()
    header.ManufacturerModelName, header.StudyID = "Optima XYZ", "XYZ"
    assert acquisition(header)["scanner_model"] == "Optima XYZ"


@pytest.mark.parametrize("text", ["ZQMODEL ZQNAME", "Skyra 734215", "born 14.03.1962", "born 14.3.62"])
def test_names_and_numbers_of_a_sidecar_are_searched_for_in_its_other_fields(text):
    sidecar = {"PatientName": "ZQNAME^A", "PatientID": "734215", "PatientBirthDate": "1962-03-14"}
    header, doubts = header_of({**sidecar, "ManufacturersModelName": text, "Manufacturer": "Siemens"})
    found = acquisition(header)
    assert (found["scanner_model"], found["manufacturer"], doubts) == ("", "Siemens", [])


def test_a_sidecar_of_odd_identities_is_read():
    odd = (["A^B", "C^D"], 12345, "", None, {"x": 1}, True, "a" * 600, "14.03.1962", "1962-03-14T00:00:00")
    for value in odd:
        header, _ = header_of(dict.fromkeys(IDENTITIES, value) | {"ManufacturersModelName": "Skyra"})
        assert acquisition(header)["scanner_model"] == "Skyra"
