"""Entries of tables that are codes: none becomes a number that it is not, and no event that is not certain."""

import pytest

from npczarr.model.cohort import Cohort, File
from npczarr.sources.columns import starting_map
from npczarr.sources.config import SourceConfig, load_config
from npczarr.sources.files import open_source
from npczarr.sources.tables import read_tables


@pytest.fixture
def read(tmp_path):
    """Read a table for the patients 1, 2 and 10."""

    def read_it(info, config=None):
        (tmp_path / "info.csv").write_text(info)
        cohort = Cohort(("1", "2", "10"), ("B",), {}, tables=(File("info.csv", 1, ""),))
        return read_tables(open_source(tmp_path), cohort, config or SourceConfig())

    return read_it


def values(tables, name):
    return tables.columns[name][1].tolist()


@pytest.mark.parametrize(
    "entries",
    [
        ["007", "010", "0"],
        ["1", "-01", "2"],
        ["00", "1", "2"],
        ["007.5", "1", "2"],
        ["12345678901234567890", "12345678901234567891", "3"],
        ["9007199254740993", "", "3"],
        ["1E2", "12E4", "-99"],
    ],
)
def test_codes_are_no_numbers_and_stay_as_they_are_written(read, entries):
    first, second, third = entries
    tables = read(f"ID,Age,Code\n1,50,{first}\n2,60,{second}\n10,70,{third}\n")
    assert values(tables, "Code") == entries
    assert tables.columns["Code"][0].dtype == "string"
    assert tables.warnings == ()


def test_numbers_that_a_float_holds_stay_numbers(read):
    tables = read("ID,Age,Dose,Count\n1,045,0.70,0\n2,050,0,123456789012345\n10,061,-0.5,1.0e3\n")
    assert values(tables, "Dose") == [0.7, 0, -0.5]
    assert values(tables, "Count") == [0, 123456789012345, 1000]
    assert values(tables, "age") == [45, 50, 61], "of a column that is known the meaning counts"


def test_events_that_are_not_certain_are_said_where_the_table_can_be_corrected(tmp_path, read):
    (warning,) = read("ID,Death\n1,1\n2,2\n").warnings
    assert warning.startswith("info.csv: no survival can be computed: column 'Death' does not say for certain")
    assert read("ID,Death\n1,1\n2,0\n").warnings == ()
    (tmp_path / "words.toml").write_text('[values.death]\n"1" = "alive"\n"2" = "dead"\n')
    tables = read("ID,Death\n1,1\n2,2\n", load_config(tmp_path / "words.toml"))
    assert values(tables, "death") == ["alive", "dead", ""]
    assert tables.warnings == ()


def test_a_starting_map_shows_no_range_of_codes(tmp_path):
    (tmp_path / "t.csv").write_text("ID,Code,Dose\n1,007,60\n2,010,70\n")
    text = starting_map(tmp_path / "t.csv")
    assert '"Code" = ""  # text, 2 different entries' in text
    assert '"Dose" = ""  # 60 to 70' in text


@pytest.mark.parametrize(
    "table",
    [
        "ID;Age;Survival (days);Size mm3\n1;54,5;1.234;12.000\n2;61,0;987;3.400\n10;47,1;2.001;900\n",
        "ID;Age;Survival (days);Size mm3\n1;54;1.234;12.000\n2;61;987;3.400\n10;47;2.001;1.045.678\n",
        'ID,Age,Survival (days),Size mm3\n1,"54,5",1.234,12.000\n2,"61,0",987,3.400\n10,"47,1",2.001,900\n',
    ],
)
def test_numbers_that_may_be_thousands_are_no_decimals(read, table):
    tables = read(table)
    assert values(tables, "overall_survival") == ["1.234", "987", "2.001"]
    assert values(tables, "Size_mm3")[:2] == ["12.000", "3.400"]
    of_days, of_size = tables.warnings
    assert of_days.startswith("info.csv: Survival (days): '1.234' may be 1234 or a decimal number")
    assert of_size.startswith("info.csv: Size mm3: '12.000' may be 12000 or a decimal number")


@pytest.mark.parametrize(
    "table",
    [
        "ID;Age;Size\n1;54;0.938\n2;61;1.234\n10;47;2.001\n",  # no thousands begin with 0
        "ID;Age;Size\n1;54.5;1.234\n2;61;1.5\n10;47;2.001\n",
        "ID,Age,Size\n1,54,1.234\n2,61,1.234\n10,47,2.001\n",
    ],
)
def test_decimal_points_that_cannot_be_thousands_are_numbers(read, table):
    tables = read(table)
    assert tables.columns["Size"][1].dtype == float
    assert tables.warnings == ()
