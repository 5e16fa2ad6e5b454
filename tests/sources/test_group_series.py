"""Folders as a PACS writes them: series by their headers, sequences by rules or guesses, and what is left open."""

import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.errors import SourceError
from npczarr.model.cohort import File
from npczarr.sources.config import SourceConfig, load_config
from npczarr.sources.discover import discover
from npczarr.sources.files import open_source
from npczarr.sources.group_series import by_headers, find_series
from npczarr.sources.guess import guess_sequence
from npczarr.sources.patient_folders import Owner
from npczarr.sources.patterns import path_regex
from npczarr.sources.survey import Surveyed
from tests.builders import blob, enhanced_dataset, nifti_image, noise, oblique_grid, write_series

RULE = "meets the rule `where` of the configuration"
SPIN, GRADIENT = "SE", "GR"


def header(**fields):
    found = Dataset()
    found.Modality, found.ImageType = "MR", ["ORIGINAL", "PRIMARY", "M"]
    for keyword, value in fields.items():
        setattr(found, keyword, value)
    return found


def t1(**fields):
    return {"EchoTime": "12", "RepetitionTime": "600", "ScanningSequence": SPIN} | fields


def t2(**fields):
    return {"EchoTime": "90", "RepetitionTime": "3500", "ScanningSequence": SPIN} | fields


#: Headers as scanners of five makers and several languages write them, and what they are; "" where nobody could tell.
CASES = [
    (t1(ContrastBolusAgent=""), "T1WI"),
    (t1(ContrastBolusAgent="Gadovist"), "CE-T1WI"),
    (t1(SeriesDescription="t1_tse_tra +C"), "CE-T1WI"),
    (t1(SeriesDescription="AX T1 POST"), "CE-T1WI"),
    (t1(SeriesDescription="T1W_TSE_GD"), "CE-T1WI"),
    (t1(SeriesDescription="OAx T1 FSE PRE"), "T1WI"),
    (t1(SeriesDescription="t1_tse_tra ohne KM"), "T1WI"),
    (t1(SeriesDescription="T1 non contrast"), "T1WI"),
    (t1(SeriesDescription="T1 w/o contrast", ContrastBolusAgent="NONE"), "T1WI"),
    (t1(SeriesDescription="T1 平扫"), "T1WI"),
    (t1(SeriesDescription="T1 增强"), "CE-T1WI"),
    (t2(), "T2WI"),
    (t2(ContrastBolusAgent="Magnevist"), "T2WI"),
    (t2(SeriesDescription="t2_tse_fs_tra"), "T2WI"),
    ({"SeriesDescription": "t1_mprage_sag_p2", "ScanningSequence": [GRADIENT, "IR"], "InversionTime": "900"}, "T1WI"),
    ({"SeriesDescription": "Ax T1 VIBE +C", "ScanningSequence": GRADIENT, "EchoTime": "1.7"}, "CE-T1WI"),
    (t2(SeriesDescription="STIR cor", InversionTime="160"), ""),
    (t2(InversionTime="160"), ""),
    (t2(SeriesDescription="t2_flair"), ""),
    (t2(RepetitionTime="9000", InversionTime="2500", ScanningSequence=[SPIN, "IR"]), ""),
    (t2(SeriesDescription="T1 tse"), ""),
    (t1(SeriesDescription="T2 tse"), ""),
    (t1(SeriesDescription="T1 pre", ContrastBolusAgent="Dotarem"), ""),
    (t1(SeriesDescription="localizer"), ""),
    (t1(SeriesDescription="T1 SUB"), ""),
    (t1(ImageType=["DERIVED", "SECONDARY", "MPR"]), ""),
    (t1(ImageType=["DERIVED", "PRIMARY", "PROJECTION IMAGE", "MIP"]), ""),
    (t1(Modality="CT"), ""),
    ({"SeriesDescription": "ep2d_diff_b50_800_ADC", "EchoTime": "70", "RepetitionTime": "4000"}, ""),
    (t2(ScanningSequence="EP"), ""),
    (t2(SeriesDescription="T2* GRE", ScanningSequence=GRADIENT, EchoTime="20", RepetitionTime="600"), ""),
    ({"SeriesDescription": "TOF_3D", "ScanningSequence": GRADIENT, "EchoTime": "3.5", "RepetitionTime": "22"}, ""),
    ({"SeriesDescription": "T1 map", "ScanningSequence": GRADIENT}, ""),
    ({"SeriesDescription": "dyn perf T1", "ScanningSequence": GRADIENT}, ""),
    ({"EchoTime": "30", "RepetitionTime": "2000", "ScanningSequence": SPIN}, ""),
    ({}, ""),
]


ACCURACY = Path(__file__).resolve().parents[2] / "examples" / "layouts" / "README.md"


def table_rows(kind, pairs):
    """Rows of the table of accuracy: of (what a series is, what it was taken for), as the README has them."""
    rows = []
    for true in ("T1WI", "T2WI", "CE-T1WI", ""):
        taken = [found for right, found in pairs if right == true]
        right, left = taken.count(true), taken.count("")
        if taken:
            shown = f"{right} | {left}" if true else f" | {left}"
            wrong = len(taken) - left - (right if true else 0)
            rows.append(f"| {kind} | {true or 'another kind, or not told'} | {len(taken)} | {shown} | {wrong} |")
    return rows


def test_the_accuracy_that_is_published_is_that_of_these_headers():
    pairs = [(sequence, guess_sequence(header(**fields)).sequence) for fields, sequence in CASES]
    for row in table_rows("written headers", pairs):
        assert row in ACCURACY.read_text(encoding="utf-8"), row


@pytest.mark.parametrize(("fields", "sequence"), CASES, ids=lambda value: str(value)[:60])
def test_a_guess_is_right_or_there_is_none(fields, sequence):
    guess = guess_sequence(header(**fields))
    assert guess.sequence == sequence, guess.reason
    assert guess.reason


def test_a_reason_holds_no_text_of_the_header():
    for fields, _ in CASES:
        named = {**fields, "SeriesDescription": f"{fields.get('SeriesDescription', '')} SECRET"}
        guess = guess_sequence(header(**named, ProtocolName="SECRET^NAME"))
        assert "SECRET" not in guess.reason + guess.doubt


def test_where_nothing_says_whether_contrast_was_given_the_guess_is_doubtful():
    assert "whether contrast agent was given" in guess_sequence(header(**t1())).doubt
    assert guess_sequence(header(**t1(ContrastBolusAgent=""))).doubt == ""


def _edit(fields, patient):
    def edit(ds, z):
        ds.PatientID = patient
        for keyword, value in fields.items():
            setattr(ds, keyword, value)

    return edit


EXAM = {
    "1": t1(ContrastBolusAgent="", SeriesDescription="t1_tra"),
    "2": t2(SeriesDescription="t2_tra"),
    "3": t1(ContrastBolusAgent="Gd", SeriesDescription="t1_tra_km"),
    "4": {"SeriesDescription": "localizer", "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    "5": {"SeriesDescription": "resolve adc", "ImageType": ["DERIVED", "PRIMARY", "ADC"]},
}


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    """Two patients, all series of each in one folder, the files of all series mixed."""
    root = tmp_path_factory.mktemp("pacs") / "export"
    for p, patient in enumerate(("P1", "P2")):
        for s, (series, fields) in enumerate(EXAM.items()):
            grid = oblique_grid((4, 6, 8), seed=10 * p + s)
            name = f"{series}_{{:03d}}".format
            edit = _edit(fields, f"ID-{patient}")
            volume = noise(grid, seed=s)
            write_series(root / patient / "exam", volume, grid, names=name, edit=edit, series=f"1.2.{p}.{series}")
        mask = nifti_image(blob(oblique_grid((4, 6, 8), seed=10 * p)), oblique_grid((4, 6, 8), seed=10 * p))
        mask.to_filename(root / patient / "ROI-T1.nii")
    (root / "clinical.csv").write_text("ID,Age\nP1,50\nP2,61\n")
    return root


@pytest.mark.slow
def test_an_export_of_a_pacs_converts_without_a_configuration(pacs, tmp_path):
    result = npc.convert(pacs, tmp_path / "a.zarr", workers=0)
    assert result["patient"].values.tolist() == ["P1", "P2"]
    assert result["sequence"].values.tolist() == ["T1WI", "T2WI", "CE-T1WI"]
    assert result["status"].isin(["ok", "warning"]).all(), result["message"].values
    assert (result["mask_status"].sel(sequence="T1WI") == "ok").all(), result["message"].values
    for sequence, message in zip(["T1WI", "T2WI", "CE-T1WI"], result["message"].sel(patient="P1").values, strict=True):
        assert f"taken for {sequence}: " in message
    assert "2 series taken for CE-T1WI: " in "".join(result.attrs["guesses"])
    assert "a localizer" in " ".join(result.attrs["not_taken"])
    ds = npc.open(tmp_path / "a.zarr")
    assert ds["age"].values.tolist() == [50, 61]
    np.testing.assert_array_equal(ds["echo_time"], [[12, 90, 12]] * 2)
    again = npc.convert(pacs, tmp_path / "a.zarr", workers=0)
    assert (again["action"] == "kept").all()


def test_two_series_that_may_be_meant_are_listed_and_neither_is_taken(pacs, tmp_path):
    shutil.copytree(pacs / "P1", tmp_path / "c" / "P1")
    shutil.copytree(pacs / "P2", tmp_path / "c" / "P2")
    grid = oblique_grid((4, 6, 8), seed=77)
    edit = _edit(EXAM["2"], "ID-P1")
    write_series(tmp_path / "c" / "P1" / "exam", noise(grid), grid, names="9_{}".format, edit=edit, series="1.2.0.9")
    cohort = discover(open_source(tmp_path / "c"), SourceConfig())
    assert cohort.scans["P1", "T2WI"].refusal.startswith("2 series may be meant, none was taken")
    assert cohort.scans["P2", "T2WI"].refusal == ""


def test_rules_go_before_guesses_and_choose_echoes_of_one_series(tmp_path):
    grid = oblique_grid((4, 6, 8))
    for echo, value in enumerate((10, 80)):
        edit = _edit({"EchoTime": str(value), "RepetitionTime": "3000", "SeriesDescription": "dual"}, "A")
        names = f"e{echo}_{{}}".format
        write_series(tmp_path / "c" / "A", noise(grid, seed=echo), grid, names=names, edit=edit, series="1.2.3")
    rules = tmp_path / "rules.toml"
    rules.write_text(
        '[layout]\nimages = "{patient}/**"\n[sequences]\nPD = { where = { EchoTime = "<30" } }\n'
        'T2 = { where = { EchoTime = ">60" } }\n'
    )
    result = npc.convert(tmp_path / "c", tmp_path / "a.zarr", config=rules, workers=0)
    assert result["message"].values.tolist() == [[f"no mask; taken for {q}: {RULE}" for q in ("PD", "T2")]]
    ds = npc.open(tmp_path / "a.zarr")
    for sequence, seed in (("PD", 0), ("T2", 1)):
        np.testing.assert_array_equal(ds.npc.scan("A", sequence)["image"], noise(grid, seed=seed))


def test_a_multi_frame_file_is_guessed_by_all_of_its_frames(tmp_path):
    grid = oblique_grid((2, 6, 8))
    found = enhanced_dataset(noise(grid), grid, [0, 1])
    for i, frame in enumerate(found.PerFrameFunctionalGroupsSequence):
        frame.MREchoSequence = [Dataset()]
        frame.MREchoSequence[0].EffectiveEchoTime = 12.0 if i == 0 else 95.0
    found.Modality, found.ImageType, found.EchoPulseSequence = "MR", ["ORIGINAL", "PRIMARY", "M", "NONE"], "SPIN"
    timing = Dataset()
    timing.RepetitionTime = 1000.0
    found.SharedFunctionalGroupsSequence[0].MRTimingAndRelatedParametersSequence = [timing]
    (tmp_path / "c" / "P1").mkdir(parents=True)
    found.save_as(tmp_path / "c" / "P1" / "1", enforce_file_format=True)
    source = open_source(tmp_path / "c")
    (one,) = find_series(source, source.files(), by_headers(SourceConfig())).series
    assert one.sequence == ""
    assert one.reason == "its frames are of several kinds (T1WI, none of the three); choose by a rule `where`"


def test_a_series_that_meets_two_rules_is_taken_for_neither(pacs, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text(
        '[layout]\nimages = "{patient}/**"\n[sequences]\nA = { where = { SeriesDescription = "t1*" } }\n'
        'B = { where = { SeriesDescription = "*tra" } }\n'
    )
    cohort = discover(open_source(pacs), load_config(rules))
    assert {key[1] for key in cohort.scans} == {"A", "B"}
    assert "2 series: meets the rules of A and B; make them exclude each other" in cohort.not_taken


def test_a_sequence_with_neither_rule_nor_guess_is_refused(pacs, tmp_path):
    (tmp_path / "a.toml").write_text('[layout]\npatient = "PatientID"\n[sequences]\nDWI = {}\n')
    with pytest.raises(SourceError, match=r"sequence DWI: .* give a rule, such as DWI = \{ where"):
        discover(open_source(pacs), load_config(tmp_path / "a.toml"))


def test_everything_in_one_folder_needs_the_name_of_a_header_field(pacs, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for i, path in enumerate(sorted(pacs.rglob("*_0*"))):
        shutil.copy(path, flat / f"IM{i:04d}")
    with pytest.raises(SourceError, match=r'one folder holds images of 2 patients .* patient = "PatientID"'):
        discover(open_source(flat), SourceConfig())
    (tmp_path / "a.toml").write_text('[layout]\npatient = "PatientID"\n')
    cohort = discover(open_source(flat), load_config(tmp_path / "a.toml"))
    assert cohort.patients == ("ID-P1", "ID-P2")
    assert len(cohort.scans) == 6


@pytest.mark.parametrize(
    "ids", [("A/1", "A_1"), (f"{'A' * 50}\\{'B' * 40}", f"{'A' * 50}\\{'B' * 41}"), ("A\\B", "A B")]
)
def test_header_fields_that_would_be_one_label_are_refused(tmp_path, ids):
    for i, patient in enumerate(ids):
        grid = oblique_grid((4, 6, 8), seed=i)
        edit = _edit(t1(ContrastBolusAgent=""), patient)
        write_series(tmp_path / "c", noise(grid), grid, names=f"{i}_{{}}".format, edit=edit, series=f"1.2.{i}")
    (tmp_path / "a.toml").write_text('[layout]\npatient = "PatientID"\n')
    with pytest.raises(SourceError, match=r"two patients would be called A.* in the store, as labels have no slashes"):
        discover(open_source(tmp_path / "c"), load_config(tmp_path / "a.toml"))


def test_spaces_around_a_header_field_make_no_other_patient_and_nothing_makes_none():
    owner = Owner(keyword="PatientID")
    for texts, label in ((("A 1", " A 1 "), "A 1"), (("", "  "), "")):
        for text in texts:
            assert owner.label(Surveyed(File("a", 1, ""), "", header(PatientID=text))) == label


def test_two_visits_of_one_label_are_refused():
    owner = Owner(patterns=(path_regex("{patient}/{session}/*", {}), path_regex("{patient}/*", {})))
    owner.label(Surveyed(File("A/1/x", 1, ""), "", header()))
    with pytest.raises(SourceError, match="two patients would be called A_ses-1 in the store; rename one"):
        owner.label(Surveyed(File("A_ses-1/x", 1, ""), "", header()))


def test_a_patients_folder_with_images_of_another_is_refused(pacs, tmp_path):
    shutil.copytree(pacs, tmp_path / "c")
    shutil.copy(next((pacs / "P2" / "exam").iterdir()), tmp_path / "c" / "P1" / "exam" / "stranger")
    with pytest.raises(SourceError, match="the folder P1 holds images of 2 patients by their PatientID"):
        discover(open_source(tmp_path / "c"), SourceConfig())


def _mix(real_data, folder):
    """Copy every DICOM file of the five real patients and of the real series of many kinds into one folder."""
    folder.mkdir()
    truth = {}
    bases = [real_data / "real_cohort" / "primary_data" / "data" / "MRI-Segments", real_data / "dicom_variety"]
    paths = [p for base in bases for p in sorted(base.rglob("*")) if p.is_file() and "dcm_qa_ts" not in p.parts]
    for path in paths:
        if path.suffix not in (".nii", ".txt") and path.name != "LICENSE":
            name = f"IM{len(truth):05d}"
            truth[name] = path.parent.relative_to(real_data).as_posix()
            shutil.copy(path, folder / name)
    return truth


@pytest.mark.slow
def test_all_real_series_mixed_are_grouped_right_and_no_guess_is_wrong(real_data, tmp_path):
    truth = _mix(real_data, tmp_path / "mixed")
    (tmp_path / "a.toml").write_text('[layout]\npatient = "PatientID"\n')
    source, config = open_source(tmp_path / "mixed"), load_config(tmp_path / "a.toml")
    found = find_series(source, source.files(), config)
    for one in found.series:
        folders = {truth[file.name] for file in one.group.files}
        # encodings of one series, and the same series with slices missing, have one SeriesInstanceUID
        assert len(folders) == 1 or all(folder.startswith("dicom_variety/") for folder in folders), folders
        if "sliceorientation" in next(iter(folders)):
            assert len(one.group.files) == 2
    t1_weighted = {"dicom_variety/ge/anatomical/001", "dicom_variety/ge/anatomical/001_single_slice"}
    t2_weighted = {"dicom_variety/failing/sliceorientation/001"}
    pairs = []
    for one in found.series:
        folder = truth[one.group.files[0].name]
        right = "T1WI" if folder in t1_weighted or folder.startswith("real_cohort") else ""
        pairs.append((right or ("T2WI" if folder in t2_weighted else ""), one.sequence))
        assert len(set(pairs[-1])) == 1, (folder, one.reason)
    for row in table_rows("real series", pairs):
        assert row in ACCURACY.read_text(encoding="utf-8"), row
    result = npc.convert(tmp_path / "mixed", tmp_path / "a.zarr", config=tmp_path / "a.toml", workers=0)
    status = dict(zip(result["patient"].values.tolist(), result["status"].sel(sequence="T1WI").values, strict=True))
    certain = dict.fromkeys(["STS_002", "STS_003", "STS_008", "STS_019", "STS_025"], "warning")
    assert status == {"dicom2nifti": "refused", **certain}  # the number of many scanners' patients


def test_scout_writes_a_configuration_that_converts_the_same(pacs, tmp_path):
    out = tmp_path / "layout.toml"
    ran = CliRunner().invoke(app, ["scout", str(pacs), "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    text = out.read_text(encoding="utf-8")
    assert set(tomllib.loads(text)["sequences"]) == {"T1WI", "T2WI", "CE-T1WI"}
    for words in ('"t1_tra_km"', "2 x CE-T1WI", "a localizer", "# Not taken"):
        assert words in text
    without, with_it = (discover(open_source(pacs), c) for c in (SourceConfig(), load_config(out)))
    assert with_it.patients == without.patients
    assert {k: s.images for k, s in with_it.scans.items()} == {k: s.images for k, s in without.scans.items()}
    assert {k: s.masks for k, s in with_it.scans.items()} == {k: s.masks for k, s in without.scans.items()}


def test_scout_of_a_known_layout_says_that_nothing_is_needed(cohort):
    found = npc.scout(cohort / "primary_data")
    assert (found.layout, found.patients, found.scans) == ("published", 3, 9)
    assert "needs no configuration" in found.toml
    assert tomllib.loads(found.toml) == {}


def test_scout_of_one_folder_with_everything_names_the_field(pacs, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for i, path in enumerate(sorted(pacs.rglob("*_0*"))):
        shutil.copy(path, flat / f"IM{i:04d}")
    found = npc.scout(flat)
    assert tomllib.loads(found.toml)["layout"]["patient"] == "PatientID"
    assert found.scans == 6


def test_scout_of_nothing_says_what_there_is(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"no folders with NIfTI images; there are 1 \.pdf"):
        npc.scout(tmp_path)
