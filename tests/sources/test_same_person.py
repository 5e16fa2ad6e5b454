"""Folders whose headers name one person: said, since splits and statistics take patients for persons."""

import pytest

import npczarr as npc
from npczarr.sources.scout import scout
from tests.builders import noise, oblique_grid, write_series

pytestmark = pytest.mark.slow  # converts cohorts


@pytest.fixture
def cohort(tmp_path):
    """Write a T1WI for each folder, with the PatientID and the StudyInstanceUID that are given for it."""

    def write(numbers, studies=None):
        for p, (folder, number) in enumerate(numbers.items()):
            study = (studies or {}).get(folder, f"1.3.{p}")

            def edit(ds, z, number=number, study=study):
                ds.PatientID, ds.StudyInstanceUID, ds.SeriesDescription = number, study, "t1_tse_tra"
                ds.ScanningSequence = "SE"

            grid = oblique_grid((4, 8, 9), seed=p)
            write_series(tmp_path / "source" / folder / "T1WI", noise(grid), grid, edit=edit, series=f"1.2.{p}")
        return tmp_path / "source"

    return write


def remarks_of(source):
    result = npc.convert(source, source.parent / "s.zarr", workers=0)
    return [one for one in result.attrs["remarks"] if "one person" in one or "fewer persons" in one]


def test_two_folders_with_one_number_are_said_by_scout_and_convert(cohort):
    source = cohort({"001": "4711", "002": "4712", "007": "4711"})
    (said,) = remarks_of(source)
    assert said.startswith("2 patients may be one person (001 and 007 share a PatientID): ")
    assert "4711" not in said


def test_scout_says_it_where_it_reads_headers(cohort):
    source = cohort({"001": "4711", "002": "4712", "007": "4711"})
    for folder in sorted(source.iterdir()):
        (folder / "T1WI").rename(folder / "0004")
    assert ["001 and 007 share a PatientID" in one for one in scout(source).remarks] == [True]


def test_one_study_under_two_names_is_said_again_when_nothing_is_new(cohort):
    source = cohort({"001": "1", "002": "2", "003": "3"}, {"001": "1.9", "003": "1.9"})
    first, again = remarks_of(source), remarks_of(source)
    assert first == again
    (said,) = again
    assert said.startswith("2 patients may be one person (001 and 003 share a StudyInstanceUID): ")


def test_what_stands_for_everybody_tells_nothing(cohort):
    assert remarks_of(cohort({"001": "ANON", "002": "ANON", "003": "000", "004": "000", "005": "", "006": ""})) == []


def test_a_number_that_a_whole_delivery_was_given_tells_nothing(cohort):
    assert remarks_of(cohort({f"{p:03}": "NPC2021" for p in range(1, 6)})) == []


def test_visits_of_one_patient_are_known_to_be_of_one_person(cohort, tmp_path):
    source = cohort({"001/pre": "4711", "001/post": "4711", "002/pre": "4712"})
    config = tmp_path / "visits.toml"
    config.write_text(
        '[layout]\nimages = "{patient}/{session}/{sequence}/**"\n[sequences]\nT1WI = { folder = "T1WI", mask = "T1" }\n'
        '[sessions]\norder = ["pre", "post"]\n'
    )
    result = npc.convert(source, tmp_path / "s.zarr", config=config, workers=0)
    assert sorted(result.patient.values) == ["001_ses-post", "001_ses-pre", "002_ses-pre"]
    assert result.attrs["remarks"] == []
