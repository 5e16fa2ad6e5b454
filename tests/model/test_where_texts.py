"""Texts of a selection that no row has."""

import numpy as np
import pytest

from npczarr.model.where import Texts
from npczarr.model.where_texts import remarks_on_texts

STAGE = np.array(["T1", "T3", "T4", ""], dtype=object)
COLUMNS = {
    "age": np.array([40.0, 55.0, 60.0, np.nan]),
    "t_stage": STAGE,
    "scanner": np.array(["", "", "", ""], dtype=object),
    "note": np.array([f"{i}" * 50 for i in range(4)], dtype=object),
    "patient": np.array(["001", "002", "003", "004"], dtype=object),
    "center": np.array(["A", "B", "A", "B"], dtype=object),
}
HAS = "which has 'T1', 'T3', 'T4'"


@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize(
    ("where", "remarks"),
    [
        ("t_stage == 'T1' and age < 3", []),
        ("t_stage == ''", []),
        ("t_stage > 'S'", []),
        ("t_stage == 'T2'", []),  # which may be wanted of any cohort
        ("t_stage == 't3'", ["no row has 't3' in t_stage; did you mean 'T3'?"]),
        ("age < 3 or not 'T9' != t_stage", [f"no row has 'T9' in t_stage, {HAS}"]),
        ("t_stage in ('T3', 'T2')", []),
        ("t_stage in ('t3', 'T4')", ["no row has 't3' in t_stage; did you mean 'T3'?"]),
        ("t_stage not in ('x', 'y')", [f"no row has 'x' in t_stage, {HAS}", f"no row has 'y' in t_stage, {HAS}"]),
        ("scanner == 'A'", ["no row has 'A' in scanner, which is known of nobody"]),
        ("note == 'x'", []),
        ("patient == 'nobody'", []),
        ("patient == '2'", ["no row has '2' in patient; did you mean '002'?"]),
        ("center == 'C'", []),
        ("center == 'D'", ["no row has 'D' in center, which may be 'C'"]),
        ("center == t_stage", []),
    ],
)
def test_it_says_what_the_column_has_instead(where, remarks, coded):
    columns = {n: Texts(*np.unique(c, return_inverse=True)) if coded and n != "age" else c for n, c in COLUMNS.items()}
    assert remarks_on_texts(where, columns, {"center": ("C",)}) == remarks


def test_a_column_of_many_values_is_not_listed():
    many = {"code": np.array([f"c{i}" for i in range(13)], dtype=object)}
    assert remarks_on_texts("code == 'x'", many) == []
    assert remarks_on_texts("code == 'C3 '", many) == ["no row has 'C3 ' in code; did you mean 'c3'?"]
