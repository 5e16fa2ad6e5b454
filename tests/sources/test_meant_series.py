"""Which series is meant where headers decide: several that may be, and one file that is of several sequences."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

import npczarr as npc
from npczarr.errors import SourceError
from npczarr.model.geometry import Grid
from npczarr.sources.config import SourceConfig, load_config
from npczarr.sources.discover import discover
from npczarr.sources.files import open_source
from tests.builders import enhanced_dataset, noise, oblique_grid, write_series

SHAPE = (4, 6, 8)
RULE = '[layout]\nimages = "{patient}/**"\n[sequences]\nCE = { where = { SeriesDescription = "*t1*" } }\n'


def plane(name):
    """Grid whose slices are axial or coronal."""
    affine = np.diag([0.7, 0.5, 5.5, 1.0])
    return Grid(SHAPE, affine if name == "axial" else affine[:, [0, 2, 1, 3]])


def write_two(root, *, grids=("axial", "coronal"), first=(), second=()):
    """Write two series of one patient, with fields by which they differ, and one of another patient."""
    write_series(root / "P2" / "visit0", noise(plane("axial")), plane("axial"), edit=_describe)
    for i, (grid, fields) in enumerate(zip(map(plane, grids), (first, second), strict=True)):

        def edit(ds, z, fields=fields):
            ds.PatientID, ds.SeriesDescription, ds.StudyInstanceUID = "P", "t1 +c", "1.2"
            for keyword, value in dict(fields).items():
                setattr(ds, keyword, value)

        folder = root / "P1" / f"visit{i}"
        write_series(folder, noise(grid, seed=i), grid, series=f"1.2.{i}", names=f"{i}_{{}}".format, edit=edit)


def _describe(ds, z):
    ds.SeriesDescription, ds.PatientID = "t1 +c", "Q"


def refusal(root, config):
    """Why the one scan of which several series may be meant is refused."""
    return next(scan.refusal for scan in discover(open_source(root), config).scans.values() if scan.refusal)


@pytest.mark.parametrize("rule", [True, False])
@pytest.mark.parametrize(
    ("first", "second", "grids", "words"),
    [
        ({}, {}, ("axial", "coronal"), ("orientation axial", "orientation coronal", '"*tra*"')),
        (
            {"ImageType": ["ORIGINAL", "PRIMARY", "M"]},
            {"ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"]},
            ("axial", "axial"),
            ("ImageType ORIGINAL\\PRIMARY\\M,", "ImageType ORIGINAL\\PRIMARY\\M\\NORM", "where = { ImageType = "),
        ),
        ({"EchoTime": 12}, {"EchoTime": 9}, ("axial", "axial"), ("EchoTime 12", "EchoTime 9", 'EchoTime = "12"')),
        (
            {"SeriesDescription": "t1 +c SECRET"},
            {"SeriesDescription": "t1 +c dixon SECRET"},
            ("axial", "axial"),
            ("they differ in SeriesDescription, which may name a person",),
        ),
    ],
    ids=["orientation", "ImageType", "EchoTime", "description"],
)
def test_series_that_may_be_meant_are_listed_with_what_they_differ_in(tmp_path, rule, first, second, grids, words):
    write_two(tmp_path / "c", grids=grids, first=first, second=second)
    (tmp_path / "a.toml").write_text(RULE)
    line = refusal(tmp_path / "c", load_config(tmp_path / "a.toml") if rule else SourceConfig())
    assert line.startswith("2 series may be meant, none was taken: (1) ")
    assert "; choose in the configuration, for example where = " in line
    for one in words:
        assert one in line
    assert "SECRET" not in line
    assert "studies" not in line


def test_series_of_two_studies_are_said_to_be_visits_unless_the_pattern_has_them(tmp_path):
    write_two(tmp_path / "c", grids=("axial", "axial"), second={"StudyInstanceUID": "1.3"})
    (tmp_path / "a.toml").write_text(RULE)
    line = refusal(tmp_path / "c", load_config(tmp_path / "a.toml"))
    assert "they are of 2 studies (StudyInstanceUID)" in line
    assert "(1) 4 slices of 6 x 8, study 1, " in line
    assert "(2) 4 slices of 6 x 8, study 2, " in line
    assert 'images = "{patient}/{session}/**"' in line
    (tmp_path / "b.toml").write_text(RULE.replace("{patient}/**", "{patient}/{session}/**"))
    assert len(discover(open_source(tmp_path / "c"), load_config(tmp_path / "b.toml")).scans) == 3


def test_two_studies_in_one_session_are_not_said_to_be_visits(tmp_path):
    write_two(tmp_path / "c" / "P0", grids=("axial", "axial"), second={"StudyInstanceUID": "1.3"})
    (tmp_path / "a.toml").write_text(RULE.replace("{patient}/**", "{patient}/{session}/**"))
    line = refusal(tmp_path / "c", load_config(tmp_path / "a.toml"))
    assert "of 2 studies" not in line
    assert line.endswith("nothing that is compared tells them apart: keep one of them")


def test_scout_shows_the_descriptions_of_series_that_may_be_meant(tmp_path):
    write_two(tmp_path, grids=("axial", "axial"), second={"SeriesDescription": "t1 +c\ndixon"})
    line = next(line for line in npc.scout(tmp_path).toml.splitlines() if "2 series may be meant" in line)
    assert '"t1 +c"' in line
    assert "dixon" in line


def test_of_many_series_that_may_be_meant_some_are_counted(tmp_path):
    for i in range(9):
        write_two(tmp_path / "c", grids=("axial", "axial"), first={"EchoTime": i, "SeriesInstanceUID": f"1.3.{i}"})
        for path in (tmp_path / "c" / "P1" / "visit0").glob("0_*"):
            path.rename(path.with_name(f"{i}{path.name}"))
    assert "; and 4 more; " in refusal(tmp_path / "c", SourceConfig())


@pytest.mark.slow
def test_a_scan_of_which_several_series_may_be_meant_is_refused_with_the_reason_and_the_rest_converts(tmp_path):
    write_two(tmp_path / "c", grids=("axial", "axial"), second={"EchoTime": 9})
    result = npc.convert(tmp_path / "c", tmp_path / "a.zarr", workers=0)
    assert result["status"].sel(sequence="CE-T1WI").values.tolist() == ["refused", "warning"]
    (problem,) = (one for one in npc.info(tmp_path / "a.zarr")["problems"] if one["status"] == "refused")
    assert problem["message"].startswith("2 series may be meant, none was taken: (1) 4 slices of 6 x 8, EchoTime 12.5")
    assert npc.validate(tmp_path / "a.zarr", against=tmp_path / "c") == ()
    again = npc.convert(tmp_path / "c", tmp_path / "a.zarr", workers=0)
    assert again["status"].sel(patient="P1", sequence="CE-T1WI") == "refused"


@pytest.mark.slow
def test_a_stored_scan_stays_where_its_source_gets_a_second_series_that_may_be_meant(tmp_path):
    write_two(tmp_path / "c", grids=("axial", "axial"), second={"EchoTime": 9})
    (tmp_path / "c" / "P1" / "visit1").rename(tmp_path / "second")
    npc.convert(tmp_path / "c", tmp_path / "a.zarr", workers=0)
    (tmp_path / "second").rename(tmp_path / "c" / "P1" / "visit1")
    again = npc.convert(tmp_path / "c", tmp_path / "a.zarr", workers=0).sel(patient="P1", sequence="CE-T1WI")
    assert (again["action"], again["status"]) == ("kept", "warning")
    assert "cannot be used now (2 series may be meant" in str(again["message"].values)
    assert again.attrs["source_worse"] == ["P1/CE-T1WI"]


B_VALUES = '[layout]\nimages = "{patient}/**"\n[sequences]\n' + "\n".join(
    f'{name} = {{ where = {{ DiffusionBValue = "{value}" }} }}' for name, value in (("B0", "0"), ("B1000", ">900"))
)


def write_b_values(folder, grid, values):
    """Write one enhanced object that holds a volume for each b value."""
    ds = enhanced_dataset(noise(grid), grid, np.repeat(range(SHAPE[0]), len(values)))
    for i, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        frame.MRDiffusionSequence = [Dataset()]
        frame.MRDiffusionSequence[0].DiffusionBValue = values[i % len(values)]
    volume = np.stack([noise(grid) + 1000 * i for i in range(len(values))], axis=1)
    ds.PixelData = volume.reshape(-1, *SHAPE[1:]).astype("int16").tobytes()
    folder.mkdir(parents=True)
    ds.save_as(folder / "1.dcm", enforce_file_format=True)


@pytest.mark.slow
def test_one_file_of_several_b_values_is_converted_for_each_of_the_rules_that_its_frames_meet(tmp_path):
    grid = oblique_grid(SHAPE)
    write_b_values(tmp_path / "c" / "P1" / "x", grid, (0.0, 1000.0, 500.0))
    (tmp_path / "a.toml").write_text(B_VALUES)
    result = npc.convert(tmp_path / "c", tmp_path / "a.zarr", config=tmp_path / "a.toml", workers=0)
    assert result["status"].isin(["ok", "warning"]).all(), result["message"].values
    ds = npc.open(tmp_path / "a.zarr")
    for i, sequence in enumerate(("B0", "B1000")):
        np.testing.assert_array_equal(ds.npc.scan("P1", sequence)["image"], noise(grid) + 1000 * i)


def test_one_file_goes_to_two_rules_only_if_no_frame_meets_both(tmp_path):
    write_b_values(tmp_path / "c" / "P1" / "x", oblique_grid(SHAPE), (0.0, 1000.0))
    (tmp_path / "a.toml").write_text(B_VALUES)
    cohort = discover(open_source(tmp_path / "c"), load_config(tmp_path / "a.toml"))
    assert [[file.path for file in scan.images] for scan in cohort.scans.values()] == [["P1/x/1.dcm"]] * 2
    assert cohort.not_taken == ()
    (tmp_path / "a.toml").write_text(B_VALUES.replace(">900", ">=0"))
    with pytest.raises(SourceError, match="meets the rules of B0 and B1000; make them exclude each other"):
        discover(open_source(tmp_path / "c"), load_config(tmp_path / "a.toml"))


@pytest.mark.parametrize("named", ["mask", "folder"])
def test_a_mask_is_of_each_sequence_that_names_it_where_headers_tell_series(tmp_path, named):
    for i, description in enumerate(("t1", "t2")):

        def edit(ds, z, description=description):
            ds.SeriesDescription = description

        grid = plane("axial")
        names = f"{i}_{{}}".format
        write_series(tmp_path / "c" / "P1" / "x", noise(grid), grid, names=names, series=f"1.{i}", edit=edit)
    (tmp_path / "c" / "P1" / "tumor.nii").write_bytes(b"x")
    (tmp_path / "c" / "P1" / "other.nii").write_bytes(b"x")
    (tmp_path / "a.toml").write_text(
        '[layout]\nimages = "{patient}/**"\nmasks = "{patient}/{mask}.nii"\n[sequences]\n'
        f'A = {{ {named} = "tumor", where = {{ SeriesDescription = "t1" }} }}\n'
        f'B = {{ {named} = "tumor", where = {{ SeriesDescription = "t2" }} }}\n'
        'C = { mask = "other", where = { SeriesDescription = "t3" } }\n'
    )
    cohort = discover(open_source(tmp_path / "c"), load_config(tmp_path / "a.toml"))
    assert [[file.path for file in scan.masks] for scan in cohort.scans.values()] == [["P1/tumor.nii"]] * 2
    assert [file.path for file in cohort.strays] == ["P1/other.nii"]  # of a sequence that is not there
