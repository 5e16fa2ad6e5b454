"""Masks as SEG and RTSTRUCT: other libraries read the same voxels, and they come back."""

import shutil
import subprocess

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path
from numpy.testing import assert_array_equal

import npczarr as npc
from npczarr.errors import ParameterError
from npczarr.export.outlines import outlines
from npczarr.model.geometry import Grid
from npczarr.sources.structures import Contour, Roi, rasterize, read_rtstruct
from tests.builders import nifti_image, noise, oblique_grid, write_series

GRID = oblique_grid((6, 20, 24), seed=3, spacing_zyx_mm=(3.5, 0.9, 0.6))
LABELS = "[labels]\ntumor = 1\nnode = 2\nCTV = 3\n"


def voxels():
    """Three labels: one with a hole and an island in it, one in two pieces at the border, one of single voxels."""
    mask = np.zeros(GRID.shape_zyx, np.uint8)
    mask[1:4, 3:14, 3:14] = 1
    mask[2, 5:12, 5:12] = 0
    mask[2, 7:9, 7:9] = 1
    mask[0, :3, 18:], mask[4:, 17:, :5] = 2, 2
    mask[5, 2, 2] = mask[5, 3, 3] = mask[3, 18, 20] = 3
    return mask


def with_frame(dataset, z):
    dataset.FrameOfReferenceUID, dataset.StudyInstanceUID = "1.2.77", "1.2.78"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("objects")
    write_series(root / "data" / "001" / "T1WI", noise(GRID), GRID, edit=with_frame)
    write_series(root / "data" / "002" / "T1WI", noise(GRID, seed=1), GRID, series="1.2.4", edit=with_frame)
    for patient, mask in (("001", voxels()), ("002", np.zeros_like(voxels()))):
        nibabel.save(nifti_image(mask, GRID, flips=(1,)), root / "data" / patient / "ROI-T1.nii")
    (root / "labels.toml").write_text(LABELS)
    npc.convert(root / "data", root / "cohort.zarr", config=root / "labels.toml", workers=0)
    return root / "cohort.zarr"


@pytest.fixture(scope="module")
def exported(store, tmp_path_factory):
    def export(format):
        out = tmp_path_factory.mktemp(format) / "out"
        done = npc.export_scans(store, out, format=format, patients=["001"], sequences=["T1WI"], workers=0)
        assert [(one.status, one.message, one.files) for one in done] == [("written", "", ("001/ROI-T1.dcm",))]
        return out / "001" / "ROI-T1.dcm"

    return {format: export(format) for format in ("seg", "rtstruct")}


def test_a_seg_is_read_by_highdicom_with_equal_voxels(exported):
    read = highdicom.seg.segread(exported["seg"])
    assert read.segmentation_type.value == "BINARY"
    assert [read.get_segment_description(n).segment_label for n in (1, 2, 3)] == ["tumor", "node", "CTV"]
    volume = read.get_volume(combine_segments=True)
    source = Grid(volume.spatial_shape, volume.affine @ np.eye(4)[:, [2, 1, 0, 3]])
    found = np.zeros_like(voxels())
    for at in np.argwhere(volume.array):
        x, y, z, _ = np.linalg.solve(GRID.affine, source.affine @ [*at[::-1], 1])
        found[tuple(np.rint([z, y, x]).astype(int))] = volume.array[tuple(at)]
    assert_array_equal(found, voxels())


def test_a_seg_is_read_by_pydicom_and_simpleitk_with_equal_voxels(exported):
    dataset = pydicom.dcmread(exported["seg"])
    frames = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(exported["seg"]))
    assert_array_equal(dataset.pixel_array, frames > 0)
    found = np.zeros_like(voxels())
    for frame, group in zip(dataset.pixel_array, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        position = [float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient]
        z = round(np.linalg.solve(GRID.affine, [*position, 1])[2])
        found[z][frame > 0] = number
    assert_array_equal(found, voxels())
    assert dataset.NumberOfFrames == sum(len(np.unique(plane)) - (0 in plane) for plane in voxels())


def test_an_rtstruct_has_the_structures_and_no_text_of_the_source(exported):
    dataset = pydicom.dcmread(exported["rtstruct"])
    assert [roi.ROIName for roi in dataset.StructureSetROISequence] == ["tumor", "node", "CTV"]
    assert [one.RTROIInterpretedType for one in dataset.RTROIObservationsSequence] == ["GTV", "", "CTV"]
    for path in exported.values():
        content = path.read_bytes()
        assert b"SECRET" not in content
        assert pydicom.dcmread(path).PatientID == "001"


def test_contours_give_back_the_voxels_without_a_warning(exported):
    rois = read_rtstruct(exported["rtstruct"].read_bytes()).rois
    for number, roi in enumerate(rois, 1):
        mask, warnings = rasterize(roi, GRID)
        assert_array_equal(mask, voxels() == number)
        assert [w for w in warnings if "nothing is interpolated" not in w] == []


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian: dicom3tools) is not installed")
@pytest.mark.parametrize("format", ["seg", "rtstruct"])
def test_the_objects_follow_the_standard(exported, format):
    found = subprocess.run(["dciodvfy", exported[format]], capture_output=True, text=True, check=False)
    assert found.returncode == 0
    assert [line for line in found.stderr.splitlines() if "DICOMDIR" not in line] == [
        {"seg": "Segmentation", "rtstruct": "RTStructureSet"}[format]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("format", ["seg", "rtstruct"])
def test_what_was_exported_comes_back_and_scores_full_marks(store, exported, tmp_path, format):
    folder = exported[format].parent.parent
    (done,) = npc.import_masks(store, folder)
    assert (done.status, done.message) == ("kept", "it is the stored mask")
    score = npc.score(npc.open(store), folder).sel(patient="001", sequence="T1WI")
    assert score.dice.values.tolist() == [1.0, 1.0, 1.0]
    assert score.hd.values.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.slow
@pytest.mark.parametrize("format", ["seg", "rtstruct"])
def test_with_the_source_the_objects_belong_to_its_series(store, exported, tmp_path, format):
    data, config = store.parent / "data", store.parent / "labels.toml"
    shutil.copytree(data / "001", tmp_path / "data" / "001")
    (tmp_path / "data" / "001" / "ROI-T1.nii").unlink()
    (tmp_path / "c.toml").write_text('[labels]\nx = "CTV"\ny = ["none", "nod*"]\n')

    def converted(path, name):
        shutil.copy(path, tmp_path / "data" / "001" / "T1WI" / "object.dcm")
        result = npc.convert(tmp_path / "data", tmp_path / name, config=tmp_path / "c.toml", workers=0)
        return result.sel(patient="001", sequence="T1WI")

    # alone, it names another series: the words say so, and nothing is guessed
    alone = converted(exported[format], "alone.zarr")
    assert (alone.mask_status, alone.message) == (
        "missing",
        "no mask (1 object beside it with outlines of other series)",
    )
    out = tmp_path / "out"
    (done,) = npc.export_scans(
        store, out, format=format, patients=["001"], sequences=["T1WI"], source=data, config=config, workers=0
    )
    assert (done.status, done.message) == ("written", "")
    written, slice_of = pydicom.dcmread(out / done.files[0]), pydicom.dcmread(next((data / "001/T1WI").iterdir()))
    for keyword in ("PatientID", "PatientName", "StudyDate", "FrameOfReferenceUID"):
        assert written[keyword].value == slice_of[keyword].value
    named = converted(out / done.files[0], "named.zarr")
    said = [part for part in str(named.message.values).split("; ") if part and not part.startswith("nothing is inter")]
    assert [part for part in said if "slices from its first to its last contour have none" not in part] == []
    assert named.mask_status == "ok" or format == "rtstruct"
    mask = npc.open(tmp_path / "named.zarr").mask.sel(patient="001", sequence="T1WI").values
    assert_array_equal(mask, (voxels() == 3) + 2 * (voxels() == 2))


def _of_another(path, folder, *, same_frame):
    """Rename the series, and the frame of reference, that an object names; both alike wherever they are."""
    content, found = path.read_bytes(), pydicom.dcmread(path)
    reference = found.get("ReferencedSeriesSequence")
    if reference is None:
        frame = found.ReferencedFrameOfReferenceSequence[0]
        reference = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    for uid in [reference[0].SeriesInstanceUID, *([] if same_frame else [found.FrameOfReferenceUID])]:
        content = content.replace(uid.encode(), f"{uid[:-1]}{(int(uid[-1]) + 1) % 10}".encode())
    (folder / "001").mkdir(parents=True)
    (folder / "001" / "ROI-T1.dcm").write_bytes(content)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("format", ["seg", "rtstruct"])
def test_what_was_drawn_on_another_series_is_not_put_in_the_place_of_a_mask(store, tmp_path, format):
    shutil.copytree(store, tmp_path / "copy.zarr")
    data, config = store.parent / "data", store.parent / "labels.toml"
    npc.export_scans(
        store,
        tmp_path / "out",
        format=format,
        patients=["001"],
        sequences=["T1WI"],
        source=data,
        config=config,
        workers=0,
    )
    path = tmp_path / "out" / "001" / "ROI-T1.dcm"
    (kept,) = npc.import_masks(tmp_path / "copy.zarr", tmp_path / "out")
    assert kept.status == "kept", kept.message  # it names the series of the source, by whose digest it is known
    far = _of_another(path, tmp_path / "far", same_frame=False)
    (refused,) = npc.import_masks(tmp_path / "copy.zarr", far)
    assert (refused.status, "of another frame of reference" in refused.message) == ("refused", True)
    with pytest.raises(npc.SourceError, match=r"001/T1WI: prediction: .* another frame of reference"):
        npc.score(npc.open(store), far).compute()
    near = _of_another(path, tmp_path / "near", same_frame=True)
    npc.import_masks(tmp_path / "copy.zarr", _with_an_empty_mask(tmp_path / "empty"))
    assert (npc.score(npc.open(store), near).dice.sel(patient="001", sequence="T1WI") == 1).all()
    (told,) = npc.import_masks(tmp_path / "copy.zarr", near)
    assert (told.status, "drawn on another series in the same frame" in told.message) == ("replaced", True)


def _with_an_empty_mask(folder):
    (folder / "001").mkdir(parents=True)
    nibabel.save(nifti_image(np.zeros_like(voxels()), GRID), folder / "001" / "ROI-T1.nii")
    return folder


def test_a_source_that_is_not_the_one_of_the_store_is_refused(store, tmp_path):
    write_series(tmp_path / "data" / "001" / "T1WI", noise(GRID, seed=9), GRID, edit=with_frame)
    found = npc.export_scans(store, tmp_path / "out", format="seg", source=tmp_path / "data", workers=0)
    assert [(one.patient, one.status) for one in found if one.sequence == "T1WI"] == [
        ("001", "failed"),
        ("002", "failed"),
    ]
    assert "not the one in the store" in found[0].message
    assert "has no such series" in found[3].message
    with pytest.raises(ParameterError, match="only seg and rtstruct refer to it"):
        npc.export_scans(store, tmp_path / "other", format="nifti", source=tmp_path / "data")


@pytest.mark.parametrize("format", ["seg", "rtstruct"])
def test_an_empty_mask_writes_no_object_and_says_so(store, tmp_path, format):
    (done,) = npc.export_scans(store, tmp_path / "o", format=format, patients=["002"], sequences=["T1WI"], workers=0)
    assert (done.status, done.files) == ("written", ())
    assert "the mask is empty" in done.message


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.4, 0.5, 0.6, 0.9]), st.integers(1, 9), st.integers(1, 9))
def test_outlines_of_any_slice_give_back_its_voxels(seed, share, rows, columns):
    inside = np.random.default_rng(seed).random((rows, columns)) < share
    grid = Grid((1, rows, columns), np.eye(4))
    rings = outlines(inside)
    contours = tuple(Contour(np.column_stack([ring, np.zeros(len(ring))]), "CLOSED_PLANAR") for ring in rings)
    if not contours:
        assert not inside.any()
        return
    mask, _ = rasterize(Roi(1, "x", contours), grid)
    assert_array_equal(mask[0], inside)
    y, x = np.indices(inside.shape)
    centers = np.column_stack([x.ravel(), y.ravel()])
    # programs that take a center on the line for outside find the same voxels: no line runs through one
    by_other = sum(Path(ring).contains_points(centers).astype(int) for ring in rings) % 2 == 1
    assert_array_equal(by_other.reshape(inside.shape), inside)
    assert min(_distance(centers, ring) for ring in rings) > 0.35


def _distance(points, ring):
    """Shortest distance of any point from a closed line."""
    along = np.roll(ring, -1, axis=0) - ring
    used = np.any(along != 0, axis=1)
    start, along = ring[used], along[used]
    apart = points[:, None] - start
    share = np.clip((apart * along).sum(axis=-1) / (along**2).sum(axis=-1), 0, 1)
    return float(np.linalg.norm(apart - share[..., None] * along, axis=-1).min())
