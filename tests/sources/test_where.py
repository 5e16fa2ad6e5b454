"""Rules over header fields that say which images a scan is made of."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from pydicom.dataset import Dataset

from npczarr.errors import SourceError
from npczarr.sources.config import load_config
from npczarr.sources.dicom import Peeked, peek, read_scan
from npczarr.sources.discover import discover
from npczarr.sources.files import open_source
from npczarr.sources.where import keywords_of, parse_where, unmet
from tests.builders import enhanced_dataset, noise, oblique_grid, write_series

GRID = oblique_grid((5, 6, 7), seed=1)


def meets(condition, **fields):
    """Whether a header with these fields meets a condition on the first of them."""
    dataset = Dataset()
    for keyword, value in fields.items():
        setattr(dataset, keyword, value)
    keyword = next(iter(fields), "EchoTime")
    rule = parse_where({keyword: condition}, "rule")
    assert unmet(rule, dataset, 0) in (None, keyword)
    return unmet(rule, dataset, 0) is None


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ("<30", True),
        ("< 12", False),
        ("<12.5", False),
        ("<=12.5", True),
        (">12.5", False),
        (">=12.5", True),
        ("12.5", True),
        ("12.50", True),
        (12.5, True),
        (12, False),
        ("1*", True),
        ("!<30", False),
        ("!12.5", False),
        ("! 30", True),
        (["30", "12.5"], True),
        (["30", "<5"], False),
        ([">10", "!12.5"], False),
        (["!30", "!40"], True),
        (["!30", "!12.5"], False),
    ],
)
def test_numbers(condition, met):
    assert meets(condition, EchoTime="12.5") == met


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ("derived", True),
        ("!DERIVED", False),
        ("MIP", False),
        ("!MIP", True),
        ("DER*", True),
        ("*\\PRIMARY\\*", True),
        ("?", True),
        (["MIP", "AXIAL"], False),
        (["MIP", "m"], True),
        (["!MIP", "!AXIAL"], True),
        (["!MIP", "!M"], False),
    ],
)
def test_a_field_of_several_values_meets_what_one_of_them_does(condition, met):
    assert meets(condition, ImageType=["DERIVED", "PRIMARY", "M"]) == met


@pytest.mark.parametrize(
    ("condition", "met"), [("*t1*", True), ("T1", False), ("* tse*", True), ("*(*)", True), ("!*t2*", True)]
)
def test_letter_case_does_not_matter(condition, met):
    assert meets(condition, SeriesDescription="Ax T1 TSE (head)") == met


def test_an_absent_field_meets_only_what_is_denied():
    for condition, met in (("<30", False), ("*", False), ("!<30", True), ("!*", True)):
        rule = parse_where({"EchoTime": condition}, "rule")
        assert (unmet(rule, Dataset(), 0) is None) == met


def test_every_condition_must_be_met():
    rule = parse_where({"EchoTime": "<30", "Rows": 256}, "rule")
    dataset = Dataset()
    dataset.EchoTime, dataset.Rows = "12", 128
    assert unmet(rule, dataset, 0) == "Rows"
    dataset.EchoTime = "90"
    assert unmet(rule, dataset, 0) == "EchoTime"
    dataset.EchoTime, dataset.Rows = "12", 256
    assert unmet(rule, dataset, 0) is None
    assert set(keywords_of(rule)) == {"EchoTime", "EffectiveEchoTime", "Rows"}


def config(tmp_path, where):
    path = tmp_path / "layout.toml"
    path.write_text(f'[sequences]\nT1WI = {{ folder = "T1WI", mask = "T1", where = {where} }}\n', encoding="utf-8")
    return load_config(path)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("{ EchoTmie = '<30' }", r"sequences\.T1WI\.where: 'EchoTmie' is no DICOM keyword"),
        ("{ echotime = '<30' }", "no DICOM keyword.*letter for letter"),
        ("{ PixelData = '*' }", "holds neither text nor numbers"),
        ("{ MREchoSequence = '*' }", "holds neither text nor numbers"),
        ("{ EchoTime = '<fast' }", r"where\.EchoTime: '<fast' compares numbers"),
        ("{ EchoTime = '<' }", "compares numbers"),
        ("{ EchoTime = 'short' }", "'short' is no number"),
        ("{ EchoTime = '!' }", "says nothing after its sign"),
        ("{ EchoTime = '' }", "expected a condition"),
        ("{ EchoTime = true }", "expected a condition"),
        ("{ EchoTime = [] }", "list of conditions is empty"),
        ("{ EchoTime = [['<3']] }", "expected a condition"),
        ("{ ImageType = '<3' }", "compares numbers"),
        (f"{{ ImageType = '{'*a' * 200}' }}", "at most 200 characters"),
        ("3", "expected a table of conditions"),
    ],
)
def test_a_rule_that_cannot_be_applied_is_refused_as_it_is_loaded(tmp_path, where, words):
    with pytest.raises(SourceError, match=words):
        config(tmp_path, where)


def test_a_rule_travels_from_the_configuration_to_the_scan(tmp_path):
    for name, echo in (("a", "12"), ("b", "90")):
        write_series(
            tmp_path / "001" / "T1WI",
            noise(GRID, seed=ord(name)),
            GRID,
            names=(name + "{}").format,
            series=f"1.{ord(name)}",
            edit=lambda ds, z, echo=echo: setattr(ds, "EchoTime", echo),
        )
    rules = config(tmp_path, "{ EchoTime = '>=90', ImageType = ['ORIGINAL', '!MIP'] }")
    source = open_source(tmp_path)
    scan = discover(source, rules).scans["001", "T1WI"]
    assert scan.where == (("EchoTime", ">=90"), ("ImageType", ("ORIGINAL", "!MIP")))
    assert_array_equal(read_scan(source, scan.images, where=scan.where).image, noise(GRID, seed=ord("b")))
    assert peek(source, scan.images, where=scan.where) == Peeked((5, 6, 7), "int16", "1.98")
    assert peek(source, scan.images).series_uid == "1.97"


def test_a_rule_chooses_among_the_frames_at_one_position(tmp_path):
    for echo in (12, 90):
        write_series(
            tmp_path,
            noise(GRID, seed=echo),
            GRID,
            names=(f"{echo}-" + "{}").format,
            edit=lambda ds, z, echo=echo: setattr(ds, "EchoTime", str(echo)),
        )
    source = open_source(tmp_path)
    for echo in (12, 90):
        scan = read_scan(source, source.files(), where=(("EchoTime", str(echo)),))
        assert_array_equal(scan.image, noise(GRID, seed=echo))
        assert scan.acquisition["echo_time"] == echo
        assert scan.warnings == (
            "passed over 5 of 10 images in the folder: they do not meet the rule `where` of this sequence (EchoTime 5)",
        )


def two_echoes():
    """Enhanced object of ten frames: five positions, at each echo times of 12 and 90 ms."""
    volume = np.repeat(noise(GRID), 2, axis=0)
    volume[1::2] += 1000
    ds = enhanced_dataset(noise(GRID), GRID, np.repeat(range(5), 2))
    del ds.SharedFunctionalGroupsSequence[0].MREchoSequence
    for i, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        echo, kind = Dataset(), Dataset()
        echo.EffectiveEchoTime = (12.0, 90.0)[i % 2]
        kind.FrameType = ["ORIGINAL", "PRIMARY", ("T1", "T2")[i % 2], "NONE"]
        group.MREchoSequence, group.MRImageFrameTypeSequence = [echo], [kind]
    ds.PixelData = volume.tobytes()
    return ds


@pytest.mark.parametrize("rule", [("EchoTime", ">50"), ("EffectiveEchoTime", "90"), ("ImageType", "T2")])
def test_a_rule_chooses_among_the_frames_of_an_enhanced_object(tmp_path, rule):
    two_echoes().save_as(tmp_path / "1.dcm", enforce_file_format=True)
    source = open_source(tmp_path)
    with pytest.raises(SourceError, match=r"2 slices at one position.*EchoTime \(12, 90\).*where = \{ EchoTime = "):
        read_scan(source, source.files())
    scan = read_scan(source, source.files(), where=(rule,))
    assert_array_equal(scan.image, noise(GRID) + 1000)
    assert scan.acquisition["echo_time"] == 90
    assert scan.acquisition["image_type"] == "ORIGINAL\\PRIMARY\\T2\\NONE"
    assert peek(source, source.files(), where=(rule,)).shape_zyx == (5, 6, 7)


def test_a_rule_that_nothing_meets_says_what_there_is_and_tells_no_text(tmp_path):
    def describe(ds, z):
        ds.SeriesDescription = "SECRET t1"

    write_series(tmp_path, noise(GRID), GRID, edit=describe)
    source = open_source(tmp_path)
    rule = (("SeriesDescription", "*t2*"), ("EchoTime", "<99"))
    with pytest.raises(SourceError) as caught:
        read_scan(source, source.files(), where=rule)
    assert "none of the 5 images in the folder meets the rule" in str(caught.value)
    assert "SeriesDescription 5" in str(caught.value)
    assert "SECRET" not in str(caught.value)
    with pytest.raises(SourceError, match="meets the rule"):
        peek(source, source.files(), where=rule)
    scan = read_scan(source, source.files(), where=(("SeriesDescription", "*T1*"),))
    assert scan.warnings == ()
    assert "SECRET" not in f"{scan.acquisition}{scan.notes}{scan!r}"
