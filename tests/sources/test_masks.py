"""Whichever file a mask comes from, the same voxels come out, and what nothing says is refused or told."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import npczarr as npc
from npczarr.errors import SourceError
from npczarr.model.label_set import Label
from npczarr.sources.config import SourceConfig, load_config
from npczarr.sources.dicom import read_scan
from npczarr.sources.discover import discover
from npczarr.sources.files import open_source
from npczarr.sources.images import read_image
from npczarr.sources.masks import read_scan_mask
from tests.builders import nifti_image, noise, write_series
from tests.sources.structures.build import SECRET, box, contour_item, rtstruct, seg, straight_grid, to_mm

GRID = straight_grid()
SERIES, OTHER = "1.2.3", "1.2.9"
FRAME = ""  # the images of these tests say none


def square(x0, y0, x1, y1, slices=(2, 3)):
    """A box of whole voxels as contours half a voxel around it, and as voxels."""
    outline = box(x0 - 0.5, y0 - 0.5, x1 - 0.5, y1 - 0.5)
    voxels = np.zeros(GRID.shape_zyx, np.uint8)
    for z in slices:
        voxels[z, y0:y1, x0:x1] = 1
    return [contour_item(to_mm(GRID, outline, z), image_uid="") for z in slices], voxels


TUMOR, TUMOR_VOXELS = square(3, 4, 9, 10)
NODE, NODE_VOXELS = square(7, 8, 14, 15)
FAR, FAR_VOXELS = square(16, 2, 20, 6)


def frames(*parts):
    """Frames of segments 1, 2, …: one for each slice."""
    return [(n, z, part[z]) for n, part in enumerate(parts, 1) for z in np.flatnonzero(part.any(axis=(1, 2)))]


@pytest.fixture
def patient(tmp_path):
    write_series(tmp_path / "001" / "T1WI", noise(GRID), GRID, series=SERIES)
    return tmp_path / "001"


def config(folder, text):
    path = folder.parent.parent / "layout.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def read(patient, rules=None, sequence="T1WI"):
    source = open_source(patient.parent)
    files = discover(source, rules or SourceConfig()).scans["001", sequence]
    scan = read_scan(source, files.images, masks=files.masks)
    return read_scan_mask(source, files, scan)


def save_nifti(path, voxels):
    nibabel.save(nifti_image(voxels, GRID, flips=(1,)), path)


@pytest.mark.parametrize("where", ["T1WI/rs.dcm", "rs.dcm", "RTSTRUCT/1-1.dcm", "ROI-T1.dcm"])
@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
def test_one_structure_is_tumor_wherever_its_file_is(patient, where, kind):
    path = patient / where
    path.parent.mkdir(exist_ok=True)
    one = {"GTV": TUMOR}
    path.write_bytes(
        rtstruct(one, series=SERIES, frame=FRAME)
        if kind == "rtstruct"
        else seg(GRID, frames(TUMOR_VOXELS), labels=("GTV",), series=SERIES, frame=FRAME)
    )
    mask = read(patient)
    assert_array_equal(mask.mask, TUMOR_VOXELS)
    assert mask.warnings == ()
    assert mask.evidence["mask_affine_source"] == ("contours" if kind == "rtstruct" else "frames")
    assert mask.evidence["mask_voxels"] == TUMOR_VOXELS.sum()


def test_the_series_that_it_names_decides_not_the_folder(patient):
    write_series(patient / "T2WI", noise(GRID, seed=2), GRID, series=OTHER)
    (patient / "T2WI" / "rs.dcm").write_bytes(rtstruct({"GTV": TUMOR}, series=SERIES, frame=FRAME))
    assert read(patient, sequence="T2WI") == "no mask (1 object beside it with outlines of other series)"
    assert read(patient) == "no mask"
    (patient / "T2WI" / "rs.dcm").rename(patient / "rs.dcm")
    assert_array_equal(read(patient).mask, TUMOR_VOXELS)


def test_of_two_series_in_a_folder_the_one_that_the_outlines_name_is_read(patient):
    write_series(patient / "T1WI", noise(GRID, seed=2), GRID, series=OTHER, names="other{}.dcm".format)
    (patient / "T1WI" / "rs.dcm").write_bytes(rtstruct({"GTV": TUMOR}, series=OTHER, frame=FRAME))
    source = open_source(patient.parent)
    files = discover(source, SourceConfig()).scans["001", "T1WI"]
    scan = read_scan(source, files.images)
    assert_array_equal(scan.image, noise(GRID, seed=2))
    assert "took the one that the outlines name" in scan.warnings[0]
    assert_array_equal(read_scan_mask(source, files, scan).mask, TUMOR_VOXELS)


def test_a_nifti_mask_counts_before_outlines_and_the_words_say_so(patient):
    save_nifti(patient / "ROI-T1.nii", NODE_VOXELS)
    (patient / "T1WI" / "rs.dcm").write_bytes(rtstruct({"GTV": TUMOR}, series=SERIES, frame=FRAME))
    mask = read(patient)
    assert_array_equal(mask.mask, NODE_VOXELS)
    assert mask.warnings == ()
    assert mask.notes == ("RT structure set of this series beside the mask, not used",)
    by_name = config(patient, '[labels]\nGTV = "GTV"')
    assert_array_equal(read(patient, by_name).mask, TUMOR_VOXELS)


def test_several_structures_without_labels_are_refused_and_only_words_of_the_field_are_named(patient):
    content = rtstruct({"GTV": TUMOR, "Dr SECRET": NODE}, series=SERIES, frame=FRAME)
    (patient / "rs.dcm").write_bytes(content)
    with pytest.raises(
        SourceError, match=r"2 structures, and nothing says which is the tumor: 'GTV', 'one of"
    ) as error:
        read(patient)
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
def test_where_labels_overlap_the_first_that_is_declared_counts(patient, kind):
    names = ("GTVp", "GTVn 1", "cord")
    content = (
        rtstruct(dict(zip(names, (TUMOR, NODE, FAR), strict=True)), series=SERIES, frame=FRAME)
        if kind == "rtstruct"
        else seg(GRID, frames(TUMOR_VOXELS, NODE_VOXELS, FAR_VOXELS), labels=names, series=SERIES, frame=FRAME)
    )
    (patient / "rs.dcm").write_bytes(content)
    shared = int((TUMOR_VOXELS & NODE_VOXELS).sum())
    assert shared > 0
    for first, second in (("tumor", "node"), ("node", "tumor")):
        lines = {"tumor": 'tumor = "GTVp"', "node": 'node = ["GTVn", "GTVn*"]'}
        mask = read(patient, config(patient, f"[labels]\n{lines[first]}\n{lines[second]}"))
        of_first = TUMOR_VOXELS if first == "tumor" else NODE_VOXELS
        of_second = NODE_VOXELS if first == "tumor" else TUMOR_VOXELS
        assert_array_equal(mask.mask, np.where(of_first, 1, 2 * of_second))
        assert mask.warnings == (
            f"{shared} voxels of {second} also {first}, which is declared first: stored as {first}",
        )


def test_a_pattern_joins_structures_and_says_so(patient):
    content = rtstruct({"GTVp": TUMOR, "GTVn": FAR, "cord": NODE}, series=SERIES, frame=FRAME)
    (patient / "rs.dcm").write_bytes(content)
    mask = read(patient, config(patient, '[labels]\nGTV = "gtv*"'))
    assert_array_equal(mask.mask, TUMOR_VOXELS | FAR_VOXELS)
    assert mask.warnings == ("2 structures joined to GTV",)


def test_segments_are_chosen_by_number_label_and_code(patient):
    content = seg(GRID, frames(TUMOR_VOXELS, FAR_VOXELS), labels=("a", "b"), series=SERIES, frame=FRAME)
    (patient / "seg.dcm").write_bytes(content)
    for rule in ("2", '"b"', '"SCT:108369002"', "{ segment = 2 }", '{ segment = ["x", "b"] }'):
        mask = read(patient, config(patient, f"[labels]\nx = {rule}"))
        assert_array_equal(mask.mask, FAR_VOXELS)


def test_a_declared_structure_that_is_absent_is_a_warning_and_all_of_them_a_refusal(patient):
    (patient / "rs.dcm").write_bytes(rtstruct({"GTV": TUMOR}, series=SERIES, frame=FRAME))
    mask = read(patient, config(patient, '[labels]\nnode = "node*"\nGTV = "GTV"'))
    assert_array_equal(mask.mask, 2 * TUMOR_VOXELS)
    assert mask.warnings == ("no structure is node",)
    with pytest.raises(SourceError, match="none of the declared labels is among the structures 'GTV'"):
        read(patient, config(patient, '[labels]\nnode = "node*"'))


def test_a_label_in_two_objects_is_refused_and_two_labels_in_two_objects_are_read(patient):
    (patient / "a.dcm").write_bytes(rtstruct({"GTV": TUMOR}, series=SERIES, frame=FRAME))
    (patient / "b.dcm").write_bytes(seg(GRID, frames(FAR_VOXELS), labels=("node",), series=SERIES, frame=FRAME))
    both = config(patient, '[labels]\ntumor = "GTV"\nnode = "node"')
    assert_array_equal(read(patient, both).mask, TUMOR_VOXELS + 2 * FAR_VOXELS)
    (patient / "c.dcm").write_bytes(rtstruct({"GTV": FAR}, series=SERIES, frame=FRAME))
    with pytest.raises(SourceError, match=r"tumor is in 2 objects .* nothing says which is meant"):
        read(patient, both)


def test_values_of_a_nifti_mask_are_labels_where_they_are_declared(patient):
    save_nifti(patient / "ROI-T1.nii", TUMOR_VOXELS * 4 + FAR_VOXELS * 2)
    mask = read(patient, config(patient, "[labels]\nnode = [2, 3]\ntumor = 4"))
    assert_array_equal(mask.mask, FAR_VOXELS + 2 * TUMOR_VOXELS)
    assert mask.warnings == ()
    mask = read(patient, config(patient, "[labels]\ntumor = 4"))
    assert_array_equal(mask.mask, TUMOR_VOXELS)
    count = FAR_VOXELS.sum()
    assert mask.warnings == (f"values that no declared label names are taken for background: 2 ({count} voxels)",)
    with pytest.raises(SourceError, match=r"no declared label names any .*: found 2 \(.*, 4 \(.*, expected tumor = 1;"):
        read(patient, config(patient, "[labels]\ntumor = 1"))
    with pytest.raises(SourceError, match="the declared labels name no values"):
        read(patient, config(patient, '[labels]\ntumor = "GTV"'))


def test_probabilities_are_no_labels(patient):
    voxels = TUMOR_VOXELS * np.random.default_rng(0).uniform(0.1, 0.9, GRID.shape_zyx)
    nibabel.save(nifti_image(voxels, GRID, dtype="float32"), patient / "ROI-T1.nii")
    with pytest.raises(SourceError, match="no whole numbers"):
        read(patient, config(patient, "[labels]\ntumor = 1"))


def test_labels_on_another_grid_go_by_majority_each(patient):
    fine = GRID.regrid(shape=(GRID.shape_zyx[0], 2 * GRID.shape_zyx[1], 2 * GRID.shape_zyx[2]))
    voxels = np.repeat(np.repeat(TUMOR_VOXELS + 2 * FAR_VOXELS, 2, axis=1), 2, axis=2)
    nibabel.save(nifti_image(voxels, fine), patient / "ROI-T1.nii")
    mask = read(patient, config(patient, "[labels]\ntumor = 1\nnode = 2"))
    assert_array_equal(mask.mask, TUMOR_VOXELS + 2 * FAR_VOXELS)


def test_a_fractional_segment_is_cut_where_its_label_says(patient):
    part = (TUMOR_VOXELS * 100 + FAR_VOXELS * 200).astype(np.uint8)
    content = seg(GRID, frames(part), kind="FRACTIONAL", labels=("t",), series=SERIES, frame=FRAME)
    (patient / "seg.dcm").write_bytes(content)
    for threshold, expected in ((0.3, TUMOR_VOXELS | FAR_VOXELS), (0.5, FAR_VOXELS)):
        rules = config(patient, f'[labels]\nt = {{ segment = "t", threshold = {threshold} }}')
        mask = read(patient, rules)
        assert_array_equal(mask.mask, expected)
        assert f"cut at {threshold}" in mask.warnings[0]


@pytest.mark.parametrize("content", [b"", b"no DICOM", b"\0" * 128 + b"DICM", "cut"])
def test_a_mask_that_is_neither_nifti_nor_dicom_is_refused(patient, content):
    if content == "cut":
        content = rtstruct({"GTV": TUMOR}, series=SERIES, frame=FRAME)[:-100]
    (patient / "ROI-T1.dcm").write_bytes(content)
    with pytest.raises(SourceError):
        read(patient)


def test_two_masks_of_two_kinds_are_refused(patient):
    save_nifti(patient / "ROI-T1.nii", TUMOR_VOXELS)
    (patient / "ROI-T1.dcm").write_bytes(rtstruct({"GTV": TUMOR}, series=SERIES, frame=FRAME))
    with pytest.raises(SourceError, match="2 masks for one scan"):
        read(patient)


def test_files_beside_the_series_that_outline_nothing_stay_strays_or_change_nothing(patient):
    (patient / "notes.txt").write_text("x")
    (patient / "README.dcm").write_bytes(b"no DICOM")
    cohort = discover(open_source(patient.parent), SourceConfig())
    assert [file.path for file in cohort.strays] == ["001/notes.txt"]
    assert read(patient) == "no mask (1 of the files beside it neither RTSTRUCT nor SEG)"


@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
def test_outlines_in_another_folder_are_not_used_and_the_scan_that_they_name_says_so(patient, kind):
    write_series(patient / "T2WI", noise(GRID, seed=2), GRID, series=OTHER)
    (patient / "plan" / "1").mkdir(parents=True)
    (patient / "plan" / "1" / "rs.dcm").write_bytes(
        rtstruct({"GTV": TUMOR}, series=SERIES, frame=FRAME)
        if kind == "rtstruct"
        else seg(GRID, frames(TUMOR_VOXELS), labels=("GTV",), series=SERIES, frame=FRAME)
    )
    (patient / "plan" / "1" / "dose.dcm").write_bytes(b"no DICOM")
    said = read(patient)
    assert said.startswith("no mask (1 RTSTRUCT or SEG file of this series in a folder where outlines are not looked")
    assert "layout.structures" in said
    assert SECRET not in said
    assert read(patient, sequence="T2WI") == "no mask"
    rules = config(patient, '[layout]\nstructures = "{patient}/plan/**"')
    assert_array_equal(read(patient, rules).mask, TUMOR_VOXELS)


def test_of_other_folders_those_of_few_files_of_the_patient_itself_are_looked_at(patient):
    content = rtstruct({"GTV": TUMOR}, series=SERIES, frame=FRAME)
    for place, count in (("001/plan", 2), ("001/FLAIR", 30), ("0011/plan", 1), ("plan", 1)):
        folder = patient.parent / place
        folder.mkdir(parents=True)
        for i in range(count):
            (folder / f"{i}.dcm").write_bytes(content)
    assert read(patient).startswith("no mask (2 RTSTRUCT or SEG files of this series")


def test_a_pattern_for_masks_that_names_the_patient_alone_gives_structures_of_all_its_series(patient):
    write_series(patient / "T2WI", noise(GRID, seed=2), GRID, series=OTHER)
    (patient / "outlines").mkdir()
    for name, series, part in (("a", SERIES, TUMOR), ("b", OTHER, FAR)):
        (patient / "outlines" / name).write_bytes(rtstruct({"GTV": part}, series=series, frame=FRAME))
    rules = config(patient, '[layout]\nmasks = ["{patient}/outlines/*"]')
    assert_array_equal(read(patient, rules).mask, TUMOR_VOXELS)
    assert_array_equal(read(patient, rules, "T2WI").mask, FAR_VOXELS)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("background = 1", "not background"),
        ('"two words" = 1', "one word"),
        ("a = 1\nA = 2", "upper and lower case"),
        ("a = 1\nb = [1, 2]", "value 1 is declared twice"),
        ("a = 0", "values above 0"),
        ("a = 1.5", "a whole number or a text"),
        ("a = true", "a whole number or a text"),
        ('a = ""', "a whole number or a text"),
        ("a = { roy = 'x' }", "unknown key 'roy'"),
        ("a = { threshold = 0.2 }", "expected a value, a roi or a segment"),
        ("a = { value = 1, threshold = 2 }", "threshold above 0 and up to 1"),
        ("a = { value = 'x' }", "a whole number"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused_with_the_reason(patient, table, words):
    with pytest.raises(SourceError, match=words):
        config(patient, f"[labels]\n{table}")


def test_labels_are_read_in_the_order_of_their_declaration(patient):
    rules = config(patient, '[labels]\nb = 1\na = ["x*", 2]\nc = { value = 3, roi = "r", segment = [4, "s"] }')
    assert rules.labels == (
        Label("b", 1, (1,), (), (1,)),
        Label("a", 2, (2,), ("x*",), ("x*", 2)),
        Label("c", 3, (3,), ("r",), (4, "s")),
    )
    files = discover(open_source(patient.parent), rules).scans["001", "T1WI"]
    assert files.labels == rules.labels
    assert replace(files, labels=()) == discover(open_source(patient.parent), SourceConfig()).scans["001", "T1WI"]


def test_the_structures_of_a_folder_are_listed_by_name(patient):
    (patient / "rs.dcm").write_bytes(rtstruct({"GTV": TUMOR, "Dr X": NODE, "empty": []}, series=SERIES, frame=FRAME))
    (patient / "T1WI" / "seg").write_bytes(seg(GRID, frames(FAR_VOXELS), labels=("node",), series=SERIES, frame=FRAME))
    (patient / "bad.dcm").write_bytes((patient / "rs.dcm").read_bytes()[:-50])
    (patient / "notes.txt").write_text("x")
    found = npc.list_structures(patient.parent)
    assert [(one.path, one.kind, one.number, one.name, one.meaning, one.parts) for one in found if not one.problem] == [
        ("001/T1WI/seg", "SEG", 1, "node", "SCT:108369001 (Neoplasm)", 2),
        ("001/rs.dcm", "RTSTRUCT", 1, "GTV", "GTV", 2),
        ("001/rs.dcm", "RTSTRUCT", 2, "Dr X", "GTV", 2),
        ("001/rs.dcm", "RTSTRUCT", 3, "empty", "GTV", 0),
    ]
    assert [one.path for one in found if one.problem] == ["001/bad.dcm"]


def test_of_one_folder_with_everything_each_series_gets_its_own_outlines(tmp_path):
    def edit(dataset, echo):
        dataset.EchoTime, dataset.PatientID = echo, SECRET  # as the outlines say

    for series, seed, echo in ((SERIES, 1, "12"), (OTHER, 2, "90")):
        write_series(
            tmp_path / "001",
            noise(GRID, seed=seed),
            GRID,
            series=series,
            names=f"{seed}-{{}}.dcm".format,
            edit=lambda dataset, z, echo=echo: edit(dataset, echo),
        )
    (tmp_path / "001" / "a.dcm").write_bytes(rtstruct({"GTV": TUMOR}, series=SERIES, frame=FRAME))
    (tmp_path / "001" / "b.dcm").write_bytes(rtstruct({"GTV": FAR}, series=OTHER, frame=FRAME))
    (tmp_path / "layout.toml").write_text(
        '[layout]\nimages = "{patient}/**"\n[sequences]\n'
        'T1WI = { where = { EchoTime = "<50" } }\nT2WI = { where = { EchoTime = ">50" } }\n'
    )
    rules = load_config(tmp_path / "layout.toml")
    for sequence, expected in (("T1WI", TUMOR_VOXELS), ("T2WI", FAR_VOXELS)):
        assert_array_equal(read(tmp_path / "001", rules, sequence).mask, expected)


@pytest.mark.parametrize("where", ["001/ses-02/rs.dcm", "001/rs.dcm"])
def test_of_several_visits_the_one_that_is_named_gets_the_outlines(tmp_path, where):
    for series, session in ((SERIES, "01"), (OTHER, "02")):
        folder = tmp_path / "001" / f"ses-{session}" / "T1WI"
        write_series(folder, noise(GRID, seed=int(session)), GRID, series=series)
    (tmp_path / where).write_bytes(rtstruct({"GTV": TUMOR}, series=OTHER, frame=FRAME))
    (tmp_path / "layout.toml").write_text(
        '[layout]\nimages = "{patient}/{session}/{sequence}/**"\n'
        'structures = ["{patient}/{session}/*.dcm", "{patient}/*.dcm"]\n'
    )
    source = open_source(tmp_path)
    cohort = discover(source, load_config(tmp_path / "layout.toml"))
    assert cohort.strays == () or [file.path for file in cohort.strays] == ["layout.toml"]
    for label, expected in (("001_ses-01", None), ("001_ses-02", TUMOR_VOXELS)):
        files = cohort.scans[label, "T1WI"]
        mask = read_scan_mask(source, files, read_scan(source, files.images))
        if expected is None:
            assert isinstance(mask, str)
        else:
            assert_array_equal(mask.mask, expected)


def test_outlines_beside_a_nifti_image_count_where_their_names_say_whose_they_are(tmp_path):
    (tmp_path / "001").mkdir()
    nibabel.save(nifti_image(noise(GRID), GRID, dtype="int16"), tmp_path / "001" / "T1.nii.gz")
    (tmp_path / "001" / "T1.dcm").write_bytes(rtstruct({"GTV": TUMOR}))
    text = (
        '[layout]\nimages = "{patient}/{sequence}.nii.gz"\nmasks = "{patient}/%s"\n'
        '[sequences]\nT1WI = { folder = "T1", mask = "T1" }\n'
    )
    source, found = open_source(tmp_path), {}
    for pattern in ("*.dcm", "{mask}.dcm"):
        (tmp_path / "layout.toml").write_text(text % pattern)
        files = discover(source, load_config(tmp_path / "layout.toml")).scans["001", "T1WI"]
        found[pattern] = read_scan_mask(source, files, read_image(source, files))
    assert "1 object beside it with outlines of a series" in found["*.dcm"]
    assert "give the files names with {mask} or {sequence} under layout.masks" in found["*.dcm"]
    assert_array_equal(found["{mask}.dcm"].mask, TUMOR_VOXELS)
    (warning,) = found["{mask}.dcm"].warnings
    assert "nothing says on which series it was drawn; placed by its coordinates" in warning
