"""Values as they are: whatever the header says of their bits, no value is changed without a word."""

import tempfile

import numpy as np
import pydicom
import pytest
from numpy.testing import assert_array_equal
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless, RLELossless

from npczarr.errors import SourceError
from npczarr.sources.bits import Packing, interpret
from npczarr.sources.dicom import peek, read_scan
from npczarr.sources.files import open_source
from tests.builders import enhanced_dataset, noise, oblique_grid, set_pixels, slice_dataset, write_series

GRID = oblique_grid((5, 40, 36), seed=1)  # what OpenJPEG can encode
CODED = {"JPEG 2000": JPEG2000Lossless, "JPEG-LS": JPEGLSLossless, "JPEG": JPEGLosslessSV1}
PACKED = {**CODED, "RLE": RLELossless, "explicit": None}


def read(folder):
    source = open_source(folder)
    return read_scan(source, source.files())


def refusal(folder):
    with pytest.raises(SourceError) as caught:
        read(folder)
    return str(caught.value)


def write(folder, volume, *, syntax=None, edit=None, **fields):
    """Write a series, compressed by a header that is right; then change fields of it."""
    for z in range(len(volume)):
        ds = slice_dataset(volume[z], GRID, z)
        if syntax is not None:
            compress(ds, syntax)
        for keyword, value in fields.items():
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)
        if edit:
            edit(ds, z)
        ds.save_as(folder / f"{z}.dcm", enforce_file_format=True)


def compress(ds, syntax):
    """Compress an image in place; for JPEG only GDCM has an encoder."""
    if syntax != JPEGLosslessSV1:
        ds.compress(syntax)
        return
    gdcm = pytest.importorskip("gdcm")
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = f"{folder}/plain", f"{folder}/packed"
        ds.save_as(plain, enforce_file_format=True)
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(plain)
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(packed)
        assert writer.Write()
        ds.PixelData = pydicom.dcmread(packed).PixelData
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = syntax


def bright(dtype="uint16", value=50000):
    volume = noise(GRID, dtype)
    volume[2, 3, 4] = value
    return volume


@pytest.mark.parametrize("syntax", PACKED)
@pytest.mark.parametrize(
    ("dtype", "value", "stored"), [("uint16", 50000, "int32"), ("uint16", 5000, "int16"), ("int16", -5000, "int16")]
)
def test_a_value_beyond_bits_stored_is_kept_with_the_figures(tmp_path, syntax, dtype, value, stored):
    volume = bright(dtype, value)
    write(tmp_path, volume, syntax=PACKED[syntax], BitsStored=12, HighBit=11)
    scan = read(tmp_path)
    assert_array_equal(scan.image, volume)
    assert scan.image.dtype == stored
    (warning,) = scan.warnings
    low, high = (0, 4095) if dtype == "uint16" else (-2048, 2047)
    beyond = np.count_nonzero((volume < low) | (volume > high))
    assert warning == (
        f"{beyond} voxels lie outside what BitsStored 12 allows ({low} to {high}), with values from {volume.min()} to "
        f"{volume.max()}: the header is wrong, and the values are kept as they are"
    )


@pytest.mark.parametrize("syntax", PACKED)
@pytest.mark.parametrize("stored", [None, 0, 40])
def test_bits_stored_that_is_absent_or_cannot_be_means_all_bits(tmp_path, syntax, stored):
    write(tmp_path, bright(), syntax=PACKED[syntax], BitsStored=stored)
    scan = read(tmp_path)
    assert_array_equal(scan.image, bright())
    (warning,) = scan.warnings
    told = "absent" if stored is None else stored
    assert warning == f"BitsStored is {told} with 16 bits allocated: all of them are taken as the value"
    source = open_source(tmp_path)
    assert peek(source, source.files()).dtype == "int32"


@pytest.mark.parametrize("syntax", PACKED)
def test_one_signed_slice_among_unsigned_ones_is_read_as_it_says(tmp_path, syntax):
    volume = bright().astype(np.int32)
    volume[1] = -volume[1] % 4096 - 4096
    for z in range(5):
        ds = slice_dataset(volume[z].astype("int16" if z == 1 else "uint16"), GRID, z)
        if PACKED[syntax]:
            compress(ds, PACKED[syntax])
        ds.save_as(tmp_path / f"{z}.dcm", enforce_file_format=True)
    scan = read(tmp_path)
    assert volume[1].max() < 0
    assert_array_equal(scan.image, volume)
    assert scan.image.dtype == np.int32
    assert scan.warnings == ("1 of 5 slices hold signed values and the others unsigned: each was read as it says",)


def test_one_slice_of_other_bits_is_read_by_its_own_header(tmp_path):
    volume = noise(GRID, "uint16")
    volume[3] %= 200

    def small(ds, z):
        if z == 3:
            set_pixels(ds, volume[3].astype(np.uint8))

    write(tmp_path, volume, edit=small)
    assert_array_equal(read(tmp_path).image, volume)

    def shifted(ds, z):
        ds.BitsStored, ds.HighBit = 12, 11
        if z == 3:
            ds.PixelData, ds.HighBit = (volume[3] << 4).tobytes(), 15

    write(tmp_path, volume, edit=shifted)
    scan = read(tmp_path)
    assert_array_equal(scan.image, volume)
    (warning,) = scan.warnings
    assert warning.endswith("the values lie 4 bits up in each pixel, and were moved down (1 of 5 slices)")


@pytest.mark.parametrize("syntax", ["explicit", "RLE"])
@pytest.mark.parametrize("dtype", ["uint16", "int16"])
@pytest.mark.parametrize("high", [15, 13])
def test_values_that_lie_above_the_lowest_bit_are_moved_down(tmp_path, syntax, dtype, high):
    """HighBit 15 with 12 bits stored, as in the example of DICOM PS3.5 section 8.1.1."""
    volume = noise(GRID, dtype)
    if dtype == "int16":
        volume -= 2048
    raw = ((volume.astype(int) << (high - 11)) & ((1 << (high + 1)) - 1)).astype("uint16").view(dtype)
    write(tmp_path, raw, syntax=PACKED[syntax], BitsStored=12, HighBit=high)
    scan = read(tmp_path)
    assert_array_equal(scan.image, volume)
    (warning,) = scan.warnings
    assert warning.startswith(f"HighBit {high} with BitsStored 12: the values lie {high - 11} bits up")


def test_values_whose_header_says_that_they_are_shifted_and_are_not_are_refused(tmp_path):
    write(tmp_path, noise(GRID, "uint16"), BitsStored=12, HighBit=15)
    assert "says that the lowest 4 bits of each pixel hold no value, but they are not empty" in refusal(tmp_path)


@pytest.mark.parametrize("syntax", CODED)
def test_a_codestream_knows_its_own_bits(tmp_path, syntax):
    write(tmp_path, noise(GRID, "uint16"), syntax=CODED[syntax], BitsStored=12, HighBit=15)
    scan = read(tmp_path)
    assert_array_equal(scan.image, noise(GRID, "uint16"))
    assert "the compressed pixels hold values of 12 bits as they are" in scan.warnings[0]
    write(tmp_path, bright(), syntax=CODED[syntax], BitsStored=12, HighBit=15)
    assert "the values cannot be told" in refusal(tmp_path)


@pytest.mark.parametrize("vr", ["OB", "OW"])
@pytest.mark.parametrize("shape", [(3, 6, 8), (3, 7, 9)])  # an even count of pixels, and an odd one
def test_bytes_in_big_endian_words_are_swapped_in_pairs(tmp_path, vr, shape):
    grid = oblique_grid(shape)
    volume = noise(grid, "uint8", high=256)

    def as_words(ds, z):
        if vr == "OW":
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
            ds["PixelData"].VR = "OW"

    write_series(tmp_path, volume, grid, edit=as_words, syntax="big-endian")
    scan = read(tmp_path)
    assert_array_equal(scan.image, volume)
    assert scan.warnings == ()


def test_a_frame_more_than_the_header_says_is_named(tmp_path):
    ds = enhanced_dataset(noise(GRID), GRID, range(5))
    compress(ds, JPEG2000Lossless)
    frames = list(generate_frames(ds.PixelData, number_of_frames=5))
    ds.PixelData = encapsulate([*frames, frames[0]], has_bot=False)
    ds.save_as(tmp_path / "1.dcm", enforce_file_format=True)
    assert "cannot be decoded: they hold 6 frames, and the header describes 5" in refusal(tmp_path)


def test_an_encoding_that_is_not_read_is_no_damage(tmp_path):
    def pack(ds, z):
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.98"
        ds.PixelData = encapsulate([ds.PixelData])
        ds["PixelData"].is_undefined_length = True

    write(tmp_path, noise(GRID), edit=pack)
    assert "nothing here reads this transfer syntax; convert the files to Explicit VR" in refusal(tmp_path)


def test_a_high_bit_that_cannot_be_is_a_warning(tmp_path):
    write(tmp_path, bright(), HighBit=11)
    scan = read(tmp_path)
    assert_array_equal(scan.image, bright())
    assert scan.warnings == ("HighBit 11 cannot go with BitsStored 16: taken as 15",)


@pytest.mark.parametrize("dtype", ["int16", "uint16"])
def test_overlays_that_the_header_places_above_the_value_are_no_part_of_it(tmp_path, dtype):
    """DICOM PS3.5 section 8.1.1; pydicom is the witness."""
    volume = np.random.default_rng(0).integers(0, 2**16, GRID.shape_zyx, dtype="uint16").view(dtype)

    def overlay(ds, z):
        ds.BitsStored, ds.HighBit = 12, 11
        ds.add_new(0x60020102, "US", 12)

    write(tmp_path, volume, edit=overlay)
    expected = np.stack([pydicom.dcmread(path).pixel_array for path in sorted(tmp_path.iterdir())])
    scan = read(tmp_path)
    assert np.abs(expected.astype(int)).max() < 4096
    assert_array_equal(scan.image, expected)
    (warning,) = scan.warnings
    assert "overlays lie there (OverlayBitPosition 12)" in warning


def test_negative_values_that_are_not_extended_are_read_by_all_slices_together(tmp_path):
    """In twelve bits -1 is 0x0FFF; where one slice extends its signs, 0x0FFF is 4095 in all of them."""
    volume = noise(GRID) - 2048
    write(tmp_path, volume & 0x0FFF, BitsStored=12, HighBit=11)
    scan = read(tmp_path)
    assert_array_equal(scan.image, volume)
    assert scan.warnings == ()
    mixed = volume & 0x0FFF
    mixed[2] = volume[2]
    assert mixed[2].min() < 0
    write(tmp_path, mixed, BitsStored=12, HighBit=11)
    scan = read(tmp_path)
    assert_array_equal(scan.image, mixed)
    assert "voxels lie outside what BitsStored 12 allows (-2048 to 2047)" in scan.warnings[0]


@pytest.mark.parametrize("syntax", PACKED)
def test_negative_values_of_twelve_bits_come_out_of_every_encoding(tmp_path, syntax):
    volume = noise(GRID) - 2048
    for z in range(5):
        ds = slice_dataset(volume[z], GRID, z)
        ds.BitsStored, ds.HighBit = 12, 11
        if PACKED[syntax]:
            compress(ds, PACKED[syntax])
        ds.save_as(tmp_path / f"{z}.dcm", enforce_file_format=True)
    scan = read(tmp_path)
    assert_array_equal(scan.image, volume)
    assert scan.warnings == ()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("high", range(7, 16))
def test_every_value_survives_every_place_in_the_pixel(signed, high):
    """For 8 bits stored at any place of 16: what is laid there is found there."""
    values = np.arange(-128, 128) if signed else np.arange(256)
    raw = ((values & 0xFF) << (high - 7)).astype(np.uint16)
    found, told = interpret(raw.view("i2" if signed else "u2"), Packing(16, 8, high, signed, coded=False))
    assert_array_equal(found, values)
    assert len(told) == (high != 7)


def test_the_type_follows_the_values(tmp_path):
    for value, dtype, stored in (
        (32767, "uint16", "int16"),
        (32768, "uint16", "int32"),
        (-32767, "int16", "int16"),
        (-32768, "int16", "int32"),
        (255, "uint8", "int16"),
        (-100, "int32", "int16"),
        (-40000, "int32", "int32"),
        (2**31 - 1, "uint32", "int32"),
    ):
        volume = noise(GRID, dtype, high=100)
        volume[2, 3, 4] = value
        write(tmp_path, volume)
        scan = read(tmp_path)
        assert_array_equal(scan.image, volume)
        assert scan.image.dtype == stored


@pytest.mark.parametrize(("value", "dtype"), [(2**31, "uint32"), (-(2**31), "int32")])
def test_a_value_that_no_type_of_the_store_holds_is_refused(tmp_path, value, dtype):
    volume = noise(GRID, dtype)
    volume[2, 3, 4] = value
    write(tmp_path, volume)
    assert f"the value {value} does not fit 32-bit signed integers" in refusal(tmp_path)


# what every slice says


def only(*slices, **fields):
    def edit(ds, z):
        if z in slices:
            for keyword, value in fields.items():
                setattr(ds, keyword, value)

    return edit


def test_monochrome1_is_looked_at_in_every_slice(tmp_path):
    write(tmp_path, noise(GRID), edit=only(3, PhotometricInterpretation="MONOCHROME1"))
    assert "MONOCHROME1 in 1 of 5 slices" in refusal(tmp_path)
    write(tmp_path, noise(GRID), PhotometricInterpretation="MONOCHROME1")
    assert read(tmp_path).warnings == ("MONOCHROME1: low values are bright; stored values are kept as they are",)


def test_loss_is_looked_at_in_every_slice(tmp_path):
    write(tmp_path, noise(GRID), edit=only(1, 4, LossyImageCompression="01"))
    assert read(tmp_path).warnings == ("the source says its pixels were compressed with loss in 2 of 5 slices",)


@pytest.mark.parametrize(
    ("syntax", "options", "lossy"),
    [
        (JPEGLSNearLossless, {"jls_error": 5}, True),
        (JPEGLSNearLossless, {"jls_error": 0}, False),
        (JPEG2000, {"j2k_psnr": [60]}, True),
        (JPEG2000Lossless, {}, False),
    ],
)
def test_loss_that_only_the_compressed_pixels_tell_is_said(tmp_path, syntax, options, lossy):
    for z, pixels in enumerate(noise(GRID, "uint16")):
        ds = slice_dataset(pixels, GRID, z)
        ds.compress(syntax, generate_instance_uid=False, **options)
        if "LossyImageCompression" in ds:
            del ds.LossyImageCompression
        ds.save_as(tmp_path / f"{z}.dcm", enforce_file_format=True)
    assert read(tmp_path).warnings == (("the source says its pixels were compressed with loss",) if lossy else ())


def test_a_table_that_gives_values_their_meaning_is_said(tmp_path):
    def add(ds, z):
        table = pydicom.Dataset()
        table.LUTDescriptor, table.ModalityLUTType = [4096, 0, 16], "HU"
        table.add_new("LUTData", "OW", bytes(8192))
        ds.ModalityLUTSequence = [table]

    write(tmp_path, noise(GRID), edit=add)
    scan = read(tmp_path)
    assert_array_equal(scan.image, noise(GRID))
    assert scan.warnings == (
        "a table says what values mean (ModalityLUTSequence): it is not applied, stored values are kept",
    )


def test_slopes_that_differ_are_a_warning_with_the_figures(tmp_path):
    write(tmp_path, noise(GRID), RescaleIntercept="0", edit=lambda ds, z: setattr(ds, "RescaleSlope", f"{1 + z / 2}"))
    (warning,) = read(tmp_path).warnings
    assert warning.startswith("RescaleSlope differs between slices (1 to 3): stored values of different slices")
    write(tmp_path, noise(GRID), RescaleIntercept="0", RescaleSlope="2.5")
    assert read(tmp_path).warnings == ()


def test_a_slope_of_zero_is_a_warning(tmp_path):
    write(tmp_path, noise(GRID), RescaleIntercept="0", RescaleSlope="0")
    scan = read(tmp_path)
    assert_array_equal(scan.image, noise(GRID))
    assert scan.warnings[0].startswith("RescaleSlope is 0 in 5 of 5 slices, which would make all values one")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "palette color: the pixels are numbers of colors"),
        ({"BitsAllocated": 1}, "1 bit per pixel"),
        ({"PixelSpacing": ["0.0005", "0.0005"]}, "PixelSpacing 0.0005 x 0.0005 mm, expected lengths from 0.01 to 20"),
        ({"PixelSpacing": ["0.5", "430"]}, "PixelSpacing 0.5 x 430 mm"),
    ],
)
def test_what_is_no_mr_image_is_refused_in_words(tmp_path, fields, words):
    write(tmp_path, noise(GRID), **fields)
    assert words in refusal(tmp_path)


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
def test_floating_point_pixels_are_named_for_what_they_are(tmp_path, keyword):
    def as_float(ds, z):
        setattr(ds, keyword, noise(GRID)[z].astype("f4" if keyword[0] == "F" else "f8").tobytes())
        del ds.PixelData

    write(tmp_path, noise(GRID), edit=as_float)
    message = refusal(tmp_path)
    assert f"it holds floating-point numbers ({keyword}), as a parametric map does" in message


@pytest.mark.parametrize(
    ("value", "stored", "words"),
    [
        (["ORIGINAL", "PRIMARY", "M", "ND"], "ORIGINAL\\PRIMARY\\M\\ND", ""),
        (["ORIGINAL", "PRIMARY", "M", "SECRET^NAME"], "ORIGINAL\\PRIMARY\\M\\OTHER", ""),
        (["original", "primary", "", "1999"], "ORIGINAL\\PRIMARY\\\\OTHER", ""),
        (["DERIVED", "PRIMARY", "MPR"], "DERIVED\\PRIMARY\\MPR", "DERIVED: computed from other images"),
        (["DERIVED", "SECONDARY"], "DERIVED\\SECONDARY", "DERIVED"),
        (["ORIGINAL", "SECONDARY"], "ORIGINAL\\SECONDARY", "SECONDARY: made after the examination"),
        (["ORIGINAL", "PRIMARY", "P", "ND"], "ORIGINAL\\PRIMARY\\P\\ND", "phase (P): its values are angles"),
        (["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"], "ORIGINAL\\PRIMARY\\PHASE MAP\\P\\FFE", "phase (P)"),
        (["ORIGINAL", "PRIMARY", "PROJECTION IMAGE"], "ORIGINAL\\PRIMARY\\PROJECTION IMAGE", "a projection (MIP)"),
        (["ORIGINAL", "PRIMARY", "MIP"], "ORIGINAL\\PRIMARY\\MIP", "a projection (MIP)"),
        ("ORIGINAL", "ORIGINAL", ""),
    ],
)
def test_the_image_type_is_kept_in_known_words_and_warned_of(tmp_path, value, stored, words):
    with pydicom.config.disable_value_validation():
        write_series(tmp_path, noise(GRID), GRID, edit=lambda ds, z: setattr(ds, "ImageType", value))
    scan = read(tmp_path)
    assert scan.acquisition["image_type"] == stored
    assert len(scan.warnings) == bool(words)
    assert words in "".join(scan.warnings)


def test_slices_of_several_image_types_are_counted(tmp_path):
    write(tmp_path, noise(GRID), edit=only(1, 2, ImageType=["ORIGINAL", "PRIMARY", "P"]))
    (warning,) = read(tmp_path).warnings
    assert warning.startswith("ImageType says phase (P) in 2 of 5 slices")


def test_an_absent_image_type_is_no_value(tmp_path):
    write(tmp_path, noise(GRID), ImageType=None)
    assert "image_type" not in read(tmp_path).acquisition


@pytest.mark.parametrize(("dtype", "says"), [("int16", 0), ("uint16", 1)])
def test_a_codestream_of_another_sign_than_its_header_is_said(tmp_path, dtype, says):
    write(tmp_path, noise(GRID, dtype), syntax=JPEG2000Lossless, PixelRepresentation=says)
    stream, header = ("signed", "unsigned") if dtype == "int16" else ("unsigned", "signed")
    said = f"the compressed pixels are {stream} by their own header, {header} by that of the file"
    assert any(f"odd pixel data in 5 images (the first: {said})" in warning for warning in read(tmp_path).warnings)


@pytest.mark.parametrize("dtype", ["int16", "uint16"])
def test_a_codestream_of_the_sign_of_its_header_is_no_matter(tmp_path, dtype):
    write(tmp_path, noise(GRID, dtype), syntax=JPEG2000Lossless)
    assert read(tmp_path).warnings == ()
