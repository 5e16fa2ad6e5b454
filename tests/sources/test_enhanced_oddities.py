"""Enhanced objects that look whole: lost parts, copies that differ in their groups, fields that are not the frame's."""

import copy
from itertools import permutations

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from npczarr.errors import SourceError
from npczarr.sources.dicom import read_scan
from npczarr.sources.files import open_source
from npczarr.sources.structures import ImageUids, rasterize, read_rtstruct
from tests.builders import enhanced_dataset, noise, oblique_grid
from tests.sources.structures.build import box, contour_item, rtstruct, straight_grid, to_mm

GRID = oblique_grid((6, 7, 9), seed=1)


def image(frames=range(6), **fields):
    """Enhanced object of frames that need no rescale."""
    dataset = enhanced_dataset(noise(GRID), GRID, frames)
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        del groups.PixelValueTransformationSequence
    for keyword, value in fields.items():
        setattr(dataset, keyword, value)
    return dataset


def each_frame(dataset, keyword, **fields):
    """Give every frame a functional group; a field may be a function of the frame's number."""
    for number, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence, 1):
        item = Dataset()
        for name, value in fields.items():
            setattr(item, name, value(number) if callable(value) else value)
        groups.add_new(keyword, "SQ", [item])
    return dataset


@pytest.fixture
def scan(tmp_path):
    """Write objects and read them."""

    def read(*datasets, where=()):
        for number, dataset in enumerate(datasets):
            dataset.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
        source = open_source(tmp_path)
        return read_scan(source, source.files(), where=where)

    return read


@pytest.mark.parametrize(
    ("there", "total", "missing"),
    [
        ((1, 2, 3), 3, ""),
        ((1, 2, 3), None, ""),
        ((1, 2), 3, "3"),
        ((2, 3), 3, "1"),
        ((2,), 3, "1, 3"),
        ((3,), 3, "1, 2"),
    ],
)
def test_a_lost_part_of_a_concatenation_is_said(scan, there, total, missing):
    parts = [image(range(2 * n - 2, 2 * n), ConcatenationUID="1.2.9", InConcatenationNumber=n) for n in there]
    for part in parts:
        part.SOPInstanceUID = generate_uid()
        if total:
            part.InConcatenationTotalNumber = total
    found = scan(*parts)
    assert len(found.image) == 2 * len(there)
    assert found.warnings == (
        (
            f"{missing.count(',') + 1} of 3 parts of the image (a concatenation) are missing with their slices: "
            f"{missing}; copy the missing files",
        )
        if missing
        else ()
    )


def moved(dataset):
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        (plane,) = groups.PlanePositionSequence
        plane.ImagePositionPatient = [float(plane.ImagePositionPatient[0]) + 100, *plane.ImagePositionPatient[1:]]


def scaled(dataset):
    each_frame(dataset, "PixelValueTransformationSequence", RescaleSlope="2", RescaleIntercept="0")


def wider(dataset):
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = ["0.9", "0.9"]


@pytest.mark.parametrize("change", [moved, scaled, wider])
@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_copies_that_differ_in_functional_groups_are_refused(scan, change, order):
    one = image()
    other = copy.deepcopy(one)
    change(other)
    both = (one, other)
    with pytest.raises(
        SourceError, match=r"claim to be one object \(SOPInstanceUID\), but differ in pixels or in what"
    ):
        scan(*(both[i] for i in order))


def test_copies_that_differ_in_private_groups_are_copies(scan):
    one, other = image(), image()
    other.SOPInstanceUID = one.SOPInstanceUID
    assert scan(one, each_frame(other, 0x2005140F, EchoTime="88")).notes == ("passed over: exact copy (1 file)",)


@pytest.mark.parametrize("keyword", [0x2005140F, "ReferencedImageSequence", "SourceImageSequence"])
def test_only_groups_of_the_frame_itself_describe_it(scan, keyword):
    dataset = each_frame(image(), keyword, EchoTime="88", FlipAngle="3", Manufacturer="Miller Clinic")
    each_frame(dataset, "MRModifierSequence", InversionTimes=250.0)
    found = scan(dataset).acquisition
    assert (found["echo_time"], found["manufacturer"], found["inversion_time"]) == (33, "Builder", 250)
    assert "flip_angle" not in found
    with pytest.raises(SourceError, match=r"EchoTime 6"):
        scan(dataset, where=(("EchoTime", "88"),))


def test_units_that_differ_by_frame_are_said(scan):
    slopes = each_frame(
        image(), "RealWorldValueMappingSequence", RealWorldValueSlope=lambda n: 2.0 * n, RealWorldValueIntercept=0.0
    )
    (said,) = scan(slopes).warnings
    assert said.startswith("RealWorldValueSlope differs between slices (2 to 12): stored values of different slices")
    alike = each_frame(image(), "RealWorldValueMappingSequence", RealWorldValueSlope=2.0, RealWorldValueIntercept=0.0)
    assert scan(alike).warnings == ()


@pytest.mark.parametrize(
    ("named", "elsewhere"), [((3, 4), 0), ((3, 5), 1), ((4, 3), 2), ((0, 0), 0), ((None, None), 0)]
)
def test_contours_on_frames_of_one_object_are_told_apart_by_their_number(scan, named, elsewhere):
    """Frame 1 + z shows slice z; contours lie on slices 2 and 3."""
    dataset = image()
    found = scan(dataset)
    assert found.frame_numbers == (1, 2, 3, 4, 5, 6)
    grid = straight_grid()
    items = [contour_item(to_mm(grid, box(1, 1, 9, 9), z), image_uid=dataset.SOPInstanceUID) for z in (2, 3)]
    for item, number in zip(items, named, strict=True):
        if number is not None:
            item.ContourImageSequence[0].ReferencedFrameNumber = number
    (roi,) = read_rtstruct(rtstruct({"GTV": items})).rois
    uids = ImageUids(*roi.series_uids, roi.frame_of_reference_uid, found.instance_uids, found.frame_numbers)
    _, warnings = rasterize(roi, grid, image=uids)
    said = f"structure 'GTV': {elsewhere} of 2 contours name another slice than the one in whose plane they are"
    assert warnings == ((said,) if elsewhere else ())
