"""Rules by words of a column's name, dates as they are written, and names in each of their spellings."""

import pytest

from npczarr.model.clinical import CLINICAL, PATIENT_ALIASES
from npczarr.model.identifiers import (
    identifies_beside_labels,
    identifies_by_name,
    identity_words,
    is_date,
    tells_who,
)

CONTACTS = (
    *("Phone (home)", "home phone", "HomePhone", "mail address", "Next of kin phone", "Relative name", "Pt. initials"),
    *("Nachn.", "Vorn.", "Ph.", "Hausarztname", "Te\u0301le\u0301phone du patient", "Ort", "City", "Wohnort"),
)
NUMBERS = (
    *("ID-Nr", "Patient ID 2", "Pat.-Nr. KIS", "KIS-Nr", "KH-Nr", "SV-Nummer", "SVN", "Versichertennr.", "IBAN"),
    *("Passnummer", "Study UID", "StudyID", "SeriesInstanceUID", "StudyInstanceUID", "studyinstanceuid", "住院ID"),
    *("检查编号", "影像编号"),
)
DAYS = (
    *("geb. am", "Birth", "Birth year", "Year of birth", "Geburtsjahr", "MRT vom", "operiert am", "Datetime"),
    *("Timestamp", "Scan time", "检查时间", "手术时间", "入院时间"),
)
CLINICAL_ONES = (
    *("survival time", "生存时间", "随访时间", "echo time", "scan time (min)", "birth weight", "Year of diagnosis"),
    *("T stage", "EBV DNA", "phonation", "mailing", "Fallzahl", "relative dose", "cystic fluid", "fluid", "liquid"),
    *("addressed", "Place of relapse", "patient age", "Number of nodes", "检查次数", "住院时间", "至手术时间", "Code"),
    *("Cortisol (8 am)", "Drug name", "acq_time", "Sex code", "pT", "Microphone test", "T1 ID ratio"),
)


@pytest.mark.parametrize("column", [*CONTACTS, *NUMBERS, *DAYS])
def test_words_of_a_name_tell_wherever_they_are(column):
    assert identifies_by_name(column)


@pytest.mark.parametrize("column", CLINICAL_ONES)
def test_clinical_names_pass(column):
    assert not identifies_by_name(column)


def test_no_clinical_field_is_taken_for_an_identifier():
    aliases = [alias for field in CLINICAL for alias in (field.name, *field.aliases)]
    written = [*aliases, *(f"{alias} (months)" for alias in aliases), *map(str.upper, aliases)]
    assert [alias for alias in written if identifies_beside_labels(alias)] == []


@pytest.mark.parametrize("column", [*PATIENT_ALIASES, "PatientID", "Pat-ID", "病人ID", "PID"])
def test_a_column_of_patients_tells_beside_that_of_the_labels(column):
    assert identifies_beside_labels(column)


@pytest.mark.parametrize(
    "text",
    [
        *("14.03.1962", "4.3.2019", "03/04/2019", "14 Mar 1962", "14-MAR-1962", "14MAR62", "1962/03/14", "1962-3-14"),
        *("2019年3月4日", "2019 年 3 月 4 日", "March 4th 2019", "Mar 4, 2019", "4. März 2019", "19620314", "14.03.62"),
        *("03/14/62", "14-03-62", "1962-MAR-14"),
    ],
)
@pytest.mark.parametrize("around", ["{}", "ZQMODEL {}", "seen {}, well", "{}_tse"])
def test_dates_are_found_as_they_are_written(text, around):
    assert tells_who(around.format(text), ())
    assert is_date(around.format(text))


@pytest.mark.parametrize(
    "text",
    [
        *("syngo MR E11", "5.3.1", "1.5", "R5.4.1.0", "VB17A", "2017.1", "Ingenia 3.0T", "MAGNETOM_ESSENZA", "Optima"),
        *("Discovery MR750w 3.0T", "Achieva dStream", "5.3.0.3", "syngo MR XA30", "29\\LX\\MR Software release:DV29.1"),
        *("27_LX_MR Software release:DV25.0_R02_1549.b", "*tse2d1_9", "63.872245", "V6.0", "10 of 12", "T2 N1 M0"),
        *("1/2/3", "HEAD 20 MAY", "March of 12", "2019年3月", "4.12.1"),
    ],
)
def test_versions_and_models_are_no_dates(text):
    assert not tells_who(text, ())


@pytest.mark.parametrize("text", ["14031962", "140362", "620314", "03141962", "born 14.3.62", "3/14/62", "14-3-62"])
def test_a_birth_date_of_the_header_is_found_in_other_spellings(text):
    for written in ("19620314", "1962-03-14"):
        assert tells_who(text, identity_words([written]))
    assert not tells_who(text, identity_words(["19620315"]))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("LI^WU", text) for text in ("scanner of LI WU", "li_wu", "WU, LI", "LiWu", "coil Li", "Wu 3T")),
        *(("李^伟", text) for text in ("李伟的", "scanner 李 伟", "伟李")),
        *(("Wang^Li", text) for text in ("WangLi", "liwang", "WANG")),
        *(("Müller^Jürgen", text) for text in ("Mueller", "MULLER", "Müller", "Mu\u0308ller", "juergen", "xMuellerx")),
        *(("MULLER^A", text) for text in ("Müller", "müller_a")),
        *(("Mueller^A", text) for text in ("Müller", "MÜLLER")),
        *(("Łukasz^A", text) for text in ("Lukasz", "ŁUKASZ")),
        *(
            ("Lukasz^A", "Łukasz"),
            ("Grün^A", "Gruen"),
            ("Gruen^A", "Grün"),
            ("Søren^A", "Soren"),
            ("Søren^A", "Soeren"),
        ),
        *(("Ge^Xu", "GE XU"), ("Ge^Xu", "xu"), ("GE^MR", "GE MR")),
    ],
)
def test_names_are_found_in_each_spelling_and_though_they_are_short(name, text):
    assert tells_who(text, identity_words([name]))


@pytest.mark.parametrize(
    "text", ["GE", "MR", "SE", "TR", "Philips", "GE MEDICAL SYSTEMS", "Discovery MR750w", "SIEMENS"]
)
@pytest.mark.parametrize("name", ["Ge^Mr", "Se^Tr", "LI^WU", "Li^Philips", "李^伟"])
def test_words_of_scanners_stay(name, text):
    assert not tells_who(text, identity_words([name]))


def test_one_ideograph_tells_only_together_with_the_other():
    assert not tells_who("伟大", identity_words(["李^伟"]))
