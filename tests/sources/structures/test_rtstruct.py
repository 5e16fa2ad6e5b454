from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from npczarr.errors import SourceError
from npczarr.model.limits import Limits
from npczarr.sources.dicom import read_scan
from npczarr.sources.files import open_source
from npczarr.sources.nifti import read_mask
from npczarr.sources.structures import ImageUids, rasterize, read_rtstruct
from tests.sources.structures.build import (
    FRAME,
    SECRET,
    SERIES,
    box,
    contour_item,
    item,
    rtstruct,
    rtstruct_dataset,
    save,
    seg,
    straight_grid,
    to_mm,
)

GRID = straight_grid()
SQUARE = to_mm(GRID, box(1, 1, 9, 9), 2)


def test_the_published_mask_of_a_real_tumor_voxel_for_voxel(real_data):
    folder = real_data / "real_cohort" / "primary_data" / "data" / "MRI-Segments" / "001"
    source = open_source(folder)
    files = source.files()
    scan = read_scan(source, [file for file in files if file.path.startswith("T1WI/")])
    published = read_mask(source, [file for file in files if file.name == "ROI-T1.nii"], scan.grid)
    content = (folder / "T1WI" / "RS.dcm").read_bytes()
    slices = (pydicom.dcmread(path) for path in (folder / "T1WI").glob("0*.dcm"))
    ordered = sorted(slices, key=lambda dataset: dataset.ImagePositionPatient[2])
    image = ImageUids(ordered[0].SeriesInstanceUID, ordered[0].FrameOfReferenceUID)

    (roi,) = read_rtstruct(content).rois
    mask, warnings = rasterize(roi, scan.grid, image=image)

    assert (roi.number, roi.name, roi.interpreted_type, len(roi.contours)) == (1, "GTV_Mass_MR_T1", "GTV", 16)
    assert roi.series_uids == (image.series,)
    assert warnings == ()
    assert mask.sum() == 17090
    np.testing.assert_array_equal(mask, published.mask)
    # the slices were given new identifiers when the images were cut to the tumor
    with_slices = replace(image, instances=tuple(dataset.SOPInstanceUID for dataset in ordered))
    _, warnings = rasterize(roi, scan.grid, image=with_slices)
    assert [text.partition(": ")[2] for text in warnings] == [
        "16 of 16 contours name an image that is no slice of this series"
    ]


@pytest.mark.parametrize(
    ("name", "voxels", "words"),
    [
        ("rt.dcm", [1443], ["another frame of reference", "holes", "958 voxels"]),
        ("invalid_reference_rt.dcm", [4976, 3697, 4519, 6954], ["1 of 3 contours are outside the image"]),
        ("non_existent_reference_rt.dcm", [4976, 3697, 4519, 6954], ["1 of 3 contours are outside the image"]),
    ],
)
def test_real_structure_sets_are_read_and_say_what_does_not_fit(real_data, name, voxels, words):
    folder = real_data / "structures" / "rt_utils"
    source = open_source(folder)
    scan = read_scan(source, [file for file in source.files() if file.name.startswith("ct_")])
    slices = [pydicom.dcmread(folder / f"ct_{n}.dcm") for n in (1, 2)]
    image = ImageUids(
        slices[0].SeriesInstanceUID, slices[0].FrameOfReferenceUID, tuple(d.SOPInstanceUID for d in slices)
    )
    found = [rasterize(roi, scan.grid, image=image) for roi in read_rtstruct((folder / name).read_bytes()).rois]
    assert [int(mask.sum()) for mask, _ in found] == voxels
    for _, warnings in found:
        assert all(any(word in text for text in warnings) for word in words), warnings


def test_what_a_file_holds_is_read():
    point = contour_item([(1, 2, 3)], "POINT", "")
    structures = read_rtstruct(rtstruct({"GTV p": [contour_item(SQUARE)], "ISO": [point], "empty": []}))
    assert structures.series_uids == (SERIES,)
    assert structures.frame_of_reference_uids == (FRAME,)
    assert [(roi.number, roi.name, roi.interpreted_type) for roi in structures.rois] == [
        (1, "GTV p", "GTV"),
        (2, "ISO", "GTV"),
        (3, "empty", "GTV"),
    ]
    square, iso, empty = structures.rois
    np.testing.assert_array_equal(square.contours[0].points_mm, SQUARE)
    assert (square.contours[0].kind, square.contours[0].image_uid) == ("CLOSED_PLANAR", "1.2.3")
    np.testing.assert_array_equal(iso.contours[0].points_mm, [(1, 2, 3)])
    assert (square.frame_of_reference_uid, square.series_uids) == (FRAME, (SERIES,))
    assert empty.contours == ()
    assert structures.warnings == ()
    with pytest.raises(ValueError, match="read-only"):
        square.contours[0].points_mm[0, 0] = 1


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_every_transfer_syntax_holds_the_same(syntax):
    dataset = rtstruct_dataset({"GTV": [contour_item(SQUARE)]}, syntax=syntax)
    dataset.file_meta.TransferSyntaxUID = syntax
    (roi,) = read_rtstruct(save(dataset)).rois
    np.testing.assert_array_equal(roi.contours[0].points_mm, SQUARE)


def test_an_accented_name_is_read():
    dataset = rtstruct_dataset({"Tumör 腫瘍": [contour_item(SQUARE)]})
    dataset.SpecificCharacterSet = "ISO_IR 192"
    assert read_rtstruct(save(dataset)).rois[0].name == "Tumör 腫瘍"


def raw_contour(count: int, text: str):
    """A contour whose coordinates are any text; to be saved with implicit VR, which does not say that it is one."""
    contour = item(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=count)
    contour.add(DataElement("ContourData", "UT", text))
    return contour


def rtstruct_of(*contours) -> bytes:
    dataset = rtstruct_dataset({"GTV": [contour_item(SQUARE), *contours], "CTV": [contour_item(SQUARE)]})
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return save(dataset)


ONES = "1\\" * 10


@pytest.mark.parametrize(
    ("count", "text", "words"),
    [
        (4, "1\\1\\1\\1", "not a multiple of 3"),
        (5, ONES + "1\\1", "another number of points than they say"),
        (4, ONES + "nan\\1", "not finite"),
        (4, ONES + "1\\-inf", "not finite"),
        (4, ONES + "1\\1e300", "not finite or beyond 1 km"),
        (4, ONES + f"1\\{SECRET}", "no number"),
        (4, ONES + "\\1", "no number"),
        (4, ONES + "1\\1_0", "no number"),
    ],
)
def test_a_damaged_contour_spoils_its_structure_only(count, text, words):
    gtv, ctv = read_rtstruct(rtstruct_of(raw_contour(count, text))).rois
    with pytest.raises(SourceError, match=f"structure 'GTV': 1 of 2 contours .*{words}") as error:
        rasterize(gtv, GRID)
    assert SECRET not in str(error.value)
    assert rasterize(ctv, GRID)[0].sum() == 64


def test_white_space_around_numbers_and_a_missing_count_are_accepted():
    text = " \\ ".join(f"{v:g}" for v in SQUARE.ravel()) + " "
    contour = raw_contour(4, text)
    del contour.NumberOfContourPoints
    gtv, _ = read_rtstruct(rtstruct_of(contour)).rois
    np.testing.assert_array_equal(gtv.contours[1].points_mm, SQUARE)


def without(keyword: str) -> bytes:
    dataset = rtstruct_dataset({"GTV": [contour_item(SQUARE)]})
    delattr(dataset, keyword)
    return save(dataset)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: b"", "no known SOP class"),
        (lambda: b"PK" * 1000, "damaged|no known SOP class"),
        (lambda: seg(GRID, [(1, 0, np.ones((20, 24)))]), "expected an RT structure set, found Segmentation Storage"),
        (lambda: without("SOPClassUID"), "no known SOP class"),
        (lambda: without("StructureSetROISequence"), "no structures"),
        (lambda: without("ROIContourSequence"), "no contours"),
        (lambda: rtstruct({}), "no structures"),
    ],
)
def test_what_is_no_structure_set_is_refused(content, words):
    with pytest.raises(SourceError, match=words):
        read_rtstruct(content())


def test_two_structures_of_one_number_are_refused():
    dataset = rtstruct_dataset({"GTV": [contour_item(SQUARE)], "CTV": []})
    dataset.StructureSetROISequence[1].ROINumber = 1
    with pytest.raises(SourceError, match=r"1 ROI number.* to several structures, first 1"):
        read_rtstruct(save(dataset))


def test_contours_of_no_structure_are_told():
    dataset = rtstruct_dataset({"GTV": [contour_item(SQUARE)], "CTV": [contour_item(SQUARE)]})
    del dataset.StructureSetROISequence[1]
    structures = read_rtstruct(save(dataset))
    assert [roi.name for roi in structures.rois] == ["GTV"]
    assert "contours of 1 structure(s)" in structures.warnings[0]


def test_a_file_cut_anywhere_is_refused_or_whole():
    """Parts of a structure are never taken for the whole."""
    dataset = rtstruct_dataset({"GTV": [contour_item(SQUARE), contour_item(SQUARE + np.array([0, 0, 3]))]})
    outcomes = set()
    for undefined_length in (False, True):
        for name in ("ROIContourSequence", "StructureSetROISequence"):
            dataset[name].is_undefined_length = undefined_length
        content = save(dataset)
        for end in range(132, len(content)):
            try:
                (roi,) = read_rtstruct(content[:end]).rois
            except SourceError:
                outcomes.add("refused")
                continue
            outcomes.add("whole")
            assert len(roi.contours) == 2
            assert roi.faults == ()
    assert outcomes == {"refused", "whole"}


def test_a_file_that_would_take_too_much_memory_is_refused_before():
    content = rtstruct({"GTV": [contour_item(SQUARE)] * 30})
    with pytest.raises(SourceError, match=r"items in the sequences of the file, more than fit"):
        read_rtstruct(content, limits=Limits(scan_gb=1e-4))
    dataset = rtstruct_dataset({"GTV": [contour_item(SQUARE)] * 300})
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    with pytest.raises(SourceError, match="items in the sequences"):
        read_rtstruct(save(dataset), limits=Limits(scan_gb=1e-3))


def test_the_reader_says_nothing_of_the_patient():
    structures = read_rtstruct(rtstruct({"GTV": [contour_item(SQUARE)]}))
    assert SECRET not in repr(structures)
    assert "1.2.840.77" not in repr(structures)
