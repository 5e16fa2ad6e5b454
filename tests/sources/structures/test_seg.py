import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from npczarr.errors import GeometryError, ParameterError, SourceError
from npczarr.model.geometry import RAS_TO_LPS, Grid
from npczarr.model.limits import Limits
from npczarr.sources.nifti import place
from npczarr.sources.nifti_file import NiftiMask
from npczarr.sources.structures import Code, ImageUids, on_grid, overlaps, read_segmentation
from tests.builders import oblique_grid
from tests.sources.structures.build import FRAME, SECRET, SERIES, item, rtstruct, save, seg, seg_dataset, straight_grid

# 5 x 7 pixels: a frame of 35 bits begins inside a byte
GRID = straight_grid((6, 5, 7))


def blobs(grid: Grid, seed: int = 0, high: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, grid.shape_zyx)


def frames_of(volume: np.ndarray, number: int = 1, slices=None):
    return [(number, z, volume[z]) for z in (range(len(volume)) if slices is None else slices)]


def laid(content: bytes, grid: Grid = GRID, index: int = 0, **options):
    segmentation = read_segmentation(content)
    return on_grid(segmentation, segmentation.segments[index], grid, **options)


@pytest.mark.parametrize(
    "name", ["binary", "binary_fractional", "binary_overlap", "binary_single_frame", "true_fractional"]
)
def test_real_objects_equal_what_highdicom_reads(real_data, name):
    highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed")
    path = real_data / "structures" / "highdicom" / f"seg_image_ct_{name}.dcm"
    segmentation, other = read_segmentation(path.read_bytes()), highdicom.seg.segread(path)
    assert len(segmentation.segments) == other.number_of_segments
    for segment in segmentation.segments:
        described = other.get_segment_description(segment.number)
        assert segment.label == described.segment_label
        assert segment.algorithm_type == described.algorithm_type.value
        for code, expected in (
            (segment.category, described.segmented_property_category),
            (segment.type, described.segmented_property_type),
        ):
            assert code == Code(expected.value, expected.scheme_designator, expected.meaning)
        volume = other.get_volume(
            segment_numbers=[segment.number],
            combine_segments=False,
            rescale_fractional=True,
            allow_missing_positions=True,
        )
        values = volume.array[..., 0]
        # highdicom counts slices, rows, columns
        grid = Grid(values.shape, volume.affine[:, [2, 1, 0, 3]])
        for threshold in (0.25, 0.5, 1.0):
            found = on_grid(segmentation, segment, grid, threshold=threshold)
            np.testing.assert_array_equal(found.mask, values >= threshold)
        assert values.any()
        assert any("fractional" in text for text in found.warnings) == (name == "true_fractional")
    assert overlaps(segmentation) == ({(1, 2): 16} if name == "binary_overlap" else {})


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("BINARY", ExplicitVRLittleEndian),
        ("FRACTIONAL", ExplicitVRLittleEndian),
        ("FRACTIONAL", JPEG2000Lossless),
        ("LABELMAP", ExplicitVRLittleEndian),
        ("LABELMAP", JPEGLSLossless),
        ("LABELMAP", RLELossless),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_objects_that_highdicom_writes_come_back(kind, syntax, seed):
    highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed")
    grid = oblique_grid((6, 34, 36), seed)  # GDCM ends the process where it packs an odd number of pixels
    labels = np.random.default_rng(seed).integers(0, 3, grid.shape_zyx).astype(np.uint8)
    labels[2] = 0
    written = highdicom.seg.Segmentation(
        source_images=series(grid),
        pixel_array=labels,
        segmentation_type=kind,
        segment_descriptions=[description(highdicom, n) for n in (1, 2)],
        series_instance_uid="1.2.840.77.8",
        series_number=1,
        sop_instance_uid="1.2.840.77.9",
        instance_number=1,
        manufacturer="Builder",
        manufacturer_model_name="1",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=True,
        transfer_syntax_uid=syntax,
    )
    content = save(written)
    image = ImageUids(SERIES, FRAME)
    for index in (0, 1):
        found = laid(content, grid, index, image=image)
        np.testing.assert_array_equal(found.mask, labels == index + 1)
        assert found.warnings == ()
    assert overlaps(read_segmentation(content)) == {}


def series(grid: Grid) -> list:
    """Slices of an image, as much as highdicom asks of them."""
    slices = []
    for z in range(grid.shape_zyx[0]):
        dataset = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.840.77.5.{z}"
        dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = SERIES, FRAME
        dataset.Rows, dataset.Columns = grid.shape_zyx[1:]
        dataset.ImagePositionPatient = [f"{v:.9g}" for v in (grid.affine @ [0, 0, z, 1])[:3]]
        dataset.ImageOrientationPatient = [f"{v:.9g}" for v in grid.directions[:, :2].T.ravel()]
        dataset.PixelSpacing = [f"{v:.9g}" for v in grid.spacing_zyx_mm[1:]]
        dataset.SliceThickness = f"{grid.spacing_zyx_mm[0]:.9g}"
        dataset.PixelData = np.zeros(grid.shape_zyx[1:], dtype=np.int16).tobytes()
        slices.append(dataset)
    return slices


def description(highdicom, number: int):
    from pydicom.sr.codedict import codes

    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=f"label {number}",
        segmented_property_category=codes.SCT.Tissue,
        segmented_property_type=codes.SCT.Bone,
        algorithm_type="MANUAL",
    )


@pytest.mark.parametrize("options", [{}, {"kind": "FRACTIONAL"}, {"kind": "FRACTIONAL", "compressed": True}])
@pytest.mark.parametrize("order", [None, [5, 0, 3, 1, 4, 2], [4, 1]])
def test_frames_of_any_order_and_number_go_to_their_slices(options, order):
    volume = blobs(GRID)
    scale = 255 if options else 1
    found = laid(seg(GRID, frames_of(volume * scale, slices=order), **options))
    expected = np.zeros_like(volume)
    slices = list(range(6)) if order is None else order
    expected[slices] = volume[slices]
    np.testing.assert_array_equal(found.mask, expected)
    assert found.mask.dtype == np.uint8
    assert found.warnings == ()
    assert found.evidence["mask_voxels"] == expected.sum()
    assert found.evidence["mask_affine_source"] == "frames"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("turn", ["none", "z", "y", "x", "swap", "swap y"])
def test_frames_that_run_otherwise_than_the_image_are_turned(turn, seed):
    grid = oblique_grid((6, 5, 7), seed)
    volume = blobs(grid, seed)
    affine, stored = grid.affine.copy(), volume
    for axis, name in enumerate("zyx"):
        if name in turn.split():
            stored = np.flip(stored, axis)
            affine[:3, 3] += affine[:3, 2 - axis] * (grid.shape_zyx[axis] - 1)
            affine[:3, 2 - axis] *= -1
    if "swap" in turn:
        stored, affine = stored.swapaxes(1, 2), affine[:, [1, 0, 2, 3]]
    own = Grid(stored.shape, affine)
    found = laid(seg(own, frames_of(stored)), grid)
    np.testing.assert_array_equal(found.mask, volume)
    assert any("swapped" in text for text in found.warnings) == ("swap" in turn)
    # slices are found by position, so that one order of frames is as good as another
    flipped = {"none": "", "z": "", "y": "y", "x": "x", "swap": "", "swap y": "y"}[turn]
    assert found.evidence["mask_axes_flipped"] == flipped


def test_parts_of_slices_are_laid_where_they_are():
    volume = np.zeros(GRID.shape_zyx, dtype=int)
    volume[1:3, 2:5, 3:6] = blobs(GRID)[1:3, 2:5, 3:6]
    part = GRID.crop((slice(1, 3), slice(2, 5), slice(3, 6)))
    found = laid(seg(part, frames_of(volume[1:3, 2:5, 3:6])))
    np.testing.assert_array_equal(found.mask, volume)
    assert found.warnings == ()


def test_what_is_outside_the_image_is_told_or_refused():
    wide = straight_grid((8, 30, 30), origin=(-12.0, 3.0, 37.0))
    volume = np.zeros(wide.shape_zyx, dtype=int)
    volume[1:7, 2:22, 2:26] = 1
    image = straight_grid()
    found = laid(seg(wide, frames_of(volume)), image)
    assert found.mask.all()
    volume[0, 5, :10] = 1
    found = laid(seg(wide, frames_of(volume)), image)
    assert found.mask.all()
    assert any(f"10 of its {20 * 24 * 6 + 10} voxels are outside" in text for text in found.warnings)
    volume[7] = 1
    with pytest.raises(GeometryError, match=r"segment 1 'tumour': 7\d.\d% of it is inside the image"):
        laid(seg(wide, frames_of(volume)), image)


def test_frames_between_slices_are_placed_by_position_with_a_warning():
    fine = straight_grid((24, 40, 48), (0.75, 0.5, 0.5), (-10.25, 4.75, 38.875))
    volume = np.zeros(fine.shape_zyx, dtype=int)
    volume[8:16, 10:30, 10:30] = 1
    image = straight_grid()
    found = laid(seg(fine, frames_of(volume, slices=range(7, 17))), image)
    assert any("mask on another grid" in text for text in found.warnings)
    expected = np.zeros(image.shape_zyx, dtype=np.uint8)
    expected[2:4, 5:15, 5:15] = 1
    np.testing.assert_array_equal(found.mask, expected)
    assert found.evidence["mask_affine_source"] == "frames"


def test_sparse_frames_on_another_grid_need_a_slice_spacing():
    fine = straight_grid((24, 20, 24), (0.75, 1.0, 1.0))
    volume = np.zeros(fine.shape_zyx, dtype=int)
    volume[8:16:2, 10:15, 10:15] = 1
    frames = frames_of(volume, slices=range(8, 16, 2))
    with pytest.raises(GeometryError, match=r"1.5 mm or more apart and 0.75 mm thick"):
        laid(seg(fine, frames), straight_grid())
    found = laid(seg(fine, frames, spacing_between=0.75), straight_grid())
    assert any("mask on another grid" in text for text in found.warnings)


FINE = straight_grid((12, 20, 24))  # slices of 3 mm
THICK = straight_grid((6, 20, 24), (6.0, 1.0, 1.0))  # frames of 6 mm, each beginning on a slice of FINE
CUBOID = np.zeros(THICK.shape_zyx, dtype=np.uint8)
CUBOID[1:5, 5:15, 5:15] = 1


def thick(slices=range(6), *, between=None, thickness=None):
    """A SEG of frames of 6 mm, and what its header says of their spacing and thickness; 0 for nothing."""
    dataset = seg_dataset(THICK, frames_of(CUBOID, slices=slices), spacing_between=between)
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    if thickness is not None:
        measures.SliceThickness = f"{thickness:g}"
    if thickness == 0:
        del measures.SliceThickness
    return save(dataset)


def of_thickness(value: float) -> ImageUids:
    return ImageUids(SERIES, FRAME, slice_thickness_mm=value)


@pytest.mark.parametrize(
    ("said", "image"),
    [
        ({"between": 6.0}, None),
        ({"between": 6.0, "thickness": 0}, None),
        ({"between": 0.5}, None),  # the gap between slices, as some scanners write
        ({"between": 6.0, "thickness": 4.0}, of_thickness(3.0)),
        ({}, None),  # frames next to each other by their thickness
        ({}, of_thickness(3.0)),
        ({"slices": [1, 4, 2]}, of_thickness(3.0)),
    ],
)
def test_frames_that_are_thicker_than_slices_are_placed_as_a_nifti_mask_of_them_is(said, image):
    found = laid(thick(**said), FINE, image=image)
    slices = said.get("slices", range(6))
    voxels = np.where(np.isin(np.arange(6), list(slices))[:, None, None], CUBOID, 0)
    expected = place(NiftiMask(voxels, {"sform": RAS_TO_LPS @ THICK.affine}), FINE)
    np.testing.assert_array_equal(found.mask, expected.mask)
    assert found.mask.any((1, 2)).sum() > len(slices)  # not every second slice alone
    (warning,) = (text for text in found.warnings if "placed by majority of volume" in text)
    before_cm3 = voxels.sum() * 6 / 1000
    assert f"volume {before_cm3:.2f} cm3 became {found.mask.sum() * 3 / 1000:.2f} cm3" in warning


@pytest.mark.parametrize(("slices", "between"), [([2], 6.0), ([2], None), ([1, 4], None)])
def test_a_thick_frame_alone_covers_its_own_thickness(slices, between):
    found = laid(thick(slices, between=between), FINE, image=of_thickness(3.0))
    covered = sorted({z for at in slices for z in (2 * at - 1, 2 * at, 2 * at + 1)})  # half of a slice is tumor
    assert np.flatnonzero(found.mask.any((1, 2))).tolist() == covered


@pytest.mark.parametrize(
    ("said", "image"),
    [
        ({"between": 6.0, "thickness": 3.0}, None),
        ({"between": 6.0, "thickness": 3.0}, of_thickness(3.0)),
        ({"slices": [2]}, None),
        ({"slices": [1, 4]}, None),
        ({}, of_thickness(6.0)),
        ({"thickness": 9.0}, of_thickness(3.0)),
    ],
)
def test_where_nothing_tells_whether_frames_are_thick_they_are_copied_and_it_is_said(said, image):
    found = laid(thick(**said), FINE, image=image)
    expected = np.zeros(FINE.shape_zyx)
    slices = list(said.get("slices", range(6)))
    expected[[2 * z for z in slices]] = CUBOID[slices]
    np.testing.assert_array_equal(found.mask, expected)
    (warning,) = found.warnings
    assert "slices of the image are 3 mm apart" in warning
    assert "slices between stay empty" in warning


@pytest.mark.parametrize("slices", [range(6), [4], [1, 3, 5], [0, 4, 5]])
@pytest.mark.parametrize(
    ("between", "thickness", "image"),
    [
        (5.5, 5.0, None),  # a gap between slices
        (None, 5.0, None),
        (5.5, 11.0, None),  # slices that overlap
        (None, 11.0, of_thickness(11.0)),
        (None, 0, None),
        (0.5, 5.0, None),  # the gap in place of the spacing, as some scanners write
        (11.0, 5.0, "neighbors"),  # the header is wrong: slices are next to each other
    ],
)
def test_frames_of_some_slices_of_the_image_itself_are_copied_without_a_word(slices, between, thickness, image):
    if image == "neighbors" or (thickness == 11.0 and image is not None and list(slices) == [1, 3, 5]):
        slices, image = [0, 4, 5], None
    grid = straight_grid((6, 5, 7), (5.5, 1.0, 1.0))
    volume = blobs(grid)
    dataset = seg_dataset(grid, frames_of(volume, slices=slices), spacing_between=between)
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SliceThickness = f"{thickness:g}"
    if not thickness:
        del measures.SliceThickness
    found = laid(save(dataset), grid, image=image)
    expected = np.zeros_like(volume)
    expected[list(slices)] = volume[list(slices)]
    np.testing.assert_array_equal(found.mask, expected)
    assert found.warnings == ()


def test_a_frame_of_an_image_of_one_slice_is_copied_whatever_its_thickness():
    grid = straight_grid((1, 5, 7), (1.0, 1.0, 1.0))  # one slice of unknown thickness counts as 1 mm
    dataset = seg_dataset(grid, frames_of(np.ones((1, 5, 7)) * (np.arange(7) < 3)), spacing_between=6.0)
    found = laid(save(dataset), grid)
    assert found.mask.sum() == 15
    assert found.warnings == ()


def test_frames_at_no_regular_distance_on_another_grid_are_refused():
    fine = straight_grid((24, 20, 24), (0.7, 1.0, 1.0))
    dataset = seg_dataset(fine, frames_of(np.ones(fine.shape_zyx), slices=[0, 2, 3]))
    position = dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    position.ImagePositionPatient = ["-10", "5", "41.1"]
    with pytest.raises(GeometryError, match="no whole multiples of one slice spacing"):
        laid(save(dataset), straight_grid())


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_overlapping_segments_are_kept_apart_and_counted(kind):
    one, other = blobs(GRID, 1), blobs(GRID, 2)
    scale = 255 if kind == "FRACTIONAL" else 1
    frames = [*frames_of(one * scale, 1, [0, 1, 2, 3]), *frames_of(other * scale, 2, [5, 3, 2, 1])]
    content = seg(GRID, [frames[i] for i in (7, 0, 3, 4, 1, 6, 5, 2)], kind=kind)
    one[4:] = 0
    other[[0, 4]] = 0
    np.testing.assert_array_equal(laid(content, index=0).mask, one)
    np.testing.assert_array_equal(laid(content, index=1).mask, other)
    shared = int((one & other).sum())
    assert shared > 0
    assert overlaps(read_segmentation(content)) == {(1, 2): shared}


@pytest.mark.parametrize("threshold", [0.1, 0.5, 1.0])
def test_fractions_are_cut_at_the_threshold_and_said_to_be(threshold):
    values = blobs(GRID, high=256)
    found = laid(seg(GRID, frames_of(values), kind="FRACTIONAL"), threshold=threshold)
    np.testing.assert_array_equal(found.mask, values / 255 >= threshold)
    partial, total = int(((values > 0) & (values < 255)).sum()), int((values > 0).sum())
    assert f"(PROBABILITY), cut at {threshold:g}: {partial} of {total} voxels" in found.warnings[0]


@pytest.mark.parametrize("threshold", [0, -1, 1.5, float("nan")])
def test_a_threshold_that_is_no_fraction_is_refused(threshold):
    content = seg(GRID, frames_of(blobs(GRID)))
    with pytest.raises(ParameterError, match="threshold"):
        laid(content, threshold=threshold)
    with pytest.raises(ParameterError, match="threshold"):
        overlaps(read_segmentation(content), threshold=threshold)


def test_a_fraction_over_its_maximum_is_refused():
    dataset = seg_dataset(GRID, frames_of(blobs(GRID) * 200), kind="FRACTIONAL")
    dataset.MaximumFractionalValue = 100
    with pytest.raises(SourceError, match="value 200 in frame 1, over the MaximumFractionalValue 100"):
        laid(save(dataset))


@pytest.mark.parametrize(("bits", "compressed"), [(8, False), (16, False), (8, True), (16, True)])
def test_label_maps_are_read_by_value(bits, compressed):
    labels = blobs(GRID, high=3)
    content = seg(GRID, frames_of(labels, slices=[3, 0, 5]), kind="LABELMAP", bits=bits, compressed=compressed)
    for index in (0, 1):
        expected = np.zeros(GRID.shape_zyx)
        expected[[0, 3, 5]] = labels[[0, 3, 5]] == index + 1
        found = laid(content, index=index)
        np.testing.assert_array_equal(found.mask, expected)
        assert found.warnings == ()
    assert overlaps(read_segmentation(content)) == {}


@pytest.mark.parametrize("padding", [None, 0, 2])
def test_the_background_of_a_label_map_is_no_segment(padding):
    dataset = seg_dataset(GRID, frames_of(blobs(GRID, high=3)), kind="LABELMAP", labels=("a", "b", "c"))
    if padding is None:
        code = dataset.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0]
        code.CodeValue, code.CodingSchemeDesignator = "125040", "DCM"
    else:
        dataset.PixelPaddingValue = padding
        dataset.SegmentSequence[1].SegmentNumber = padding
    segmentation = read_segmentation(save(dataset))
    assert [segment.label for segment in segmentation.segments] == ["a", "c"]


def test_values_of_a_label_map_that_no_segment_describes_are_told():
    labels = blobs(GRID, high=6)
    dataset = seg_dataset(GRID, frames_of(labels), kind="LABELMAP")
    dataset.PixelPaddingValue = 5
    (warning,) = read_segmentation(save(dataset)).warnings
    assert f"{int(np.isin(labels, [3, 4]).sum())} voxels of 2 values that no segment describes, first 3, 4" in warning


def test_a_segment_without_frames_or_voxels_is_empty_and_said_to_be():
    content = seg(GRID, frames_of(np.zeros(GRID.shape_zyx)))
    for index, words in ((0, "the mask is empty"), (1, "the file holds no frame of it")):
        found = laid(content, index=index)
        assert not found.mask.any()
        assert words in found.warnings[0]
        assert found.evidence["mask_voxels"] == 0


def test_frames_of_no_described_segment_are_told():
    segmentation = read_segmentation(seg(GRID, [*frames_of(blobs(GRID), 7, [1, 2]), *frames_of(blobs(GRID), 1, [1])]))
    assert segmentation.warnings == ("2 of 3 frames show segments that the file does not describe",)


@pytest.mark.parametrize(
    ("image", "refused"),
    [(ImageUids(SERIES, FRAME), False), (ImageUids("1.9", FRAME), False), (ImageUids("1.9", "1.9"), True)],
)
def test_the_image_that_it_names_is_checked(image, refused):
    content = seg(GRID, frames_of(blobs(GRID)))
    if refused:
        with pytest.raises(GeometryError, match="another frame of reference"):
            laid(content, image=image)
    else:
        assert len(laid(content, image=image).warnings) == (image.series != SERIES)


def test_what_a_file_holds_is_read():
    segmentation = read_segmentation(seg(GRID, frames_of(blobs(GRID))))
    assert (segmentation.kind, segmentation.series_uids) == ("BINARY", (SERIES,))
    assert segmentation.frame_of_reference_uid == FRAME
    first, second = segmentation.segments
    assert (first.number, first.label, first.algorithm_type) == (1, "tumour", "MANUAL")
    assert second.type == Code("108369002", "SCT", "Neoplasm")
    assert SECRET not in repr(segmentation)
    assert "1.2.840.77" not in repr(segmentation)


def changed(change, **options) -> bytes:
    dataset = seg_dataset(GRID, frames_of(blobs(GRID)), **options)
    change(dataset)
    return save(dataset)


def positions(dataset):
    return [group.PlanePositionSequence[0] for group in dataset.PerFrameFunctionalGroupsSequence]


def shared(dataset, name: str):
    return dataset.SharedFunctionalGroupsSequence[0][name][0]


def _twice(dataset):
    positions(dataset)[1].ImagePositionPatient = positions(dataset)[0].ImagePositionPatient


def _other_orientation(dataset):
    group = item(ImageOrientationPatient=["0", "1", "0", "1", "0", "0"])
    dataset.PerFrameFunctionalGroupsSequence[2].PlaneOrientationSequence = [group]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda d: setattr(d, "SegmentationType", "SECRET"), SourceError, "of no type that is read"),
        (lambda d: setattr(d, "SegmentSequence", []), SourceError, "describes no segment"),
        (lambda d: setattr(d.SegmentSequence[1], "SegmentNumber", 1), SourceError, "number 1 twice"),
        (lambda d: delattr(d.SegmentSequence[1], "SegmentNumber"), SourceError, "no usable SegmentNumber"),
        (lambda d: setattr(d, "NumberOfFrames", 7), SourceError, "7 frames but functional groups for 6"),
        (lambda d: setattr(d, "NumberOfFrames", 10**9), SourceError, "frames but functional groups for 6"),
        (lambda d: setattr(d, "Rows", 6), SourceError, r"ends after 28 of 32 bytes"),
        (lambda d: setattr(d, "Rows", 0), SourceError, "0 x 7 pixels"),
        (lambda d: setattr(d, "Rows", 60_000), SourceError, "over the limit"),
        (lambda d: setattr(d, "BitsAllocated", 32), SourceError, "32 bits"),
        (lambda d: setattr(d, "SamplesPerPixel", 3), SourceError, "expected one sample"),
        (lambda d: delattr(d, "PixelData"), SourceError, "ends after 0 of"),
        (lambda d: setattr(d, "PerFrameFunctionalGroupsSequence", []), SourceError, "functional groups for 0"),
        (lambda d: setattr(positions(d)[2], "ImagePositionPatient", ["1", "nan", "2"]), SourceError, "frame 3 of 6"),
        (lambda d: setattr(positions(d)[2], "ImagePositionPatient", ["1", "1e9", "2"]), SourceError, "frame 3 of 6"),
        (lambda d: delattr(positions(d)[2], "ImagePositionPatient"), SourceError, "no usable ImagePositionPatient"),
        (_other_orientation, GeometryError, "several orientations"),
        (
            lambda d: setattr(shared(d, "PlaneOrientationSequence"), "ImageOrientationPatient", ["1", *["0"] * 5]),
            GeometryError,
            "not two perpendicular unit vectors",
        ),
        (
            lambda d: setattr(shared(d, "PixelMeasuresSequence"), "PixelSpacing", ["0", "1"]),
            GeometryError,
            "expected one above 0",
        ),
    ],
)
def test_damaged_objects_are_refused_with_the_field(change, error, words):
    with pytest.raises(error, match=words) as caught, pydicom.config.disable_value_validation():
        read_segmentation(changed(change))
    assert "SECRET" not in str(caught.value)


def test_two_frames_at_one_position_are_refused():
    with pytest.raises(GeometryError, match="6 frames on 5 slices"):
        laid(changed(_twice))
    with pytest.raises(GeometryError, match="2 or more frames at one position"):
        laid(changed(_twice), straight_grid((6, 5, 7), (2.0, 0.8, 0.8)))


@pytest.mark.parametrize("maximum", [0, 256])
def test_a_maximum_that_cannot_be_is_refused(maximum):
    with pytest.raises(SourceError, match=f"MaximumFractionalValue of {maximum}"):
        read_segmentation(changed(lambda d: setattr(d, "MaximumFractionalValue", maximum), kind="FRACTIONAL"))


def test_other_objects_and_single_bits_in_big_endian_are_refused():
    with pytest.raises(SourceError, match="expected a DICOM segmentation object, found RT Structure Set Storage"):
        read_segmentation(rtstruct({"GTV": []}))
    dataset = seg_dataset(GRID, frames_of(blobs(GRID)), syntax=ExplicitVRBigEndian)
    with pytest.raises(SourceError, match="big-endian"):
        read_segmentation(save(dataset))


def test_voxels_beyond_the_limit_are_refused_before_they_are_decoded():
    large = straight_grid((2, 300, 500))
    content = seg(large, frames_of(np.zeros(large.shape_zyx)), kind="LABELMAP", compressed=True)
    assert len(content) < 20_000
    with pytest.raises(SourceError, match="300 kB of voxels by the header, over the limit"):
        read_segmentation(content, limits=Limits(scan_gb=2e-4))
    segmentation = read_segmentation(seg(GRID, frames_of(blobs(GRID))))
    with pytest.raises(SourceError, match="over the limit"):
        on_grid(segmentation, segmentation.segments[0], GRID, limits=Limits(scan_gb=1e-7))
    far = changed(lambda d: setattr(positions(d)[5], "ImagePositionPatient", ["-10", "5", "60040"]))
    with pytest.raises(SourceError, match=r"segment 1 'tumour': .* over the limit"):
        laid(far, straight_grid((6, 5, 7), (2.9, 0.8, 0.8)))


def test_a_file_cut_anywhere_is_refused():
    content = seg(GRID, frames_of(blobs(GRID)))
    for end in range(0, len(content), 3):
        with pytest.raises(SourceError):
            read_segmentation(content[:end])
