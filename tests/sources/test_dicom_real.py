"""Real series, against frames that pydicom decodes and this test puts in order by itself."""

import shutil

import numpy as np
import pydicom
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pydicom.encaps import encapsulate, generate_frames

from npczarr.errors import GeometryError, SourceError
from npczarr.sources.dicom import peek, read_scan
from npczarr.sources.files import open_source
from npczarr.sources.pixels import decode

COHORT = "real_cohort/primary_data/data/MRI-Segments"
SERIES = [
    *(f"{COHORT}/{patient}/T1WI" for patient in ("001", "002", "003", "004", "005")),
    *(
        f"dicom_variety/{folder}"
        for folder in (
            "ge/anatomical/001",
            "ge/anatomical/001_single_slice",
            "generic/anatomical/001",
            "generic/anatomical/002_non_isotropic",
            "generic/compressed_j2k/001",
            "generic/compressed_jpeg/001",
            "generic/compressed_jpegls/001",
            "generic/compressed_rle/001",
            "hyperfine/anatomical/001",
            "philips/anatomical/001",
            "philips_enhanced/anatomical/001",
            "siemens/anatomical/001",
            "siemens_multiframe/anatomical/001",
        )
    ),
]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # of the values that real headers hold


def frames(folder):
    """Yield (position, orientation, pixels) of every frame of a folder."""
    for path in folder.iterdir():
        try:
            ds = pydicom.dcmread(path)
        except pydicom.errors.InvalidDicomError:
            continue
        if "PixelData" not in ds:
            continue
        groups = ds.get("PerFrameFunctionalGroupsSequence")
        if not groups:
            yield ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.pixel_array
            continue
        for group, pixels in zip(groups, ds.pixel_array, strict=True):
            plane = group if "PlaneOrientationSequence" in group else ds.SharedFunctionalGroupsSequence[0]
            yield (
                group.PlanePositionSequence[0].ImagePositionPatient,
                plane.PlaneOrientationSequence[0].ImageOrientationPatient,
                pixels,
            )


@pytest.mark.parametrize("name", SERIES)
def test_a_series_is_its_frames_in_order_of_position(real_data, name):
    source = open_source(real_data / name)
    scan = read_scan(source, source.files())
    positions, orientations, pixels = zip(*frames(real_data / name), strict=True)
    row, column = np.array(orientations[0][:3]), np.array(orientations[0][3:])
    order = np.argsort(np.array(positions, float) @ np.cross(row, column))
    assert_array_equal(scan.image, np.stack([pixels[i] for i in order]))
    assert_allclose(scan.grid.affine[:3, 3], np.array(positions[order[0]], float), atol=1e-3)
    assert_allclose(
        scan.grid.affine @ [0, 0, len(order) - 1, 1], [*np.array(positions[order[-1]], float), 1], atol=0.02
    )
    assert np.linalg.det(scan.grid.affine[:3, :3]) > 0
    peeked = peek(source, source.files())
    assert peeked.shape_zyx[1:] == scan.image.shape[1:]
    assert peeked.shape_zyx[0] >= scan.image.shape[0]
    assert np.can_cast(scan.image.dtype, peeked.dtype)
    assert peeked.series_uid == scan.series_uid != ""


def test_the_structure_set_among_the_images_is_kept(real_data):
    folder = real_data / COHORT / "001" / "T1WI"
    source = open_source(folder)
    assert read_scan(source, source.files()).structures == ((folder / "RS.dcm").read_bytes(),)


@pytest.fixture
def nine(real_data):
    folder = real_data / "dicom_variety" / "dcm_qa_ts" / "In"
    return sorted(folder.glob("*.dcm"))


def test_nine_encodings_of_one_image_are_equal_once_decoded(nine):
    images = [pydicom.dcmread(path) for path in nine]
    assert len({image.file_meta.TransferSyntaxUID for image in images}) == 7
    first = images[0].pixel_array[None]
    for image in images:
        assert_array_equal(decode(image), first)


def test_a_mosaic_is_refused_as_one_and_without_its_mark_all_nine_are_one_scan(nine, tmp_path):
    scans = []
    for path in nine:
        folder = tmp_path / path.stem
        folder.mkdir()
        shutil.copy(path, folder)
        source = open_source(folder)
        with pytest.raises(SourceError, match="Siemens mosaic"):
            read_scan(source, source.files())
        ds = pydicom.dcmread(path)
        ds.ImageType = [part for part in ds.ImageType if part != "MOSAIC"]
        ds.save_as(folder / path.name)
        scans.append(read_scan(source, source.files()))
    assert len(scans) == 9
    for scan in scans:
        assert_array_equal(scan.image, scans[0].image)
        assert_array_equal(scan.grid.affine, scans[0].grid.affine)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("slicecount/001", r"2 slices 1\.000 mm apart.*too few slices"),
        ("sliceincrement/001", r"1 slice\(s\) missing: gap of 10\.000 mm"),
        ("sliceincrement/002", r"1 slice\(s\) missing: gap of 1\.499 mm"),
        ("sliceorientation/001", "2 orientations in one series"),
    ],
)
def test_failing_series_are_refused_with_the_trouble_named(real_data, case, words):
    source = open_source(real_data / "dicom_variety" / "failing" / case)
    with pytest.raises(GeometryError, match=words):
        read_scan(source, source.files())


@pytest.mark.parametrize("kind", ["j2k", "jpeg", "jpegls", "rle"])
@pytest.mark.parametrize("kept", [0.999, 0.9, 0.5])
def test_a_truncated_compressed_file_is_refused(real_data, tmp_path, kind, kept):
    for path in (real_data / "dicom_variety" / "generic" / f"compressed_{kind}" / "001").iterdir():
        shutil.copy(path, tmp_path)
    path = sorted(tmp_path.iterdir())[-1]
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    source = open_source(tmp_path)
    with pytest.raises(SourceError, match=r"cut short|cannot be decoded|ends after"):
        read_scan(source, source.files())


def test_a_damaged_jpeg_whose_data_go_on_after_its_pixels_is_a_warning(real_data, tmp_path, capfd):
    for path in (real_data / "dicom_variety" / "generic" / "compressed_jpeg" / "001").iterdir():
        shutil.copy(path, tmp_path)
    source = open_source(tmp_path)
    assert not [warning for warning in read_scan(source, source.files()).warnings if "odd pixel data" in warning]
    path = sorted(tmp_path.iterdir())[-1]
    dataset = pydicom.dcmread(path)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    middle = len(frame) // 2
    dataset.PixelData = encapsulate([frame[:middle] + bytes(50) + frame[middle + 50 :]])
    dataset.save_as(path)
    source = open_source(tmp_path)
    (warning,) = (warning for warning in read_scan(source, source.files()).warnings if "odd pixel data" in warning)
    assert "bytes are left over after the last pixel): damaged, or padded by another program" in warning
    assert capfd.readouterr().err == ""
