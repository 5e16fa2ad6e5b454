"""What is stored with pixels and is none: found by the audit, gone from the copy, and the values stay."""

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from npczarr.errors import SourceError
from npczarr.model.limits import Limits
from npczarr.privacy.audit import audit
from npczarr.privacy.clean import clean_dicom, read_dicom
from npczarr.privacy.codestreams import clean_codestream
from npczarr.sources.bits import interpret, read_packing
from npczarr.sources.pixels import decode
from tests.builders import enhanced_dataset, noise, oblique_grid, slice_dataset
from tests.hostile.corpus import as_bytes

TEXT = b"ZIMMERMANN, ANNA"
GRID = oblique_grid((1, 7, 9), seed=1)
VALUES = noise(GRID, "uint16", high=4096)[0]


def cleaned(dataset: Dataset) -> Dataset:
    content = clean_dicom(as_bytes(dataset), b"a secret of many bytes", "001", Limits())
    assert TEXT not in content
    return read_dicom(content, Limits())


def values_of(dataset: Dataset) -> np.ndarray:
    return interpret(decode(dataset)[0], read_packing(dataset))[0]


def found(folder, content: bytes) -> set[tuple[str, str]]:
    (folder / "001").mkdir(exist_ok=True)
    (folder / "001" / "1.dcm").write_bytes(content)
    return {(one.kind, one.name) for one in audit(folder, workers=0).findings}


def with_overlay(stored: np.ndarray, high: int, bit: int, syntax: str = "explicit") -> Dataset:
    """Slice of 12 bits a value, whose highest is `high`, and an overlay in `bit`."""
    overlay = np.zeros_like(VALUES)
    overlay[1:6, 4] = 1
    pixels = stored.astype("u2") << (high - 11) & ~np.uint16(1 << bit) | overlay << bit
    dataset = slice_dataset(pixels.view(stored.dtype), GRID, 0, syntax=syntax)
    dataset.BitsStored, dataset.HighBit = 12, high
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", bit)
    return dataset


SIGNED = VALUES.astype("i2") - 2048


@pytest.mark.parametrize(
    ("stored", "high", "bit", "syntax"),
    [
        (VALUES, 11, 15, "explicit"),
        (VALUES, 11, 12, "big-endian"),
        (VALUES | 0x2000, 11, 15, "explicit"),  # a bit that no attribute tells of
        (SIGNED, 11, 15, "explicit"),
        (SIGNED, 13, 15, "implicit"),
        (SIGNED & 0xFFF, 11, 14, "explicit"),  # signs that are not extended
        (VALUES, 15, 0, "explicit"),
    ],
)
def test_overlays_in_unused_bits_are_cleared_and_values_stay(tmp_path, stored, high, bit, syntax):
    dataset = with_overlay(stored, high, bit, syntax)
    copy = cleaned(dataset)
    truth = SIGNED if stored.dtype == "i2" else VALUES
    np.testing.assert_array_equal(values_of(copy), truth)
    if bit:  # where the lowest bits are not empty, the source itself is refused
        np.testing.assert_array_equal(values_of(dataset), truth)
    np.testing.assert_array_equal(decode(copy)[0] >> bit & 1, truth < 0)  # the bits of negative values are all set
    overlay = ("burned in", "overlay in unused bits of the pixels")
    assert overlay in found(tmp_path, as_bytes(dataset))
    assert not found(tmp_path, as_bytes(copy))


def test_an_overlay_in_compressed_pixels_is_refused():
    dataset = with_overlay(VALUES, 11, 15)
    dataset.compress(RLELossless, generate_instance_uid=False)
    with pytest.raises(SourceError, match="OverlayBitPosition 15"):
        cleaned(dataset)


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        (b"\xe1\x7f\x01\x10LO\x10\0" + TEXT, ("private", "no creator")),
        (b"\xfc\xff\xfc\xffOB\0\0\x10\0\0\0" + TEXT, ("attribute", "DataSetTrailingPadding")),
        (b"\x08\0\x70\x10PN\x10\0" + TEXT, ("attribute", "OperatorsName")),
    ],
)
def test_what_follows_the_pixels_is_audited(tmp_path, behind, expected):
    dataset = slice_dataset(np.tile(VALUES, (40, 40)), GRID, 0)  # so many that they are skipped
    del dataset[0x00091001]
    assert expected in found(tmp_path, as_bytes(dataset) + behind) - found(tmp_path, as_bytes(dataset))


def test_an_element_without_an_end_is_refused_and_not_taken_for_clean(tmp_path):
    dataset = slice_dataset(VALUES, GRID, 0)
    dataset.compress(RLELossless, generate_instance_uid=False)
    content = as_bytes(dataset)[:-8]
    with pytest.raises(SourceError, match="has no end"):
        clean_dicom(content, b"a secret of many bytes", "001", Limits())
    assert found(tmp_path, content) == set()
    assert "has no end" in audit(tmp_path, workers=0).unread["001/1.dcm"]


def no_interpretation(dataset: Dataset) -> None:
    del dataset.PhotometricInterpretation, dataset.SamplesPerPixel
    dataset.PixelData += TEXT


def floats(dataset: Dataset) -> None:
    del dataset.PixelData
    dataset.FloatPixelData = VALUES.astype("f4").tobytes() + TEXT


def doubles(dataset: Dataset) -> None:
    del dataset.PixelData
    dataset.DoubleFloatPixelData = VALUES.astype("f8").tobytes() + TEXT


@pytest.mark.parametrize(
    ("edit", "keyword", "dtype"),
    [(no_interpretation, "PixelData", "u2"), (floats, "FloatPixelData", "f4"), (doubles, "DoubleFloatPixelData", "f8")],
)
def test_bytes_behind_the_last_number_go_whatever_the_header_leaves_out(edit, keyword, dtype):
    dataset = slice_dataset(VALUES, GRID, 0)
    edit(dataset)
    assert cleaned(dataset)[keyword].value == VALUES.astype(dtype).tobytes()


def test_the_last_of_bytes_that_are_swapped_in_pairs_stays():
    pixels = noise(GRID, "uint8", high=200)[0]
    dataset = slice_dataset(pixels, GRID, 0, syntax="big-endian")
    swapped = np.frombuffer(pixels.tobytes() + b"\0", "<u2").astype(">u2").tobytes()
    dataset.PixelData = swapped + TEXT
    dataset["PixelData"].VR = "OW"
    assert cleaned(dataset).PixelData == swapped


def test_pixels_that_cannot_be_counted_are_refused():
    dataset = slice_dataset(VALUES, GRID, 0)
    del dataset.Rows
    with pytest.raises(SourceError, match="no Rows"):
        cleaned(dataset)


def commented(frame: bytes) -> bytes:
    """Put a comment behind the first segment of a codestream, and text behind its end."""
    marker, at = (b"\xff\x64", 4) if frame[1] == 0x4F else (b"\xff\xfe", 2)
    at += int.from_bytes(frame[4:6], "big") if at == 4 else 0
    body = frame[: frame.rindex(b"\xff\xd9") + 2]
    return body[:at] + marker + (len(TEXT) + 4).to_bytes(2, "big") + b"\0\1" + TEXT + body[at:] + TEXT


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("extended", [False, True])
def test_comments_of_codestreams_go_and_values_stay(syntax, extended):
    grid = oblique_grid((2, 40, 44), seed=1)
    dataset = enhanced_dataset(noise(grid, "uint16", high=4096), grid, [0, 1])
    dataset.compress(syntax, generate_instance_uid=False)
    values = decode(dataset)
    frames = [commented(frame) for frame in generate_frames(dataset.PixelData, number_of_frames=2)]
    dataset.PixelData = encapsulate(frames)
    if extended:
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(
            frames
        )
    copy = cleaned(dataset)
    np.testing.assert_array_equal(decode(copy), values)
    assert "ExtendedOffsetTable" not in copy


@pytest.mark.parametrize("name", ["JPGExtended", "SC_rgb_jpeg_gdcm"])
def test_all_else_of_a_jpeg_stays_as_it_is(name):
    dataset = pydicom.dcmread(get_testdata_file(f"{name}.dcm"))
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    plain = clean_codestream(frame)
    assert clean_codestream(commented(plain)) == plain
    assert frame.startswith(plain)  # it had none, but for the byte that makes its length even


def test_an_item_behind_the_last_frame_goes_if_the_frames_are_whole():
    dataset = slice_dataset(VALUES, GRID, 0)
    dataset.compress(RLELossless, generate_instance_uid=False)
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    for items, whole in (([frame, TEXT], True), ([frame[:80], frame[80:]], False)):
        dataset.PixelData = encapsulate(items)
        if whole:
            np.testing.assert_array_equal(decode(cleaned(dataset))[0], VALUES)
        else:
            with pytest.raises(SourceError, match="behind the last frame"):
                cleaned(dataset)
