"""A header that is scanned is, field by field, the one that pydicom reads; what is unusual is left to it."""

import random
import warnings
from io import BytesIO

import pydicom
import pytest
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from npczarr.sources.header_scan import scan_header
from npczarr.sources.headers import _TAGS, quiet
from tests.builders import noise, oblique_grid, slice_dataset
from tests.hostile import corpus

PIXELS = pydicom.tag.Tag("PixelData")
UNDEFINED = 0xFFFFFFFF
COMPRESSED = ("RLE", "JPEG-LS", "JPEG 2000")
WORDS = [keyword_for_tag(tag) for tag in (*_TAGS, 0x00020002, 0x00020010) if tag != PIXELS and tag < 0x60000000]
GRID = oblique_grid((3, 6, 7), seed=1)


def differences(content: bytes) -> list[str] | None:
    """Fields in which a scan differs from what pydicom reads; None where the scan leaves the file to pydicom."""
    with quiet():
        ours = scan_header(content, _TAGS)
        if ours is None:
            return None
        theirs = pydicom.dcmread(BytesIO(content), specific_tags=list(_TAGS), stop_before_pixels=True)
        pixels = ours.get_item(PIXELS)
        assert content.index(bytes(pixels.value), pixels.value_tell) == pixels.value_tell
        if pixels.length == UNDEFINED:
            assert pixels == pydicom.dcmread(BytesIO(content), specific_tags=list(_TAGS)).get_item(PIXELS)
        found = [f"{tag}" for tag in {*ours.keys()} ^ {*theirs.keys(), PIXELS}]
        found += [f"meta {tag}" for tag in {*ours.file_meta.keys()} ^ {*theirs.file_meta.keys()}]
        for name in ("preamble", "original_encoding", "original_character_set", "_character_set", "_parent_encoding"):
            if getattr(ours, name) != getattr(theirs, name):
                found.append(name)
        for one, other in ((ours, theirs), (ours.file_meta, theirs.file_meta)):
            found += [f"{tag}" for tag in other.keys() if shown(one, tag) != shown(other, tag)]  # noqa: SIM118
        again = scan_header(content, _TAGS)  # of which nothing is converted
        for one, other in ((again, theirs), (again.file_meta, theirs.file_meta)):
            found += [word for word in WORDS if by_name(one, word) != by_name(other, word)]
        assert ours.original_encoding == (ours.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2", True)
    return found


def by_name(dataset, word):
    """What a field gives by its keyword, in the three ways to ask for it, twice: it is converted once."""
    found = []
    for _ in range(2):
        try:
            found += [word in dataset, repr(dataset.get(word, "absent")), repr(getattr(dataset, word))]
        except Exception as error:
            found.append(type(error).__name__)
    return found


def shown(dataset, tag):
    """What a field holds as its file does, and once it is decoded or cannot be."""
    raw = dataset.get_item(tag)
    try:
        decoded = dataset[tag]
        value = (decoded.VR, repr(decoded.value))
    except Exception as error:
        value = (type(error), str(error))
    # pydicom decodes these two as it reads
    return (None if tag in (0x00080005, 0x00020000, 0x00020010) else raw), value


def files() -> list[bytes]:
    """Slices that are scanned: explicit and implicit, with sequences of either kind of length and in each other."""
    volume = noise(GRID)
    made = []
    for syntax in ("explicit", "implicit"):
        for undefined in (False, True):
            ds = slice_dataset(volume[0], GRID, 0, syntax=syntax)
            ds.SpecificCharacterSet = ["ISO 2022 IR 6", "ISO 2022 IR 58"]
            inner, item = Dataset(), Dataset()
            inner.CodeValue, inner.CodeMeaning = "113100", "Basic"
            item.CodeValue, item.PurposeOfReferenceCodeSequence = "1", Sequence([inner, inner])
            ds.DeidentificationMethodCodeSequence = Sequence([item, inner])
            for sequence in (item["PurposeOfReferenceCodeSequence"], ds["DeidentificationMethodCodeSequence"]):
                sequence.is_undefined_length = undefined
            item.is_undefined_length_sequence_item = undefined
            made.append(corpus.as_bytes(ds))
    return made


def test_the_builders_slices_are_scanned_and_equal():
    scanned = [differences(content) for content in files()]
    assert scanned == [[], [], [], None]  # implicit with an undefined length: only a dictionary knows what it is


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_slices_are_scanned_and_equal(name):
    assert [differences(content) for content in corpus.dicom_slices()[name]] == [[], [], []]


@pytest.mark.parametrize("name", ["big-endian", "deflated"])
def test_other_transfer_syntaxes_are_left_to_pydicom(name):
    slices = corpus.dicom_slices()[name]
    assert all(differences(content) is None for content in slices)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_read_alike_or_left_to_pydicom(seed):
    """Wherever a scan gives anything, pydicom gives the same."""
    examples, scanned = files() + [corpus.dicom_slices()[name][1] for name in COMPRESSED], 0
    for i in range(250):
        dice = random.Random(f"{seed} {i}")
        start = dice.choice(examples)
        content = corpus.damage(start, corpus.random_edits(dice), dice.choice(examples))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = differences(content)
        assert found in (None, []), f"seed {seed} {i}: {found}"
        scanned += found == []
    assert scanned > 10


@pytest.mark.slow
def test_real_files_are_read_alike(real_data):
    found = []
    for path in sorted(real_data.rglob("*")):
        if path.is_file() and path.stat().st_size < 10**8:
            content = path.read_bytes()
            if content[128:132] == b"DICM":
                found.append(differences(content))
    assert {str(one) for one in found} == {"None", "[]"}
    assert found.count([]) > 0.8 * len(found)
