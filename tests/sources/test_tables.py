import csv
import json
import re
import tomllib

import numpy as np
import pytest

from npczarr.errors import SourceError
from npczarr.model.cohort import Cohort, File
from npczarr.model.published import SEQUENCES
from npczarr.phantom.plan import plan_cohort
from npczarr.phantom.tables import diagnoses, parameters
from npczarr.sources.column_values import read_values
from npczarr.sources.columns import starting_map
from npczarr.sources.config import SourceConfig, load_config
from npczarr.sources.csv_files import parse_csv
from npczarr.sources.files import open_source
from npczarr.sources.tables import read_tables


@pytest.fixture
def read(tmp_path):
    """Read tables, given as text or bytes by file name, for the patients 001, 002, 010 and the sequences A-1 and B."""

    def read_them(columns=None, **tables):
        for name, content in tables.items():
            (tmp_path / f"{name}.csv").write_bytes(content.encode() if isinstance(content, str) else content)
        files = tuple(File(f"{name}.csv", 1, "") for name in tables)
        cohort = Cohort(("001", "002", "010"), ("A-1", "B"), {}, tables=files)
        return read_tables(open_source(tmp_path), cohort, SourceConfig(columns=columns or {}))

    return read_them


def values(tables, name):
    return tables.columns[name][1].tolist()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_encoding_and_separator_are_found(encoding, separator):
    text = "编号,病理 类型\r\n1,鼻咽癌\r\n2,非角化型\r\n".replace(",", separator)
    assert parse_csv(text.encode(encoding)) == [
        {"编号": "1", "病理 类型": "鼻咽癌"},
        {"编号": "2", "病理 类型": "非角化型"},
    ]


def test_accents_of_western_europe_are_no_chinese():
    text = "ID,Größe,Ort\n1,groß,Müllheim\n2,größer,Besançon\n"
    assert parse_csv(text.encode("latin-1"))[1] == {"ID": "2", "Größe": "größer", "Ort": "Besançon"}


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("患者編號,性別,備註\n1,男,很好\n", "big5"),
        ("ID,Größe,Œuvre,€\n1,é,b,3 €\n", "cp1252"),
    ],
)
def test_other_encodings_are_told_by_columns_that_are_known_or_by_accents(text, encoding):
    header, row = (line.split(",") for line in text.splitlines())
    assert parse_csv(text.encode(encoding)) == [dict(zip(header, row, strict=True))]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("ID;Пол;Возраст\n1;м;50\n", "cp1251"), ("ID;성별;나이\n1;남;50\n", "cp949"), ("ID;Φύλο\n1;Α\n", "cp1253")],
)
def test_an_encoding_that_cannot_be_told_is_refused_and_gives_no_mojibake(text, encoding):
    with pytest.raises(SourceError, match=r"the encoding is none of .*; save it again as UTF-8"):
        parse_csv(text.encode(encoding))


def test_a_title_above_the_names_of_columns_is_said_to_be_there():
    with pytest.raises(
        SourceError, match=r"columns 2, 3 have values and no name in the first line.*delete what is above"
    ):
        parse_csv(b"Clinical data,,\nID,Age,Sex\n1,50,F\n")


@pytest.mark.parametrize("line", ["sep=;\r\n", '"sep=;"\n', "sep=;\n\n"])
def test_a_first_line_may_say_the_separator(line):
    # more commas than semicolons in the names: without that line, the comma would be taken
    rows = parse_csv((line + "ID;Size (a,b,c)\n1;2\n").encode())
    assert rows == [{"ID": "1", "Size (a,b,c)": "2"}]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["0,5", "-3,0"], "Leukos: '0,5' has a comma, so the column is kept as text; write numbers with a point"),
        ([*"1234567890", "secret"], "Leukos: 1 entry is no number, the other 10 are; the column is kept as text"),
        (["1", "2", "low"], None),
        (["a", "b"], None),
    ],
)
def test_text_that_was_meant_to_be_numbers_is_said_to_be_text(entries, words):
    read = read_values("Leukos", {(i,): entry for i, entry in enumerate(entries)}, (len(entries),), None)
    assert list(read.column) == entries
    assert read.warnings == ((words,) if words else ())


def test_quotes_hold_separators_and_line_ends():
    assert parse_csv(b'ID,note\n1,"a, b\nc"\n') == [{"ID": "1", "note": "a, b\nc"}]


def test_empty_lines_short_rows_and_separators_at_the_end():
    text = b"\n ID , Age ,Sex,,\n\n1,50\n,,,,\n2,60,F,,\n"
    assert parse_csv(text) == [{"ID": "1", "Age": "50", "Sex": ""}, {"ID": "2", "Age": "60", "Sex": "F"}]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "header line"), (b"one column\n1\n", "header line"), (b"ID,Age,Age\n1,2,3\n", "'Age' occurs twice")],
)
def test_what_is_no_table_is_refused(content, words):
    with pytest.raises(SourceError, match=words):
        parse_csv(content)


def test_known_columns_take_their_name_type_and_units_whatever_they_are_called(read):
    tables = read(
        info="Patient ID,AGE,Gender,T-stage,Overall survival (months),EBV-DNA\n1,50,M,2,12.5,0\n2,61,F,3,,1\n"
    )
    assert values(tables, "age")[:2] == [50, 61]
    assert values(tables, "sex") == ["M", "F", ""]
    assert values(tables, "t_stage") == ["2", "3", ""]
    assert values(tables, "ebv") == ["0", "1", ""]
    np.testing.assert_array_equal(values(tables, "overall_survival"), [12.5, np.nan, np.nan])
    variable = tables.columns["age"][0]
    assert (variable.dims, variable.dtype, variable.units) == (("patient",), "float64", "year")
    assert variable.attributes == {"source_table": "info.csv", "source_column": "AGE"}
    assert tables.warnings == ()


def test_unknown_columns_are_kept_as_they_are(read):
    tables = read(info="ID,Ward / Station,Points,Code,Note\n1,north,1.5,1_2,\n002,south,NA,3_4,x\n10,,2e1,5,\n")
    assert values(tables, "Ward_Station") == ["north", "south", ""]
    np.testing.assert_array_equal(values(tables, "Points"), [1.5, np.nan, 20])
    assert values(tables, "Code") == ["1_2", "3_4", "5"]
    assert values(tables, "Note") == ["", "x", ""]
    assert tables.columns["Points"][0].dtype == "float64"
    assert tables.columns["Note"][0].dtype == "string"


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("ID;Size\n1;1,70\n2;2\n10;NA\n", [1.7, 2, np.nan]),
        ('ID,Size\n1,"1,705"\n2,"0,5"\n', [1.705, 0.5, np.nan]),
        ("ID;Size\n1;1,234\n2;12,500\n", ["1,234", "12,500", ""]),  # or thousands
        ("ID;Size\n1;1,5\n2;1.5\n", ["1,5", "1.5", ""]),
    ],
)
def test_decimal_commas_are_numbers_where_they_are_beyond_doubt(read, table, expected):
    found = values(read(info=table), "Size")
    assert found == expected if isinstance(expected[0], str) else np.array_equal(found, expected, equal_nan=True)


def test_one_word_makes_a_column_text_and_keeps_every_entry(read):
    assert values(read(info="ID,Dose\n1,70\n2,about 66\n10,NA\n"), "Dose") == ["70", "about 66", "NA"]
    assert values(read(info="ID,Age\n1,50\n2,>80\n"), "age") == ["50", ">80", ""]


def test_patients_are_known_by_number_and_not_by_leading_zeros(read):
    tables = read(info="Age,ID\n1,1.0\n2, 0002 \n10,10\n")
    assert values(tables, "age") == [1, 2, 10]


def test_rows_of_strangers_and_repeated_rows_are_counted(read):
    tables = read(info="ID,Age\n1,50\n1,50\n2,60\n2,61\n77,1\nxy,1\n")
    assert values(tables, "age")[:2] == [50, 60]
    assert tables.warnings == (
        "info.csv: 2 rows of patients who have no folder",
        "info.csv: 1 patient has several rows that differ (002); the first is kept",
    )


def test_a_table_of_scans_has_a_value_for_each(read):
    tables = read(meta="ID,Sequence,TE\n1,a-1,10\n1,B,20\n2,A1,30\n")
    variable, column = tables.columns["TE"]
    assert variable.dims == ("patient", "sequence")
    np.testing.assert_array_equal(column, [[10, 20], [30, np.nan], [np.nan, np.nan]])
    assert tables.warnings == ()


def test_a_name_that_is_taken_is_told_apart_by_its_table(read):
    tables = read(a="ID,Age,image,Arm\n1,50,i,p\n", b="ID,Age,Arm\n1,51,q\n")
    assert tables.columns.keys() == {"age", "a_image", "Arm", "b_Age", "b_Arm"}
    assert values(tables, "b_Age")[0] == 51


def test_names_that_differ_in_case_only_or_belong_to_the_store_are_told_apart(read):
    """A file system that ignores case would make one folder of both."""
    tables = read(a="ID,Ward,WARD,Mask,Morphology,affine_row,__zarr\n1,a,b,c,d,e,f\n")
    assert tables.columns.keys() == {"Ward", "a_WARD", "a_Mask", "a_Morphology", "a_affine_row", "zarr"}


def test_a_toml_file_names_columns_before_the_aliases_do(read):
    names = {"Fall": "patient", "Alter": "age", "Age": "age_at_scan", "Gruppe": "arm"}
    tables = read(names, info="ID,Fall,Alter,Age,Gruppe\n9,1,50,51,x\n8,2,60,61,y\n")
    assert values(tables, "age")[:2] == [50, 60]
    assert values(tables, "age_at_scan")[:2] == [51, 61]
    assert values(tables, "arm") == ["x", "y", ""]
    assert values(tables, "ID")[:2] == [9, 8]


def test_a_column_that_a_toml_file_names_is_not_taken_for_its_alias(read):
    assert read({"Age": "age_at_scan"}, info="ID,Age\n1,50\n").columns.keys() == {"age_at_scan"}


def test_a_table_that_cannot_be_understood_is_a_warning_and_costs_no_other(read):
    tables = read(bad="Ward,Age\nnorth,3\n", empty="ID,Age\n", good="ID,Age\n1,50\n")
    assert values(tables, "age")[0] == 50
    assert tables.columns.keys() == {"age"}
    first, second = tables.warnings
    assert "bad.csv: no column of patient numbers among ['Ward', 'Age']" in first
    assert "TOML" in first
    assert "empty.csv: no rows below the header" in second


def test_a_table_that_is_gone_is_a_warning(tmp_path):
    cohort = Cohort(("1",), ("A",), {}, tables=(File("gone.csv", 1, ""),))
    (warning,) = read_tables(open_source(tmp_path), cohort, SourceConfig()).warnings
    assert warning.startswith("gone.csv: cannot be read")


@pytest.mark.parametrize(
    ("column", "entry", "field", "value"),
    [
        ("Age", "045Y", "age", 45),
        ("Age", "018M", "age", 1.5),
        ("Age (months)", "540", "age", 45),
        ("Age at diagnosis [years]", "45 years", "age", 45),
        ("OS_days", "730.5", "overall_survival", 24),
        ("Follow-up (years)", "2", "overall_survival", 24),
        ("Survival time, mo", "7.5", "overall_survival", 7.5),
        ("PFS (weeks)", "52.178571428571431", "progression_free_survival", 12),
    ],
)
def test_ages_and_times_come_in_the_units_of_the_store(read, column, entry, field, value):
    tables = read(info=f'ID,"{column}"\n1,{entry}\n2,NA\n')
    np.testing.assert_allclose(values(tables, field), [value, np.nan, np.nan], rtol=1e-12)
    assert tables.columns[field][0].units == {"age": "year"}.get(field, "month")
    assert tables.warnings == ()


def test_nines_that_may_be_a_time_are_said_where_they_are_far_above_all_others(read):
    tables = read(info="ID,OS (days),PFS (days),Age\n1,9999,2100,99\n2,1200,999,40\n10,400,300,30\n")
    np.testing.assert_allclose(values(tables, "overall_survival"), np.array([9999, 1200, 400]) / 365.25 * 12)
    (warning,) = tables.warnings
    assert warning.startswith("info.csv: OS (days): '9999' is far above all other values and may be a code")


def test_what_was_converted_and_what_was_missing_is_written_down(read):
    tables = read(info="ID,Age,OS (days),Sex,Points\n1,999,999,unknown,999\n2,-1,-9,F,.\n10,50,365.25,M,3\n")
    np.testing.assert_array_equal(values(tables, "age"), [np.nan, np.nan, 50])
    assert tables.columns["age"][0].attributes["missing_codes"] == ["-1", "999"]
    np.testing.assert_allclose(values(tables, "overall_survival"), [999 / 365.25 * 12, np.nan, 12])
    assert tables.columns["overall_survival"][0].attributes["missing_codes"] == ["-9"]
    assert tables.columns["overall_survival"][0].attributes["source_units"] == "day"
    assert values(tables, "sex") == ["", "F", "M"]
    assert tables.columns["sex"][0].attributes["missing_codes"] == ["unknown"]
    # of a column that nobody knows, nobody knows what makes sense
    np.testing.assert_array_equal(values(tables, "Points"), [999, np.nan, 3])
    json.dumps({name: variable.all_attributes() for name, (variable, _) in tables.columns.items()}, allow_nan=False)


def test_an_odd_entry_changes_nothing_about_the_codes_of_the_others(read):
    """They are left out of text as of numbers, named and recorded; what may be a time stays, and is said."""
    plain, odd = (read(info=f"ID,Age,OS (days)\n1,{age},{lost}\n2,999,9999\n10,-1,30\n") for age, lost in
                  (("50", "1200"), ("50 y.o.", "lost")))  # fmt: skip
    assert values(odd, "age") == ["50 y.o.", "", ""]
    assert values(odd, "overall_survival") == ["lost", "9999", "30"]
    for tables in (plain, odd):
        assert tables.columns["age"][0].attributes["missing_codes"] == ["-1", "999"]
        assert "info.csv: Age: 2 entries (-1, 999) taken for not known, and left empty" in tables.warnings
        assert any("OS (days): '9999' is far above all other values" in said for said in tables.warnings)


def test_numbers_that_make_no_sense_are_kept_and_said(read):
    tables = read(info="ID,Age,OS\n1,150,900.5\n2,50,365\n10,>80,12\n")
    assert values(tables, "age") == ["150", "50", ">80"]
    np.testing.assert_array_equal(values(tables, "overall_survival"), [900.5, 365, 12])
    text, old, sense, days = tables.warnings
    assert "'>80' is no number" in text
    assert "Age: 1 values outside 0 to 120 years, kept" in old
    assert "OS: 1 values outside 0 to 720 months, kept" in sense
    assert "OS: taken as months, up to 900.5" in days


def test_a_dash_is_missing_unless_its_counterpart_is_there(read):
    assert values(read(info="ID,EBV\n1,positive\n2,-\n"), "ebv") == ["positive", "", ""]
    assert values(read(info="ID,EBV\n1,+\n2,-\n"), "ebv") == ["+", "-", ""]


def test_tnm_in_one_column_is_taken_apart_and_kept(read):
    tables = read(info="ID,TNM,Stage,N\n1,T2N1M0,III,N0\n2,cT4b N3a M1,IVB,\n10,NA,,\n")
    assert values(tables, "t_stage") == ["T2", "T4b", ""]
    assert values(tables, "m_stage") == ["M0", "M1", ""]
    assert values(tables, "n_stage") == ["N0", "", ""], "a column of its own says it better"
    assert values(tables, "TNM") == ["T2N1M0", "cT4b N3a M1", "NA"]
    assert values(tables, "clinical_stage") == ["III", "IVB", ""]
    assert tables.columns["t_stage"][0].attributes["source_column"] == "TNM"
    assert values(read(info="ID,TNM\n1,III\n2,IVB\n"), "clinical_stage") == ["III", "IVB", ""]


def test_a_starting_map_changes_nothing_until_it_is_edited(tmp_path):
    """Of the synthetic cohort's tables: what is known by name is written out, the rest waits behind a #."""
    plans = plan_cohort(12, "small", 0)
    (tmp_path / "info_diagnoses.csv").write_text(diagnoses(plans))
    (tmp_path / "meta_data.csv").write_text(parameters(plans))
    paths = [tmp_path / "info_diagnoses.csv", tmp_path / "meta_data.csv"]
    (tmp_path / "map.toml").write_text(starting_map(paths), encoding="utf-8")
    mapped = load_config(tmp_path / "map.toml")
    assert mapped.columns["T stage"] == "t_stage"
    assert mapped.columns["Overall survival (months)"] == "overall_survival"
    assert mapped.columns["ID"] == "patient"
    assert "Scanner" not in mapped.columns
    files = tuple(File(path.name, 1, "") for path in paths)
    cohort = Cohort(tuple(plan.label for plan in plans), SEQUENCES, {}, tables=files)
    with_map, without = (read_tables(open_source(tmp_path), cohort, c) for c in (mapped, SourceConfig()))
    assert {n: v for n, (v, _) in with_map.columns.items()} == {n: v for n, (v, _) in without.columns.items()}
    for name, (_, column) in with_map.columns.items():
        np.testing.assert_array_equal(column, without.columns[name][1])


def test_a_starting_map_is_toml_whatever_columns_are_called_and_names_no_patient(tmp_path):
    path = tmp_path / "a\nb.csv"
    odd = ['say "so"', "back\\slash", "two\nlines", "床位", "del\x7fete", "Name", "Größe # 1"]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([odd, ["#", '"', "\x1b[31m", "x\ny", "=", "Doe, Jane", "1"]])
    text = starting_map(path)
    assert tomllib.loads(text)["columns"] == {}
    assert 'make one of these "patient"' in text
    assert "Doe" not in text
    switched_on = re.sub(r'^# (".*") = ""', r'\1 = "x"', text, flags=re.MULTILINE)
    assert list(tomllib.loads(switched_on)["columns"]) == odd


@pytest.mark.parametrize("content", [None, b"one\n1\n", b"ID,Age\n"])
def test_a_starting_map_of_no_table_says_which_file(tmp_path, content):
    path = tmp_path / "clinical.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=r"clinical\.csv: "):
        starting_map([path])


def test_tables_of_two_hospitals_are_one_column_each(read):
    tables = read(
        north="ID,age,sex,dose,note\n1,50,M,70,a\n2,999,F,66,",
        south="ID,age,sex,dose,note\n10,61,F,60,c\n2,52,F,,b\n",
        later="ID,Sex,Alter\n1,m,50\n",
    )
    assert values(tables, "age") == [50, 52, 61]
    assert values(tables, "sex") == ["M", "F", "F"]
    assert values(tables, "dose") == [70, 66, 60]  # the third table says m for M, which is the same
    assert values(tables, "note") == ["a", "b", "c"]
    assert set(tables.columns) == {"age", "sex", "dose", "note"}
    variable, _ = tables.columns["age"]
    assert variable.attributes == {
        "source_table": "north.csv; south.csv; later.csv",
        "source_column": "age; Alter",
        "missing_codes": ["999"],
    }
    assert not [warning for warning in tables.warnings if "kept apart" in warning]


def test_tables_that_contradict_each_other_are_kept_apart_and_named(read):
    tables = read(
        a="ID,age,death,dose\n1,50,1,70\n2,60,0,66\n",
        b="ID,age,death,dose\n2,65,0,66\n10,61,1,high\n",
    )
    assert np.array_equal(values(tables, "age"), [50, 60, np.nan], equal_nan=True)
    assert np.array_equal(values(tables, "b_age"), [np.nan, 65, 61], equal_nan=True)
    assert values(tables, "death") == ["1", "0", "1"]
    assert values(tables, "b_dose") == ["", "66", "high"]
    said = [warning for warning in tables.warnings if "kept apart" in warning]
    assert said == [
        "b.csv: age, dose: other values than a.csv of 1 patient (002), so what this table says is kept apart, as "
        "b_age, b_dose; correct one of the tables, and convert again"
    ]


def test_columns_of_one_name_in_tables_that_differ_stay_apart(read):
    tables = read(tumor="ID,age,volume\n1,50,4.5\n", brain="ID,volume\n2,1400\n")
    assert np.array_equal(values(tables, "volume"), [4.5, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(values(tables, "brain_volume"), [np.nan, 1400, np.nan], equal_nan=True)
    assert not [warning for warning in tables.warnings if "kept apart" in warning]


@pytest.mark.parametrize(
    ("first", "second", "label"),
    [
        ("ID,sex\n1,M\n2,F\n", "ID,sex\n10,H\n2,M\n", "sex"),  # mujer
        ("ID,Death\n1,1\n2,0\n", "ID,Vital status\n10,1\n", "death"),
        ("ID,age\n1,50\n", "ID,age\n10,about 60\n", "age"),
        ("ID,OS (days)\n1,730\n2,>1461\n", "ID,OS (months)\n10,>48\n", "overall_survival"),  # text has its own unit
        ("ID,Age (months)\n1,540\n2,>720\n", "ID,Age\n10,>60\n", "age"),
    ],
)
def test_entries_that_would_mean_something_else_beside_the_others_stay_apart(read, first, second, label):
    tables = read(a=first, b=second)
    assert values(tables, label)[2] in ("", None) or np.isnan(values(tables, label)[2])
    assert [
        warning
        for warning in tables.warnings
        if f"b.csv: {label}: entries of another kind than those of a.csv" in warning
    ]


def test_a_second_column_of_one_field_in_a_table_is_named(read):
    tables = read(a="ID,T,cT\n1,T1,T2\n2,T2,T2\n")
    assert values(tables, "t_stage") == ["T1", "T2", ""]
    assert values(tables, "cT") == ["T2", "T2", ""]
    assert [w for w in tables.warnings if w == "a.csv: t_stage is column 'T'; column 'cT' is kept apart, as cT"]


@pytest.mark.parametrize(
    ("header", "entries", "named"),
    [
        ("Status", ["dead", "alive"], True),
        ("Follow-up status", ["dead", "alive"], True),
        ("Status", ["verstorben", "lebt"], True),
        ("Status", ["1", "0"], False),
        ("Ward", ["north", "south"], False),
        ("Death", ["dead", "alive"], False),
        ("Smoker", ["yes", "no"], False),
    ],
)
def test_a_column_that_may_say_who_has_died_is_named(read, header, entries, named):
    tables = read(a=f"ID,OS (months),{header}\n1,20,{entries[0]}\n2,30,{entries[1]}\n")
    advice = [warning for warning in tables.warnings if "no column is known to say who has died" in warning]
    assert len(advice) == named
    assert all(warning.endswith(f"[columns] {header!r} = 'death'") for warning in advice)  # as the table calls it
