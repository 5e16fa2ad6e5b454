"""Damage that leaves a series that looks whole: fields that are no numbers, pixels too many, slices that are lost."""

import struct

import numpy as np
import pytest

from npczarr.errors import SourceError
from npczarr.model.limits import Limits
from npczarr.sources.dicom import read_scan
from npczarr.sources.files import open_source
from npczarr.sources.nifti_file import parse
from npczarr.sources.nifti_image import parse_image
from tests.builders import enhanced_dataset, nifti_image, noise, oblique_grid, write_series

GRID = oblique_grid((6, 16, 16), seed=4, spacing_zyx_mm=(3, 0.5, 0.5))


@pytest.fixture
def scan(tmp_path):
    """Write a series, changed by `edit` in memory and by `damage` in its files, and read it."""

    def read(edit=None, damage=None, series="1.2.3"):
        write_series(tmp_path / "T1WI", noise(GRID), GRID, edit=edit, series=series)
        for z, path in enumerate(sorted((tmp_path / "T1WI").iterdir())):
            if damage is not None and (new := damage(z, bytearray(path.read_bytes()))) is not None:
                path.write_bytes(bytes(new))
        source = open_source(str(tmp_path / "T1WI"))
        return read_scan(source, source.files())

    return read


def as_decimals(*elements):
    """Give fields that pydicom would not write as decimal strings their type in the file."""

    def damage(z, content):
        for element in elements:
            at = content.find(struct.pack("<HH", 0x28, element) + b"LO")
            content[at + 4 : at + 6] = b"DS"
        return content

    return damage


@pytest.mark.parametrize(
    ("slope", "intercept", "field"),
    [
        ("1,5", "0", "RescaleSlope"), ("abc", "0", "RescaleSlope"), ("2\\3", "0", "RescaleSlope"),
        ("1", "-1024,0", "RescaleIntercept"), ("1", "nan", "RescaleIntercept"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("only", [None, 2])
def test_a_rescale_that_is_no_number_is_refused(scan, slope, intercept, field, only):
    def edit(ds, z):
        ds.add_new(0x00281053, "LO", slope if only in (None, z) else "1")
        ds.add_new(0x00281052, "LO", intercept if only in (None, z) else "0")

    with pytest.raises(SourceError, match=f"{field} of a slice is not one finite number"):
        scan(edit, as_decimals(0x1053, 0x1052))


@pytest.mark.parametrize(("slope", "intercept", "expected"), [("", "", (1, 0)), (" 2 ", "-5", (2, -5))])
def test_an_empty_rescale_is_none_and_padding_of_numbers_is_no_fault(scan, slope, intercept, expected):
    def edit(ds, z):
        ds.add_new(0x00281053, "LO", slope)
        ds.add_new(0x00281052, "LO", intercept)

    found = scan(edit, as_decimals(0x1053, 0x1052))
    assert ({*found.rescale_slope}, {*found.rescale_intercept}) == ({expected[0]}, {expected[1]})
    assert found.warnings == ()


def test_an_intercept_alone_counts_in_an_enhanced_object(tmp_path):
    dataset = enhanced_dataset(noise(GRID), GRID, range(6))
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        (scale,) = groups.PixelValueTransformationSequence
        del scale.RescaleSlope
        scale.RescaleIntercept = "-1000"
    dataset.save_as(tmp_path / "e.dcm", enforce_file_format=True)
    source = open_source(str(tmp_path))
    found = read_scan(source, source.files())
    assert ({*found.rescale_slope}, {*found.rescale_intercept}) == ({1.0}, {-1000.0})


def rows_halved(ds, z):
    ds.Rows = 8


def columns_halved(ds, z):
    ds.Columns = 8


def a_row_lost(ds, z):
    ds.Rows = 15


def half_the_bits(ds, z):
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7


def ten_frames(ds, z):
    ds.PixelData = ds.PixelData * 10


@pytest.mark.parametrize("edit", [rows_halved, columns_halved, a_row_lost, half_the_bits, ten_frames])
def test_more_pixels_than_the_header_says_are_refused(scan, edit):
    with pytest.raises(SourceError, match=r"file 00000\d.dcm: \d+ bytes of pixels, and the header describes \d+: 1 x"):
        scan(edit)


def test_a_few_bytes_more_are_a_warning_and_the_even_length_is_none(scan):
    def padded(ds, z):
        ds.PixelData = ds.PixelData + b"\0" * 6

    (said,) = scan(padded).warnings
    assert said.startswith("odd pixel data in 6 images (the first: 6 bytes are left over after the last pixel)")

    def one_of_nine(ds, z):
        ds.Rows = ds.Columns = 15
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit, ds.PixelRepresentation = 7, 0
        ds.PixelData = bytes(226)
        ds["PixelData"].VR = "OB"

    assert scan(one_of_nine).warnings == ()


def last(change):
    """Change the last of six files alone."""
    return lambda z, content: change(content) if z == 5 else None


def without_rows(content):
    at = content.find(struct.pack("<HH", 0x28, 0x10) + b"US")
    del content[at : at + 10]
    return content


def another_tag(content):
    content[content.find(struct.pack("<HH", 0x28, 0x10) + b"US") + 2] = 0x0F
    return content


@pytest.mark.parametrize("change", [without_rows, another_tag])
def test_an_image_without_rows_is_damaged_and_no_other_kind_of_object(scan, change):
    with pytest.raises(SourceError, match=r"000005\.dcm is a DICOM file of an image without Rows in its header"):
        scan(damage=last(change))


@pytest.mark.parametrize(
    "change",
    [lambda content: bytes(len(content)), lambda content: b"<html>404 Not Found</html>"],
    ids=["zeros", "html"],
)
def test_a_file_that_is_called_or_sized_as_the_images_may_be_a_lost_slice(scan, change):
    found = scan(damage=last(change))
    assert len(found.image) == 5
    assert found.warnings == (
        "1 file in the folder called or sized as the images are, but not DICOM: a first or last slice may be lost",
    )


def test_files_that_look_like_no_image_are_passed_over_without_a_warning(scan, tmp_path):
    (tmp_path / "T1WI").mkdir()
    for name in ("README", "Thumbs.db", "notes.txt", "1.2.840"):
        (tmp_path / "T1WI" / name).write_text("nothing")
    found = scan()
    assert (len(found.image), found.warnings) == (6, ())
    assert found.notes == ("passed over: not DICOM (4 files)",)


def test_an_object_of_another_kind_with_the_series_uid_and_a_position_may_be_a_lost_slice(scan):
    def another_kind(content):
        uid = b"1.2.840.10008.5.1.4.1.1.4\0"
        return bytearray(content.replace(uid, uid[:-2] + b"9\0"))

    found = scan(damage=last(another_kind))
    assert len(found.image) == 5
    (said,) = found.warnings
    assert said.startswith("1 file of the series with pixels and a position, but by the header Standalone Curve")


@pytest.mark.parametrize("series", ["1.2.3", ""])
@pytest.mark.parametrize("alternating", [True, False])
def test_slices_of_two_acquisitions_under_one_series_are_said(scan, series, alternating):
    def edit(ds, z):
        first = z % 2 == 0 if alternating else z < 3
        ds.EchoTime, ds.RepetitionTime = ("10", "500") if first else ("90", "4000")

    assert scan(edit, series=series).warnings == (
        "slices may be of several acquisitions, as they differ in EchoTime (10 in 3 slices, 90 in 3 slices) and "
        "RepetitionTime (500 in 3 slices, 4000 in 3 slices); the first is described",
    )


def test_times_that_jitter_are_of_one_acquisition(scan):
    def edit(ds, z):
        ds.EchoTime, ds.RepetitionTime = f"{12.5 + z / 100:.3f}", f"{600 + 5 * z}"

    assert scan(edit).warnings == ()


def nifti(voxels):
    return bytearray(nifti_image(voxels, GRID).to_bytes())


@pytest.mark.parametrize("offset", [0, 0.5, 348, 351])  # nibabel itself refuses some
def test_voxels_that_begin_within_the_header_are_refused(offset):
    content = nifti(noise(GRID))
    struct.pack_into("<f", content, 108, offset)
    limits = Limits()
    with pytest.raises(SourceError, match=r"\(vox_offset\), within itself; expected 352|HeaderDataError"):
        parse_image(bytes(content), limits, limits.clock())
    mask = nifti((noise(GRID) > 2000).astype(np.uint8))
    struct.pack_into("<f", mask, 108, offset)
    with pytest.raises(SourceError, match=r"vox_offset|HeaderDataError"):
        parse(bytes(mask))


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_an_sform_of_no_use_is_said_of_an_image_as_of_a_mask(value):
    image = nifti_image(noise(GRID), GRID)
    image.set_qform(image.affine, 1)
    content = bytearray(image.to_bytes())
    struct.pack_into("<12f", content, 280, *[value] * 12)
    limits = Limits()
    found = parse_image(bytes(content), limits, limits.clock())
    assert "sform of the image cannot be inverted, qform was used" in found.warnings
