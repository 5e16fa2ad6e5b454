import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npczarr.errors import GeometryError, SourceError
from npczarr.model.geometry import Grid
from npczarr.model.limits import Limits
from npczarr.sources.structures import Contour, ImageUids, Roi, rasterize
from tests.builders import oblique_grid
from tests.sources.structures.build import FRAME, SERIES, box, roi, straight_grid, to_mm

GRID = straight_grid()


def warning(warnings, words: str) -> str:
    """The one warning that holds the words."""
    found = [text for text in warnings if words in text]
    assert len(found) == 1, warnings
    return found[0]


def test_a_box_holds_the_voxels_whose_centers_it_holds():
    mask, warnings = rasterize(roi(GRID, (2, box(3.6, 4.5, 8.4, 9.5))), GRID)
    expected = np.zeros(GRID.shape_zyx, dtype=np.uint8)
    expected[2, 5:10, 4:9] = 1
    np.testing.assert_array_equal(mask, expected)
    assert mask.dtype == np.uint8
    assert warnings == ()


def test_centers_on_an_edge_belong_to_the_larger_index():
    mask, _ = rasterize(roi(GRID, (2, box(3, 4, 8, 9))), GRID)
    expected = np.zeros(GRID.shape_zyx, dtype=np.uint8)
    expected[2, 4:9, 3:8] = 1
    np.testing.assert_array_equal(mask, expected)


def test_rounding_of_the_file_does_not_decide_about_centers_on_an_edge():
    exact, _ = rasterize(roi(GRID, (2, box(3, 4, 8, 9))), GRID)
    noise = np.random.default_rng(0).uniform(-4e-4, 4e-4, (4, 2))
    rounded, _ = rasterize(roi(GRID, (2, np.array(box(3, 4, 8, 9)) + noise)), GRID)
    np.testing.assert_array_equal(rounded, exact)


@given(st.integers(0, 1000), st.integers(0, 5))
def test_the_direction_of_the_grid_makes_no_difference(seed, z):
    grid = oblique_grid((6, 20, 24), seed, (3.0, 0.7, 0.9))
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
    points = np.column_stack([np.cos(angles), np.sin(angles)]) * rng.uniform(2, 9, (12, 1)) + [11.3, 9.4]
    on_oblique, _ = rasterize(roi(grid, (z, points)), grid)
    on_straight, _ = rasterize(roi(GRID, (z, points)), GRID)
    np.testing.assert_array_equal(on_oblique, on_straight)
    assert on_oblique[z].any()
    assert not np.delete(on_oblique, z, axis=0).any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_grid_that_runs_the_other_way_gives_the_flipped_mask(axis):
    angles = np.linspace(0, 2 * np.pi, 50, endpoint=False)
    points = np.column_stack([7 * np.cos(angles) + 11.37, 5 * np.sin(angles) + 9.21])
    drawn = roi(GRID, (1, points), (2, points[:30]))
    affine = GRID.affine.copy()
    column = 2 - axis
    affine[:3, 3] += affine[:3, column] * (GRID.shape_zyx[axis] - 1)
    affine[:3, column] *= -1
    flipped, _ = rasterize(drawn, Grid(GRID.shape_zyx, affine))
    np.testing.assert_array_equal(np.flip(flipped, axis), rasterize(drawn, GRID)[0])


def test_holes_and_islands_alternate_and_are_told():
    rings = [(2, box(1.5, 1.5, 17.5, 17.5)), (2, box(5.5, 5.5, 13.5, 13.5)), (2, box(8.5, 8.5, 10.5, 10.5))]
    mask, warnings = rasterize(roi(GRID, *rings), GRID)
    assert mask.sum() == 16**2 - 8**2 + 2**2
    assert "1 of 3 contours are within another one" in warning(warnings, "holes")
    assert f"{8**2 - 2**2} voxels" in warning(warnings, "even number")
    for order in ([2, 0, 1], [1, 2, 0]):
        np.testing.assert_array_equal(rasterize(roi(GRID, *(rings[i] for i in order)), GRID)[0], mask)


def test_holes_that_the_file_declares_are_not_told():
    rings = [(2, box(1.5, 1.5, 17.5, 17.5)), (2, box(5.5, 5.5, 13.5, 13.5))]
    mask, warnings = rasterize(roi(GRID, *rings, kind="CLOSEDPLANAR_XOR"), GRID)
    assert mask.sum() == 16**2 - 8**2
    assert not any("holes" in text for text in warnings)


def test_contours_that_overlap_are_told_with_voxels():
    mask, warnings = rasterize(roi(GRID, (2, box(1.5, 1.5, 9.5, 9.5)), (2, box(6.5, 6.5, 12.5, 12.5))), GRID)
    assert mask.sum() == 64 + 36 - 2 * 9
    assert "1 of 2 contours overlap" in warning(warnings, "overlap")
    assert "9 voxels" in warning(warnings, "left out")


def test_a_contour_that_straddles_two_neighbors_overlaps():
    boxes = [box(0.5, 0.5, 8.5, 12.5), box(8.5, 0.5, 16.5, 12.5), box(6.5, 4.5, 10.5, 8.5)]
    _, warnings = rasterize(roi(GRID, *((2, b) for b in boxes)), GRID)
    assert "1 of 3 contours overlap" in warning(warnings, "overlap")


def test_a_contour_drawn_twice_counts_once():
    once = box(1.5, 1.5, 9.5, 9.5)
    mask, warnings = rasterize(roi(GRID, (2, once), (2, [*once[2:], *once[:2]]), (2, once[::-1])), GRID)
    assert mask.sum() == 64
    assert "2 of 3 contours repeat another one exactly" in warning(warnings, "repeat")


def test_a_contour_that_nearly_repeats_another_is_told():
    _, warnings = rasterize(roi(GRID, (2, box(1.5, 1.5, 9.5, 9.5)), (2, box(1.6, 1.6, 9.4, 9.4))), GRID)
    assert "1 of 2 contours overlap" in warning(warnings, "overlap")
    assert "64 voxels" in warning(warnings, "left out")
    assert warning(warnings, "the mask is empty")


def test_a_contour_that_crosses_itself_is_told():
    mask, warnings = rasterize(roi(GRID, (2, [(1.5, 1.5), (9.5, 9.5), (9.5, 1.5), (1.5, 9.5)])), GRID)
    assert "1 of 1 contours cross themselves, at 1 points" in warning(warnings, "cross themselves")
    assert mask.any()


def test_slices_between_contours_stay_empty_and_are_told():
    mask, warnings = rasterize(roi(GRID, (0, box(1, 1, 9, 9)), (1, box(1, 1, 9, 9)), (5, box(1, 1, 9, 9))), GRID)
    np.testing.assert_array_equal(mask.any(axis=(1, 2)), [1, 1, 0, 0, 0, 1])
    assert "3 of 6 slices" in warning(warnings, "interpolated")


@pytest.mark.parametrize(("off_mm", "told"), [(0.05, False), (0.4, True), (-0.7, True)])
def test_a_contour_off_its_slice_goes_to_the_nearest_and_says_how_far(off_mm, told):
    mask, warnings = rasterize(roi(GRID, (2 + off_mm / 3, box(1, 1, 9, 9))), GRID)
    assert mask[2].sum() == 64
    assert any(f"by up to {abs(off_mm):.2f} mm" in text for text in warnings) == told


@pytest.mark.parametrize(
    ("slices", "words"),
    [
        ([(2.4, box(1, 1, 9, 9))], r"1 of 1 contours are between slices, up to 1.20 mm off .* 3 mm apart"),
        ([(2.2, box(1, 1, 9, 9)), (1.8, box(1, 1, 9, 9))], r"several heights, 1.20 mm apart, all nearest to slice 2"),
        ([(7, box(1, 1, 9, 9)), (8, box(1, 1, 9, 9))], r"all 2 contours are outside the image, 4.5 mm or more"),
        ([(2, box(40, 40, 50, 50))], r"all 1 contours are outside the image, 20.5 mm or more"),
        ([(2, box(1e7, 1, 2e7, 9))], r"over 100000 voxels from the image"),
    ],
)
def test_contours_that_are_not_of_this_image_are_refused_with_numbers(slices, words):
    with pytest.raises(GeometryError, match=f"structure 'GTV': .*{words}"):
        rasterize(roi(GRID, *slices), GRID)


def test_a_contour_across_slices_is_refused():
    points = to_mm(GRID, box(1, 1, 9, 9), 2)
    points[2:, 2] += 6
    with pytest.raises(GeometryError, match=r"1 of 1 contours reach across slices, by up to 6.00 mm"):
        rasterize(Roi(1, "GTV", (Contour(points, "CLOSED_PLANAR"),)), GRID)


def test_what_is_outside_the_image_is_told_with_numbers():
    drawn = roi(GRID, (5, box(1, 1, 9, 9)), (4, box(-5, 1, 9, 9)), (6, box(1, 1, 9, 9)))
    mask, warnings = rasterize(drawn, GRID)
    assert mask[5].sum() == 64
    assert mask[4].sum() == 9 * 8
    assert "1 of 3 contours are outside the image and 1 reach beyond it, by up to 4.5 mm" in warning(warnings, "lost")


def test_a_structure_that_fills_the_image_is_not_outside():
    rows, columns = GRID.shape_zyx[1:]
    mask, warnings = rasterize(roi(GRID, (2, box(-0.5, -0.5, columns - 0.5, rows - 0.5))), GRID)
    assert mask[2].all()
    assert warnings == ()


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR", "OPEN_NONPLANAR", "SECRET^NAME"])
def test_open_contours_enclose_nothing(kind):
    with pytest.raises(GeometryError, match="no closed contour") as error:
        rasterize(roi(GRID, (2, box(1, 1, 9, 9)), kind=kind), GRID)
    assert "SECRET" not in str(error.value)
    closed = roi(GRID, (2, box(1, 1, 9, 9)))
    both = Roi(1, "GTV", (*closed.contours, *roi(GRID, (3, box(1, 1, 9, 9)), kind=kind).contours))
    mask, warnings = rasterize(both, GRID)
    assert mask.sum() == 64
    assert "of 2 contours enclose no area" in warning(warnings, "enclose no area")
    assert "SECRET" not in str(warnings)


def test_contours_that_enclose_nothing_are_counted():
    slices = [
        (1, [(1, 1), (5, 5)]),
        (2, [(1.2, 1.2), (1.4, 1.2), (1.4, 1.4)]),
        (2, [(1, 1), (5, 5), (1, 1)]),
        (3, box(1, 1, 9, 9)),
    ]
    mask, warnings = rasterize(roi(GRID, *slices), GRID)
    assert mask.sum() == 64
    assert "1 of 4 contours have fewer than 3 points" in warning(warnings, "fewer than 3")
    assert "2 of 3 contours enclose no voxel center" in warning(warnings, "voxel center")


def test_a_structure_without_contours_is_an_empty_mask_and_said_to_be():
    mask, warnings = rasterize(Roi(1, "GTV"), GRID)
    assert mask.shape == GRID.shape_zyx
    assert not mask.any()
    assert warning(warnings, "holds no contour")
    assert warning(warnings, "the mask is empty")


def test_a_structure_with_faults_is_refused():
    with pytest.raises(SourceError, match="structure 'GTV': 1 of 2 contours hold text"):
        rasterize(Roi(1, "GTV", faults=("1 of 2 contours hold text that is no number",)), GRID)


DRAWN = {"frame_of_reference_uid": FRAME, "series_uids": (SERIES,)}
UIDS = ("1.5.0", "1.5.1", "1.5.2", "1.5.3", "1.5.4", "1.5.5")


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (None, None),
        (ImageUids(), "nothing says on which series"),
        (ImageUids(SERIES, FRAME), None),
        (ImageUids(SERIES, ""), None),
        (ImageUids("", FRAME), None),
        (ImageUids(SERIES, "1.9"), "names this series but another frame of reference"),
        (ImageUids("1.9", FRAME), "drawn on another series in the same frame of reference"),
    ],
)
def test_the_image_that_it_names_is_checked(image, told):
    mask, warnings = rasterize(roi(GRID, (2, box(1, 1, 9, 9)), **DRAWN), GRID, image=image)
    assert mask.sum() == 64
    assert (warning(warnings, told) if told else not warnings) not in (False, "")


@pytest.mark.parametrize("image", [ImageUids("1.9", "1.9"), ImageUids("", "1.9"), ImageUids("1.9", "")])
def test_coordinates_of_another_image_are_refused_without_its_identifiers(image):
    with pytest.raises(GeometryError, match=r"frame of reference") as error:
        rasterize(roi(GRID, (2, box(1, 1, 9, 9)), **DRAWN), GRID, image=image)
    assert "1." not in str(error.value)


@pytest.mark.parametrize(
    ("uids", "told"),
    [
        (("1.5.2", "1.5.3"), None),
        (("1.5.2", "1.7"), "1 of 2 contours name an image that is no slice of this series"),
        (("1.5.2", "1.5.4"), "1 of 2 contours name another slice"),
    ],
)
def test_the_slices_that_contours_name_are_compared_with_where_they_are(uids, told):
    points = [to_mm(GRID, box(1, 1, 9, 9), z) for z in (2, 3)]
    contours = (Contour(p, "CLOSED_PLANAR", uid) for p, uid in zip(points, uids, strict=True))
    _, warnings = rasterize(Roi(1, "GTV", tuple(contours)), GRID, image=ImageUids(SERIES, FRAME, UIDS))
    assert (warning(warnings, told) if told else not warnings) not in (False, "")


def test_work_that_takes_too_long_or_too_much_is_refused():
    drawn = roi(GRID, *((2, box(1, 1, 9, 9 - 0.001 * n)) for n in range(20)))
    with pytest.raises(SourceError, match="over the limit"):
        rasterize(drawn, GRID, limits=Limits(scan_gb=1e-9))
    with pytest.raises(SourceError, match="took more than the limit"):
        rasterize(drawn, GRID, limits=Limits(scan_seconds=1e-9))
