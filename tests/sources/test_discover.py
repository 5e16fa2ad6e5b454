import pytest

from npczarr.errors import SourceError
from npczarr.model.cohort import File
from npczarr.sources.config import SourceConfig, load_config
from npczarr.sources.discover import discover, sort_files
from npczarr.sources.files import open_source
from npczarr.sources.patterns import path_regex
from tests.builders import write_cohort


def sort(*paths, config=None):
    return sort_files([File(path, 1, "") for path in paths], config or SourceConfig())


def toml(tmp_path, text):
    path = tmp_path / "layout.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def names(files):
    return [file.path for file in files]


@pytest.mark.parametrize("below", ["", "data/MRI-Segments/", "a/b/c d/"])
def test_the_published_layout_at_any_depth(below):
    cohort = sort(
        f"{below}002/T1WI/1.dcm",
        f"{below}002/T1WI/deep/er/2.dcm",
        f"{below}002/ROI-T1.nii",
        f"{below}001/CE-T1WI/x",
        f"{below}001/ROI-CE-T1.nii.gz",
        f"{below}info_diagnoses.csv",
    )
    assert cohort.patients == ("001", "002")
    assert cohort.sequences == ("T1WI", "T2WI", "CE-T1WI")
    assert cohort.scans.keys() == {("001", "CE-T1WI"), ("002", "T1WI")}
    t1 = cohort.scans["002", "T1WI"]
    assert names(t1.images) == [f"{below}002/T1WI/1.dcm", f"{below}002/T1WI/deep/er/2.dcm"]
    assert names(t1.masks) == [f"{below}002/ROI-T1.nii"]
    assert names(cohort.scans["001", "CE-T1WI"].masks) == [f"{below}001/ROI-CE-T1.nii.gz"]
    assert names(cohort.tables) == [f"{below}info_diagnoses.csv"]
    assert cohort.strays == ()


def test_a_written_cohort_is_found_whole(tmp_path):
    written = write_cohort(tmp_path, patients=("001", "002"))
    cohort = discover(open_source(tmp_path), SourceConfig())
    assert cohort.scans.keys() == written.keys()
    assert [len(scan.images) for scan in cohort.scans.values()] == [4, 4, 4, 5, 5, 5]
    assert len(cohort.tables) == 2
    assert cohort.strays == ()


def test_case_of_folders_does_not_matter():
    cohort = sort("001/t1wi/1.DCM", "001/roi-ce-t1.NII")
    assert cohort.scans.keys() == {("001", "T1WI"), ("001", "CE-T1WI")}


def test_a_mask_or_a_series_alone_is_a_scan():
    cohort = sort("001/ROI-T2.nii", "002/T2WI/1.dcm")
    assert cohort.scans["001", "T2WI"].images == ()
    assert cohort.scans["002", "T2WI"].masks == ()


def test_two_masks_are_both_kept_for_the_reader_to_refuse():
    assert len(sort("001/ROI-T1.nii", "001/ROI-T1.nii.gz").scans["001", "T1WI"].masks) == 2


def test_hidden_files_and_what_macos_leaves_are_ignored():
    cohort = sort(
        "__MACOSX/data/001/T1WI/._1.dcm",
        "data/__MACOSX/001/T1WI/1.dcm",
        "001/T1WI/.DS_Store",
        "001/T1WI/Thumbs.db",
        ".git/001/T1WI/1.dcm",
        "001/T1WI/1.dcm",
    )
    assert names(cohort.scans["001", "T1WI"].images) == ["001/T1WI/1.dcm"]
    assert cohort.strays == ()
    assert cohort.patients == ("001",)


def test_what_nothing_explains_is_listed():
    strays = ["001/FLAIR/1.dcm", "001/ROI-T3.nii", "readme.txt", "001/ROI-T1.nii.bak"]
    assert names(sort("001/T1WI/1.dcm", *strays).strays) == strays


def test_patients_come_in_natural_order():
    labels = ["10", "9", "001", "b2", "b10", "a", "x²"]
    assert sort(*(f"{label}/T1WI/1" for label in labels)).patients == ("001", "9", "10", "a", "b2", "b10", "x²")


def test_one_patient_in_two_places_is_refused():
    with pytest.raises(SourceError, match=r"patient 001 is in two places, below old/ and \./"):
        sort("old/001/T1WI/1.dcm", "001/T1WI/1.dcm")


def test_where_nothing_is_found_the_message_says_what_was_looked_for(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(SourceError) as caught:
        discover(open_source(tmp_path), SourceConfig())
    for words in ("{patient}/{sequence}/**", "T1WI, T2WI, CE-T1WI", "{patient}/ROI-{mask}.nii", "TOML"):
        assert words in str(caught.value)


def test_masks_in_formats_that_are_not_read_are_told_in_a_run_of_the_published_layout(tmp_path):
    write_cohort(tmp_path, patients=("001",))
    folder = next(tmp_path.rglob("T1WI")).parent
    for name in ("ROI-T1.nrrd", "ROI-T2.nrrd", "look.png"):
        (folder / name).write_bytes(b"x")
    cohort = discover(open_source(tmp_path), SourceConfig())
    assert len(cohort.strays) == 3
    (line,) = cohort.not_taken
    assert line.startswith("2 .nrrd: not read. If these are masks or images, save them as NIfTI")


def test_a_toml_file_gives_another_layout(tmp_path):
    config = toml(
        tmp_path,
        """
        [layout]
        images = "{patient}/scans/{sequence}/*.ima"
        masks = "{patient}/scans/{sequence}/tumor*.nii"
        tables = ["tables/*.txt"]
        [sequences]
        T2 = { folder = "t2_tse" }
        T1 = { folder = "t1_tse" }
        """,
    )
    cohort = sort(
        "P 1/scans/t1_tse/1.ima",
        "P 1/scans/t1_tse/1.txt",
        "P 1/scans/t2_tse/tumor final.nii",
        "tables/a.txt",
        "P 1/scans/other/1.ima",
        config=config,
    )
    assert cohort.sequences == ("T2", "T1")
    assert names(cohort.scans["P 1", "T1"].images) == ["P 1/scans/t1_tse/1.ima"]
    assert names(cohort.scans["P 1", "T2"].masks) == ["P 1/scans/t2_tse/tumor final.nii"]
    assert names(cohort.tables) == ["tables/a.txt"]
    assert names(cohort.strays) == ["P 1/scans/t1_tse/1.txt", "P 1/scans/other/1.ima"]


def test_without_sequences_every_folder_at_their_place_is_one(tmp_path):
    config = toml(tmp_path, '[layout]\nimages = "{patient}/{sequence}/*"\nmasks = "{patient}/{sequence}.nii"')
    cohort = sort("1/DWI/a", "1/ADC/b", "1/ADC.nii", config=config)
    assert cohort.sequences == ("ADC", "DWI")
    assert len(cohort.scans["1", "ADC"].masks) == 1


def test_a_toml_file_names_columns_and_keeps_the_rest(tmp_path):
    config = toml(tmp_path, '[columns]\n"Alter" = "age"')
    assert config.columns == {"Alter": "age"}
    assert config.sequences == SourceConfig().sequences
    assert load_config(None) == SourceConfig()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[layout", "cannot be read as TOML"),
        ("[lay]", "unknown key 'lay'"),
        ("layout = 3", "expected a table"),
        ("[layout]\nimage = 'x'", "unknown key 'image', expected one of"),
        ("[layout]\nimages = '{sequence}/*'", r"layout\.images: expected a pattern that holds \{patient\}"),
        ("[layout]\nimages = '{patient}/{visit}/*'", r"unknown field \{visit\}"),
        ("[layout]\nmasks = 3", r"layout\.masks: expected a pattern or a list"),
        ("[layout]\ntables = [3]", r"layout\.tables: expected a pattern"),
        ("[sequences]\nT1 = 'T1'", r"sequences\.T1: expected a table"),
        ("[sequences]\nT1 = { dir = 'x' }", "unknown key 'dir'"),
        ("[sequences]\nT1 = { folder = 3 }", "must be text"),
        ("sequences = ['T1']", "expected a table"),
        ("columns = 3", "expected a table"),
        ("[columns]\nage = 3", "column in the table"),
    ],
)
def test_a_toml_file_that_is_wrong_says_where(tmp_path, text, words):
    with pytest.raises(SourceError, match=words) as caught:
        toml(tmp_path, text)
    assert "layout.toml" in str(caught.value)


def test_a_toml_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"none\.toml: cannot be read"):
        load_config(tmp_path / "none.toml")


def test_one_star_stays_within_a_name_and_two_cross_folders():
    assert path_regex("{patient}/*.dcm", {}).fullmatch("x/1/a.dcm")["patient"] == "1"
    assert not path_regex("{patient}/a*/c", {}).fullmatch("1/a/b/c")
    assert path_regex("{patient}/a/**", {}).fullmatch("1/a/b/c")
    assert not path_regex("{patient}/a.dcm", {}).fullmatch("1/axdcm")


FLAT = (
    '[layout]\nimages = "i/{patient}_{sequence}.nii"\nmasks = ["m/{patient}_{sequence}.nii", "m/{patient}_{mask}.nii"]'
)


def test_where_names_of_sequences_compete_the_longest_is_meant(tmp_path):
    rules = '\n[sequences]\nT1 = {}\n"CE-T1" = { folder = "CE_T1", mask = "roi_T1" }'
    paths = ("i/p_1_T1.nii", "i/p_1_CE_T1.nii", "m/p_1_CE_T1.nii", "m/p_1_T1.nii", "m/p_2_roi_T1.nii")
    cohort = sort(*paths, config=toml(tmp_path, FLAT + rules.replace("T1 = {}", 'T1 = { mask = "t1w" }')))
    assert {key: names(scan.masks) for key, scan in cohort.scans.items()} == {
        ("p_1", "T1"): ["m/p_1_T1.nii"],
        ("p_1", "CE-T1"): ["m/p_1_CE_T1.nii"],
        ("p_2_roi", "T1"): ["m/p_2_roi_T1.nii"],  # the first pattern for masks that fits
    }
    assert [key[0] for key, scan in cohort.scans.items() if scan.images] == ["p_1", "p_1"]
    turned = toml(tmp_path, '[layout]\nimages = "{sequence}_{patient}.nii"' + rules)
    assert set(sort("T1_a.nii", "CE_T1_a.nii", config=turned).scans) == {("a", "T1"), ("a", "CE-T1")}


def test_names_that_can_be_read_in_two_ways_are_told(tmp_path):
    (line,) = sort("i/p1_T1.nii", "i/p1_CE_T1.nii", config=toml(tmp_path, FLAT)).guesses
    assert "names of 1 scans or masks" in line
    assert "patient p1_CE, sequence T1 was read, and not patient p1, sequence CE_T1" in line
    own = toml(tmp_path, '[layout]\nimages = "{patient}/{patient}_{sequence}.nii*"')
    assert sort("p_1/p_1_CE_T1.nii.gz", config=own).guesses == ()
