"""What scout makes of NIfTI files beside DICOM images, and of NIfTI images of several volumes."""

import tomllib

import nibabel
import numpy as np
import pytest

import npczarr as npc
from npczarr.sources.config import SourceConfig, load_config
from npczarr.sources.discover import discover
from npczarr.sources.files import open_source
from tests.builders import blob, nifti_image, noise, oblique_grid, write_series

T1 = {"SeriesDescription": "t1 pre"}


def write_exams(root, masks, *, patients=("P0", "P1"), fields=T1):
    """Write a series of each patient that no folder names, and masks at these paths."""
    for i, patient in enumerate(patients):
        grid = oblique_grid((4, 6, 8), seed=i)

        def edit(ds, z, patient=patient):
            ds.PatientID = f"ID-{patient}"
            for keyword, value in fields.items():
                setattr(ds, keyword, value)

        write_series(root / patient / "DICOM" / "ser1", noise(grid), grid, names="IM{}.dcm".format, edit=edit)
    for path in masks:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nifti_image(blob(oblique_grid((4, 6, 8))), oblique_grid((4, 6, 8))), root / path)


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("P0/t1.nii.gz", "{patient}/{mask}.nii*"),
        ("P0/m.nii.gz", "{patient}/m.nii*"),
        ("P0/Untitled.nii", "{patient}/Untitled.nii*"),
        ("P0/NPC.nii.gz", "{patient}/NPC.nii*"),
        ("P0/Maske.nii.gz", "{patient}/Maske.nii*"),
        ("P0/DICOM/T1_seg.nii.gz", "{patient}/DICOM/{mask}_seg.nii*"),
        ("P0/P0_m.nii", "{patient}/*_m.nii*"),
        ("masks/P0.nii.gz", "masks/{patient}.nii*"),
    ],
)
def test_nifti_files_beside_dicom_images_are_masks_for_scout_as_for_convert(tmp_path, path, pattern):
    write_exams(tmp_path / "c", [path])
    found = npc.scout(tmp_path / "c")
    assert (found.layout, found.patients, found.scans) == ("headers", 2, 2)
    assert tomllib.loads(found.toml)["layout"] == {"images": "{patient}/**", "masks": [pattern]}
    (tmp_path / "a.toml").write_text(found.toml, encoding="utf-8")
    source = open_source(tmp_path / "c")
    without, with_it = (discover(source, config) for config in (SourceConfig(), load_config(tmp_path / "a.toml")))
    images = {key: scan.images for key, scan in without.scans.items()}
    assert {key: scan.images for key, scan in with_it.scans.items()} == images
    assert [file.path for file in with_it.scans["P0", "T1WI"].masks] == [path]
    assert with_it.strays == ()


def test_what_names_of_masks_beside_dicom_images_leave_open_is_in_the_file(tmp_path):
    write_exams(tmp_path, ["P0/m.nii.gz", "x.nii.gz"])
    found = npc.scout(tmp_path)
    for words in (
        "2 NIfTI files are beside DICOM images: they are taken for masks",
        "names of NIfTI files tell no sequence",
        "1 NIfTI files are in no folder of a patient",
    ):
        assert any(words in line and line.startswith("# NOT SURE: ") for line in found.toml.splitlines()), found.toml
        assert any(words in remark for remark in found.remarks)
    assert "# images = " in found.toml


def test_masks_that_are_named_as_published_leave_nothing_open(tmp_path):
    write_exams(tmp_path, ["P0/ROI-T1.nii.gz", "P1/ROI-T1.nii.gz"])
    found = npc.scout(tmp_path)
    assert found.remarks == ()
    assert tomllib.loads(found.toml)["layout"]["masks"] == ["{patient}/ROI-{mask}.nii*"]


def test_names_that_are_many_become_any_name(tmp_path):
    write_exams(tmp_path, [f"P{i % 2}/m{i}.nii.gz" for i in range(8)])
    assert tomllib.loads(npc.scout(tmp_path).toml)["layout"]["masks"] == ["{patient}/*.nii*"]


def test_series_of_no_known_kind_are_the_images_still(tmp_path):
    write_exams(tmp_path, ["P0/t1.nii.gz"], fields={"SeriesDescription": "x", "EchoTime": "40"})
    found = npc.scout(tmp_path)
    assert (found.layout, found.scans) == ("headers", 0)
    assert "2 x -" in found.toml


def test_one_localizer_does_not_hide_a_cohort_of_nifti_files_and_is_said(tmp_path):
    write_exams(tmp_path, [f"P{i}/t1.nii.gz" for i in range(3)], patients=["P0"], fields={"ImageType": ["LOCALIZER"]})
    found = npc.scout(tmp_path)
    assert (found.layout, found.patients) == ("NIfTI", 3)
    assert found.toml.startswith("# NOT SURE: 1 DICOM series are there too")
    assert tomllib.loads(found.toml)["layout"]["images"] == ["{patient}/{sequence}.nii.gz"]


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_images_of_several_volumes_are_said_to_be_refused(tmp_path, kind, ending):
    for i, shape in enumerate([(8, 6, 4, 2), (8, 6, 4, 2), (8, 6, 4, 1), (8, 6, 4)]):
        for folder, one in (("imagesTr", shape), ("labelsTr", shape[:3])):
            (tmp_path / folder).mkdir(exist_ok=True)
            nibabel.save(kind(np.zeros(one, np.int16), np.eye(4)), tmp_path / folder / f"la_00{i}{ending}")
    found = npc.scout(tmp_path)
    assert (found.layout, found.patients, found.scans) == ("NIfTI", 4, 2)
    said = "2 of 4 images hold 2 volumes (channels or times); convert takes one volume each and refuses these"
    assert f"# NOTE: {said}" in found.toml
    assert found.remarks[0].startswith(said)
    tomllib.loads(found.toml)


def test_masks_of_a_format_that_is_not_read_are_named_with_what_to_do(tmp_path):
    write_exams(tmp_path, [])
    for name in ("m.nrrd", "m.mha"):
        (tmp_path / "P0" / name).write_bytes(b"x")
    said = "1 .mha, 1 .nrrd: not read. If these are masks or images, save them as NIfTI (.nii.gz)"
    assert f"# NOTE: {said}" in npc.scout(tmp_path).toml
    cohort = discover(open_source(tmp_path), SourceConfig())
    assert any(line.startswith(said) for line in cohort.not_taken)
    assert len(cohort.scans) == 2
