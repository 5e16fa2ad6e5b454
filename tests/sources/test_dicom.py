import numpy as np
import pydicom
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import CTImageStorage, MediaStorageDirectoryStorage, RTStructureSetStorage

from npczarr.errors import GeometryError, SourceError
from npczarr.model.schema import ACQUISITION_NAMES
from npczarr.sources.dicom import Peeked, peek, read_scan
from npczarr.sources.files import open_source
from tests.builders import SYNTAXES, enhanced_dataset, noise, oblique_grid, set_pixels, slice_dataset, write_series

GRID = oblique_grid((5, 6, 7), seed=1)


def read(folder):
    source = open_source(folder)
    return read_scan(source, source.files())


def refusal(folder):
    with pytest.raises(SourceError) as caught:
        read(folder)
    assert "SECRET" not in str(caught.value)
    assert str(folder) not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_slices_come_by_position_whatever_their_names_and_numbers(tmp_path, syntax):
    volume = noise(GRID)
    write_series(tmp_path, volume, GRID, names=lambda z: f"{(7 * z) % 5}", syntax=syntax)
    scan = read(tmp_path)
    assert_array_equal(scan.image, volume)
    assert_allclose(scan.grid.affine, GRID.affine, atol=1e-6)
    assert scan.image.dtype == np.int16
    assert (scan.warnings, scan.notes) == ((), ())
    assert scan.acquisition["transfer_syntax"] == SYNTAXES[syntax].name


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32"])
@pytest.mark.parametrize("syntax", ["explicit", "big-endian"])
def test_every_integer_type_is_stored_as_it_is(tmp_path, dtype, syntax):
    volume = noise(GRID, dtype, high=120)
    volume[0, 0, 0], volume[1, 1, 1] = np.iinfo(dtype).max // 2, np.iinfo(dtype).min // 2
    write_series(tmp_path, volume, GRID, syntax=syntax)
    scan = read(tmp_path)
    assert_array_equal(scan.image, volume)
    assert scan.image.dtype == ("int32" if volume.max() > 32767 else "int16")


def test_an_image_of_odd_size_in_8_bit(tmp_path):
    grid = oblique_grid((3, 5, 7))
    write_series(tmp_path, noise(grid, "uint8", high=256), grid)
    assert_array_equal(read(tmp_path).image, noise(grid, "uint8", high=256))


def test_32_bits_are_taken_where_a_value_needs_them_or_would_be_taken_for_padding(tmp_path):
    large, low, fits = (noise(GRID, dtype) for dtype in ("uint16", "int16", "uint16"))
    large[2, 3, 4], low[2, 3, 4], fits[2, 3, 4] = 65535, -32768, 32767
    for name, volume, dtype in (("a", large, "int32"), ("b", low, "int32"), ("c", fits, "int16")):
        write_series(tmp_path / name, volume, GRID)
        scan = read(tmp_path / name)
        assert_array_equal(scan.image, volume)
        assert scan.image.dtype == dtype


def test_a_value_beyond_32_bits_is_refused(tmp_path):
    volume = noise(GRID, "uint32")
    volume[3] = 2**32 - 1
    write_series(tmp_path, volume, GRID)
    assert "the value 4294967295 does not fit" in refusal(tmp_path)


def test_rescale_of_each_slice_follows_its_slice(tmp_path):
    def scale(ds, z):
        if z != 2:
            ds.RescaleSlope, ds.RescaleIntercept = f"{z + 0.5}", f"{-10 * z}"

    write_series(tmp_path, noise(GRID), GRID, edit=scale, names=lambda z: f"{9 - z}.dcm")
    scan = read(tmp_path)
    assert_array_equal(scan.rescale_slope, [0.5, 1.5, 1, 3.5, 4.5])
    assert_array_equal(scan.rescale_intercept, [0, -10, 0, -30, -40])
    assert_array_equal(scan.image, noise(GRID))


def test_a_file_without_preamble_or_meta_header_is_read(tmp_path):
    for z in range(5):
        ds = slice_dataset(noise(GRID)[z], GRID, z, syntax="implicit")
        plain = Dataset(ds)
        plain.save_as(tmp_path / f"{z}.dcm", implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert (tmp_path / "0.dcm").read_bytes()[128:132] != b"DICM"
    assert_array_equal(read(tmp_path).image, noise(GRID))


@pytest.mark.parametrize("seed", [0, 4])
def test_an_enhanced_object_in_any_frame_order(tmp_path, seed):
    order = np.random.default_rng(seed).permutation(5)
    enhanced_dataset(noise(GRID), GRID, order).save_as(tmp_path / "1.dcm", enforce_file_format=True)
    scan = read(tmp_path)
    assert_array_equal(scan.image, noise(GRID))
    assert_allclose(scan.grid.affine, GRID.affine, atol=1e-6)
    assert_array_equal(scan.rescale_slope, [1, 2, 3, 4, 5])
    assert_array_equal(scan.rescale_intercept, [0, -1, -2, -3, -4])
    assert scan.acquisition["echo_time"] == 33
    assert scan.acquisition["slice_thickness"] == pytest.approx(5.5)


def test_an_enhanced_object_with_a_group_too_few_is_refused(tmp_path):
    ds = enhanced_dataset(noise(GRID), GRID, range(5))
    ds.NumberOfFrames = 4
    ds.save_as(tmp_path / "1.dcm", enforce_file_format=True)
    assert "4 frames but functional groups for 5" in refusal(tmp_path)


def test_only_the_allowed_header_fields_are_kept(tmp_path):
    write_series(tmp_path, noise(GRID), GRID)
    acquisition = read(tmp_path).acquisition
    assert acquisition.keys() <= ACQUISITION_NAMES
    assert (acquisition["echo_time"], acquisition["repetition_time"]) == (12.5, 600)
    assert (acquisition["manufacturer"], acquisition["scanner_model"]) == ("Builder", "Model 1")
    assert not [value for value in acquisition.values() if "SECRET" in str(value) or "1999" in str(value)]


def test_other_objects_are_passed_over_and_named_by_kind(tmp_path):
    write_series(tmp_path, noise(GRID), GRID)
    for name, sop_class in (("rt.dcm", RTStructureSetStorage), ("DICOMDIR", MediaStorageDirectoryStorage)):
        ds = slice_dataset(noise(GRID)[0], GRID, 0)
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
        del ds.Rows, ds.Columns, ds.PixelData
        if name == "DICOMDIR":
            del ds.SOPClassUID
        ds.save_as(tmp_path / name)
    (tmp_path / "report of SECRET.txt").write_text("SECRET " * 100)
    (tmp_path / "empty.dcm").write_bytes(b"")
    write_series(tmp_path, noise(GRID)[:1], GRID, names="scout{}".format, edit=_as_localizer, series="9.9")
    scan = read(tmp_path)
    assert_array_equal(scan.image, noise(GRID))
    assert set(scan.notes) == {
        "passed over: Media Storage Directory Storage (1 file)",
        "passed over: not DICOM (1 file)",
        "passed over: empty (1 file)",
        "passed over: localizer (1 file)",
    }
    assert scan.warnings == ("1 empty file in the folder: a first or last slice may be lost",)


def _as_localizer(ds, z):
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def test_a_folder_without_an_image_says_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    assert refusal(tmp_path) == (
        "no image in the folder, which holds 1 .txt; expected DICOM images, or one NIfTI file (.nii, .nii.gz); passed "
        "over: not DICOM (1 file)"
    )
    source = open_source(tmp_path)
    with pytest.raises(SourceError, match="no image"):
        peek(source, source.files())


def _without_position(ds, z):
    del ds.ImagePositionPatient


def _set(**values):
    def edit(ds, z):
        for keyword, value in values.items():
            setattr(ds, keyword, value)

    return edit


def _last(**values):
    return lambda ds, z: _set(**values)(ds, z) if z == 4 else None


def _half_size(ds, z):
    if z == 4:
        set_pixels(ds, noise(GRID)[z][:3])


def _color(ds, z):
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_without_position, "no usable ImagePositionPatient"),
        (_last(ImageOrientationPatient=None), "no usable ImageOrientationPatient"),
        (_last(PixelSpacing=["0", "1"]), "PixelSpacing 0 x 1 mm, expected lengths from 0.01 to 20 mm"),
        (_last(PixelSpacing=["2", "1"]), "several pixel spacings"),
        (_last(ImageOrientationPatient=["1", "0", "0", "0", "1", "0"]), "2 orientations"),
        (_set(ImagePositionPatient=["1", "2", "3"]), "5 slices at one position"),
        (_half_size, r"several matrix sizes in one series: \[\(3, 7\), \(6, 7\)\]"),
        (_color, r"3 samples per pixel \(color\)"),
        (_set(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), "Siemens mosaic"),
        (_set(NumberOfFrames=2), "2 frames in one file"),
        (_last(PixelData=b"\0" * 10), r"file 000004\.dcm: the file ends after 10 of 84 bytes of pixels"),
    ],
)
def test_what_is_no_volume_is_refused_with_the_trouble_named(tmp_path, edit, words):
    write_series(tmp_path, noise(GRID), GRID, edit=edit)
    with pytest.raises(SourceError, match=words):
        read(tmp_path)


def test_a_missing_slice_is_a_fault_of_geometry(tmp_path):
    write_series(tmp_path, noise(GRID), GRID, skip=[3])
    with pytest.raises(GeometryError, match=r"1 slice\(s\) missing: gap of 11\.000 mm"):
        read(tmp_path)


@pytest.mark.parametrize("lost", [1, 20, 84, 90, 200, 400])
def test_a_truncated_file_is_named(tmp_path, lost):
    write_series(tmp_path, noise(GRID), GRID)
    path = tmp_path / "000003.dcm"
    path.write_bytes(path.read_bytes()[:-lost])
    assert "file 000003.dcm" in refusal(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_no_cut_makes_a_scan_of_fewer_or_other_slices(tmp_path, syntax):
    """The last slice, cut anywhere behind the preamble: by geometry alone its loss would not be seen."""
    write_series(tmp_path, noise(GRID), GRID, syntax=syntax)
    path = tmp_path / "000004.dcm"
    whole = path.read_bytes()
    for end in [*range(132, 200), *range(200, len(whole) - 1, 7)]:
        path.write_bytes(whole[:end])
        refusal(tmp_path)


@pytest.mark.parametrize("keyword", ["BitsAllocated", "PixelRepresentation", "Columns"])
def test_a_header_field_that_is_needed_and_missing_is_named(tmp_path, keyword):
    write_series(tmp_path, noise(GRID), GRID, edit=lambda ds, z: delattr(ds, keyword))
    assert keyword in refusal(tmp_path)


def test_an_image_without_integer_pixels_is_refused(tmp_path):
    def as_float(ds, z):
        ds.FloatPixelData = noise(GRID)[z].astype("f4").tobytes()
        del ds.PixelData

    write_series(tmp_path, noise(GRID), GRID, edit=as_float)
    assert "no integer pixel data" in refusal(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "SECRET^NAME.dcm",
        "1.2.840.113619.2.5.1762583153.215519.978957063.78.dcm",
        "19990101.dcm",
        "1999-01-01.dcm",
        "01_01_1999 3.dcm",
        "Wang_003.dcm",
        "Li3.dcm",
        "MR.1.2.3",
    ],
)
def test_file_names_that_may_tell_on_a_patient_appear_in_no_message(tmp_path, name):
    write_series(tmp_path, noise(GRID), GRID)
    whole = (tmp_path / "000003.dcm").read_bytes()
    (tmp_path / "000003.dcm").unlink()
    (tmp_path / name).write_bytes(whole[:-20])
    message = refusal(tmp_path)
    assert name not in message
    assert f"file {sorted([*(f'00000{i}.dcm' for i in (0, 1, 2, 4)), name]).index(name) + 1} of 5 by name" in message


@pytest.mark.parametrize("name", ["7", "000007.dcm", "IM-0001-0007.dcm", "IMG00007", "Image 7.IMA", "I7", "z7.dcm"])
def test_file_names_that_only_number_the_slice_are_told(tmp_path, name):
    write_series(tmp_path, noise(GRID), GRID)
    (tmp_path / name).write_bytes((tmp_path / "000000.dcm").read_bytes()[:-20])
    (tmp_path / "000000.dcm").unlink()
    assert f"file {name}: " in refusal(tmp_path)


def test_a_file_that_cannot_be_read_tells_no_path(tmp_path):
    write_series(tmp_path, noise(GRID), GRID)
    source = open_source(tmp_path)
    files = source.files()
    (tmp_path / "000003.dcm").unlink()
    with pytest.raises(SourceError, match=r"file 000003\.dcm cannot be read") as caught:
        read_scan(source, files)
    assert str(tmp_path) not in str(caught.value)


def test_what_a_user_should_know_is_a_warning(tmp_path):
    write_series(
        tmp_path, noise(GRID), GRID, edit=_set(PhotometricInterpretation="MONOCHROME1", LossyImageCompression="01")
    )
    first, second = read(tmp_path).warnings
    assert "MONOCHROME1" in first
    assert "compressed with loss" in second


def test_a_single_slice_without_thickness_has_an_unknown_spacing(tmp_path):
    write_series(tmp_path, noise(GRID)[:1], GRID, edit=_set(SliceThickness=None))
    scan = read(tmp_path)
    assert not scan.z_spacing_known
    assert "not known" in scan.warnings[0]


def test_values_that_break_the_standard_are_read_without_a_warning(tmp_path):
    def odd(ds: FileDataset, z):
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
        with pydicom.config.disable_value_validation():
            ds.Modality = "much too long for a code string"
            ds.EchoTime = "1.234567890123456789"

    with pydicom.config.disable_value_validation():
        write_series(tmp_path, noise(GRID), GRID, edit=odd)
    acquisition = read(tmp_path).acquisition
    assert acquisition["modality"] == "much too long for a code string"
    assert acquisition["echo_time"] == pytest.approx(1.2345678901)


def test_peek_bounds_the_scan_by_its_first_image(tmp_path):
    write_series(tmp_path, noise(GRID, "uint16"), GRID)
    (tmp_path / "000.txt").write_text("x")
    source = open_source(tmp_path)
    assert peek(source, source.files()) == Peeked((5, 6, 7), "int32", "1.2.3")
