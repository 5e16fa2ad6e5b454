"""An endpoint's column: every entry is understood for certain, or the column is not used at all."""

import pytest

from npczarr.model import words
from npczarr.model.clinical import CLINICAL
from npczarr.model.events import EVENTS, read_events


@pytest.mark.parametrize(
    ("endpoint", "column", "entries"),
    [
        ("death", "Death", "alive|Dead of disease"),
        ("death", "Vital status", "ALIVE|Deceased"),
        ("death", "OS_STATUS", "0:LIVING|1:DECEASED"),
        ("death", "event", "censored|Event"),
        ("death", "death", "No|YES"),
        ("death", "died", "FALSE|true"),
        ("death", "Death event", "0|1.0"),
        ("death", "是否死亡", "否|是"),
        ("death", "生存状况", "存活|死亡"),
        ("death", "Décès", "non|oui"),
        ("death", "overall survival event", "0|1"),
        ("progression", "PFS event", "0|1"),
        ("progression", "Progression", "censored|dead"),
        ("relapse", "Local relapse", "0|1"),
        ("relapse", "Relapse", "no relapse|relapsed"),
        ("distant_metastasis", "Distant metastasis", "n|y"),
        ("distant_metastasis", "Distant metastasis", "no metastasis|metastasis"),
    ],
)
def test_words_are_understood_in_any_case_and_numbers_where_the_name_is_an_event(endpoint, column, entries):
    no, yes = entries.split("|")
    read = read_events(endpoint, [no, yes, "", "NA", f" {yes} "], column)
    assert (read.observed, read.problem, read.doubt) == ((False, True, None, None, True), "", "")


@pytest.mark.parametrize(
    ("endpoint", "column", "entries", "odd"),
    [
        ("death", "death", "1|2", "1, 2 (codes differ between tables"),
        ("death", "death", "0|1|2", "0, 1, 2 (codes"),
        ("death", "death", "0|1|9", "0, 1, 9 (codes"),
        ("death", "Vital status", "1|0", "0, 1 (codes"),
        ("death", "Survival status", "1|0", "0, 1 (codes"),
        ("death", "生存状态", "1|0", "0, 1 (codes"),
        ("death", "Alive", "yes|no", "no, yes (understood are alive, dead"),
        ("death", "Alive", "0|1", "0, 1 (codes"),
        ("death", "censored", "0|1", "0, 1 (codes"),
        ("death", "no death", "0|1", "0, 1 (codes"),
        ("death", "x7", "0|1", "0, 1 (codes"),
        ("death", "death", "F|T", "F, T (understood"),
        ("death", "death", "alive|relapse", "relapse (understood"),
        ("death", "death", "yes|no?", "no? (understood"),
        ("progression", "PFS status", "0|1", "0, 1 (codes"),
        ("progression", "progression", "alive|dead", "alive (understood are censored, progressed"),
        ("relapse", "relapse_free", "0|1", "0, 1 (codes"),
        ("relapse", "relapse", "alive|dead", "alive, dead (understood are censored, event"),
        ("relapse", "time to relapse", "12|30", "12, 30 (codes"),
    ],
)
def test_what_is_not_certain_is_a_problem_that_says_what_to_do(endpoint, column, entries, odd):
    problem = read_events(endpoint, entries.split("|"), column).problem
    said = endpoint.replace("_", " ")
    assert problem.startswith(f"column {column!r} does not say for certain whether {said} was observed: it has {odd}")
    assert problem.endswith("and convert again")
    assert ("[values.death]" in problem) == (endpoint == "death")


@pytest.mark.parametrize("entries", [["1", "1"], ["1", ""], ["1", "alive"], ["1.0", "dead"]])
def test_ones_without_a_zero_may_be_the_first_of_one_and_two(entries):
    read = read_events("death", entries)
    assert read.problem == ""
    assert read.doubt.startswith("column 'death' has 1 and no 0: ")


def test_zeros_alone_are_no_event():
    assert read_events("death", ["0", "0.0"]).observed == (False, False)
    assert read_events("death", ["0", "0"]).doubt == ""


def test_words_of_other_languages_mean_the_same():
    assert {field.name for field in CLINICAL} >= {*EVENTS}
    for name in EVENTS:
        for label, observed in (("no", False), ("yes", True)):
            listed = words.VALUES[name][label].split()
            assert {*read_events(name, listed).observed} == {observed}, name
            assert read_events(name, listed).problem == ""


@pytest.mark.parametrize(
    "column", ["Death (1 = no, 0 = yes)", "Death (0 = yes)", "Death [no=1]", "dead = 0", "Death 0:Yes"]
)
def test_codes_whose_meaning_the_name_turns_round_are_no_events(column):
    problem = read_events("death", ["1", "0", "1"], column).problem
    assert problem.startswith(f"column {column!r} does not say for certain whether death was observed: it has 0, 1")


@pytest.mark.parametrize(
    "column", ["Death (0 = no, 1 = yes)", "Death (0/1)", "dead=1", "Death (1: yes, 0: no, 9: unknown)", "5-year death"]
)
def test_codes_whose_meaning_the_name_confirms_are_events(column):
    read = read_events("death", ["1", "0", "1"], column)
    assert (read.observed, read.problem) == ((True, False, True), "")
