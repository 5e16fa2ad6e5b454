"""Tables whose values may stand in another row or column than theirs are refused; odd ones that are sound are read."""

import pytest

from npczarr.errors import SourceError
from npczarr.graphs.source_columns import without_identities
from npczarr.model.cohort import Cohort, File
from npczarr.privacy.contents import find_in_table
from npczarr.sources.config import SourceConfig
from npczarr.sources.csv_files import parse_csv, separator_of
from npczarr.sources.files import open_source
from npczarr.sources.tables import read_tables


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('ID,Note,Name,Age\n1,"seen here,Doe John,50\n2,b,Roe Jane,61\n', "line 2: the end of a cell.*unexpected end"),
        ('sep=,\n\nID,Age,Note\n1,50,"large\n2,61,ok\n3,4,"nodal\n', "line 4: the end of a cell.*',' expected after"),
        ('ID,Age,Note\n1,50,"a\nb"\n1,50,"large\n2,61,ok\n3,4,nodal"\n', "line 4: .*3 lines that look like rows"),
        ('ID,"Age\n1,50"\n2,61\n', "line 1: .*2 lines that look like rows"),
        ("ID,Weight,T\n1,70,5,T1\n2,80,T3\n3,66,2,T4\n", "lines 2, 4: more cells than the 3 of the header"),
        ("ID,Age\n1,50,,Doe John\n", "line 2: more cells than the 2 of the header"),
        ("ID,Age,Sex\n1,50,M\n\nID,Dose,Fractions\n1,70,35\n", "line 4: the name of a column.*a file of its own"),
        ("Row,ID,Age\n1,1,50\n2,id,Dose\n", "line 3: the name of a column.*a file of its own"),
        ("Fall-Nr.;Alter\n1;50\nFall-Nr.;Dosis\n", "line 3: the name of a column.*a file of its own"),
        ("ID,Age\n1,5\x000\n2,61\n3,70\n", "has NUL bytes.*save it again as CSV"),
    ],
)
def test_values_that_may_be_of_another_row_or_column_are_refused(text, words):
    """By the reader and by what looks for identities, for neither may take what it has not seen for clean."""
    for read in (parse_csv, find_in_table):
        with pytest.raises(SourceError, match=rf"(?s){words}") as refused:
            read(text.encode())
        assert "Doe" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('"Patient\n(ID)",Age\n1,50\n', [{"Patient\n(ID)": "1", "Age": "50"}]),
        ('ID;"Dosis, Gy, Woche";"A ""x"", y"\n1;70;5\n', [{"ID": "1", "Dosis, Gy, Woche": "70", 'A "x", y': "5"}]),
        (
            'ID,T,Note\n1,5" x,"big,\nno change, good, ok"\n',
            [{"ID": "1", "T": '5" x', "Note": "big,\nno change, good, ok"}],
        ),
        (
            'ID,Age,Note\n1,50,"stable\nno change, good, fine"\n',
            [{"ID": "1", "Age": "50", "Note": "stable\nno change, good, fine"}],
        ),
        ("ID,Case\n1,case\n", [{"ID": "1", "Case": "case"}]),
        ("ID,Age\n1,50, ,\n2\n", [{"ID": "1", "Age": "50"}, {"ID": "2", "Age": ""}]),
    ],
)
def test_odd_tables_that_are_sound_are_read(text, rows):
    assert parse_csv(text.encode()) == rows


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_wide_characters_are_known_by_their_nuls(encoding):
    content = "编号;年龄\n1;50\n".encode(encoding)
    assert (parse_csv(content), separator_of(content)) == ([{"编号": "1", "年龄": "50"}], ";")


@pytest.mark.parametrize(
    ("name", "entries", "dated"),
    [
        ("RT begin", ("43211", "43528.5"), True),
        ("Day of surgery", ("43211", "43528"), True),
        ("OP", ("43211", "NA"), True),
        ("Volume at start", ("43211", "43528"), False),
        ("End dose", ("43211", "43528"), False),
        ("Cells", ("43211", "43528"), False),
        ("OP", ("43211", "43211"), False),
        ("OP", ("43211", "1"), False),
    ],
)
def test_days_of_a_spreadsheet_are_exact_dates_where_the_column_is_called_so(tmp_path, name, entries, dated):
    content = "ID,{}\n1,{}\n2,{}\n".format(name, *entries)
    (tmp_path / "t.csv").write_text(content)
    cohort = Cohort(("1", "2"), ("A",), {}, tables=(File("t.csv", 1, ""),))
    tables = without_identities(read_tables(open_source(tmp_path), cohort, SourceConfig()), ())
    assert (not tables.columns, any("holds exact dates" in said for said in tables.warnings)) == (dated, dated)
    assert bool(find_in_table(content.encode())) == dated


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("ID|length, mm|width, mm\n1|3|4\n2|5|6\n", "|"),
        ("ID;a, b, c\n1;2\n2;3\n", ";"),
        ("ID,note; first,Age\n1,x; y,50\n2,z; q\n", ","),
        ("ID;Vol;Dose\n1;1,5;70,2\n2;2,5;71,2\n", ";"),
        ("ID,Age\n", ","),
    ],
)
def test_the_separator_is_one_that_the_rows_have_too(text, separator):
    assert separator_of(text.encode()) == separator
