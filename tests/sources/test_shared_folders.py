"""Sequences that share a folder or a mask: each gets what its rule names, or the configuration is refused."""

import nibabel
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import npczarr as npc
from npczarr.errors import SourceError
from npczarr.model.cohort import File
from npczarr.sources.bids import sort_bids
from npczarr.sources.config import SequenceRule, SourceConfig, load_config
from npczarr.sources.discover import sort_files
from tests.builders import blob, nifti_image, noise, oblique_grid, write_series

IMAGES = '[layout]\nimages = "{patient}/{sequence}/**"\n'
VISITS = '[layout]\nimages = "{patient}/{session}/{sequence}/**"\n'
B0, B1000 = 'where = { DiffusionBValue = "0" }', 'where = { DiffusionBValue = ">900" }'
GRID = oblique_grid((4, 6, 8), seed=1)


def load(tmp_path, text):
    path = tmp_path / "layout.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def sort(config, *paths):
    return sort_files([File(path, 1, "") for path in paths], config)


def names(files):
    return [file.path for file in files]


def write_values(folder, keyword, values):
    """Write a volume for each value of a header field, all below one folder."""
    for i, value in enumerate(values):
        write_series(
            folder,
            noise(GRID, seed=i),
            GRID,
            names=(f"{i}_" + "{}").format,
            edit=lambda ds, z, value=value: setattr(ds, keyword, value),
        )


@pytest.mark.parametrize(
    ("folder", "keyword", "values", "wheres"),
    [
        ("S04*", "DiffusionBValue", (0.0, 1000.0), (B0, B1000)),
        ("S0401", "EchoTime", ("12", "90"), ('where = { EchoTime = "<30" }', 'where = { EchoTime = ">30" }')),
        (
            "s04*",
            "TemporalPositionIdentifier",
            (1, 2),
            ("where = { TemporalPositionIdentifier = 1 }", "where = { TemporalPositionIdentifier = 2 }"),
        ),
    ],
    ids=["diffusion", "echoes", "DCE"],
)
@pytest.mark.slow
def test_two_sequences_of_one_folder_are_both_converted(tmp_path, folder, keyword, values, wheres):
    write_values(tmp_path / "c" / "P1" / "pre" / "S0401", keyword, values)
    rules = f"A = {{ folder = '{folder}', {wheres[0]} }}\nB = {{ folder = 'S04*', {wheres[1]} }}\n"
    (tmp_path / "a.toml").write_text(f"{VISITS}[sequences]\n{rules}")
    result = npc.convert(tmp_path / "c", tmp_path / "a.zarr", config=tmp_path / "a.toml", workers=0)
    assert result["status"].isin(["ok", "warning"]).all(), result["message"].values
    ds = npc.open(tmp_path / "a.zarr")
    for i, sequence in enumerate("AB"):
        assert_array_equal(ds.npc.scan(ds["patient"].values[0], sequence)["image"], noise(GRID, seed=i))
    again = npc.convert(tmp_path / "c", tmp_path / "a.zarr", config=tmp_path / "a.toml", workers=0)
    assert (again["action"] == "kept").all()


@pytest.mark.parametrize("folders", [("S04*", "S04*"), ("S04", "s04"), ("S04", "S0*"), ("S0*", "S04*")])
def test_images_go_to_every_sequence_whose_rule_names_their_folder(tmp_path, folders):
    rules = f'B0 = {{ folder = "{folders[0]}", {B0} }}\nB1000 = {{ folder = "{folders[1]}", {B1000} }}'
    cohort = sort(load(tmp_path, f"{IMAGES}[sequences]\n{rules}"), "P1/S04/1.dcm", "P1/S04/2.dcm", "P1/other/1.dcm")
    for sequence in ("B0", "B1000"):
        assert names(cohort.scans["P1", sequence].images) == ["P1/S04/1.dcm", "P1/S04/2.dcm"]
    assert names(cohort.strays) == ["P1/other/1.dcm"]
    assert cohort.guesses == ()


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [("", "", "B0 and B1000 have no"), ("", f", {B1000}", "B0 has no"), (f", {B0}", "", "B1000 has no")],
)
def test_rules_for_one_folder_that_do_not_tell_its_images_apart_are_refused(tmp_path, first, second, said):
    rules = f'B0 = {{ folder = "S04*"{first} }}\nB1000 = {{ folder = "s04*"{second} }}'
    with pytest.raises(SourceError) as caught:
        load(tmp_path, f"{IMAGES}[sequences]\n{rules}")
    for words in ("layout.toml, [sequences]", 'B0 (folder = "S04*") and B1000 (folder = "s04*")', said, "`where`"):
        assert words in str(caught.value)


def test_rules_for_one_folder_are_not_refused_where_folders_tell_nothing(tmp_path):
    text = '[layout]\nimages = "{patient}/**"\n[sequences]\nT1WI = { folder = "a" }\nT2WI = { folder = "a" }'
    assert [rule.name for rule in load(tmp_path, text).sequences] == ["T1WI", "T2WI"]


@pytest.mark.parametrize("where", ["", f", {B1000}"])
def test_patterns_of_folders_that_fit_the_same_folder_are_refused(tmp_path, where):
    config = load(tmp_path, f'{IMAGES}[sequences]\nA = {{ folder = "S0*" }}\nB = {{ folder = "S04*"{where} }}')
    assert sort(config, "P1/S03/1.dcm").scans.keys() == {("P1", "A")}
    with pytest.raises(SourceError, match=r'A \(folder = "S0\*"\) and B \(folder = "S04\*"\) name the same folder'):
        sort(config, "P1/S04/1.dcm")


def test_a_folder_that_is_named_letter_for_letter_goes_to_that_rule_and_it_is_said(tmp_path):
    config = load(tmp_path, f'{IMAGES}[sequences]\nA = {{ folder = "S0*" }}\nB = {{ folder = "S04" }}')
    cohort = sort(config, "P1/S04/1.dcm", "P1/S05/1.dcm", "P1/S04/2.dcm")
    assert {key[1]: names(scan.images) for key, scan in cohort.scans.items()} == {
        "A": ["P1/S05/1.dcm"],
        "B": ["P1/S04/1.dcm", "P1/S04/2.dcm"],
    }
    (line,) = cohort.guesses
    assert line.startswith("2 files: the names of their folders fit several rules of [sequences]; they went to B, and")
    assert "not to A" in line


def test_rules_that_were_not_read_from_a_file_are_refused_too():
    rules = (SequenceRule("A", "x", "A"), SequenceRule("B", "X", "B"))
    with pytest.raises(SourceError, match="name the same folder"):
        sort(SourceConfig(sequences=rules), "P1/x/1.dcm")


@pytest.mark.parametrize(
    ("layout", "rules", "paths", "mask"),
    [
        (IMAGES + 'masks = "{patient}/{mask}.nii"\n', 'mask = "t1"', ("P/T1WI/1.dcm", "P/T2WI/1.dcm"), "P/T1.nii"),
        (
            '[layout]\nimages = "{patient}/{patient}_{sequence}.nii"\nmasks = "{patient}/{patient}_{mask}.nii"\n',
            'mask = "Segmentation"',
            ("P/P_T1WI.nii", "P/P_T2WI.nii"),
            "P/P_Segmentation.nii",
        ),
        (
            IMAGES + 'masks = "{patient}/*.nii"\n',
            'mask = "image"',  # what a mask is called whose path says nothing
            ("P/T1WI/1.dcm", "P/T2WI/1.dcm"),
            "P/m.nii",
        ),
    ],
)
def test_a_mask_is_of_each_sequence_that_names_it(tmp_path, layout, rules, paths, mask):
    text = f"{layout}[sequences]\nT1WI = {{ {rules} }}\nT2WI = {{ {rules} }}"
    cohort = sort(load(tmp_path, text), *paths, mask)
    assert {key[1]: names(scan.masks) for key, scan in cohort.scans.items()} == {"T1WI": [mask], "T2WI": [mask]}
    assert (cohort.guesses, cohort.strays) == ((), ())


def test_a_mask_in_a_folder_of_two_sequences_is_of_both(tmp_path):
    text = f'{IMAGES}masks = "{{patient}}/{{sequence}}/m.nii"\n[sequences]\n'
    text += f'A = {{ folder = "x", {B0} }}\nB = {{ folder = "x", {B1000} }}'
    cohort = sort(load(tmp_path, text.replace("/**", "/*.dcm")), "P/x/1.dcm", "P/x/m.nii")
    assert [names(scan.masks) for scan in cohort.scans.values()] == [["P/x/m.nii"]] * 2


def test_patterns_of_masks_that_fit_the_same_mask_are_told(tmp_path):
    text = f'{IMAGES}masks = "{{patient}}/{{mask}}.nii"\n[sequences]\nA = {{ mask = "t*" }}\nB = {{ mask = "*1" }}'
    cohort = sort(load(tmp_path, text), "P/A/1.dcm", "P/B/1.dcm", "P/t1.nii")
    assert [names(scan.masks) for scan in cohort.scans.values()] == [["P/t1.nii"]] * 2
    (line,) = cohort.guesses
    assert line.startswith("1 files: the names of their masks fit several rules of [sequences]; they went to A and B;")


def test_a_sidecar_is_of_every_sequence_of_its_image(tmp_path):
    text = '[layout]\nimages = "{patient}/{sequence}.nii"\n[sequences]\n'
    text += f'A = {{ folder = "dwi", {B0} }}\nB = {{ folder = "dwi", {B1000} }}'
    cohort = sort(load(tmp_path, text), "P/dwi.nii", "P/dwi.json")
    assert [names(scan.images) for scan in cohort.scans.values()] == [["P/dwi.nii", "P/dwi.json"]] * 2
    assert cohort.strays == ()


def test_a_name_that_must_be_of_one_sequence_and_is_of_two_is_refused(tmp_path):
    rules = f'A = {{ folder = "T1w", {B0} }}\nB = {{ folder = "t1w", {B1000} }}'
    with pytest.raises(SourceError, match=r"T1w fits A, B of \[sequences\], expected one of them"):
        sort_bids([File("sub-1/anat/sub-1_T1w.nii", 1, "")], load(tmp_path, f"[sequences]\n{rules}"))


@pytest.mark.slow
def test_one_mask_of_two_sequences_is_stored_with_both(tmp_path):
    for sequence in ("T1WI", "T2WI"):
        write_series(tmp_path / "c" / "P1" / sequence, noise(GRID), GRID, series=f"1.2.{len(sequence)}")
    nibabel.save(nifti_image(blob(GRID), GRID), tmp_path / "c" / "P1" / "t1.nii.gz")
    rules = '[sequences]\nT1WI = { mask = "t1" }\nT2WI = { mask = "t1" }\n'
    (tmp_path / "a.toml").write_text(f'{IMAGES}masks = "{{patient}}/{{mask}}.nii.gz"\n{rules}')
    result = npc.convert(tmp_path / "c", tmp_path / "a.zarr", config=tmp_path / "a.toml", workers=0)
    assert (result["mask_status"] == "ok").all(), result["message"].values
    sums = npc.open(tmp_path / "a.zarr")["mask"].sum(["z", "y", "x"]).values
    assert np.array_equal(sums, [[blob(GRID).sum()] * 2])
