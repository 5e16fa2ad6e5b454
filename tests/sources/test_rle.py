"""RLE: whole frames as pydicom decodes them; whatever is odd about a frame is left to pydicom."""

import struct

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from npczarr.sources.decoder_remarks import decoder_remarks
from npczarr.sources.pixels import decode
from npczarr.sources.rle import decode_rle

SHAPE = (2, 24, 20)


def voxels(dtype: str) -> np.ndarray:
    """Background in long runs, and tissue without any."""
    rng = np.random.default_rng(5)
    found = np.broadcast_to(np.arange(SHAPE[1]) // 3 * 9, SHAPE[:1] + SHAPE[2:0:-1]).swapaxes(1, 2).astype(dtype)
    found[:, 6:18, 5:15] = rng.integers(*(np.iinfo(dtype).min, np.iinfo(dtype).max), (2, 12, 10))
    return found


def image(values: np.ndarray) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * values.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsAllocated - 1, int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes()
    dataset.compress(RLELossless, generate_instance_uid=False)
    return dataset


def by_pydicom(dataset: Dataset) -> np.ndarray:
    with decoder_remarks() as said:
        values, _ = get_decoder(RLELossless).as_array(dataset, decoding_plugin="pydicom", correct_unused_bits=False)
    assert not said
    return values


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2"])
def test_whole_frames_are_as_they_were(dtype):
    values = voxels(dtype)
    found = decode_rle(image(values), SHAPE)
    np.testing.assert_array_equal(found, values)
    assert found.dtype == dtype


def frame_of(*segments: bytes) -> bytes:
    starts = np.cumsum([64, *(len(one) for one in segments[:-1])])
    return struct.pack("<16L", len(segments), *starts, *[0] * (15 - len(segments))) + b"".join(segments)


@pytest.mark.parametrize(
    ("segment", "taken"),
    [
        (b"\x02\x01\x02\x03\xff\x07", True),  # three as they are, and one value twice
        (b"\x80\x02\x01\x02\x03\xff\x07\x00", True),  # an operation that does nothing, and the byte of padding
        (b"\x02\x01\x02\x03\xff\x00", True),  # a value that looks like padding
        (b"\x02\x01\x02\x03\xff\x07\x00\x00", False),  # one byte more
        (b"\x02\x01\x02\x03\xff\x07\x05\x09", False),  # the beginning of more
        (b"\x02\x01\x02\x03\xfe\x07", False),  # a run that is too long
        (b"\x05\x01\x02\x03\x07\x07", False),  # a literal run that says it is longer than what is left of it
        (b"\x02\x01\x02\x03", False),
        (b"\x14\x01\x02\x03\x04\x00", False),  # the same, and what ends in the padding could be the last value
        (b"\x7f\x01\x02\x03\x04\x00", False),
        (b"\x00\x01\x00\x02\x00\x03\x00\x04\x00\x05", True),  # pixels one by one, the longest that there is
        (b"\x80" * 6 + b"\x02\x01\x02\x03\xff\x07", False),  # longer, though it gives as many
    ],
)
def test_what_is_not_as_the_standard_says_is_left_to_pydicom(segment, taken):
    dataset = image(np.zeros((1, 1, 5), np.uint8))
    dataset.PixelData = encapsulate([frame_of(segment)])
    found = decode_rle(dataset, (1, 1, 5))
    assert (found is not None) == taken
    if taken:
        np.testing.assert_array_equal(found[0], by_pydicom(dataset))


def test_no_single_bit_gives_another_value_than_pydicom_gives():
    values = voxels("u2")[:1, 8:12, 4:9]
    dataset = image(values)
    whole, read = bytes(dataset.PixelData), 0
    for at in range(20, len(whole)):
        for bit in range(8):
            content = bytearray(whole)
            content[at] ^= 1 << bit
            dataset.PixelData = bytes(content)
            try:
                found = decode_rle(dataset, values.shape)
            except ValueError:
                continue
            if found is not None:
                read += 1
                np.testing.assert_array_equal(found[0], by_pydicom(dataset))
    assert read > 100


def test_damaged_frames_are_read_as_pydicom_reads_them_or_not_at_all():
    rng = np.random.default_rng(11)
    values = voxels("u2")[:1]
    dataset = image(values)
    whole, read = bytes(dataset.PixelData), 0
    for _ in range(400):
        content = bytearray(whole)
        at = int(rng.integers(40, len(content)))
        match rng.integers(3):
            case 0:
                content[at] = rng.integers(256)
            case 1:
                del content[at : at + 2]
            case _:
                content[at:at] = rng.integers(0, 256, 2, dtype=np.uint8).tobytes()
        dataset.PixelData = bytes(content)
        try:
            found = decode_rle(dataset, values.shape)
        except ValueError:  # of the item that holds the frame, by pydicom
            continue
        if found is not None:
            read += 1
            np.testing.assert_array_equal(found[0], by_pydicom(dataset))
    assert 50 < read < 350


def test_frames_on_which_the_fast_decoder_panics_are_left_to_pydicom(capfd):
    dataset = image(np.zeros((1, 1, 5), np.uint16))
    dataset.PixelData = encapsulate([frame_of(b"\x81\x07\x81\x07", b"\x81\x07\x81\x07")])  # 256 values for 5
    remarks: list[str] = []
    np.testing.assert_array_equal(decode(dataset, remarks), np.full((1, 1, 5), 0x0707))
    assert remarks == ["251 bytes are left over after the last pixel"] * 2
    assert capfd.readouterr().err == ""


def test_a_representation_that_the_standard_lacks_is_left_to_pydicom():
    dataset = image(voxels("u1"))
    dataset.PixelRepresentation = 2
    assert decode_rle(dataset, SHAPE) is None
