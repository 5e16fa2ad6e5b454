import pytest

from npczarr.errors import SourceError
from npczarr.sources.structures import Code, Segment, clean_label, match, match_segments

NAMES = ["GTVp", "GTVn", "Parotid L", "gtvP boost", "PTV[70]"]


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ("GTVp", (0,)),
        ("gtvP", (0,)),
        ("parotid l", (2,)),
        ("parotid*", (2,)),
        ("GTV?", None),
        ("*boost", (3,)),
        ("PTV[70]", (4,)),
        (["tumour", "GTVn"], (1,)),
        (["GTVn", "GTVp"], (1,)),
    ],
)
def test_one_structure_is_found_by_name_pattern_or_the_first_that_is_there(patterns, found):
    if found is None:
        with pytest.raises(SourceError, match=r"2 structures match 'GTV\?'.*'GTVp', 'GTVn'"):
            match(NAMES, patterns)
    else:
        assert match(NAMES, patterns) == found


def test_several_are_found_where_several_are_meant():
    assert match(NAMES, "gtv*", several=True) == (0, 1, 3)


def test_letters_decide_between_names_that_differ_in_case_only():
    assert match(["gtv", "GTV"], "GTV") == (1,)
    with pytest.raises(SourceError, match="2 structures match 'Gtv'"):
        match(["gtv", "GTV"], "Gtv")
    with pytest.raises(SourceError, match="2 structures match 'gtv'"):
        match(["gtv", "gtv"], "gtv")


@pytest.mark.parametrize(("names", "listed"), [(NAMES, "'GTVp', 'GTVn', 'Parotid L'"), ([], "there are: none")])
def test_what_is_absent_is_an_error_that_lists_what_there_is(names, listed):
    with pytest.raises(SourceError, match="no structure matches 'CTV'") as error:
        match(names, "CTV")
    assert listed in str(error.value)
    with pytest.raises(SourceError, match="an empty list of names"):
        match(names, [])


def test_labels_in_messages_have_no_control_characters_and_are_bounded():
    names = ["ab\u202ec\n\td\x1b[31m", *["x" * 10_000] * 1000]
    with pytest.raises(SourceError) as error:
        match(names, "no\x07ne")
    text = str(error.value)
    assert "'abc d'" in text
    assert "'no'" in text
    assert "and 981 more" in text
    assert len(text) < 2000
    assert text.isprintable()


def test_a_clean_label_is_a_fixed_point():
    for label in ("  GTV \u200bp \x00q", "\x1c\x1d", "\x00", "é" * 100, "a" * 63 + " b", "腫瘍", ""):
        once = clean_label(label)
        assert clean_label(once) == once
        assert len(once) <= 64


SEGMENTS = (
    Segment(1, "Tumour", type=Code("108369006", "SCT", "Neoplasm")),
    Segment(3, "Node left", type=Code("59441001", "SCT", "Lymph node")),
    Segment(4, "Node right", type=Code("59441001", "SCT", "Lymph node")),
)


@pytest.mark.parametrize(
    ("wanted", "several", "found"),
    [
        (3, False, (3,)),
        ("tumour", False, (1,)),
        ("SCT:108369006", False, (1,)),
        ("SCT:59441001", True, (3, 4)),
        ("node*", True, (3, 4)),
        ([2, "node left"], False, (3,)),
    ],
)
def test_segments_are_found_by_number_label_or_code(wanted, several, found):
    assert match_segments(SEGMENTS, wanted, several=several) == found


@pytest.mark.parametrize("wanted", ["SCT:59441001", "node*", 2, "SCT:1", []])
def test_segments_that_are_ambiguous_or_absent_are_errors_with_the_list(wanted):
    with pytest.raises(SourceError, match="'3: Node left'"):
        match_segments(SEGMENTS, wanted)
