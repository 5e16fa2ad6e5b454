"""Selections in words."""

import re

import numpy as np
import pytest

from npczarr.errors import ParameterError
from npczarr.model.where import names_in, select

AGE = np.array([40.0, 55.0, 60.0, np.nan])
STAGE = np.array(["T1", "T3", "T4", ""])
COLUMNS = {"age": AGE, "t_stage": STAGE}


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ("age < 60", AGE < 60),
        ("60 >= age > 40", (AGE <= 60) & (AGE > 40)),
        ("age != 55", AGE != 55),
        ("not age == 55", AGE != 55),
        ("age > -1", AGE > -1),
        ("t_stage in ('T3', 'T4')", [False, True, True, False]),
        ("t_stage not in ['T3']", [True, False, True, True]),
        ("t_stage in ()", [False] * 4),
        ("t_stage == 'T1' or age == 60 and t_stage == 'T4'", [True, False, True, False]),
        ("(t_stage == 'T1' or age == 60) and t_stage == 'T4'", [False, False, True, False]),
        ("'T1' == t_stage", STAGE == "T1"),
        ("  t_stage == ''  ", STAGE == ""),
        ("t_stage == '' or t_stage == '' or t_stage == 'T1'", (STAGE == "") | (STAGE == "T1")),
        ("t_stage == \"it's\" or t_stage == 'T1'", STAGE == "T1"),
    ],
)
def test_it_chooses_what_it_says(where, chosen):
    np.testing.assert_array_equal(select(where, COLUMNS), chosen)


@pytest.mark.parametrize(
    "where",
    [
        "", " ", "age", "age = 3", "age <", "__import__('os').system('true')", "age + 1 < 3",
         "age[0] == 1",
        "lambda: 1", "[a for a in (1,)]", "age is 3", "f'{age}' == '1'", "age in t_stage",
        "(age := 3) == 3", "age < 'T1'",
        "t_stage > 3", "age in (1, 'T1')", "not age", "age and t_stage", "True", "age == None", "age < 1; age > 2",
        "(" * 5000 + "age < 1" + ")" * 5000, "-" * 5000 + "1 < age", "-" * 900 + "1 < age",
        "not " * 900 + "age < 1", "age == 3j", "age == b'1'",
    ],
)  # fmt: skip
def test_nothing_else_is_understood(where):
    with pytest.raises(ParameterError, match="where"):
        select(where, COLUMNS)


def test_names_and_unknown_columns():
    assert names_in("a < 1 and b == 'x' or a > 3") == ("a", "b")
    with pytest.raises(ParameterError, match=r"no column 'agee'.*did you mean 'age'"):
        select("agee < 3", COLUMNS)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("t_stage == XYZ", "text goes in quotation marks: 'XYZ'"),
        ("t_stage in (XYZ, 'T1')", "text goes in quotation marks: 'XYZ'"),
        ("t_stage = 'T3' AND age < 60", "to compare write ==; write and, or, not; expected"),
        ("age <> 3", "to compare write ==; expected"),
        ("t_stage = 'NOT KNOWN'", "cannot be read; to compare write ==; expected"),
        ("t_stage == 'it''s'", "has texts beside one another"),
        ("t_stage in ('T1' 'T2')", "parted by commas"),
        ("age == None", "'None' in 'age == None' is not understood"),
        ("mask == 1", "which has age"),
        ("morphology.volume > 3", "its results are there once npczarr morphology has measured them"),
        ("age < 3 && t_stage == 'T1'", "write and, or, not"),
        ("age < 3 AND t_stage == 'T1'", "write and, or, not"),
        ("t_stage = 'T1'", "to compare write =="),
        ("(age < 3) & (t_stage == 'T1')", "is no comparison; write and, or, not; expected"),
        ("age < 3 | t_stage == 'T1'", "is not understood; write and, or, not; expected"),
        ("~(age < 3)", "write and, or, not"),
        ("t_stage LIKE 'T%'", "text is compared whole: name the values"),
        ("age IS NULL", "cannot be read; numbers that are known are equal to themselves, as in age == age"),
        ("age is None", "is not understood; numbers that are known are equal to themselves"),
        ("age == nan", "quotation marks: 'nan'; numbers that are known are equal to themselves"),
        ("t_stage == NULL", "quotation marks: 'NULL'; numbers that are known are equal to themselves"),
        ("isnull(age)", "numbers that are known are equal to themselves"),
        ("age BETWEEN 3 AND 5", "write 50 <= age <= 60"),
        ("t_stage == 'NULL & LIKE' or age", "'age' in \"t_stage == 'NULL & LIKE' or age\" is not understood; expected"),
        ("age", "'age' is no comparison; expected"),
    ],
)
def test_what_is_written_in_another_language_is_answered_in_this_one(where, words):
    with pytest.raises(ParameterError, match=re.escape(words)):
        select(where, COLUMNS)


@pytest.mark.parametrize("where", ["mask == 1", "foo > 3", "score > 1", "len(t_stage) > 1"])
def test_what_is_no_text_is_not_taken_for_it(where):
    with pytest.raises(ParameterError) as refused:
        select(where, COLUMNS)
    assert "quotation" not in str(refused.value)
    assert "measured" not in str(refused.value)
