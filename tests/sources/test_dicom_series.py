"""The right series or none: several in one folder, copies of files, and objects that are no images."""

import nibabel
import pydicom
import pytest
from numpy.testing import assert_array_equal
from pydicom.uid import (
    GrayscaleSoftcopyPresentationStateStorage,
    JPEGLSLossless,
    MRSpectroscopyStorage,
    ParametricMapStorage,
    RawDataStorage,
    SecondaryCaptureImageStorage,
)

from npczarr.errors import GeometryError, SourceError
from npczarr.sources.dicom import read_scan
from npczarr.sources.files import open_source
from tests.builders import blob, nifti_image, noise, oblique_grid, slice_dataset, write_series

GRID = oblique_grid((5, 6, 7), seed=1)
OTHER = oblique_grid((5, 6, 7), seed=2)


def read(folder, mask=None, **options):
    """Read a folder; of a mask the file lies beside it."""
    source = open_source(folder.parent)
    files = [file for file in source.files() if file.path.startswith(f"{folder.name}/")]
    masks = [file for file in source.files() if file.path == "ROI-T1.nii"]
    return read_scan(source, files, masks=masks, **options)


def refusal(folder, **options):
    with pytest.raises(SourceError) as caught:
        read(folder, **options)
    assert "SECRET" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "T1WI"


def write(folder, name, grid=GRID, seed=None, depth=None, **options):
    """Write a series whose UID and files are named by a letter."""
    volume = noise(grid, seed=ord(name) if seed is None else seed)[:depth]
    write_series(folder, volume, grid, names=(name + "{}").format, series=f"1.{ord(name)}", **options)


def save_mask(folder, grid=GRID, **options):
    nibabel.save(nifti_image(blob(grid), grid, **options), folder.parent / "ROI-T1.nii")


def echo(ms):
    return lambda ds, z: setattr(ds, "EchoTime", str(ms))


def image_of(name, grid=GRID):
    return noise(grid, seed=ord(name))


def test_the_series_with_most_slices_is_not_meant_for_that(folder):
    write(folder, "a", depth=3, edit=echo(12))
    write(folder, "b", edit=echo(90))
    message = refusal(folder)
    assert message.startswith(
        "2 series in the folder, nothing tells which is meant: (1) 3 slices of 6 x 7, EchoTime 12"
    )
    assert "(2) 5 slices of 6 x 7, EchoTime 90. Keep one, or choose" in message
    assert 'where = { EchoTime = "12" }' in message
    assert_array_equal(read(folder, where=(("EchoTime", "12"),)).image, image_of("a")[:3])


def test_the_right_series_short_of_a_slice_is_not_replaced_by_a_whole_one(folder):
    """Whatever the mask says: without it, with it, and where the whole one lies elsewhere."""
    for grid in (GRID, OTHER):
        for path in [*folder.glob("*"), *folder.parent.glob("*.nii")]:
            path.unlink()
        write(folder, "a", skip=[2])
        write(folder, "b", grid=grid)
        message = refusal(folder)
        assert "nothing tells which is meant" in message
        assert "unusable: 1 slice(s) missing" in message
        save_mask(folder)
        assert "1 slice(s) missing" in refusal(folder)


def test_a_series_short_of_its_last_slice_is_not_replaced_by_a_whole_one(folder):
    write(folder, "a", depth=4)
    write(folder, "b")
    save_mask(folder)
    assert "2 series in the folder, 2 of them lie on the grid of the mask and nothing tells" in refusal(folder)


def test_a_rule_that_names_the_unusable_series_refuses_the_scan(folder):
    write(folder, "a", skip=[2], edit=echo(12))
    write(folder, "b", edit=echo(90))
    with pytest.raises(GeometryError, match=r"^1 slice\(s\) missing"):
        read(folder, where=(("EchoTime", "12"),))
    assert read(folder, where=(("EchoTime", "90"),)).series_uid == "1.98"


def test_the_series_on_the_grid_of_the_mask_is_taken_with_a_warning(folder):
    write(folder, "a", grid=OTHER, edit=echo(90))
    write(folder, "b", edit=echo(12))
    write(folder, "c", grid=OTHER, skip=[1], edit=echo(70))
    for options in ({}, {"flips": (1,)}, {"order": (2, 0, 1), "flips": (0, 2)}, {"sform": False}):
        save_mask(folder, **options)
        scan = read(folder)
        assert_array_equal(scan.image, image_of("b"))
        assert scan.series_uid == "1.98"
        (warning,) = scan.warnings
        assert warning.startswith(
            "3 series in the folder: took the one on the grid of the mask (5 slices of 6 x 7, EchoTime 12"
        )
        assert "passed over 2 (5 slices of 6 x 7, EchoTime 90" in warning
        assert "4 slices of 6 x 7, EchoTime 70" in warning
        assert "unusable: 1 slice(s) missing" in warning


@pytest.mark.parametrize("edit", ["spacing", "matrix", "place", "orientation", "depth"])
def test_a_series_on_another_grid_than_the_mask_is_not_taken_for_the_one_on_it(folder, edit):
    affine = GRID.affine.copy()
    shape = GRID.shape_zyx
    if edit == "spacing":
        affine[:3, 0] *= 1.5
    elif edit == "matrix":
        shape = (5, 6, 9)
    elif edit == "place":
        affine[:3, 3] += 0.5 * affine[:3, 2]
    elif edit == "orientation":
        affine[:3, :2] = affine[:3, 1::-1] * [1, 1]
    elif edit == "depth":
        shape = (9, 6, 7)
    other = type(GRID)(shape, affine)
    write(folder, "a", grid=other, edit=echo(90))
    write(folder, "b", edit=echo(12))
    save_mask(folder)
    assert_array_equal(read(folder).image, image_of("b"))


def test_a_series_that_cannot_be_placed_may_be_the_one_that_is_meant(folder):
    write(folder, "a")
    write(folder, "b", edit=lambda ds, z: delattr(ds, "ImagePositionPatient"))
    save_mask(folder)
    message = refusal(folder)
    assert "nothing tells which is meant" in message
    assert "no usable ImagePositionPatient" in message


def test_the_series_that_the_store_holds_is_taken_with_a_warning(folder):
    write(folder, "a", edit=echo(12))
    write(folder, "b", edit=echo(90))
    scan = read(folder, held={"1.98"}.__contains__)
    assert_array_equal(scan.image, image_of("b"))
    assert scan.warnings[0].startswith("2 series in the folder: took the one that the store holds (5 slices")
    assert "nothing tells" in refusal(folder, held={"1.5"}.__contains__)
    assert "nothing tells" in refusal(folder, held=lambda uid: True)


def test_the_series_that_the_store_holds_is_taken_or_refused_but_not_replaced(folder):
    write(folder, "a", skip=[2])
    write(folder, "b")
    with pytest.raises(GeometryError, match=r"^1 slice\(s\) missing"):
        read(folder, held={"1.97"}.__contains__)


def test_a_folder_of_one_series_asks_nothing(folder):
    write(folder, "a")

    def held(uid):
        raise AssertionError("asked")

    scan = read(folder, held=held)
    assert (scan.series_uid, scan.warnings, scan.notes) == ("1.97", (), ())
    assert "1.97" not in repr(scan)


def test_series_are_told_apart_by_what_differs_and_by_no_free_text(folder):
    def second(ds, z):
        ds.ImageType = ["DERIVED", "SECONDARY", "SECRET"]
        ds.SeriesDescription, ds.ProtocolName = "SECRET", "SECRET"
        ds.RepetitionTime = None

    write(folder, "a")
    write(folder, "b", grid=oblique_grid((4, 8, 9), seed=3), edit=second)
    message = refusal(folder)
    assert "(1) 5 slices of 6 x 7, RepetitionTime 600, ImageType ORIGINAL\\PRIMARY\\M" in message
    assert "(2) 4 slices of 8 x 9, no RepetitionTime, ImageType DERIVED\\SECONDARY\\OTHER" in message
    assert 'where = { ImageType = "' in message


def test_localizers_beside_a_series_are_passed_over_and_alone_are_a_warning(folder):
    def scout(ds, z):
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    write(folder, "a", grid=OTHER, depth=2, edit=scout)
    assert "ImageType says LOCALIZER: made to plan the examination" in read(folder).warnings
    write(folder, "b")
    scan = read(folder)
    assert_array_equal(scan.image, image_of("b"))
    assert (scan.warnings, scan.notes) == ((), ("passed over: localizer (2 files)",))
    assert read(folder, where=(("ImageType", "LOCALIZER"),)).series_uid == "1.97"


# copies


def copy_slice(folder, to, edit=None):
    ds = pydicom.dcmread(folder / "a2")
    if edit:
        edit(ds)
    ds.save_as(folder / to)


def recode(ds):
    ds.compress(JPEGLSLossless, generate_instance_uid=False)


@pytest.mark.parametrize("edit", [None, recode, lambda ds: setattr(ds, "PatientName", "SECRET^OTHER")])
def test_an_exact_copy_is_dropped_and_counted(folder, edit):
    write(folder, "a")
    copy_slice(folder, "copy")
    copy_slice(folder, "000", edit)
    scan = read(folder)
    assert_array_equal(scan.image, image_of("a"))
    assert (scan.warnings, scan.notes) == ((), ("passed over: exact copy (2 files)",))


def other_pixels(ds):
    ds.PixelData = bytes(len(ds.PixelData))


def other_place(ds):
    ds.ImagePositionPatient = [float(mm) + 50 for mm in ds.ImagePositionPatient]


@pytest.mark.parametrize("edit", [other_pixels, other_place])
def test_two_files_of_one_name_and_other_content_are_refused(folder, edit):
    write(folder, "a")
    copy_slice(folder, "7", edit)
    assert "claim to be one object (SOPInstanceUID), but differ" in refusal(folder)


# objects without an image


@pytest.mark.parametrize("kind", [RawDataStorage, MRSpectroscopyStorage, GrayscaleSoftcopyPresentationStateStorage])
@pytest.mark.parametrize("has_rows", [False, True])
def test_an_object_without_pixels_beside_images_is_passed_over_by_its_kind(folder, kind, has_rows):
    write(folder, "a")
    ds = slice_dataset(noise(GRID)[0], GRID, 0, series="1.55")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = kind
    del ds.PixelData
    if not has_rows:
        del ds.Rows, ds.Columns
    ds.save_as(folder / "x.dcm")
    scan = read(folder)
    assert_array_equal(scan.image, image_of("a"))
    assert scan.notes == (f"passed over: {pydicom.uid.UID(kind).name} (1 file)",)


def test_a_private_object_without_pixels_is_passed_over(folder):
    write(folder, "a")
    ds = slice_dataset(noise(GRID)[0], GRID, 0)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.3.4.5"
    del ds.PixelData
    ds.save_as(folder / "x.dcm")
    assert read(folder).notes == ("passed over: DICOM object without an image (1 file)",)


def test_an_image_that_lost_its_pixels_is_refused_as_cut_short(folder):
    write(folder, "a")
    copy_slice(folder, "a2", lambda ds: delattr(ds, "PixelData"))
    assert "file 3 of 5 by name is a DICOM file that is cut short" in refusal(folder)


def test_a_screenshot_is_passed_over(folder):
    write(folder, "a")
    ds = slice_dataset(noise(GRID)[0], GRID, 0, series="1.55")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    del ds.ImagePositionPatient
    ds.save_as(folder / "x.dcm")
    assert read(folder).notes == ("passed over: Secondary Capture Image Storage (1 file)",)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (ParametricMapStorage, "Parametric Map Storage"),
        ("1.2.840.10008.5.1.4.1.1.66.7", "Label Map Segmentation Storage"),
        ("1.2.840.10008.5.1.4.1.1.66.4", "Segmentation Storage"),
    ],
)
def test_maps_are_named_for_what_they_are(folder, kind, words):
    ds = slice_dataset(noise(GRID)[0], GRID, 0)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = kind
    folder.mkdir()
    ds.save_as(folder / "1.dcm")
    said = refusal(folder)
    assert said.startswith("no image in the folder, which holds 1 .dcm; expected DICOM images, or one NIfTI file")
    assert said.endswith(f"passed over: {words} (1 file)")


# frames at one position


def test_frames_at_one_position_are_told_apart_by_what_differs(folder):
    def at(name, **fields):
        def edit(ds, z):
            for keyword, value in fields.items():
                setattr(ds, keyword, value)

        write(folder, name, edit=edit)
        for path in folder.glob(f"{name}*"):  # one series
            ds = pydicom.dcmread(path)
            ds.SeriesInstanceUID = "1.2"
            ds.save_as(path)

    at("a", EchoTime="12", AcquisitionTime="100000")
    at("b", EchoTime="90", AcquisitionTime="110000", ImageType=["ORIGINAL", "PRIMARY", "P"])
    message = refusal(folder)
    assert message.startswith("2 slices at one position")
    assert "so at 5 of 5 positions" in message
    assert "EchoTime (12, 90)" in message
    assert "ImageType (ORIGINAL\\PRIMARY\\M, ORIGINAL\\PRIMARY\\P)" in message
    assert "AcquisitionTime" in message
    assert "110000" not in message
    assert 'where = { EchoTime = "12" }' in message


@pytest.mark.parametrize(
    ("keyword", "values", "words"),
    [
        ("DiffusionBValue", (0.0, 1000.0), "DiffusionBValue (0, 1000); choose in the configuration, for example where"),
        ("TemporalPositionIdentifier", ("1", "2"), "TemporalPositionIdentifier (1, 2)"),
        ("TriggerTime", ("1", "2"), "TriggerTime (1, 2)"),
        ("InversionTime", ("100", "2000"), "InversionTime (100, 2000)"),
        ("AcquisitionTime", ("100000", "100100"), "they differ in AcquisitionTime; choose"),
        ("PatientName", ("SECRET1", "SECRET2"), "nothing in their headers tells them apart"),
    ],
)
def test_each_field_that_tells_frames_apart_is_named(folder, keyword, values, words):
    folder.mkdir()
    for z in range(5):
        for i, value in enumerate(values):
            ds = slice_dataset(noise(GRID)[z], GRID, z)
            setattr(ds, keyword, value)
            ds.save_as(folder / f"{z}-{i}")
    assert words in refusal(folder)


def test_a_frame_at_one_position_that_is_no_copy_is_counted_right(folder):
    write(folder, "a")
    copy_slice(folder, "7", lambda ds: setattr(ds, "SOPInstanceUID", "1.2.3.4"))
    assert refusal(folder).startswith("2 slices at one position")


def test_the_frame_of_reference_is_kept_and_several_are_a_warning(folder):
    write(folder, "a", edit=lambda ds, z: setattr(ds, "FrameOfReferenceUID", "1.2.3"))
    scan = read(folder)
    assert scan.frame_of_reference_uid == "1.2.3"
    assert scan.warnings == ()
    write(folder, "a", edit=lambda ds, z: setattr(ds, "FrameOfReferenceUID", f"1.2.{z % 2}"))
    (warning,) = read(folder).warnings
    assert "2 frames of reference" in warning


def test_slices_of_two_patients_are_a_warning_that_names_neither(folder):
    write(folder, "a", edit=lambda ds, z: setattr(ds, "PatientID", "SECRET1" if z % 2 else ""))
    assert read(folder).warnings == ()
    write(folder, "a", edit=lambda ds, z: setattr(ds, "PatientID", f"SECRET{z % 2}"))
    scan = read(folder)
    (warning,) = scan.warnings
    assert "2 PatientIDs" in warning
    assert "SECRET" not in repr((scan.warnings, scan.notes, dict(scan.acquisition)))


def test_a_series_of_which_every_second_slice_is_missing_is_a_warning(folder):
    grid = oblique_grid((9, 6, 7), seed=1, spacing_zyx_mm=(3, 0.5, 0.7))

    def edit(ds, z):
        ds.SpacingBetweenSlices, ds.InstanceNumber = "3", z + 1

    write(folder, "a", grid, skip=(1, 3, 5, 7), edit=edit)
    (warning,) = read(folder).warnings
    assert warning.startswith("positions are 6.000 mm apart and the header says 3.000 mm between slices: every second")
