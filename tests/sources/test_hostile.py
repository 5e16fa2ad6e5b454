"""What a file may do to the process that reads it: each is refused with its reason, within bounded time and memory."""

import gzip
import io
import os
import pickle
import re
import socket
import struct
import tracemalloc
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence as Items
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless

from npczarr.errors import ParameterError, SourceError
from npczarr.model.cohort import File
from npczarr.model.limits import Limits
from npczarr.sources.config import SourceConfig, load_config
from npczarr.sources.decoder_remarks import decoder_remarks
from npczarr.sources.decompression import check_codestream, check_deflated
from npczarr.sources.dicom import peek, read_scan
from npczarr.sources.discover import discover, sort_files
from npczarr.sources.files import open_source
from npczarr.sources.nifti import parse, read_mask
from npczarr.sources.patterns import path_regex
from tests.builders import blob, nifti_image, noise, oblique_grid, slice_dataset, write_cohort, write_series
from tests.hostile.corpus import CSV, GRID, Held, as_bytes, deep, dicom_slices, read_table, read_tiff

MEGABYTE = 2**20


@pytest.fixture
def frugal():
    """The test may take 100 MB, whatever the file asks for."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * MEGABYTE


def refusal(content, *, alone=True, limits=Limits()):  # noqa: B008 - frozen
    """Reason why a series is refused whose only file, or whose middle one, is this."""
    whole = dicom_slices()["explicit"]
    source = Held({"1": content} if alone else {"1": whole[0], "2": content, "3": whole[2]}, limits)
    with pytest.raises(SourceError) as caught:
        read_scan(source, source.files())
    with pytest.raises(SourceError):
        peek(source, source.files()[:1] if alone else [source.files()[1]])
    return str(caught.value)


def changed(edit, **options):
    dataset = slice_dataset(noise(GRID)[1], GRID, 1, **options)
    edit(dataset)
    return as_bytes(dataset)


def test_an_image_of_60000_by_60000_pixels_takes_no_memory(frugal):
    def absurd(dataset):
        dataset.Rows = dataset.Columns = 60000

    assert "7.2 GB of voxels by the header, over the limit of 4 GB" in refusal(changed(absurd))
    assert "ends after 84 of 7200000000 bytes of pixels" in refusal(changed(absurd), limits=Limits(scan_gb=100))
    assert "several matrix sizes" in refusal(changed(absurd), alone=False)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless])
def test_a_compressed_image_of_60000_by_60000_pixels_takes_no_memory(frugal, syntax):
    def absurd(dataset):
        dataset.Rows = dataset.Columns = 60000
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = (
            b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x08\0\0\0\xff\xd8\xff\xd9\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
        )
        dataset["PixelData"].is_undefined_length = True

    assert "7.2 GB of voxels by the header, over the limit of 4 GB" in refusal(changed(absurd))


def test_compressed_pixels_that_go_on_after_the_image_are_a_warning(capfd):
    """Of damage in the middle of a codestream that is often all that shows."""
    slices = list(dicom_slices()["RLE"])
    source = Held({str(i): content for i, content in enumerate(slices)})
    assert not [warning for warning in read_scan(source, source.files()).warnings if "odd pixel data" in warning]
    dataset = pydicom.dcmread(io.BytesIO(slices[1]))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame + b"\x7f" + bytes(128) + b"\x7f" + bytes(128)])
    slices[1] = as_bytes(dataset)
    source = Held({str(i): content for i, content in enumerate(slices)})
    (warning,) = (warning for warning in read_scan(source, source.files()).warnings if "odd pixel data" in warning)
    assert re.search(
        r"odd pixel data in 1 image \(the first: \d+ bytes are left over after the last pixel\): damaged", warning
    )
    assert capfd.readouterr().err == ""


def test_what_others_print_while_pixels_are_decoded_is_passed_on(capfd):
    with decoder_remarks() as found:
        os.write(2, b"a bar 3/9 \r")
        os.write(2, b"Corrupt JPEG data: 4 extraneous bytes before marker 0xd9\nand its end\n")
    assert found == ["4 bytes are left over after the last pixel"]
    assert capfd.readouterr().err == "a bar 3/9 \rand its end\n"


def test_a_million_frames_are_counted_before_they_are_believed(frugal):
    def absurd(dataset):
        dataset.NumberOfFrames = 2**31 - 1

    assert "2147483647 frames in one file" in refusal(changed(absurd))


@pytest.mark.parametrize("bits", [0, 1, 2, 64, 65535])
def test_odd_widths_of_pixels_are_refused(frugal, bits):
    def odd(dataset):
        dataset.BitsAllocated = bits

    source = Held({"1": changed(odd)})
    with pytest.raises(SourceError, match="1 bit per pixel" if bits == 1 else "cannot be decoded"):
        read_scan(source, source.files())


@pytest.mark.slow
def test_a_deflated_file_that_unpacks_to_gigabytes_takes_no_memory(frugal):
    content = dicom_slices()["deflated"][1]
    head = content[: content.index(b"1.2.840.10008.1.2.1.99") + 22]
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(pack.compress(bytes(MEGABYTE)) for _ in range(300)) + pack.flush()
    assert len(bomb) < MEGABYTE
    small = Limits(scan_gb=0.2)
    assert "packed data grows beyond the limit of 0.2 GB" in refusal(head + bomb, limits=small)


def test_a_deflated_file_cannot_hide_behind_an_odd_header(frugal):
    content = bytearray(dicom_slices()["deflated"][1])
    at = content.index(b"1.2.840.10008.1.2.1.99")
    content[at - 4 : at - 2] = b"??"
    source = Held({"1": bytes(content)})
    with pytest.raises(SourceError):
        read_scan(source, source.files())


def test_sequences_ten_thousand_levels_deep(frugal):
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    sequence = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff"
    content = dicom_slices()["explicit"][1]
    at = content.index(b"\x08\x00\x60\x00CS")  # Modality
    assert "damaged DICOM file (RecursionError" in refusal(content[:at] + (sequence + item) * 10_000)


def test_sequences_a_hundred_levels_deep_are_read(frugal):
    def nested(dataset):
        dataset.ReferencedImageSequence = Items([deep(100)])

    whole = dicom_slices()["explicit"]
    source = Held({"1": whole[0], "2": changed(nested), "3": whole[2]})
    np.testing.assert_array_equal(read_scan(source, source.files()).image, noise(GRID))


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("ImagePositionPatient", ["1e300", "0", "0"], "no usable ImagePositionPatient"),
        ("PixelSpacing", ["1e-300", "1e-300"], "PixelSpacing .* expected lengths from"),
        ("RescaleSlope", "1e999", "RescaleSlope of a slice is not one finite number"),
    ],
)
def test_numbers_that_overflow_are_refused(frugal, keyword, value, words):
    from pydicom import config

    def absurd(dataset):
        with config.disable_value_validation():
            setattr(dataset, keyword, value)

    source = Held({"1": changed(absurd)})
    with pytest.raises(SourceError, match=words):
        read_scan(source, source.files())


def test_a_codestream_must_be_of_the_size_that_the_header_says():
    size = struct.pack(">HH", 480, 640)
    scan = b"\xff\xda\0\x08" + bytes(6)
    huffman = b"\xff\xc4\0\x03\0"
    j2k = b"\xff\x4f\xff\x51" + struct.pack(">HH4I", 47, 0, 640, 480, 0, 0)
    jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc3\0\x0b\x10" + size + bytes(4) + huffman + scan
    jpegls = b"\xff\xd8\xff\xf7\0\x0b\x10" + size + bytes(4) + scan
    for frame in (j2k, jpeg, jpegls):
        check_codestream(frame, 480, 640)
        with pytest.raises(SourceError, match=r"\(480, 640\) by their own header, by that of the file \(480, 641\)"):
            check_codestream(frame, 480, 641)
        for end in range(len(frame) - 10 * (frame != j2k)):
            with pytest.raises(SourceError, match="do not begin as an image does"):
                check_codestream(frame[:end], 480, 640)
    twice = jpeg.replace(huffman, jpeg[9:22] + huffman)
    for without in (jpeg.replace(huffman, b""), jpeg.replace(b"\xff\xc4", b"\xff\x00\xff"), twice):
        with pytest.raises(SourceError, match="do not begin as an image does"):
            check_codestream(without, 480, 640)


def nifti_header(dims, **fields):
    content = bytearray(nifti_image(blob(GRID), GRID).to_bytes())
    content[40:56] = np.array([len(dims), *dims, *[1] * (7 - len(dims))], "<i2").tobytes()
    for at, value in fields.items():
        content[int(at[1:]) : int(at[1:]) + len(value)] = value
    return bytes(content)


def test_a_mask_of_2_to_the_40_voxels_takes_no_memory(frugal):
    content = nifti_header([32767, 32767, 1024])
    with pytest.raises(SourceError, match=r"it ends after \d+ of 10\d{11} bytes"):
        parse(content)
    with pytest.raises(SourceError, match=r"1099 GB of voxels by the header, over the limit of 4 GB"):
        parse(gzip.compress(content))
    second = bytearray(nifti_image(blob(GRID), GRID, version=2).to_bytes())
    second[16:80] = np.array([3, 2**20, 2**20, 2**62, 1, 1, 1, 1], "<i8").tobytes()
    with pytest.raises(SourceError, match="over the limit of 4 GB"):
        parse(gzip.compress(bytes(second)))
    second[16:80] = np.array([3, -(2**40), 1, 1, 1, 1, 1, 1], "<i8").tobytes()
    with pytest.raises(SourceError, match="not a whole NIfTI file"):
        parse(bytes(second))


@pytest.mark.slow
def test_a_gzipped_mask_that_unpacks_to_gigabytes_takes_no_memory(frugal):
    head = nifti_image(blob(GRID), GRID).to_bytes()
    bomb = gzip.compress(head + bytes(150 * MEGABYTE))
    assert len(bomb) < MEGABYTE
    tracemalloc.reset_peak()
    with pytest.raises(SourceError, match=r"packed data grows beyond the limit of 0\.1 GB"):
        parse(bomb, Limits(scan_gb=0.1))
    with pytest.raises(SourceError, match=r"1\.07 GB of voxels by the header, over the limit of 1 GB"):
        parse(gzip.compress(nifti_header([1024, 1024, 1024])), Limits(scan_gb=1))


def test_a_mask_with_something_behind_it_is_read(frugal):
    plain = nifti_image(blob(GRID), GRID).to_bytes()
    for content in (plain + b"\0" * 999, gzip.compress(plain + b"\0" * 999), gzip.compress(plain) + gzip.compress(b"")):
        np.testing.assert_array_equal(parse(content).voxels, blob(GRID))


@pytest.mark.parametrize("number", [1e38, 1e-38, np.nan, np.inf])
def test_an_affine_of_absurd_numbers_is_refused(number):
    content = bytearray(nifti_image(blob(GRID), GRID, qform=False).to_bytes())
    content[280:328] = np.where(np.eye(3, 4), number, 0).astype("<f4").tobytes()
    source = Held({"ROI-T1.nii": bytes(content)})
    with pytest.raises(SourceError, match="cannot be inverted"):
        read_mask(source, source.files(), GRID)


def test_a_whole_tumor_of_many_voxels_on_another_grid_takes_little_memory(frugal):
    fine = oblique_grid((40, 200, 200), seed=1, spacing_zyx_mm=(0.5, 0.02, 0.02))
    source = Held({"ROI-T1.nii": nifti_image(np.ones(fine.shape_zyx), fine).to_bytes()})
    with pytest.raises(SourceError, match="does not fit the image"):
        read_mask(source, source.files(), oblique_grid((3, 6, 7), seed=2))


def test_a_tiff_of_60000_by_60000_pixels_takes_no_memory(frugal, tmp_path):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((6, 7), np.uint8), compression="zlib", rowsperstrip=1)
    content = bytearray(buffer.getvalue())
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        for name in ("ImageWidth", "ImageLength"):
            tag = file.pages.first.tags[name]
            content[tag.valueoffset : tag.valueoffset + tag.dtype.value % 3 * 0 + 2] = struct.pack("<H", 60000)
    with pytest.raises(SourceError, match=r"3\.6 GB of voxels|strips in"):
        read_tiff(bytes(content), tmp_path)


def test_a_tiff_whose_width_is_a_text_takes_no_memory(frugal, tmp_path):
    """tifffile gives bytes for a tag of bytes, and a text times a height of billions is gigabytes."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((6, 7), np.uint8), compression="zlib", rowsperstrip=6)
    content = bytearray(buffer.getvalue())
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        width, height = (file.pages.first.tags[name] for name in ("ImageWidth", "ImageLength"))
        content[width.offset + 2 : width.offset + 4] = struct.pack("<H", 1)  # BYTE
        content[height.offset + 2 : height.offset + 4] = struct.pack("<H", 4)  # LONG
        content[height.valueoffset : height.valueoffset + 4] = struct.pack("<I", 3204448262)
    with pytest.raises(SourceError, match="its width or height is no number; the file is damaged"):
        read_tiff(bytes(content), tmp_path)


def test_a_tiff_whose_strips_unpack_to_gigabytes_takes_no_memory(frugal):
    bomb = zlib.compress(bytes(64 * MEGABYTE))
    with pytest.raises(SourceError, match="packed data grows beyond"):
        check_deflated(bomb, Limits(scan_gb=0.02))
    check_deflated(bomb, Limits(scan_gb=0.1))


def write_zip(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.mark.slow
def test_an_archive_that_unpacks_to_gigabytes_takes_no_memory(frugal, tmp_path):
    path = write_zip(tmp_path / "a.zip", {"001/T1WI/1.dcm": bytes(300 * MEGABYTE), "x": b"1"})
    assert path.stat().st_size < MEGABYTE
    tracemalloc.reset_peak()
    source = open_source(path, limits=Limits(files_gb=0.1))
    big, small = source.read(["001/T1WI/1.dcm", "x"])
    assert small == b"1"
    assert "is too large: 315 MB of files, over the limit of 0.1 GB" in str(big)
    with pytest.raises(SourceError, match="315 MB of files, over the limit"):
        read_scan(source, [file for file in source.files() if file.name == "1.dcm"])


def test_an_archive_that_lies_about_its_sizes_takes_no_memory(frugal, tmp_path):
    size = 200 * MEGABYTE
    content = write_zip(tmp_path / "a.zip", {"001/T1WI/1.dcm": bytes(size)}).read_bytes()
    (tmp_path / "b.zip").write_bytes(content.replace(struct.pack("<I", size), struct.pack("<I", 1000)))
    tracemalloc.reset_peak()
    (found,) = open_source(tmp_path / "b.zip").read(["001/T1WI/1.dcm"])
    assert isinstance(found, zipfile.BadZipFile)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_ways_of_packing_without_a_bound_are_not_read(frugal, tmp_path, method):
    path = write_zip(tmp_path / "a.zip", {"001/T1WI/1.dcm": bytes(MEGABYTE)}, method)
    (found,) = open_source(path).read(["001/T1WI/1.dcm"])
    assert "expected deflate" in str(found)


def test_an_encrypted_member_says_so(tmp_path):
    content = bytearray(write_zip(tmp_path / "a.zip", {"001/T1WI/1.dcm": b"x" * 100}).read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    (found,) = open_source(tmp_path / "a.zip").read(["001/T1WI/1.dcm"])
    assert "is encrypted" in str(found)


OUTSIDE = (
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../001/T1WI/1.dcm",
    "001/T1WI/../../x",
    "a" * 1001,
    "a/" * 41 + "1.dcm",
)


@pytest.mark.parametrize("name", OUTSIDE, ids=range(len(OUTSIDE)))
def test_members_that_point_outside_belong_to_no_scan_and_are_named(tmp_path, name):
    path = write_zip(tmp_path / "a.zip", {name: b"x", "001/T1WI/1.dcm": dicom_slices()["explicit"][0]})
    cohort = discover(open_source(path), SourceConfig())
    assert [file.path for file in cohort.strays] == [name.removeprefix("/")]
    assert [file.path for scan in cohort.scans.values() for file in scan.images] == ["001/T1WI/1.dcm"]


@pytest.mark.parametrize("name", OUTSIDE[:4], ids=range(4))
def test_a_folder_of_raters_does_not_take_them_either(name):
    files = [File(path, 1, "") for path in ("a/1/ROI-T1.nii", "b/1/ROI-T1.nii", f"../{name}/1/ROI-T1.nii")]
    from npczarr.sources.discover import sort_raters

    cohort = sort_raters(files, SourceConfig())
    assert cohort.raters == ("a", "b")
    assert cohort.strays == (files[2],)


def test_links_pipes_and_sockets_end_and_are_named(frugal, tmp_path):
    written = write_cohort(tmp_path, patients=("001",), tables={})
    series = tmp_path / "data" / "MRI-Segments" / "001"
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "data" / "loop").symlink_to("../data")
    odd = {
        "T1WI": lambda path: path.symlink_to("."),
        "T2WI": lambda path: path.symlink_to("itself"),
        "CE-T1WI": os.mkfifo,
    }
    for name, make in odd.items():
        make(series / name / "itself")
    source = open_source(tmp_path)
    cohort = discover(source, SourceConfig())
    loops = ["data/MRI-Segments/001/T1WI/itself/", "data/loop/", "loop/"]
    assert [file.path for file in cohort.strays] == loops
    assert all("is a link to a folder" in str(found) for found in source.read(loops))
    # a loop brings nothing that is not listed already, so it costs no scan
    image = read_scan(source, cohort.scans["001", "T1WI"].images).image
    np.testing.assert_array_equal(image, written["001", "T1WI"][0])
    words = {"T2WI": "is a link to itself", "CE-T1WI": "is a pipe or a device"}
    for sequence, reason in words.items():
        with pytest.raises(SourceError, match=reason):
            read_scan(source, cohort.scans["001", sequence].images)
    with socket.socket(socket.AF_UNIX) as heard:
        heard.bind(str(tmp_path / "s"))
        (found,) = source.read(["s"])
    assert isinstance(found, Exception)
    (tmp_path / "zero").symlink_to("/dev/zero")
    assert "is a pipe or a device" in str(source.read(["zero"])[0])


def test_what_may_not_be_read_is_named_and_the_rest_is_listed(tmp_path):
    written = write_cohort(tmp_path, patients=("001", "002"), tables={})
    base = tmp_path / "data" / "MRI-Segments"
    closed = [base / "001" / "T1WI", base / "001" / "T2WI" / "000001.dcm"]
    for path in closed:
        path.chmod(0)
    for path in [tmp_path, *tmp_path.parents]:
        if (
            path.stat().st_mode & 0o055 != 0o055
            and os.geteuid() == 0
            and path.stat().st_uid == 0
            and path != path.parent
        ):
            path.chmod(path.stat().st_mode | 0o055)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        source = open_source(tmp_path)
        cohort = discover(source, SourceConfig())
        assert cohort.scans.keys() == written.keys()
        for sequence, reason in (("T1WI", "file 1 of 1 by name"), ("T2WI", r"file 000001\.dcm")):
            with pytest.raises(SourceError, match=rf"{reason} cannot be read \(PermissionError\)"):
                read_scan(source, cohort.scans["001", sequence].images)
        assert read_scan(source, cohort.scans["002", "T1WI"].images)
    finally:
        os.seteuid(user)
        for path in closed:
            path.chmod(0o755)


def test_names_in_another_encoding_are_read_under_names_that_can_be_stored(tmp_path):
    chinese = "患者1".encode("gb18030")
    folder = os.fsencode(tmp_path) + b"/" + chinese + b"/T1WI"
    os.makedirs(folder)
    for z, content in enumerate(dicom_slices()["explicit"]):
        with open(folder + b"/\xff%d.dcm" % z, "wb") as file:
            file.write(content)
    source = open_source(tmp_path)
    cohort = discover(source, SourceConfig())
    (patient,) = cohort.patients
    assert patient.encode("utf-8").decode() == "\\xbb\\xbc\\xd5\\xdf1"
    np.testing.assert_array_equal(read_scan(source, cohort.scans[patient, "T1WI"].images).image, noise(GRID))


def test_names_of_thousands_of_digits_can_be_sorted():
    cohort = sort_files([File(f"{'9' * n}/T1WI/1.dcm", 1, "") for n in (3, 250, 5000)], SourceConfig())
    assert cohort.patients == ("9" * 3, "9" * 250)
    assert len(cohort.strays) == 1


def config(tmp_path, text):
    path = tmp_path / "layout.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"\xff\xfe[\0l\0", "cannot be read as TOML"),
        ("[[" * 5000, "cannot be read as TOML"),
        ("x = " + "[" * 100_000, "cannot be read as TOML"),
        (b"# " + b"x" * 2**20, "larger than 1048576 bytes"),
        ('[layout]\nimages = "{patient}/*a*a*a*a*b"', r"layout\.images: too many of"),
        ('[layout]\nimages = "{patient}/**/**/**/*a*.dcm"', "too many of"),
        ('[layout]\nimages = "{patient}/a**/x"', "between slashes"),
        (f'[layout]\nimages = "{{patient}}/{"x" * 1000}"', r"layout\.images"),
        ("[columns]\nage = '../../evil'", "cannot name an array of the store"),
        ("[columns]\nage = 'a/b'", "cannot name an array"),
        ("[columns]\nage = '.hidden'", "cannot name an array"),
        ("[columns]\nage = ''", "cannot name an array"),
        (f"[columns]\nage = '{'a' * 300}'", "cannot name an array"),
        ("[limits]\nscan = 3", "unknown key 'scan'"),
        ("[limits]\nscan_gb = 0", r"\[limits\]: limit scan_gb: expected a number above 0, got 0"),
        ("[limits]\nscan_gb = nan", "expected a number above 0"),
        ("[limits]\nscan_gb = '4'", "expected a number above 0"),
        ("[limits]\nscan_gb = true", "expected a number above 0"),
        ("limits = 3", "expected a table"),
    ],
)
def test_a_configuration_that_means_harm_is_refused(frugal, tmp_path, text, words):
    with pytest.raises(SourceError, match=words):
        config(tmp_path, text)


def test_braces_that_are_no_field_are_taken_as_they_are():
    assert path_regex("{patient}/{}/{a b}/x", {}).fullmatch("1/{}/{a b}/x")["patient"] == "1"


@pytest.mark.slow
@pytest.mark.parametrize(
    "pattern",
    ["{patient}/**/**/*a*ab", "{patient}/**/*a*a*ab", "{patient}/*a*a*a*ab", "{patient}/{mask}a{slice}a*ab/*a*ab/x"],
)
def test_patterns_that_fit_in_many_ways_end(frugal, tmp_path, pattern):
    rules = config(tmp_path, f'[layout]\nimages = "{pattern}"\nmasks = "{pattern}"')
    files = [File("/".join(["a" * 150] * 6), 1, ""), File("a/" * 39 + "c", 1, "")]
    assert len(sort_files(files, rules).strays) == 2


def test_limits_travel_with_the_configuration(tmp_path):
    limits = config(tmp_path, "[limits]\nscan_gb = 1\nscan_seconds = 0.5").limits
    assert limits == Limits(scan_gb=1, scan_seconds=0.5)
    assert Limits() == SourceConfig().limits
    source = open_source(tmp_path, limits=limits)
    assert pickle.loads(pickle.dumps(source)).limits == limits
    with pytest.raises(ParameterError, match="files_gb: expected a number above 0, got -1"):
        replace(limits, files_gb=-1)


def test_a_scan_over_each_limit_is_refused_with_what_to_raise(tmp_path):
    grid = oblique_grid((5, 100, 100))
    write_series(tmp_path, noise(grid), grid)
    for limits, words in (
        (
            Limits(scan_gb=99e-6),
            r"100 kB of voxels by the header, over the limit of 9\.9e-05 GB .*raise limits\.scan_gb",
        ),
        (
            Limits(files_gb=1e-5),
            r"10\d kB of files, over the limit of 1e-05 GB .*raise limits\.files_gb",
        ),
        (Limits(scan_seconds=1e-9), r"reading took more than the limit of 1e-09 s .*raise limits\.scan_seconds"),
    ):
        source = open_source(tmp_path, limits=limits)
        with pytest.raises(SourceError, match=words) as caught:
            read_scan(source, source.files())
        assert str(tmp_path) not in str(caught.value)
    source = open_source(tmp_path, limits=Limits(scan_gb=101e-6, files_gb=11e-5, scan_seconds=100))
    assert read_scan(source, source.files()).image.shape == (5, 100, 100)


def test_no_reader_unpickles(tmp_path, monkeypatch):
    """A pickle in the place of every kind of file is refused, and never loaded."""

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    content = pickle.dumps(Evil())
    buffer = io.BytesIO()
    np.save(buffer, np.array([Evil()]), allow_pickle=True)
    for hostile in (content, buffer.getvalue()):
        for read in (parse, lambda content: read_tiff(content, tmp_path), lambda content: config(tmp_path, content)):
            with pytest.raises(SourceError):
                read(hostile)
        source = Held({"1": hostile})
        with pytest.raises(SourceError, match="no image"):
            read_scan(source, source.files())
        read_table(hostile, tmp_path)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "content",
    [
        CSV.replace("\r\n", "\r").encode(),
        CSV.encode() + b"\r1,2\r3,4",
        CSV.replace("T1", '"' + "x" * 200_000 + '"').encode(),
        CSV.encode("utf-8") + b"\xff\xfe\x00",
        CSV.encode("utf-16")[:-1],
        b"\0" * 1000,
        b"ID,a\n" + b'1,"' + b"x" * 1000,
        b",".join(b"c%d" % i for i in range(2_000)) + b"\n1\n",
    ],
    ids=[
        "old Mac",
        "mixed line ends",
        "a field of 200 kB",
        "broken UTF-8",
        "half UTF-16",
        "zeros",
        "open quote",
        "wide",
    ],
)
def test_tables_that_are_no_tables_cost_no_scan(frugal, tmp_path, content):
    read_table(content, tmp_path)
